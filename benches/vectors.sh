#!/usr/bin/env bash
# Times scans of vectors, exact and indexed neighbours and a linear head over ROWS vectors of DIM numbers, and pylance's own
# exact search on the same dataset. Needs python3, cargo and 5 GB of disk.
# REAL: a file of vectors as 32-bit numbers that are repeated with noise; without it, vectors are drawn at random.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
target=${CARGO_TARGET_DIR:-target}
python=$(python_env benches/requirements-vectors.txt)
dir=$(mkdir -p "$target/bench-vectors" && realpath "$target/bench-vectors")
rows=${ROWS:-1000000}
rm -rf "$dir/store"
# shellcheck disable=SC2086
cargo bench --quiet --locked --bench vectors -- "$dir/store" "$rows" "${DIM:-768}" ${REAL:-} > "$dir/ours.json"
"$python" benches/vectors_peer.py time "$dir/store" "$rows" > "$dir/peer.json"
"$python" benches/vectors_peer.py compare "$dir/ours.json" "$dir/peer.json"
