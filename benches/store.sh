#!/usr/bin/env bash
# Times ingest and SQL, and pylance on the same store, in one run. Needs python3, cargo and 3 GB of disk.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
python=$(python_env tests/parity/requirements.txt)
dir=${CARGO_TARGET_DIR:-target}/bench-store
mkdir -p "$dir"
cargo bench --quiet --locked --bench store -- "$(realpath "$dir")" > "$dir/store.json"
"$python" benches/store_peer.py "$dir/store.json" "$dir"
