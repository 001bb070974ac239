#!/usr/bin/env bash
# mIoU and COCO's figures, as SQL; the fine head also in the coarse classes; both heads compared.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore eval --head fine --split test
grainstore eval --head fine --split test --classes groups
grainstore compare --head coarse --with fine --split test
