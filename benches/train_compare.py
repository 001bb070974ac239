"""Prints what benches/train.rs and benches/train_peer.py measured.

    python train_compare.py DIR IMAGES
"""

import json
import sys
from pathlib import Path

from markdown import figure, table


def main(directory, images):
    read = lambda name: json.loads(Path(directory, name + ".json").read_text())
    epoch = lambda it: sum(it["epoch_seconds"]) / len(it["epoch_seconds"])
    memory = lambda it: f"{it['peak_memory_mb']:,.0f}"

    def row(name, it, ours=None):
        ratio = f"{epoch(it) / epoch(ours):.2f}" if ours else ""
        return [name, figure(it["seconds"]), figure(epoch(it)), memory(it), f"{it['validation_accuracy']:.3f}", ratio]

    mil, distilled = read("ours-mil"), read("ours-mil+distill")
    peer = read("ram-mil")
    print(
        f"{mil['images']:,} images of {mil['masks'] // mil['images']} masks of generated embeddings, 5 classes, the paper's "
        f"head, 64 images a step, {peer['epochs']} epochs. The peer is the paper's training in plain PyTorch "
        f"{peer['torch']} (`benches/train_peer.py`), with all embeddings in memory as one f32 tensor, or one `.pt` file an "
        'image. "In all" is with reading: for grainstore from the store, and with what it takes to hold a head against images '
        "it has not seen."
    )
    table(
        ["", "s in all", "s an epoch", "memory, MB", "accuracy", "epochs/s, grainstore's over it"],
        [
            row("grainstore, `--loss mil`", mil),
            row("PyTorch in memory, the same", peer, mil),
            row("PyTorch, one `.pt` an image, the same", read("files-mil"), mil),
            row("grainstore, `--loss mil+distill` (teacher and student)", distilled),
            row("PyTorch in memory, the same", read("ram-mil+distill"), distilled),
        ],
    )
    print("\ngrainstore, `--loss mil`, at other sizes:")
    sizes = [read(f"ours-mil-{int(images) // 10}"), mil, read(f"ours-mil-{int(images) * 10}")]
    table(
        ["images", "masks", "reading, s", "s an epoch", "images/s in an epoch", "memory, MB"],
        [
            [f"{it['images']:,}", f"{it['masks']:,}", figure(it["reading_seconds"]), figure(epoch(it)),
             figure(it["images"] / epoch(it)), memory(it)]
            for it in sizes
        ],
    )


main(*sys.argv[1:])
