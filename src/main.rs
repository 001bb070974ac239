//! The `grainstore` program.
fn main() {}
