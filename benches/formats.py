"""Times exports and imports of annotated objects in every format, and datumaro's conversions of a part of them.

    python benches/formats.py PROGRAM DIR IMAGES

Photos of 640 x 480 with 100 ellipses each, of 20 classes, some with a hole or two parts. Every step is a run of the program, with its
own peak of memory (the system's, of the process).
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from markdown import figure, table, versions
from pycocotools import mask as coco

WIDTH, HEIGHT, OBJECTS, CLASSES = 640, 480, 100, 20
# Images of the part that datumaro converts.
PART = 200


def photo(number):
    """A PNG whose first rows have the bits of its number as black and white squares, so that it differs from others as JPEG, too."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    squares = b"".join((b"\xff" if number >> bit & 1 else b"\0") * 3 * 16 for bit in range(24))
    gray = b"\x80\x80\x80"
    first = b"\0" + squares + gray * (WIDTH - 16 * 24)
    rows = first * 16 + (b"\0" + gray * WIDTH) * (HEIGHT - 16)
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def shapes(random):
    """Run lengths of masks: ellipses, one of ten with a hole, one of ten with a second part."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)

    def ellipse(least, most):
        middle = random.uniform(0.1, 0.9, 2) * (WIDTH, HEIGHT)
        radius = random.uniform(least, most, 2)
        return ((x - middle[0]) / radius[0]) ** 2 + ((y - middle[1]) / radius[1]) ** 2 <= 1

    found = []
    for number in range(2000):
        mask = ellipse(10, 110)
        if number % 10 == 0:
            mask &= ~ellipse(5, 30)
        if number % 10 == 1:
            mask |= ellipse(10, 60)
        if mask.any():
            rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
            rle["counts"] = rle["counts"].decode()
            found.append((rle, int(coco.area(rle)), [float(side) for side in coco.toBbox(rle)]))
    return found


def make(folder, images):
    """Photos and a COCO file."""
    (folder / "photos").mkdir(parents=True)
    random = np.random.default_rng(7)
    masks = shapes(random)
    for number in range(images):
        (folder / f"photos/{number:06}.png").write_bytes(photo(number))
    entries = [{"id": n + 1, "file_name": f"{n:06}.png", "width": WIDTH, "height": HEIGHT} for n in range(images)]
    categories = [{"id": n + 1, "name": f"class{n:02}"} for n in range(CLASSES)]
    with open(folder / "coco.json", "w") as out:
        out.write(json.dumps({"images": entries, "categories": categories})[:-1] + ', "annotations": [')
        for image in range(images):
            chosen = random.integers(0, len(masks), OBJECTS)
            for at, n in enumerate(chosen):
                rle, area, box = masks[n]
                number = image * OBJECTS + at + 1
                annotation = {"id": number, "image_id": image + 1, "category_id": int(n) % CLASSES + 1, "segmentation": rle,
                              "area": area, "bbox": box, "iscrowd": 0}
                out.write((", " if number > 1 else "") + json.dumps(annotation))
        out.write("]}")


class Program:
    def __init__(self, file, store):
        self.file, self.store = file, store

    def __call__(self, *args):
        """Runs the program; seconds, and the peak of its memory in MB."""
        command = [self.file, "-q", "--store", str(self.store), *map(str, args)]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {process.returncode}")
        return seconds, usage.ru_maxrss / 1024


def grainstore(program, folder):
    """Seconds and MB of each format, out and in."""
    out, back = folder / "out", folder / "back"
    store = Program(program, folder / "store")
    truth = ["--ground-truth", "--dataset", "bench"]
    photos = folder / "photos"
    found = {}

    def into(*args):
        shutil.rmtree(back, ignore_errors=True)
        return Program(program, back)(*args)

    def both(name, export, ingest):
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        found[name] = store("export", *export, "-o", out / "x"), into(*ingest) if ingest else None
        print(name, found[name], file=sys.stderr, flush=True)

    coco_in = ["ingest", "coco", "--images", photos, "--dataset", "bench", "--annotations"]
    first = store(*coco_in, folder / "coco.json")
    both("COCO JSON, run lengths", ["coco", *truth], [*coco_in, out / "x"])
    both("COCO JSON, polygons", ["coco", *truth, "--segmentation", "polygon"], [*coco_in, out / "x"])
    both("PASCAL VOC", ["voc", *truth], None)
    both("PASCAL VOC, with photos as JPEG", ["voc", *truth, "--copy-images"],
         ["ingest", "voc", out / "x", "--split", "all", "--class-names", out / "x/classes.txt", "--dataset", "bench"])
    both("YOLO", ["yolo", *truth], ["ingest", "yolo", out / "x/data.yaml", "--dataset", "bench"])
    both("CVAT for images", ["cvat", *truth, "--no-images"],
         ["ingest", "cvat", out / "x/annotations.xml", "--images", photos, "--dataset", "bench"])
    both("Label Studio", ["label-studio", *truth],
         ["ingest", "label-studio", out / "x/tasks.json", "--images", photos, "--dataset", "bench"])
    both("label maps, classes", ["label-maps", *truth, "--copy-images"],
         ["ingest", "label-maps", "--images", out / "x/images", "--maps", out / "x/maps", "--classes", out / "x/classes.csv",
          "--dataset", "bench"])
    both("label maps, objects", ["label-maps", *truth, "--objects", "--copy-images"],
         ["ingest", "label-maps", "--images", out / "x/images", "--maps", out / "x/maps", "--classes", out / "x/classes.csv",
          "--objects", "--dataset", "bench"])
    both("Hugging Face", ["hugging-face", *truth], None)
    both("Parquet", ["parquet", *truth], None)
    masks = store("import", "masks", "--ground-truth", "bench")
    shutil.rmtree(back, ignore_errors=True)
    Program(program, back)("ingest", "images", photos, "--no-labels")
    shutil.rmtree(out)
    out.mkdir()
    exported = store("export", "sa1b", "-o", out / "x")
    found["SA-1B JSON"] = exported, Program(program, back)("import", "masks", "--sa1b", out / "x")
    shutil.rmtree(out)
    shutil.rmtree(back)
    return first, masks, found


def datumaro(folder):
    """Seconds that datumaro takes from the COCO file to each of its formats."""
    import logging

    import datumaro as dm

    logging.disable(logging.WARNING)
    place = folder / "dm"
    (place / "annotations").mkdir(parents=True)
    shutil.copy(folder / "coco.json", place / "annotations/instances_default.json")
    shutil.copytree(folder / "photos", place / "images/default")
    found = {}
    for name, kind in [("COCO JSON, run lengths", "coco_instances"), ("PASCAL VOC", "voc_segmentation"), ("CVAT for images", "cvat"),
                       ("SA-1B JSON", "segment_anything")]:
        started = time.perf_counter()
        data = dm.Dataset.import_from(str(place), "coco_instances")
        data.export(str(folder / f"dm_{kind}"), kind, save_media=False)
        found[name] = time.perf_counter() - started
    return found


def main(program, folder, images):
    folder = Path(folder)
    of_part = min(PART, images)
    make(folder / "part", of_part)
    _, _, part = grainstore(program, folder / "part")
    peer = datumaro(folder / "part")
    make(folder / "all", images)
    first, masks, found = grainstore(program, folder / "all")

    objects = images * OBJECTS
    print(f"\n{images:,} photos of {WIDTH} x {HEIGHT} with {OBJECTS} annotated objects each, {objects:,} in all. Each row is a run of the program: reading "
          f"the store, comparing its checksums, writing, with the photos where the format has them; and back into a new store. `ingest coco` "
          f"of the first file took {figure(first[0])} s, `import masks --ground-truth` {figure(masks[0])} s and {masks[1]:,.0f} MB.")
    rows = []
    for name, (out, back) in found.items():
        rows.append([name, figure(out[0]), f"{out[1]:,.0f}", *(["", ""] if back is None else [figure(back[0]), f"{back[1]:,.0f}"])])
    table(["format", "export, s", "peak memory, MB", "ingest, s", "peak memory, MB"], rows)
    print(f"\nThe peer reads the COCO file and writes the format ({versions('datumaro')}), in a process that has "
          f"it loaded; grainstore starts, compares checksums and exports from its store; {of_part * OBJECTS:,} objects:")
    rows = [[name, figure(part[name][0][0]), figure(seconds), figure(seconds / part[name][0][0])] for name, seconds in peer.items()]
    table(["format", "grainstore, s", "datumaro, s", "ratio"], rows)


main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
