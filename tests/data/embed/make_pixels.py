#!/usr/bin/env python3
"""Makes photo_a.png, photo_b.png and pixels_reference.safetensors with Pillow and open_clip's transform.

    python3 -m venv venv
    venv/bin/pip install torch==2.9.0 torchvision==0.24.0 open-clip-torch==3.3.0 timm==1.0.31 numpy==2.4.6 \\
        pillow==11.3.0 safetensors==0.8.0
    venv/bin/python make_pixels.py [OUT]

Tensors of bytes, [height, width, 3]:

    <photo>.bicubic.WxH    Pillow's resize to that width and height, BICUBIC
    clip.<photo>           open_clip's image_transform at 32: shortest side to 32, bicubic, centre crop 32
    clip.<photo>.N         the same at other sizes
    clip.normalised.<photo> f32 [3,32,32], that transform with OpenAI's mean and deviation
"""

import sys
from pathlib import Path

import numpy as np
import torch
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.transform import image_transform
from PIL import Image

from common import HERE, photos, write

SIZES = [(32, 32), (200, 150), (31, 77), (97, 61), (40, 61), (97, 120), (7, 5)]


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    reference = {}
    for name, image in photos(out).items():
        for width, height in SIZES:
            resized = np.array(image.resize((width, height), Image.Resampling.BICUBIC))
            reference[f"{name}.bicubic.{width}x{height}"] = torch.from_numpy(resized)
        for side in (32, 33, 45, 64):  # 33 and 64 leave an odd number to crop
            transform = image_transform(side, is_train=False, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
            exact = transform(image).permute(1, 2, 0) * 255
            bytes_ = exact.round().to(torch.uint8)
            assert (exact - bytes_).abs().max() < 1e-4
            reference[f"clip.{name}" if side == 32 else f"clip.{name}.{side}"] = bytes_
        transform = image_transform(32, is_train=False, mean=OPENAI_DATASET_MEAN, std=OPENAI_DATASET_STD)
        reference[f"clip.normalised.{name}"] = transform(image)
    write(reference, out / "pixels_reference.safetensors")


main()
