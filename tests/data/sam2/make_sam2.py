#!/usr/bin/env python3
"""Makes the fixtures of tests/it/sam2.rs with the official sam2 package, on the photos of tests/data/sam.

    python3 -m venv venv
    venv/bin/pip install torch==2.9.0 torchvision==0.24.0 segment-anything==1.0 numpy==2.4.6 pillow==11.3.0 \\
        safetensors==0.8.0 pycocotools==2.0.11 opencv-python-headless==5.0.0.93 wheel setuptools
    SAM2_BUILD_CUDA=0 venv/bin/pip install --no-build-isolation sam2==1.1.0
    venv/bin/python make_sam2.py [OUT]                     the small fixture (committed)
    venv/bin/python make_sam2.py --model tiny OUT          a full-size one (made by an ignored test)

Weights are random and seeded, so the masks mean little; they exercise every layer. In OUT:

    small.safetensors      the model's tensors under official names, below 'model.', exact in 16 bits, with some of those
                           that only videos need
    reference.safetensors  what upstream computes, by '<image>.<what>' and '<image>.<prompt>.<what>'
    masks.json             what upstream's automatic generator gives, and its single masks for clicks
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as mask_api
from safetensors.torch import save_file

HERE = Path(__file__).parent
SAM = HERE.parent / "sam"
sys.path.insert(0, str(SAM))
from make_fixtures import photo, randomise  # noqa: E402

from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator  # noqa: E402
from sam2.modeling.backbones.hieradet import Hiera  # noqa: E402
from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder  # noqa: E402
from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer  # noqa: E402
from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder  # noqa: E402
from sam2.modeling.position_encoding import PositionEmbeddingSine  # noqa: E402
from sam2.modeling.sam.transformer import RoPEAttention  # noqa: E402
from sam2.modeling.sam2_base import SAM2Base  # noqa: E402
from sam2.sam2_image_predictor import SAM2ImagePredictor  # noqa: E402

# As configs/sam2.1/*.yaml have them.
SIZES = {
    "small_fixture": dict(embed_dim=8, num_heads=1, stages=[1, 2, 3, 1], window_spec=[8, 4, 6, 7], global_att_blocks=[4],
                          window_pos_embed_bkg_spatial_size=[7, 7]),
    "tiny": dict(embed_dim=96, num_heads=1, stages=[1, 2, 7, 2], window_spec=[8, 4, 14, 7], global_att_blocks=[5, 7, 9],
                 window_pos_embed_bkg_spatial_size=[7, 7]),
    "small": dict(embed_dim=96, num_heads=1, stages=[1, 2, 11, 2], window_spec=[8, 4, 14, 7],
                  global_att_blocks=[7, 10, 13], window_pos_embed_bkg_spatial_size=[7, 7]),
    "base_plus": dict(embed_dim=112, num_heads=2, stages=[2, 3, 16, 3], window_spec=[8, 4, 14, 7],
                      global_att_blocks=[12, 16, 20], window_pos_embed_bkg_spatial_size=[14, 14]),
    "large": dict(embed_dim=144, num_heads=2, stages=[2, 6, 36, 4], window_spec=[8, 4, 16, 8],
                  global_att_blocks=[23, 33, 43], window_pos_embed_bkg_spatial_size=[7, 7]),
}


def build(size):
    is_small = size == "small_fixture"
    image_size, dim = (128, 32) if is_small else (1024, 256)
    trunk = Hiera(**SIZES[size])
    neck = FpnNeck(
        position_encoding=PositionEmbeddingSine(num_pos_feats=dim, normalize=True), d_model=dim,
        backbone_channel_list=trunk.channel_list, fpn_top_down_levels=[2, 3], fpn_interp_model="nearest",
    )
    grid = image_size // 16

    def attention(**more):
        return RoPEAttention(embedding_dim=dim, num_heads=1, downsample_rate=1, feat_sizes=(grid, grid), **more)

    layer = MemoryAttentionLayer(
        activation="relu", cross_attention=attention(rope_k_repeat=True, kv_in_dim=16), d_model=dim, dim_feedforward=64,
        dropout=0.1, pos_enc_at_attn=False, pos_enc_at_cross_attn_keys=True, pos_enc_at_cross_attn_queries=False,
        self_attention=attention(),
    )
    memory_encoder = MemoryEncoder(
        out_dim=16, in_dim=dim, position_encoding=PositionEmbeddingSine(num_pos_feats=16, normalize=True),
        mask_downsampler=MaskDownSampler(embed_dim=dim, kernel_size=3, stride=2, padding=1),
        fuser=Fuser(CXBlock(dim=dim), num_layers=1),
    )
    return SAM2Base(
        image_encoder=ImageEncoder(trunk=trunk, neck=neck, scalp=1),
        memory_attention=MemoryAttention(d_model=dim, pos_enc_at_input=True, layer=layer, num_layers=1),
        memory_encoder=memory_encoder, num_maskmem=2, image_size=image_size, sigmoid_scale_for_mem_enc=20.0,
        sigmoid_bias_for_mem_enc=-10.0, use_mask_input_as_output_without_sam=True, directly_add_no_mem_embed=True,
        no_obj_embed_spatial=True, use_high_res_features_in_sam=True, multimask_output_in_sam=True,
        iou_prediction_use_sigmoid=True, use_obj_ptrs_in_encoder=True, pred_obj_scores=True, pred_obj_scores_mlp=True,
        fixed_no_obj_ptr=True, use_mlp_for_obj_ptr_proj=True, multimask_output_for_tracking=True,
        use_multimask_token_for_obj_ptr=True,
        sam_mask_decoder_extra_args=dict(
            dynamic_multimask_via_stability=True, dynamic_multimask_stability_delta=0.05,
            dynamic_multimask_stability_thresh=0.98,
        ),
    ).eval()


@torch.no_grad()
def sharpen(model, image):
    """Random weights give masks that all cover the whole photo; these are small and tell points apart."""
    state = model.state_dict()
    for name, tensor in state.items():
        if "output_hypernetworks_mlps" in name and ".layers.2." in name:
            tensor *= 20
        if "iou_prediction_head.layers.2." in name:
            tensor *= 4
        if name == "sam_mask_decoder.output_upscaling.3.weight":
            tensor *= 4
        if "sam_prompt_encoder.point_embeddings" in name:
            tensor *= 5
        if "sam_mask_decoder.transformer" in name and "out_proj.weight" in name:
            tensor *= 3
    # A feature that is about 6 everywhere, so that its weight shifts a mask's logits: one pixel in 14 is inside.
    state["sam_mask_decoder.conv_s0.bias"][0] += 6
    state["sam_mask_decoder.output_upscaling.3.weight"][:, 0] *= 0.1
    predictor = predictor_of(model)
    predictor.set_image(image)
    height, width = image.shape[:2]
    points = [[[x, y]] for y in range(5, height, 12) for x in range(5, width, 16)]
    coords = predictor._transforms.transform_coords(torch.tensor(points).float(), normalize=True, orig_hw=(height, width))
    sparse, dense = model.sam_prompt_encoder(
        points=(coords, torch.ones(len(points), 1, dtype=torch.int32)), boxes=None, masks=None
    )
    masks, *_ = model.sam_mask_decoder.predict_masks(
        image_embeddings=predictor._features["image_embed"], image_pe=model.sam_prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, repeat_image=True,
        high_res_features=predictor._features["high_res_feats"],
    )
    for output in range(masks.shape[1]):
        bias = state[f"sam_mask_decoder.output_hypernetworks_mlps.{output}.layers.2.bias"]
        bias[0] -= masks[:, output].flatten().quantile(0.93) / 6
    for tensor in state.values():
        tensor.copy_(tensor.half().float())


def predictor_of(model):
    predictor = SAM2ImagePredictor(model)
    # Upstream's are those of an input of 1024 pixels.
    grid = model.image_size // 16
    predictor._bb_feat_sizes = [(4 * grid, 4 * grid), (2 * grid, 2 * grid), (grid, grid)]
    return predictor


def prompts(height, width):
    """Prompts in pixels of the photo, by name: (points, labels, boxes, with a mask prompt)."""
    at = lambda *xy: torch.tensor(xy, dtype=torch.float32) * torch.tensor([width, height])
    centre, corner = at(0.5, 0.5), at(0.21, 0.83)
    box = torch.cat([at(0.1, 0.2), at(0.7, 0.9)])
    return {
        "point": (torch.stack([centre, corner, at(0.9, 0.05)])[:, None], torch.ones(3, 1), None, False),
        "points": (torch.stack([torch.stack([centre, corner])]), torch.tensor([[1.0, 0.0]]), None, False),
        "box": (None, None, torch.stack([box, torch.cat([at(0.3, 0.1), at(0.5, 0.4)])]), False),
        "point_box": (centre[None, None], torch.ones(1, 1), box[None], False),
        "mask": (centre[None, None], torch.ones(1, 1), None, True),
    }


def by_cell(features, grid, levels):
    """Features of parts of cells as channels of the cells, quarter by quarter."""
    channels = features.shape[1]
    sides = [grid] + [2] * levels
    parts = features.reshape(channels, *sides, *sides)
    rows, columns = range(1, 2 + levels), range(2 + levels, 3 + 2 * levels)
    order = [at for level in range(1, levels + 1) for at in (rows[level], columns[level])]
    return parts.permute(*order, 0, rows[0], columns[0]).reshape(1, -1, grid, grid)


@torch.no_grad()
def reference(model, images, compact):
    out = {}
    predictor = predictor_of(model)
    grid = model.image_size // 16
    for name, image in images.items():
        pixels = predictor._transforms(image)[None]
        if compact:
            out[f"{name}.pixels"] = pixels
        start = time.perf_counter()
        predictor.set_image(image)
        print(f"{name}: encoder {time.perf_counter() - start:.2f} s", file=sys.stderr)
        embedding = predictor._features["image_embed"]
        s0, s1 = predictor._features["high_res_feats"]
        out[f"{name}.channels"] = torch.cat([embedding, by_cell(s1, grid, 1), by_cell(s0, grid, 2)], 1)
        height, width = image.shape[:2]
        for kind, (points, labels, boxes, with_mask) in prompts(height, width).items():
            key = f"{name}.{kind}"
            transforms = predictor._transforms
            coords = found = None
            if points is not None:
                coords = transforms.transform_coords(points, normalize=True, orig_hw=(height, width))
                out[f"{key}.points"], out[f"{key}.labels"] = coords, labels.to(torch.int32)
                found = (coords, labels.to(torch.int32))
            if boxes is not None:
                corners = transforms.transform_boxes(boxes, normalize=True, orig_hw=(height, width))
                out[f"{key}.boxes"] = corners.reshape(-1, 4)
                corner_labels = torch.tensor([[2, 3]], dtype=torch.int32).repeat(len(boxes), 1)
                found = (
                    (corners, corner_labels) if found is None
                    else (torch.cat([corners, found[0]], 1), torch.cat([corner_labels, found[1]], 1))
                )
            mask_input = None
            if with_mask:
                generator = torch.Generator().manual_seed(3)
                side = 4 * grid
                small = torch.randn(1, 1, side // 4, side // 4, generator=generator) * 6
                mask_input = torch.nn.functional.interpolate(small, (side, side), mode="bilinear").half().float()
                out[f"{key}.mask_input"] = mask_input
            sparse, dense = model.sam_prompt_encoder(points=found, boxes=None, masks=mask_input)
            masks, iou, tokens, score = model.sam_mask_decoder.predict_masks(
                image_embeddings=embedding, image_pe=model.sam_prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, repeat_image=True,
                high_res_features=[s0, s1],
            )
            out[f"{key}.sparse"], out[f"{key}.iou"] = sparse, iou
            out[f"{key}.tokens"], out[f"{key}.score"] = tokens, score
            full = transforms.postprocess_masks(masks, (height, width))
            if compact:
                out[f"{key}.low_res"] = masks
                out[f"{key}.full_mean"] = full.mean((2, 3))
                bits = np.packbits((full[0, 1] > 0).flatten().numpy())
                near = np.packbits((full[0, 1].abs() < 1e-3 * full.abs().max()).flatten().numpy())
                out[f"{key}.bits"], out[f"{key}.near"] = torch.from_numpy(bits), torch.from_numpy(near)
            else:
                out[f"{key}.low_res_part"] = masks[:, :, ::7, ::5].contiguous()
    return {name: tensor.contiguous() for name, tensor in out.items()}


def generate(model, image, options):
    generator = SAM2AutomaticMaskGenerator(model, output_mode="uncompressed_rle", **options)
    generator.predictor._bb_feat_sizes = predictor_of(model)._bb_feat_sizes
    found = []
    for mask in generator.generate(image):
        rle = mask_api.frPyObjects(mask["segmentation"], *mask["segmentation"]["size"])
        found.append(
            {
                "counts": rle["counts"].decode(),
                "area": int(mask["area"]),
                "predicted_iou": float(mask["predicted_iou"]),
                "stability_score": None if mask["area"] == 0 else float(mask["stability_score"]),
                "point": [float(x) for x in mask["point_coords"][0]],
                "crop_box": [float(x) for x in mask["crop_box"]],
            }
        )
    return found


@torch.no_grad()
def masks(model, image):
    common = dict(points_per_side=6, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0)
    everything = generate(model, image, common)
    iou = float(np.quantile([mask["predicted_iou"] for mask in everything], 0.45))
    stability = float(np.nanquantile([mask["stability_score"] for mask in everything if mask["area"]], 0.15))
    cases = []
    for options in (
        dict(points_per_side=6, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=0.7),
        dict(points_per_side=5, pred_iou_thresh=iou, stability_score_thresh=stability, box_nms_thresh=0.97),
        dict(points_per_side=4, pred_iou_thresh=iou, stability_score_thresh=stability, box_nms_thresh=0.97,
             crop_n_layers=1, crop_nms_thresh=0.9, crop_n_points_downscale_factor=2),
        # The unstable ones of the single masks are replaced.
        dict(points_per_side=6, pred_iou_thresh=0.0, stability_score_thresh=0.0, box_nms_thresh=1.0,
             multimask_output=False),
    ):
        found = generate(model, image, options)
        print(options, len(found), file=sys.stderr)
        cases.append({"options": options, "masks": found})
    return cases


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", default=HERE, type=Path)
    parser.add_argument("--model", default="small_fixture", choices=SIZES)
    args = parser.parse_args()
    is_small = args.model == "small_fixture"
    model = build(args.model)
    randomise(model, 15)
    if is_small:
        images = {name: np.asarray(Image.open(SAM / f"{name}.png").convert("RGB")) for name in ("wide", "tall", "tiny")}
        sharpen(model, images["wide"])
    state = {f"model.{name}": tensor.half().contiguous() for name, tensor in model.state_dict().items()}
    # Of what only videos need, some: the rest is as large as the model.
    keep = lambda name: not name.startswith("model.memory_encoder.") or ".out_proj." in name
    if is_small:
        save_file({name: tensor for name, tensor in state.items() if keep(name)}, args.out / "small.safetensors")
        cases = {"photo": "wide.png", "cases": masks(model, images["wide"])}
        cases["size"] = list(images["wide"].shape[:2])
        (args.out / "masks.json").write_text(json.dumps(cases, allow_nan=False))
    else:
        torch.save({"model": model.state_dict()}, args.out / "model.pt")
        images = {"wide": photo(480, 640, 5)}
        Image.fromarray(images["wide"]).save(args.out / "wide.png")
    save_file(reference(model, images, is_small), args.out / "reference.safetensors")


if __name__ == "__main__":
    main()
