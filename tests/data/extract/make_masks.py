"""Makes sharp.safetensors and masks.json: what segment-anything 1.0's automatic generator gives for the
small model of tests/data/sam, with sharper masks, on one of its photos.

    pip install segment-anything==1.0 torch==2.9.0 torchvision==0.24.0 numpy==2.4.6 pillow==13.0.0 \
        pycocotools==2.0.11 opencv-python-headless==5.0.0.93 safetensors==0.8.0
    python tests/data/extract/make_masks.py PHOTO.png
"""

import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as mask_api
from safetensors.torch import save_file
from segment_anything import SamAutomaticMaskGenerator

OFFSET = 1.0
HERE = pathlib.Path(__file__).parent
SAM = HERE.parent / "sam"
sys.path.insert(0, str(SAM))
from make_fixtures import small_model  # noqa: E402


def generate(model, image, options):
    generator = SamAutomaticMaskGenerator(model, output_mode="uncompressed_rle", **options)
    found = []
    for mask in generator.generate(image):
        size = mask["segmentation"]["size"]
        rle = mask_api.frPyObjects(mask["segmentation"], *size)
        found.append(
            {
                "counts": rle["counts"].decode(),
                "bbox": [float(x) for x in mask["bbox"]],
                "area": int(mask["area"]),
                "predicted_iou": float(mask["predicted_iou"]),
                # Upstream's score of an empty mask is 0 / 0.
                "stability_score": None if mask["area"] == 0 else float(mask["stability_score"]),
                "point": [float(x) for x in mask["point_coords"][0]],
                "crop_box": [float(x) for x in mask["crop_box"]],
            }
        )
    return found


def main(photo):
    torch.manual_seed(0)
    model = small_model()
    weights = torch.load(SAM / "small.pth", weights_only=True)
    for name, tensor in weights.items():
        # Random weights give flat masks that all cover half the image; these tell points apart.
        if "output_hypernetworks_mlps" in name and ".layers.2." in name:
            tensor *= 40
        if "iou_prediction_head.layers.2." in name:
            tensor *= 4
        if name == "mask_decoder.output_upscaling.3.weight":
            tensor *= 8
        if "prompt_encoder.point_embeddings" in name:
            tensor *= 5
        if "transformer" in name and "out_proj.weight" in name:
            tensor *= 3
        if name == "mask_decoder.iou_prediction_head.layers.2.bias":
            tensor += 2.5
    weights = {name: tensor.half() for name, tensor in weights.items()}
    save_file(weights, HERE / "sharp.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    model.eval()
    image = np.asarray(Image.open(SAM / photo).convert("RGB"))
    everything = generate(
        model,
        image,
        dict(
            points_per_side=6, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0,
            stability_score_offset=OFFSET,
        ),
    )
    # Random weights: thresholds that split what there is.
    iou = float(np.quantile([mask["predicted_iou"] for mask in everything], 0.45))
    stability = float(np.nanquantile([mask["stability_score"] for mask in everything], 0.15))
    print(iou, stability, len(everything))
    cases = []
    for options in (
        dict(points_per_side=6, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=0.7),
        dict(points_per_side=5, pred_iou_thresh=iou, stability_score_thresh=stability, box_nms_thresh=0.97,
             stability_score_offset=OFFSET),
        dict(
            points_per_side=4, pred_iou_thresh=iou, stability_score_thresh=stability, box_nms_thresh=0.97,
            crop_n_layers=1, crop_nms_thresh=0.9, crop_n_points_downscale_factor=2,
            stability_score_offset=OFFSET,
        ),
        dict(
            points_per_side=4, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=0.7,
            crop_n_layers=1, crop_n_points_downscale_factor=2, min_mask_region_area=60,
        ),
    ):
        masks = generate(model, image, options)
        print(options, len(masks))
        cases.append({"options": options, "masks": masks})
    size = list(image.shape[:2])
    (HERE / "masks.json").write_text(json.dumps({"photo": photo, "size": size, "cases": cases}))


if __name__ == "__main__":
    main(sys.argv[1])
