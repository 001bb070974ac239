//! Stores and photos in buckets: what a bucket must be able to do, how many requests a query and a commit take, and that a
//! store there is the same as one in a directory. Object stores in a directory stand for buckets; with
//! `GRAINSTORE_TEST_STORES` the tests of the store itself run in a real one.

use std::path::Path;
use std::sync::Mutex;

use arrow::util::pretty::pretty_format_batches;
use grainstore::extract::{ExtractRequest, extract};
use grainstore::ingest::{
    CocoIngest, FolderIngest, IngestOptions, LabelSource, RelocateRequest, Relocation, ingest_coco,
    ingest_folder, relocate,
};
use grainstore::progress::{NoProgress, Progress};
use grainstore::schema::{EmbeddingType, Table};
use grainstore::sql::Sql;
use grainstore::store::rows::{FailureRow, ImageRow, LabelRow, Row};
use grainstore::store::{Changes, StorageOptions, Store, StoreOptions, Traffic};

use crate::support::harness::{Program, copy_tree, photos};
use crate::support::{Asks, CHECKPOINT, append, bucket_in, image, label, new_place, rows};

async fn create(uri: &str) -> Store {
    // As large as the tokens of the small model.
    let embedding = EmbeddingType {
        dim: 128,
        ..EmbeddingType::default()
    };
    Store::open_or_create(uri, StoreOptions { embedding })
        .await
        .unwrap()
}

fn since(store: &Store, before: Traffic) -> Traffic {
    let now = store.traffic();
    Traffic {
        gets: now.gets - before.gets,
        puts: now.puts - before.puts,
        lists: now.lists - before.lists,
        deletes: now.deletes - before.deletes,
        bytes_read: now.bytes_read - before.bytes_read,
        bytes_written: now.bytes_written - before.bytes_written,
    }
}

#[tokio::test]
async fn a_count_takes_few_requests_and_no_data() {
    let dir = tempfile::tempdir().unwrap();
    let uri = bucket_in(dir.path());
    let store = create(&uri).await;
    for n in 0..20 {
        append(&store, &[image(n)]).await;
    }

    let store = Store::open(&uri).await.unwrap();
    let sql = Sql::new(&store.snapshot().await.unwrap()).await.unwrap();
    let found = sql.query("SELECT count(*) AS n FROM images").await.unwrap();
    let found = found.collect().await.unwrap();
    let table = pretty_format_batches(&found).unwrap().to_string();
    assert!(table.contains("| 20 |"), "{table}");
    let traffic = store.traffic();
    assert!(traffic.requests() <= 6, "{traffic:?}");
    assert_eq!((traffic.puts, traffic.deletes), (0, 0));
}

#[tokio::test]
async fn a_commit_takes_few_requests_and_reads_nothing_that_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    // A directory has no listing in order, so that Lance asks for more.
    let (place, most) = match new_place(&dir) {
        bucket if bucket.contains("://") => (bucket, 14),
        _ => (bucket_in(dir.path()), 25),
    };
    let store = create(&place).await;
    let commit = async |n: u32| {
        let images: Vec<ImageRow> = (0..2000).map(|row| image(n * 2000 + row)).collect();
        let labels: Vec<LabelRow> = (0..2000).map(|row| label(n * 2000 + row, "cat")).collect();
        let plan = async |_| {
            let mut changes = Changes::new();
            changes.append(Table::Images, ImageRow::to_batch(&images)?);
            changes.append(Table::Labels, LabelRow::to_batch(&labels)?);
            Ok(changes)
        };
        store.commit("two tables", plan).await.unwrap().snapshot
    };
    commit(0).await;
    let before = store.traffic();
    let snapshot = commit(1).await;
    let traffic = since(&store, before);
    assert!(traffic.requests() <= most, "{traffic:?}");
    assert!(
        traffic.bytes_read * 4 < traffic.bytes_written,
        "{traffic:?}"
    );

    // Every file has its checksum all the same.
    let found = snapshot.verify_all(&NoProgress).await.unwrap();
    assert_eq!((found.damaged, found.without_checksum), (vec![], 0));
    assert!(found.files > 18, "{}", found.files);
}

