//! Imports go one way: a module uses modules of its own layer or below, and files of one folder seldom each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::imports::{Named, Path, module_of, named_paths, uses_of_children, words};

/// Modules of the library from the ground up; those of one row may use each other.
const LAYERS: [&[&str]; 21] = [
    &[
        "error", "ids", "options", "csv_text", "task", "progress", "geometry", "photo", "coco",
        "formats", "scenes",
    ],
    &["schema", "store", "sql"],
    &["catalogue", "device", "models"],
    &["query", "selection"],
    &["classes"],
    &["ingest", "vectors"],
    &["collect"],
    &["jobs"],
    &["compact", "extract", "indexes"],
    &["embed"],
    &["neighbours"],
    &["head", "review"],
    &["annotate", "import"],
    &["cluster"],
    &["eval"],
    &["export"],
    &["picture"],
    &["report"],
    &["hints"],
    &["web"],
    &["cli"],
];

/// Modules that use each other in a circle with others of their folder. May fall, never rise.
const IN_CIRCLES: usize = 32;

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|modules| modules.contains(&module))
}

/// Texts of the library and the program by their path in `src`.
type Sources = BTreeMap<String, String>;

fn sources() -> Sources {
    let src = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Sources::new();
    for entry in walkdir::WalkDir::new(&src) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|it| it == "rs") {
            let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
            found.insert(name.to_owned(), std::fs::read_to_string(&path).unwrap());
        }
    }
    assert!(found.len() > 50, "{} source files found", found.len());
    found
}

/// A file that names a module above it, and that module.
fn climbs(file: &str, text: &str) -> Vec<String> {
    let module = module_of(file);
    let Some(own_layer) = module.first().and_then(|own| layer(own)) else {
        return Vec::new();
    };
    let mut found = BTreeSet::new();
    for named in named_paths(&module, text) {
        let other = named.path.first();
        if let Some(other) = other.filter(|it| layer(it).is_some_and(|layer| layer > own_layer)) {
            found.insert(format!("src/{file} uses {other}"));
        }
    }
    found.into_iter().collect()
}

#[test]
fn imports_go_down_the_layers() {
    let sources = sources();
    for file in sources.keys() {
        if let Some(own) = module_of(file).first() {
            assert!(
                layer(own).is_some(),
                "module '{own}' has no layer in tests/it/layers.rs"
            );
        }
    }
    let climbing: Vec<_> = sources
        .iter()
        .flat_map(|(file, text)| climbs(file, text))
        .collect();
    assert!(climbing.is_empty(), "{climbing:#?}");
}

#[test]
fn a_climb_would_be_found() {
    for text in [
        "use crate::ingest::Source;",
        "use crate::{Error, ingest::Source};",
        "use crate::{schema::{Table, ddl}, ingest::Source};",
        "use super::super::ingest::Source;",
        "mod tests { use super::super::super::ingest::Source; }",
    ] {
        let found = climbs("store/files.rs", text);
        assert_eq!(found, ["src/store/files.rs uses ingest"], "{text}");
    }
    for text in [
        "use crate::store::Store; use crate::Result;",
        "use super::super::ingest::Source;", // of ingest itself
        "// use crate::extract::Extractor;",
    ] {
        assert!(climbs("ingest/voc.rs", text).is_empty(), "{text}");
    }
}

/// Only the program may use the crates of feature `cli`: without it, the library is built without them. (Building that
/// here would build nearly every dependency again, with fewer features.)
#[test]
fn the_library_does_without_the_crates_of_the_program() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let crates: Vec<String> = manifest["features"]["cli"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|it| it.as_str().unwrap().strip_prefix("dep:"))
        .map(|name| name.replace('-', "_"))
        .collect();
    assert!(crates.contains(&"clap".to_owned()), "{crates:?}");
    let words: Vec<_> = sources()
        .into_iter()
        .map(|(file, text)| (file, words(&text)))
        .collect();
    for name in &crates {
        let users = words.iter().filter(|(_, words)| words.contains(name));
        let users: Vec<_> = users.map(|(file, _)| file).collect();
        assert!(!users.is_empty(), "nothing uses {name}");
        for file in users {
            assert!(
                file == "main.rs" || file.starts_with("cli/") || file.starts_with("web/"),
                "src/{file} uses {name}"
            );
        }
    }
}

