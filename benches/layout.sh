#!/usr/bin/env bash
# Bytes a mask takes in the store of the demo, beside files of PyTorch as the paper's code keeps masks. Needs python3,
# ./run demo before, and 6 GB of disk (torch).
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
target=${CARGO_TARGET_DIR:-target}
program=$target/demo-grainstore
store=target/demo/store
if [ ! -d "$store" ] || [ ! -x "$program" ]; then
    echo "run './run demo' first" >&2
    exit 1
fi
python=$(python_env benches/requirements-eval.txt)
dir=$(mkdir -p "$target/bench-layout" && realpath "$target/bench-layout")
"$program" --store "$store" store info --json > "$dir/info.json"
"$program" --store "$store" sql --format json -o "$dir/masks.json" "
    SELECT image_id, rle, embedding FROM masks
    WHERE image_id IN (SELECT image_id FROM images ORDER BY image_id LIMIT 40)
    ORDER BY image_id, mask_index"
"$python" benches/layout_peer.py "$dir"
