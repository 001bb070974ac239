//! Files that others made, damaged in every way at hand: what reads them must end in an error or in something sound.
//! `./run fuzz` does the same with a fuzzer that watches which code is reached.

#[path = "../../fuzz/targets.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use targets::TARGETS;

/// Damaged copies of each sample.
const COPIES: usize = 150;
/// The same for the targets that ingest into a store, which takes longer.
const INGESTED: usize = 30;
/// Numbers that lengths and sizes like to break at.
const EDGES: [u32; 6] = [0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x0001_0000];

fn samples(target: &str) -> Vec<PathBuf> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let files = std::fs::read_dir(seeds.join(target)).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files.filter(|path| path.is_file()).collect();
    files.sort();
    assert!(!files.is_empty(), "no samples of '{target}'");
    files
}

/// A copy with bytes changed, cut out, repeated, or overwritten by an edge.
fn damaged(sample: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    let mut copy = sample.to_vec();
    for _ in 0..random.usize(1..4) {
        if copy.is_empty() {
            break;
        }
        let at = random.usize(..copy.len());
        let end = (at + random.usize(1..32)).min(copy.len());
        match random.u8(..6) {
            0 => copy[at] ^= 1 << random.u32(..8),
            1 => copy[at] = random.u8(..),
            2 => copy.truncate(at),
            3 => drop(copy.drain(at..end)),
            4 => {
                let piece = copy[at..end].to_vec();
                copy.splice(at..at, piece);
            }
            _ => {
                let edge = random.choice(EDGES).unwrap();
                let bytes = if random.bool() {
                    edge.to_le_bytes()
                } else {
                    edge.to_be_bytes()
                };
                copy.iter_mut()
                    .skip(at)
                    .zip(bytes)
                    .for_each(|(old, new)| *old = new);
            }
        }
    }
    copy
}

#[test]
fn hostile_input_ends_in_an_error_or_in_something_sound() {
    for (name, target) in TARGETS {
        let mut random = fastrand::Rng::with_seed(20_26);
        let copies = match name {
            "yolo_labels" | "cvat" | "label_studio" => INGESTED,
            _ => COPIES,
        };
        for sample in samples(name) {
            let whole = std::fs::read(&sample).unwrap();
            target(&whole);
            for copy in 0..copies {
                let hostile = damaged(&whole, &mut random);
                if catch_unwind(AssertUnwindSafe(|| target(&hostile))).is_err() {
                    let file = std::env::temp_dir().join(format!("grainstore-hostile-{name}"));
                    std::fs::write(&file, &hostile).unwrap();
                    panic!(
                        "'{name}', copy {copy} of {}: see {}",
                        sample.display(),
                        file.display()
                    );
                }
            }
        }
    }
}
