#!/usr/bin/env bash
# Times evaluation beside pycocotools, faster-coco-eval, hotcoco and NumPy, and annotation beside PyTorch with
# pycocotools' IoU, in one run. Needs python3, cargo and 6 GB of disk (torch).
# IMAGES: of the COCO-like data; ANNOTATED: images of 100 masks to annotate.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
target=${CARGO_TARGET_DIR:-target}
python=$(python_env benches/requirements-eval.txt)
dir=$(mkdir -p "$target/bench-eval" && realpath "$target/bench-eval")
[ -f "$dir/results.json" ] || "$python" benches/eval_peer.py make "$dir" --images "${IMAGES:-5000}"
cargo bench --quiet --locked --bench eval -- "$dir" --images "${ANNOTATED:-1000}" > "$dir/ours.json"
"$python" benches/eval_peer.py time "$dir" > "$dir/peers.json"
"$python" benches/eval_peer.py annotate "$dir" > "$dir/annotate_peer.json"
"$python" benches/eval_peer.py compare "$dir"
