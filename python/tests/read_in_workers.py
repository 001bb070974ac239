"""Reads the items of a data set in two worker processes, as a training program does: METHOD STORE. Prints their checksums as JSON."""

from __future__ import annotations

import json
import multiprocessing
import sys

import grainstore


def checksum(data, index):
    photo, target = data[index]
    return [int(photo.sum()), int(target["masks"].sum())]


def main(method, place):
    store = grainstore.open(place, progress=False)
    data = store.to_torch_dataset(dataset="scenes", where="split = 'test'")
    with multiprocessing.get_context(method).Pool(2) as pool:
        found = pool.starmap_async(checksum, [(data, index) for index in range(len(data))]).get(timeout=120)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
