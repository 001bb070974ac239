#!/usr/bin/env bash
# Runs Segment Anything on every image, once. It can be stopped and started again at any time.
# For photos, use --checkpoint sam_vit_b_01ec64.pth; the model here is trained on generated scenes only.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore extract --checkpoint "$here/../assets/demo/sam_demo.safetensors" "$@"
grainstore query review/extractors
