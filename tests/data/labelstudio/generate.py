"""Makes photos, a JSON export of Label Studio with regions of every kind, and what Label Studio's own code reads of it.

    python3 -m venv target/labelstudio
    target/labelstudio/bin/pip install label-studio-sdk==2.1.2 numpy==2.2.6 pillow==13.0.0 pycocotools==2.0.11 \
        opencv-python-headless==4.12.0.88
    npm install --prefix target/labelstudio/npm @thi.ng/rle-pack@3.2.12    # the encoder of the labelling page
    target/labelstudio/bin/python tests/data/labelstudio/generate.py

photos/        1.png ... 4.png, of tasks 101 ... 104
config.xml     labelling configuration of the project
export.json    "JSON" export of five tasks; the photo of task 105 is not here
min.json       "JSON-MIN" export of the second annotation of task 102, by label_studio_sdk.converter.Converter
expected.json  what read.py says of export.json

Brushes named editor_* are bytes of @thi.ng/rle-pack, others of label_studio_sdk.converter.brush (mask2rle, encode_rle,
contour2rle).
"""

import base64
import io
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
import ujson
from label_studio_sdk.converter import Converter, brush
from PIL import Image
from read import read, text

HERE = Path(__file__).parent
NPM = HERE.parents[2] / "target/labelstudio/npm"
UNICODE = "Äpfel & 梨 🍐"
SIZES = {"1.png": (64, 48), "2.png": (37, 53), "3.png": (200, 100), "4.png": (20, 10)}
CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image" choice="multiple">
    <Label value="dog"/><Label value="cat"/><Label value="{UNICODE.replace("&", "&amp;")}"/>
  </BrushLabels>
  <BitmaskLabels name="bitmask" toName="image"><Label value="dog"/><Label value="cat"/></BitmaskLabels>
  <PolygonLabels name="polygon" toName="image"><Label value="dog"/><Label value="cat"/></PolygonLabels>
  <RectangleLabels name="rectangle" toName="image"><Label value="dog"/><Label value="cat"/></RectangleLabels>
  <EllipseLabels name="ellipse" toName="image"><Label value="dog"/><Label value="cat"/></EllipseLabels>
  <KeyPointLabels name="keypoint" toName="image"><Label value="nose"/></KeyPointLabels>
  <Brush name="paint" toName="image"/>
  <Polygon name="outline" toName="image"/>
  <Rectangle name="box" toName="image"/>
  <Labels name="kind" toName="image"><Label value="dog"/><Label value="cat"/><Label value="bird"/></Labels>
  <Choices name="state" toName="image" perRegion="true"><Choice value="blurred"/><Choice value="sharp"/></Choices>
  <Choices name="weather" toName="image"><Choice value="sunny"/><Choice value="rainy"/></Choices>
