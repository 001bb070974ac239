#!/usr/bin/env python3
"""Makes medsam_reference.safetensors of tests/it/sam.rs: what MedSAM's own steps give with the small model of make_fixtures.py.

    venv/bin/pip install scikit-image==0.25.2 scipy==1.17.1      in the environment of make_fixtures.py
    venv/bin/python make_medsam.py

The steps are those of MedSAM_Inference.py (bowang-lab/MedSAM): pixels by skimage's cubic splines, squashed to a square, from the
least level to the greatest as 0 to 1; prompts scaled along each axis; masks scaled to the photo at once. MedSAM scales
probabilities, this file logits, whose sign is compared.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import transform

from make_fixtures import SMALL, small_model

FOLDER = Path(__file__).parent
# Sides of a square smaller and larger than the photos.
SIDES = [SMALL["image_size"], 32]


def pixels(photo, side):
    return transform.resize(photo, (side, side), order=3, preserve_range=True, anti_aliasing=True).astype(np.uint8)


@torch.no_grad()
def main():
    model = small_model()
    model.load_state_dict(torch.load(FOLDER / "small.pth"))
    seen = {}
    model.mask_decoder.transformer.register_forward_hook(lambda _, __, result: seen.update(tokens=result[0][:, 1:5]))
    size = SMALL["image_size"]
    out = {}
    for name in ["wide", "tall", "tiny"]:
        photo = np.array(Image.open(FOLDER / f"{name}.png"))
        for side in SIDES:
            out[f"{name}.pixels.{side}"] = torch.from_numpy(pixels(photo, side))
        levels = pixels(photo, size)
        levels = (levels - levels.min()) / np.clip(levels.max() - levels.min(), a_min=1e-8, a_max=None)
        embedding = model.image_encoder(torch.tensor(levels).float().permute(2, 0, 1)[None])
        height, width = photo.shape[:2]
        at = np.array([[0.5, 0.5], [0.21, 0.83], [0.9, 0.05]]) * [width, height]
        points = torch.from_numpy(at / [width, height] * size).float()[:, None]
        sparse, dense = model.prompt_encoder(points=(points, torch.ones(3, 1)), boxes=None, masks=None)
        masks, iou = model.mask_decoder.predict_masks(
            image_embeddings=embedding, image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense,
        )
        tokens = seen["tokens"]
        full = torch.nn.functional.interpolate(masks, (height, width), mode="bilinear", align_corners=False)
        # As MedSAM itself is asked: a box, the single mask, and probabilities that are scaled.
        box = np.array([0.1, 0.2, 0.7, 0.9]) * [width, height, width, height]
        boxes = torch.from_numpy(box / [width, height, width, height] * size).float()[None]
        sparse, dense = model.prompt_encoder(points=None, boxes=boxes, masks=None)
        single, _ = model.mask_decoder(
            image_embeddings=embedding, image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=False,
        )
        likely = torch.nn.functional.interpolate(torch.sigmoid(single), (height, width), mode="bilinear", align_corners=False)
        out |= {
            f"{name}.points": torch.from_numpy(at).float(), f"{name}.embedding": embedding, f"{name}.iou": iou,
            f"{name}.tokens": tokens,
            f"{name}.box": torch.from_numpy(box).float(), f"{name}.single": single,
            f"{name}.medsam_seg": torch.from_numpy(np.packbits((likely[0, 0] > 0.5).numpy())),
            f"{name}.full_mean": full.mean(dim=(2, 3)),
            f"{name}.bits": torch.from_numpy(np.packbits((full[0, 1] > 0).numpy())),
            f"{name}.near": torch.from_numpy(np.packbits((full[0, 1].abs() <= 1e-4 * full[0, 1].abs().max()).numpy())),
        }
    save_file({key: value.contiguous() for key, value in out.items()}, FOLDER / "medsam_reference.safetensors")


if __name__ == "__main__":
    main()
