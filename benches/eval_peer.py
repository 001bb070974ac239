"""The peers of benches/eval.rs: pycocotools, faster-coco-eval, NumPy and PyTorch.

    python eval_peer.py make DIR [--images 5000]      data of COCO's statistics: truth.json, results.json
    python eval_peer.py time DIR [--repeat 3]         times the peers; one line of JSON on stdout
    python eval_peer.py annotate DIR [--repeat 3]     the same for judging and suppressing masks
    python eval_peer.py compare DIR 500,5000,50000 100,1000,10000
                                                      both sides, as tables; they must say the same

The images of 'compare' are those of DIR/IMAGES, data of 'make' with the figures of both sides, and of
DIR/annotate-IMAGES.json, which 'cargo bench --bench eval' writes.
"""

import contextlib
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
from markdown import figure, table, versions

CLASSES = 80
HEIGHT, WIDTH = 480, 640


def polygon(random, size):
    """A ragged outline of about `size` pixels across."""
    count = int(random.integers(8, 30))
    angles = np.sort(random.uniform(0, 2 * np.pi, count))
    radii = size / 2 * random.uniform(0.6, 1.0, count)
    x, y = random.uniform(0, WIDTH), random.uniform(0, HEIGHT)
    points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], 1)
    points[:, 0] = points[:, 0].clip(0, WIDTH)
    points[:, 1] = points[:, 1].clip(0, HEIGHT)
    return points


def encode(points):
    from pycocotools import mask as rle

    found = rle.merge(rle.frPyObjects([points.ravel().tolist()], HEIGHT, WIDTH))
    return {"size": [HEIGHT, WIDTH], "counts": found["counts"].decode()}, float(rle.area(found)), rle.toBbox(found).tolist()


def make(directory, images):
    random = np.random.default_rng(1)
    truth = {"images": [], "annotations": [],
             "categories": [{"id": c + 1, "name": f"class{c:02}"} for c in range(CLASSES)]}
    results = []
    for image in range(1, images + 1):
        truth["images"].append({"id": image, "file_name": f"{image:06}.jpg", "height": HEIGHT, "width": WIDTH})
        # COCO: 7.3 objects an image, of 2.9 classes, sizes from a few to hundreds of pixels.
        of_image = random.integers(0, CLASSES, int(random.integers(1, 5)))
        for _ in range(int(random.poisson(7.3))):
            points = polygon(random, float(np.exp(random.uniform(np.log(10), np.log(400)))))
            segmentation, area, bbox = encode(points)
            category = int(random.choice(of_image)) + 1
            if area == 0:
                continue
            truth["annotations"].append({
                "id": len(truth["annotations"]) + 1, "image_id": image, "category_id": category,
                "iscrowd": int(random.random() < 0.01), "segmentation": segmentation, "area": area, "bbox": bbox})
            if random.random() < 0.8:
                moved, area, _ = encode(points + random.normal(0, 3, 2) + random.normal(0, 2, points.shape))
                if random.random() < 0.15:
                    category = int(random.integers(0, CLASSES)) + 1
                if area:
                    results.append({"image_id": image, "category_id": category, "segmentation": moved,
                                    "score": float(random.random())})
        for _ in range(int(random.poisson(1.4))):
            segmentation, area, _ = encode(polygon(random, 80))
            if area:
                results.append({"image_id": image, "category_id": int(random.integers(0, CLASSES)) + 1,
                                "segmentation": segmentation, "score": float(random.random()) * 0.6})
    (directory / "truth.json").write_text(json.dumps(truth))
    (directory / "results.json").write_text(json.dumps(results))
    print(f"{images} images, {len(truth['annotations'])} objects, {len(results)} detections", file=sys.stderr)


