"""Writes masks as .pt files, one an image, and compares their size with the store's.

    python benches/layout_peer.py DIR

An image's file holds what is needed to train and to draw: embeddings (masks x 1024, f32), and the masks as bitmaps of
256 x 256, the size at which SAM's decoder gives them, one byte a pixel as torch.bool is; or of the photo's own size.
"""

import itertools
import json
import pathlib
import sys

import torch
from markdown import figure, table, versions
from pycocotools import mask as coco


def bitmaps(masks):
    rles = [{"size": [it["rle"]["height"], it["rle"]["width"]], "counts": it["rle"]["counts"].encode()} for it in masks]
    return torch.from_numpy(coco.decode(rles)).permute(2, 0, 1)


def main(directory):
    directory = pathlib.Path(directory)
    rows = json.loads((directory / "masks.json").read_text())
    sizes = {"f32 + 256 x 256 bool": 0, "f16 + 256 x 256 bool": 0, "f32 + bool at the photo's size": 0}
    for image, masks in itertools.groupby(rows, key=lambda row: row["image_id"]):
        masks = list(masks)
        embeddings = torch.tensor([it["embedding"] for it in masks])
        full = bitmaps(masks)
        small = torch.nn.functional.interpolate(full[None].float(), (256, 256))[0].bool()
        layouts = zip(sizes, [(embeddings, small), (embeddings.half(), small), (embeddings, full.bool())])
        for layout, (numbers, pixels) in layouts:
            file = directory / f"{image}.pt"
            torch.save({"embeddings": numbers, "masks": pixels.clone()}, file)
            sizes[layout] += file.stat().st_size
            file.unlink()
    info = json.loads((directory / "info.json").read_text())
    table_of_masks = next(it for it in info["tables"] if it["table"] == "masks")
    ours = table_of_masks["bytes"] / table_of_masks["rows"]
    print(
        f"{table_of_masks['rows']:,} masks of the demo's scenes, all columns, beside one `.pt` file an image of embeddings "
        f"and bitmaps over {len(rows):,} of them; {versions('torch')}. Sizes alone, so build and machine do not matter."
    )
    table(
        ["layout", "bytes a mask", "ratio"],
        [["grainstore (f16 embeddings, run lengths, scores, box, point)", figure(ours), ""]]
        + [["`.pt`: " + layout, figure(size / len(rows)), f"{size / len(rows) / ours:.1f}"] for layout, size in sizes.items()],
    )


if __name__ == "__main__":
    main(sys.argv[1])
