#!/usr/bin/env bash
# Heads of scenes that no figure is reported on, over several options and seeds: what the defaults of refined heads were chosen by.
#   benches/options.sh
# GRAINSTORE: the program (default: target/release/grainstore). STORE: the store of a demo with --scene-seed 7 (default: a new one).
# SEEDS: 5.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=options
demo_options=(--scene-seed 7)
. benches/demo_store.sh
python3 benches/options.py "$program" "$store" "$work" "${SEEDS:-5}"
