# Sourced by benches: sets 'target', and 'program' to GRAINSTORE or, without it, to a release build that is made now.
target=${CARGO_TARGET_DIR:-target}
program=${GRAINSTORE:-}
if [ -z "$program" ]; then
    cargo build --quiet --release --locked --bin grainstore
    program=$target/release/grainstore
fi
program=$(realpath "$program")
