"""A store: every command of the program as a method, and what Python can do beside them."""

from __future__ import annotations

import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from . import _lib
from ._classes import names_of, numbers_of_classes, numbers_of_labels
from ._commands import Commands
from ._progress import Progress
from ._run import Place, run
from .dataset import SegmentationDataset
from .errors import NotFoundError, OptionError
from .head import Head
from .masks import Masks
from .picture import Picture

__all__ = ["Store"]


class Store(Commands):
    """An open store.

    Every command of the program is a method with the same options: `grainstore ingest coco --annotations a.json` is
    `store.ingest_coco(annotations="a.json")`, a flag is True, and an option that can be given several times takes a list.
    Methods return what the command prints with `--json`. Ctrl-C ends a method; what was committed stays, and the next call goes
    on from there. `grainstore.open` and `grainstore.create` make one.

    Attributes:
        path: The directory or URI.
        progress: Whether long work draws a bar; or an object with the methods of `grainstore.Progress`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        storage_options: Mapping[str, Any] | None = None,
        progress: bool | Progress = True,
    ) -> None:
        self._place = Place(path, storage_options)
        self.path: str = self._place.path
        self.progress = progress
        self._photos: tuple[int, _lib.Photos] | None = None
        self._open_photos()

    def _run(self, words: str, positional: Iterable[tuple[str, Any]] = (), options: Mapping[str, Any] | None = None) -> Any:
        return run(words, positional, options, place=self._place, progress=self.progress)

    # Queries

    def sql(
        self,
        query: str,
        *,
        at: int | str | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        cluster: str | None = None,
    ) -> pa.Table:
        """The rows of a query. Queries only read, except that CREATE HEAD trains a head.

        Args:
            query: SQL. `SHOW TABLES` lists the tables.
            at: Read the store at an earlier version, or at a tag.
            checkpoint: For `nearest_text`: the weights that the embedder was made with.
            cluster: Run it on the executors of the scheduler at this address.

        >>> store.sql("SELECT label, count(*) AS images FROM labels GROUP BY label").to_pandas()
        """
        return self._run("sql", [("query", query)], {"at": at, "checkpoint": checkpoint, "cluster": cluster})

    def sql_reader(
        self, query: str, *, at: int | str | None = None, checkpoint: str | os.PathLike[str] | None = None
    ) -> pa.RecordBatchReader:
        """The rows of a query, a batch at a time, for results that are larger than memory.

        >>> for batch in store.sql_reader("SELECT image_id, embedding FROM masks"):
        ...     print(batch.num_rows)
        """
        options = {"at": at, "checkpoint": checkpoint}
        return run("sql", [("query", query)], options, place=self._place, progress=self.progress, stream=True)

    def query(
        self,
        name: str | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        file: str | os.PathLike[str] | None = None,
        at: int | str | None = None,
    ) -> pa.Table:
        """The rows of a named query, or of one of your own in a file.

        Args:
            name: Its name; `queries()` lists them.
            params: Values of its parameters; None for no value.
            file: The file.
            at: Read the store at an earlier version, or at a tag.

        >>> store.query("review/labels", {"dataset": "coco"})
        """
        if params is not None and not isinstance(params, Mapping):
            raise TypeError(f"params: expected a mapping of names to values, found {type(params).__name__}")
        given = {key: "NULL" if value is None else value for key, value in (params or {}).items()}
        return self._run("query", [("name", name)], {"param": given, "file": file, "at": at})

    def queries(self) -> list[dict[str, Any]]:
        """The named queries, with what they ask, their parameters and columns."""
        found: list[dict[str, Any]] = self._run("query", options={"list": True})
        return found

    # Rows

    def images(self, where: str | None = None, *, limit: int | None = None) -> pa.Table:
        """The images, in the order of their file names.

        Args:
            where: SQL over the columns of `images`.
            limit: Maximum number of images.

        >>> store.images("split = 'test'")["file_name"].to_pylist()
        """
        return self.sql(f"SELECT * FROM images {_where([where])} ORDER BY file_name, image_id {_limit(limit)}")

    def masks(
        self,
        where: str | None = None,
        *,
        image: str | None = None,
        limit: int | None = None,
        embeddings: bool = False,
    ) -> Masks:
        """The masks that extractors found and people added, with their pixels.

        Args:
            where: SQL over the columns of `masks`.
            image: Only those of one image: its file name, or at least the first four digits of its id.
            limit: Maximum number of masks.
            embeddings: Read their embeddings, too.

        >>> for mask in store.masks(image="cat/1.jpg"):
        ...     print(mask["area"], mask.array.shape)
        """
        columns = "*" if embeddings else "* EXCEPT (embedding)"
        conditions = [where, _in("image_id", self._images_of(image))]
        order = "ORDER BY image_id, extractor_id, mask_index"
        return Masks(self.sql(f"SELECT {columns} FROM masks {_where(conditions)} {order} {_limit(limit)}"))

    def predictions(
        self,
        head: str,
        where: str | None = None,
        *,
        image: str | None = None,
        policy: str | None = None,
        all_masks: bool = False,
        limit: int | None = None,
    ) -> Masks:
        """The masks that a head keeps, with their classes, scores and pixels.

        Args:
            head: Its name, or the first digits of its id.
            where: SQL over the columns of `predictions`.
            image: Only those of one image: its file name, or at least the first four digits of its id.
            policy: First digits of the id of the annotation policy; by default the one used last.
            all_masks: Also those that it does not keep.
            limit: Maximum number of masks.

        >>> [(mask["class"], mask["score"]) for mask in store.predictions("fine", image="cat/1.jpg")]
        """
        used = self._policy(head, policy)
        conditions = [
            where,
            _of_policy(used),
            None if all_masks else "kept",
            _in("image_id", self._images_of(image)),
        ]
        return Masks(
            self.sql(
                f"{_with_masks('p.*, m.rle, m.bbox, m.area, m.predicted_iou, m.stability_score', conditions)} "
                f"ORDER BY p.image_id, p.score DESC, p.mask_index {_limit(limit)}"
            )
        )

    def ground_truth(
        self, where: str | None = None, *, dataset: str | None = None, image: str | None = None, limit: int | None = None
    ) -> Masks:
        """The annotated objects, with their pixels.

        Args:
            where: SQL over the columns of `ground_truth`.
            dataset: Only those of one data set, which must have annotations.
            image: Only those of one image: its file name, or at least the first four digits of its id.
            limit: Maximum number of objects.
        """
        of_dataset = None if dataset is None else self._of_annotated(dataset)
        conditions = [where, of_dataset, _in("image_id", self._images_of(image))]
        order = "ORDER BY image_id, ground_truth_id"
        return Masks(self.sql(f"SELECT * FROM ground_truth {_where(conditions)} {order} {_limit(limit)}"))

    def photo(self, image: str) -> NDArray[np.uint8]:
        """A photo, upright, `[height, width, 3]` of 8-bit RGB.

        Args:
            image: Its file name, or at least the first four digits of its id.
        """
        return self._read_photo(self._image(image))

    # Heads and pictures

    def head(self, name: str) -> Head:
        """A head, ready to predict.

        Args:
            name: Its name, or the first digits of its id.

        >>> store.head("fine").predict(store.masks(embeddings=True).embeddings)
        """
        return Head(_lib.Head.load(self.path, self._place.storage_options, name))

    def show(
        self,
        image: str | None = None,
        *,
        where: str | None = None,
        limit: int | None = None,
        head: str | None = None,
        policy: str | None = None,
        extractor: str | None = None,
        dataset: str | None = None,
        classes: str | None = None,
        parts: Iterable[Literal["photo", "truth", "masks", "head"]] | None = None,
        side: int | None = None,
        at: int | str | None = None,
    ) -> Picture:
        """Draws images: the photo, annotated objects, all masks, and what a head keeps, side by side.

        Args:
            image: Its file name, or at least the first four digits of its id.
            where: Choose images: SQL over the columns of `images`.
            limit: Maximum number of images, in the order of their file names; 24 by default.
            head: The head whose kept masks are drawn.
            policy: First digits of the id of its annotation policy; by default the one used last.
            extractor: First digits of the id of the extractor whose masks are drawn.
            dataset: Data set whose annotations are drawn.
            classes: Class set that objects are shown in.
            parts: Parts of a picture, in order.
            side: Longer side of each part in pixels; 360 by default.
            at: Read the store at an earlier version, or at a tag.

        >>> store.show(where="split = 'test'", head="fine", limit=3)
        """
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "picture.png")
            options = {
                "where": where,
                "limit": limit,
                "head": head,
                "policy": policy,
                "extractor": extractor,
                "dataset": dataset,
                "classes": classes,
                "parts": parts,
                "side": side,
                "at": at,
                "output": file,
            }
            self._run("show", [("image", image)], options)
            return Picture(file.read_bytes())

    def to_torch_dataset(
        self,
        *,
        head: str | None = None,
        policy: str | None = None,
        dataset: str | None = None,
        classes: str | None = None,
        where: str | None = None,
        transform: Callable[[Any, dict[str, Any]], Any] | None = None,
    ) -> SegmentationDataset:
        """Images with what a head keeps, or with annotated objects, for `torch.utils.data.DataLoader`. Torch is not imported.

        Classes are numbered in the declared order of their set, whether they occur or not. Under one set, a head and a data
        set have the same numbers; objects that are of no class of the set are left out.

        Args:
            head: The head; all images that it annotated are items.
            policy: First digits of the id of its annotation policy; by default the one used last.
            dataset: In place of a head: the data set whose annotated objects are read; all its images are items.
            classes: The class set, NAME or NAME@VERSION, whose classes the objects are of, by its labels. The default is the
                head's own, and another must be as coarse or coarser; for a data set, it is the newest version of the set of
                its name, which is made as annotations are ingested. Where there is none, the classes are the categories that
                occur, sorted.
            where: Choose images: SQL over the columns of `images`.
            transform: Called with the photo and the target of an item; what it returns is the item.

        Raises:
            grainstore.errors.NotFoundError: There is no such head, data set or class set.
            grainstore.errors.OptionError: A class of the head would be several classes of the set, or the set has none of its labels.

        >>> data = store.to_torch_dataset(dataset="scenes", where="split = 'train'")
        >>> loader = torch.utils.data.DataLoader(data, batch_size=4, collate_fn=lambda items: tuple(zip(*items)))
        >>> predicted = store.to_torch_dataset(head="fine", classes="scenes")    # the same number for the same class
        """
        if policy is not None and head is None:
            raise ValueError("a policy is one of a head; give the head, too")
        if head is not None and dataset is None:
            used = self._policy(head, policy)
            of_head = _of_policy(used)
            chosen = f"image_id IN (SELECT image_id FROM predictions WHERE {of_head})"
            columns = "p.image_id, p.class, p.score, m.rle, m.bbox, m.area, false AS iscrowd"
            objects = _with_masks(columns, [of_head, "kept"])
            names, numbers = self._classes_of_head(used["head_id"], classes)
        elif dataset is not None and head is None:
            of_dataset = self._of_annotated(dataset)
            chosen = f"(image_id IN (SELECT image_id FROM ground_truth WHERE {of_dataset}) OR {of_dataset})"
            objects = (
                "SELECT image_id, category AS class, rle, bbox, area, iscrowd "
                f"FROM ground_truth WHERE {of_dataset} AND rle IS NOT NULL AND NOT is_ignored"
            )
            names, numbers = self._classes_of_dataset(dataset, classes)
        else:
            raise ValueError("give either a head or a data set")
        images = self.images(" AND ".join(f"({it})" for it in (chosen, where) if it))
        conditions = [_among("class", numbers), f"image_id IN (SELECT image_id FROM images {_where([where])})"]
        objects = self.sql(f"SELECT * FROM ({objects}) {_where(conditions)} ORDER BY image_id, class")
        return SegmentationDataset(self, images, objects, names, numbers, transform)

    # Within

    def _policy(self, head: str, policy: str | None) -> dict[str, Any]:
        """The ids of a head and of the policy it was used with last, or of the one that is asked for."""
        used: list[dict[str, Any]] = self.query("annotate/policies", {"head": head}).to_pylist()
        if not used:
            raise NotFoundError(f"head '{head}' has no predictions", "store.annotate(head) makes them")
        if policy is None:
            return used[0]
        fitting = [it for it in used if _may_be_id("policy", policy) and it["policy_id"].startswith(policy)]
        if not fitting:
            raise NotFoundError(f"head '{head}' has no predictions under policy '{policy}'", "store.query('annotate/policies') lists them")
        if len(fitting) > 1:
            ids = ", ".join(it["policy_id"] for it in fitting[:5])
            raise OptionError(f"'{policy}' may be any of {len(fitting)} policies: {ids}", "give more digits of the id")
        return fitting[0]

    def _classes_of_head(self, head_id: str, classes: str | None) -> tuple[list[str], dict[str, int]]:
        """The names of the classes that a head's objects are numbered in, and the number of each class of the head."""
        row = self.sql(f"SELECT class_set, class_set_version FROM heads WHERE head_id = {_quoted(head_id)}").to_pylist()[0]
        own = self.classes_show(f"{row['class_set']}@{row['class_set_version']}")
        wanted = own if classes is None else self.classes_show(classes)
        return names_of(wanted), numbers_of_classes(own, wanted)

    def _classes_of_dataset(self, dataset: str, classes: str | None) -> tuple[list[str], dict[str, int]]:
        """The names of the classes that annotated objects are numbered in, and the number of each category."""
        try:
            wanted = self.classes_show(dataset if classes is None else classes)
        except NotFoundError:
            if classes is not None:
                raise
            occurs = f"dataset = {_quoted(dataset)} AND category IS NOT NULL AND NOT is_ignored"
            found = self.sql(f"SELECT DISTINCT category FROM ground_truth WHERE {occurs} ORDER BY category")
            names: list[str] = found["category"].to_pylist()
            return names, {name: number for number, name in enumerate(names, start=1)}
        return names_of(wanted), numbers_of_labels(wanted)

    def _of_annotated(self, dataset: str) -> str:
        """The condition for rows of a data set, which must have annotations."""
        condition = f"dataset = {_quoted(_text('dataset', dataset))}"
        # Its parameter refuses any other name.
        self.query("classes/from_ground_truth", {"dataset": dataset})
        return condition

    def _image(self, word: str) -> dict[str, Any]:
        fits = f"file_name = {_quoted(_text('image', word))}"
        if _may_be_id("image", word):
            fits += f" OR starts_with(image_id, {_quoted(word)})"
        found: list[dict[str, Any]] = self.images(fits).to_pylist()
        if not found:
            raise NotFoundError(f"there is no image '{word}'", "store.images() lists them")
        if len(found) > 1:
            names = ", ".join(f"'{it['file_name']}' ({it['image_id']})" for it in found[:5])
            raise OptionError(f"'{word}' may be any of {len(found)} images: {names}", "give more digits of the id")
        return found[0]

    def _images_of(self, word: str | None) -> str | None:
        return None if word is None else self._image(word)["image_id"]

    def _open_photos(self) -> _lib.Photos:
        # After a fork, as in the workers of a DataLoader, threads of the parent are not there.
        if self._photos is None or self._photos[0] != os.getpid():
            self._photos = (os.getpid(), _lib.Photos.open(self.path, self._place.storage_options))
        return self._photos[1]

    def _read_photo(self, image: Mapping[str, Any]) -> NDArray[np.uint8]:
        pixels, height, width = self._open_photos().read(image["root"], image["file_name"], image["image_id"])
        return np.frombuffer(pixels, dtype=np.uint8).reshape(height, width, 3)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_photos": None}

    def __repr__(self) -> str:
        return f"Store('{self.path}')"


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected text, found {type(value).__name__}")
    return value


