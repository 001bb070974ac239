#!/usr/bin/env bash
# How long a click on the review page takes until the masks for it are there, beside the official package on the same weights,
# photos and points, in one run. Needs python3, cargo and 6 GB of disk (torch). DIR/vit_b.pth holds random weights.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
. benches/program.sh
python=$(python_env benches/requirements-sam.txt)
dir=$(mkdir -p "$target/bench-extract" && realpath "$target/bench-extract")
[ -f "$dir/vit_b.pth" ] || "$python" benches/extract_peer.py make "$dir"
"$python" benches/prompts.py "$program" "$dir/vit_b.pth" "$dir"/*.jpg
