"""Makes the fixtures of tests/it/eval.rs: annotations and detections of made-up images, and what pycocotools 2.0.11 and
plain NumPy say of them.

    python -m venv venv && venv/bin/pip install numpy==2.4.6 pycocotools==2.0.11 opencv-python-headless==5.0.0.93
    venv/bin/python tests/data/eval/make.py

Detections are annotations shifted, eroded, relabelled, duplicated and dropped; scores are tied; there are crowds, an image
with more than 100 detections of a class, images without annotations, without detections and without either, a class that
is never annotated and one that is never detected.
"""

import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

HERE = Path(__file__).parent
CATEGORIES = [(3, "cat", "animal"), (7, "dog", "animal"), (11, "car", "vehicle"), (12, "bus", "vehicle"),
              (20, "boat", "vehicle"), (44, "spoon", "kitchen")]
NEVER_DETECTED, NEVER_ANNOTATED = 20, 44
GROUPS = {"animal": [3, 7], "vehicle": [11, 12, 20]}
random = np.random.default_rng(7)


def encode(mask):
    found = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode()}


def blob(height, width):
    """An ellipse somewhere, of any size from a few pixels to most of the image."""
    y, x = np.mgrid[:height, :width]
    radius = random.uniform(0.04, 0.5, 2) * [height, width]
    middle = random.uniform(0.1, 0.9, 2) * [height, width]
    turn = random.uniform(0, np.pi)
    dy, dx = y - middle[0], x - middle[1]
    u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
    mask = (u / max(radius[1], 1.5)) ** 2 + (v / max(radius[0], 1.5)) ** 2 <= 1
    if not mask.any():
        mask[int(middle[0]), int(middle[1])] = True
    return mask


def perturbed(mask):
    shift = random.integers(-4, 5, 2)
    mask = np.roll(mask, shift, (0, 1))
    way = random.integers(4)
    kernel = np.ones((3, 3), np.uint8)
    if way == 0:
        mask = cv2.erode(mask.astype(np.uint8), kernel) > 0
    elif way == 1:
        mask = cv2.dilate(mask.astype(np.uint8), kernel) > 0
    elif way == 2:
        mask = mask & (random.random(mask.shape) < 0.9)
    return mask


def make():
    images, annotations, results = [], [], []
    # Annotation ids fall while the file goes on, as they may.
    ids = iter(range(1000, 0, -1))
    for n in range(32):
        height, width = (int(side) for side in random.integers(60, 150, 2))
        image_id = int(500 + 37 * n % 101 * 10 + n)
        images.append({"id": image_id, "file_name": f"{n:03}.png", "height": height, "width": width})
        count = 0 if n in (5, 6, 7) else int(random.integers(1, 9))
        of_image = []
        for _ in range(count):
            mask = blob(height, width)
            known = [c for c, *_ in CATEGORIES if c != NEVER_ANNOTATED]
            category = int(random.choice(known))
            iscrowd = int(random.random() < 0.12)
            segmentation = encode(mask)
            of_image.append((mask, category))
            annotations.append({
                "id": next(ids), "image_id": image_id, "category_id": category, "iscrowd": iscrowd,
                "segmentation": segmentation,
                # As annotators' polygons: near the pixel count, not the same.
                "area": float(mask.sum()) * 0.98, "bbox": [float(x) for x in rle.toBbox(segmentation)]})
        if n in (6, 9):
            continue
        found = []
        for mask, category in of_image:
            if random.random() < 0.15:
                continue
            for _ in range(1 + int(random.random() < 0.25)):
                label = category if random.random() < 0.8 else int(random.choice([c for c, *_ in CATEGORIES]))
                found.append((perturbed(mask), label))
        for _ in range(int(random.integers(0, 4))):
            found.append((blob(height, width), int(random.choice([c for c, *_ in CATEGORIES]))))
        if n == 3:
            found += [(blob(height, width), 3) for _ in range(130)]
        for mask, label in found:
            if label == NEVER_DETECTED or not mask.any():
                continue
            score = float(random.random())
            if random.random() < 0.5:
                score = round(score, 1)
            results.append({"image_id": image_id, "category_id": label, "score": score, "segmentation": encode(mask)})
    categories = [{"id": c, "name": name, "supercategory": group} for c, name, group in CATEGORIES]
    random.shuffle(images)
    return {"images": images, "annotations": annotations, "categories": categories}, results


