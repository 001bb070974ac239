#!/usr/bin/env bash
# Times ingest and SQL, and pylance on the same store, in one run. Needs python3, cargo and 3 GB of disk.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
venv=$target/venv-bench-store
if [ ! -f "$venv/ready" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r tests/parity/requirements.txt
    touch "$venv/ready"
fi
dir=$target/bench-store
mkdir -p "$dir"
cargo bench --quiet --locked --bench store -- "$(realpath "$dir")" > "$dir/store.json"
"$venv/bin/python" benches/store_peer.py "$dir/store.json" "$dir"
