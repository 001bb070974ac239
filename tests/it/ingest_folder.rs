//! Ingest of folders as they are found: what systems leave, pipes, photos that are never decoded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use grainstore::ingest::CocoIngest;
use grainstore::ingest::FolderIngest;
use grainstore::ingest::{IngestSummary, LabelSource, ingest_coco, ingest_folder};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{ImageRow, LabelRow};
use serde_json::json;

use crate::harness::Program;
use crate::ingest::{failures, options, write_photo};
use crate::support::{Asks, new_store, rows};

async fn ingest(store: &Store, photos: &Path, labels: LabelSource) -> IngestSummary {
    ingest_folder(
        store,
        &FolderIngest {
            directory: photos.into(),
            labels,
            options: options("p", None),
        },
        &NoProgress,
    )
    .await
    .unwrap()
}

/// Two photos of two classes, and ten files that systems leave.
fn photos_and_system_files(photos: &Path) {
    write_photo(&photos.join("cat/1.png"), 1, (4, 3));
    write_photo(&photos.join("dog/2.png"), 2, (4, 3));
    write_photo(
        &photos.join("cat/@eaDir/1.png/SYNOPHOTO_THUMB_M.png"),
        3,
        (4, 3),
    );
    write_photo(&photos.join("cat/.@__thumb/1.png"), 4, (4, 3));
    write_photo(
        &photos.join(".ipynb_checkpoints/1-checkpoint.png"),
        5,
        (4, 3),
    );
    write_photo(&photos.join("$RECYCLE.BIN/3.png"), 6, (4, 3));
    for name in [
        "cat/._1.png",
        "cat/.DS_Store",
        "cat/thumbs.db",
        "__MACOSX/cat/._1.png",
        "__MACOSX/cat/1.png",
        "desktop.ini",
    ] {
        let file = photos.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "\0\x05\x16\x07").unwrap();
    }
    std::fs::create_dir(photos.join("empty")).unwrap();
}

#[tokio::test]
async fn what_systems_leave_is_skipped_and_counted() {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    photos_and_system_files(&photos);
    let summary = ingest(&store, &photos, LabelSource::Folders).await;
    let expected = IngestSummary {
        images_added: 2,
        labels_added: 2,
        system_files: 10,
        ..Default::default()
    };
    assert_eq!(summary, expected);
    assert_eq!(failures(&store).await, []);
    let labels = rows::<LabelRow>(&store.snapshot().await.unwrap()).await;
    let labels: Vec<_> = labels.into_iter().map(|row| row.label).collect();
    assert_eq!(labels, ["cat", "dog"]);

    // A list of all files of a Mac's folder.
    let csv = dir.path().join("labels.csv");
    let lines = "file,label\ncat/._1.png,cat\ncat/1.png,tabby\n__MACOSX/cat/1.png,cat\n3.png,cow\n";
    std::fs::write(&csv, lines).unwrap();
    let summary = ingest(&store, &photos, LabelSource::File(csv)).await;
    assert_eq!((summary.labels_added, summary.failed), (1, 1));
    let missing = ("labels.csv line 5", "there is no image file '3.png'");
    let missing = (missing.0.to_owned(), missing.1.to_owned());
    assert_eq!(failures(&store).await, [missing]);
}

#[test]
fn the_summary_has_one_line_on_system_files() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    photos_and_system_files(&photos);
    let run = Command::new(env!("CARGO_BIN_EXE_grainstore"))
        .arg("--store")
        .arg(dir.path().join("store"))
        .args(["ingest", "images"])
        .arg(&photos)
        .output()
        .unwrap();
    let said = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{said}");
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("skipped"))
        .collect();
    assert_eq!(
        lines,
        ["skipped 10 system files, such as '.DS_Store', 'Thumbs.db' and '@eaDir'"]
    );
}

