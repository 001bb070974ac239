#!/usr/bin/env bash
# Exports for training (COCO JSON, VOC), for evaluation (COCO results) and for data frames (Parquet).
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore export coco --head fine --supercategories groups -o "$DIR/fine.json"
grainstore export coco --head fine --segmentation polygon -o "$DIR/fine_polygons.json"
grainstore export coco --head fine --format results -o "$DIR/fine_results.json"
grainstore export coco --ground-truth --dataset scenes --split test -o "$DIR/truth.json"
grainstore export voc --head fine --copy-images -o "$DIR/voc"
grainstore export parquet --head fine -o "$DIR/fine.parquet"
