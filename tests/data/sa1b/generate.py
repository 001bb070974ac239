"""Writes what datumaro reads from a directory that grainstore exported as SA-1B, and what datumaro makes of it.

    python3 -m venv target/cvat
    target/cvat/bin/pip install datumaro==1.13.12 pycocotools==2.0.11 numpy==2.4.6 pillow==12.3.0 opencv-python-headless==4.14.0.94
    target/cvat/bin/python tests/data/sa1b/generate.py target/debug/grainstore

The photos and masks are those of tests/data/import (sa1b/), imported and exported with the photos.

read.json   for each photo its masks as datumaro reads them: runs as pycocotools decodes them, box, and the numbers of SAM
saved/      the files that datumaro writes for the same, without the photos
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import datumaro as dm
import numpy as np
from datumaro.components.annotation import AnnotationType
from pycocotools import mask as coco

HERE = Path(__file__).parent
IMPORTED = HERE.parent / "import"
NUMBERS = ["predicted_iou", "stability_score", "point_coords", "crop_box"]


def runs(rle):
    flat = np.concatenate([[0], coco.decode(rle).ravel(order="F"), [0]])
    changes = np.flatnonzero(np.diff(flat))
    return [int(n) for n in np.diff(np.concatenate([[0], changes, [flat.size - 2]]))]


def main(program):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        run = lambda *args: subprocess.run([program, "--store", folder / "store", *args], check=False)
        run("init")
        run("ingest", "images", IMPORTED / "photos", "--no-labels")
        run("import", "masks", "--sa1b", IMPORTED / "sa1b")
        run("export", "sa1b", "--copy-images", "-o", folder / "sa1b").check_returncode()
        dataset = dm.Dataset.import_from(str(folder / "sa1b"), "segment_anything")
        read = {}
        for item in dataset:
            masks = [it for it in item.annotations if it.type == AnnotationType.mask]
            boxes = {it.id: it for it in item.annotations if it.type == AnnotationType.bbox}
            read[Path(item.media.path).name] = [
                {"id": it.id, "size": it.rle["size"], "runs": runs(it.rle), "bbox": boxes[it.id].get_bbox()}
                | {key: it.attributes[key] for key in NUMBERS}
                for it in masks
            ]
            assert item.media.data.shape[:2] == tuple(item.media.size), item.id
        (HERE / "read.json").write_text(json.dumps(read, indent=1) + "\n")
        shutil.rmtree(HERE / "saved", ignore_errors=True)
        dataset.export(str(folder / "saved"), "segment_anything", save_media=False)
        (HERE / "saved").mkdir()
        for file in sorted((folder / "saved").rglob("*.json")):
            shutil.copy(file, HERE / "saved" / file.name)


main(sys.argv[1])
