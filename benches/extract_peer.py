"""Makes a vit_b checkpoint with random weights and photos, or times segment-anything's own package.

    python benches/extract_peer.py make DIR
    python benches/extract_peer.py time CHECKPOINT PHOTO... > PEER.json
    python benches/extract_peer.py compare OURS.json PEER.json
"""

import json
import pathlib
import resource
import statistics
import sys
import time

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


def compare(ours, peer):
    ours, peer = (json.loads(pathlib.Path(path).read_text()) for path in (ours, peer))
    theirs = statistics.median(peer["all_s"])
    print(f"{'vit_b, 100 points, CPU':40} {'grainstore':>12} {'official':>10} {'ratio':>6}")

    def row(name, mine, other):
        print(f"{name:40} {mine:12.2f} {other:10.2f} {other / mine:6.2f}")

    row("s an image, three masks a point", statistics.median(ours["all_s"]), theirs)
    row("s an image, best mask a point (default)", statistics.median(ours["best_s"]), theirs)
    row("s, encoder alone", ours["encode_s"], peer["encode_s"])
    row("peak memory, MB", ours["peak_memory_mb"], peer["peak_memory_mb"])
    print(
        f"decoder alone, 64 points: {ours['decode_s']:.2f} s; matrix product 4096 x 768 x 3072: "
        f"{ours['gemm_gflops']:.0f} GFLOP/s; encoder: {ours['encoder_gflop']:.0f} GFLOP, "
        f"{100 * ours['encoder_share_of_gemm']:.0f} % of that rate; "
        f"official: torch {peer['torch']}, {peer['threads']} threads"
    )


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "make":
        make(*rest)
    elif command == "time":
        timing(rest[0], rest[1:])
    else:
        compare(*rest)
