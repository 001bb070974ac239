#!/usr/bin/env bash
# From words to masks: training images are made of class names, and the rest is as for any photos. Here the demo's scenes are
# drawn; with a Stable Diffusion server, set GENERATOR='--url http://127.0.0.1:7860'.
# PER_CLASS is the number of images of each class, TEST that of test photos, EPOCHS that of the passes of a phase of training.
set -euo pipefail
. "$(dirname "$0")/common.sh"
mkdir -p "$DIR"
cat > "$DIR/kinds.csv" <<'END'
class,label,supercategory
ball,ball,toy
crate,crate,thing
donut,donut,toy
leaf,leaf,plant
starfish,starfish,toy
tent,tent,thing
END
# shellcheck disable=SC2086 # GENERATOR is an option and its value
grainstore collect synthetic --classes "$DIR/kinds.csv" --per-class "${PER_CLASS:-33}" ${GENERATOR:---scenes} \
    --split train -o "$DIR/made"
[ -d "$DIR/photos" ] || grainstore demo --only-scenes --train-images 0 --test-images "${TEST:-60}" --where "$DIR/photos"
grainstore ingest coco --annotations "$DIR/photos/scenes/test.json" --images "$DIR/photos/scenes/test" --split test --dataset scenes
grainstore extract --checkpoint "$here/../assets/demo/sam_demo.safetensors" --points-per-side 8
grainstore classes add kinds --file "$DIR/kinds.csv"
grainstore train --name fine --classes kinds --loss mil+distill+refine --epochs "${EPOCHS:-40}"
grainstore annotate --head fine --where "split = 'test'"
grainstore eval --head fine --split test
