"""Makes the fixtures of tests/it/import_masks.rs: photos, masks of other programs, and what pycocotools 2.0.11 and
numpy say of these masks.

    python -m venv venv && venv/bin/pip install numpy==2.4.6 pillow==11.3.0 pycocotools==2.0.11 tifffile==2026.3.3
    venv/bin/python tests/data/import/make.py

    photos/          turned.jpg has EXIF orientation 6: stored as 30 x 20, upright 20 x 30
    coco.json        polygons, RLE of both kinds, a crowd, a box, and what cannot be used
    sa1b/            a file per photo, as in SA-1B, and what cannot be used
    label_maps/      PNG of 1, 8 and 16 bits, with a palette, TIFF of 32 bits, signed and unsigned
    bad_label_maps/  none of them can be used
    expected.json    for each source and photo the masks, in order: counts, area, bbox, and what else is given
"""

import json
import pathlib
import shutil

import numpy as np
import tifffile
from PIL import Image
from pycocotools import mask as coco

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(20231204)
# Width and height, upright.
PHOTOS = {
    "a.jpg": (40, 30),
    "sub/b.png": (23, 31),
    "turned.jpg": (20, 30),
    "c.png": (16, 16),
    "d.png": (16, 12),
    "e.png": (9, 7),
}
expected = {"coco": {}, "sa1b": {}, "label_maps": {}}


def folder(name):
    path = HERE / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def write_json(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=1) + "\n")


def ellipse(photo):
    """A bitmap with an ellipse and a few pixels beside it."""
    width, height = PHOTOS[photo]
    y, x = np.mgrid[:height, :width]
    center = rng.uniform(0.2, 0.8, 2) * (width, height)
    radii = rng.uniform(0.15, 0.4, 2) * (width, height) + 1
    inside = ((x - center[0]) / radii[0]) ** 2 + ((y - center[1]) / radii[1]) ** 2 <= 1
    return inside ^ (rng.random((height, width)) < 0.02)


def encode(bitmap):
    rle = coco.encode(np.asfortranarray(bitmap.astype(np.uint8)))
    return {"size": [int(side) for side in rle["size"]], "counts": rle["counts"].decode()}


def runs(bitmap):
    flat = bitmap.flatten(order="F").astype(int)
    changes = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return lengths if flat[0] == 0 else [0, *lengths]


def told(rle, **more):
    """What a mask must become."""
    area, bbox = int(coco.area(rle)), [float(side) for side in coco.toBbox(rle)]
    return {"counts": rle["counts"], "area": area, "bbox": bbox, **more}


# Photos.
photos = folder("photos")
for name, (width, height) in PHOTOS.items():
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    photo = Image.fromarray(pixels)
    (photos / name).parent.mkdir(exist_ok=True)
    if name == "turned.jpg":
        exif = Image.Exif()
        exif[0x0112] = 6
        photo.rotate(90, expand=True).save(photos / name, exif=exif)
    else:
        photo.save(photos / name)

# COCO.
polygons = {
    "a.jpg": [[2.5, 3, 20, 4.25, 18, 22, 3, 19.5], [25, 5, 38, 5, 38, 14, 25, 14]],
    "sub/b.png": [[3, 4], [1, 1, 20, 2, 12, 28]],  # the first ring is none
    "turned.jpg": [[0, 0, 19.5, 0, 10, 29.5]],
}


def rasterised(photo):
    width, height = PHOTOS[photo]
    rings = [ring for ring in polygons[photo] if len(ring) >= 6]
    rle = coco.merge(coco.frPyObjects(rings, height, width))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


images = [
    {"id": 11, "file_name": "a.jpg", "width": 40, "height": 30},
    {"id": 12, "file_name": "photos/sub/b.png", "width": 23, "height": 31},
    {"id": 13, "file_name": "turned.jpg", "width": 20, "height": 30},
    {"id": 14, "file_name": "c.png", "width": 8, "height": 8},  # of another size
    {"id": 15, "file_name": "nowhere.jpg", "width": 5, "height": 5},
    {"id": 16, "file_name": "d.png"},  # without annotations
]
a, b, t = "a.jpg", "sub/b.png", "turned.jpg"
bitmaps = [(photo, ellipse(photo)) for photo in (a, b, a, t)]
segmentations = [
    (11, polygons[a]),
    (13, polygons[t]),
    (12, encode(bitmaps[1][1])),
    (11, encode(bitmaps[0][1])),
    (11, []),  # a box
    (12, {"size": [31, 23], "counts": "~~~"}),
    (11, {"size": [30, 40], "counts": runs(bitmaps[2][1])}),  # a crowd
    (12, {"size": [23, 31], "counts": [713]}),
    (12, polygons[b]),
    (11, [[100, 100, 120, 100, 120, 120]]),  # no pixel
    (13, encode(bitmaps[3][1])),
    (14, [[1, 1, 5, 1, 5, 5]]),
    (15, [[1, 1, 4, 1, 4, 4]]),
    (99, [[1, 1, 4, 1, 4, 4]]),
]
annotations = [
    {"id": n, "image_id": image, "category_id": n % 2 + 1, "segmentation": it, "bbox": [1, 1, 3, 3], "area": 9,
     "iscrowd": int(n == 7)}
    for n, (image, it) in enumerate(segmentations, 1)
]
categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
write_json(HERE / "coco.json", {"images": images, "annotations": annotations, "categories": categories})
expected["coco"] = {
    a: [told(rasterised(a)), told(encode(bitmaps[0][1])), told(encode(bitmaps[2][1]))],
    b: [told(encode(bitmaps[1][1])), told(rasterised(b))],
    t: [told(rasterised(t)), told(encode(bitmaps[3][1]))],
    "d.png": [],
}


