#!/usr/bin/env python3
"""Makes layouts/: one tiny Segment Anything as people's checkpoints hold it, and files that hold none.

    venv/bin/pip install transformers==5.23.0        beside what make_fixtures.py asks for
    venv/bin/python make_layouts.py [OUT]

Weights are random, seeded and exact in 16 bits. `flat.pth` is the plain state dict; every other layout of the model
holds the same numbers under other names. `hf_sharded/` is a model of its own, with `hf_sharded.json` as the
sum of each of its tensors. Names and nesting follow the programs that write them:

    lightning.ckpt      Lightning's `ModelCheckpoint` of a module whose field `model` is the Sam
    micro_sam.pt        micro-sam's export: `model_state` beside `decoder_state`
    torch_em.pt         torch_em's trainer (micro-sam's training): `model_state` with `sam.` before each name
    medsam_ddp.pth      MedSAM's train_one_gpu.py on several GPUs: `model` with `module.`, beside an optimizer
    compiled_ddp.pth    DataParallel around torch.compile: `module._orig_mod.`
    encoder_compiled.pth  only the encoder compiled: `image_encoder._orig_mod.`
    whole.pth           the Sam itself, pickled, instead of its state dict
    buffers.pth         `pixel_mean` and `pixel_std` saved with the weights
    hf_sharded/         Hugging Face's SamModel, saved by `save_pretrained` with shards of 20 KB

and `other_pixels.pth`, whose mean is 0; `two_copies.pth`, `encoder_only.pth`, `packed.pth`, `torchscript.pt`.
"""

import json
import sys
from functools import partial
from pathlib import Path

import torch
from make_fixtures import randomise
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from transformers import SamConfig, SamModel


def tiny_model():
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=32, patch_size=16, embed_dim=8, depth=2, num_heads=2, mlp_ratio=2, out_chans=16, qkv_bias=True,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True, window_size=1,
            global_attn_indexes=[1],
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=16, image_embedding_size=(2, 2), input_image_size=(32, 32), mask_in_chans=4
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=1, embedding_dim=16, mlp_dim=16, num_heads=8),
            transformer_dim=16, iou_head_depth=3, iou_head_hidden_dim=16,
        ),
        pixel_mean=[123.675, 116.28, 103.53], pixel_std=[58.395, 57.12, 57.375],
    ).eval()


def under(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def optimizer_state():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def layouts(model):
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    model = model.half()
    wrapped = torch.nn.DataParallel(torch.compile(model)).state_dict()
    encoder = {
        name.replace("image_encoder.", "image_encoder._orig_mod.", 1): tensor for name, tensor in state.items()
    }
    pixels = {"pixel_mean": model.pixel_mean.float(), "pixel_std": model.pixel_std.float()}
    return {
        "flat.pth": state,
        "lightning.ckpt": {
            "epoch": 3, "global_step": 120, "pytorch-lightning_version": "2.5.0", "callbacks": {},
            "hyper_parameters": {"lr": 1e-4, "checkpoint": Path("sam_vit_b.pth")}, "lr_schedulers": [],
            "optimizer_states": [optimizer_state()], "state_dict": under("model.", state),
        },
        "micro_sam.pt": {"model_state": state, "decoder_state": {"base.weight": torch.ones(2)}},
        "torch_em.pt": {
            "iteration": 5, "epoch": 1, "best_metric": 0.25, "init": {"name": "vit_b"},
            "model_state": under("sam.", state), "optimizer_state": optimizer_state(),
        },
        "medsam_ddp.pth": {"model": under("module.", state), "optimizer": optimizer_state(), "epoch": 0},
        "compiled_ddp.pth": wrapped,
        "encoder_compiled.pth": encoder,
        "whole.pth": model,
        "buffers.pth": state | pixels,
    }


def others(model):
    """Files with no model that can be used: two copies, other pixels, a part, an object."""
    tokens = {
        name: tensor.half() for name, tensor in model.state_dict().items() if name.startswith("mask_decoder.iou_token")
    }
    return {
        "two_copies.pth": {"model": tokens, "ema": {"module": dict(tokens)}},
        "other_pixels.pth": tokens | {"pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.full((3, 1, 1), 255.0)},
        "encoder_only.pth": {"image_encoder.pos_embed": torch.ones(1, 2, 2, 8), "image_encoder.neck.0.bias": torch.ones(8)},
        "packed.pth": {"model": torch.nn.utils.rnn.pack_sequence([torch.ones(2)])},
    }


@torch.no_grad()
def sharded(out):
    """As transformers saves a model that is larger than a shard may be."""
    torch.manual_seed(11)
    config = SamConfig(
        vision_config=dict(
            hidden_size=8, output_channels=16, num_hidden_layers=2, num_attention_heads=2, image_size=32,
            window_size=1, global_attn_indexes=[1], mlp_dim=16, num_pos_feats=8,
        ),
        prompt_encoder_config=dict(hidden_size=16, image_size=32, mask_input_channels=4),
        mask_decoder_config=dict(
            hidden_size=16, num_hidden_layers=1, num_attention_heads=8, mlp_dim=16, iou_head_hidden_dim=16
        ),
    )
    model = SamModel(config).half().eval()
    model.save_pretrained(out / "hf_sharded", max_shard_size="20KB")
    for file in (out / "hf_sharded").iterdir():
        file.chmod(0o644)
    sums = {name: tensor.double().sum().item() for name, tensor in model.state_dict().items()}
    (out / "hf_sharded.json").write_text(json.dumps(sums, indent=1) + "\n")


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "layouts"
    out.mkdir(parents=True, exist_ok=True)
    model = randomise(tiny_model(), 2026).eval()
    old_form = ["encoder_compiled.pth", "torch_em.pt"]  # PyTorch's before 1.6
    for name, content in (others(model) | layouts(model)).items():
        torch.save(content, out / name, _use_new_zipfile_serialization=name not in old_form)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), out / "torchscript.pt")
    sharded(out)


main()
