#!/bin/sh
# Times grainstore's geometry layer and pycocotools on the same masks, in one run, and prints a
# table: ours, pycocotools, ratio (above 1: ours is faster). Needs python3 and cargo.
#
#     benches/geometry.sh
set -eu
cd "$(dirname "$0")/.."
venv=target/venv-bench
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet pycocotools==2.0.11 numpy==2.4.6
fi
cargo bench --quiet --bench geometry >/dev/null
"$venv/bin/python" benches/geometry_peer.py target/geometry-bench
