#!/usr/bin/env bash
# Trains heads on real photos from labels of whole images, with trained weights, and holds them against annotated objects.
#   benches/real_photos.sh [DATA]    DATA has coco-mini and web-images (default: ../shared/data)
# GRAINSTORE: the program (default: target/release/grainstore). SEEDS: of training (default: 0 to 4). Everything is made
# below target/real-photos; stopped, it goes on where it was. Needs python3 and 2 GB of disk. No photo is copied.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/python.sh
data=$(realpath "${1:-../shared/data}")
target=${CARGO_TARGET_DIR:-target}
program=$(realpath "${GRAINSTORE:-$target/release/grainstore}")
seeds=${SEEDS:-0 1 2 3 4}
python=$(python_env benches/requirements-real.txt)
dir=$(mkdir -p "$target/real-photos" && realpath "$target/real-photos")
here=$PWD/benches/real_photos
export GRAINSTORE_STORE=$dir/store
gs() { "$program" --quiet "$@"; }

# Runs a stage once, and notes its seconds.
once() {
    local name=$1
    shift
    [ ! -f "$dir/done/$name" ] || return 0
    local started=$EPOCHREALTIME
    "$@"
    mkdir -p "$dir/done"
    awk "BEGIN { print $EPOCHREALTIME - $started }" > "$dir/done/$name.part"
    mv "$dir/done/$name.part" "$dir/done/$name"
}

# The photos; the labels of coco-mini's images are the categories of their annotations.
ingest() {
    gs ingest images "$data/web-images" --source web --dataset web
    for split in train val; do
        gs ingest coco --annotations "$data/coco-mini/annotations/instances_${split}2017.json" \
            --images "$data/coco-mini/${split}2017" --split $split --dataset coco
    done
    gs classes add voc --file examples/classes/voc.toml
    gs classes add groups --file examples/classes/voc_groups.toml
}
once ingest ingest
[ -f "$dir/efficientnet_lite0.pth" ] || "$python" benches/real_photos.py weights "$dir/efficientnet_lite0.pth"

# Masks that no network made: objects, and segments (see real_photos.py). Their vectors, and what is near what.
once masks "$python" benches/real_photos.py masks "$data" "$dir/masks.json"
once import gs import masks --coco "$dir/masks.json"
extractor() { gs sql "SELECT extractor_id FROM extractors WHERE kind = '$1'" --format csv | tail -1; }
# embed MASKS
embed() {
    once "embed-$1" gs embed --checkpoint "$dir/efficientnet_lite0.pth" --context 1.1 --extractor "${!1}"
    [ -f "$dir/$1.csv" ] || gs query --file "$here/objects.sql" --param extractor="${!1}" -o "$dir/$1.csv"
}
objects=$(extractor 'imported masks')
embed objects
once neighbours gs query --file "$here/neighbours.sql" --param extractor="$objects" -o "$dir/neighbours.csv"
[ -f "$dir/images.csv" ] ||
    gs query eval/evaluated_images --param dataset=coco --param split=val -o "$dir/images.csv"

# train HEAD SET MASKS VECTORS WHERE OPTIONS...
train() {
    gs train --name "$1" --classes "$2" --extractor "${!3}" --vectors "$4" --where "$5" "${@:6}" > "$dir/$1.part"
    mv "$dir/$1.part" "$dir/$1.txt"
}

# The classes of all masks of some images, and what is kept under a threshold: annotated HEAD WHERE THRESHOLD
annotated() {
    gs annotate --head "$1" --where "$2" --score-threshold "$3" > /dev/null
}

# What the program says of a head's annotation of val under a threshold, and the rows that it comes from.
evaluated() {
    local head=$1 threshold=$2 base=$dir/$1-$2
    [ ! -f "$base.json" ] || return 0
    annotated "$head" "split = 'val'" "$threshold"
    for query in matches image_pixels; do
        gs query "eval/$query" --param head="$head" --param dataset=coco --param split=val -o "$base-$query.csv"
    done
    gs eval --head "$head" --dataset coco --split val --dry-run --json > "$base.part"
    mv "$base.part" "$base.json"
}

# The class that a head predicts for every mask of val.
predicted() {
    [ -f "$dir/$1.csv" ] || gs sql "
        SELECT DISTINCT p.image_id, p.mask_index, p.class
        FROM predictions p JOIN heads h USING (head_id) JOIN images i USING (image_id)
        WHERE h.head = '$1' AND i.split = 'val'" -o "$dir/$1.csv"
}

