"""Small models of Stable Diffusion's three parts, what diffusers makes of them, and how long a whole loop of them goes.

    python make.py        writes beside itself; needs diffusers==0.42.1 with the transformers that it takes, open_clip_torch, torch, numpy

Weights are computed from the names of tensors (see `filled`), here and in the test, so that none are stored.
"""

import json
import pathlib

import numpy as np
import torch
from open_clip.tokenizer import SimpleTokenizer
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

HERE = pathlib.Path(__file__).parent
VERSIONS = {
    # Heads as one number, quick GELU, noise predicted, PNDM's configuration.
    "v1": dict(
        unet=dict(attention_head_dim=4, use_linear_projection=False),
        act="quick_gelu", pad="<|endoftext|>",
        scheduler=dict(prediction_type="epsilon", timestep_spacing="leading", steps_offset=1, set_alpha_to_one=False),
        steps=4, guidance=7.5,
    ),
    # Heads by block, GELU, velocity predicted.
    "v2": dict(
        unet=dict(attention_head_dim=(2, 2, 4, 4), use_linear_projection=True),
        act="gelu", pad="!",
        scheduler=dict(prediction_type="v_prediction", timestep_spacing="leading", steps_offset=1, set_alpha_to_one=False),
        steps=3, guidance=5.0,
    ),
    # One step without guidance.
    "turbo": dict(
        unet=dict(attention_head_dim=(2, 2, 4, 4), use_linear_projection=True),
        act="gelu", pad="!",
        scheduler=dict(prediction_type="epsilon", timestep_spacing="trailing", steps_offset=0, set_alpha_to_one=True),
        steps=1, guidance=0.0,
    ),
}
PROMPT, NEGATIVE = "a photo of a cat", "blurry"


def filled(name, shape):
    """Weights of a name: a sequence of Weyl (multiples of the golden ratio, modulo 2^32) from the name's FNV-1a hash on."""
    start = 2166136261
    for byte in name.encode():
        start = (start ^ byte) * 16777619 % 2**32
    count = int(np.prod(shape))
    at = (np.arange(count, dtype=np.uint64) * 2654435769 + start) % 2**32
    # Mixed, so that neighbours are no straight line.
    at ^= at >> 16
    at = at * 2246822507 % 2**32
    at ^= at >> 13
    unit = at.astype(np.float64) / 2**32 - 0.5
    if len(shape) == 1:
        values = 1 + 0.2 * unit if name.endswith("weight") else 0.1 * unit
    else:
        values = 3 * unit / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(values.astype(np.float32).reshape(shape))


def fill(model, prefix=""):
    """A model with such weights, and the shapes of its tensors by their names in a checkpoint, which begin with a prefix."""
    named = lambda name: name if name.startswith(prefix) else prefix + name
    tensors = {name: tensor for name, tensor in model.state_dict().items() if tensor.dtype == torch.float32}
    model.load_state_dict({name: filled(named(name), tuple(it.shape)) for name, it in tensors.items()}, strict=False)
    return model.eval(), {named(name): list(it.shape) for name, it in tensors.items()}


def ids(text, pad):
    """`BOS, tokens, EOS`, filled up; the tokens are those of CLIP's vocabulary, which open_clip has inside."""
    row = [49406, *SimpleTokenizer().encode(text), 49407]
    return row + [49407 if pad == "<|endoftext|>" else 0] * (77 - len(row))


def main():
    for version, it in VERSIONS.items():
        folder = HERE / version
        for part in ("unet", "vae", "text_encoder", "scheduler", "tokenizer"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        unet, unet_shapes = fill(UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, block_out_channels=(32, 32, 64, 64), layers_per_block=1,
            cross_attention_dim=32, norm_num_groups=32,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3, **it["unet"]))
        vae, vae_shapes = fill(AutoencoderKL(
            block_out_channels=(32, 32), layers_per_block=1, latent_channels=4, norm_num_groups=32,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2))
        text, text_shapes = fill(CLIPTextModel(CLIPTextConfig(
            vocab_size=49408, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            hidden_act=it["act"])), "text_model.")
        unet.save_config(folder / "unet")
        vae.save_config(folder / "vae")
        text.config.save_pretrained(folder / "text_encoder")
        scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, **it["scheduler"])
        scheduler.save_config(folder / "scheduler")
        (folder / "tokenizer/special_tokens_map.json").write_text(json.dumps({"pad_token": it["pad"]}) + "\n")
        shapes = {"unet": unet_shapes, "vae": vae_shapes, "text_encoder": text_shapes}
        (folder / "shapes.json").write_text(json.dumps(shapes) + "\n")

        torch.manual_seed(1)
        latents = torch.randn(1, 4, 8, 8)
        guided = it["guidance"] > 1
        rows = [ids(NEGATIVE, it["pad"]), ids(PROMPT, it["pad"])] if guided else [ids(PROMPT, it["pad"])]
        with torch.no_grad():
            hidden = text(torch.tensor(rows)).last_hidden_state
            noise = unet(latents, torch.tensor(500), encoder_hidden_states=hidden[-1:]).sample
            scheduler.set_timesteps(it["steps"])
            x = latents
            for time in scheduler.timesteps:
                if guided:
                    without, with_prompt = unet(torch.cat([x, x]), time, encoder_hidden_states=hidden).sample.chunk(2)
                    predicted = without + it["guidance"] * (with_prompt - without)
                else:
                    predicted = unet(x, time, encoder_hidden_states=hidden).sample
                x = scheduler.step(predicted, time, x).prev_sample
            image = vae.decode(x / vae.config.scaling_factor).sample
            image = (image / 2 + 0.5).clamp(0, 1)
        save_file({
            "latents": latents, "hidden": hidden, "noise": noise, "last": x,
            "pixels": image[0].permute(1, 2, 0).contiguous(),
        }, folder / "expected.safetensors")
        print(version, float(hidden.std()), float(noise.std()), float(x.std()), float(image.std()))


main()
