"""Makes the fixtures of tests/it/ingest_coco.rs: COCO files as exporters write them, and the masks that pycocotools 2.0.11
draws of them.

    python -m venv venv && venv/bin/pip install numpy==2.4.6 pycocotools==2.0.11
    venv/bin/python tests/data/coco/make.py

Every file speaks of photos of 64 x 48 pixels that the tests draw. `expected.json` has, for each file, the masks of its
annotations in file order: run lengths as text, or null for a box. Before rings are drawn, those of less than three points
are left out where another is left, as Detectron and its kin leave them out. pycocotools gets sizes from the photos.
"""

import gzip
import io
import json
import pathlib
import zipfile

from pycocotools import mask as rle

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 64, 48
CATEGORIES = [{"id": 1, "name": "cat", "supercategory": "animal"}, {"id": 2, "name": "dog", "supercategory": None}]
SQUARE = [5, 6, 25, 6, 25, 21, 5, 21]
TRIANGLE = [30.5, 10.25, 42, 10, 36, 30.75]
expected = {}


def image(number, name, **keys):
    return {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT} | keys


def annotation(number, segmentation, **keys):
    return {"id": number, "image_id": 1, "category_id": 1, "segmentation": segmentation, "bbox": [5, 6, 20, 15],
            "area": 300, "iscrowd": 0} | keys


def is_number(value):
    return isinstance(value, (int, float)) and value == value and abs(value) != float("inf")


def mask(segmentation):
    """The mask as text, or None where there is only a box; 'unusable' where a number is none."""
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        whole = {"size": [int(side) for side in segmentation["size"]], "counts": segmentation["counts"]}
        if isinstance(whole["counts"], list):
            whole["counts"] = [int(run) for run in whole["counts"]]
            whole = rle.frPyObjects(whole, HEIGHT, WIDTH)
        return rle.encode(rle.decode(whole))["counts"].decode()
    rings = [ring for ring in segmentation if len(ring) >= 6]
    if not all(is_number(number) for ring in rings for number in ring):
        return "unusable"
    if not rings:
        return None
    merged = rle.merge(rle.frPyObjects([[float(number) for number in ring] for ring in rings], HEIGHT, WIDTH))
    return rle.encode(rle.decode(merged))["counts"].decode()


def write(name, images, annotations, categories=CATEGORIES, **keys):
    file = {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories} | keys
    (HERE / name).write_text(json.dumps(file, indent=1, ensure_ascii=False) + "\n")
    expected[name] = [mask(it.get("segmentation")) for it in annotations]


crowd = rle.frPyObjects([[1.0, 1.0, 9.0, 1.0, 9.0, 30.0]], HEIGHT, WIDTH)[0]
ones, runs = rle.decode(crowd).flatten(order="F"), []
for at, pixel in enumerate(ones):
    if at == 0 or pixel != ones[at - 1]:
        runs += [0, 0] if at == 0 and pixel else [0]
    runs[-1] += 1

# COCO Annotator's flags, pandas' whole numbers, Datumaro's and Label Studio's nulls, boxes in every spelling.
write("flags_and_numbers.json",
      [image(1.0, "a.png", width=64.0, height=48.0, license=None, annotated=False, metadata={}),
       image(2, "b.png", license=4.0)],
      [annotation(1, [SQUARE], iscrowd=False, isbbox=False, color="#01a2ff", metadata={}),
       annotation(2.0, [TRIANGLE], image_id=1.0, category_id=2.0, iscrowd=0.0),
       annotation(3, {"size": [48.0, 64.0], "counts": [float(run) for run in runs]}, iscrowd=1.0),
       annotation(4, {"size": [48, 64], "counts": crowd["counts"].decode()}, iscrowd=True, area=None, bbox=None),
       annotation(5, [SQUARE], iscrowd=None, area=None, attributes=None),
       annotation(6, [TRIANGLE], image_id=2, bbox=[]),
       annotation(7, {}), annotation(8, [[]]), annotation(9, []), annotation(10, None),
       annotation(11, [[], SQUARE]), annotation(None, [SQUARE])],
      licenses=[{"id": 4.0, "name": "BY"}, {"name": "without an id"}])

write("stray_points.json", [image(1, "a.png")],
      [annotation(1, [SQUARE, [32.0, 24.0]]), annotation(2, [[1, 1, 2, 2], TRIANGLE, SQUARE]),
       annotation(3, [[32.0, 24.0]])])
expected["stray_points.json"][2] = "unusable"

write("sizes.json",
      [{"id": 1, "file_name": "a.png"}, image(2, "b.png", width=0, height=0),
       image(3, "c.png", width=None, height=None), image(4, "d.png", width=65), image(5, "e.png", width=64.5)],
      [annotation(n, [SQUARE], image_id=n) for n in range(1, 6)])

