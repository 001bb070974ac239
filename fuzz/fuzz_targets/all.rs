//! Every target in one program, since linking Lance and DataFusion takes long: `GRAINSTORE_FUZZ` names which.

#![no_main]

#[path = "../targets.rs"]
mod targets;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use targets::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("GRAINSTORE_FUZZ").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    *found.unwrap_or_else(|| panic!("GRAINSTORE_FUZZ is '{name}', no target of fuzz/targets.rs"))
});

fuzz_target!(|data: &[u8]| TARGET.1(data));
