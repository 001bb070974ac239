#!/usr/bin/env python3
"""Makes clip.safetensors, clip_hf/ and clip_reference.safetensors with open_clip and transformers.

    python3 -m venv venv
    venv/bin/pip install torch==2.9.0 torchvision==0.24.0 open-clip-torch==3.3.0 timm==1.0.31 transformers==5.23.0 \\
        numpy==2.4.6 pillow==11.3.0 safetensors==0.8.0
    venv/bin/python make_clip.py [OUT]

Small models with seeded random weights, exact in 16 bits. In OUT:

    clip.safetensors           a CLIP under open_clip's and OpenAI's names
    clip_hf/                   another one, as transformers' CLIPModel.save_pretrained writes it
    clip_reference.safetensors what they compute; 'quick.*' and 'gelu.*' are clip.safetensors with QuickGELU
                               and with exact GELU, 'hf.*' is clip_hf (QuickGELU)

    pixels [2,3,32,32]         normalised photos             image [2,48]   their features, not normalised
    ids [3,16]                 start 598, end 599, zeros     text [3,48]    their features, not normalised
    logits_per_image [2,3]     exp(logit_scale) times cosine
    dense [2,16,48]            every patch through the last block's values alone: out_proj(v(ln_1(x))), ln_post, proj
    dense_residual [2,16,48]   as chongzhou96/MaskCLIP computes it: with the residual and the MLP of that block
    quick.wide.*               a photo of 48 rows and 32 columns, 6 x 4 patches, positions by open_clip's
                               resize_pos_embed (bicubic, antialiased)
"""

import copy
import sys
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg, resize_pos_embed
from transformers import CLIPConfig, CLIPModel

from common import HERE, fan_in, halves, normalised, photos, randomise, report, strays, write

VOCABULARY, START, END, CONTEXT = 600, 598, 599, 16


def build(quick, size=32):
    return CLIP(
        embed_dim=48,
        vision_cfg=CLIPVisionCfg(image_size=size, patch_size=8, width=128, layers=2, head_width=64, mlp_ratio=2),
        text_cfg=CLIPTextCfg(
            context_length=CONTEXT, vocab_size=VOCABULARY, width=64, heads=1, layers=2, mlp_ratio=2
        ),
        quick_gelu=quick,
    ).eval()


def build_hf():
    tower = dict(num_hidden_layers=2, num_attention_heads=2, hidden_act="quick_gelu", projection_dim=48)
    config = CLIPConfig(
        text_config=dict(
            tower, hidden_size=32, intermediate_size=64, vocab_size=VOCABULARY, max_position_embeddings=CONTEXT,
            bos_token_id=START, eos_token_id=END, pad_token_id=0,
        ),
        vision_config=dict(tower, hidden_size=64, intermediate_size=128, image_size=32, patch_size=8),
        projection_dim=48,
    )
    return CLIPModel(config).eval()


def draw(name, tensor, noise):
    if name == "logit_scale":
        return torch.full_like(tensor, 2.7)
    if any(part in name for part in ("ln_", "norm", "layrnorm")):
        return noise * 0.2 + (1.0 if name.endswith("weight") else 0.0)
    if "embedding" in name and "patch" not in name:
        return noise * 0.5
    if tensor.ndim == 1:
        return noise * 0.2
    if name in ("visual.proj", "text_projection"):  # [in, out], not [out, in]
        return noise * tensor.shape[0] ** -0.5
    return fan_in(tensor, noise, 1.3)


def sentences():
    generator = torch.Generator().manual_seed(42)
    ids = torch.zeros(3, CONTEXT, dtype=torch.int64)
    for row, length in enumerate([5, 9, CONTEXT]):
        ids[row, :length] = torch.randint(1, START, (length,), generator=generator)
        ids[row, 0], ids[row, length - 1] = START, END
    return ids


