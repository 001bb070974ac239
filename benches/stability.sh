#!/usr/bin/env bash
# How far heads of the demo's scenes move from seed to seed, and by rounding alone: ten seeds of each recipe, and ten
# trainings of seed 0 whose initial weights differ by 1e-7. Needs python3 and cargo.
# GRAINSTORE: the program (default: target/release/grainstore). STORE: a demo's store (default: a new one). SEEDS: 10.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
program=${GRAINSTORE:-}
if [ -z "$program" ]; then
    cargo bench --quiet --locked --no-run --bench extract
    program=$target/release/grainstore
fi
program=$(realpath "$program")
work=$(mkdir -p "$target/stability" && realpath "$target/stability")
store=${STORE:-$work/demo/store}
if [ ! -d "$store" ]; then
    rm -rf "$work/demo"
    "$program" --quiet demo --where "$work/demo" > /dev/null
fi
python3 benches/stability.py "$program" "$store" "$work" "${SEEDS:-10}"
