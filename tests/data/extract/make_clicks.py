"""Makes clicks.json: what segment-anything 1.0's `SamPredictor` gives for points and boxes on two photos of
tests/data/sam, with the small model whose masks are sharp (sharp.safetensors, which make_masks.py makes).

    pip install segment-anything==1.0 torch==2.9.0 torchvision==0.24.0 numpy==2.4.6 pillow==13.0.0 \
        pycocotools==2.0.11 opencv-python-headless==5.0.0.93 safetensors==0.8.0
    python tests/data/extract/make_clicks.py
"""

import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from pycocotools import mask as mask_api
from safetensors.torch import load_file
from segment_anything import SamPredictor
from segment_anything.utils.amg import calculate_stability_score, mask_to_rle_pytorch

OFFSET = 1.0
HERE = pathlib.Path(__file__).parent
SAM = HERE.parent / "sam"
sys.path.insert(0, str(SAM))
from make_fixtures import small_model  # noqa: E402

# Foreground points, background points and a box of each prompt, in pixels of the photo.
PROMPTS = {
    "wide.png": [
        ([[75, 35]], [], None),
        ([[20.5, 60.25]], [], None),
        ([[40, 20], [110, 50]], [[140, 5]], None),
        ([], [], [15, 10, 90, 60]),
        ([], [[100, 30]], [60.5, 5.5, 145, 65]),
    ],
    "tall.png": [
        ([[48, 105]], [], None),
        ([[80.75, 30.5]], [], None),
        ([[30, 60], [60, 150]], [[90, 200]], None),
        ([], [], [10, 40, 70, 140]),
        ([], [[50, 120]], [5.5, 90.25, 92, 205]),
    ],
}


def predict(predictor, foreground, background, box):
    """The masks of a prompt: the single one, then the three of an ambiguous prompt."""
    points = np.array(foreground + background, dtype=float)
    labels = np.array([1] * len(foreground) + [0] * len(background))
    found = []
    for several in (False, True):
        prompt = dict(
            point_coords=points if len(points) > 0 else None,
            point_labels=labels if len(points) > 0 else None,
            box=None if box is None else np.array(box, dtype=float),
            multimask_output=several,
        )
        masks, iou, _ = predictor.predict(**prompt)
        logits, _, _ = predictor.predict(**prompt, return_logits=True)
        stability = calculate_stability_score(torch.from_numpy(logits), predictor.model.mask_threshold, OFFSET)
        for rle, iou, stability in zip(mask_to_rle_pytorch(torch.from_numpy(masks)), iou, stability):
            found.append(
                {
                    "counts": mask_api.frPyObjects(rle, *rle["size"])["counts"].decode(),
                    "predicted_iou": float(iou),
                    "stability_score": float(stability),
                }
            )
    return found


def main():
    model = small_model()
    weights = load_file(HERE / "sharp.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    predictor = SamPredictor(model.eval())
    photos = []
    for photo, prompts in PROMPTS.items():
        predictor.set_image(np.asarray(Image.open(SAM / photo).convert("RGB")))
        cases = []
        for foreground, background, box in prompts:
            masks = predict(predictor, foreground, background, box)
            cases.append({"foreground": foreground, "background": background, "box": box, "masks": masks})
        photos.append({"photo": photo, "prompts": cases})
    # Upstream's score of a mask that is empty at every threshold is 0 / 0, which JSON does not have.
    (HERE / "clicks.json").write_text(json.dumps({"photos": photos}, allow_nan=False))


if __name__ == "__main__":
    main()
