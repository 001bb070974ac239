# The program and a demo's store, for benches that go on from there. Set 'bench', the name of the bench, before.
# GRAINSTORE: the program (default: target/release/grainstore). STORE: a demo's store (default: a new one).
# 'demo_options': options of the demo that makes a new one. Sets 'target', 'program', 'work' (the bench's directory) and 'store'.
target=${CARGO_TARGET_DIR:-target}
demo_options=(${demo_options[@]+"${demo_options[@]}"})
program=${GRAINSTORE:-}
if [ -z "$program" ]; then
    cargo bench --quiet --locked --no-run --bench extract
    program=$target/release/grainstore
fi
program=$(realpath "$program")
work=$(mkdir -p "$target/$bench" && realpath "$target/$bench")
store=${STORE:-$work/demo/store}
if [ ! -d "$store" ]; then
    rm -rf "$work/demo"
    "$program" --quiet demo --where "$work/demo" "${demo_options[@]}" > /dev/null
fi
