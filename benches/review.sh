#!/usr/bin/env bash
# A simulated reviewer: ground truth answers the masks of each queue, 20 to 800 of them, and the head learns from the answers;
# its metrics on other photos, beside those with all masks labelled. On the scenes of the demo, and on real photos if
# benches/real_photos.sh has made their store. Needs python3 and cargo.
# GRAINSTORE: the program (default: target/release/grainstore). STORE: a demo's store (default: a new one). PHOTOS: the store of
# real photos (default: target/real-photos/store). SEEDS: 3.
set -euo pipefail
cd "$(dirname "$0")/.."
bench=review
. benches/demo_store.sh
# The labelled scenes have no annotations, so the pool is half of the others.
half="split = 'test' AND image_id < '8'"
rest="split = 'test' AND image_id >= '8'"
python3 benches/review.py "$program" "$store" "$work" "${SEEDS:-3}" scenes kinds "$half" "$rest" --epochs 40
photos=${PHOTOS:-$target/real-photos/store}
if [ -d "$photos" ]; then
    query="SELECT extractor_id FROM extractors WHERE kind = 'imported masks'"
    extractor=$("$program" --quiet --store "$photos" sql "$query" --format csv | tail -1)
    python3 benches/review.py "$program" "$photos" "$work" "${SEEDS:-3}" photos voc "dataset = 'coco' AND split = 'train'" \
        "dataset = 'coco' AND split = 'val'" --where "dataset = 'web' OR split = 'train'" --extractor "$extractor" --vectors efficientnet_lite0
fi
