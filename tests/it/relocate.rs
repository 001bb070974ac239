//! Photos that move after ingest are found by their bytes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use grainstore::ingest::FolderIngest;
use grainstore::ingest::RelocateRequest;
use grainstore::ingest::{LabelSource, RelocateSummary, Relocation, ingest_folder, relocate};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{ImageRow, LabelRow};

use crate::ingest::{options, write_photo};
use crate::support::{new_store, rows};

/// Name and root of every image, below a directory.
async fn places(store: &Store, below: &Path) -> BTreeMap<String, String> {
    let below = below.canonicalize().unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let place = |row: ImageRow| {
        let root = Path::new(&row.root).strip_prefix(&below).unwrap();
        (row.file_name, root.display().to_string())
    };
    rows::<ImageRow>(&snapshot)
        .await
        .into_iter()
        .map(place)
        .collect()
}

async fn look(store: &Store, directory: &Path, which: Relocation) -> RelocateSummary {
    relocate(
        store,
        &RelocateRequest {
            directory: directory.into(),
            which,
        },
        &NoProgress,
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn moved_and_renamed_photos_are_found_by_their_bytes() {
    let (dir, store) = new_store().await;
    let old = dir.path().join("old");
    for (n, name) in ["cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png"]
        .iter()
        .enumerate()
    {
        write_photo(&old.join(name), n as u8, (4, 3));
    }
    let ingest = async || {
        let labels = LabelSource::Folders;
        ingest_folder(
            &store,
            &FolderIngest {
                directory: (&old).into(),
                labels,
                options: options("pets", None),
            },
            &NoProgress,
        )
        .await
        .unwrap()
    };
    ingest().await;
    let before = store.snapshot().await.unwrap();

    // One keeps its name, one is renamed, one stays, one is deleted; a copy of the first lies under another name too.
    let new = dir.path().join("new");
    fs::create_dir_all(new.join("b/cat")).unwrap();
    fs::copy(old.join("cat/1.png"), new.join("a.png")).unwrap();
    fs::rename(old.join("cat/1.png"), new.join("b/cat/1.png")).unwrap();
    fs::rename(old.join("cat/2.png"), new.join("second")).unwrap();
    fs::remove_file(old.join("dog/4.png")).unwrap();
    // As large as one that is looked for, and another.
    let size = fs::metadata(new.join("second")).unwrap().len();
    fs::write(new.join("other.png"), vec![0; size as usize]).unwrap();

    let read = |root: &Path, file: &str, id| {
        let root = root.to_str().unwrap();
        store.photos().read_ingested(root, file, id)
    };
    let image_id = rows::<ImageRow>(&before).await[0].image_id.clone();
    let error = read(&old, "cat/1.png", &image_id).unwrap_err().to_string();
    assert!(
        error.contains("cat/1.png") && error.contains("is not there any more"),
        "{error}"
    );

    let lost = old.canonicalize().unwrap().join("dog/4.png");
    let summary = look(&store, &new, Relocation::Lost).await;
    let expected = RelocateSummary {
        relocated: 2,
        in_place: 1,
        lost: vec![lost],
        failed: 0,
    };
    assert_eq!(summary, expected);
    let now = BTreeMap::from([
        ("cat/1.png".to_owned(), "new/b".to_owned()),
        ("second".to_owned(), "new".to_owned()),
        ("dog/3.png".to_owned(), "old".to_owned()),
        ("dog/4.png".to_owned(), "old".to_owned()),
    ]);
    assert_eq!(places(&store, dir.path()).await, now);

    let log = store.log().await.unwrap();
    let record = log.last().unwrap();
    assert_eq!(record.operation, "relocate");
    assert_eq!((record.deleted["images"], record.rows["images"]), (2, 2));

    // Nothing else changed, and the images are read again.
    let after = store.snapshot().await.unwrap();
    assert_eq!(
        rows::<LabelRow>(&after).await,
        rows::<LabelRow>(&before).await
    );
    let sorted = |mut rows: Vec<ImageRow>| {
        for row in &mut rows {
            (row.root, row.file_name) = Default::default();
        }
        rows.sort_by(|a, b| a.image_id.cmp(&b.image_id));
        rows
    };
    let (old_rows, new_rows) = (
        rows::<ImageRow>(&before).await,
        rows::<ImageRow>(&after).await,
    );
    for row in new_rows.iter().filter(|row| row.file_name != "dog/4.png") {
        read(Path::new(&row.root), &row.file_name, &row.image_id).unwrap();
    }
    assert_eq!(sorted(new_rows), sorted(old_rows));

    // Again: nothing to write. Ingested again from either place, every photo is known.
    let version = store.snapshot().await.unwrap().version();
    assert_eq!(look(&store, &new, Relocation::Lost).await.relocated, 0);
    assert_eq!(store.snapshot().await.unwrap().version(), version);
    assert_eq!(ingest().await.images_added, 0);
    assert_eq!(places(&store, dir.path()).await, now);
}

#[tokio::test]
async fn copies_take_the_place_of_photos_that_are_still_there_if_asked_to() {
    let (dir, store) = new_store().await;
    let old = dir.path().join("old");
    write_photo(&old.join("1.png"), 1, (4, 3));
    write_photo(&old.join("2.png"), 2, (4, 3));
    let labels = LabelSource::Unlabelled;
    ingest_folder(
        &store,
        &FolderIngest {
            directory: (&old).into(),
            labels,
            options: options("pets", None),
        },
        &NoProgress,
    )
    .await
    .unwrap();
    let fast = dir.path().join("fast");
    fs::create_dir(&fast).unwrap();
    fs::copy(old.join("1.png"), fast.join("1.png")).unwrap();

    let summary = look(&store, &fast, Relocation::Lost).await;
    assert_eq!((summary.relocated, summary.in_place), (0, 2));
    let summary = look(&store, &fast, Relocation::All).await;
    assert_eq!((summary.relocated, summary.in_place), (1, 1));
    assert_eq!(summary.lost, Vec::<std::path::PathBuf>::new());
    let now = [("1.png", "fast"), ("2.png", "old")];
    let now = now.map(|(name, root)| (name.to_owned(), root.to_owned()));
    assert_eq!(places(&store, dir.path()).await, BTreeMap::from(now));

    let missing = relocate(
        &store,
        &RelocateRequest {
            directory: (&dir.path().join("none")).into(),
            which: Relocation::All,
        },
        &NoProgress,
    )
    .await;
    assert!(missing.unwrap_err().to_string().contains("none"));
}
