"""Files that grainstore writes, what each tool's own reader says of them, and what the tool's own writer makes of that.

    python3 -m venv target/there
    target/there/bin/pip install datumaro==1.13.12 cvat-sdk==2.80.0 label-studio-sdk==2.1.2 datasets==5.2.0 \\
        pycocotools==2.0.11 cityscapesScripts==2.3.0 numpy==2.2.6 pillow==12.3.0 opencv-python-headless==4.12.0.88
    target/there/bin/python tests/data/there_and_back/generate.py target/debug/grainstore

The photos are those of tests/data/labelstudio/photos.

in.json        COCO with an ellipse, a mask with a hole, one of two parts, random speckle and so on; one object has only a box
results.json   COCO results for the same photos: two masks with scores of each

A store has in.json as data set 'there' and results.json as head 'found'. Of it:

written/       what grainstore exports: the objects of 'there', and what 'found' keeps (*_head)
    cvat/, cvat_head/            annotations.xml of CVAT for images 1.1
    coco/instances_default.json  COCO; the line "info" has the time of the store's last change and differs from run to run
    label_studio/                tasks.json (brushes and a box) and config.xml
    label_studio_polygons/       the same with --polygons
    label_studio_head/           predictions with scores
    cityscapes/                  the label map by objects, of tests/data/label_maps
read/          what the tools read of written/: NAME.json of the folder NAME, each by the read.py of tests/data of that tool;
               runs are pycocotools' compressed ones
    cvat*.json, coco.json        datumaro; cvat-sdk found the same shapes in the XML
    label_studio*.json           label_studio_sdk
    hugging_face.json            datasets, of `export hugging-face`, which is not kept
    cityscapes.json              pixels of the objects of each label, by cityscapesscripts.evaluation.instances2dict
    coco_guess.json              objects of rewritten/coco/guess.json by pycocotools, with IoU to the masks that were written
rewritten/     what the tools write of what they read of written/
    cvat/annotations.xml         datumaro, of written/cvat
    coco/masks.json              datumaro, of written/coco, with segmentation_mode="mask": the masks are the same; iscrowd is 1,
                                 so that grainstore reads crowds
    coco/guess.json              the same with datumaro's default: masks that are no crowds become polygons, and others thereby
    coco/from_cvat.json          datumaro, of written/cvat, with its default, as CVAT exports COCO: the masks are the same, and
                                 iscrowd is 1, but grainstore knows CVAT's files by "occluded" and reads no crowds
    label_studio/tasks.json      label_studio_sdk, of written/label_studio_polygons and label_studio_head: annotations and
                                 predictions of each task, brushes decoded and encoded again

The script fails if what was read or written again is not what in.json and results.json hold, but for coco/guess.json, and if
grainstore does not read a rewritten file as the same objects.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import datumaro as dm
import numpy as np
from cityscapesscripts.evaluation.instances2dict import instances2dict
from label_studio_sdk.converter import brush
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import AnnotationValue, PredictionValue, TaskValue
from PIL import Image
from pycocotools import mask as coco
from pycocotools.coco import COCO

HERE = Path(__file__).resolve().parent
DATA = HERE.parent
PHOTOS = DATA / "labelstudio/photos"
# name: width, height, id
SIZES = {"1.png": (64, 48, 7), "2.png": (37, 53, 11), "3.png": (200, 100, 2), "4.png": (20, 10, 40)}
CLASSES = {"cat": 3, 'dog & "bird"': 17, "Äpfel": 18}
CITYSCAPES = "0,unlabeled\n4,static\n7,road\n23,sky\n24,person\n26,car\n"


# What goes in.


def ellipse(photo, x, y, across, down):
    width, height, _ = SIZES[photo]
    rows, columns = np.mgrid[:height, :width]
    return ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1


def blank(photo):
    width, height, _ = SIZES[photo]
    return np.zeros((height, width), bool)


def speckle(photo, left, top, width, height):
    random = np.random.default_rng(20261129)
    mask = blank(photo)
    mask[top : top + height, left : left + width] = random.random((height, width)) < 0.5
    return mask


def corners(photo):
    mask = blank(photo)
    mask[0, 0] = mask[-1, -1] = True
    return mask


def objects():
    """Photo, class, and a mask or a box."""
    cat, dog, apples = CLASSES
    return [
        ("1.png", cat, ellipse("1.png", 20, 16, 14, 9)),
        ("1.png", dog, ellipse("1.png", 40, 30, 15, 12) & ~ellipse("1.png", 36, 28, 4, 3)),
        ("1.png", apples, ellipse("1.png", 8, 40, 6, 5) | ellipse("1.png", 56, 8, 7, 6)),
        ("1.png", cat, [3.5, 4.25, 20.5, 10.75]),
        ("2.png", apples, ellipse("2.png", 18, 20, 11, 16)),
        ("2.png", cat, speckle("2.png", 10, 40, 20, 10)),
        ("2.png", apples, corners("2.png")),
        ("3.png", dog, ellipse("3.png", 90, 50, 70, 40) & ~ellipse("3.png", 60, 50, 20, 15)),
        ("3.png", cat, ellipse("3.png", 10, 90, 12, 14) | ellipse("3.png", 180, 20, 15, 12)),
        ("3.png", apples, speckle("3.png", 176, 84, 24, 16)),
        ("4.png", cat, ellipse("4.png", 6, 5, 5, 4)),
        ("4.png", apples, ellipse("4.png", 14, 5, 5, 5) & ~ellipse("4.png", 14, 5, 2, 2)),
    ]


def packed(mask):
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def annotations():
    listed, number = [], dict.fromkeys(SIZES, 0)
    for photo, name, drawn in objects():
        image = SIZES[photo][2]
        keys = {"id": 100 * image + number[photo], "image_id": image, "category_id": CLASSES[name], "iscrowd": 0}
        number[photo] += 1
        if isinstance(drawn, list):
            keys |= {"bbox": drawn, "area": drawn[2] * drawn[3]}
        else:
            rle = packed(drawn)
            keys |= {"segmentation": rle, "bbox": coco.toBbox(rle).tolist(), "area": int(coco.area(rle))}
        listed.append(keys)
    return listed


def results():
    """The first two objects of each photo, a pixel to the right."""
    listed = []
    for photo in SIZES:
        scores = iter([0.875, 0.5])
        for _, name, drawn in [it for it in objects() if it[0] == photo][:2]:
            moved = np.roll(drawn, 1, axis=1)
            listed.append({"image_id": SIZES[photo][2], "category_id": CLASSES[name], "segmentation": packed(moved),
                           "score": next(scores)})
    return listed


# Files.


def lines(items):
    return "[\n" + ",\n".join(json.dumps(item, ensure_ascii=False) for item in items) + "\n]"


def save(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def copied(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def ran(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, encoding="utf-8", check=False,
                          env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def read_by(tool, *paths):
    return json.loads(ran(sys.executable, DATA / tool / "read.py", *paths))


def loaded(file):
    with contextlib.redirect_stdout(None):
        return COCO(str(file))


# Objects of a file as what can be compared: photo, class, runs or box, score.


def same(found, wanted, what):
    found, wanted = sorted(map(str, found)), sorted(map(str, wanted))
    assert found == wanted, f"{what}:\n" + "\n".join(sorted(set(found) ^ set(wanted)))


def of_coco(file, scores=False):
    read = loaded(file)
    found = []
    for it in read.anns.values():
        photo, name = read.imgs[it["image_id"]], read.cats[it["category_id"]]["name"]
        covers = packed(read.annToMask(it))["counts"] if it.get("segmentation") else [float(side) for side in it["bbox"]]
        found.append((photo["file_name"], name, covers, it["score"] if scores else None))
    return found


def of_cvat(read):
    """Of what cvat/read.py prints, either format."""
    return [(image["name"], it["label"], it["counts"] if it["kind"] == "mask" else box_of(it["points"]), None)
            for image in read["images"] for it in image["shapes"]]


def box_of(ends):
    left, top, right, bottom = ends
    return [left, top, right - left, bottom - top]


def of_label_studio(read, scores=False):
    found = []
    for line in read:
        assert not line["errors"], line
        for it in line["regions"]:
            (name,) = it["labels"]
            covers = it.get("counts") or it["drawn"]
            if it["shape"] == "rectangle":
                covers = [round(side, 9) for side in box_of(it["points"][0] + it["points"][2])]
            found.append((line["image"].split("=")[-1], name, covers, it["score"] if scores else None))
    return found


def of_hugging_face(read):
    found = []
    for row in read:
        for it in row["objects"]:
            rle = it["segmentation"]
            assert rle is None or it["pixels"] == it["area"] == coco.area(rle), it
            assert rle is None or it["bbox"] == coco.toBbox(rle).tolist(), it
            found.append((row["file_name"], it["category"], rle["counts"] if rle else it["bbox"], it["score"]))
    return found


# The tools.


def read_cvat(folder):
    """With compressed runs instead of a number for each run."""
    read = read_by("cvat", folder)
    for image in read["images"]:
        size = [image["height"], image["width"]]
        for it in image["shapes"]:
            if "counts" in it:
                it["counts"] = coco.frPyObjects({"size": size, "counts": it["counts"]}, *size)["counts"].decode()
    return read


def cvat_text(read):
    return f'{{"labels": {json.dumps(read["labels"], ensure_ascii=False)},\n"images": {lines(read["images"])}}}'


def by_datumaro(folder, kind, target, out, **options):
    """Reads a data set, and keeps the one file of annotations that datumaro writes of it."""
    form = "cvat" if (folder / "annotations.xml").exists() else "coco_instances"
    out = out / target.stem
    dm.Dataset.import_from(str(folder), form).export(str(out), kind, save_media=False, **options)
    (file,) = (it for it in out.rglob("*") if it.suffix in (".xml", ".json"))
    copied(file, target)


def encoded_again(item, control):
    """A brush decoded and encoded by the package; other shapes as they are."""
    if item["type"] != "brushlabels":
        return item
    value = item["value"]
    rgba = brush.decode_rle(value["rle"]).reshape(item["original_height"], item["original_width"], 4)
    mask = (rgba[..., 3] > 0).astype(np.uint8) * 255
    return item | {"value": control._value_class(rle=brush.mask2rle(mask), brushlabels=value["brushlabels"]).model_dump()}


def by_label_studio(annotated, predicted):
    """Annotations and predictions in the package's own objects. Its Region has no original_width, so items are plain."""
    control = LabelInterface((annotated / "config.xml").read_text(encoding="utf-8")).get_control("brush")
    predictions = {it["data"]["image"]: it["predictions"] for it in json.loads((predicted / "tasks.json").read_text())}
    tasks = []
    for task in json.loads((annotated / "tasks.json").read_text()):
        again = lambda result: [encoded_again(item, control) for item in result]
        said = [AnnotationValue(completed_by=1, result_count=len(it["result"]), ground_truth=it["ground_truth"],
                                result=again(it["result"])) for it in task["annotations"]]
        guessed = [PredictionValue(model_version=it["model_version"], score=it["score"], result=again(it["result"]))
                   for it in predictions[task["data"]["image"]]]
        tasks.append(TaskValue(data=task["data"], annotations=said, predictions=guessed).model_dump())
    return tasks


