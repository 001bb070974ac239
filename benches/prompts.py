"""Times clicks: grainstore's review page beside segment-anything's SamPredictor.

    python prompts.py PROGRAM CHECKPOINT PHOTO...

The store is made below a temporary folder. Prints a table.
"""

import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

import numpy
import torch
from PIL import Image
from segment_anything import SamPredictor, sam_model_registry

from markdown import table

POINTS = 40


def spread(values):
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return f"{1000 * cuts[49]:.0f} / {1000 * cuts[94]:.0f}"


def points(size):
    numbers = numpy.random.default_rng(0).random((POINTS, 2))
    return (numbers * size).astype(int).tolist()


class Page:
    def __init__(self, program, store, checkpoint):
        command = [program, "--store", store, "review", "--checkpoint", checkpoint]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.origin, token = self.child.stdout.readline().strip().split("/?token=")
        port = self.origin.rsplit(":", 1)[1]
        self.headers = {"Cookie": f"grainstore-{port}={token}", "Origin": self.origin, "Content-Type": "application/json"}

    def prompt(self, image, point):
        body = json.dumps({"image_id": image, "foreground": [point]}).encode()
        started = time.perf_counter()
        with urllib.request.urlopen(urllib.request.Request(f"{self.origin}/api/prompt", body, self.headers)) as answer:
            found = json.load(answer)
        assert len(found["masks"]) == 4
        return time.perf_counter() - started

    def end(self):
        self.child.terminate()
        self.child.wait()


def ours(program, checkpoint, photos, keep):
    first, later = [], []
    with tempfile.TemporaryDirectory() as place:
        store, folder = f"{place}/store", pathlib.Path(place, "photos")
        folder.mkdir()
        for photo in photos:
            shutil.copy(photo, folder)

        def run(*args):
            return subprocess.run([program, "--quiet", "--store", store, *args], check=True, capture_output=True, text=True).stdout

        run("ingest", "images", str(folder), "--dataset", "bench")
        run("extract", "--checkpoint", checkpoint, "--points-per-side", "1", *(["--keep-features"] if keep else []))
        images = json.loads(run("sql", "SELECT image_id, width, height FROM images", "--json"))
        page = Page(program, store, checkpoint)
        for image in images:
            clicks = points((image["width"], image["height"]))
            first.append(page.prompt(image["image_id"], clicks[0]))
            later += [page.prompt(image["image_id"], click) for click in clicks[1:]]
        page.end()
    return first, later


def peer(checkpoint, photos):
    torch.set_num_threads(2)
    predictor = SamPredictor(sam_model_registry["vit_b"](checkpoint=checkpoint).eval())
    first, later = [], []
    with torch.no_grad():
        for path in photos:
            photo = numpy.array(Image.open(path).convert("RGB"))
            clicks = points((photo.shape[1], photo.shape[0]))
            started = time.perf_counter()
            predictor.set_image(photo)
            for n, click in enumerate(clicks):
                predictor.predict(numpy.array([click]), numpy.array([1]))
                (later if n else first).append(time.perf_counter() - started)
                started = time.perf_counter()
    return first, later


def main():
    program, checkpoint, *photos = sys.argv[1:]
    rows = []
    peers = peer(checkpoint, photos)
    for name, keep in (("grainstore, features kept", True), ("grainstore, features not kept", False)):
        first, later = ours(program, checkpoint, photos, keep)
        ratio = statistics.median(later) / statistics.median(peers[1])
        rows.append([name, f"{statistics.median(first):.2f}", spread(later), f"{ratio:.2f}"])
    rows.append(["segment-anything's SamPredictor", f"{statistics.median(peers[0]):.2f}", spread(peers[1]), "1"])
    print(f"{len(photos)} photos, {POINTS} points each; random weights of ViT-B; medians, and medians / 95th percentiles\n")
    table(["", "first click of a photo, s", "each other click, ms", "ratio"], rows)


main()