#[tokio::test]
async fn a_creation_that_died_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let uri = bucket_in(dir.path());
    create(&uri).await;
    // As if the writer had died before its first record, and while it probed.
    std::fs::remove_dir_all(dir.path().join("commits")).unwrap();
    let store = Store::open(&uri).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().version(), 1);

    let other = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(other.path().join(".probe/1")).unwrap();
    std::fs::write(other.path().join(".probe/1/0"), "7").unwrap();
    let store = create(&bucket_in(other.path())).await;
    assert_eq!(store.snapshot().await.unwrap().version(), 1);
}

#[tokio::test]
async fn a_store_that_was_copied_to_a_bucket_is_written_to_there() {
    let dir = tempfile::tempdir().unwrap();
    let local = dir.path().join("store");
    let store = create(local.to_str().unwrap()).await;
    append(&store, &[image(0)]).await;
    let there = dir.path().join("bucket");
    copy_tree(&local, &there);

    let header = || std::fs::read_to_string(there.join("grainstore.json")).unwrap();
    assert!(!header().contains("create_if_absent"));
    let uri = bucket_in(&there);
    let copy = Store::open(&uri).await.unwrap();
    assert_eq!(
        rows::<ImageRow>(&copy.snapshot().await.unwrap())
            .await
            .len(),
        1
    );
    append(&copy, &[image(1)]).await;
    assert!(
        header().contains(r#""create_if_absent": "probed""#),
        "{}",
        header()
    );
    assert!(!there.join(".probe").join("0").exists());
    let again = Store::open(&uri).await.unwrap();
    assert_eq!(
        rows::<ImageRow>(&again.snapshot().await.unwrap())
            .await
            .len(),
        2
    );
}

/// Everything that ingesting and extracting left in a store, but for where photos lie, times, and what they took.
async fn dump(store: &Store) -> String {
    let sql = Sql::new(&store.snapshot().await.unwrap()).await.unwrap();
    let mut all = String::new();
    for query in [
        "SELECT image_id, file_name, width, height, format, dataset FROM images ORDER BY 1",
        "SELECT image_id, label, origin FROM labels ORDER BY 1, 2",
        "SELECT image_id, external_id, category, bbox FROM ground_truth ORDER BY 1, 2",
        "SELECT image_id, mask_index, area, predicted_iou, stability_score FROM masks ORDER BY 1, 2",
        "SELECT image_id, masks FROM extractions ORDER BY 1",
        "SELECT stage, item FROM failures ORDER BY 1, 2",
    ] {
        let found = sql.query(query).await.unwrap().collect().await.unwrap();
        all += &pretty_format_batches(&found).unwrap().to_string();
    }
    all
}

async fn ingest(store: &Store, directory: &str) -> (u64, u64) {
    let request = FolderIngest {
        directory: directory.into(),
        labels: LabelSource::Folders,
        options: IngestOptions::of_dataset("photos"),
    };
    let summary = ingest_folder(store, &request, &NoProgress).await.unwrap();
    (summary.images_added, summary.other_files)
}

fn small_extraction() -> ExtractRequest {
    ExtractRequest {
        checkpoint: CHECKPOINT.into(),
        options: grainstore::extract::MaskOptions {
            points_per_side: 3,
            ..Default::default()
        },
        ..ExtractRequest::default()
    }
}

async fn extracted(store: &Store) -> u64 {
    let request = small_extraction();
    extract(store, &request, &NoProgress).await.unwrap().failed
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_an_extraction_take_as_few_requests_late_as_early() {
    let dir = tempfile::tempdir().unwrap();
    let folder = photos(dir.path(), 22);
    let (place, most) = match new_place(&dir) {
        bucket if bucket.contains("://") => (bucket, 12),
        _ => (bucket_in(&dir.path().join("bucket")), 20),
    };
    let store = create(&place).await;
    assert_eq!(ingest(&store, folder.to_str().unwrap()).await, (22, 0));
    let mut request = small_extraction();
    request.commit_masks = 1;
    request.selection.limit = Some(2);
    extract(&store, &request, &NoProgress).await.unwrap(); // registers the extractor
    request.selection.limit = None;
    // Photos lie in a directory, so that all requests are the store's.
    let commits = RequestsOfCommits {
        store: store.clone(),
        seen: Mutex::default(),
    };
    let done = extract(&store, &request, &commits).await.unwrap();
    assert_eq!(done.images, 20);
    let seen = commits.seen.into_inner().unwrap();
    let each: Vec<u64> = seen.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(each.len(), 19);
    // The first of a run opens tables.
    let (first, rest) = each.split_first().unwrap();
    assert!(*first <= most + 8, "{each:?}");
    assert!(rest.iter().all(|requests| *requests <= most), "{each:?}");
}

/// Notes the requests so far after each image, which is a commit.
struct RequestsOfCommits {
    store: Store,
    seen: Mutex<Vec<u64>>,
}

impl Progress for RequestsOfCommits {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {
        let requests = self.store.traffic().requests();
        self.seen.lock().unwrap().push(requests);
    }
    fn note(&self, _: &str) {}
    fn finish(&self) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_in_a_bucket_give_what_they_give_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let folder = photos(dir.path(), 6);
    // What no walk of a directory takes for a photo.
    std::fs::write(folder.join("notes.txt"), "x").unwrap();
    std::fs::create_dir_all(folder.join(".hidden")).unwrap();
    std::fs::copy(any_photo(&folder), folder.join(".hidden/1.jpg")).unwrap();
    std::fs::write(folder.join("broken.jpg"), "no photo").unwrap();

    let local = create(dir.path().join("local").to_str().unwrap()).await;
    let (added, other) = ingest(&local, folder.to_str().unwrap()).await;
    assert_eq!(extracted(&local).await, 0);

    let there = create(&bucket_in(&dir.path().join("bucket"))).await;
    assert_eq!(ingest(&there, &bucket_in(&folder)).await, (added, other));
    assert_eq!(extracted(&there).await, 0);
    assert_eq!(dump(&there).await, dump(&local).await);

    let root = rows::<ImageRow>(&there.snapshot().await.unwrap()).await[0]
        .root
        .clone();
    assert_eq!(root, bucket_in(&folder));

    // A prefix below which there is nothing is an error, as a directory that is missing is.
    let request = FolderIngest {
        directory: bucket_in(&dir.path().join("nothing")).into(),
        options: IngestOptions::of_dataset("photos"),
        ..FolderIngest::default()
    };
    let error = ingest_folder(&there, &request, &NoProgress)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no file below it"), "{error}");
}

fn any_photo(folder: &Path) -> std::path::PathBuf {
    let entries = walkdir::WalkDir::new(folder).into_iter().flatten();
    let mut files = entries.filter(|it| it.file_type().is_file());
    files.next().unwrap().into_path()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_that_is_gone_from_its_bucket_is_a_failure_and_is_found_where_it_moved() {
    let dir = tempfile::tempdir().unwrap();
    let folder = photos(dir.path(), 3);
    let store = create(dir.path().join("local").to_str().unwrap()).await;
    ingest(&store, &bucket_in(&folder)).await;
    let elsewhere = dir.path().join("elsewhere");
    std::fs::rename(&folder, &elsewhere).unwrap();

    let count = rows::<ImageRow>(&store.snapshot().await.unwrap())
        .await
        .len() as u64;
    assert_eq!(extracted(&store).await, count);
    let failures = rows::<FailureRow>(&store.snapshot().await.unwrap()).await;
    let gone = failures
        .iter()
        .filter(|it| it.reason.contains("is not there any more"));
    assert_eq!(gone.count() as u64, count);

    let request = RelocateRequest {
        directory: bucket_in(&elsewhere).into(),
        which: Relocation::All,
    };
    let summary = relocate(&store, &request, &NoProgress).await.unwrap();
    assert_eq!(summary.relocated, count);
    assert_eq!(extracted(&store).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_in_a_bucket_give_what_they_give_in_a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("photos");
    std::fs::create_dir(&folder).unwrap();
    image::RgbImage::new(40, 30)
        .save(folder.join("1.png"))
        .unwrap();
    let coco = serde_json::json!({
        "images": [{"id": 1, "file_name": "1.png", "width": 40, "height": 30}],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [{"id": 3, "image_id": 1, "category_id": 7, "bbox": [1, 2, 10, 5], "area": 50,
            "iscrowd": 0, "segmentation": [[1, 2, 11, 2, 11, 7, 1, 7]]}],
    });
    std::fs::write(dir.path().join("a.json"), coco.to_string()).unwrap();
    let mut dumps = Vec::new();
    for base in [
        dir.path().to_str().unwrap().to_owned(),
        bucket_in(dir.path()),
    ] {
        let store = create(
            dir.path()
                .join(format!("store-{}", dumps.len()))
                .to_str()
                .unwrap(),
        )
        .await;
        let request = CocoIngest {
            annotations: format!("{base}/a.json").into(),
            images: format!("{base}/photos").into(),
            options: IngestOptions::of_dataset("pets"),
        };
        let summary = ingest_coco(&store, &request, &NoProgress).await.unwrap();
        assert_eq!(summary.ground_truth_added, 1);
        dumps.push(dump(&store).await);
    }
    assert_eq!(dumps[0], dumps[1]);
}

#[test]
fn the_program_says_what_it_asked_of_a_bucket_and_what_it_cannot() {
    let dir = tempfile::tempdir().unwrap();
    let program = |store: &str| Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: store.into(),
    };
    let there = program(&bucket_in(&dir.path().join("store")));
    there.expect(0, &["init"]);
    let told = there.run(&["-v", "sql", "SELECT count(*) FROM masks"]);
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains(" requests, "), "{told}");
    assert!(
        there
            .fails(&["--storage-option", "regoin=x", "sql", "SELECT 1"])
            .contains("regoin")
    );

    let folder = photos(dir.path(), 2);
    let ingest = [
        "ingest",
        "images",
        &bucket_in(&folder),
        "--dataset",
        "d",
        "--source",
        "web",
    ];
    there.expect(0, &ingest);
    let voc = [
        "ingest",
        "voc",
        &bucket_in(&folder),
        "--dataset",
        "d",
        "--split",
        "train",
    ];
    assert!(there.fails(&voc).contains("copy it here first"));

    let unknown = program("http://host/store").fails(&["sql", "SELECT 1"]);
    assert!(unknown.contains("'http://' is not supported"), "{unknown}");
    if cfg!(not(feature = "gcp")) {
        let unbuilt = program("gs://bucket/store").fails(&["sql", "SELECT 1"]);
        assert!(
            unbuilt.contains("build with the feature 'gcp'"),
            "{unbuilt}"
        );
    }
}

#[tokio::test]
async fn options_reach_the_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let place = new_place(&dir);
    let options: StorageOptions = ["client_max_retries=2".parse().unwrap()]
        .into_iter()
        .collect();
    let store = Store::open_or_create_with(&place, StoreOptions::default(), &options)
        .await
        .unwrap();
    append(&store, &[image(0)]).await;
    let again = Store::open_with(&place, &options).await.unwrap();
    assert_eq!(
        again
            .snapshot()
            .await
            .unwrap()
            .count(Table::Images)
            .await
            .unwrap(),
        1
    );
}

#[tokio::test]
async fn a_store_is_copied_up_and_down_with_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = create(dir.path().join("store").to_str().unwrap()).await;
    for n in 0..3 {
        append(&store, &[image(n)]).await;
        append(&store, &[label(n, "cat")]).await;
    }
    let snapshot = store.snapshot().await.unwrap();
    store.create_tag("three", &snapshot).await.unwrap();

    let options = StorageOptions::new();
    let there = match new_place(&dir) {
        bucket if bucket.contains("://") => bucket,
        _ => bucket_in(&dir.path().join("bucket")),
    };
    let copied = store.copy_to(&there, &options, &NoProgress).await.unwrap();
    assert_eq!(copied.files_there, 0);
    let up = Store::open(&there).await.unwrap();
    assert_eq!(same(&up).await, same(&store).await);
    let found = up
        .snapshot()
        .await
        .unwrap()
        .verify_all(&NoProgress)
        .await
        .unwrap();
    assert_eq!((found.damaged, found.without_checksum), (vec![], 0));

    // It can be written to, copied down again, and not copied to where a store is.
    append(&up, &[image(7)]).await;
    let down = dir.path().join("down");
    let down = down.to_str().unwrap();
    up.copy_to(down, &options, &NoProgress).await.unwrap();
    assert_eq!(
        same(&Store::open(down).await.unwrap()).await,
        same(&up).await
    );
    for place in [there.as_str(), down] {
        let error = store
            .copy_to(place, &options, &NoProgress)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("already"), "{error}");
    }
}

