"""Masks of a store, with their pixels as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, overload

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from . import _lib
from .errors import InputError

__all__ = ["Mask", "Masks", "mask_decode", "mask_encode"]


def mask_decode(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """The pixels of a mask in COCO's run-length encoding, `[height, width]`.

    Args:
        rle: A mapping with `counts` and `size`, as pycocotools has it, or with `counts`, `height` and `width`, as the store
            has it. Counts are text or bytes, or a list of runs, which begin with the background and go down the columns; what
            the runs leave over is background.

    Raises:
        grainstore.errors.InputError: The counts are not those of a mask of this size.

    >>> mask_decode({"height": 2, "width": 3, "counts": "132"}).astype(int)
    array([[0, 1, 0],
           [1, 1, 0]])
    """
    counts = rle["counts"]
    height, width = rle["size"] if "size" in rle else (rle["height"], rle["width"])
    if isinstance(counts, bytes):
        if not counts.isascii():
            raise InputError(f"counts of a {height}x{width} mask hold bytes that are not ASCII")
        counts = counts.decode("ascii")
    if not isinstance(counts, str):
        return _pixels_of_runs(counts, height, width)
    pixels = _lib.mask_decode(counts, height, width)
    return np.frombuffer(pixels, dtype=np.bool_).reshape(height, width)


def _pixels_of_runs(counts: Any, height: int, width: int) -> NDArray[np.bool_]:
    if not isinstance(counts, (Sequence, np.ndarray)):
        raise TypeError(f"counts: expected text, bytes or a list of runs, found {type(counts).__name__}")
    runs = np.asarray(counts) if len(counts) else np.zeros(0, dtype=np.int64)
    if runs.ndim != 1 or runs.dtype.kind not in "iu" or (runs < 0).any():
        raise InputError(f"counts of a {height}x{width} mask are no list of runs: expected whole numbers from 0")
    total = height * width
    for index, end in enumerate(accumulate(runs.tolist())):
        if end > total:
            raise InputError(f"run {index} of a {height}x{width} mask ends at pixel {end}, expected at most {total}")
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    pixels = np.zeros(total, dtype=np.bool_)
    pixels[: len(inside)] = inside
    return np.ascontiguousarray(pixels.reshape(width, height).T)


def mask_encode(mask: ArrayLike) -> dict[str, Any]:
    """A mask, `[height, width]`, in COCO's compressed run-length encoding, as pycocotools has it but with text counts.

    >>> mask_encode([[0, 1, 0], [1, 1, 0]])
    {'size': [2, 3], 'counts': '132'}
    """
    pixels = np.ascontiguousarray(np.asarray(mask) != 0)
    if pixels.ndim != 2:
        raise ValueError(f"expected an array [height, width], found one of {pixels.ndim} dimensions")
    height, width = pixels.shape
    return {"size": [height, width], "counts": _lib.mask_encode(pixels.tobytes(), height, width)}


class Mask(Mapping[str, Any]):
    """A row with a mask: its columns by their names, and its pixels."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row

    @property
    def array(self) -> NDArray[np.bool_]:
        """The pixels, `[height, width]` of the image. Each use decodes them anew."""
        if self._row["rle"] is None:
            raise ValueError("this object was annotated as a box without a mask")
        return mask_decode(self._row["rle"])

    def __getitem__(self, column: str) -> Any:
        return self._row[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in self._row.items() if name not in ("rle", "embedding"))
        return f"Mask({', '.join(shown)})"


class Masks(Sequence[Mask]):
    """Rows with masks, in the memory of this process, as they are in the store; pixels are decoded when they are asked for.

    Attributes:
        table: The rows.
    """

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    @property
    def embeddings(self) -> NDArray[Any]:
        """The embeddings, `[masks, numbers]`, as they are stored: 16 or 32-bit floats."""
        if "embedding" not in self.table.column_names:
            raise ValueError("these masks were read without their embeddings: give embeddings=True")
        column = self.table["embedding"].combine_chunks()
        if isinstance(column, pa.ChunkedArray):
            column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
        if column.null_count:
            raise ValueError("some of these masks have no embedding: give where=\"embedding IS NOT NULL\"")
        numbers = column.flatten().to_numpy(zero_copy_only=False)
        embeddings: NDArray[Any] = numbers.reshape(len(column), column.type.list_size)
        return embeddings

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @overload
    def __getitem__(self, index: int) -> Mask: ...
    @overload
    def __getitem__(self, index: slice) -> Masks: ...
    def __getitem__(self, index: int | slice) -> Mask | Masks:
        if isinstance(index, slice):
            return Masks(self.table.take(list(range(*index.indices(len(self))))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} masks")
        return Mask(self.table.slice(index % len(self), 1).to_pylist()[0])

    def __repr__(self) -> str:
        return f"Masks({len(self)} rows of {', '.join(self.table.column_names)})"