def guessed(file, wanted):
    """What pycocotools fills of datumaro's polygons, with IoU to what was written."""
    written, read = loaded(wanted), loaded(file)
    found = []
    for it in read.anns.values():
        source = written.anns[it["id"]]
        keys = {"id": it["id"], "image": read.imgs[it["image_id"]]["file_name"],
                "label": read.cats[it["category_id"]]["name"]}
        assert keys["label"] == written.cats[source["category_id"]]["name"] and not it["iscrowd"]
        if it["segmentation"]:
            runs = packed(read.annToMask(it))
            iou = coco.iou([runs], [source["segmentation"]], [0])[0, 0]
            found.append(keys | {"counts": runs["counts"], "iou": round(float(iou), 4)})
        else:
            found.append(keys | {"bbox": it["bbox"]})
    return found


def cityscapes(program, folder):
    """A label map by objects goes in and out; its objects as Cityscapes' own scripts count them."""
    (folder / "classes.csv").write_text(CITYSCAPES)
    maps, store = DATA / "label_maps", ["--quiet", "--store", folder / "cityscapes"]
    suffixes = ["--image-suffix", "_leftImg8bit", "--map-suffix", "_gtFine_instanceIds"]
    ran(program, *store, "ingest", "label-maps", "--images", maps / "leftImg8bit", "--maps", maps / "gtFine", *suffixes,
        "--classes", folder / "classes.csv", "--objects", "--dataset", "cityscapes")
    ran(program, *store, "export", "label-maps", "--ground-truth", "--dataset", "cityscapes", "--background", "0", "--objects",
        "--stuff", "unlabeled,static,road,sky", *suffixes, "-o", folder / "label_maps")
    (written,) = (folder / "label_maps/maps").rglob("*.png")
    (source,) = (maps / "gtFine").rglob(written.name)
    counted = []
    for file in [source, written]:
        (found,) = instances2dict([str(file)]).values()
        counted.append({name: sorted(it["pixelCount"] for it in found[name]) for name in found if found[name]})
    assert counted[0] == counted[1], counted
    for name, value in [("unlabeled", 0), ("static", 4), ("road", 7), ("sky", 23)]:
        assert [it["instID"] for it in found[name]] == [value], found[name]
    shutil.copytree(folder / "label_maps/maps", HERE / "written/cityscapes")
    save(HERE / "read/cityscapes.json", json.dumps(counted[1]))


