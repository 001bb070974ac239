#!/usr/bin/env python3
"""Makes the fixtures of tests/it/sam.rs with the official segment-anything package.

    python3 -m venv venv
    venv/bin/pip install torch==2.9.0 torchvision==0.24.0 segment-anything==1.0 numpy==2.4.6 pillow==11.3.0 safetensors==0.8.0
    venv/bin/python make_fixtures.py [OUT]             the small fixture (committed)
    venv/bin/python make_fixtures.py --model vit_b OUT a full-size one (made by an ignored test)
    venv/bin/pip install --no-deps mobilesam-mirror==1.0.0 timm==1.0.20 pyyaml huggingface_hub     for --model vit_t

Weights are random and seeded, so the masks mean nothing; they exercise every layer. In OUT:

    small.pth, small_f16.safetensors  one checkpoint in two spellings; its weights are exact in 16 bits
    NAME.png                          generated photos
    reference.safetensors             what upstream computes from them, by '<image>.<what>' and
                                      '<image>.<prompt>.<what>'
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from segment_anything import sam_model_registry
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.amg import calculate_stability_score
from segment_anything.utils.transforms import ResizeLongestSide

SMALL = dict(
    image_size=128, embed_dim=32, depth=4, heads=4, mlp_ratio=4, window_size=3, global_attention_blocks=[1, 3],
    prompt_dim=32, mask_channels=16, decoder_depth=2, decoder_heads=4, decoder_mlp_dim=64, iou_head_depth=3,
    iou_head_hidden=32,
)


def small_model():
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
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=c["decoder_depth"], embedding_dim=c["prompt_dim"], mlp_dim=c["decoder_mlp_dim"],
                num_heads=c["decoder_heads"],
            ),
            transformer_dim=c["prompt_dim"], iou_head_depth=c["iou_head_depth"],
            iou_head_hidden_dim=c["iou_head_hidden"],
        ),
        pixel_mean=[123.675, 116.28, 103.53], pixel_std=[58.395, 57.12, 57.375],
    ).eval()


def randomise(model, seed):
    """Weights upstream starts at 0 or 1 become random too, or they would test nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sorted(model.state_dict().items()):
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(noise.abs() + 0.5)
            elif name.endswith("positional_encoding_gaussian_matrix"):
                tensor.copy_(noise)
            elif "norm" in name or ".bn." in name or name.split(".")[-2:-1] in (["1"], ["4"]) and tensor.ndim == 1:
                tensor.copy_(noise * 0.1 + (1.0 if name.endswith("weight") else 0.0))
            elif "pos_embed" in name or "rel_pos" in name or "token" in name or "embed" in name and tensor.ndim == 2:
                tensor.copy_(noise * 0.3)
            elif "q_proj.weight" in name or "k_proj.weight" in name:
                # Larger ones saturate attention: torch's own f32 then strays 6e-4 from its f64.
                tensor.copy_(noise * 0.4 * tensor[0].numel() ** -0.5)
            elif tensor.ndim >= 2:
                tensor.copy_(noise * tensor[0].numel() ** -0.5)
            else:
                tensor.copy_(noise * 0.1)
            tensor.copy_(tensor.half().float())
    return model


