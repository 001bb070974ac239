#!/usr/bin/env bash
# Times embedding networks beside PyTorch on the same weights, in one run.
# Needs python3, cargo and 8 GB of disk (torch).
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
target=${CARGO_TARGET_DIR:-target}
python=$(python_env benches/requirements-embed.txt)
dir=$(mkdir -p "$target/bench-embed" && realpath "$target/bench-embed")
[ -d "$dir/weights" ] || "$python" benches/embed_peer.py make "$dir/weights"
cargo bench --quiet --locked --bench embed -- "$dir/weights" > "$dir/ours.json"
"$python" benches/embed_peer.py time "$dir/weights" > "$dir/peer.json"
"$python" benches/embed_peer.py compare "$dir/ours.json" "$dir/peer.json"
