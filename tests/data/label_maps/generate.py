"""Label maps of Cityscapes, drawn by its own scripts from polygons, with the masks that their values have.

    python3 -m venv target/maps
    target/maps/bin/pip install cityscapesScripts==2.3.0 pycocotools==2.0.11 pillow==11.3.0 numpy==2.4.6
    target/maps/bin/python tests/data/label_maps/generate.py

Writes beside itself leftImg8bit/val/bonn/*.png (a photo), gtFine/val/bonn/*_labelIds.png (8 bits) and *_instanceIds.png (as the
scripts write it: 32 bits in memory, 16 in the file), and expected.json: of every value of both maps the compressed run lengths of
pycocotools.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from cityscapesscripts.preparation.json2instanceImg import json2instanceImg
from cityscapesscripts.preparation.json2labelImg import json2labelImg
from PIL import Image
from pycocotools import mask

HERE = Path(__file__).parent
WIDTH, HEIGHT = 64, 40
OBJECTS = [
    ("road", [(0, 25), (63, 25), (63, 39), (0, 39)]),
    ("sky", [(0, 0), (63, 0), (63, 10), (0, 10)]),
    ("car", [(5, 20), (20, 20), (20, 30), (5, 30)]),
    ("car", [(15, 22), (30, 24), (28, 33), (14, 32)]),
    ("persongroup", [(40, 15), (50, 15), (50, 28), (40, 28)]),
    ("person", [(52, 14), (56, 14), (56, 29), (52, 29)]),
    ("static", [(0, 12), (3, 12), (3, 20), (0, 20)]),
]


def main():
    base = "bonn_000001_000019"
    photos, maps = HERE / "leftImg8bit/val/bonn", HERE / "gtFine/val/bonn"
    for folder in (photos, maps):
        folder.mkdir(parents=True, exist_ok=True)
    level = np.linspace(0, 255, WIDTH, dtype=np.uint8)
    Image.fromarray(np.repeat(np.tile(level, (HEIGHT, 1))[:, :, None], 3, axis=2)).save(photos / f"{base}_leftImg8bit.png")
    drawn = {
        "imgHeight": HEIGHT,
        "imgWidth": WIDTH,
        "objects": [{"label": label, "polygon": polygon} for label, polygon in OBJECTS],
    }
    with tempfile.TemporaryDirectory() as folder:
        polygons = Path(folder) / "polygons.json"
        polygons.write_text(json.dumps(drawn))
        json2labelImg(str(polygons), str(maps / f"{base}_gtFine_labelIds.png"), "ids")
        json2instanceImg(str(polygons), str(maps / f"{base}_gtFine_instanceIds.png"), "ids")
    expected = {}
    for kind in ("labelIds", "instanceIds"):
        values = np.array(Image.open(maps / f"{base}_gtFine_{kind}.png")).astype(np.int64)
        expected[kind] = {
            int(value): mask.encode(np.asfortranarray(values == value).astype(np.uint8))["counts"].decode()
            for value in np.unique(values)
        }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


main()
