#!/usr/bin/env bash
# Every mask of the test photos judged by both heads; another policy needs no second look at the embeddings.
set -euo pipefail
. "$(dirname "$0")/common.sh"
for head in fine coarse; do
    grainstore annotate --head "$head" --where "split = 'test'"
    grainstore rethreshold --head "$head" --score-threshold 0.8 --min-predicted-iou 0.75
done
