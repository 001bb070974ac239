"""Writes what Ultralytics reads from an exported YOLO directory, and what it writes itself.

    python3 -m venv target/yolo
    target/yolo/bin/pip install --no-deps ultralytics==8.3.227 ultralytics-thop
    target/yolo/bin/pip install torch torchvision numpy opencv-python-headless pyyaml pillow requests psutil polars matplotlib scipy
    target/yolo/bin/python tests/data/yolo/generate.py target/debug/grainstore

in.json     COCO data set of the photos: drawn masks with holes and parts, as runs
read.json   for each photo, the class and the mask (runs) of each object, as YOLODataset and polygon2mask give them
saved/      labels that Results.save_txt writes for the masks of in.json
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset, polygon2mask
from ultralytics.engine.results import Results

HERE = Path(__file__).parent
NAMES = {0: "ring", 1: "pair", 2: "blob"}
WIDTH, HEIGHT = 600, 400


def runs(mask):
    flat = np.concatenate([[0], mask.astype(np.uint8).ravel(order="F"), [0]])
    changes = np.flatnonzero(np.diff(flat))
    counts = np.diff(np.concatenate([[0], changes, [mask.size]]))
    return [int(n) for n in counts]


def drawn(seed):
    """A ring with two holes, two ellipses that do not touch, and a blob."""
    random = np.random.default_rng(seed)
    masks = []
    ring = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y = (int(n) for n in random.integers(140, 200, 2))
    cv2.ellipse(ring, (x, y), (120, 110), 20, 0, 360, 1, -1)
    cv2.ellipse(ring, (x - 40, y - 20), (30, 25), 0, 0, 360, 0, -1)
    cv2.ellipse(ring, (x + 45, y + 30), (25, 40), 0, 0, 360, 0, -1)
    masks.append((0, ring))
    pair = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.ellipse(pair, (420, 90 + seed), (90, 60), 10, 0, 360, 1, -1)
    cv2.ellipse(pair, (470, 300), (80, 70), 70, 0, 360, 1, -1)
    masks.append((1, pair))
    noise = cv2.GaussianBlur(random.random((HEIGHT, WIDTH)).astype(np.float32), (0, 0), 35)
    blob = (noise > np.quantile(noise, 0.75)).astype(np.uint8)
    count, parts, stats, _ = cv2.connectedComponentsWithStats(blob, connectivity=4)
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    masks.append((2, (parts == largest).astype(np.uint8)))
    return masks


def main(program):
    (HERE / "photos").mkdir(exist_ok=True)
    (HERE / "saved").mkdir(exist_ok=True)
    images, annotations = [], []
    for number, name in enumerate(["a", "b"], 1):
        photo = np.full((HEIGHT, WIDTH), 50 * number, np.uint8)
        Image.fromarray(photo).save(HERE / f"photos/{name}.png")
        images.append({"id": number, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT})
        masks = drawn(number)
        for klass, mask in masks:
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": klass, "iscrowd": 0,
                                "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs(mask)}})
        boxes = torch.tensor([[0, 0, WIDTH, HEIGHT, 1.0, klass] for klass, _ in masks])
        stack = torch.from_numpy(np.stack([mask for _, mask in masks]))
        result = Results(np.zeros((HEIGHT, WIDTH, 3), np.uint8), f"{name}.png", NAMES, boxes=boxes, masks=stack)
        saved = HERE / f"saved/{name}.txt"
        saved.unlink(missing_ok=True)
        result.save_txt(saved)
    categories = [{"id": klass, "name": name} for klass, name in NAMES.items()]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (HERE / "in.json").write_text(json.dumps(data))

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        run = lambda *args: subprocess.run([program, "--store", folder / "store", *args], check=True)
        run("init")
        run("ingest", "coco", "--annotations", HERE / "in.json", "--images", HERE / "photos", "--dataset", "drawn",
            "--split", "val")
        run("export", "yolo", "--ground-truth", "--dataset", "drawn", "-o", folder / "yolo")
        data = check_det_dataset(str(folder / "yolo/data.yaml"), autodownload=False)
        dataset = YOLODataset(img_path=data["val"], data=data, task="segment", augment=False, rect=False)
        read = {"names": [data["names"][at] for at in range(len(data["names"]))], "images": {}}
        for label in dataset.labels:
            objects = []
            for klass, segment in zip(label["cls"].ravel(), label["segments"]):
                polygon = segment * np.array([WIDTH, HEIGHT])
                mask = polygon2mask((HEIGHT, WIDTH), [polygon.ravel()])
                objects.append({"class": int(klass), "runs": runs(mask)})
            read["images"][Path(label["im_file"]).name] = objects
        (HERE / "read.json").write_text(json.dumps(read))


main(sys.argv[1])
