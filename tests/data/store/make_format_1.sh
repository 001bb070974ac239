#!/usr/bin/env bash
# Makes format_1/: a store with rows in every table, as the program named wrote it, and what it answered.
#
#   tests/data/store/make_format_1.sh PROGRAM
#
# What lies here was made by grainstore 0.1.0 before stores had checksums, and is not to be made anew: it stands for the
# stores that people have.
set -euo pipefail
program=$(realpath "${1:?the program}")
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf format_1
export GRAINSTORE_STORE=$PWD/format_1
run() { "$program" --quiet "$@"; }

run demo --only-scenes --where "$work" --train-images 6 --test-images 3
cd "$work/scenes"
run init --embedding-dim 128
printf 'not a photo' > train/broken.jpg
run ingest images train --source synthetic --split train --dataset scenes || [ $? -eq 2 ]
run ingest coco --annotations test.json --images test --split test --dataset scenes
run extract --checkpoint "$OLDPWD/../extract/sharp.safetensors" --points-per-side 2
run classes add scenes --from ground-truth --dataset scenes
# The heads of this store have no weights: those of a trained one weigh 1.7 MB.
cat > results.json <<'JSON'
[{"image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40], "score": 0.9},
 {"image_id": 2, "category_id": 2, "bbox": [20, 10, 40, 40], "score": 0.8}]
JSON
run import coco-results results.json --head boxes --dataset scenes
run eval --head boxes --split test > /dev/null
run store tag first
