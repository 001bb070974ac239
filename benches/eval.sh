#!/usr/bin/env bash
# Times evaluation beside pycocotools, faster-coco-eval, hotcoco and NumPy, annotation beside PyTorch with
# pycocotools' IoU, and export beside json.dump, in one run; and grainstore alone on a tenth and on ten times as much.
# Needs python3, cargo and 10 GB of disk (torch).
# IMAGES: of the COCO-like data; ANNOTATED: images of 100 masks to annotate. The peers take the middle ones.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
target=${CARGO_TARGET_DIR:-target}
python=$(python_env benches/requirements-eval.txt)
dir=$(mkdir -p "$target/bench-eval" && realpath "$target/bench-eval")
images=${IMAGES:-500,5000,50000} annotated=${ANNOTATED:-100,1000,10000}
ours() { cargo bench --quiet --locked --bench eval -- "$@"; }
middle() { cut -d, -f2 <<< "$1"; }
for count in ${images//,/ }; do
    mkdir -p "$dir/$count"
    [ -f "$dir/$count/results.json" ] || "$python" benches/eval_peer.py make "$dir/$count" --images "$count"
    ours coco "$dir/$count" > "$dir/$count/ours.json"
done
"$python" benches/eval_peer.py time "$dir/$(middle "$images")" > "$dir/$(middle "$images")/peers.json"
for count in ${annotated//,/ }; do
    write=()
    [ "$count" != "$(middle "$annotated")" ] || write=("$dir")
    ours annotate "$count" "${write[@]}" > "$dir/annotate-$count.json"
done
"$python" benches/eval_peer.py annotate "$dir" > "$dir/annotate_peer.json"
"$python" benches/eval_peer.py compare "$dir" "$images" "$annotated"
