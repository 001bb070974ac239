//! `collect mosaic`.

use std::collections::BTreeSet;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::Value;

use super::{lines, program, rows};
use crate::harness::Program;

/// Ten images of five labels, in one colour each, and a target.
fn store(dir: &Path) -> Program {
    let program = program(dir);
    for n in 0..10u8 {
        let folder = dir
            .join("photos")
            .join(["a", "b", "c", "d", "e"][usize::from(n % 5)]);
        std::fs::create_dir_all(&folder).unwrap();
        let photo = RgbImage::from_pixel(40, 20 + u32::from(n), Rgb([n * 20, 200, 40]));
        photo.save(folder.join(format!("{n}.png"))).unwrap();
    }
    let photos = dir.join("photos");
    program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    program
}

fn collect(program: &Program, dir: &Path, more: &[&str]) -> (i32, String) {
    let out = dir.join("mosaics");
    let output = program
        .command(&["collect", "mosaic", "--side", "32", "-o"])
        .arg(&out)
        .args(more)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), stderr)
}

#[test]
fn mosaics_show_four_images_and_have_all_their_labels() {
    let dir = tempfile::tempdir().unwrap();
    let program = store(dir.path());
    let (code, stderr) = collect(&program, dir.path(), &["--count", "5"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("made 5 mosaics of 10 labelled images"),
        "{stderr}"
    );
    let colors = rows(
        &program,
        "SELECT image_id, file_name FROM images WHERE dataset = 'photos'",
    );
    let color_of = |id: &str| {
        let row = colors.iter().find(|row| row["image_id"] == id).unwrap();
        let name = row["file_name"].as_str().unwrap();
        image::open(dir.path().join("photos").join(name))
            .unwrap()
            .to_rgb8()
            .get_pixel(0, 0)
            .0
    };
    let mosaics = lines(&dir.path().join("mosaics/manifest.jsonl"));
    for line in &mosaics {
        let file = dir
            .path()
            .join("mosaics")
            .join(line["file"].as_str().unwrap());
        let picture = image::open(file).unwrap().to_rgb8();
        assert_eq!(picture.dimensions(), (64, 64));
        let ids = line["mosaic_of"].as_array().unwrap();
        for (id, (x, y)) in ids.iter().zip([(16, 16), (48, 16), (16, 48), (48, 48)]) {
            let (found, expected) = (picture.get_pixel(x, y).0, color_of(id.as_str().unwrap()));
            let near = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) < 6);
            assert!(near, "{found:?} for {expected:?}");
        }
    }
    // Labels in the store are those of the four.
    let labels = rows(
        &program,
        "SELECT i.file_name, l.label, i.source FROM images i JOIN labels l ON i.image_id = l.image_id \
         WHERE i.dataset = 'mosaics'",
    );
    for line in &mosaics {
        let of_file = labels.iter().filter(|row| row["file_name"] == line["file"]);
        let found: BTreeSet<&str> = of_file.map(|row| row["label"].as_str().unwrap()).collect();
        let expected = line["labels"].as_array().unwrap().iter();
        assert_eq!(found, expected.filter_map(Value::as_str).collect());
        assert_eq!(found.len(), 4);
    }

    // Again, with more: what is there stays, and mosaics are no tiles of others.
    let (code, stderr) = collect(&program, dir.path(), &["--count", "7"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stderr.contains("made 2 mosaics of 10 labelled images"),
        "{stderr}"
    );
    assert!(stderr.contains("5 were there; added 2 images"), "{stderr}");
    let (code, stderr) = collect(&program, dir.path(), &["--count", "7", "--seed", "1"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("use the options of before"), "{stderr}");
}

#[test]
fn too_few_images_and_files_that_are_gone_are_said() {
    let dir = tempfile::tempdir().unwrap();
    let program = store(dir.path());
    let (code, stderr) = collect(
        &program,
        dir.path(),
        &["--count", "1", "--where", "height < 22"],
    );
    assert_eq!(code, 1);
    assert!(
        stderr.contains("needs 4 labelled images, and 2 fit"),
        "{stderr}"
    );
    std::fs::remove_dir_all(dir.path().join("photos/a")).unwrap();
    let (code, stderr) = collect(&program, dir.path(), &["--count", "3"]);
    assert_eq!(code, 2, "{stderr}");
    let failed = rows(&program, "SELECT reason FROM failures");
    assert!(!failed.is_empty() && failed[0]["reason"].as_str().unwrap().contains("photos/a"));
}