# SA-1B.
def sa1b_annotation(photo, n):
    bitmap = ellipse(photo)
    width, height = PHOTOS[photo]
    rle = encode(bitmap)
    iou, stability = (float(x) for x in rng.uniform(0.85, 1, 2))
    point = [float(x) for x in rng.uniform(0, 1, 2) * (width, height)]
    crop = [0, 0, width, height] if n % 2 == 0 else [2, 1, width - 4, height - 3]
    annotation = {
        "segmentation": rle, "bbox": [0, 0, 1, 1], "area": 1, "predicted_iou": iou, "stability_score": stability,
        "crop_box": crop, "point_coords": [point], "id": 536_000_000 + n,
    }
    return annotation, told(
        rle, predicted_iou=float(np.float32(iou)), stability_score=float(np.float32(stability)), point=point,
        crop_box=[float(side) for side in crop],
    )


def sa1b(photo, path, count):
    width, height = PHOTOS[photo]
    made = [sa1b_annotation(photo, n) for n in range(count)]
    expected["sa1b"][photo] = [mask for _, mask in made]
    image = {"image_id": len(expected["sa1b"]), "width": width, "height": height, "file_name": photo}
    value = {"image": image, "annotations": [annotation for annotation, _ in made]}
    write_json(path, value)
    return value


folder("sa1b")
first = sa1b(a, HERE / "sa1b/sa_1.json", 3)
empty = {"segmentation": encode(np.zeros((30, 40), bool)), "id": 1}
damaged = {"segmentation": {"size": [30, 40], "counts": "0h"}, "id": 2}
first["annotations"][1:1] = [empty, damaged, {"bbox": [1, 1, 2, 2], "id": 3}]
write_json(HERE / "sa1b/sa_1.json", first)
sa1b(t, HERE / "sa1b/more/sa_2.json", 2)
plain = sa1b("d.png", HERE / "sa1b/sa_4.json", 1)
for key in ("predicted_iou", "stability_score", "crop_box", "point_coords"):
    del plain["annotations"][0][key]
write_json(HERE / "sa1b/sa_4.json", plain)
expected["sa1b"]["d.png"][0] |= {
    "predicted_iou": None, "stability_score": None, "point": None, "crop_box": [0.0, 0.0, 16.0, 12.0],
}
write_json(HERE / "sa1b/sa_3.json", {"image": {"file_name": "nowhere.jpg", "width": 5, "height": 5}, "annotations": []})
(HERE / "sa1b/cut.json").write_text(json.dumps(first)[:200])
(HERE / "sa1b/readme.txt").write_text("not JSON\n")


# Label maps.
def labels(photo, values, dtype):
    width, height = PHOTOS[photo]
    made = np.zeros((height, width), dtype)
    for value in values:
        made[ellipse(photo)] = value
    # Each value is somewhere, however the ellipses overlap.
    made[-1, : len(values)] = values
    return made


def label_map(photo, name, values, dtype, save):
    made = labels(photo, values, dtype)
    path = HERE / "label_maps" / name
    path.parent.mkdir(exist_ok=True)
    save(path, made)
    expected["label_maps"][photo] = [
        told(encode(made == value), value=int(value)) for value in np.unique(made) if value != 0
    ]


def save_tiff(path, made, **options):
    tifffile.imwrite(path, made, photometric="minisblack", metadata=None, software=False, **options)


def save_packed_tiff(path, made):
    save_tiff(path, made, compression="zlib")


def save_big_endian_tiff(path, made):
    save_tiff(path, made, byteorder=">")


def save_png(path, made):
    Image.fromarray(made).save(path)


def save_bits(path, made):
    Image.fromarray(made == 1).save(path)


def save_palette(path, made):
    image = Image.fromarray(made)
    image.putpalette(rng.integers(0, 256, 48, np.uint8).tolist())
    image.save(path, bits=4)


folder("label_maps")
label_map(a, "a.png", [3, 7, 255], np.uint8, save_png)
label_map(b, "sub/b.png", [1, 256, 1000, 65535], np.uint16, save_png)
label_map(t, "turned.tif", [1, 70_000, 2**32 - 1], np.uint32, save_packed_tiff)
label_map("c.png", "c.png", [9, 1, 2], np.uint8, save_palette)
label_map("d.png", "d.tiff", [5, 2**31 - 1], np.int32, save_big_endian_tiff)
label_map("e.png", "e.png", [1], np.uint8, save_bits)

bad = folder("bad_label_maps")
Image.fromarray(labels(a, [1], np.uint8)).save(bad / "a.png")
save_tiff(bad / "a.tif", labels(a, [1], np.uint8))
(bad / "sub").mkdir()
Image.fromarray(rng.integers(0, 256, (31, 23, 3), np.uint8)).save(bad / "sub/b.png")
Image.fromarray(labels(t, [1], np.uint8)).rotate(90, expand=True).save(bad / "turned.png")
good = (HERE / "label_maps/c.png").read_bytes()
(bad / "c.png").write_bytes(good[: len(good) // 2])
save_tiff(bad / "d.tif", labels("d.png", [5, -1], np.int32))
save_tiff(bad / "e.tif", labels("e.png", [1], np.float32))
Image.fromarray(labels("e.png", [1], np.uint8)).save(bad / "nowhere.png")
(bad / "text.png").write_text("hello")

(HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
