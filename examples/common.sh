# Shared by the examples: the directory they work in, and the program they call.
DIR=${DIR:-/tmp/grainstore-example}
export GRAINSTORE_STORE=$DIR/store
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
grainstore() {
    if [ -n "${GRAINSTORE:-}" ]; then
        "$GRAINSTORE" "$@"
    elif command -v grainstore >/dev/null; then
        command grainstore "$@"
    else
        cargo run --quiet --release --locked --manifest-path "$here/../Cargo.toml" --bin grainstore -- "$@"
    fi
}
