#!/usr/bin/env bash
# A cluster whose processes have a network between them: the scheduler and two executors in network namespaces of their own, joined by
# a bridge. Compares extraction and a query with one process. Needs Linux, root and ip (iproute2).
#   benches/network.sh PROGRAM DIR     PROGRAM has the feature 'cluster'; DIR is removed and made anew
set -euo pipefail
program=$(realpath "$1")
dir=$2
base=10.9.0 scheduler=10.9.0.1:50050
pids=()
clean() {
    kill "${pids[@]}" 2> /dev/null || true
    for n in 1 2 3; do ip netns del "grain$n" 2> /dev/null || true; done
    ip link del grainbr 2> /dev/null || true
}
trap clean EXIT
clean
ip link add grainbr type bridge
ip addr add $base.254/24 dev grainbr
ip link set grainbr up
for n in 1 2 3; do
    ip netns add "grain$n"
    ip link add "grainv$n" type veth peer name eth0 netns "grain$n"
    ip link set "grainv$n" master grainbr up
    ip -n "grain$n" addr add $base.$n/24 dev eth0
    ip -n "grain$n" link set eth0 up
    ip -n "grain$n" link set lo up
done
rm -rf "$dir"
mkdir -p "$dir"
gs() { "$program" --quiet --store "$dir/$1" "${@:2}"; }
"$program" --quiet demo --where "$dir/demo" --only-scenes --train-images 40 --test-images 1
extract=(extract --checkpoint "$dir/demo/sam_demo.safetensors" --points-per-side 4)
for store in cluster alone; do gs $store ingest images "$dir/demo/scenes/train" --dataset scenes; done
ip netns exec grain1 "$program" scheduler --bind $scheduler > "$dir/scheduler.log" 2>&1 &
pids+=($!)
sleep 2
for n in 2 3; do
    ip netns exec "grain$n" "$program" executor --scheduler $scheduler --bind "$base.$n:50060" > "$dir/executor$n.log" 2>&1 &
    pids+=($!)
done
gs cluster "${extract[@]}" --cluster $scheduler --chunk-images 4
gs alone "${extract[@]}"
rows="SELECT image_id, mask_index, rle['counts'] AS counts, predicted_iou FROM masks ORDER BY 1, 2"
gs alone sql "$rows" --format csv > "$dir/alone.csv"
gs cluster sql "$rows" --format csv | cmp - "$dir/alone.csv"
gs cluster sql "$rows" --format csv --cluster $scheduler --cluster-rows 0 | cmp - "$dir/alone.csv"
gs cluster store index create masks --kind ivf_flat --cluster $scheduler
echo "$(($(wc -l < "$dir/alone.csv") - 1)) masks are those of one process"
