#!/usr/bin/env bash
# Times every format, out and in, on a million generated masks, and datumaro on part of them, in one run. Needs python3, cargo and
# 12 GB of disk.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
python=$(python_env benches/requirements-formats.txt)
target=${CARGO_TARGET_DIR:-target}
dir=$target/bench-formats
rm -rf "$dir"
mkdir -p "$dir"
cargo build --quiet --release --locked --bin grainstore
"$python" benches/formats.py "$target/release/grainstore" "$dir" "${FORMATS_IMAGES:-10000}"
rm -rf "$dir"
