#!/usr/bin/env bash
# Times extraction with vit_b beside the official package on the same weights and photos, in one run.
# Needs python3, cargo and 6 GB of disk (torch). DIR/vit_b.pth holds random weights.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
venv=$target/venv-bench-extract
if [ ! -f "$venv/ready" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r benches/requirements-sam.txt
    touch "$venv/ready"
fi
dir=$(mkdir -p "$target/bench-extract" && realpath "$target/bench-extract")
[ -f "$dir/vit_b.pth" ] || "$venv/bin/python" benches/extract_peer.py make "$dir"
cargo bench --quiet --locked --bench extract --no-run
cargo bench --quiet --locked --bench extract -- "$dir/vit_b.pth" "$dir"/*.jpg > "$dir/ours.json"
"$venv/bin/python" benches/extract_peer.py time "$dir/vit_b.pth" "$dir"/*.jpg > "$dir/peer.json"
"$venv/bin/python" benches/extract_peer.py compare "$dir/ours.json" "$dir/peer.json"