/// Rows of every commit that a store has, and its tags.
async fn same(store: &Store) -> Vec<(String, u64, Vec<ImageRow>, Vec<LabelRow>)> {
    let mut all = Vec::new();
    for record in store.log().await.unwrap() {
        let snapshot = store.snapshot_at(record.version).await.unwrap();
        all.push((
            record.operation,
            record.version,
            rows::<ImageRow>(&snapshot).await,
            rows::<LabelRow>(&snapshot).await,
        ));
    }
    for tag in store.tags().await.unwrap() {
        all.push((tag.tag, tag.version, Vec::new(), Vec::new()));
    }
    all
}

#[tokio::test]
async fn an_interrupted_copy_is_no_store_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = create(place.to_str().unwrap()).await;
    append(&store, &[image(0)]).await;
    let options = StorageOptions::new();
    let copy = async |to: &Path| {
        store
            .copy_to(to.to_str().unwrap(), &options, &NoProgress)
            .await
    };

    // A file that has changed since it was written ends the copy.
    let data = place.join("images.lance/data");
    let file = std::fs::read_dir(&data)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let whole = std::fs::read(&file).unwrap();
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    std::fs::write(&file, &damaged).unwrap();
    let to = dir.path().join("copy");
    let error = copy(&to).await.unwrap_err().to_string();
    assert!(
        error.contains("content has changed") && error.contains("images.lance"),
        "{error}"
    );
    let unfinished = Store::open(to.to_str().unwrap()).await.unwrap_err();
    assert!(
        unfinished.to_string().contains("not a grainstore store"),
        "{unfinished}"
    );

    // Mended, it goes on; what was there is left alone, what is there with other bytes is not.
    std::fs::write(&file, &whole).unwrap();
    let half = to.join("images.lance/data").join(file.file_name().unwrap());
    std::fs::create_dir_all(half.parent().unwrap()).unwrap();
    std::fs::write(&half, &damaged).unwrap();
    let copied = copy(&to).await.unwrap();
    assert!(
        copied.files_there > 0 && copied.files_there < copied.files,
        "{copied:?}"
    );
    assert_eq!(std::fs::read(&half).unwrap(), whole);
    assert!(!to.join("copying.json").exists());
    let copied = Store::open(to.to_str().unwrap()).await.unwrap();
    assert_eq!(same(&copied).await, same(&store).await);

    // Somebody's other files are no place for a store.
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("thesis.docx"), "x").unwrap();
    let error = copy(&other).await.unwrap_err().to_string();
    assert!(
        error.contains("not a grainstore store, and not empty"),
        "{error}"
    );
}
