"""Shows that what `grainstore export coco` writes loads without repair in four other tools.

    python tests/parity/export.py --dataset FILE --images DIR [--polygons FILE] [--ground-truth FILE [--results FILE]]

--dataset holds predictions with RLE masks, --polygons the same ones as polygons, --results a bare list of
detections, --ground-truth the data set that they are evaluated against. Data sets are held to the format's rules
and loaded by pycocotools, faster-coco-eval, supervision and FiftyOne; what they read is compared with the JSON,
and masks with those that pycocotools decodes, pixel for pixel. Prints a line for every check that passed; the
first that does not ends the run with 1.
"""

import argparse
import atexit
import contextlib
import importlib.util
import io
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import warnings

import faster_coco_eval
import numpy as np
import supervision
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

KEYS = ["area", "bbox", "category_id", "id", "image_id", "iscrowd", "segmentation"]


def expect(condition, what):
    if not condition:
        raise SystemExit(f"differs: {what}")


def expect_same(found, expected, what):
    expect(found == expected, f"{what}: expected {expected!r}, found {found!r}")


def read(path):
    return json.loads(path.read_text(), parse_constant=lambda x: expect(False, f"{path.name}: expected no {x}"))


def quietly(call, *arguments, **named):
    """Keeps what is meant for people off stdout; a warning tells of a repair, so it ends the run."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        return call(*arguments, **named)


def iou(a, b):
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def check_entry(what, entry, coco, of_mask):
    """What annotations and results have in common; `of_mask`: box and area are the mask's. Returns the mask."""
    expect(entry["image_id"] in coco.imgs, f"{what}: expected the id of an image, found {entry['image_id']}")
    expect(entry["category_id"] in coco.cats, f"{what}: expected the id of a category, found {entry['category_id']}")
    numbers = [entry.get("area", 0), entry.get("score", 0), *entry.get("bbox", [])]
    expect(np.isfinite(numbers).all(), f"{what}: expected finite numbers, found {numbers}")
    segmentation, image = entry["segmentation"], coco.imgs[entry["image_id"]]
    if isinstance(segmentation, dict):
        expect_same(type(segmentation["counts"]), str, f"{what}: type of counts")
        expect_same(segmentation["size"], [image["height"], image["width"]], f"{what}: size of the RLE")
    else:
        # pycocotools takes four numbers for a box.
        rings = [len(ring) for ring in segmentation]
        expect(rings and all(n > 5 and n % 2 == 0 for n in rings), f"{what}: expected 3 or more x, y, found {rings}")
    mask = coco.annToMask(entry)
    if of_mask:
        box, area = mask_api.toBbox(coco.annToRLE(entry)).tolist(), int(mask.sum())
        expect_same(entry.get("bbox", box), box, f"{what}: bbox, against the mask's")
        expect_same(entry.get("area", area), area, f"{what}: area, against the mask's pixels")
    return mask


def check_rules(path, given):
    name, data, of_predictions = path.name, read(path), path != given.ground_truth
    expect_same(sorted(data), ["annotations", "categories", "images", "info", "licenses"], f"{name}: top-level keys")
    for table in ["images", "categories", "annotations"]:
        ids = [row["id"] for row in data[table]]
        # COCOeval notes the id of what matched, and takes 0 for nothing.
        expect(all(type(i) is int and i > 0 for i in ids), f"{name}: expected ids above 0 in {table}, found {ids}")
        expect_same(len(set(ids)), len(ids), f"{name}: number of different ids in {table}")
    expect_same(ids, list(range(1, len(ids) + 1)) if of_predictions else ids, f"{name}: ids of annotations, in order")
    # supervision finds categories by name.
    names = [row["name"] for row in data["categories"]]
    expect_same(names, given.categories or list(dict.fromkeys(names)), f"{name}: names of categories, each once")
    for file in [image["file_name"] for image in data["images"]]:
        inside = not file.startswith("/") and ".." not in file.split("/") and (given.images / file).is_file()
        expect(inside, f"{name}: expected the relative file_name of a file in {given.images}, found {file!r}")
    coco, faster = quietly(COCO, str(path)), quietly(faster_coco_eval.COCO, str(path))
    for row in data["annotations"]:
        what = f"{name}: annotation {row['id']}"
        expect_same([key for key in KEYS if key not in row], [], f"{what}: missing keys")
        crowd, allowed = repr(row["iscrowd"]), "0" if of_predictions else "0 or 1"
        expect(crowd in allowed.split(" or "), f"{what}: expected an iscrowd of {allowed}, found {crowd}")
        expect(path != given.dataset or isinstance(row["segmentation"], dict), f"{what}: expected RLE, found rings")
        # Ground truth keeps its annotators' boxes and areas; polygons are held to the RLE file's further down.
        mask = check_entry(what, row, coco, of_mask=path == given.dataset)
        expect_same(iou(faster.annToMask(row), mask), 1.0, f"{what}: IoU of faster-coco-eval's mask with pycocotools'")
    shown, used = (len({row[key] for row in data["annotations"]}) for key in ["image_id", "category_id"])
    print(f"{name}: rules, pycocotools, faster-coco-eval: {len(ids)} annotations of {shown} of {len(data['images'])} "
          f"images and {used} of {len(names)} categories")
    return coco


