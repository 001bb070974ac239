#!/usr/bin/env bash
# How long a person waits on the review page, in Chromium, on stores of 1,000 to 1,000,000 masks. Needs python3, cargo, chromedriver
# and 4 GB of disk. MASKS: the sizes. KEYS: 200.
set -euo pipefail
cd "$(dirname "$0")/.."
. benches/program.sh
dir=$(mkdir -p "$target/bench-review-page" && realpath "$target/bench-review-page")
for masks in ${MASKS:-1000 100000 1000000}; do
    rm -rf "$dir/made"
    cargo bench --quiet --locked --bench review_page -- "$dir/made" "$masks" "$((masks < 20000 ? masks / 10 : 2000))" > /dev/null
    python3 benches/review_page.py "$program" "$dir/made" "$masks" "${KEYS:-200}"
done > "$dir/found.jsonl"
python3 benches/review_page_table.py "$dir/found.jsonl"