#[cfg(unix)]
#[tokio::test]
async fn pipes_and_sockets_among_photos_are_told() {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    write_photo(&photos.join("a.png"), 1, (4, 3));
    let pipe = photos.join("pipe.jpg");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let _socket = std::os::unix::net::UnixListener::bind(photos.join("socket.png")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", photos.join("zero.jpg")).unwrap();
    std::fs::create_dir(photos.join("directory.jpg")).unwrap();

    let summary = ingest(&store, &photos, LabelSource::Unlabelled).await;
    assert_eq!((summary.images_added, summary.failed), (1, 3));
    let found: BTreeMap<_, _> = failures(&store).await.into_iter().collect();
    assert_eq!(
        found["pipe.jpg"],
        format!("'{}': a pipe, not a file", pipe.display())
    );
    assert!(
        found["socket.png"].ends_with("a socket, not a file"),
        "{found:?}"
    );
    assert!(
        found["zero.jpg"].ends_with("a device, not a file"),
        "{found:?}"
    );

    let (_other, store) = new_store().await;
    let named = [
        "pipe.jpg",
        "socket.png",
        "zero.jpg",
        "directory.jpg",
        "a.png",
    ];
    let images: Vec<_> = named
        .iter()
        .zip(1..)
        .map(|(name, id)| json!({"id": id, "file_name": name}))
        .collect();
    let file = dir.path().join("in.json");
    let data_set = json!({"images": images, "annotations": [], "categories": []});
    std::fs::write(&file, data_set.to_string()).unwrap();
    let summary = ingest_coco(
        &store,
        &CocoIngest {
            annotations: (&file).into(),
            images: (&photos).into(),
            options: options("c", None),
        },
        &NoProgress,
    )
    .await
    .unwrap();
    assert_eq!((summary.images_added, summary.failed), (1, 4));
    let found: BTreeMap<_, _> = failures(&store).await.into_iter().collect();
    assert!(
        found["pipe.jpg"].ends_with("a pipe, not a file"),
        "{found:?}"
    );
    assert!(
        found["directory.jpg"].ends_with("a directory, not a file"),
        "{found:?}"
    );
}

#[tokio::test]
async fn photos_that_are_never_decoded_are_refused() {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    write_photo(&photos.join("a.png"), 1, (4, 3));
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
    let said = BTreeMap::from([
        (
            "arithmetic.jpg",
            "unsupported jpeg image: arithmetic coding",
        ),
        ("lossless.jpg", "unsupported jpeg image: lossless coding"),
        (
            "unknown_compression.tif",
            "unsupported tiff image: compression 34661",
        ),
        ("ycbcr.tif", "unsupported tiff image: YCbCr colours"),
        ("preview.tif", "unsupported tiff image: its first page"),
    ]);
    for name in said.keys() {
        std::fs::copy(fixtures.join(name), photos.join(name)).unwrap();
    }
    let summary = ingest(&store, &photos, LabelSource::Unlabelled).await;
    assert_eq!((summary.images_added, summary.failed), (1, 5));
    let found: BTreeMap<_, _> = failures(&store).await.into_iter().collect();
    for (name, said) in said {
        assert!(found[name].starts_with(said), "{name}: {}", found[name]);
    }
}

#[tokio::test]
async fn orientations_of_any_whole_number_type_are_stored() {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
    for name in [
        "orientation_6.jpg",
        "orientation_long.jpg",
        "orientation_long_big.jpg",
    ] {
        std::fs::copy(fixtures.join(name), photos.join(name)).unwrap();
    }
    ingest(&store, &photos, LabelSource::Unlabelled).await;
    let images = rows::<ImageRow>(&store.snapshot().await.unwrap()).await;
    let found: BTreeMap<_, _> = images
        .into_iter()
        .map(|row| (row.file_name, (row.orientation, row.width, row.height)))
        .collect();
    assert_eq!(found["orientation_6.jpg"], (6, 16, 24));
    assert_eq!(found["orientation_long.jpg"], (6, 16, 24));
    assert_eq!(found["orientation_long_big.jpg"], (8, 16, 24));
}

#[test]
fn pictures_of_photos_with_long_names_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    // 254 bytes each with their extension; the last two differ behind the cut only.
    let (cats, x) = ("\u{732b}".repeat(83), "x".repeat(249));
    let names = [
        format!("{cats}-.png"),
        format!("{x}1.png"),
        format!("{x}2.png"),
        "a.png".to_owned(),
    ];
    for (name, n) in names.iter().zip(1..) {
        write_photo(&photos.join(name), n, (8, 6));
    }
    let program = Program {
        file: PathBuf::from(env!("CARGO_BIN_EXE_grainstore")),
        store: dir.path().join("store"),
    };
    program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    let output = dir.path().join("drawn");
    let output = output.to_str().unwrap();
    let show = [
        "show", "--where", "true", "--parts", "photo", "-o", output, "--json",
    ];
    let shown = program.json(&show);
    assert_eq!((&shown["images"], &shown["failed"]), (&4.into(), &0.into()));
    let mut written: Vec<String> = std::fs::read_dir(output)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    written.sort();
    assert_eq!(written.len(), 4, "{written:?}");
    assert!(
        written.iter().all(|name| name.ends_with(".png")),
        "{written:?}"
    );
    let is_cut = |name: &&String, stem: &str| name.starts_with(stem) && name.len() > 240;
    assert!(written[0].starts_with("a-"));
    let of_x = written.iter().filter(|name| is_cut(name, "xxx")).count();
    let of_cats = written
        .iter()
        .filter(|name| is_cut(name, "\u{732b}\u{732b}"))
        .count();
    assert_eq!((of_x, of_cats), (2, 1), "{written:?}");
}
