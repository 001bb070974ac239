//! The program imports masks: what it prints, and how it exits.

use std::path::{Path, PathBuf};

use super::data;
use crate::harness::Program;
use crate::support::Asks;

fn program(dir: &Path) -> Program {
    Program {
        file: PathBuf::from(env!("CARGO_BIN_EXE_grainstore")),
        store: dir.join("store"),
    }
}

#[test]
fn the_program_imports_masks() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let text = |name: &str| data(name).to_str().unwrap().to_owned();
    let (photos, maps, coco) = (text("photos"), text("label_maps"), text("coco.json"));
    program.expect(0, &["ingest", "images", &photos, "--no-labels"]);

    let masks = ["import", "masks", "--label-maps", &maps];
    let output = program.run(&masks);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(
        stdout.starts_with("added 16 masks of 6 images under extractor ")
            && stdout.ends_with(" (imported masks)\n"),
        "{stdout}"
    );
    let id = stdout.split_whitespace().nth(8).unwrap();
    assert_eq!(id.len(), 8);
    let hint = format!("hint: 'grainstore embed --extractor {id} --checkpoint FILE'");
    assert!(stderr.contains(&hint), "{stderr}");
    let again = program.expect(0, &masks);
    assert!(
        again.contains("nothing was added") && again.contains("6 images imported before"),
        "{again}"
    );
    let again = program.json(&[&masks[..], &["--json"]].concat());
    assert_eq!((&again["done"], &again["masks"]), (&6.into(), &0.into()));
    assert!(again["extractor_id"].as_str().unwrap().starts_with(id));

    let with_failures = program.run(&["import", "masks", "--coco", &coco]);
    assert_eq!(with_failures.status.code(), Some(2));
    let stderr = String::from_utf8(with_failures.stderr).unwrap();
    for part in [
        "coco.json: image 15 'nowhere.jpg': no image of the store is called so",
        "7 items could not be used, or not as given; 'grainstore query failures'",
        "1 annotation without a mask left out",
    ] {
        assert!(stderr.contains(part), "{stderr}");
    }
    assert!(program.expect(0, &["check"]).starts_with("healthy"));
    let images = [&masks[..], &["--ignore", "3,7", "--dataset", "photos"]].concat();
    let images = program.expect(0, &images);
    assert!(images.starts_with("added 14 masks of 6 images"), "{images}");

    for args in [
        &["import", "masks"][..],
        &["import", "masks", "--coco", &coco, "--sa1b", &maps],
        &["import", "masks", "--coco", &coco, "--ignore", "255"],
        &["import", "masks", "--label-maps", &maps, "--ignore", "-1"],
    ] {
        program.fails(args);
    }
    let unknown = program.fails(&["import", "masks", "--ground-truth", "photos"]);
    assert!(
        unknown.contains("no data sets with annotations yet"),
        "{unknown}"
    );
    let help = program.expect(0, &["import", "masks", "--help"]);
    assert!(help.contains("Examples:") && help.contains("--ground-truth"));
}
