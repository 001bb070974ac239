#!/usr/bin/env python3
"""Makes dinov2.safetensors, dinov2_hf/, dinov2_reg_hf/ and dinov2_reference.safetensors with transformers.

    python3 -m venv venv
    venv/bin/pip install torch==2.9.0 torchvision==0.24.0 transformers==5.23.0 numpy==2.4.6 pillow==11.3.0 safetensors==0.8.0
    venv/bin/python make_dinov2.py [OUT]
    venv/bin/python make_dinov2.py --check DINOV2     compares with a checkout of facebookresearch/dinov2

Small models with seeded random weights, exact in 16 bits. In OUT:

    dinov2.safetensors            no registers, under the official names
    dinov2_hf/, dinov2_reg_hf/    without and with registers, as save_pretrained writes them
    dinov2_reference.safetensors  what they compute, by 'official.', 'hf.' and 'reg_hf.' and then
                                  '' (56 x 56, as trained), '56x84.' and '70x42.' (rows x columns):
                                  'pixels' -> 'cls', 'patches' (x_norm_clstoken, x_norm_patchtokens)
    positions.table [4,4,8]       a table, and positions.plain.HxW, positions.antialiased.HxW [H,W,8] of it

Positions at other sizes follow the official code (interpolate_pos_encoding): plain bicubic by a scale
factor of (H + 0.1) / 4 without registers, antialiased bicubic by size with them. transformers takes the
size in both cases, so its model without registers is given the official rule here.
"""

import argparse
import copy
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MethodType

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import Dinov2Config, Dinov2Model, Dinov2WithRegistersConfig, Dinov2WithRegistersModel

from common import HERE, fan_in, halves, normalised, photos, randn, randomise, report, strays, write

SIZES = [(56, 56), (56, 84), (70, 42)]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def plain(table, height, width):
    """Official rule without registers; table [1, rows, columns, channels]."""
    scale = ((height + 0.1) / table.shape[1], (width + 0.1) / table.shape[2])
    resized = F.interpolate(table.permute(0, 3, 1, 2), scale_factor=scale, mode="bicubic", antialias=False)
    assert resized.shape[-2:] == (height, width)
    return resized.permute(0, 2, 3, 1)


def antialiased(table, height, width):
    """Official rule with registers."""
    resized = F.interpolate(table.permute(0, 3, 1, 2), size=(height, width), mode="bicubic", antialias=True)
    return resized.permute(0, 2, 3, 1)


def official_positions(self, embeddings, height, width):
    table = self.position_embeddings
    rows, columns, side = height // 14, width // 14, round((table.shape[1] - 1) ** 0.5)
    if (rows, columns) == (side, side):
        return table
    patches = plain(table[:, 1:].reshape(1, side, side, -1), rows, columns)
    return torch.cat([table[:, :1], patches.reshape(1, rows * columns, -1)], dim=1)


def build(width, registers):
    sizes = dict(
        hidden_size=width, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, patch_size=14, image_size=56,
    )
    if registers:
        return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**sizes, num_register_tokens=registers))
    model = Dinov2Model(Dinov2Config(**sizes))
    model.embeddings.interpolate_pos_encoding = MethodType(official_positions, model.embeddings)
    return model


def draw(name, tensor, noise):
    if "norm" in name:
        return noise * 0.2 + (1.0 if name.endswith("weight") else 0.0)
    if "lambda1" in name:
        return noise * 0.4 + 0.8
    if "token" in name or "position" in name:
        return noise * 0.5
    if tensor.ndim == 1:
        return noise * 0.2
    return fan_in(tensor, noise, 1.3)


