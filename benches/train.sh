#!/usr/bin/env bash
# Times training a head on 4,000 images x 100 masks beside a plain PyTorch script, in one run; and grainstore alone on a
# tenth and on ten times as many. Needs python3, cargo and 25 GB of disk (torch, and the embeddings twice).
# EPOCHS: passes for the teacher, and again for the student; IMAGES: other than 4,000.
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
for count in $((images / 10)) $((images * 10)); do
    ours --epochs "$epochs" --loss mil --images "$count" > "$dir/ours-mil-$count.json"
done
"$python" benches/train_compare.py "$dir" "$images"
