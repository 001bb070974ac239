#!/usr/bin/env bash
# Photos to work on: generated ones, 200 of one object each in a folder per kind, and 60 of several with COCO JSON.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore demo --only-scenes --where "$DIR" "$@"
