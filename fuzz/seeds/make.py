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

# Annotations of a photo of 32 x 24 pixels, images/a.bmp. Masks are of grainstore's own exports.
write("yolo_labels", "a.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.5 0.5 0.25 0.5\n0 0.6 0.6 0.9 0.6 0.9 0.9 0.6 0.9\n")
write(
    "cvat",
    "annotations.xml",
    """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <image id="0" name="a.bmp" width="32" height="24">
    <mask rle="0, 13, 2, 11, 3, 10, 4, 9, 6, 7, 7, 6, 8, 5, 10, 3, 11, 2, 12, 1" left="3" top="2" width="13" height="10" label="cat" source="manual" occluded="0" z_order="0">
    </mask>
    <box xtl="12" ytl="6" xbr="20" ybr="18" label="dog" source="manual" occluded="0" z_order="0">
    </box>
    <mask rle="0, 80" left="19" top="14" width="10" height="8" label="cat" source="manual" occluded="0" z_order="0">
    </mask>
    <polygon points="2.50,2.00;20.00,4.00;11.00,19.25" label="dog" source="manual" occluded="1" group_id="4" z_order="2">
      <attribute name="quality">good</attribute>
    </polygon>
    <ellipse cx="16.00" cy="12.00" rx="5.00" ry="3.00" rotation="30.00" label="cat" source="manual" occluded="0" z_order="0">
    </ellipse>
    <polyline points="1.00,1.00;9.00,9.00" label="cat" occluded="0" z_order="0">
    </polyline>
    <tag label="dog" source="manual">
    </tag>
  </image>
</annotations>
""",
)
rles = [
    [0, 0, 12, 0, 57, 27, 255, 1, 11, 0, 198, 127, 249, 76, 3, 21, 255, 229, 112, 12, 79, 255, 150, 192, 49, 31, 254, 99, 0, 195, 127, 249, 156, 3, 11, 255, 230, 176, 12, 39, 255, 156, 192, 45, 255, 231, 112, 9, 255, 243, 216, 4, 127, 252, 24, 252, 0],
    [0, 0, 12, 0, 57, 27, 255, 7, 75, 0, 196, 255, 249, 92, 3, 19, 255, 229, 112, 12, 79, 255, 149, 192, 49, 63, 254, 87, 0, 196, 255, 249, 92, 3, 19, 255, 229, 112, 12, 79, 255, 149, 192, 49, 63, 255, 1, 11, 0],
]
common = {"image_rotation": 0, "original_height": 24, "original_width": 32, "to_name": "image"}
result = [
    {**common, "id": "1", "from_name": "brush", "type": "brushlabels", "value": {"format": "rle", "rle": rle, "brushlabels": ["cat"]}}
    for rle in rles
]
box = {"x": 37.5, "y": 25.0, "width": 25.0, "height": 50.0, "rotation": 0.0, "rectanglelabels": ["dog"]}
result.append({**common, "id": "2", "from_name": "box", "type": "rectanglelabels", "value": box})
polygon = {"points": [[10, 10], [60.5, 12.5], [30, 90]], "closed": True, "polygonlabels": ["dog"]}
result.append({**common, "id": "3", "from_name": "polygon", "type": "polygonlabels", "value": polygon})
ellipse = {"x": 50, "y": 50, "radiusX": 10, "radiusY": 20, "rotation": 15, "ellipselabels": ["cat"]}
result.append({**common, "id": "4", "from_name": "ellipse", "type": "ellipselabels", "value": ellipse})
prediction = {"model_version": "fine", "score": 0.9, "result": result[:1]}
task = {
    "data": {"image": "/data/local-files/?d=a.bmp"},
    "annotations": [{"ground_truth": False, "result": result}],
    "predictions": [prediction],
}
write("label_studio", "tasks.json", json.dumps([task]))