def compare(what, coco, image, found, in_box=False, exact=True):
    """Compares (label, XYWH box, mask) of each detection with the image's annotations; returns IoUs not checked."""
    annotations, unchecked = coco.imgToAnns[image["id"]], []
    expect_same(len(found), len(annotations), f"{what}: number of detections in image {image['id']}")
    for (label, box, mask), row in zip(found, annotations):
        at = f"{what}: annotation {row['id']}"
        expect_same(label, coco.cats[row["category_id"]]["name"], f"{at}: label")
        expect(np.allclose(box, row["bbox"], atol=1e-3), f"{at}: expected the box {row['bbox']}, found {box}")
        expected = coco.annToMask(row)
        if in_box:
            x, y, w, h = row["bbox"]
            expected = expected[round(y) : round(y + h), round(x) : round(x + w)]
        expect_same(mask.shape, expected.shape, f"{at}: shape of the mask")
        if exact or isinstance(row["segmentation"], dict):
            expect_same(iou(mask, expected), 1.0, f"{at}: IoU of its mask with pycocotools'")
        else:
            unchecked.append(iou(mask, expected))
    return unchecked


def check_supervision(path, coco, images_dir):
    what, unchecked = f"{path.name}: supervision", []
    dataset = quietly(supervision.DetectionDataset.from_coco, str(images_dir), str(path), force_masks=True)
    names = [coco.cats[i]["name"] for i in sorted(coco.cats)]
    expect_same((len(dataset), dataset.classes), (len(coco.imgs), names), f"{what}: number of images, classes")
    for image, (file, pixels, boxes) in zip(coco.dataset["images"], dataset):
        expect_same(file, str((images_dir / image["file_name"]).resolve()), f"{what}: file of image {image['id']}")
        expect_same(pixels.shape[:2], (image["height"], image["width"]), f"{what}: (H, W) of {file}")
        found = [(names[index], box - [0, 0, *box[:2]], mask) for box, mask, _, index, *_ in boxes]
        # An RLE it decodes to the pixel, whatever iscrowd is. Polygons it does not fill as COCO does: it rounds
        # corners to whole pixels and counts the outline in. So of those it is held to all but the pixels.
        unchecked += compare(what, coco, image, found, exact=False)
    polygons = f", {len(unchecked)} polygons filled its own way (least IoU {min(unchecked):.3f})" if unchecked else ""
    print(f"{what}: {len(dataset)} images, {len(coco.anns) - len(unchecked)} masks are pycocotools'{polygons}")


def check_fiftyone(path, coco, images_dir):
    import fiftyone  # connects at once
    what, attributes = f"{path.name}: FiftyOne", 0
    dataset = fiftyone.Dataset.from_dir(
        dataset_type=fiftyone.types.COCODetectionDataset, data_path=str(images_dir), labels_path=str(path),
        label_types=["segmentations"], use_polylines=False, include_annotation_id=True, progress=False)
    names = [coco.cats[i]["name"] for i in sorted(coco.cats)]
    expect_same((len(dataset), dataset.default_classes), (len(coco.imgs), names), f"{what}: number of images, classes")
    samples = {sample.filepath: sample for sample in dataset}
    for image in coco.dataset["images"]:
        labels = samples[os.path.abspath(images_dir / image["file_name"])]["ground_truth"]
        labels, size = labels.detections if labels else [], [image["width"], image["height"]]
        found = [(label.label, np.multiply(label.bounding_box, size * 2), label.mask) for label in labels]
        # It keeps the part of a mask that is in the box, the box's corners rounded to pixels.
        compare(what, coco, image, found, in_box=True)
        for label, row in zip(labels, coco.imgToAnns[image["id"]]):
            expected = {key: row[key] for key in row.keys() - {*KEYS, "score"}}
            expected |= {"coco_id": row["id"], "confidence": row.get("score"), "iscrowd": row["iscrowd"]}
            expect_same({key: label[key] for key in expected}, expected, f"{what}: annotation {row['id']}: attributes")
            attributes += len(expected)
    print(f"{what}: {len(dataset)} samples, {len(coco.anns)} masks are pycocotools', {attributes} attributes")


