#!/usr/bin/env bash
# Two sets of classes, two heads, from the labels of whole images; no photo is read.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore classes add kinds --from labels --dataset scenes
grainstore classes add groups --file "$here/demo/groups.toml"
grainstore train --name fine --classes kinds "$@"
grainstore train --name coarse --classes groups "$@"
grainstore heads list
