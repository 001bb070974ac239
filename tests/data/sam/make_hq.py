#!/usr/bin/env python3
"""Makes hq.safetensors, hq_reference.safetensors, hq_masks.json, hq_tiny.safetensors and hq_tiny_reference.safetensors with
segment-anything-hq.

    venv/bin/pip install --no-deps segment-anything-hq==0.3       beside what make_fixtures.py asks for
    venv/bin/pip install timm==1.0.20 pycocotools==2.0.11 opencv-python-headless==5.0.0.93
    venv/bin/python make_hq.py [OUT]

Two small models with seeded random weights, exact in 16 bits, and what HQ-SAM computes with them on photos of this folder:
one with the encoder of Segment Anything, and one of Light HQ-SAM, whose encoder is MobileSAM's TinyViT. Pillow has to be the
version of make_fixtures.py: 13.0.0 scales tall.png to pixels that are off by up to one of 255 levels.
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
from segment_anything_hq.modeling import (
    ImageEncoderViT, MaskDecoderHQ, PromptEncoder, Sam, TinyViT, TwoWayTransformer,
)
from segment_anything_hq.modeling.common import LayerNorm2d

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from make_fixtures import SMALL, prompts, randomise  # noqa: E402

# The windows of the second and the last stage leave a remainder, and that of the third is as large as the image.
TINY = dict(
    embed_dims=[8, 12, 16, 20], depths=[1, 2, 1, 2], num_heads=[1, 2, 4, 5], window_sizes=[1, 5, 8, 3], num_classes=3,
)


class SmallTinyViT(TinyViT):
    """Upstream writes three sizes of the published encoder into its code, which differ here: the grid of 64 cells, the 256
    channels of the neck, and the 320 channels at which merging keeps the resolution."""

    def __init__(self, image_size, out_chans, **sizes):
        super().__init__(img_size=image_size, drop_path_rate=0.0, **sizes)
        self.layers[2].downsample.conv2.c.stride = (1, 1)
        self.neck = torch.nn.Sequential(
            torch.nn.Conv2d(sizes["embed_dims"][-1], out_chans, kernel_size=1, bias=False), LayerNorm2d(out_chans),
            torch.nn.Conv2d(out_chans, out_chans, kernel_size=3, padding=1, bias=False), LayerNorm2d(out_chans),
        )

    def forward_features(self, x):
        grid = self.img_size // 16
        early = self.layers[1](self.layers[0](self.patch_embed(x)))
        x = self.layers[3](self.layers[2](early))
        x = x.view(len(x), grid, grid, -1).permute(0, 3, 1, 2)
        return self.neck(x), [early.view(len(early), grid, grid, -1)]


def vit():
    c = SMALL
    return ImageEncoderViT(
        img_size=c["image_size"], patch_size=16, embed_dim=c["embed_dim"], depth=c["depth"],
        num_heads=c["heads"], mlp_ratio=c["mlp_ratio"], out_chans=c["prompt_dim"], qkv_bias=True,
        norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True,
        window_size=c["window_size"], global_attn_indexes=c["global_attention_blocks"],
    )


def build(image_encoder, vit_dim, seed):
    c = SMALL
    grid = c["image_size"] // 16
    model = Sam(
        image_encoder=image_encoder,
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
            iou_head_hidden_dim=c["iou_head_hidden"], vit_dim=vit_dim,
        ),
        pixel_mean=[123.675, 116.28, 103.53], pixel_std=[58.395, 57.12, 57.375],
    )
    randomise(model, seed)
    sharpen(model)
    # Not before: a TinyViT then computes the tables of its attention's biases, which it uses from then on.
    return model.eval()


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
        if "attention_biases" in name:
            tensor *= 5
        tensor.copy_(tensor.half().float())


@torch.no_grad()
def reference(model, images):
    out = {}
    seen = {}
    model.mask_decoder.transformer.register_forward_hook(lambda _, __, result: seen.update(tokens=result[0][:, 1:5]))
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
            out[f"{key}.tokens"] = seen["tokens"]
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in out.items()}


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
    images = {name: np.asarray(Image.open(HERE / f"{name}.png").convert("RGB")) for name in ("wide", "tall")}
    model = build(vit(), SMALL["embed_dim"], 3)
    tiny_vit = SmallTinyViT(SMALL["image_size"], SMALL["prompt_dim"], **TINY)
    # With this seed, each of the three masks is the best one for some prompt.
    light = build(tiny_vit, TINY["embed_dims"][2], 49)
    for name, sam in (("hq", model), ("hq_tiny", light)):
        half = lambda tensor: tensor.half() if tensor.is_floating_point() else tensor
        state = {key: half(tensor).contiguous() for key, tensor in sam.state_dict().items()}
        save_file(state, out / f"{name}.safetensors")
        save_file(reference(sam, images), out / f"{name}_reference.safetensors")
    options = dict(points_per_side=6, pred_iou_thresh=-9.0, stability_score_thresh=0.0, box_nms_thresh=1.0)
    masks = generate(model, images["wide"], options)
    print(len(masks), "masks")
    (out / "hq_masks.json").write_text(json.dumps({"photo": "wide.png", "masks": masks}))


if __name__ == "__main__":
    main()
