#!/usr/bin/env bash
# Segment Anything over every image, once. Stop it and start it again as you like.
# For photos: --checkpoint sam_vit_b_01ec64.pth; the model here knows nothing but generated scenes.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore extract --checkpoint "$here/demo/sam_demo.safetensors" "$@"
grainstore query review/extractors