def timed(run, repeat):
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        result = run()
        seconds.append(time.perf_counter() - started)
    return {"seconds": sorted(seconds)[len(seconds) // 2]}, result


def coco_eval(coco_class, eval_class, directory, repeat, **options):
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_class(str(directory / "truth.json"))
        found = coco.loadRes(str(directory / "results.json"))

        def run():
            judged = eval_class(coco, found, "segm", **options)
            judged.evaluate()
            judged.accumulate()
            return judged

        figures, judged = timed(run, repeat)
        judged.summarize()
    return figures | {"stats": [float(x) for x in judged.stats][:12]}


def confusion(truth, results):
    """mIoU as scripts compute it: decoded bitmaps, painted, and a confusion matrix."""
    from pycocotools import mask as rle

    by_image = {image["id"]: ([], []) for image in truth["images"]}
    for annotation in truth["annotations"]:
        by_image[annotation["image_id"]][0].append(annotation)
    for result in results:
        by_image[result["image_id"]][1].append(result)
    matrix = np.zeros((CLASSES + 1, CLASSES + 1), np.int64)
    for annotations, found in by_image.values():
        label = np.zeros((HEIGHT, WIDTH), np.int64)
        ignored = np.zeros((HEIGHT, WIDTH), bool)
        for annotation in annotations:
            mask = rle.decode(annotation["segmentation"]).astype(bool)
            if annotation["iscrowd"]:
                ignored |= mask
                continue
            category = annotation["category_id"]
            ignored |= mask & (label > 0) & (label != category)
            label[mask] = category
        said = np.zeros((HEIGHT, WIDTH), np.int64)
        for result in sorted(found, key=lambda it: it["score"]):
            said[rle.decode(result["segmentation"]).astype(bool)] = result["category_id"]
        judged = ~ignored
        pairs = label[judged] * (CLASSES + 1) + said[judged]
        matrix += np.bincount(pairs, minlength=(CLASSES + 1) ** 2).reshape(CLASSES + 1, CLASSES + 1)
    inside, wanted = np.diag(matrix), matrix.sum(1)
    iou = inside[wanted > 0] / (wanted + matrix.sum(0) - inside)[wanted > 0]
    return float(iou.mean())


def time_all(directory, repeat):
    truth = json.loads((directory / "truth.json").read_text())
    results = json.loads((directory / "results.json").read_text())
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    times = {versions("pycocotools"): coco_eval(COCO, COCOeval, directory, 1)}
    from faster_coco_eval import COCO as FasterCOCO, COCOeval_faster

    times[versions("faster-coco-eval")] = coco_eval(
        FasterCOCO, COCOeval_faster, directory, repeat, extra_calc=False)
    import hotcoco

    times[versions("hotcoco")] = coco_eval(hotcoco.COCO, hotcoco.COCOeval, directory, repeat)
    numpy_figures, miou = timed(lambda: confusion(truth, results), 1)
    times["NumPy mIoU"] = numpy_figures | {"miou": miou}
    print(json.dumps(times))


def annotate(directory, repeat):
    """A forward pass over embeddings in RAM, the best class of each mask, and greedy NMS by pycocotools' IoU."""
    import torch
    from pycocotools import mask as rle

    rows = json.loads((directory / "masks.json").read_text())
    embeddings = np.fromfile(directory / "embeddings.f16", np.float16).astype(np.float32).reshape(-1, 1024)
    weights = [np.fromfile(directory / f"layer{n}.f32", np.float32) for n in range(8)]
    widths = [1024, 512, 256, 128, len(weights[7])]
    layers = []
    for n in range(4):
        layer = torch.nn.Linear(widths[n], widths[n + 1])
        layer.weight.data = torch.from_numpy(weights[2 * n].reshape(widths[n + 1], widths[n]))
        layer.bias.data = torch.from_numpy(weights[2 * n + 1])
        layers += [layer] + ([torch.nn.ReLU()] if n < 3 else [])
    head = torch.nn.Sequential(*layers)
    embeddings = torch.from_numpy(embeddings)

    def run():
        kept = []
        with torch.no_grad():
            score, label = torch.cat([head(part).softmax(1) for part in embeddings.split(4096)]).max(1)
        score, label = score.numpy(), label.numpy()
        start = 0
        for masks in rows:
            of_image = slice(start, start + len(masks))
            start += len(masks)
            scores, labels = score[of_image], label[of_image]
            above = np.flatnonzero(scores >= 0.7)
            above = above[np.argsort(-scores[above], kind="stable")]
            shapes = [masks[at] for at in above]
            iou = rle.iou(shapes, shapes, [0] * len(shapes)) if shapes else np.zeros((0, 0))
            stays = []
            for place, at in enumerate(above):
                if all(labels[above[other]] != labels[at] or iou[other, place] <= 0.5 for other in stays):
                    stays.append(place)
            kept.append([(masks[above[at]], scores[above[at]], labels[above[at]]) for at in stays[:100]])
        return kept

    def export():
        annotations = []
        for image, masks in enumerate(kept):
            boxes = rle.toBbox([mask for mask, _, _ in masks]) if masks else []
            areas = rle.area([mask for mask, _, _ in masks]) if masks else []
            for (mask, score, label), box, area in zip(masks, boxes, areas):
                annotations.append({
                    "id": len(annotations) + 1, "image_id": image + 1, "category_id": int(label) + 1,
                    "segmentation": mask, "area": float(area), "bbox": box.tolist(), "iscrowd": 0, "score": float(score)})
        images = [{"id": n + 1, "file_name": f"{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in range(len(kept))]
        categories = [{"id": n + 1, "name": str(n)} for n in range(len(weights[7]))]
        with open(directory / "export.json", "w") as file:
            json.dump({"images": images, "annotations": annotations, "categories": categories}, file)

    figures, kept = timed(run, repeat)
    exported, _ = timed(export, repeat)
    print(json.dumps(figures | {
        "masks": len(embeddings), "kept": sum(map(len, kept)), "export_seconds": exported["seconds"]}))


def compare(directory, images, judged):
    """`images` of the COCO-like data sets and `judged` images to annotate; the peers did the middle one of each."""
    read = lambda name: json.loads((directory / f"{name}.json").read_text())
    evaluated = [read(f"{n}/ours") for n in images]
    ours, peers = evaluated[1], read(f"{images[1]}/peers")
    print(
        f"{ours['images']:,} images of 640 x 480 with {ours['objects']:,} objects and {ours['detections']:,} mask detections "
        f"of {CLASSES} classes, generated to COCO's statistics. grainstore's figures are from the store: reading masks, "
        "matching and SQL. The peers have everything in memory and are timed over `evaluate` and `accumulate` alone."
    )
    rows = [["grainstore, COCO's 12 mask figures", figure(ours["coco_seconds"]), "", ""]]
    for name, peer in peers.items():
        if "stats" in peer:
            worst = max(abs(a - b) for a, b in zip(peer["stats"], ours["stats"]))
            rows.append([name, figure(peer["seconds"]), f"{peer['seconds'] / ours['coco_seconds']:.1f}", f"{worst:.0e}"])
            assert not name.startswith("pycocotools") or worst < 1e-9
    peer = peers["NumPy mIoU"]
    difference = abs(peer["miou"] - ours["miou"])
    assert difference < 1e-12
    rows += [
        ["grainstore, mIoU with background", figure(ours["miou_seconds"]), "", ""],
        ["NumPy over decoded bitmaps", figure(peer["seconds"]), f"{peer['seconds'] / ours['miou_seconds']:.1f}",
         f"{difference:.0e}"],
    ]
    table(["", "seconds", "ratio", "largest difference"], rows)
    print("\ngrainstore at other sizes; the memory is that of the process that makes both reports, three times:")
    table(
        ["images", "detections", "import, s", "12 figures, s", "mIoU, s", "peak memory, MB"],
        [
            [f"{it['images']:,}", f"{it['detections']:,}",
             *(figure(it[key]) for key in ("import_seconds", "coco_seconds", "miou_seconds")), f"{it['memory_mb']:,.0f}"]
            for it in evaluated
        ],
    )
    annotated = [read(f"annotate-{n}") for n in judged]
    ours, peer = annotated[1], read("annotate_peer")
    assert abs(peer["kept"] - ours["kept"]) <= ours["kept"] / 1000
    print(
        f"\n{ours['images']:,} images of 100 masks with a trained head: judging, greedy suppression, and every row committed, "
        "after the checksums of what is read; and the kept masks as COCO JSON, which is read back before it takes its place. "
        "The peer is a PyTorch forward pass over the same embeddings in memory as f32 and greedy suppression over "
        f"pycocotools' IoU, without writing anything; and `json.dump` of areas and boxes by pycocotools. {ours['kept']:,} "
        f"masks kept, the peer's {peer['kept']:,}."
    )
    table(
        ["", "grainstore, s", "peer, s", "ratio"],
        [
            [name, figure(ours[mine]), figure(peer[theirs]), f"{peer[theirs] / ours[mine]:.2f}"]
            for name, mine, theirs in [
                ("annotation", "annotate_seconds", "seconds"), ("export to COCO JSON", "export_seconds", "export_seconds")
            ]
        ],
    )
    print("\ngrainstore at other sizes (the memory is also that of training the head and making the masks):")
    table(
        ["images", "masks", "kept", "annotate, s", "export, s", "peak memory, MB"],
        [
            [f"{it['images']:,}", f"{it['masks']:,}", f"{it['kept']:,}", figure(it["annotate_seconds"]),
             figure(it["export_seconds"]), f"{it['memory_mb']:,.0f}"]
            for it in annotated
        ],
    )


def main():
    command, directory, *rest = sys.argv[1:]
    option = lambda name, default: int(rest[rest.index(name) + 1]) if name in rest else default
    directory = Path(directory)
    match command:
        case "make":
            make(directory, option("--images", 5000))
        case "time":
            time_all(directory, option("--repeat", 3))
        case "annotate":
            annotate(directory, option("--repeat", 3))
        case "compare":
            compare(directory, *(part.split(",") for part in rest))


main()
