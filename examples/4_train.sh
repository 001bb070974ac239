#!/usr/bin/env bash
# Trains two heads for two class sets, from image-level labels. No photo is read.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore classes add kinds --from labels --dataset scenes
grainstore classes add groups --file "$here/../assets/demo/groups.toml"
grainstore train --name fine --classes kinds "$@"
grainstore train --name coarse --classes groups "$@"
grainstore heads list
