#!/usr/bin/env bash
# How format_1_eval was made, with grainstore 0.1.0 (format 1), whose sources are those before the commit "Format 2 says what is
# imported". It is never made anew.
#   make_format_1_eval.sh GRAINSTORE CHECKPOINT PYTHON DIR    CHECKPOINT: the demo's
set -euo pipefail
here=$(realpath "$(dirname "$0")") program=$(realpath "$1") checkpoint=$(realpath "$2") python=$3
mkdir -p "$4" && cd "$4"
gs() { "$program" --quiet "$@"; }
gs demo --where photos --train-images 10 --test-images 6 --only-scenes
filled() {
    gs --store "$1" ingest images photos/scenes/train --source synthetic --dataset train
    gs --store "$1" ingest coco --annotations photos/scenes/test.json --images photos/scenes/test --split test --dataset scenes
    gs --store "$1" extract --checkpoint "$checkpoint" --points-per-side 5
    gs --store "$1" classes add kinds --from labels
}
# A head of today's size is 3 MB, so the store gets a small one like it.
filled large
gs --store large train --name trained --classes kinds --loss mil --epochs 40
gs --store large heads export trained -o trained.safetensors
"$python" "$here/make_format_1_head.py" large trained.safetensors linear.safetensors
filled format_1_eval
gs --store format_1_eval heads import linear.safetensors
gs --store format_1_eval annotate --head linear --score-threshold 0.3
gs --store format_1_eval eval --head linear --dataset scenes --split test
