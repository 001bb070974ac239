#!/usr/bin/env bash
# Computes mIoU and COCO's metrics with SQL, for the fine head also in the coarse classes, and compares both heads.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore eval --head fine --split test
grainstore eval --head fine --split test --classes groups
grainstore compare --head coarse --with fine --split test