def figures(truth, results, kind):
    """COCO's 12 figures, and of each category with objects AP, AP50, AP75, AP small, medium, large, AR 100."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(truth))
        coco.createIndex()
        judged = COCOeval(coco, coco.loadRes(json.loads(json.dumps(results))), kind)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    precision, recall = judged.eval["precision"], judged.eval["recall"]

    def mean(values):
        values = values[values > -1]
        return float(values.mean()) if values.size else None

    names = {c["id"]: c["name"] for c in truth["categories"]}
    classes = {}
    for k, category in enumerate(judged.params.catIds):
        of_class = [mean(precision[:, :, k, 0, 2]), mean(precision[0, :, k, 0, 2]), mean(precision[5, :, k, 0, 2])]
        of_class += [mean(precision[:, :, k, area, 2]) for area in (1, 2, 3)]
        of_class.append(mean(recall[:, k, 0, 2]))
        if of_class[0] is not None:
            classes[names[category]] = of_class
    stats = [None if x == -1 else float(x) for x in judged.stats]
    return {"stats": stats, "classes": classes}


def boundary(mask):
    """boundary_iou_api's mask_to_boundary."""
    height, width = mask.shape
    distance = max(1, int(round(0.02 * np.sqrt(height**2 + width**2))))
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)
    return mask & (eroded[1:-1, 1:-1] == 0)


def pixels(truth, results, classes):
    """Confusion matrix over pixels, background first, by painting bitmaps; `classes` lists category ids."""
    place = {category: at + 1 for at, of_class in enumerate(classes.values()) for category in of_class}
    count = len(classes) + 1
    confusion = np.zeros((count, count), np.int64)
    rims = np.zeros((count, 2), np.int64)
    for image in truth["images"]:
        shape = (image["height"], image["width"])
        seen = np.zeros((count, *shape), bool)
        ignored = np.zeros(shape, bool)
        for annotation in truth["annotations"]:
            if annotation["image_id"] != image["id"]:
                continue
            mask = rle.decode(annotation["segmentation"]).astype(bool)
            if annotation["iscrowd"]:
                ignored |= mask
            elif annotation["category_id"] in place:
                seen[place[annotation["category_id"]]] |= mask
        ignored |= seen.sum(0) > 1
        label = np.argmax(seen, 0)
        said = np.zeros(shape, int)
        of_image = [r for r in results if r["image_id"] == image["id"] and r["category_id"] in place]
        order = sorted(range(len(of_image)), key=lambda at: -of_image[at]["score"])
        for at in reversed(order):
            said[rle.decode(of_image[at]["segmentation"]).astype(bool)] = place[of_image[at]["category_id"]]
        judged = ~ignored
        np.add.at(confusion, (label[judged], said[judged]), 1)
        for c in range(1, count):
            wanted, found = boundary(seen[c]) & judged, boundary(said == c) & judged
            rims[c] += [(wanted & found).sum(), (wanted | found).sum()]
    found = np.diag(confusion)
    wanted, said = confusion.sum(1), confusion.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = np.where(wanted > 0, found / (wanted + said - found), np.nan)
        recall = found / wanted
        dice = np.where(wanted > 0, 2 * found / (wanted + said), np.nan)
        rim = np.where(wanted > 0, rims[:, 0] / rims[:, 1], np.nan)
    share = wanted / wanted.sum()
    number = lambda x: None if np.isnan(x) else float(x)
    return {
        "confusion": confusion.tolist(),
        "iou": [number(x) for x in iou],
        "miou": number(np.nanmean(iou)), "miou_classes": number(np.nanmean(iou[1:])),
        "pixel_accuracy": number(found.sum() / confusion.sum()), "mean_accuracy": number(np.nanmean(recall)),
        "fw_iou": number(np.nansum(iou * share)), "dice": number(np.nanmean(dice)),
        "boundary_iou": [number(x) for x in rim[1:]],
    }


def main():
    truth, results = make()
    boxes = []
    for it in results:
        x, y, width, height = rle.toBbox(it["segmentation"])
        box = [float(x) + 0.25, float(y) + 0.5, float(width) - 0.25, float(height)]
        boxes.append({"image_id": it["image_id"], "category_id": it["category_id"], "score": it["score"], "bbox": box})
    names = {c: name for c, name, _ in CATEGORIES}
    coarse = {c: at + 1 for at, of_group in enumerate(GROUPS.values()) for c in of_group}
    regroup = lambda items: [it | {"category_id": coarse[it["category_id"]]} for it in items if it["category_id"] in coarse]
    coarse_truth = truth | {"annotations": regroup(truth["annotations"]), "categories": [
        {"id": at + 1, "name": name} for at, name in enumerate(GROUPS)]}
    expected = {
        "masks": {kind: figures(truth, results, kind) for kind in ("segm", "bbox")},
        "boxes": {kind: figures(truth, boxes, kind) for kind in ("segm", "bbox")},
        "pixels": pixels(truth, results, {names[c]: [c] for c, *_ in CATEGORIES}),
        "coarse": {"segm": figures(coarse_truth, regroup(results), "segm"), "pixels": pixels(truth, results, GROUPS)},
    }
    for name, value in [("truth", truth), ("masks", results), ("boxes", boxes), ("expected", expected)]:
        (HERE / f"{name}.json").write_text(json.dumps(value, separators=(",", ":")) + "\n")
    print(json.dumps(expected["masks"]["segm"]["stats"]), len(results), "detections")


if __name__ == "__main__":
    main()
