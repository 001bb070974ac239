#!/usr/bin/env bash
# Times extraction on a GPU beside the official package on the same GPU, weights and photos, in one run.
# Needs a program with the feature of each device, and a python3 with torch that sees the GPU, segment-anything, pillow and
# numpy; nothing is installed. Checkpoints hold random weights.
# GRAINSTORE: the program (default: target/release/grainstore). DEVICES: tch:cuda:0. MODELS: vit_b,vit_h. PRECISIONS: f32,bf16.
# AT_ONCE: photos at once, 1,3. PHOTOS: 96. DIR: where checkpoints, photos and stores go (default: target/bench-gpu).
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
program=${GRAINSTORE:-$target/release/grainstore}
dir=${DIR:-$target/bench-gpu}
mkdir -p "$dir"
python3 benches/gpu.py "$program" "$dir" "${DEVICES-tch:cuda:0}" "${MODELS:-vit_b,vit_h}" "${PRECISIONS:-f32,bf16}" "${AT_ONCE:-1,3}" "${PHOTOS:-96}"
