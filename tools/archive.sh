#!/usr/bin/env bash
# Packs the program with its manual pages, completions and licence: tools/archive.sh TARGET PROGRAM DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/.."
target=$1 program=$2 out=$3
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
name=grainstore-$version-$target
rm -rf "${out:?}/$name"
mkdir -p "$out/$name/completions"
cp "$program" README.md CHANGELOG.md LICENSE "$out/$name/"
"$program" man "$out/$name/man"
for shell in bash zsh fish powershell elvish; do
    "$program" completions "$shell" > "$out/$name/completions/grainstore.$shell"
done
cd "$out"
case "$target" in
    *windows*) 7z a -bd "$name.zip" "$name" > /dev/null; echo "$out/$name.zip" ;;
    *) tar -cJf "$name.tar.xz" "$name"; echo "$out/$name.tar.xz" ;;
esac
rm -rf "$name"
