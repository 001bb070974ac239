#!/usr/bin/env bash
# Queries the store, in which everything is a table.
set -euo pipefail
. "$(dirname "$0")/common.sh"
grainstore sql "
    SELECT p.class, count(*) AS kept, avg(m.area) AS pixels, avg(p.score) AS score
    FROM predictions p
    JOIN heads h ON p.head_id = h.head_id
    JOIN masks m ON p.image_id = m.image_id AND p.mask_index = m.mask_index AND p.extractor_id = m.extractor_id
    WHERE h.head = 'fine' AND p.kept
    GROUP BY p.class ORDER BY p.class"
grainstore query review/uncertain_masks --param head=fine --param count=5
