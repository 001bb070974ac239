"""Makes grid.json: crops and point grids as segment-anything 1.0 makes them.

    pip install segment-anything==1.0 torch==2.9.0 torchvision==0.24.0 numpy==2.4.6
    python tests/data/extract/make_grid.py
"""

import json
import pathlib

from segment_anything.utils import amg

SIZES = [(480, 640), (333, 500), (1, 1), (17, 400), (3, 2)]

crops = []
for height, width in SIZES:
    for layers in (0, 1, 2):
        for overlap in (512 / 1500, 0.0, 0.1):
            boxes, layer_of = amg.generate_crop_boxes((height, width), layers, overlap)
            crops.append(
                {
                    "size": [height, width],
                    "layers": layers,
                    "overlap": overlap,
                    "boxes": [[*map(int, box), layer] for box, layer in zip(boxes, layer_of)],
                }
            )
grids = [
    {"per_side": n, "points": amg.build_point_grid(n).tolist()} for n in (1, 2, 3, 7, 10, 32)
]
layers = [
    {
        "per_side": n,
        "factor": factor,
        "points": [len(grid) for grid in amg.build_all_layer_point_grids(n, 3, factor)],
    }
    for n in (10, 32, 33)
    for factor in (1, 2)
]
out = pathlib.Path(__file__).with_name("grid.json")
out.write_text(json.dumps({"crops": crops, "grids": grids, "layers": layers}))