def main(program):
    for folder in ["written", "read", "rewritten"]:
        shutil.rmtree(HERE / folder, ignore_errors=True)
    images = [{"id": it[2], "file_name": name, "width": it[0], "height": it[1]} for name, it in SIZES.items()]
    categories = [{"id": number, "name": name} for name, number in CLASSES.items()]
    parts = {"images": images, "categories": categories, "annotations": annotations()}
    save(HERE / "in.json", "{" + ",\n".join(f'"{key}": {lines(items)}' for key, items in parts.items()) + "}")
    save(HERE / "results.json", lines(results()))
    with tempfile.TemporaryDirectory() as folder:
        there_and_back(program, Path(folder))


def there_and_back(program, folder):
    written, read, rewritten = HERE / "written", HERE / "read", HERE / "rewritten"
    run = lambda *args: ran(program, "--quiet", "--store", folder / "store", *args)
    run("init")
    run("ingest", "coco", "--annotations", HERE / "in.json", "--images", PHOTOS, "--dataset", "there")
    run("import", "coco-results", HERE / "results.json", "--head", "found", "--dataset", "there")
    truth, head = ["--ground-truth", "--dataset", "there"], ["--head", "found"]
    (written / "coco").mkdir(parents=True)
    run("export", "cvat", *truth, "--no-images", "-o", written / "cvat")
    run("export", "cvat", *head, "--no-images", "-o", written / "cvat_head")
    run("export", "coco", *truth, "-o", written / "coco/instances_default.json")
    run("export", "label-studio", *truth, "-o", written / "label_studio")
    run("export", "label-studio", *truth, "--polygons", "-o", written / "label_studio_polygons")
    run("export", "label-studio", *head, "-o", written / "label_studio_head")
    run("export", "hugging-face", *truth, "-o", folder / "hugging_face")

    objects = of_coco(HERE / "in.json")
    source = loaded(HERE / "in.json")
    with contextlib.redirect_stdout(None):
        found = source.loadRes(str(HERE / "results.json"))
    predicted = [(source.imgs[it["image_id"]]["file_name"], source.cats[it["category_id"]]["name"],
                  it["segmentation"]["counts"], it["score"]) for it in found.anns.values()]
    plain = [(*it[:3], None) for it in predicted]
    same(of_coco(written / "coco/instances_default.json"), objects, "pycocotools")

    # datumaro wants the photos beside the annotations.
    for name, wanted in [("cvat", objects), ("cvat_head", plain), ("coco", objects)]:
        place = folder / name
        shutil.copytree(PHOTOS, place / "images")
        shutil.copytree(written / name, place / "annotations" if name == "coco" else place, dirs_exist_ok=True)
        said = read_cvat(place)
        same(of_cvat(said), wanted, name)
        save(read / f"{name}.json", cvat_text(said))
    for name, wanted, scores in [("", objects, False), ("_polygons", objects, False), ("_head", predicted, True)]:
        name = f"label_studio{name}"
        said = read_by("labelstudio", written / name / "tasks.json", written / name / "config.xml")
        same(of_label_studio(said, scores), wanted, name)
        save(read / f"{name}.json", lines(said))
    said = read_by("hugging_face", folder / "hugging_face")
    same(of_hugging_face(said), objects, "hugging_face")
    save(read / "hugging_face.json", lines(said))
    cityscapes(program, folder)

    out = folder / "datumaro"
    by_datumaro(folder / "cvat", "cvat", rewritten / "cvat/annotations.xml", out)
    shutil.copytree(PHOTOS, folder / "cvat_again/images")
    copied(rewritten / "cvat/annotations.xml", folder / "cvat_again/annotations.xml")
    same(of_cvat(read_cvat(folder / "cvat_again")), objects, "rewritten cvat")
    by_datumaro(folder / "coco", "coco_instances", rewritten / "coco/masks.json", out, segmentation_mode="mask")
    by_datumaro(folder / "coco", "coco_instances", rewritten / "coco/guess.json", out)
    by_datumaro(folder / "cvat", "coco_instances", rewritten / "coco/from_cvat.json", out)
    for name in ["masks", "from_cvat"]:
        same(of_coco(rewritten / f"coco/{name}.json"), objects, name)
    save(read / "coco_guess.json", lines(guessed(rewritten / "coco/guess.json", written / "coco/instances_default.json")))
    tasks = rewritten / "label_studio/tasks.json"
    save(tasks, lines(by_label_studio(written / "label_studio_polygons", written / "label_studio_head")))
    said = read_by("labelstudio", tasks, written / "label_studio_polygons/config.xml")
    same(of_label_studio([it for it in said if "annotation" in it]), objects, "rewritten annotations")
    same(of_label_studio([it for it in said if "prediction" in it], True), predicted, "rewritten predictions")

    came_back(program, folder, objects, plain)


