"""Run Segment Anything once, then query: a store of masks, labels, heads and evaluations.

>>> import grainstore
>>> grainstore.demo(where="demo")                       # generated photos, a small SAM, two heads
>>> store = grainstore.open("demo/store")
>>> store.train("mine", "kinds", epochs=20)             # a head in seconds, from labels of whole images
>>> store.annotate("mine")
>>> store.evaluate(head="mine", split="test")
>>> store.sql("SELECT class, count(*) FROM predictions WHERE kept GROUP BY class").to_pandas()
>>> store.show(where="split = 'test'", head="mine", limit=3)
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from . import _lib, errors
from ._lib import __version__
from ._progress import Progress
from ._run import Place, run
from .dataset import SegmentationDataset
from .errors import GrainstoreError, UnusableItemsWarning
from .head import Head, Prediction
from .masks import Mask, Masks, mask_decode, mask_encode
from .picture import Picture
from .store import Store

__all__ = [
    "GrainstoreError",
    "Head",
    "Mask",
    "Masks",
    "Picture",
    "Prediction",
    "Progress",
    "SegmentationDataset",
    "Store",
    "UnusableItemsWarning",
    "__version__",
    "create",
    "demo",
    "errors",
    "mask_decode",
    "mask_encode",
    "open",
]

_lib.set_program([sys.executable, "-m", "grainstore"])


def open(  # noqa: A001
    path: str | os.PathLike[str] = "grainstore",
    *,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | Progress = True,
) -> Store:
    """Opens a store.

    Args:
        path: A directory, or the URI of a bucket.
        storage_options: Options of buckets, such as endpoint or region.
        progress: Whether long work draws a bar; or an object with the methods of `Progress`.

    Raises:
        grainstore.errors.NotFoundError: There is no store.

    >>> store = grainstore.open("demo/store")
    """
    return Store(path, storage_options=storage_options, progress=progress)


def create(
    path: str | os.PathLike[str] = "grainstore",
    *,
    embedding_type: str | None = None,
    embedding_dim: int | None = None,
    storage_options: Mapping[str, Any] | None = None,
    progress: bool | Progress = True,
) -> Store:
    """Creates a store, or opens the one that is there if it has the same options.

    Args:
        path: A directory, or the URI of a bucket.
        embedding_type: Number type of mask embeddings: f16 (the default) or f32.
        embedding_dim: Numbers per embedding; 1024 for every published SAM.
        storage_options: Options of buckets, such as endpoint or region.
        progress: Whether long work draws a bar; or an object with the methods of `Progress`.

    >>> store = grainstore.create("photos.store")
    >>> store.ingest_images("photos/", dataset="web")
    """
    options = {"embedding-type": embedding_type, "embedding-dim": embedding_dim}
    run("init", options=options, place=Place(path, storage_options), progress=False)
    return Store(path, storage_options=storage_options, progress=progress)


def demo(
    where: str | os.PathLike[str] = "grainstore-demo",
    *,
    train_images: int | None = None,
    test_images: int | None = None,
    only_scenes: bool = False,
    progress: bool | Progress = True,
) -> Any:
    """Makes a store of generated photos in a new directory, with masks of a small SAM and two trained heads.

    Args:
        where: The directory; the store is its folder `store`.
        train_images: Number of photos to train on.
        test_images: Number of photos to test on.
        only_scenes: Only generate the photos and their annotations.
        progress: Whether to show what is done.
    """
    options = {
        "where": where,
        "train-images": train_images,
        "test-images": test_images,
        "only-scenes": only_scenes,
        "quiet": progress is False,
    }
    return run("demo", options=options, progress=progress)
