#!/usr/bin/env bash
# Bytes a mask takes in the store of the demo, beside files of PyTorch as the paper's code keeps masks. Needs python3,
# cargo and 6 GB of disk (torch).
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
target=${CARGO_TARGET_DIR:-target}
program=$target/release/grainstore
store=$target/bench-demo/store
[ -d "$store" ] || benches/demo.sh > /dev/null
python=$(python_env benches/requirements-eval.txt)
dir=$(mkdir -p "$target/bench-layout" && realpath "$target/bench-layout")
"$program" --store "$store" store info --json > "$dir/info.json"
"$program" --store "$store" sql --format json -o "$dir/masks.json" "
    SELECT image_id, rle, embedding FROM masks
    WHERE image_id IN (SELECT image_id FROM images ORDER BY image_id LIMIT 40)
    ORDER BY image_id, mask_index"
"$python" benches/layout_peer.py "$dir"
