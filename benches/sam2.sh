#!/usr/bin/env bash
# Times extraction with SAM 2 beside the official package on the same weights and photos, in one run.
# Needs python3, cargo and 8 GB of disk (torch). The weights are random: tests/data/sam2/make_sam2.py makes them.
# SIZES: which models.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
target=${CARGO_TARGET_DIR:-target}
python=$(python_env benches/requirements-sam2.txt)
# sam2 is built from source, with the torch that is there.
"$python" -c 'import sam2' 2>/dev/null ||
    SAM2_BUILD_CUDA=0 "$python" -m pip install --quiet --disable-pip-version-check --no-build-isolation sam2==1.1.0 >&2
for size in ${SIZES:-tiny base_plus}; do
    dir=$(mkdir -p "$target/bench-sam2/$size" && realpath "$target/bench-sam2/$size")
    if [ ! -f "$dir/model.pt" ]; then
        "$python" tests/data/sam2/make_sam2.py --model "$size" "$dir"
        "$python" benches/sam2_peer.py photos "$dir"
    fi
    cargo bench --quiet --locked --bench extract -- "$dir/model.pt" "$dir"/*.jpg > "$dir/ours.json"
    "$python" benches/sam2_peer.py time "$size" "$dir/model.pt" "$dir"/*.jpg > "$dir/peer.json"
    "$python" benches/sam2_peer.py compare "$size" "$dir/ours.json" "$dir/peer.json"
done