def photo(height, width, seed):
    """Smooth blobs, edges and noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    image = np.zeros((height, width, 3))
    for channel in range(3):
        a, b, c = rng.uniform(0.02, 0.3, 3)
        image[..., channel] = 110 + 60 * np.sin(a * x + b * y) + 40 * np.cos(c * y)
    for _ in range(4):
        cy, cx, r = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.1, 0.3) * min(height, width)
        image[(y - cy) ** 2 + (x - cx) ** 2 < r * r] = rng.uniform(0, 255, 3)
    image += rng.normal(0, 12, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def prompts(size, original):
    """Prompts in pixels of the model input, by name: (points, labels, boxes, with a mask prompt)."""
    h, w = original
    scale = size / max(h, w)
    at = lambda *xy: torch.tensor(xy, dtype=torch.float32) * torch.tensor([w * scale, h * scale])
    centre, corner = at(0.5, 0.5), at(0.21, 0.83)
    box = torch.cat([at(0.1, 0.2), at(0.7, 0.9)])
    return {
        "point": (torch.stack([centre, corner, at(0.9, 0.05)])[:, None], torch.ones(3, 1), None, False),
        "points": (torch.stack([torch.stack([centre, corner])]), torch.tensor([[1.0, 0.0]]), None, False),
        "box": (None, None, torch.stack([box, box.flip(0) * 0 + torch.cat([at(0.3, 0.1), at(0.5, 0.4)])]), False),
        "point_box": (centre[None, None], torch.ones(1, 1), box[None], False),
        "mask": (centre[None, None], torch.ones(1, 1), None, True),
    }


@torch.no_grad()
def reference(model, images):
    out = {}
    size = model.image_encoder.img_size
    resize = ResizeLongestSide(size)
    seen = {}
    model.mask_decoder.transformer.register_forward_hook(lambda _, __, result: seen.update(tokens=result[0][:, 1:5]))
    for name, image in images.items():
        resized = torch.as_tensor(resize.apply_image(image)).permute(2, 0, 1)
        out[f"{name}.resized"] = resized.contiguous()
        pixels = model.preprocess(resized.float()[None])
        start = time.perf_counter()
        embedding = model.image_encoder(pixels)
        print(f"{name}: encoder {time.perf_counter() - start:.2f} s", file=sys.stderr)
        out[f"{name}.embedding"] = embedding
        for kind, (points, labels, boxes, with_mask) in prompts(size, image.shape[:2]).items():
            mask_input = None
            if with_mask:
                side = size // 4
                mask_input = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(5)) * 4
                out[f"{name}.{kind}.mask_input"] = mask_input
            given = None if points is None else (points, labels)
            sparse, dense = model.prompt_encoder(points=given, boxes=boxes, masks=mask_input)
            masks, iou = model.mask_decoder.predict_masks(
                image_embeddings=embedding, image_pe=model.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
            )
            full = model.postprocess_masks(masks, resized.shape[1:], image.shape[:2])
            key = f"{name}.{kind}"
            if points is not None:
                out[f"{key}.points"], out[f"{key}.labels"] = points, labels.to(torch.int32)
            if boxes is not None:
                out[f"{key}.boxes"] = boxes
            out[f"{key}.sparse"] = sparse
            if kind in ("point", "mask") and name == "wide":
                out[f"{key}.dense"] = dense[:1]
            out[f"{key}.low_res"], out[f"{key}.iou"], out[f"{key}.tokens"] = masks, iou, seen["tokens"]
            out[f"{key}.stability"] = calculate_stability_score(full, 0.0, 0.3)
            out[f"{key}.full_mean"] = full.mean(dim=(2, 3))
            # One mask at full size per prompt, as bits; and where a pixel is too near 0 to tell.
            last = full[0, 1]
            out[f"{key}.bits"] = torch.from_numpy(np.packbits((last > 0).numpy()))
            near = last.abs() <= (1e-3 if kind == "mask" and size == 1024 else 1e-4) * last.abs().max()
            out[f"{key}.near"] = torch.from_numpy(np.packbits(near.numpy()))
    return {key: value.clone(memory_format=torch.contiguous_format) for key, value in out.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", nargs="?", type=Path, default=Path(__file__).parent)
    parser.add_argument("--model", choices=["small", "vit_b", "vit_l", "vit_h", "vit_t"], default="small")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    small = args.model == "small"
    if args.model == "vit_t":
        from mobile_sam import sam_model_registry as registry
    else:
        registry = sam_model_registry
    model = randomise(small_model() if small else registry[args.model](), 2024).eval()
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    torch.save(state, args.out / f"{args.model}.pth")
    if small:
        save_file({name: tensor.half() for name, tensor in state.items()}, args.out / "small_f16.safetensors")
        shapes = {"wide": (70, 150), "tall": (211, 97), "tiny": (9, 13)}
    else:
        shapes = {"wide": (900, 1300)}
    images = {name: photo(*shape, seed) for seed, (name, shape) in enumerate(shapes.items())}
    for name, image in images.items():
        Image.fromarray(image).save(args.out / f"{name}.png")
    save_file(reference(model, images), args.out / "reference.safetensors")


if __name__ == "__main__":
    main()
