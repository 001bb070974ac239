"""Makes clicks.json: what segment-anything 1.0's `SamPredictor` gives for points and boxes on two photos of
tests/data/sam, with the small model whose masks are sharp (sharp.safetensors, which make_masks.py makes).

    pip install segment-anything==1.0 torch==2.9.0 torchvision==0.24.0 numpy==2.4.6 pillow==11.3.0 \
        pycocotools==2.0.11 opencv-python-headless==5.0.0.93 safetensors==0.8.0
    python tests/data/extract/make_clicks.py

Pillow is older than in make_masks.py, and that which make_fixtures.py has: Pillow 13 resizes a photo that is more than
about twice as high as wide, as tall.png is, by rows before columns. A fifth of its bytes are then one level off.
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

# Foreground points, background points and a box (XYXY) of each prompt, in pixels of the photo. Chosen by trial: few of
# the masks are empty; no logit of any pixel lies within 5e-4 of a threshold, so that rounding moves no pixel; and the
# best of the three masks of a single point is not always the same one.
PROMPTS = {
    "wide.png": [
        ([[64, 12]], [], None),
        ([[112.5, 5.25]], [], None),
        ([[110, 21], [106, 31]], [[24, 32]], None),
        ([], [], [55, 34, 133, 62]),
        ([], [[44, 59]], [27, 8, 110, 36]),
    ],
    "tall.png": [
        ([[77, 141]], [], None),
        ([[67, 205]], [], None),
        ([[62, 134], [58, 153]], [[86, 167]], None),
        ([], [], [10, 101, 77, 181]),
        ([], [[36, 84]], [37, 100, 69, 179]),
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
                    # Upstream's score of a mask that is empty at both thresholds is 0 / 0.
                    "stability_score": None if stability.isnan() else float(stability),
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
    (HERE / "clicks.json").write_text(json.dumps({"photos": photos}, allow_nan=False))


if __name__ == "__main__":
    main()
