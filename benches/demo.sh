#!/usr/bin/env bash
# Times 'grainstore demo' in the release profile; its store is what layout.sh looks at. Needs python3 and cargo.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
# With what the other benches are built with, so that no dependency is built again.
cargo bench --quiet --locked --no-run --bench extract
dir=$target/bench-demo
rm -rf "$dir"
"$target/release/grainstore" --quiet demo --where "$dir" --json > "$target/bench-demo.json"
python3 benches/demo_table.py "$target/bench-demo.json"
