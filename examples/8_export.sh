#!/usr/bin/env bash
# Exports for training (COCO JSON, VOC, YOLO, label maps), for evaluation (COCO results), for correction (CVAT, Label Studio) and for data
# frames (Parquet).
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore export coco --head fine --supercategories groups -o "$DIR/fine.json"
grainstore export coco --head fine --segmentation polygon -o "$DIR/fine_polygons.json"
grainstore export coco --head fine --format results -o "$DIR/fine_results.json"
grainstore export coco --ground-truth --dataset scenes --split test -o "$DIR/truth.json"
grainstore export voc --head fine --copy-images -o "$DIR/voc"
grainstore export yolo --head fine -o "$DIR/yolo"
grainstore export label-maps --head fine -o "$DIR/maps"
grainstore export cvat --head fine --no-images -o "$DIR/to_cvat"
grainstore export label-studio --head fine --polygons -o "$DIR/to_label_studio"
grainstore export parquet --head fine -o "$DIR/fine.parquet"
