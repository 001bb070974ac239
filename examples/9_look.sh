#!/usr/bin/env bash
# Photo, annotation, all masks and what the head keeps, side by side; and a page about the head.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore show --where "split = 'test'" --head fine --limit 12 -o "$DIR/overlays.png"
grainstore report --head fine --split test -o "$DIR/fine.html"
