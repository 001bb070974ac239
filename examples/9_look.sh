#!/usr/bin/env bash
# Draws the photo, the annotation, all masks and the kept masks side by side, and writes a report about the head.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore show --where "split = 'test'" --head fine --limit 12 -o "$DIR/overlays.png"
grainstore report --head fine --split test -o "$DIR/fine.html"
