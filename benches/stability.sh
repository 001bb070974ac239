#!/usr/bin/env bash
# How far heads of the demo's scenes move from seed to seed, and by rounding alone: ten seeds of each recipe, and ten
# trainings of seed 0 whose initial weights differ by 1e-7. Needs python3 and cargo.
# GRAINSTORE: the program (default: target/release/grainstore). STORE: a demo's store (default: a new one). SEEDS: 10.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=stability
. benches/demo_store.sh
python3 benches/stability.py "$program" "$store" "$work" "${SEEDS:-10}"
