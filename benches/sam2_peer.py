"""Times the sam2 package on the CPU.

    python benches/sam2_peer.py photos DIR
    python benches/sam2_peer.py time SIZE CHECKPOINT PHOTO... > PEER.json
    python benches/sam2_peer.py compare SIZE OURS.json PEER.json
"""

import json
import pathlib
import resource
import statistics
import sys
import time

from markdown import figure, table, versions

HERE = pathlib.Path(__file__).parent
PHOTOS = 3
BATCH = 64


def photos(directory):
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(0)
    for n in range(PHOTOS):
        small = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        Image.fromarray(small).resize((640, 480), Image.BICUBIC).save(pathlib.Path(directory) / f"{n}.jpg")


def fastest(run, runs=3):
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def timing(size, checkpoint, paths):
    import numpy as np
    import torch
    from PIL import Image

    sys.path.insert(0, str(HERE.parent / "tests" / "data" / "sam2"))
    from make_sam2 import build
    from sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator

    model = build(size)
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    # The same grid and no filter; NMS at 1 keeps every mask.
    generator = SAM2AutomaticMaskGenerator(
        model, points_per_side=10, points_per_batch=BATCH, pred_iou_thresh=0.0, stability_score_thresh=0.0,
        box_nms_thresh=1.0, output_mode="coco_rle",
    )
    seconds = []
    for path in paths[:1] + paths:
        started = time.perf_counter()
        masks = generator.generate(np.asarray(Image.open(path).convert("RGB")))
        seconds.append(time.perf_counter() - started)
        assert len(masks) >= 100, len(masks)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 // 10**6
    predictor = generator.predictor
    predictor.set_image(np.asarray(Image.open(paths[0]).convert("RGB")))
    pixels = torch.rand(1, 3, 1024, 1024)
    points = torch.tensor([[[n, 2.0 * n]] for n in range(BATCH)])
    labels = torch.ones(BATCH, 1, dtype=torch.int32)

    def decode():
        sparse, dense = model.sam_prompt_encoder(points=(points, labels), boxes=None, masks=None)
        model.sam_mask_decoder.predict_masks(
            image_embeddings=predictor._features["image_embed"], image_pe=model.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, repeat_image=True,
            high_res_features=predictor._features["high_res_feats"],
        )

    with torch.no_grad():
        encode_s = fastest(lambda: model.forward_image(pixels))
        decode_s = fastest(decode)
    found = {"all_s": seconds[1:], "peak_memory_mb": peak, "encode_s": encode_s, "decode_s": decode_s}
    json.dump(found | {"torch": torch.__version__, "threads": torch.get_num_threads()}, sys.stdout)


def compare(size, ours, peer):
    ours, peer = [json.loads(pathlib.Path(path).read_text()) for path in (ours, peer)]
    rows = []

    def row(what, one, another):
        rows.append([what, figure(one), figure(another) if another else "-", f"{another / one:.2f}" if another else "-"])

    median = lambda times: statistics.median(times)
    row("photo to run lengths, three masks a point, s", median(ours["all_s"]), median(peer["all_s"]))
    row("photo to run lengths, best mask of a point, s", median(ours["best_s"]), None)
    row("encoder, s", ours["encode_s"], peer["encode_s"])
    row(f"decoder, {BATCH} points, s", ours["decode_s"], peer["decode_s"])
    row("peak memory, MB", ours["peak_memory_mb"], peer["peak_memory_mb"])
    print(f"\nSAM 2, {size}, {versions('sam2', 'torch')} with {peer['threads']} threads:")
    table(["", "grainstore", "sam2", "ratio"], rows)


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "photos":
        photos(*rest)
    elif command == "time":
        timing(rest[0], rest[1], rest[2:])
    else:
        compare(*rest)
