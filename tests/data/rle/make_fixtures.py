"""Writes the parity fixtures of tests/it/geometry.rs beside this script.

    python3 -m venv venv
    venv/bin/pip install pycocotools==2.0.11 numpy==2.4.6 opencv-python-headless==5.0.0.93
    venv/bin/pip install --no-deps segment-anything==1.0
    venv/bin/python tests/data/rle/make_fixtures.py

Every answer comes from the packages above; only runs (numpy) and set differences (numpy, then
pycocotools' encoder) are computed here. segment-anything's `utils/amg.py` is loaded as it is, with
an empty module in place of torch, which `remove_small_regions` does not use.

Masks are written as compressed counts with their [height, width]. Files, one list of cases each:
    masks.json       [h, w, counts, runs, area, bbox]
    pairs.json       [h, w, a, b, iou, crowd iou (b is the crowd), union, intersection, a minus b]
    matrices.json    [h, w, detections, ground truth, iscrowd, iou rows]
    polygons.json    [h, w, polygons, counts]
    components.json  [h, w, counts, 4-connected parts, 8-connected parts]
    regions.json     [h, w, counts, min_area, "holes" | "islands", counts after, changed]
    zero_runs.json   [h, w, runs given, counts of the mask pycocotools decodes them to]
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco

HERE = Path(__file__).parent
rng = np.random.default_rng(20240213)


def load_amg():
    sys.modules["torch"] = types.SimpleNamespace(Tensor=object)
    package = Path(importlib.util.find_spec("segment_anything").origin).parent
    spec = importlib.util.spec_from_file_location("amg", package / "utils" / "amg.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


remove_small_regions = load_amg().remove_small_regions


def encode(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


def counts(mask):
    return encode(mask)["counts"].decode("ascii")


def runs(mask):
    flat = mask.astype(bool).flatten(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    ends = np.concatenate([changes, [flat.size]])
    lengths = np.diff(np.concatenate([[0], ends])).tolist()
    return [0] + lengths if flat.size and flat[0] else lengths


def blobs(h, w, scale, level=0.5):
    """Smoothed noise above a level: irregular shapes with holes and islands."""
    small = rng.random((max(2, h // scale + 2), max(2, w // scale + 2)), dtype=np.float32)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC) > level


def ellipse(h, w):
    mask = np.zeros((h, w), np.uint8)
    center = (int(rng.integers(w)), int(rng.integers(h)))
    axes = (int(rng.integers(1, w // 3 + 2)), int(rng.integers(1, h // 3 + 2)))
    cv2.ellipse(mask, center, axes, float(rng.integers(180)), 0, 360, 1, -1)
    return mask.astype(bool)


def noise(h, w):
    return rng.random((h, w)) < rng.choice([0.02, 0.2, 0.5, 0.8, 0.98])


def rectangle(h, w):
    mask = np.zeros((h, w), bool)
    y, x = rng.integers(h), rng.integers(w)
    mask[y : y + rng.integers(1, h + 1), x : x + rng.integers(1, w + 1)] = True
    return mask


def small_mask(h, w):
    kind = rng.integers(4)
    if kind == 0:
        return noise(h, w)
    if kind == 1:
        return rectangle(h, w)
    if kind == 2:
        return ellipse(h, w)
    return blobs(h, w, int(rng.integers(1, 5)), float(rng.choice([0.3, 0.5, 0.7])))


def small_size(limit=14):
    shape = rng.integers(6)
    if shape == 0:
        return 1, int(rng.integers(1, 40))
    if shape == 1:
        return int(rng.integers(1, 40)), 1
    return int(rng.integers(1, limit + 1)), int(rng.integers(1, limit + 1))


def adversarial():
    for h, w in [(1, 1), (1, 9), (9, 1), (5, 7), (7, 5), (32, 33), (300, 301)]:
        yield np.zeros((h, w), bool)
        yield np.ones((h, w), bool)
        for y, x in {(0, 0), (h - 1, 0), (0, w - 1), (h - 1, w - 1), (h // 2, w // 2)}:
            pixel = np.zeros((h, w), bool)
            pixel[y, x] = True
            yield pixel
            yield ~pixel
        row = np.zeros((h, w), bool)
        row[h // 2] = True
        yield row
        column = np.zeros((h, w), bool)
        column[:, w // 2] = True
        yield column
        if h * w < 2000:
            board = np.indices((h, w)).sum(axis=0) % 2 == 0
            yield board
            yield ~board
            stripes = np.indices((h, w))
            yield stripes[0] % 2 == 0
            yield stripes[1] % 2 == 1
    # Runs longer than 2^16 and 2^20 pixels, which take more characters.
    wide = np.zeros((1200, 1500), bool)
    wide[:, 100:1300] = True
    yield wide
    wide[7, 600] = False
    yield wide


def masks():
    yield from adversarial()
    for _ in range(1500):
        yield small_mask(*small_size())
    for _ in range(120):
        yield small_mask(int(rng.integers(20, 70)), int(rng.integers(20, 70)))
    for _ in range(20):
        yield ellipse(480, 640)
    for _ in range(6):
        yield blobs(480, 640, 80, 0.6)


def mask_case(mask):
    rle = encode(mask)
    h, w = mask.shape
    area, box = int(coco.area(rle)), coco.toBbox(rle).tolist()
    return [h, w, rle["counts"].decode("ascii"), runs(mask), area, box]


def pair_case(a, b):
    x, y = encode(a), encode(b)
    h, w = a.shape
    merged = [coco.merge([x, y], intersect=flag)["counts"].decode("ascii") for flag in (0, 1)]
    iou = [float(coco.iou([x], [y], [flag])[0, 0]) for flag in (0, 1)]
    return [h, w, counts(a), counts(b), *iou, *merged, counts(a & ~b)]


def pairs():
    for _ in range(900):
        h, w = small_size(16)
        yield pair_case(small_mask(h, w), small_mask(h, w))
    for special in (np.zeros, np.ones):
        for _ in range(20):
            h, w = small_size(10)
            yield pair_case(special((h, w), bool), small_mask(h, w))
            yield pair_case(small_mask(h, w), special((h, w), bool))
    for _ in range(30):
        yield pair_case(ellipse(480, 640), ellipse(480, 640))


def matrix_case(h, w, make):
    detections = [encode(make(h, w)) for _ in range(rng.integers(1, 12))]
    truth = [encode(make(h, w)) for _ in range(rng.integers(1, 12))]
    iscrowd = (rng.random(len(truth)) < 0.3).tolist()
    iou = coco.iou(detections, truth, iscrowd).tolist()
    strings = [[rle["counts"].decode("ascii") for rle in side] for side in (detections, truth)]
    return [h, w, *strings, iscrowd, iou]


def matrices():
    for _ in range(40):
        yield matrix_case(*small_size(20), small_mask)
    for _ in range(4):
        yield matrix_case(240, 320, ellipse)


def polygon_case(h, w, polygons):
    polygons = [[float(number) for number in polygon] for polygon in polygons]
    rle = coco.merge(coco.frPyObjects(polygons, h, w))
    return [h, w, polygons, rle["counts"].decode("ascii")]


def star(h, w, points):
    """A shape as annotators draw them: points at varying distance around a centre."""
    angles = np.sort(rng.random(points)) * 2 * np.pi
    radius = (0.3 + 0.7 * rng.random(points)) * min(h, w) * 0.45
    center = np.array([w, h]) * (0.3 + 0.4 * rng.random(2))
    points = center + radius[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.round(points, 2).flatten()


def polygons():
    for _ in range(350):
        h, w = small_size(20)
        points = int(rng.integers(3, 9))
        spread, decimals = rng.choice([1.0, 3.0]), int(rng.choice([0, 1, 2, 3]))
        xy = (rng.random((points, 2)) - 0.5) * [w, h] * spread + [w / 2, h / 2]
        yield polygon_case(h, w, [np.round(xy, decimals).flatten()])
    for _ in range(150):
        h, w = int(rng.integers(40, 130)), int(rng.integers(40, 130))
        yield polygon_case(h, w, [star(h, w, int(rng.integers(5, 30)))])
    for _ in range(60):
        h, w = int(rng.integers(20, 60)), int(rng.integers(20, 60))
        parts = [star(h, w, int(rng.integers(3, 9))) for _ in range(rng.integers(2, 5))]
        yield polygon_case(h, w, parts)
    for _ in range(60):  # tiny, below and around one pixel
        xy = rng.random(2) * 8 + (rng.random((4, 2)) - 0.5) * rng.choice([0.01, 0.5, 2.0])
        yield polygon_case(10, 11, [np.round(xy, 4).flatten()])
    for _ in range(40):  # collinear, and with repeated points
        a, b = rng.integers(0, 12, (2, 2))
        yield polygon_case(12, 12, [np.array([a, (a + b) / 2, b]).flatten()])
        yield polygon_case(12, 12, [np.array([a, a, b, b, [3, 4]]).flatten()])
    for _ in range(40):  # wholly or mostly outside
        xy = (rng.random((4, 2)) - 0.5) * 400
        yield polygon_case(17, 13, [np.round(xy, 1).flatten()])
        yield polygon_case(17, 13, [np.abs(np.round(xy, 1)).flatten() + 20])
    for far in (1e3, 1e4, 1e5):
        yield polygon_case(30, 40, [[10, 10, far, 20, 5, far]])
        yield polygon_case(30, 40, [[-far, -far, far, -far, far, far, -far, far]])
        yield polygon_case(30, 40, [[-far, 3, 20, far, 30, -far, 1, 1]])
    yield polygon_case(20, 20, [[2, 2, 12, 12, 12, 2, 2, 12]])  # bow tie
    yield polygon_case(20, 20, [[2, 2, 15, 2, 15, 15, 2, 15, 2, 2, 15, 2, 15, 15, 2, 15]])
    yield polygon_case(480, 640, [star(480, 640, 80)])
    yield polygon_case(480, 640, [[0, 0, 640, 0, 640, 480, 0, 480]])


def components_of(mask, connectivity):
    n, labels, _, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=connectivity)
    column_major = labels.flatten(order="F")
    firsts = sorted((int(np.argmax(column_major == label)), label) for label in range(1, n))
    return [counts(labels == label) for _, label in firsts]


def component_masks():
    for _ in range(300):
        yield small_mask(*small_size())
    for _ in range(25):
        yield blobs(int(rng.integers(30, 90)), int(rng.integers(30, 90)), 6)
    yield np.indices((9, 8)).sum(axis=0) % 2 == 0
    yield np.zeros((4, 5), bool)
    yield np.ones((4, 5), bool)
    yield blobs(200, 300, 20)


def region_cases():
    def cases(mask, min_areas):
        for mode in ("holes", "islands"):
            for min_area in min_areas:
                after, changed = remove_small_regions(mask, min_area, mode)
                yield [*mask.shape, counts(mask), min_area, mode, counts(after), bool(changed)]

    for _ in range(250):
        mask = small_mask(*small_size(16))
        yield from cases(mask, [int(rng.integers(0, 6)), int(rng.integers(0, 60))])
    for _ in range(15):
        yield from cases(blobs(60, 80, 6), [5, 40, 10_000])
    # Islands of one size, all too small: which one stays depends on OpenCV's numbering.
    for _ in range(150):
        mask = rng.random((int(rng.integers(2, 12)), int(rng.integers(2, 12)))) < 0.12
        yield from cases(mask, [100])
    yield from cases(blobs(200, 300, 20), [30, 500])


def zero_run_cases():
    """Runs with zeros in the middle and at the end. Runs that stop short of the image are not asked
    of pycocotools: it leaves the pixels after them uninitialised."""
    for _ in range(200):
        h, w = (int(side) for side in rng.integers(1, 12, 2))
        cuts = np.sort(rng.integers(0, h * w + 1, rng.integers(1, 12)))
        given = np.diff(np.concatenate([[0], cuts, [h * w]])).tolist()
        rle = coco.frPyObjects({"size": [h, w], "counts": given}, h, w)
        yield [h, w, given, counts(coco.decode(rle))]


def write(name, cases):
    cases = list(cases)
    path = HERE / name
    path.write_text("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
    print(f"{name}: {len(cases)} cases, {path.stat().st_size} bytes")


write("masks.json", map(mask_case, masks()))
write("pairs.json", pairs())
write("matrices.json", matrices())
write("polygons.json", polygons())
write("components.json", ([*m.shape, counts(m), components_of(m, 4), components_of(m, 8)] for m in component_masks()))
write("regions.json", region_cases())
write("zero_runs.json", zero_run_cases())