write("windows.json",
      [image(1, "images\\a.png"), image(2, "..\\label\\b.png"), image(3, "C:\\data\\c.png")],
      [annotation(1, [SQUARE])])

write("same_ids.json", [image(1, "a.png"), image(2, "b.png")],
      [annotation(4040, [SQUARE]), annotation(4040, [TRIANGLE], image_id=2), annotation(4041, [SQUARE], image_id=2),
       annotation(4041, [SQUARE], image_id=2)])
write("zero_ids.json", [image(1, "a.png"), image(2, "b.png")],
      [annotation(0, [SQUARE]), annotation(0, [TRIANGLE]), annotation(0, [SQUARE], image_id=2)])

TWICE = [{"id": 0, "name": "raccoon", "supercategory": "none"}, {"id": 1, "name": "raccoon", "supercategory": "raccoon"}]
write("one_raccoon.json", [image(0, "a.png")], [annotation(0, [SQUARE], image_id=0)], TWICE)
write("two_raccoons.json", [image(0, "a.png")],
      [annotation(0, [SQUARE], image_id=0), annotation(1, [TRIANGLE], image_id=0, category_id=0)], TWICE)

lvis = {"coco_url": "http://images.cocodataset.org/train2017/000000000001.png", "neg_category_ids": [2],
        "not_exhaustive_category_ids": [1]}
words = {"synset": "cat.n.01", "synonyms": ["cat"], "def": "d", "frequency": "c", "image_count": 1, "instance_count": 2}
without_crowd = annotation(1, [SQUARE])
del without_crowd["iscrowd"]
nameless = image(1, "") | lvis
del nameless["file_name"]
write("lvis.json", [nameless], [without_crowd], [{"id": 1, "name": "cat"} | words, {"id": 2, "name": "dog"} | words])

# Python's json writes numbers that are none.
nan, inf = float("nan"), float("inf")
write("no_numbers.json", [image(1, "a.png", height=nan, date=nan)],
      [annotation(1, [SQUARE], area=nan), annotation(2, [TRIANGLE], category_id=2, score=nan),
       annotation(3, [TRIANGLE], bbox=[0, -inf, 1, 1]), annotation(4, [[1, 2, inf, 4, 5, 6]]),
       annotation(5, [SQUARE], image_id=nan)])

# Polygons of no pixel: COCO's own of no height, a line, outside the image, one point.
write("outlines.json", [image(1, "a.png")],
      [annotation(1, [SQUARE]),
       annotation(2, [[29.65, 38.33, 29.65, 38.33, 30.68, 38.33, 30.68, 38.33]], area=0.0, bbox=[29.65, 38.33, 1.03, 0]),
       annotation(3, [[3, 3, 40, 3, 3, 3]], area=0, bbox=[3, 3, 37, 0], note={"by": "x"}),
       annotation(4, [[100, 100, 120, 100, 120, 120, 100, 120]], area=400, bbox=[100, 100, 20, 20]),
       annotation(5, [[7.5, 7.5] * 3, [9, 9] * 3], area=0, bbox=[7.5, 7.5, 0, 0]),
       annotation(6, [[3, 3, 40, 3, 3, 3]], area=0, bbox=[3, 3, 37, 0], iscrowd=1)])

points = [0] * 51
write("keypoints.json", [image(1, "a.png")], [annotation(1, [SQUARE], keypoints=points, num_keypoints=0)],
      [{"id": 1, "name": "person", "supercategory": "person", "keypoints": ["nose"] * 17, "skeleton": [[1, 2]]}])
other = {"images": [image(1, "a.png")]}
(HERE / "captions.json").write_text(json.dumps(other | {"annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]}))
segments = [{"id": 3, "category_id": 1, "area": 9, "bbox": [0, 0, 3, 3], "iscrowd": 0}]
(HERE / "panoptic.json").write_text(json.dumps(other | {
    "categories": CATEGORIES, "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}]}))

text = json.dumps({"images": [image(1, "a.png")], "categories": [{"id": 1, "name": "köter"}],
                   "annotations": [annotation(1, [SQUARE])]}, ensure_ascii=False)
(HERE / "marked.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
(HERE / "packed.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
(HERE / "utf16.json").write_bytes(text.encode("utf-16"))
(HERE / "latin1.json").write_bytes(text.encode("latin-1"))
(HERE / "empty.json").write_bytes(b"")
(HERE / "login.json").write_text("<!DOCTYPE html>\n<html><body>Log in</body></html>\n")
archive = io.BytesIO()
with zipfile.ZipFile(archive, "w") as file:
    file.writestr(zipfile.ZipInfo("result.json"), text)
(HERE / "archive.json").write_bytes(archive.getvalue())

(HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
