"""Makes the samples that fuzzing starts from. Needs torch, safetensors and pycocotools (benches/requirements-eval.txt).

    python fuzz/seeds/make.py
"""

import json
import struct
from pathlib import Path

import numpy
import torch
from pycocotools import mask
from safetensors.torch import save_file

HERE = Path(__file__).parent


def write(target, name, content):
    path = HERE / target / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def sized(height, width):
    return struct.pack(">II", height, width)


bitmap = numpy.zeros((24, 32), order="F", dtype=numpy.uint8)
bitmap[3:20, 5:9] = bitmap[6:8, 4:30] = 1
counts = mask.encode(bitmap)["counts"]
write("rle", "blocks", sized(24, 32) + counts)
write("rle", "full", sized(24, 32) + b"0`h0")
write("rle", "runs", sized(4, 4) + struct.pack(">III", 3, 5, 8))
write("rle", "wide", sized(1, 0xFFFFFFFF) + b"oooooo1")

write("polygon", "triangle", sized(24, 32) + struct.pack(">6d", 2, 2, 20.5, 4, 11, 19.25))
write("polygon", "outside", sized(24, 32) + struct.pack(">8d", -9, -9, 99, -9, 99, 99, -9, 99))
write("polygon", "far", sized(9, 9) + struct.pack(">6d", 1e300, 0, float("nan"), 3, 2, float("inf")))

image = {"id": 1, "file_name": "a.jpg", "width": 32, "height": 24}
objects = [
    {"id": 1, "image_id": 1, "category_id": 3, "segmentation": [[2, 2, 20.5, 4, 11, 19]], "area": 9.5,
     "bbox": [2, 2, 18, 17], "iscrowd": 0},
    {"id": 2, "image_id": 1, "category_id": 3, "segmentation": {"size": [24, 32], "counts": counts.decode()},
     "iscrowd": 1},
    {"id": 3, "image_id": 1, "category_id": 3, "segmentation": {"size": [24, 32], "counts": [3, 5, 760]}},
    {"id": 4, "image_id": 1, "category_id": 3, "bbox": [1, 1, 2, 2]},
]
write("coco_json", "all.json", json.dumps({
    "info": {}, "licenses": [{"id": 1, "name": "CC"}], "images": [image],
    "categories": [{"id": 3, "name": "cat", "supercategory": "animal"}], "annotations": objects,
}))
# As exporters write it: flags, floats, boxes of every spelling, stray points, ids that are shared, numbers that are none.
nan = float("nan")
write("coco_json", "exporters.json", json.dumps({
    "licenses": None, "images": [image | {"id": 1.0, "height": nan}, image | {"id": 2, "file_name": "..\\b.jpg", "width": 0},
                                 {"id": 3, "coco_url": "http://x/train/c.jpg", "neg_category_ids": [3]}, {"id": 4}],
    "categories": [{"id": 3.0, "name": "cat", "supercategory": None}, {"id": 4, "name": "cat"}],
    "annotations": [
        {"id": 1, "image_id": 1.0, "category_id": 3.0, "segmentation": [[9, 9], [2, 2, 20.5, 4, 11, 19], []], "iscrowd": False},
        {"id": 1, "image_id": 2, "category_id": 3, "segmentation": {}, "bbox": [1, 1, 2, 2], "area": nan},
        {"image_id": 3, "category_id": 3, "segmentation": [[]], "bbox": [], "iscrowd": True, "note": -float("inf")},
        {"image_id": nan}, {"image_id": 1, "category_id": 3, "segmentation": {"size": [24.0, 32.0], "counts": [3.0, 5]}}],
}))
write("coco_results", "all.json", json.dumps([
    {"image_id": 1, "category_id": 3, "score": 0.5, "bbox": [1, 2, 3, 4]},
    {"image_id": 1, "category_id": 3, "score": 1e-9, "segmentation": {"size": [480, 640], "counts": "0oh9"}},
    {"image_id": 1, "category_id": 3, "score": 0.9, "segmentation": [[2, 2, 20.5, 4, 11, 19]]},
]))

write("class_file", "set.toml", '[[class]]\nname = "pet"\nlabels = ["cat", "dog"]\nsupercategory = "animal"\nid = 7\n')
write("class_file", "set.csv", 'class,label,supercategory,id\npet,cat,animal,7\npet,"dog, small",animal,7\n')

tensors = {
    "image_encoder.pos_embed": torch.zeros(1, 2, 2, 4),
    "mask_decoder.iou_token.weight": torch.ones(1, 4, dtype=torch.float16),
    "prompt_encoder.point_embeddings.0.weight": torch.arange(8.0).reshape(4, 2).t(),
}
(HERE / "checkpoint").mkdir(exist_ok=True)
torch.save(tensors, HERE / "checkpoint" / "zip.pth")
torch.save({"model": tensors}, HERE / "checkpoint" / "nested.pth")
wrapped = {"module._orig_mod." + name: tensor for name, tensor in tensors.items()}
torch.save({"state_dict": wrapped, "epoch": 3}, HERE / "checkpoint" / "wrapped.pth", _use_new_zipfile_serialization=False)
torch.save(tensors, HERE / "checkpoint" / "legacy.pth", _use_new_zipfile_serialization=False)
save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, HERE / "checkpoint" / "a.safetensors")

(HERE / "head_file").mkdir(exist_ok=True)
head = {"layers.0.weight": torch.zeros(3, 4), "layers.0.bias": torch.zeros(3),
        "layers.1.weight": torch.zeros(2, 3), "layers.1.bias": torch.zeros(2)}
save_file(head, HERE / "head_file" / "head.safetensors", metadata={"grainstore.head": "{}"})
