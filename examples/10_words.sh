#!/usr/bin/env bash
# Classes from words: masks of Segment Anything, vectors of CLIP, and a head made of the classes' names. Nothing is trained.
# Give SAM and CLIP the files of the weights, for instance
#   SAM=sam_vit_b_01ec64.pth CLIP=clip-vit-base-patch32/ COCO=coco examples/10_words.sh
# COCO holds instances.json (or ANNOTATIONS names it) and the folder images (or IMAGES names it).
set -euo pipefail
. "$(dirname "$0")/common.sh"
: "${SAM:?name the weights of Segment Anything}" "${CLIP:?name the weights of CLIP}"
COCO=${COCO:-coco}
grainstore init --embedding-dim "${EMBEDDING_DIM:-1024}"
grainstore ingest coco --annotations "${ANNOTATIONS:-$COCO/instances.json}" --images "${IMAGES:-$COCO/images}" \
    --split val --dataset coco || [ $? -eq 2 ]
grainstore extract --checkpoint "$SAM" "$@"
grainstore embed --checkpoint "$CLIP" --pool crop --name clip
grainstore heads zero-shot words --classes coco --embedder clip --checkpoint "$CLIP"
grainstore annotate --head words --score-threshold 0.7
grainstore eval --head words --dataset coco --split val
grainstore search --text 'a photo of a cat' --vectors clip --checkpoint "$CLIP" -k 12 -o "$DIR/cats.png"