/// What one file names, read once for every folder.
struct Reading {
    module: Path,
    named: Vec<Named>,
    /// Of the files below.
    brought_in: Vec<Named>,
}

fn readings(sources: &Sources) -> Vec<Reading> {
    let read = |(file, text): (&String, &String)| {
        let module = module_of(file);
        Reading {
            named: named_paths(&module, text),
            brought_in: uses_of_children(&module, text),
            module,
        }
    };
    sources.iter().map(read).collect()
}

/// Which children of one module use which, tests left out. An item that the module itself brings in counts as the
/// child's that has it.
fn uses_within(folder: &[String], readings: &[Reading]) -> BTreeMap<String, BTreeSet<String>> {
    let child_of = |path: &[String]| path.strip_prefix(folder)?.first().cloned();
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut homes: BTreeMap<String, String> = BTreeMap::new();
    for reading in readings {
        if let Some(child) = child_of(&reading.module) {
            uses.entry(child).or_default();
        } else if reading.module == folder {
            for named in &reading.brought_in {
                let child = child_of(&named.path);
                homes.extend(child.map(|child| (named.alias.clone(), child)));
            }
        }
    }
    for named in readings.iter().flat_map(|reading| &reading.named) {
        let test = named.by.iter().any(|it| it == "tests" || it == "testing");
        let (Some(user), Some(used)) = (child_of(&named.by), child_of(&named.path)) else {
            continue;
        };
        let used = homes.get(&used).cloned().unwrap_or(used);
        if !test && user != used && uses.contains_key(&used) {
            uses.entry(user).or_default().insert(used);
        }
    }
    uses
}

/// Groups of modules of which each reaches each other.
fn circles(uses: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<BTreeSet<String>> {
    let reached = |from: &String| {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(module) = open.pop() {
            for used in uses.get(module).into_iter().flatten() {
                if reached.insert(used) {
                    open.push(used);
                }
            }
        }
        reached
    };
    let reach: BTreeMap<_, _> = uses
        .keys()
        .map(|module| (module, reached(module)))
        .collect();
    let circle = |module: &String| {
        let there = reach[module].iter();
        let and_back = there.filter(|other| reach[**other].contains(module));
        and_back
            .map(|other| (*other).clone())
            .collect::<BTreeSet<_>>()
    };
    uses.keys().map(circle).filter(|it| it.len() > 1).collect()
}

#[test]
fn circles_within_folders_do_not_grow() {
    let sources = sources();
    let mut folders: BTreeSet<Path> = BTreeSet::from([Path::new()]);
    for file in sources.keys() {
        let mut module = module_of(file);
        if module.pop().is_some() {
            folders.insert(module);
        }
    }
    let readings = readings(&sources);
    let mut found = Vec::new();
    for folder in &folders {
        for circle in circles(&uses_within(folder, &readings)) {
            found.push((folder.join("::"), circle));
        }
    }
    let modules: usize = found.iter().map(|(_, circle)| circle.len()).sum();
    assert!(
        modules <= IN_CIRCLES,
        "{modules} modules in {} circles: {found:#?}",
        found.len()
    );
}

#[test]
fn a_circle_would_be_found() {
    let circles_in_a = |texts: &[(&str, &str)]| {
        let texts = texts.iter();
        let sources = texts.map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
        circles(&uses_within(
            &["a".to_owned()],
            &readings(&sources.collect()),
        ))
    };
    let round = circles_in_a(&[
        ("a/mod.rs", "mod b; mod c; mod d; pub use b::Bee;"),
        ("a/b.rs", "use super::c::Sea;"),
        ("a/c.rs", "use crate::a::d;"),
        ("a/d/mod.rs", "use super::Bee;"), // b's, by way of the folder
        ("a/e.rs", "use super::b;"),
    ]);
    let names = ["b", "c", "d"].map(str::to_owned);
    assert_eq!(round, BTreeSet::from([BTreeSet::from(names)]));
    let straight = circles_in_a(&[
        ("a/mod.rs", "mod b; mod c; pub use b::Bee;"),
        ("a/b.rs", "use super::c::Sea;"),
        ("a/c.rs", "mod tests { use super::super::Bee; }"),
    ]);
    assert!(straight.is_empty(), "{straight:?}");
}