def _may_be_id(name: str, word: Any) -> bool:
    """Whether a word has enough digits for the beginning of an id, as in the program (src/catalogue)."""
    return re.fullmatch("[0-9A-Fa-f]{4,}", _text(name, word)) is not None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _in(column: str, value: str | None) -> str | None:
    return None if value is None else f"{column} = {_quoted(value)}"


def _among(column: str, values: Iterable[str]) -> str:
    given = ", ".join(_quoted(value) for value in values)
    return f"{column} IN ({given})" if given else "false"


def _where(conditions: Iterable[str | None]) -> str:
    given = [f"({condition})" for condition in conditions if condition]
    return f"WHERE {' AND '.join(given)}" if given else ""


def _of_policy(used: Mapping[str, Any]) -> str:
    """The predictions of a head under a policy."""
    return f"head_id = {_quoted(used['head_id'])} AND policy_id = {_quoted(used['policy_id'])}"


def _with_masks(columns: str, conditions: Iterable[str | None]) -> str:
    """Selects columns of predictions, `p`, and of their masks, `m`."""
    return (
        f"SELECT {columns} FROM (SELECT * FROM predictions {_where(conditions)}) p JOIN masks m "
        "ON m.image_id = p.image_id AND m.extractor_id = p.extractor_id AND m.mask_index = p.mask_index"
    )


def _limit(limit: int | None) -> str:
    return "" if limit is None else f"LIMIT {int(limit)}"
