"""Makes ceiling.json: what pycocotools and plain NumPy say of a head that knows the class of every mask of masks.json and
scores it by its IoU. Run make.py first, in the same environment.

    venv/bin/python tests/data/eval/make_ceiling.py
"""

import json

import numpy as np
from make import CATEGORIES, HERE, figures, pixels
from pycocotools import mask as rle

RANGES = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}


def main():
    truth = json.loads((HERE / "truth.json").read_text())
    masks = json.loads((HERE / "masks.json").read_text())
    results, painted, fits = [], [], []
    for image in truth["images"]:
        of_image = [m for m in masks if m["image_id"] == image["id"]]
        objects = [a for a in truth["annotations"] if a["image_id"] == image["id"] and not a["iscrowd"]]
        if not objects:
            continue
        shape = (len(of_image), len(objects))
        iou = np.zeros(shape)
        if of_image:
            segments = [[it["segmentation"] for it in items] for items in (of_image, objects)]
            iou = np.array(rle.iou(segments[0], segments[1], [0] * len(objects))).reshape(shape)
        # A mask is of the class of the object that it fits best.
        categories = np.array([o["category_id"] for o in objects])
        own = categories[iou.argmax(1)] if of_image else np.array([])
        best = {}
        for at, wanted in enumerate(objects):
            usable = [m for m in range(len(of_image)) if own[m] == wanted["category_id"] and iou[m, at] > 0]
            mask = max(usable, key=lambda m: iou[m, at], default=None)
            fits.append((wanted["area"], wanted["category_id"], 0.0 if mask is None else iou[mask, at]))
            if mask is not None:
                whole = rle.decode(of_image[mask]["segmentation"])
                share = (whole & rle.decode(wanted["segmentation"])).sum() / whole.sum()
                score, most = best.get(mask, (0, 0))
                best[mask] = (max(score, iou[mask, at]), max(most, share))
        for mask, (score, share) in best.items():
            found = {"image_id": image["id"], "category_id": int(own[mask]), "score": float(score),
                     "segmentation": of_image[mask]["segmentation"]}
            results.append(found)
            painted += [found] if share > 0.5 else []
    judged = figures(truth, results, "segm")
    names = {c: name for c, name, _ in CATEGORIES}
    by_size = {}
    for name, (low, high) in RANGES.items():
        within = [iou for area, _, iou in fits if low <= area <= high]
        if within:
            by_size[name] = {"objects": len(within), "uncovered": int(sum(iou < 0.5 for iou in within)),
                             "mean_iou": float(np.mean(within))}
    expected = {
        "stats": judged["stats"],
        "classes": {name: [values[1], values[6]] for name, values in judged["classes"].items()},
        "sizes": by_size,
        "pixels": pixels(truth, painted, {names[c]: [c] for c, *_ in CATEGORIES}),
    }
    (HERE / "ceiling.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")
    print(judged["stats"], by_size)


main()
