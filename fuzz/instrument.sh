#!/bin/sh
# RUSTC_WORKSPACE_WRAPPER for ./run fuzz: compiles the crates of this workspace, and them alone, so that libFuzzer sees which of
# their branches an input takes (the flags are those of cargo-fuzz).
exec "$@" --cfg fuzzing -C passes=sancov-module -C llvm-args=-sanitizer-coverage-level=4 \
    -C llvm-args=-sanitizer-coverage-inline-8bit-counters -C llvm-args=-sanitizer-coverage-pc-table \
    -C llvm-args=-sanitizer-coverage-trace-compares