</View>
"""
ENCODE = """
import { readFileSync } from "fs";
import { encode } from "@thi.ng/rle-pack";
const values = new Uint8ClampedArray(readFileSync(0));
const [word, sizes] = JSON.parse(process.argv[1]);
console.log(JSON.stringify(Array.from(encode(values, values.length, word, sizes))));
"""
random = np.random.default_rng(20240817)


# Masks.


def pixels(photo):
    """Coordinates of the centres of all pixels."""
    width, height = SIZES[photo]
    y, x = np.mgrid[:height, :width]
    return x + 0.5, y + 0.5


def disc(photo, x, y, radius):
    columns, rows = pixels(photo)
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


def flags(photo, value=False):
    width, height = SIZES[photo]
    return np.full((height, width), value)


def smooth(photo, x, y, radius):
    """A disc whose border is partly transparent, as a browser paints it: alpha of each pixel."""
    columns, rows = pixels(photo)
    inside = np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1)
    return np.round(inside * 255).astype(np.uint8)


def painted(mask, alpha=255):
    return brush.mask2rle(mask.astype(np.uint8) * alpha)


def grey(alpha):
    """RGBA values of which all four are alpha: what the labelling page saves."""
    return np.repeat(alpha.ravel(), 4)


def editor(values, word=8, sizes=(3, 4, 8, 16)):
    command = ["node", "--input-type=module", "-e", ENCODE, json.dumps([word, sizes])]
    answer = subprocess.run(command, cwd=NPM, input=values.astype(np.uint8).tobytes(), capture_output=True, check=True)
    rle = json.loads(answer.stdout)
    assert np.array_equal(brush.decode_rle(rle), values)
    return rle


def data_url(mask):
    file = io.BytesIO()
    rgba = np.zeros((*mask.shape, 4), np.uint8)
    rgba[..., 3] = mask * 255
    Image.fromarray(rgba, "RGBA").save(file, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


# Items of a result.


def item(photo, region, name, kind, value, **keys):
    width, height = SIZES[photo]
    return {"original_width": width, "original_height": height, "image_rotation": 0, "value": value, "id": region,
            "from_name": name, "to_name": "image", "type": kind, "origin": "manual"} | keys


def brushed(photo, region, rle, labels, **keys):
    value = {"format": "rle", "rle": rle, "brushlabels": labels}
    return item(photo, region, "brush", "brushlabels", value, **keys)


def split(photo, region, tool, kind, shape, labels=None, choices=None, **keys):
    """A region of an unlabelled tool. Every further item has the shape again."""
    items = [item(photo, region, tool, kind, shape, **keys)]
    if labels:
        items.append(item(photo, region, "kind", "labels", shape | {"labels": labels}, **keys))
    if choices:
        items.append(item(photo, region, "state", "choices", shape | {"choices": choices}, **keys))
    return items


def polygon(photo, points, **keys):
    width, height = SIZES[photo]
    return {"points": [[x / width * 100, y / height * 100] for x, y in points]} | keys


def rectangle(photo, x, y, w, h, rotation=0, **keys):
    width, height = SIZES[photo]
    return {"x": x / width * 100, "y": y / height * 100, "width": w / width * 100, "height": h / height * 100,
            "rotation": rotation} | keys


def ellipse(photo, x, y, rx, ry, rotation=0, **keys):
    width, height = SIZES[photo]
    return {"x": x / width * 100, "y": y / height * 100, "radiusX": rx / width * 100, "radiusY": ry / height * 100,
            "rotation": rotation} | keys


# Tasks.


def annotation(number, result, user=1, **keys):
    return {"id": number, "completed_by": user, "result": result, "was_cancelled": False, "ground_truth": False,
            "created_at": f"2024-08-17T10:{number % 100:02}:00.315060Z", "updated_at": "2024-08-17T11:00:00.315088Z",
            "draft_created_at": None, "lead_time": 12.5, "prediction": {}, "result_count": len(result),
            "unique_id": f"c85c12bc-7a21-401a-a49f-332c2000{number:04}", "import_id": None, "last_action": None,
            "task": 0, "project": 1, "updated_by": 1, "parent_prediction": None, "parent_annotation": None,
            "last_created_by": None} | keys


def prediction(number, result, model, score):
    return {"id": number, "result": result, "model_version": model, "created_ago": "2 days", "score": score,
            "cluster": None, "created_at": "2024-08-17T09:00:00.000000Z", "updated_at": "2024-08-17T09:00:00.000000Z",
            "task": 0, "project": 1}


def task(number, image, annotations, predictions=(), upload=None):
    for part in (*annotations, *predictions):
        part["task"] = number
    cancelled = sum(one["was_cancelled"] for one in annotations)
    return {"id": number, "annotations": list(annotations), "file_upload": upload, "drafts": [],
            "predictions": list(predictions), "data": {"image": image}, "meta": {},
            "created_at": "2024-08-17T08:00:00.000000Z", "updated_at": "2024-08-17T11:00:00.000000Z",
            "inner_id": number - 100, "total_annotations": len(annotations) - cancelled,
            "cancelled_annotations": cancelled, "total_predictions": len(predictions), "comment_count": 0,
            "unresolved_comment_count": 0, "last_comment_updated_at": None, "project": 1, "updated_by": 1,
            "comment_authors": []}


def brushes():
    """Task 101: brushes of two annotators, a cancelled annotation, and predictions of two models."""
    photo = "1.png"
    ring = disc(photo, 30, 24, 14) & ~disc(photo, 26, 20, 3) & ~disc(photo, 34, 28, 4.5)
    parts = disc(photo, 10, 10, 3) | disc(photo, 50, 14, 4) | disc(photo, 30, 40, 3) | disc(photo, 63, 47, 4)
    small = disc(photo, 20, 30, 3) & ~disc(photo, 20.5, 30.5, 1)
    pixel, noise = flags(photo), flags(photo)
    pixel[7, 5] = True
    noise[20:22] = random.random((2, SIZES[photo][0])) < 0.5
    width, height = SIZES[photo]
    smooth_disc, smooth_dot = smooth(photo, 33.3, 21.8, 4.4), smooth(photo, 12.2, 40, 2.4)
    colours = np.zeros((height, width, 4), np.uint8)
    colours[smooth_dot > 0] = (255, 136, 0, 0)
    colours[..., 3] = smooth_dot
    corners = np.array([[[8, 6]], [[12, 7]], [[11, 10]]])
    first = [
        brushed(photo, "ring", painted(ring), ["dog"]),
        brushed(photo, "parts", painted(parts), ["cat"], meta={"text": ["four of them"]}),
        brushed(photo, "full", painted(flags(photo, True)), ["dog"], readonly=True),
        brushed(photo, "pixel", painted(pixel), ["cat"]),
        brushed(photo, "empty", painted(flags(photo)), ["dog"]),
        brushed(photo, "noise", painted(noise), ["dog"]),
        brushed(photo, "faint", painted(small, alpha=1), ["dog"]),
        brushed(photo, "smooth", brush.encode_rle(grey(smooth_disc)), [UNICODE]),
        brushed(photo, "contour", brush.contour2rle([corners], 0, height, width), ["cat"]),
        brushed(photo, "editor_smooth", editor(grey(smooth_disc)), [UNICODE]),
        brushed(photo, "editor_colours", editor(colours.ravel()), ["cat"]),
        brushed(photo, "editor_sizes", editor(grey(small.astype(np.uint8)), 1, (2, 6, 9, 12)), ["cat"]),
        brushed(photo, "two_labels", painted(small), ["dog", "cat"]),
        brushed(photo, "empty_labels", painted(small), []),
        *split(photo, "unlabelled", "paint", "brush", {"format": "rle", "rle": painted(small)}),
        *split(photo, "split", "paint", "brush", {"format": "rle", "rle": painted(small)}, ["bird"]),
        *split(photo, "chosen", "paint", "brush", {"format": "rle", "rle": painted(small)}, ["cat"], ["blurred"]),
    ]
    second = [brushed(photo, "other_ring", painted(disc(photo, 30, 24, 7) & ~disc(photo, 29, 23, 2)), ["dog"])]
    skipped = [brushed(photo, "skipped", painted(small), ["dog"])]
    sam = [
        brushed(photo, "sam_1", painted(small), ["dog"], score=0.9375, origin="prediction"),
        brushed(photo, "sam_2", painted(pixel), ["cat"], score=0.5, origin="prediction"),
        brushed(photo, "sam_3", painted(flags(photo, True)), ["cat"], origin="prediction"),
    ]
    other = [brushed(photo, "other_1", painted(pixel), [UNICODE], score=1, origin="prediction")]
    annotations = [annotation(1001, first), annotation(1002, second, user=2, ground_truth=True),
                   annotation(1003, skipped, user=2, was_cancelled=True)]
    predictions = [prediction(501, sam, "sam_vit_b", 0.875), prediction(502, other, "other", None)]
    return task(101, "/data/upload/1/abcd1234-1.png", annotations, predictions, "abcd1234-1.png")


def shapes():
    """Task 102: shapes, and items that are no regions; then the same photo, seen turned by 90 degrees."""
    photo = "2.png"
    points = [(3.5, 4.25), (30, 8), (33.3, 40), (18, 26), (6, 49.75)]
    labels = {"rectanglelabels": ["dog"]}
    half = disc(photo, 18, 26, 4)
    first = [
        item(photo, "polygon", "polygon", "polygonlabels",
             polygon(photo, points, closed=True, polygonlabels=["dog"])),
        item(photo, "old_polygon", "polygon", "polygonlabels",
             polygon(photo, [(0, 0), (37, 0), (37, 53), (0, 53)], polygonlabels=["cat"])),
        item(photo, "open_polygon", "polygon", "polygonlabels",
             polygon(photo, points[:4], closed=False, polygonlabels=["cat"])),
        *split(photo, "split_polygon", "outline", "polygon", polygon(photo, points[::-1], closed=True), ["bird"]),
        item(photo, "rectangle", "rectangle", "rectanglelabels", rectangle(photo, 4, 6.5, 20, 30, **labels),
             meta={"text": ["a note"]}),
        item(photo, "turned", "rectangle", "rectanglelabels", rectangle(photo, 20, 8, 14, 24, 30, **labels)),
        item(photo, "turned_out", "rectangle", "rectanglelabels", rectangle(photo, 2, 40, 18, 9, 330.5, **labels)),
        *split(photo, "split_box", "box", "rectangle", rectangle(photo, 1, 2, 3, 4), ["bird"], ["sharp"]),
        *split(photo, "plain_box", "box", "rectangle", rectangle(photo, 10, 10, 10, 10)),
        item(photo, "ellipse", "ellipse", "ellipselabels", ellipse(photo, 18, 26, 10, 15, ellipselabels=["dog"])),
        item(photo, "turned_ellipse", "ellipse", "ellipselabels",
             ellipse(photo, 18, 26, 6, 20, 60, ellipselabels=["cat"])),
        item(photo, "bitmask", "bitmask", "bitmasklabels",
             {"imageDataURL": data_url(half), "bitmasklabels": ["dog"]}),
        item(photo, "nose", "keypoint", "keypointlabels",
             {"x": 50, "y": 40, "width": 1.5, "keypointlabels": ["nose"]}),
        {"value": {"choices": ["sunny"]}, "id": "sky", "from_name": "weather", "to_name": "image", "type": "choices",
         "origin": "manual"},
        {"from_id": "polygon", "to_id": "rectangle", "type": "relation", "direction": "right"},
    ]
    turned = [
        brushed(photo, "seen_turned", painted(half), ["dog"], image_rotation=90),
        item(photo, "seen_turned_box", "rectangle", "rectanglelabels", rectangle(photo, 4, 6.5, 20, 30, **labels),
             image_rotation=90),
    ]
    image = "/data/local-files/?d=my%20data/photos/2.png"
    return task(102, image, [annotation(1004, first), annotation(1005, turned, user=3)])


def long_runs():
    """Task 103: more than 65536 equal values after another."""
    photo = "3.png"
    flat = flags(photo).ravel()
    flat[16384:16400] = True  # the run before has 65536 values
    most = ~flags(photo).ravel()
    most[-1] = False
    result = [
        brushed(photo, "long_full", painted(flags(photo, True)), ["dog"]),
        brushed(photo, "long_empty", painted(flags(photo)), ["dog"]),
        brushed(photo, "long_edge", painted(flat.reshape(flags(photo).shape)), ["cat"]),
        brushed(photo, "long_most", painted(most.reshape(flags(photo).shape)), ["cat"]),
        brushed(photo, "editor_long", editor(grey(most * 255)), ["cat"]),
    ]
    person = {"id": 4, "email": "ann@example.com", "first_name": "Ann", "last_name": ""}
    return task(103, "https://images.example.com/set/3.png?size=full", [annotation(1006, result, user=person)])


def export():
    dot = [brushed("4.png", "dot", painted(disc("4.png", 10, 5, 4)), ["dog"], score=0.25, origin="prediction")]
    return [
        brushes(),
        shapes(),
        long_runs(),
        task(104, "s3://bucket/set/4.png", [], [prediction(503, dot, "sam_vit_b", 0.25)]),
        task(105, "gs://bucket/nowhere.png", [annotation(1007, [])]),
    ]


def main():
    shutil.rmtree(HERE / "photos", ignore_errors=True)
    (HERE / "photos").mkdir()
    for name, (width, height) in SIZES.items():
        coarse = random.integers(0, 256, (3, 4, 3), np.uint8)
        pixels = np.kron(coarse, np.ones((height // 3 + 1, width // 4 + 1, 1), np.uint8))[:height, :width]
        Image.fromarray(pixels).save(HERE / "photos" / name, optimize=True)
    tasks = export()
    lines = read(tasks, CONFIG)
    assert not any(line["errors"] for line in lines)
    (HERE / "config.xml").write_text(CONFIG)
    (HERE / "export.json").write_text(ujson.dumps(tasks, ensure_ascii=False) + "\n")
    (HERE / "expected.json").write_text(text(lines) + "\n")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "tasks.json"
        source.write_text(json.dumps([tasks[1] | {"annotations": tasks[1]["annotations"][1:]}]))
        Converter(CONFIG, project_dir=None).convert(str(source), folder + "/out", "JSON_MIN", is_dir=False)
        (HERE / "min.json").write_text(text(json.loads((Path(folder) / "out/result.json").read_text())) + "\n")


main()
