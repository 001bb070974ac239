"""Makes a vit_b checkpoint with random weights and photos, or times segment-anything's own package.

    python benches/extract_peer.py make DIR
    python benches/extract_peer.py time CHECKPOINT PHOTO... > PEER.json
    python benches/extract_peer.py growth GRAINSTORE DIR 13,130,1300 > GROWTH.json
    python benches/extract_peer.py compare OURS.json PEER.json GROWTH.json
"""

import json
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import time

from markdown import figure, table, versions

PHOTOS = 3


def make(directory):
    import numpy as np
    import torch
    from PIL import Image
    from segment_anything import sam_model_registry

    directory = pathlib.Path(directory)
    torch.manual_seed(0)
    model = sam_model_registry["vit_b"]()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "rel_pos" in name or "pos_embed" in name:
                parameter.normal_(0, 0.02)
    torch.save(model.state_dict(), directory / "vit_b.pth")
    random = np.random.default_rng(0)
    for n in range(PHOTOS):
        small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((640, 480), Image.BICUBIC).save(directory / f"{n}.jpg")


def timing(checkpoint, photos):
    import numpy as np
    import torch
    from PIL import Image
    from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

    model = sam_model_registry["vit_b"](checkpoint=checkpoint).eval()
    # The same grid and no filter; NMS at 1 keeps every mask.
    generator = SamAutomaticMaskGenerator(
        model, points_per_side=10, points_per_batch=64, pred_iou_thresh=0.0,
        stability_score_thresh=0.0, box_nms_thresh=1.0, output_mode="coco_rle",
    )
    seconds = []
    for photo in photos[:1] + photos:
        started = time.perf_counter()
        masks = generator.generate(np.asarray(Image.open(photo).convert("RGB")))
        seconds.append(time.perf_counter() - started)
        assert len(masks) >= 100, len(masks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6
    pixels = torch.rand(1, 3, 1024, 1024)
    with torch.no_grad():
        encode = []
        for _ in range(3):
            started = time.perf_counter()
            model.image_encoder(pixels)
            encode.append(time.perf_counter() - started)
    json.dump(
        {"all_s": seconds[1:], "peak_memory_mb": peak, "encode_s": min(encode),
         "torch": torch.__version__, "threads": torch.get_num_threads()},
        sys.stdout,
    )


def growth(program, directory, sizes):
    """Seconds of whole extractions with the demo's model: from the program's start to its end, masks committed."""
    directory = pathlib.Path(directory)
    found = []
    for images in map(int, sizes.split(",")):
        scenes, store = directory / f"scenes-{images}", directory / f"store-{images}"
        made = [program, "demo", "--only-scenes", "--where", scenes, "--train-images", images, "--test-images", 0]
        if not scenes.exists():
            subprocess.run(list(map(str, made)), check=True, stdout=sys.stderr)
        shutil.rmtree(store, ignore_errors=True)
        run = lambda *args: subprocess.run([program, "--store", store, "--quiet", *args], check=True, stdout=sys.stderr)
        run("init")
        run("ingest", "images", scenes / "scenes" / "train", "--source", "synthetic", "--dataset", "scenes")
        started = time.perf_counter()
        run("extract", "--checkpoint", "assets/demo/sam_demo.safetensors", "--points-per-side", "8")
        found.append({"images": images, "masks": 64 * images, "seconds": time.perf_counter() - started})
        shutil.rmtree(store)
    json.dump(found, sys.stdout)


def compare(ours, peer, growth):
    ours, peer, growth = (json.loads(pathlib.Path(path).read_text()) for path in (ours, peer, growth))
    theirs = statistics.median(peer["all_s"])
    print(
        f"vit_b with random weights, {PHOTOS} JPEG photos of 640 x 480, a 10 x 10 grid, no filter, f32; from the file's "
        "bytes to run lengths; medians. The peer is the official package with the same weights, photos and grid: "
        f"{versions('segment-anything', 'torch')}, {peer['threads']} threads."
    )
    row = lambda name, mine, other, write=figure: [name, write(mine), write(other), f"{other / mine:.2f}"]
    table(
        ["", "grainstore", "official", "ratio"],
        [
            row("seconds an image, three masks a point", statistics.median(ours["all_s"]), theirs),
            row("seconds an image, best mask a point (grainstore's default)", statistics.median(ours["best_s"]), theirs),
            row("seconds, encoder alone", ours["encode_s"], peer["encode_s"]),
            row("peak memory, MB", ours["peak_memory_mb"], peer["peak_memory_mb"], "{:,}".format),
        ],
    )
    print(
        f"\nThe encoder's {ours['encoder_gflop']:.0f} GFLOP ran at {100 * ours['encoder_share_of_gemm']:.0f} % of the rate "
        f"of the machine's matrix product ({ours['gemm_gflops']:.0f} GFLOP/s, 4096 x 768 x 3072); 64 points take the "
        f"decoder {ours['decode_s']:.2f} s.\n\n"
        "The whole program on generated photos of about 200 x 170 with the demo's model, 64 points each:"
    )
    table(
        ["photos", "masks", "seconds", "photos/s"],
        [
            [f"{it['images']:,}", f"{it['masks']:,}", figure(it["seconds"]), figure(it["images"] / it["seconds"])]
            for it in growth
        ],
    )


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "make":
        make(*rest)
    elif command == "time":
        timing(rest[0], rest[1:])
    elif command == "growth":
        growth(*rest)
    else:
        compare(*rest)
