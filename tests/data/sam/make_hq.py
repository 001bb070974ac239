#!/usr/bin/env python3
"""Makes hq.safetensors, hq_reference.safetensors and hq_masks.json with segment-anything-hq.

    venv/bin/pip install --no-deps segment-anything-hq==0.3       beside what make_fixtures.py asks for
    venv/bin/pip install timm==1.0.20 pycocotools==2.0.11 opencv-python-headless==5.0.0.93
    venv/bin/python make_hq.py [OUT]

A small model with seeded random weights, exact in 16 bits, and what HQ-SAM computes with it on photos of this folder.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as mask_api
from safetensors.torch import save_file
from segment_anything_hq import SamAutomaticMaskGenerator, SamPredictor
from segment_anything_hq.modeling import ImageEncoderViT, MaskDecoderHQ, PromptEncoder, Sam, TwoWayTransformer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from make_fixtures import SMALL, prompts, randomise  # noqa: E402


def build():
    c = SMALL
    grid = c["image_size"] // 16
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=c["image_size"], patch_size=16, embed_dim=c["embed_dim"], depth=c["depth"],
            num_heads=c["heads"], mlp_ratio=c["mlp_ratio"], out_chans=c["prompt_dim"], qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True,
            window_size=c["window_size"], global_attn_indexes=c["global_attention_blocks"],
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=c["prompt_dim"], image_embedding_size=(grid, grid),
            input_image_size=(c["image_size"], c["image_size"]), mask_in_chans=c["mask_channels"],
        ),
        mask_decoder=MaskDecoderHQ(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=c["decoder_depth"], embedding_dim=c["prompt_dim"], mlp_dim=c["decoder_mlp_dim"],
                num_heads=c["decoder_heads"],
            ),
            transformer_dim=c["prompt_dim"], iou_head_depth=c["iou_head_depth"],
            iou_head_hidden_dim=c["iou_head_hidden"], vit_dim=c["embed_dim"],
        ),
        pixel_mean=[123.675, 116.28, 103.53], pixel_std=[58.395, 57.12, 57.375],
    ).eval()


@torch.no_grad()
def sharpen(model):
    """As make_masks.py: random weights give flat masks that all cover half the image; these tell points apart."""
    for name, tensor in model.state_dict().items():
        if ("output_hypernetworks_mlps" in name or "hf_mlp" in name) and ".layers.2." in name:
            tensor *= 40
        if "iou_prediction_head.layers.2." in name:
            tensor *= 4
        if name == "mask_decoder.output_upscaling.3.weight":
            tensor *= 8
        if "prompt_encoder.point_embeddings" in name:
            tensor *= 5
        if "transformer" in name and "out_proj.weight" in name:
            tensor *= 3
        tensor.copy_(tensor.half().float())


@torch.no_grad()
def reference(model, images):
    out = {}
    predictor = SamPredictor(model)
    for name, image in images.items():
        predictor.set_image(image)
        out[f"{name}.embedding"] = predictor.features
        for kind, (points, labels, boxes, with_mask) in prompts(model.image_encoder.img_size, image.shape[:2]).items():
            if with_mask:
                continue
            key = f"{name}.{kind}"
            if points is not None:
                out[f"{key}.points"], out[f"{key}.labels"] = points, labels.to(torch.int32)
            if boxes is not None:
                out[f"{key}.boxes"] = boxes
            for several in (False, True):
                _, iou, low_res = predictor.predict_torch(
                    points, labels, boxes, multimask_output=several, return_logits=True
                )
                which = "best" if several else "single"
                out[f"{key}.{which}"], out[f"{key}.{which}_iou"] = low_res, iou
    return {name: tensor.contiguous() for name, tensor in out.items()}


def generate(model, image, options):
    generator = SamAutomaticMaskGenerator(model, output_mode="uncompressed_rle", **options)
    found = []
    for mask in generator.generate(image, multimask_output=True):
        rle = mask_api.frPyObjects(mask["segmentation"], *mask["segmentation"]["size"])
        point = [float(x) for x in mask["point_coords"][0]]
        found.append({"counts": rle["counts"].decode(), "predicted_iou": float(mask["predicted_iou"]), "point": point})
    return found


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    model = build()
    randomise(model, 3)
    sharpen(model)
    save_file({name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}, out / "hq.safetensors")
    images = {name: np.asarray(Image.open(HERE / f"{name}.png").convert("RGB")) for name in ("wide", "tall")}
    save_file(reference(model, images), out / "hq_reference.safetensors")
    options = dict(points_per_side=6, pred_iou_thresh=-9.0, stability_score_thresh=0.0, box_nms_thresh=1.0)
    masks = generate(model, images["wide"], options)
    print(len(masks), "masks")
    (out / "hq_masks.json").write_text(json.dumps({"photo": "wide.png", "masks": masks}))


if __name__ == "__main__":
    main()
