"""Reads a directory that `grainstore export hugging-face` wrote with Hugging Face's own loader, and prints what is in it as JSON:
of every image its split, size and objects, each with its class and the pixels of its mask.

    python3 -m venv target/hf
    target/hf/bin/pip install datasets==5.2.0 pillow==13.0.0 pycocotools==2.0.11
    target/hf/bin/python tests/data/hugging_face/read.py DIR
"""

import json
import sys
import tempfile

from datasets import load_dataset
from pycocotools import mask


def main(directory):
    with tempfile.TemporaryDirectory() as cache:
        loaded = load_dataset(directory, cache_dir=cache)
        found = []
        for split, rows in loaded.items():
            names = rows.features["objects"].feature["category"].names
            for row in rows:
                assert row["image"].size == (row["width"], row["height"]), row["file_name"]
                objects = []
                for item in row["objects"]:
                    rle = item["segmentation"]
                    pixels = None if rle is None else int(mask.decode(rle).sum())
                    objects.append({**item, "category": names[item["category"]], "pixels": pixels})
                found.append({"split": split, "file_name": row["file_name"], "objects": objects})
        json.dump(found, sys.stdout, ensure_ascii=False, indent=1)


main(sys.argv[1])
