#!/usr/bin/env bash
# Times extraction with vit_b beside the official package on the same weights and photos, in one run.
# Needs python3, cargo and 6 GB of disk (torch). DIR/vit_b.pth holds random weights.
# SCENES: photos of the whole program's runs.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
target=${CARGO_TARGET_DIR:-target}
python=$(python_env benches/requirements-sam.txt)
dir=$(mkdir -p "$target/bench-extract" && realpath "$target/bench-extract")
[ -f "$dir/vit_b.pth" ] || "$python" benches/extract_peer.py make "$dir"
cargo bench --quiet --locked --bench extract -- "$dir/vit_b.pth" "$dir"/*.jpg > "$dir/ours.json"
"$python" benches/extract_peer.py time "$dir/vit_b.pth" "$dir"/*.jpg > "$dir/peer.json"
"$python" benches/extract_peer.py growth "$target/release/grainstore" "$dir" "${SCENES:-13,130,1300}" > "$dir/growth.json"
"$python" benches/extract_peer.py compare "$dir/ours.json" "$dir/peer.json" "$dir/growth.json"
