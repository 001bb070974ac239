//! `grainstore collect`: images from stand-ins of the web's sources and of generators, on loopback.

mod mosaic;
mod offering;
mod synthetic;
mod web;

use std::path::PathBuf;

use serde_json::Value;

use crate::harness::Program;

/// The program and an empty place for its store.
pub fn program(dir: &std::path::Path) -> Program {
    Program {
        file: PathBuf::from(env!("CARGO_BIN_EXE_grainstore")),
        store: dir.join("store"),
    }
}

/// The rows of a query, as JSON objects.
pub fn rows(program: &Program, sql: &str) -> Vec<Value> {
    let text = program.expect(0, &["sql", "--format", "json", sql]);
    serde_json::from_str(&text).unwrap()
}

/// The lines of a file of JSON lines.
pub fn lines(path: &std::path::Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
