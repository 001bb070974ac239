#!/usr/bin/env bash
# Predicts all masks of the test photos with both heads. Another policy does not need the embeddings again.
set -euo pipefail
. "$(dirname "$0")/common.sh"
for head in fine coarse; do
    grainstore annotate --head "$head" --where "split = 'test'"
    grainstore rethreshold --head "$head" --score-threshold 0.8 --min-predicted-iou 0.75
done
