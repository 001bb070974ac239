#!/usr/bin/env bash
# Times grainstore's geometry layer and pycocotools on the same masks, in one run, and prints a
# table: ours, pycocotools, ratio (above 1: ours is faster). Needs python3 and cargo.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
python=$(python_env tests/parity/requirements.txt)
cargo bench --quiet --locked --bench geometry >/dev/null
"$python" benches/geometry_peer.py target/geometry-bench
