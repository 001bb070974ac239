"""Images with their objects, for training other models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from .masks import mask_decode

if TYPE_CHECKING:
    from .store import Store

__all__ = ["SegmentationDataset"]


class SegmentationDataset:
    """A map-style data set, as `torch.utils.data.DataLoader` takes it. It holds run lengths of the masks in memory, not their
    pixels.

    An item is a photo, `[height, width, 3]` of 8-bit RGB, and a dict in the form of torchvision's detection models: `boxes`
    `[n, 4]` (x0, y0, x1, y1 in pixels), `labels` `[n]` (numbered from 1; 0 is background), `masks` `[n, height, width]` of 0
    and 1, `area` `[n]`, `iscrowd` `[n]`, `scores` `[n]` where a head gave them, and `image_id` and `file_name`. All arrays are
    NumPy's. Objects without a mask are left out.

    Attributes:
        classes: The names of the classes, in the order of their class set; label 1 is the first.
    """

    def __init__(
        self,
        store: Store,
        images: pa.Table,
        objects: pa.Table,
        classes: list[str],
        numbers: Mapping[str, int],
        transform: Callable[[Any, dict[str, Any]], Any] | None,
    ) -> None:
        self._store = store
        self._images = images
        self.classes = classes
        self.transform = transform
        places: dict[str, list[int]] = {image_id: [] for image_id in images["image_id"].to_pylist()}
        for place, image_id in enumerate(objects["image_id"].to_pylist()):
            # Another writer may have added an image after these were read.
            if image_id in places:
                places[image_id].append(place)
        self._places = places
        self._objects = objects
        self._labels = np.array([numbers[name] for name in objects["class"].to_pylist()], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._images.num_rows)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(f"there are {len(self)} images")
        image = self._images.slice(index % len(self), 1).to_pylist()[0]
        photo = self._store._read_photo(image)
        places = self._places[image["image_id"]]
        rows = self._objects.take(pa.array(places, pa.int64())).to_pylist()
        height, width = photo.shape[:2]
        masks = np.zeros((len(rows), height, width), dtype=np.uint8)
        for place, row in enumerate(rows):
            masks[place] = mask_decode(row["rle"])
        target: dict[str, Any] = {
            "boxes": np.array([_corners(row["bbox"]) for row in rows], dtype=np.float32).reshape(-1, 4),
            "labels": self._labels[places],
            "masks": masks,
            "area": np.array([row["area"] for row in rows], dtype=np.float32),
            "iscrowd": np.array([row["iscrowd"] for row in rows], dtype=np.int64),
            "image_id": image["image_id"],
            "file_name": image["file_name"],
        }
        if "score" in self._objects.column_names:
            target["scores"] = np.array([row["score"] for row in rows], dtype=np.float32)
        return (photo, target) if self.transform is None else self.transform(photo, target)

    def __repr__(self) -> str:
        return f"SegmentationDataset({len(self)} images, {self._objects.num_rows} objects of {len(self.classes)} classes)"


def _corners(bbox: list[float]) -> list[float]:
    x, y, width, height = bbox
    return [x, y, x + width, y + height]