def came_back(program, folder, objects, predicted):
    """grainstore reads what the tools wrote again."""
    rewritten = HERE / "rewritten"
    pictures = ["--images", PHOTOS]
    tasks = ["label-studio", rewritten / "label_studio/tasks.json", *pictures]
    guess = [(*it[:3], None) for it in of_coco(rewritten / "coco/guess.json")]
    for name, command, wanted in [
        ("cvat", ["cvat", rewritten / "cvat/annotations.xml", *pictures], objects),
        ("masks", ["coco", "--annotations", rewritten / "coco/masks.json", *pictures], objects),
        ("from_cvat", ["coco", "--annotations", rewritten / "coco/from_cvat.json", *pictures], objects),
        ("guess", ["coco", "--annotations", rewritten / "coco/guess.json", *pictures], guess),
        ("annotations", tasks, objects),
        ("predictions", [*tasks, "--predictions"], predicted),
    ]:
        run = lambda *args: ran(program, "--quiet", "--store", folder / f"back_{name}", *args)
        run("ingest", *command, "--dataset", "back")
        run("export", "coco", "--ground-truth", "--dataset", "back", "-o", folder / f"back_{name}.json")
        same(of_coco(folder / f"back_{name}.json"), wanted, f"{name} came back")
        crowds = sum(it["iscrowd"] for it in loaded(folder / f"back_{name}.json").anns.values())
        # What CVAT has, "occluded", says that masks are no crowds.
        assert crowds == (sum(isinstance(it[2], str) for it in objects) if name == "masks" else 0), (name, crowds)


main(str(Path(sys.argv[1]).resolve()))