def start_mongod():
    """FiftyOne's database, on a folder of its own: by itself it takes the user's, and stops it some time later."""
    mongod = pathlib.Path(importlib.util.find_spec("fiftyone").origin).parent / "db" / "bin" / "mongod"
    folder = tempfile.TemporaryDirectory()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [mongod, "--dbpath", folder.name, "--logpath", f"{folder.name}/log", "--port", port, "--nounixsocket"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # Called in reverse order: FiftyOne, imported later, turns to the server once more before it stops.
    for stop in [folder.cleanup, server.wait, server.terminate]:
        atexit.register(stop)
    # Validation only warns of the age of the server.
    os.environ |= {"FIFTYONE_DATABASE_URI": f"mongodb://127.0.0.1:{port}", "FIFTYONE_DATABASE_VALIDATION": "false",
                   "FIFTYONE_CONFIG_PATH": f"{folder.name}/none.json", "FIFTYONE_DO_NOT_TRACK": "true"}


def compare_spellings(rle, polygons, least_iou):
    for table in ["images", "categories"]:
        expect_same(polygons.dataset[table], rle.dataset[table], f"polygons: {table}")
    expect_same(list(polygons.anns), list(rle.anns), "polygons: ids of annotations")
    ious, spelt = [(1.0, 0)], 0
    for row, other in zip(rle.anns.values(), polygons.anns.values()):
        expect_same({**other, "segmentation": 0}, {**row, "segmentation": 0}, f"polygons: annotation {row['id']}")
        ious.append((iou(rle.annToMask(row), polygons.annToMask(other)), row["id"]))
        spelt += isinstance(other["segmentation"], list)
    worst, at = min(ious)
    expect(worst >= least_iou, f"polygons: annotation {at}: expected an IoU of {least_iou} with the RLE, found {worst}")
    print(f"RLE and polygons: {len(rle.anns)} masks, {spelt} of them as polygons, least IoU {worst}")


def check_results(path, truth_path, truth):
    results = read(path)
    expect(isinstance(results, list) and results, f"{path.name}: expected a list of 1 or more, as loadRes needs")
    for i, entry in enumerate(results):
        what = f"{path.name}: entry {i}"
        # loadRes reads no other masks, and asks only the first entry whether there are boxes.
        expect_same(type(entry["segmentation"]), dict, f"{what}: type of its segmentation")
        expect_same(["score" in entry, "bbox" in entry], [True, "bbox" in results[0]], f"{what}: has score, has bbox")
        check_entry(what, entry, truth, of_mask=True)
    print(f"{path.name}: rules: {len(results)} detections")
    for kind in ["segm", "bbox"]:
        figures = []
        for reader, evaluator in [(COCO, COCOeval), (faster_coco_eval.COCO, faster_coco_eval.COCOeval_faster)]:
            ground_truth = quietly(reader, str(truth_path))
            evaluation = evaluator(ground_truth, quietly(ground_truth.loadRes, str(path)), kind)
            for step in [evaluation.evaluate, evaluation.accumulate, evaluation.summarize]:
                quietly(step)
            figures.append(np.asarray(evaluation.stats, dtype=float))
            expect_same(np.isfinite(figures[-1]).tolist(), [True] * 12, f"{evaluator}, {kind}: finite figures")
        apart = float(np.abs(figures[0] - figures[1]).max())
        expect(apart <= 1e-9, f"{kind}: expected both evaluators within 1e-9, found {apart}: {figures}")
        print(f"COCOeval, {kind}: 12 figures, AP {figures[0][0]:.4f}; faster-coco-eval's are {apart:.0e} apart")


def main():
    parser = argparse.ArgumentParser()
    for option in ["--dataset", "--polygons", "--results", "--ground-truth", "--images"]:
        parser.add_argument(option, type=pathlib.Path, required=option in ["--dataset", "--images"])
    parser.add_argument("--categories", nargs="+", help="names that the data sets must list, in this order")
    parser.add_argument("--least-iou", type=float, default=1.0, help="of a mask's polygons with its RLE")
    given = parser.parse_args()
    if given.results and not given.ground_truth:
        parser.error("--results needs --ground-truth")
    files = {}
    for path in filter(None, [given.dataset, given.polygons, given.ground_truth]):
        files[path] = check_rules(path, given)
        check_supervision(path, files[path], given.images)
    if given.polygons:
        compare_spellings(files[given.dataset], files[given.polygons], given.least_iou)
    if given.results:
        check_results(given.results, given.ground_truth, files[given.ground_truth])
    start_mongod()
    for path, coco in files.items():
        check_fiftyone(path, coco, given.images)


if __name__ == "__main__":
    main()
