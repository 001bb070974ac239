#!/usr/bin/env bash
# Adds photos and annotations to a store: folders become labels, COCO annotations become rows.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore ingest images "$DIR/scenes/train" --source synthetic --split train --dataset scenes
grainstore ingest coco --annotations "$DIR/scenes/test.json" --images "$DIR/scenes/test" --split test --dataset scenes
grainstore query review/datasets