# Options and thresholds are chosen on a quarter of coco-mini's training images (those whose id, a hash, begins with 0 to 3);
# the heads of that choice train on the others.
training="dataset = 'web' OR split = 'train'"
rest="dataset = 'web' OR (split = 'train' AND image_id >= '4')" quarter="split = 'train' AND image_id < '4'"
choose() {
    for set in voc groups; do
        for seed in 0 1; do
            for a in 20 5; do
                for unc in 0.15 0.02; do
                    local head=choose-$set-$a-$unc-$seed
                    [ -f "$dir/$head.txt" ] || train "$head" $set objects efficientnet_lite0 "$rest" -a $a --lambda-unc $unc --seed $seed
                    for threshold in 0.7 0.5 0.3 0.2 0.1; do
                        for loss in '' .teacher; do
                            # All heads of one seed and a have the same teacher.
                            [ "$loss$unc" != .teacher0.02 ] || continue
                            local json=$dir/$head$loss-$threshold.json
                            [ ! -f "$json" ] || continue
                            annotated "$head$loss" "$quarter" $threshold
                            gs eval --head "$head$loss" --dataset coco --where "$quarter" --dry-run --json > "$json.part"
                            mv "$json.part" "$json"
                        done
                    done
                done
            done
        done
    done
}
once choose choose
"$python" benches/real_photos_table.py choose "$dir" > "$dir/chosen.json"
chosen() { "$python" -c "import json, sys; print(json.load(open('$dir/chosen.json'))['$1']['$2'])"; }

# heads SET MASKS NAME VECTORS: heads over some vectors, with the program's defaults; the teacher is what --loss mil trains.
heads() {
    for seed in $seeds; do
        local head=$2-$3-$1-$seed
        [ -f "$dir/$head.txt" ] || train "$head" "$1" "$2" "$4" "$training" --seed "$seed"
        evaluated "$head" 0.7
        evaluated "$head" "$(chosen "$1" distill)"
        evaluated "$head.teacher" 0.7
        evaluated "$head.teacher" "$(chosen "$1" mil)"
        predicted "$head"
        predicted "$head.teacher"
    done
}
for set in voc groups; do
    once "heads-$set-objects" heads $set objects vectors efficientnet_lite0
done

# The options that did best in the choice.
best() {
    for set in voc groups; do
        for seed in $seeds; do
            local head=objects-best-$set-$seed
            [ -f "$dir/$head.txt" ] || train "$head" $set objects efficientnet_lite0 "$training" \
                -a "$(chosen $set a)" --lambda-unc "$(chosen $set unc)" --loss "$(chosen $set loss)" --seed "$seed"
            evaluated "$head" 0.7
            evaluated "$head" "$(chosen $set best)"
            predicted "$head"
        done
    done
}
once best best

# Recipes of training, each under a map that is voted and one that is painted, with all masks kept.
declare -A recipes=(
    [mil]="--loss mil" [distill]="" [refine]="--loss mil+distill+refine" [paper]="--recipe paper" [mil5]="--loss mil -a 5"
    [refine5]="--loss mil+distill+refine -a 5 --lambda-unc 0.02"
)
recipes() {
    for recipe in "${!recipes[@]}"; do
        for seed in $seeds; do
            local head=recipe-$recipe-$seed
            # shellcheck disable=SC2086 # options
            [ -f "$dir/$head.txt" ] || train "$head" voc objects efficientnet_lite0 "$training" ${recipes[$recipe]} --seed "$seed"
            for map in vote:0.5 vote:0.3 paint; do
                local json=$dir/$head-$map.json
                [ ! -f "$json" ] || continue
                gs annotate --head "$head" --where "split = 'val'" --score-threshold 0 --map "$map" > /dev/null
                gs eval --head "$head" --dataset coco --split val --dry-run --json > "$json.part"
                mv "$json.part" "$json"
            done
        done
    done
}
once recipes recipes

# predict() in SQL must say what 'annotate' stored.
differing=$(gs sql "
    SELECT count(*) AS differing
    FROM vectors.efficientnet_lite0 v
    JOIN (SELECT DISTINCT p.image_id, p.extractor_id, p.mask_index, p.class
          FROM predictions p JOIN heads h USING (head_id) JOIN images i USING (image_id)
          WHERE h.head = 'objects-vectors-voc-0' AND i.split = 'val') p
        ON v.extractor_id = p.extractor_id AND v.image_id = p.image_id AND v.mask_index = p.mask_index
    WHERE predict('objects-vectors-voc-0', v.vector, v.extractor_id).class <> p.class" --format csv | tail -1)
[ "$differing" = 0 ] || { echo "predict() and annotate differ on $differing masks" >&2; exit 1; }

# Masks of the demo's model, which never saw a photo.
once extract gs extract --checkpoint assets/demo/sam_demo.safetensors --vectors neck,token
sam=$(extractor sam)
embed sam
for set in voc groups; do
    once "heads-$set-sam-tokens" heads $set sam tokens tokens
    once "heads-$set-sam-vectors" heads $set sam vectors efficientnet_lite0
    once "heads-$set-sam-both" heads $set sam both tokens,efficientnet_lite0
    once "heads-$set-sam-own" heads $set sam own tokens,sam_neck,sam_token,shape
done
gs sql "SELECT m.kind, e.extractor_id, count(*) AS images, sum(e.masks) AS masks, sum(e.seconds) AS seconds
        FROM extractions e JOIN extractors m USING (extractor_id) GROUP BY ALL" -o "$dir/extractions.csv"
gs sql "SELECT d.embedder, m.kind, count(*) AS images, sum(e.vectors) AS vectors, sum(e.seconds) AS seconds
        FROM embeddings e JOIN embedders d USING (embedder_id) JOIN extractors m USING (extractor_id) GROUP BY ALL" \
    -o "$dir/embeddings.csv"
"$python" benches/real_photos_table.py tables "$dir"
