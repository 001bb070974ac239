"""Writes what CVAT writes: an export of a task, one of a project, and the task's objects in CVAT's dialect of COCO.

    python3 -m venv target/cvat
    target/cvat/bin/pip install datumaro==1.13.12 cvat-sdk==2.80.0 pycocotools==2.0.11 numpy==2.4.6 pillow==12.3.0 \\
        opencv-python-headless==4.14.0.94
    target/cvat/bin/python tests/data/cvat/generate.py

task/           "CVAT for images 1.1" of a task: annotations.xml, images/NAME
project/        the same of a project: images/SUBSET/NAME; numbers and names of images are unique within a subset only
coco/           "COCO 1.0" of the task, without images
expected.json   for each export the labels, the images and their shapes: masks as COCO's runs, all other shapes as points;
                polygons and turned boxes also as the runs that pycocotools fills them with; for COCO the objects, the
                runs of those that are polygons

The XML is laid out by datumaro's writer, with the elements and keys of CVAT's own dump (datumaro's has no source). Its runs
come from cvat-sdk. datumaro writes the COCO file. Then datumaro reads the XML back, and pycocotools the COCO file.
"""

import contextlib
import json
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path

import cv2
import datumaro as dm
import numpy as np
from cvat_sdk.masks import decode_mask, encode_mask
from datumaro.plugins.data_formats.cvat.exporter import XmlAnnotationWriter
from PIL import Image
from pycocotools import mask as coco
from pycocotools.coco import COCO

HERE = Path(__file__).parent
WHEN = "2024-05-06 07:08:09.123456+00:00"
NONE = 'say "none" & <go>\nnext line'

# name, colour, type, attributes (name, input type, default, values), parent, nodes
LABELS = [
    ("cell", "#fa3253", "any", [
        ("quality", "select", "good", ["good", "bad", "1"]),
        ("checked", "checkbox", "false", ["false"]),
        ("count", "number", "0", ["0", "100", "1"]),
        ("note", "text", "", [""]),
    ]),
    ("kočka 猫", "#33ddff", "mask", [("side", "radio", "left", ["left", "right"])]),
    ("a & b <c>", "#3df53d", "any", [("count", "text", "few", ["few"])]),
    ("blurred", "#b83df5", "tag", [("level", "number", "1", ["0", "5", "0.5"])]),
    ("unused", "#66ff66", "any", []),
    ("pose", "#ff007c", "skeleton", []),
    ("head", "#aaf0d1", "points", [], "pose"),
    ("tail", "#5986b3", "points", [], "pose"),
]
NODES = ["head", "tail"]
IN_PROJECT = [LABELS[4], LABELS[1], LABELS[3]]


