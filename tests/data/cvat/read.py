"""Reads an export in the layout of CVAT with datumaro and prints its images and shapes as JSON.

    target/cvat/bin/python tests/data/cvat/read.py DIR     # packages: see generate.py

DIR holds annotations.xml and images/ of "CVAT for images 1.1", or annotations/instances_SUBSET.json and images/ of CVAT's
"COCO 1.0". Masks are printed as COCO's runs over the whole image, other shapes as points. The XML is also read by the rules
of CVAT's own import, with cvat-sdk for masks; the script fails if it finds other shapes than datumaro.
"""

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import datumaro as dm
import numpy as np
from cvat_sdk.masks import decode_mask
from pycocotools import mask as coco

KINDS = {"mask": "mask", "polygon": "polygon", "bbox": "box", "rotated_bbox": "box", "label": "tag",
         "polyline": "polyline", "points": "points"}


def runs(pixels):
    """Uncompressed, of what pycocotools packs."""
    flat = coco.decode(coco.encode(np.asfortranarray(pixels.astype(np.uint8)))).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = [int(n) for n in np.diff(np.concatenate([[0], changes, [flat.size]]))]
    return [0, *counts] if flat[0] else counts


def described(annotation, labels):
    """A shape as datumaro has it."""
    kind = KINDS[annotation.type.name]
    assert annotation.label is not None, f"a {kind} has a label that is not declared"
    attributes = dict(annotation.attributes)
    occluded = attributes.pop("occluded", False)
    shape = {"kind": kind, "label": labels[annotation.label], "attributes": attributes}
    if kind == "tag":
        return shape
    shape |= {"occluded": occluded, "z_order": annotation.z_order, "group": annotation.group}
    if kind == "mask":
        shape["counts"] = runs(annotation.image)
    elif annotation.type.name == "rotated_bbox":
        shape["points"] = [round(float(value), 2) for value in np.ravel(annotation.as_polygon())]
    else:
        shape["points"] = [round(value, 2) for value in annotation.points]
    return shape


def imported(element, width, height):
    """The kind, the label and what a shape covers, as CVAT's import of annotations takes them; `None` for other elements."""
    keys = element.attrib
    if element.tag == "mask":
        left, top = int(keys["left"]), int(keys["top"])
        ends = [left + int(keys["width"]) - 1, top + int(keys["height"]) - 1]
        points = [*map(int, keys["rle"].split(",")), left, top, *ends]
        covers = runs(decode_mask(points, image_width=width, image_height=height))
    elif element.tag == "box":
        covers = None if float(keys.get("rotation", 0)) else [float(keys[key]) for key in ["xtl", "ytl", "xbr", "ybr"]]
    elif element.tag in ("polygon", "polyline", "points"):
        covers = [float(value) for pair in keys["points"].split(";") for value in pair.split(",")]
    elif element.tag == "tag":
        covers = None
    else:
        return None
    for key in ["z_order", "group_id"]:
        int(keys.get(key, 0))
    assert keys.get("occluded", "0") in ("0", "1"), keys
    assert all(attribute.tag == "attribute" and "name" in attribute.attrib for attribute in element), element.tag
    return element.tag, keys["label"], covers


def read_xml(folder):
    root = ElementTree.parse(folder / "annotations.xml").getroot()
    assert root.tag == "annotations" and root.findtext("version") == "1.1"
    declared = {label.findtext("name"): {it.findtext("name"): it.findtext("input_type") for it in label.iter("attribute")}
                for label in root.find("meta").iter("label")}
    elements = {(it.get("subset"), it.get("name")): it for it in root.findall("image")}
    data = dm.Dataset.import_from(str(folder), "cvat")
    labels = [label.name for label in data.categories()[dm.AnnotationType.label]]
    assert labels == list(declared), (labels, list(declared))
    images = []
    for item in data:
        name = Path(item.media.path).relative_to(folder / "images")
        subset = None if (None, name.as_posix()) in elements else item.subset
        assert name.is_relative_to(subset or "."), f"CVAT has the images of {subset} in a folder of that name, not {name}"
        element = elements.pop((subset, name.relative_to(subset or ".").as_posix()))
        height, width = item.media.data.shape[:2]
        assert (width, height) == (int(element.get("width")), int(element.get("height"))), name
        shapes = [described(annotation, labels) for annotation in item.annotations]
        # datumaro takes the nodes of a skeleton as points.
        flat = [it for one in element for it in (one.findall("points") if one.tag == "skeleton" else [one])]
        taken = [found for it in flat if (found := imported(it, width, height))]
        assert len(taken) == len(shapes), (name, len(taken), len(shapes))
        for (kind, label, covers), shape in zip(taken, shapes):
            assert (kind, label) == (shape["kind"], shape["label"]), (name, kind, label, shape)
            if covers is not None:
                assert np.allclose(covers, shape.get("counts", shape.get("points")), atol=0.005), (name, covers, shape)
        for it in flat:
            # CVAT drops attributes that the label does not have, and refuses a checkbox that is neither true nor false.
            for attribute in it.findall("attribute"):
                kind = declared[it.get("label")].get(attribute.get("name"))
                assert kind, f"'{it.get('label')}' does not declare '{attribute.get('name')}'"
                assert kind != "checkbox" or (attribute.text or "").lower() in ("true", "false"), attribute.text
        images.append({"id": item.attributes["frame"], "name": element.get("name"), "subset": subset, "width": width,
                       "height": height, "sources": [it.get("source") for it in element], "shapes": shapes})
    assert not elements, f"datumaro does not see {list(elements)}"
    kinds = [{"name": name, "attributes": attributes} for name, attributes in declared.items()]
    return {"labels": kinds, "images": images}


def read_coco(folder):
    data = dm.Dataset.import_from(str(folder), "coco_instances")
    labels = [label.name for label in data.categories()[dm.AnnotationType.label]]
    images = []
    for item in data:
        name = Path(item.media.path).relative_to(folder / "images").as_posix()
        height, width = item.media.size
        drawn = {it.id for it in item.annotations if it.type != dm.AnnotationType.bbox}
        # CVAT takes the box only of an object without a segmentation.
        kept = [it for it in item.annotations if it.type != dm.AnnotationType.bbox or it.id not in drawn]
        shapes = [{"id": it.id, **described(it, labels)} for it in sorted(kept, key=lambda it: it.id)]
        images.append({"id": item.attributes["id"], "name": name, "subset": item.subset, "width": width,
                       "height": height, "shapes": shapes})
    return {"labels": labels, "images": sorted(images, key=lambda it: (it["subset"], it["id"]))}


def main(folder):
    folder = Path(folder).resolve()
    read = read_xml if (folder / "annotations.xml").exists() else read_coco
    print(json.dumps(read(folder), ensure_ascii=False))


main(sys.argv[1])
