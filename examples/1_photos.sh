#!/usr/bin/env bash
# Generates photos: 200 of one object each, in a folder per kind, and 60 of several objects, with COCO JSON.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore demo --only-scenes --where "$DIR" "$@"