def official_names(state):
    """A saved Dinov2Model's tensors under facebookresearch/dinov2's names."""
    names = {
        "cls_token": "embeddings.cls_token", "pos_embed": "embeddings.position_embeddings",
        "mask_token": "embeddings.mask_token",
    }
    pairs = {"patch_embed.proj": "embeddings.patch_embeddings.projection", "norm": "layernorm"}
    out = {}
    for block in range(2):
        ours, theirs = f"blocks.{block}", f"encoder.layer.{block}"
        pairs |= {f"{ours}.{name}": f"{theirs}.{name}" for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2")}
        pairs[f"{ours}.attn.proj"] = f"{theirs}.attention.output.dense"
        names |= {f"{ours}.ls{i}.gamma": f"{theirs}.layer_scale{i}.lambda1" for i in (1, 2)}
        for part in ("weight", "bias"):
            out[f"{ours}.attn.qkv.{part}"] = torch.cat(
                [state[f"{theirs}.attention.attention.{which}.{part}"] for which in ("query", "key", "value")]
            )
    names |= {f"{a}.{part}": f"{b}.{part}" for a, b in pairs.items() for part in ("weight", "bias")}
    out |= {name: state[other] for name, other in names.items()}
    assert sum(t.numel() for t in out.values()) == sum(t.numel() for t in state.values())
    return out


@torch.no_grad()
def make(out):
    image = photos(out)["photo_a"]
    reference = {}
    for prefix, width, registers, seed in [("official", 128, 0, 51), ("hf", 64, 0, 52), ("reg_hf", 64, 4, 53)]:
        model = randomise(build(width, registers), seed, draw)
        double = copy.deepcopy(model).double()
        if not registers:  # a copy would still hold the original's method
            double.embeddings.interpolate_pos_encoding = MethodType(official_positions, double.embeddings)
        for height, width in SIZES:
            pixels = normalised(image, width, height, MEAN, STD)
            key = f"{prefix}." if (height, width) == (56, 56) else f"{prefix}.{height}x{width}."
            tokens = model(pixels).last_hidden_state
            strays(key + "tokens", tokens, double(pixels.double()).last_hidden_state)
            reference[key + "pixels"] = pixels
            reference[key + "cls"], reference[key + "patches"] = tokens[:, 0], tokens[:, 1 + registers :]
        if prefix == "official":
            with TemporaryDirectory() as folder:  # in memory transformers has names of its own
                model.save_pretrained(folder)
                state = load_file(Path(folder) / "model.safetensors")
            write(halves(official_names(state)), out / "dinov2.safetensors")
        else:
            folder = out / f"dinov2_{prefix}"
            model.half().save_pretrained(folder)
            for path in sorted(folder.iterdir()):
                report(path)
    table = randn(torch.Generator().manual_seed(54), 1, 4, 4, 8)
    reference["positions.table"] = table[0]
    for height, width in [(4, 6), (5, 3), (9, 9), (2, 3)]:
        for name, rule in [("plain", plain), ("antialiased", antialiased)]:
            reference[f"positions.{name}.{height}x{width}"] = rule(table, height, width)[0]
    write(reference, out / "dinov2_reference.safetensors")


@torch.no_grad()
def check(out, checkout):
    """The official code on the official names; and on those of dinov2_reg_hf/, with its rule for registers."""
    sys.path.insert(0, str(checkout))
    from functools import partial

    from dinov2.layers import MemEffAttention, NestedTensorBlock
    from dinov2.models.vision_transformer import DinoVisionTransformer

    reference = load_file(out / "dinov2_reference.safetensors")
    registers = {k: v.float() for k, v in load_file(out / "dinov2_reg_hf/model.safetensors").items()}
    register_tokens = registers.pop("embeddings.register_tokens")
    renamed = {**official_names(registers), "register_tokens": register_tokens}
    plain_names = {k: v.float() for k, v in load_file(out / "dinov2.safetensors").items()}
    for prefix, state, width, rule in [
        ("official", plain_names, 128, dict(interpolate_antialias=False, interpolate_offset=0.1)),
        ("reg_hf", renamed, 64, dict(num_register_tokens=4, interpolate_antialias=True, interpolate_offset=0.0)),
    ]:
        model = DinoVisionTransformer(
            img_size=56, patch_size=14, embed_dim=width, depth=2, num_heads=2, mlp_ratio=2, init_values=1.0,
            block_fn=partial(NestedTensorBlock, attn_class=MemEffAttention), block_chunks=0, **rule,
        ).eval()
        model.load_state_dict(state)
        for size in ("", "56x84.", "70x42."):
            given = {part: reference[f"{prefix}.{size}{part}"] for part in ("pixels", "cls", "patches")}
            result = model.forward_features(given["pixels"])
            for part, key in [("cls", "x_norm_clstoken"), ("patches", "x_norm_patchtokens")]:
                print(f"{prefix}.{size}{part}: {(result[key] - given[part]).abs().max():.1e} from the official code")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", metavar="DINOV2", type=Path)
    parser.add_argument("out", nargs="?", type=Path, default=HERE)
    args = parser.parse_args()
    check(args.out, args.check) if args.check else make(args.out)


main()
