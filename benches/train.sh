#!/usr/bin/env bash
# Times training a head on 4,000 images x 100 masks beside a plain PyTorch script, in one run.
# Needs python3, cargo and 8 GB of disk (torch, and the embeddings twice).
# EPOCHS: passes for the teacher, and again for the student.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
target=${CARGO_TARGET_DIR:-target}
python=$(python_env benches/requirements-sam.txt)
dir=$(mkdir -p "$target/bench-train" && realpath "$target/bench-train")
images=${IMAGES:-4000} epochs=${EPOCHS:-3}
ours() { cargo bench --quiet --locked --bench train -- --images "$images" "$@"; }
[ -f "$dir/labels.txt" ] && [ "$(wc -l < "$dir/labels.txt")" = "$images" ] || ours --write "$dir"
for loss in mil mil+distill; do
    ours --epochs "$epochs" --loss "$loss" > "$dir/ours-$loss.json"
    "$python" benches/train_peer.py "$dir" --epochs "$epochs" --loss "$loss" > "$dir/ram-$loss.json"
done
"$python" benches/train_peer.py "$dir" --epochs "$epochs" --loss mil --source files > "$dir/files-mil.json"
ours --epochs "$epochs" --loss mil --images $((images / 4)) > "$dir/quarter-mil.json"
"$python" - "$dir" <<'PY'
import json, sys
from pathlib import Path
read = lambda name: json.loads(Path(sys.argv[1], name + ".json").read_text())
show = lambda name, it: print(
    f"{name:24} {it['seconds']:8.1f} s in all, {sum(it['epoch_seconds']) / len(it['epoch_seconds']):6.2f} s an epoch, "
    f"{it['peak_memory_mb']:6.0f} MB, accuracy {it['validation_accuracy']:.3f}")
rate = lambda it: len(it["epoch_seconds"]) / sum(it["epoch_seconds"])
for loss in ["mil", "mil+distill"]:
    ours, ram = read("ours-" + loss), read("ram-" + loss)
    show(f"grainstore, {loss}", ours)
    show(f"PyTorch in RAM, {loss}", ram)
    print(f"  epochs/s: {rate(ours) / rate(ram):.2f}x")
files, quarter = read("files-mil"), read("quarter-mil")
show("PyTorch, a .pt an image", files)
print(f"  epochs/s: {rate(read('ours-mil')) / rate(files):.2f}x")
show("grainstore, a quarter", quarter)
print(f"  s an epoch, all / a quarter of the rows: {rate(quarter) / rate(read('ours-mil')):.2f}")
PY
