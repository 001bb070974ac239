"""Holds a store made by `grainstore ingest coco` against the JSON it came from.

    python tests/parity/coco_store.py STORE DATASET INSTANCES.json [INSTANCES.json ...]

pylance opens every table, at the versions the newest commit record names. Every image, category and
annotation is compared with pycocotools' reading of the JSON: ids, sizes, labels, boxes, areas, crowds,
and masks as pycocotools.COCO.annToRLE makes them, string for string.
"""

import json
import pathlib
import sys

import lance
from pycocotools import mask as mask_api
from pycocotools.coco import COCO


def open_tables(store):
    newest = max((store / "commits").glob("*.json"))
    versions = json.loads(newest.read_text())["tables"]
    tables = {}
    for name, version in versions.items():
        tables[name] = lance.dataset(str(store / f"{name}.lance"), version=version)
        print(f"{name:14} version {version:4}  {tables[name].count_rows():8} rows")
    return tables


def expect(condition, what):
    if not condition:
        raise SystemExit(f"differs: {what}")


def compare(tables, dataset, files):
    images = {
        row["external_id"]: row
        for row in tables["images"].to_table(filter=f"dataset = '{dataset}'").to_pylist()
    }
    truth = {
        row["external_id"]: row
        for row in tables["ground_truth"].to_table(filter=f"dataset = '{dataset}'").to_pylist()
    }
    labels = {}
    for row in tables["labels"].to_table(filter=f"dataset = '{dataset}'").to_pylist():
        labels.setdefault(row["image_id"], set()).add(row["label"])
    image_count = annotation_count = 0
    for file in files:
        coco = COCO(file)
        classes = tables["class_sets"].to_table(filter=f"class_set = '{dataset}'").to_pylist()
        classes.sort(key=lambda row: (row["version"], row["class_index"]))
        declared = [(c["id"], c["name"], c.get("supercategory")) for c in coco.dataset["categories"]]
        stored = [(c["external_id"], c["class"], c["supercategory"]) for c in classes]
        expect(stored == declared, "categories and their order")
        names = {c["id"]: c["name"] for c in coco.dataset["categories"]}
        for image in coco.dataset["images"]:
            row = images[image["id"]]
            expect(
                (row["file_name"], row["width"], row["height"])
                == (image["file_name"], image["width"], image["height"]),
                f"image {image['id']}",
            )
            shown = {names[a["category_id"]] for a in coco.imgToAnns[image["id"]]}
            expect(labels.get(row["image_id"], set()) == shown, f"labels of image {image['id']}")
            image_count += 1
        for annotation in coco.dataset["annotations"]:
            row = truth[annotation["id"]]
            what = f"annotation {annotation['id']}"
            expect(row["image_id"] == images[annotation["image_id"]]["image_id"], f"{what}: image")
            expect(row["category"] == names[annotation["category_id"]], f"{what}: category")
            expect(row["iscrowd"] == bool(annotation["iscrowd"]), f"{what}: iscrowd")
            expect(row["bbox"] == [float(x) for x in annotation["bbox"]], f"{what}: bbox")
            expect(row["area"] == float(annotation["area"]), f"{what}: area")
            rle = coco.annToRLE(annotation)
            size = [row["rle"]["height"], row["rle"]["width"]]
            expect(size == rle["size"], f"{what}: size")
            # Polygons may give empty runs in pycocotools; masks are compared, and strings where canonical.
            if row["rle"]["counts"].encode() != rle["counts"]:
                ours = mask_api.decode({"size": size, "counts": row["rle"]["counts"].encode()})
                expect((ours == mask_api.decode(rle)).all(), f"{what}: mask")
                print(f"{what}: same mask, other spelling")
            annotation_count += 1
    expect(image_count == len(images), "number of images")
    expect(annotation_count == len(truth), "number of annotations")
    print(f"same: {image_count} images, {annotation_count} annotations")


if __name__ == "__main__":
    compare(open_tables(pathlib.Path(sys.argv[1])), sys.argv[2], sys.argv[3:])
