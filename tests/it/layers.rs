//! Imports go one way: a module uses modules of its own layer or below.

use std::path::Path;

/// Modules of the library from the ground up; those of one row may use each other.
const LAYERS: [&[&str]; 12] = [
    &[
        "error", "names", "progress", "geometry", "photo", "coco", "scenes",
    ],
    &["schema", "store", "sql"],
    &["classes", "device", "sam"],
    &["ingest"],
    &["extract"],
    &["head"],
    &["annotate", "import"],
    &["eval"],
    &["export"],
    &["picture"],
    &["report"],
    &["cli"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Modules of the crate that a source text names in paths from the root.
fn named_modules(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for root in ["crate::", "grainstore::"] {
        for (at, _) in text.match_indices(root) {
            let rest = &text[at + root.len()..];
            if let Some(list) = rest.strip_prefix('{') {
                let list = list.split('}').next().unwrap_or_default();
                let heads = list
                    .split(',')
                    .map(|item| item.trim().split("::").next().unwrap_or(""));
                found.extend(heads.map(str::to_owned));
            } else {
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                found.push(rest[..end].to_owned());
            }
        }
    }
    found
}

/// Pairs of a file and a module above it that it names.
fn climbs(file: &str, text: &str) -> Vec<String> {
    let own = file.split(['/', '.']).next().unwrap_or_default();
    let Some(own_layer) = layer(own) else {
        return Vec::new();
    };
    let named = named_modules(text).into_iter();
    named
        .filter(|module| layer(module).is_some_and(|layer| layer > own_layer))
        .map(|module| format!("src/{file} uses {module}"))
        .collect()
}

#[test]
fn imports_go_down_the_layers() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut climbing) = (0, Vec::new());
    for entry in walkdir::WalkDir::new(&src) {
        let entry = entry.unwrap();
        if entry
            .path()
            .extension()
            .is_none_or(|extension| extension != "rs")
        {
            continue;
        }
        let name = entry.path().strip_prefix(&src).unwrap().to_str().unwrap();
        let own = name.split(['/', '.']).next().unwrap();
        assert!(
            ["lib", "main"].contains(&own) || layer(own).is_some(),
            "module '{own}' has no layer in tests/it/layers.rs"
        );
        climbing.extend(climbs(
            name,
            &std::fs::read_to_string(entry.path()).unwrap(),
        ));
        files += 1;
    }
    assert!(files > 50, "{files} source files found");
    assert!(climbing.is_empty(), "{climbing:#?}");
}

#[test]
fn a_climb_would_be_found() {
    assert_eq!(
        climbs("geometry/rle.rs", "use crate::store::Store;"),
        ["src/geometry/rle.rs uses store"]
    );
    assert_eq!(
        climbs("store/mod.rs", "use crate::{Error, ingest::Source};").len(),
        1
    );
    assert!(
        climbs(
            "ingest/mod.rs",
            "use crate::store::Store; use crate::Result;"
        )
        .is_empty()
    );
}
