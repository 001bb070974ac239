"""Times pycocotools on the masks that benches/geometry.rs wrote, and prints both sides.

The functions of maskApi.c are called straight from pycocotools' compiled module, one call for a whole
row where it can be, so that next to no Python is timed. The "of two" rows take 99 calls: the time of
the same calls with no masks to merge is subtracted, and freeing the results is not timed. "mosaic"
rows work on one wide mask, the 100 side by side, so that one call is enough. Rows that begin with
"strings" time the Python interface, whose masks are compressed strings.
"""

import ctypes
import json
import statistics
import sys
import time
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_ubyte, c_uint, c_ulong, c_void_p
from pathlib import Path

import numpy as np
from markdown import figure, table, versions
from pycocotools import _mask
from pycocotools import mask as coco

folder = Path(sys.argv[1])
data = json.loads((folder / "masks.json").read_text())
ours = {row["name"]: row for row in json.loads((folder / "ours.json").read_text())}
h, w = data["size"]
strings = data["counts"]
n = len(strings)


class RLE(ctypes.Structure):
    _fields_ = [("h", c_ulong), ("w", c_ulong), ("m", c_ulong), ("cnts", POINTER(c_uint))]


api = ctypes.CDLL(_mask.__file__)
api.rleToString.restype = c_void_p
libc = ctypes.CDLL(None)
libc.free.argtypes = [c_void_p]
size = (c_ulong(h), c_ulong(w))

rles = (RLE * n)()
for rle, counts in zip(rles, strings):
    api.rleFrString(byref(rle), c_char_p(counts.encode()), *size)
bitmaps = np.zeros(n * h * w, np.uint8)
pixels = bitmaps.ctypes.data_as(POINTER(c_ubyte))
many = c_ulong(n)
api.rleDecode(rles, pixels, many)
row_major = [np.ascontiguousarray(m.reshape(w, h).T) for m in bitmaps.reshape(n, -1)]
column_major = [np.asfortranarray(m) for m in row_major]
dicts = [{"size": [h, w], "counts": counts.encode()} for counts in strings]

mosaic, mosaic_width = RLE(), c_ulong(data["mosaic_width"])
mosaic_counts = c_char_p(data["mosaic"].encode())
api.rleFrString(byref(mosaic), mosaic_counts, c_ulong(h), mosaic_width)

each, one = [byref(rles, i * ctypes.sizeof(RLE)) for i in range(n)], c_ulong(1)
out = (RLE * n)()
pairs = [((RLE * 2)(rles[i], rles[i + 1]), byref(out, i * ctypes.sizeof(RLE))) for i in range(n - 1)]
iscrowd, ious = (c_ubyte * n)(), np.zeros(n * n)
boxes = np.zeros(4 * n)
iou_pointer, box_pointer = (a.ctypes.data_as(POINTER(c_double)) for a in (ious, boxes))
checking = False


def take_runs(count):
    """Frees the results of a call, as ours drops its own; their number of runs when checking."""
    runs = sum(out[i].m for i in range(count)) if checking else 0
    for i in range(count):
        libc.free(ctypes.cast(out[i].cnts, c_void_p))
    return runs


def encode():
    api.rleEncode(out, pixels, *size, many)
    return take_runs(n)


def decode():
    for rle in each:  # into one small buffer, as ours in effect does: one call each, 0.4 us of over 100
        api.rleDecode(rle, pixels, one)
    return bitmaps.size


def read_counts():
    api.rleFrString(out, mosaic_counts, c_ulong(h), mosaic_width)
    return take_runs(1)


def write_counts():
    string = api.rleToString(byref(mosaic))
    length = len(ctypes.string_at(string)) if checking else 0
    libc.free(string)
    return length


def bbox():
    api.rleToBbox(rles, box_pointer, many)
    return boxes.sum() if checking else 0


def iou():
    api.rleIou(rles, rles, many, many, iscrowd, iou_pointer)
    return ious.sum() if checking else 0


def union_all():
    api.rleMerge(rles, out, many, c_int(0))
    return take_runs(1)


def merge_pairs(count, flag):
    for pair, result in pairs:
        api.rleMerge(pair, result, count, flag)


def timed_pairs(intersect):
    """Median time of the 99 calls without what calling takes; and the total number of runs."""
    flag, two, none = c_int(intersect), c_ulong(2), c_ulong(0)
    times, total = {2: [], 0: []}, 0
    for _ in range(1000):
        for count, label in ((two, 2), (none, 0)):
            start = time.perf_counter()
            merge_pairs(count, flag)
            times[label].append(time.perf_counter() - start)
            total = sum(out[i].m for i in range(n - 1)) if label else total
            for i in range(n - 1):
                libc.free(ctypes.cast(out[i].cnts, c_void_p))
    return (statistics.median(times[2]) - statistics.median(times[0])) * 1e6, total


def api_encode(masks):
    return sum(len(coco.encode(np.asfortranarray(mask))["counts"]) for mask in masks)


work = {
    "encode": encode,
    "decode": decode,
    "read counts of mosaic": read_counts,
    "write counts of mosaic": write_counts,
    "bbox": bbox,
    "iou 100x100": iou,
    "union of 100": union_all,
    "strings: iou 100x100": lambda: coco.iou(dicts, dicts, [0] * n).sum(),
    "strings: union of 100": lambda: len(coco.merge(dicts)["counts"]),
    "strings: encode": lambda: api_encode(column_major),
    "strings: encode row-major": lambda: api_encode(row_major),
}


def median_us(function):
    times = []
    begin = time.perf_counter()
    while len(times) < 15 or (time.perf_counter() - begin < 0.5 and len(times) < 2000):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def compare(name, check):
    if not np.isclose(check, ours[name]["check"], rtol=1e-12):
        sys.exit(f"'{name}' differs: ours {ours[name]['check']}, pycocotools {check}")


theirs = {}
for name, function in work.items():
    checking = True
    compare(name, function())
    checking = False
    theirs[name] = median_us(function)
for name, intersect in (("99 unions of two", 0), ("99 intersections of two", 1)):
    theirs[name], check = timed_pairs(intersect)
    compare(name, check)
# The peer of a row-major operation is the column-major one: pycocotools has no other.
for name in ("encode", "decode"):
    theirs[f"{name} row-major"] = theirs[name]

print(
    f"{n} masks of {h} x {w} with {sum(rle.m for rle in rles):,} runs, one thread, medians; {versions('pycocotools')}, "
    "whose C functions are called without Python in between, but for the rows 'strings'."
)
table(
    ["operation", "grainstore, µs", "pycocotools, µs", "ratio"],
    [
        [name, figure(mine["us"]), figure(theirs[name]), f"{theirs[name] / mine['us']:.2f}"]
        for name, mine in ours.items()
    ],
)