def dense(block, values, tokens, finish, residual):
    """Patches of `tokens`, what enters the last block. `block`: (norm 1, out projection, norm 2, MLP)."""
    norm_1, out, norm_2, mlp = block
    x = out(values(norm_1(tokens)))
    if residual:
        x = x + tokens
        x = x + mlp(norm_2(x))
    return finish(x)[:, 1:]


def dense_open_clip(model, pixels, residual):
    visual = model.visual
    block = visual.transformer.resblocks[-1]
    seen = {}
    hook = block.register_forward_pre_hook(lambda _, given: seen.update(tokens=given[0]))
    visual(pixels)
    hook.remove()
    weight, bias = block.attn.in_proj_weight.chunk(3)[2], block.attn.in_proj_bias.chunk(3)[2]
    return dense(
        (block.ln_1, block.attn.out_proj, block.ln_2, block.mlp), lambda x: F.linear(x, weight, bias),
        seen["tokens"], lambda x: visual.ln_post(x) @ visual.proj, residual,
    )


def dense_hf(model, pixels, residual):
    vision = model.vision_model
    block = vision.encoder.layers[-1]
    tokens = vision(pixels, output_hidden_states=True).hidden_states[-2]
    return dense(
        (block.layer_norm1, block.self_attn.out_proj, block.layer_norm2, block.mlp), block.self_attn.v_proj,
        tokens, lambda x: model.visual_projection(vision.post_layernorm(x)), residual,
    )


def compute_open_clip(model, pixels, ids):
    return {
        "image": model.encode_image(pixels),
        "text": model.encode_text(ids),
        "logits_per_image": model.get_logits(pixels, ids)[0],
        "dense": dense_open_clip(model, pixels, False),
        "dense_residual": dense_open_clip(model, pixels, True),
    }


def compute_hf(model, pixels, ids):
    tensor = lambda features: features if torch.is_tensor(features) else features.pooler_output
    return {
        "image": tensor(model.get_image_features(pixel_values=pixels)),
        "text": tensor(model.get_text_features(input_ids=ids)),
        "logits_per_image": model(input_ids=ids, pixel_values=pixels).logits_per_image,
        "dense": dense_hf(model, pixels, False),
        "dense_residual": dense_hf(model, pixels, True),
    }


@torch.no_grad()
def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    images = list(photos(out).values())
    fit = lambda image, height: normalised(image, 32, height, open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD)
    pixels, wide, ids = torch.cat([fit(image, 32) for image in images]), fit(images[1], 48), sentences()
    reference = {}

    def note(prefix, model, compute):
        result = compute(model, pixels, ids)
        double = compute(copy.deepcopy(model).double(), pixels.double(), ids)
        for key, value in result.items():
            strays(f"{prefix}.{key}", value, double[key])
            reference[f"{prefix}.{key}"] = value
        reference[f"{prefix}.pixels"], reference[f"{prefix}.ids"] = pixels, ids

    quick = randomise(build(True), 41, draw)
    state = quick.state_dict()
    exact = build(False)
    exact.load_state_dict(state)
    write(halves(state), out / "clip.safetensors")
    note("quick", quick, compute_open_clip)
    note("gelu", exact, compute_open_clip)
    for key in ("image", "text", "dense"):
        apart = (reference[f"quick.{key}"] - reference[f"gelu.{key}"]).abs().max() / reference[f"gelu.{key}"].abs().max()
        print(f"{key}: the two activations are {apart:.1e} of the largest value apart")

    larger = build(True, (48, 32))
    resized = {name: tensor.clone() for name, tensor in state.items()}
    resize_pos_embed(resized, larger)
    larger.load_state_dict(resized)
    reference["quick.wide.pixels"] = wide
    reference["quick.wide.image"] = larger.encode_image(wide)
    reference["quick.wide.dense"] = dense_open_clip(larger, wide, False)

    hf = randomise(build_hf(), 43, draw)
    note("hf", hf, compute_hf)
    copy.deepcopy(hf).half().save_pretrained(out / "clip_hf")
    for path in sorted((out / "clip_hf").iterdir()):
        report(path)
    write(reference, out / "clip_reference.safetensors")


main()