def photo(path, width, height, seed):
    """Three bands of other colours for each seed: small as a PNG."""
    colours = np.random.default_rng(seed).integers(0, 256, (3, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(colours[np.indices((height, width)).sum(0) // 40 % 3]).save(path, optimize=True)


def ellipses(width, height, *drawn):
    mask = np.zeros((height, width), np.uint8)
    for centre, axes, angle, value in drawn:
        cv2.ellipse(mask, centre, axes, angle, 0, 360, value, -1)
    return mask


def noise(width, height, seed, share):
    random = np.random.default_rng(seed)
    field = cv2.GaussianBlur(random.random((height, width)).astype(np.float32), (0, 0), 6)
    return (field > np.quantile(field, 1 - share)).astype(np.uint8)


def shape(kind, label, **keys):
    return {"kind": kind, "label": label, "source": "manual", "occluded": False, "z_order": 0, "group": 0,
            "attributes": {}, **keys}


def mask(label, pixels, box=None, **keys):
    """A mask; with `box`, [x1, y1, x2, y2], one whose box is larger than its pixels."""
    *runs, left, top, right, bottom = encode_mask(pixels.astype(bool), box)
    return shape("mask", label, pixels=pixels, rle=runs, left=left, top=top, width=right - left + 1,
                 height=bottom - top + 1, **keys)


def polygon(label, *points, **keys):
    return shape("polygon", label, points=[list(map(float, point)) for point in points], **keys)


def box(label, xtl, ytl, xbr, ybr, rotation=0.0, **keys):
    return shape("box", label, box=[xtl, ytl, xbr, ybr], rotation=rotation, **keys)


def task_images():
    w, h = 64, 48
    ring = ellipses(w, h, ((22, 22), (14, 11), 20, 1), ((16, 19), (3, 2), 0, 0), ((27, 25), (2, 3), 0, 0))
    parts = ellipses(w, h, ((8, 43), (4, 2), 0, 1), ((60, 8), (8, 5), 0, 1), ((60, 8), (3, 2), 0, 0))
    pixel = np.zeros((h, w), np.uint8)
    pixel[47, 63] = 1
    checks = (np.indices((h, w)).sum(0) % 2).astype(np.uint8)
    checks[:, :58] = checks[6:] = 0
    first = [
        mask("kočka 猫", np.ones((h, w), np.uint8), z_order=-1, attributes={"side": "right"}),
        mask("cell", ring, attributes={"quality": "bad", "checked": "true", "count": "7", "note": NONE}),
        mask("cell", parts, source="auto", occluded=True,
             attributes={"quality": "1", "checked": "false", "count": "0.5", "note": ""}),
        mask("cell", pixel, source="semi-auto"),
        mask("a & b <c>", noise(w, h, 1, 0.05), box=[0, 0, w, h], source="file"),
        mask("cell", ellipses(w, h, ((40, 36), (5, 4), 0, 1)), box=[30, 28, 60, 46]),
        mask("kočka 猫", checks, source="consensus"),
        mask("cell", ellipses(w, h, ((34, 6), (4, 4), 0, 1)), group=3),
        mask("cell", ellipses(w, h, ((46, 14), (4, 5), 0, 1)), group=3),
        polygon("a & b <c>", (1.5, 2.25), (20.25, 3), (18.5, 15.75), (9, 11), (2, 16), attributes={"count": "7"}),
        polygon("cell", (32, 24), (64, 24), (64, 48), (32, 48), source="auto", occluded=True, z_order=2,
                attributes={"quality": "good", "checked": "false", "count": "0", "note": "až"}),
    ]
    w, h = 37, 53
    second = [
        shape("polyline", "cell", points=[[1, 1], [30.5, 2], [12.25, 50]]),
        shape("points", "cell", points=[[3, 4], [5.5, 6.5]]),
        shape("ellipse", "cell", centre=[18.4, 30.6], radii=[9.2, 5.7], rotation=25.0),
        shape("ellipse", "cell", centre=[30.0, 8.0], radii=[4.0, 6.0], rotation=0.0),
        shape("cuboid", "cell", points=[[5, 5], [5, 15], [12, 5], [12, 15], [8, 3], [8, 13], [15, 3], [15, 13]]),
        shape("skeleton", "pose", nodes=[[10.5, 40.0], [20.0, 44.25]]),
        box("cell", 2.5, 3.25, 20, 31.75, attributes={"quality": "good", "checked": "true"}),
        box("cell", 8, 20, 28, 34, rotation=30.0, source="auto"),
        box("kočka 猫", 0, 0, 37, 53, rotation=0.0, group=1),
        mask("kočka 猫", noise(w, h, 2, 0.1), group=1, attributes={"side": "left"}),
        mask("kočka 猫", np.eye(h, w, 25, dtype=np.uint8), z_order=5),
        shape("tag", "blurred", attributes={"level": "2.5"}),
        shape("tag", "cell", source="auto", group=2),
    ]
    return [image(0, "a.png", 64, 48, first), image(1, "night/b 2.png", 37, 53, second),
            image(2, "empty.png", 64, 48, [])]


def project_images():
    """Both subsets have an image 0, named a.png."""
    w, h = 64, 48
    train = [mask("kočka 猫", noise(w, h, 3, 0.06), attributes={"side": "left"}), shape("tag", "blurred")]
    val = [mask("unused", noise(37, 53, 4, 0.06)), polygon("kočka 猫", (3, 3), (30, 3.5), (15, 40))]
    return [image(0, "a.png", w, h, train, "train", 11), image(1, "b.png", w, h, [], "train", 11),
            image(0, "a.png", 37, 53, val, "val", 12)]


def image(number, name, width, height, shapes, subset=None, task=None):
    return {"id": number, "name": name, "width": width, "height": height, "subset": subset, "task": task, "shapes": shapes}


def task_meta(number, name, size, subset):
    person = OrderedDict([("username", "somebody"), ("email", "somebody@example.com")])
    segment = OrderedDict([("id", str(number)), ("start", "0"), ("stop", str(size - 1)),
                     ("url", f"https://cvat.example.com/api/jobs/{number}")])
    return [("id", str(number)), ("name", name), ("size", str(size)), ("mode", "annotation"), ("overlap", "0"),
            ("bugtracker", ""), ("created", WHEN), ("updated", WHEN), ("subset", subset or "default"),
            ("start_frame", "0"), ("stop_frame", str(size - 1)), ("frame_filter", ""),
            ("segments", [("segment", segment)]), ("owner", person), ("assignee", "")]


def labels_meta(all_labels):
    labels = []
    for name, colour, kind, attributes, *parent in all_labels:
        declared = [("attribute", OrderedDict([("name", attribute), ("mutable", "False"), ("input_type", input_type),
                                         ("default_value", default), ("values", "\n".join(values))]))
                    for attribute, input_type, default, values in attributes]
        label = OrderedDict([("name", name), ("color", colour), ("type", kind), ("attributes", declared)])
        if parent:
            label["parent"] = parent[0]
        if kind == "skeleton":
            nodes = "".join(f'<circle r="1.5" cx="{20 * at}" cy="{30 * at}" data-type="element node" '
                            f'data-element-id="{at}" data-node-id="{at}" data-label-name="{node}"></circle>'
                            for at, node in enumerate(NODES, 1))
            label["svg"] = '<line x1="20" y1="30" x2="40" y2="60" data-node-from="1" data-node-to="2"></line>' + nodes
        labels.append(("label", label))
    return labels


def decimals(points):
    return ";".join(f"{x:.2f},{y:.2f}" for x, y in points)


def geometry(it):
    """The keys of an element that say what it covers."""
    match it["kind"]:
        case "mask":
            keys = {"rle": ", ".join(map(str, it["rle"]))} | {key: it[key] for key in ["left", "top", "width", "height"]}
        case "box":
            keys = {key: f"{it['box'][at]:.2f}" for at, key in enumerate(["xtl", "ytl", "xbr", "ybr"])}
        case "ellipse":
            keys = {"cx": it["centre"][0], "cy": it["centre"][1], "rx": it["radii"][0], "ry": it["radii"][1]}
            keys = {key: f"{value:.2f}" for key, value in keys.items()}
        case "cuboid":
            corners = [corner + side for side in "12" for corner in ["tl", "bl", "tr", "br"]]
            keys = {axis + corner: f"{value:.2f}"
                    for corner, point in zip(corners, it["points"]) for axis, value in zip("xy", point)}
        case "skeleton" | "tag":
            keys = {}
        case _:
            keys = {"points": decimals(it["points"])}
    if it.get("rotation"):
        keys["rotation"] = f"{it['rotation']:.2f}"
    return keys


def write_xml(path, meta, images):
    with open(path, "w", encoding="utf-8") as file:
        writer = XmlAnnotationWriter(file)

        def element(name, keys, inside=()):
            writer._indent()
            writer.xmlgen.startElement(name, {key: str(value) for key, value in keys.items()})
            writer._level += 1
            for write in inside:
                write()
            writer._close_element(name)

        def write_shape(it):
            kind = it["kind"]
            keys = {"label": it["label"], "source": it["source"]}
            if kind not in ("tag", "skeleton"):
                keys["occluded"] = int(it["occluded"])
            keys |= geometry(it)
            if kind != "tag":
                keys["z_order"] = it["z_order"]
            if it["group"]:
                keys["group_id"] = it["group"]
            inside = [lambda node=node, at=at: element("points", {
                "label": node, "source": it["source"], "outside": 0, "occluded": 0, "points": decimals([at])})
                for node, at in zip(NODES, it.get("nodes", []))]
            inside += [lambda name=name, value=value: writer.add_attribute({"name": name, "value": value})
                       for name, value in it["attributes"].items()]
            element(kind, keys, inside)

        writer.open_root()
        writer.write_meta(OrderedDict([*meta, ("dumped", WHEN)]))
        for it in images:
            keys = {"id": it["id"], "name": it["name"]}
            if it["subset"]:
                keys |= {"subset": it["subset"], "task_id": it["task"]}
            keys |= {"width": it["width"], "height": it["height"]}
            element("image", keys, [lambda one=one: write_shape(one) for one in in_order(it["shapes"])])
        writer.close_root()
        file.write("\n")


def in_order(shapes):
    """CVAT sorts shapes by layer, and writes tags after them."""
    return sorted(shapes, key=lambda it: (it["kind"] == "tag", it["z_order"]))


def runs(pixels):
    """COCO's runs of a mask; pycocotools has the same."""
    height, width = pixels.shape
    flat = np.concatenate([[0], pixels.astype(np.uint8).ravel(order="F"), [0]])
    changes = np.flatnonzero(np.diff(flat))
    ends = np.union1d(changes, [pixels.size])
    counts = [int(n) for n in np.diff(np.concatenate([[0], ends]))]
    packed = coco.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert coco.frPyObjects({"size": [height, width], "counts": counts}, height, width) == packed
    return counts


def filled(points, width, height):
    ring = [value for point in points for value in point]
    return runs(coco.decode(coco.merge(coco.frPyObjects([ring], height, width))))


def corners(it):
    """Of a box that is turned clockwise about its centre."""
    left, top, right, bottom = it["box"]
    angle = np.radians(it["rotation"])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([(left + right) / 2, (top + bottom) / 2])
    square = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return [[round(float(value), 6) for value in point] for point in (square - centre) @ turn.T + centre]


def expected(images):
    listed = []
    for it in images:
        size = (it["width"], it["height"])
        shapes = []
        for one in in_order(it["shapes"]):
            keys = {key: value for key, value in one.items() if key not in ("rle", "left", "top", "width", "height", "pixels")}
            if one["kind"] == "mask":
                keys["counts"] = runs(one["pixels"])
            elif one["kind"] == "polygon":
                keys["counts"] = filled(one["points"], *size)
            elif one["kind"] == "box" and one["rotation"]:
                keys |= {"corners": corners(one), "counts": filled(corners(one), *size)}
            shapes.append(keys)
        listed.append({**{key: it[key] for key in ["id", "name", "subset", "width", "height"]}, "shapes": shapes})
    return listed


def described(labels):
    return [{"name": name, "parent": parent[0] if parent else None,
             "attributes": {attribute[0]: attribute[1] for attribute in attributes}}
            for name, _, _, attributes, *parent in labels]


def typed(label, given):
    """What CVAT hands on for COCO: each attribute that the label declares, by its type."""
    declared = next(it[3] for it in LABELS if it[0] == label)
    values = {}
    for name, kind, default, _ in declared:
        value = given.get(name, default)
        values[name] = float(value) if kind == "number" else value.lower() == "true" if kind == "checkbox" else value
    return values


def write_coco(images, place):
    """As CVAT: ellipses are masks, boxes carry their rotation, shapes of a group are one object."""
    labels = dm.LabelCategories(attributes=["occluded"])
    for name, _, _, _, *parent in LABELS:
        labels.add(name, *parent)
    number = {it[0]: at for at, it in enumerate(LABELS)}
    items = []
    for it in images:
        annotations = []
        for one in in_order(it["shapes"]):
            keys = {"label": number[one["label"]], "group": one["group"], "z_order": one["z_order"],
                    "attributes": typed(one["label"], one["attributes"]) | {"occluded": one["occluded"]}}
            match one["kind"]:
                case "mask":
                    annotations.append(dm.Mask(one["pixels"], **keys))
                case "ellipse":
                    (x, y), (across, down) = one["centre"], one["radii"]
                    drawn = ellipses(it["width"], it["height"],
                                     ((round(x), round(y)), (round(across), round(down)), one["rotation"], 1))
                    annotations.append(dm.Mask(drawn, **keys))
                case "polygon":
                    annotations.append(dm.Polygon([value for point in one["points"] for value in point], **keys))
                case "box":
                    left, top, right, bottom = one["box"]
                    keys["attributes"]["rotation"] = one["rotation"]
                    annotations.append(dm.Bbox(left, top, right - left, bottom - top, **keys))
        name, ending = it["name"].rsplit(".", 1)
        media = dm.Image.from_numpy(np.zeros((it["height"], it["width"], 3), np.uint8), ext=f".{ending}")
        items.append(dm.DatasetItem(name, subset="default", media=media, annotations=annotations,
                                    attributes={"frame": it["id"]}))
    dataset = dm.Dataset.from_iterable(items, categories={dm.AnnotationType.label: labels})
    with tempfile.TemporaryDirectory() as folder:
        dataset.export(folder, "coco_instances", save_media=False, merge_images=False)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(folder) / "annotations/instances_default.json", place)
    with contextlib.redirect_stdout(None):
        read = COCO(str(place))
    objects = []
    for one in read.loadAnns(read.getAnnIds()):
        keys = {"id": one["id"], "image": read.imgs[one["image_id"]]["file_name"],
                "label": read.cats[one["category_id"]]["name"], "attributes": one["attributes"]}
        if one["iscrowd"]:
            assert one["segmentation"]["counts"] == runs(read.annToMask(one))
        elif one["segmentation"]:
            keys["counts"] = runs(read.annToMask(one))
        objects.append(keys)
    return objects


def loose(value):
    """datumaro makes numbers and booleans of attributes; compares them as such."""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        return float(value)
    except ValueError:
        return value


def check(folder, images, all_labels):
    """Reads a folder with datumaro and compares the shapes that it knows."""
    data = dm.Dataset.import_from(str(folder), "cvat")
    names = [it.name for it in data.categories()[dm.AnnotationType.label]]
    assert names == [it[0] for it in all_labels], names
    found = {(item.subset, item.attributes["frame"]): item for item in data}
    assert len(found) == len(images)
    for it in images:
        item = found[it["subset"] or "annotations", it["id"]]
        assert Path(item.media.path) == folder / "images" / (it["subset"] or "") / it["name"]
        assert item.media.data.shape[:2] == (it["height"], it["width"])
        # Nodes of skeletons are read as points of their own, other shapes are not read, and their attributes go astray.
        wanted = [one for one in in_order(it["shapes"]) if one["kind"] in ("mask", "polygon", "box", "tag", "polyline")]
        got = [one for one in item.annotations if one.type != dm.AnnotationType.points]
        assert len(got) == len(wanted), (it["name"], len(got), len(wanted))
        for one, other in zip(wanted, got):
            assert names[other.label] == one["label"] and other.group == one["group"]
            given = {key: loose(value) for key, value in other.attributes.items()}
            if one["kind"] != "tag":
                assert given.pop("occluded") == str(one["occluded"]).lower() and other.z_order == one["z_order"]
            assert given == {key: loose(value) for key, value in one["attributes"].items()}, (given, one)
            match one["kind"]:
                case "mask":
                    assert (other.image == one["pixels"]).all()
                    ends = [one["left"] + one["width"] - 1, one["top"] + one["height"] - 1]
                    points = [*one["rle"], one["left"], one["top"], *ends]
                    again = decode_mask(points, image_width=it["width"], image_height=it["height"])
                    assert (again == one["pixels"]).all()
                case "polygon" | "polyline":
                    assert np.allclose(other.points, np.ravel(one["points"]))
                case "box" if one["rotation"]:
                    drawn = np.reshape(other.as_polygon(), (-1, 2))
                    assert np.allclose(drawn, corners(one), atol=0.01), (drawn, corners(one))
                case "box":
                    assert np.allclose(other.points, one["box"])


def main():
    for folder in ["task", "project", "coco"]:
        shutil.rmtree(HERE / folder, ignore_errors=True)
    images, of_project = task_images(), project_images()
    for seed, (folder, it) in enumerate([("task", it) for it in images] + [("project", it) for it in of_project]):
        photo(HERE / folder / "images" / (it["subset"] or "") / it["name"], it["width"], it["height"], seed)
    meta = task_meta(7, "night & day", len(images), None)
    write_xml(HERE / "task/annotations.xml", [("task", OrderedDict([*meta, ("labels", labels_meta(LABELS))]))], images)
    tasks = [(11, "first", 2, "train"), (12, "second", 1, "val")]
    tasks = [("task", OrderedDict(task_meta(*it))) for it in tasks]
    meta = [("id", "5"), ("name", "cells"), ("bugtracker", ""), ("created", WHEN), ("updated", WHEN), ("tasks", tasks),
            ("subsets", "train\nval"), ("owner", ""), ("assignee", ""), ("labels", labels_meta(IN_PROJECT))]
    write_xml(HERE / "project/annotations.xml", [("project", OrderedDict(meta))], of_project)
    check(HERE / "task", images, LABELS)
    check(HERE / "project", of_project, IN_PROJECT)
    written = {"task": {"labels": described(LABELS), "images": expected(images)},
               "project": {"labels": described(IN_PROJECT), "images": expected(of_project)},
               "coco": write_coco(images, HERE / "coco/annotations/instances_default.json")}
    (HERE / "expected.json").write_text(json.dumps(written, ensure_ascii=False, separators=(",", ":")) + "\n")


main()
