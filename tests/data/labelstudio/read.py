"""Prints what Label Studio's own code reads of a JSON file of tasks: a line for each annotation, then for each prediction,
of a task.

    target/labelstudio/bin/python tests/data/labelstudio/read.py FILE [CONFIG]

CONFIG is the labelling configuration. Without it, the shortest one that has the regions' controls and labels is used:
<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image"><Label value="dog"/></BrushLabels></View>

"errors" is what LabelInterface says against the regions. Masks come from brush.decode_rle: pixels whose alpha is more than
0, as COCO counts; they are compared with those that Converter and brush.decode_from_annotation, its export to NumPy, give.
Points of polygons and corners of rectangles (convert_annotation_to_yolo_obb) are in pixels; "drawn" is what pycocotools
fills of them. What has no area is left out: key points, relations, choices and texts of a whole image. Items that share an
id are one region: the first has the shape, any has labels.
"""

import base64
import io
import json
import sys
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from label_studio_sdk.converter import Converter, brush
from label_studio_sdk.converter.utils import convert_annotation_to_yolo_obb
from label_studio_sdk.label_interface import LabelInterface
from PIL import Image
from pycocotools import mask as coco

TAGS = {tag.lower(): tag for tag in ("BrushLabels", "BitmaskLabels", "PolygonLabels", "RectangleLabels", "EllipseLabels",
                                     "KeyPointLabels", "Brush", "Polygon", "Rectangle", "Labels")}


def shortest(tasks):
    """The configuration with just the controls and labels of the tasks."""
    controls, data, seen = {}, "image", "image"
    for task in tasks:
        data = next(iter(task["data"]))
        for made in task.get("annotations", []) + task.get("predictions", []):
            for item in (item for item in made["result"] if item["type"] in TAGS):
                seen = item["to_name"]
                labels = controls.setdefault((item["from_name"], item["type"]), {})
                labels.update(dict.fromkeys(item["value"].get(item["type"], [])))
    text = f'<View><Image name={quoteattr(seen)} value="${data}"/>'
    for (name, kind), labels in controls.items():
        tag = TAGS[kind]
        text += f"<{tag} name={quoteattr(name)} toName={quoteattr(seen)}>"
        text += "".join(f"<Label value={quoteattr(label)}/>" for label in labels) + f"</{tag}>"
    return text + "</View>"


def alpha(values):
    height, width = values["original_height"], values["original_width"]
    return brush.decode_rle(values["rle"]).reshape(height, width, 4)[..., 3]


def counts(mask):
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"counts": rle["counts"].decode(), "area": int(coco.area(rle))}


def drawn(points, height, width):
    return coco.merge(coco.frPyObjects([np.ravel(points).tolist()], height, width))["counts"].decode()


def region(items):
    shape = items[0]
    value, width, height = shape["value"], shape["original_width"], shape["original_height"]
    named = [item["value"].get(key, []) for item in items for key in item["value"] if key.endswith("labels")]
    found = {"region": shape["id"], "labels": sum(named, []), "score": shape.get("score"), "size": [height, width]}
    if "rle" in value:
        return found | {"shape": "brush"} | counts(alpha(value | shape) > 0)
    if "imageDataURL" in value:
        png = io.BytesIO(base64.b64decode(value["imageDataURL"].split(",")[1]))
        return found | {"shape": "bitmask"} | counts(np.array(Image.open(png))[..., 3] > 0)
    if "points" in value:
        points = [[x / 100 * width, y / 100 * height] for x, y in value["points"]]
        return found | {"shape": "polygon", "points": points, "closed": value.get("closed", True),
                        "drawn": drawn(points, height, width)}
    if "radiusX" in value:
        across = {key: value[key] / 100 * width for key in ("x", "radiusX")}
        down = {key: value[key] / 100 * height for key in ("y", "radiusY")}
        return found | {"shape": "ellipse", "rotation": value["rotation"]} | across | down
    corners = [list(point) for point in convert_annotation_to_yolo_obb(value | shape, normalize=False)]
    return found | {"shape": "rectangle", "rotation": value["rotation"], "points": corners,
                    "drawn": drawn(corners, height, width)}


def regions(result):
    together = {}
    for item in result:
        if item["type"] not in ("keypointlabels", "relation") and "original_width" in item:
            together.setdefault(item["id"], []).append(item)
    return [region(items) for items in together.values()]


def compare(converter, task, result):
    """The converter finds every brush that has labels, and the same masks."""
    for read in converter.annotation_result_from_task(task | {"annotations": [{"result": result}]}):
        for name, values in read["output"].items():
            layers = list(brush.decode_from_annotation(name, values).values())
            items = [item for item in result if item.get("from_name") == name and "rle" in item["value"]]
            masks = [alpha(item["value"] | item) for item in items if item["type"] in ("brushlabels", "labels")]
            assert len(layers) == len(masks) and all(map(np.array_equal, layers, masks)), name


def read(tasks, config):
    interface, converter = LabelInterface(config), Converter(config, project_dir=None)
    interface.validate()
    lines = []
    for task in tasks:
        # with annotations or predictions in it, validate_task of 2.1.2 raises a TypeError
        assert interface.validate_task({"data": task["data"]}), task["data"]
        about = {"task": task.get("id"), "image": task["data"].get("image") or next(iter(task["data"].values()))}
        task = {"id": None} | task
        for kind in ("annotations", "predictions"):
            for made in task.get(kind, []):
                compare(converter, task, made["result"])
                user = made.get("completed_by")
                user = user["email"] if isinstance(user, dict) else user
                more = {"annotation": made.get("id"), "annotator": user, "cancelled": made.get("was_cancelled", False),
                        "ground_truth": made.get("ground_truth")}
                if kind == "predictions":
                    more = {"prediction": made.get("id"), "model": made.get("model_version"), "score": made.get("score")}
                # named for predictions, but the one that says what is wrong
                errors = interface.validate_prediction(made, return_errors=True)
                lines.append(about | more | {"errors": errors, "regions": regions(made["result"])})
    return lines


def text(lines):
    return "[\n" + ",\n".join(json.dumps(line, ensure_ascii=False) for line in lines) + "\n]"


if __name__ == "__main__":
    tasks = json.loads(Path(sys.argv[1]).read_text())
    tasks = tasks if isinstance(tasks, list) else [tasks]
    print(text(read(tasks, Path(sys.argv[2]).read_text() if len(sys.argv) > 2 else shortest(tasks))))
