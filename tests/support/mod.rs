//! What several test modules need: stores that are made for tests, runs of the program, rows.

#[cfg(feature = "cluster")]
pub mod cluster;
pub mod eval_store;
pub mod harness;
pub mod imports;
pub mod made_store;
pub mod predicted_store;
pub mod proxy;
pub mod random_clip;
pub mod sql_store;
pub mod tokens;
pub mod web_server;

use burn::tensor::Device;
use chrono::{DateTime, TimeDelta, Utc};
use grainstore::device::DeviceName;
use grainstore::ids::ImageId;
use grainstore::schema::Table;
use grainstore::store::rows::{ImageRow, LabelRow, Row};
use grainstore::store::{Changes, Snapshot, Store, StoreOptions};

use harness::Program;

/// A checkpoint of a small model whose masks are sharp.
pub const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/data/extract/sharp.safetensors"
);

/// Where models run in tests: the device named by `GRAINSTORE_TEST_DEVICE`, else the CPU.
pub fn device() -> Device {
    let name = std::env::var("GRAINSTORE_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned());
    name.parse::<DeviceName>().unwrap().open().unwrap()
}

/// A store in a fresh directory, which lives as long as the guard, or under a fresh prefix of the bucket named by
/// `GRAINSTORE_TEST_STORES`.
pub async fn new_store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let place = new_place(&dir);
    store_at(dir, &place).await
}

async fn store_at(dir: tempfile::TempDir, place: &str) -> (tempfile::TempDir, Store) {
    let store = Store::open_or_create(place, StoreOptions::default());
    (dir, store.await.unwrap())
}

/// A store in a fresh directory, for tests that look at its files.
pub async fn store_in_directory() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    store_at(dir, place.to_str().unwrap()).await
}

/// The place of a new store: in the directory, or in the bucket named by `GRAINSTORE_TEST_STORES`.
pub fn new_place(dir: &tempfile::TempDir) -> String {
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    match std::env::var("GRAINSTORE_TEST_STORES") {
        Ok(bucket) => format!("{bucket}/{}/store", name.trim_start_matches('.')),
        Err(_) => dir.path().join("store").to_str().unwrap().to_owned(),
    }
}

/// An object store in a directory, without a server.
pub fn bucket_in(dir: &std::path::Path) -> String {
    format!("file-object-store://{}", dir.to_str().unwrap())
}

/// A time that is the same in every run.
pub fn instant(minute: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
}

/// An image row that differs with `n` and is otherwise plain.
pub fn image(n: u32) -> ImageRow {
    ImageRow {
        image_id: ImageId::of_bytes(&n.to_le_bytes()),
        file_name: format!("{n:06}.jpg"),
        root: "/photos".to_owned(),
        width: 640,
        height: 480,
        orientation: 1,
        format: "jpeg".to_owned(),
        file_bytes: 1000 + i64::from(n),
        source: "target".to_owned(),
        split: Some("val".to_owned()),
        dataset: "test".to_owned(),
        external_id: Some(i64::from(n)),
        attributes: None,
        ingested_at: instant(0),
    }
}

/// A label of image `n`.
pub fn label(n: u32, label: &str) -> LabelRow {
    LabelRow {
        image_id: image(n).image_id,
        dataset: "test".to_owned(),
        label: label.to_owned(),
        origin: "folder".to_owned(),
        ingested_at: instant(0),
    }
}

/// Commits rows to one table.
pub async fn append<R: Row>(store: &Store, rows: &[R]) -> Snapshot {
    let batch = R::to_batch(rows).unwrap();
    let commit = store
        .commit("test", async |_| {
            let mut changes = Changes::new();
            changes.append(R::TABLE, batch.clone());
            Ok(changes)
        })
        .await
        .unwrap();
    commit.snapshot
}

/// Every row of a table, in order.
pub async fn rows<R: Row>(snapshot: &Snapshot) -> Vec<R> {
    let batches = snapshot
        .scan(R::TABLE)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    batches
        .iter()
        .flat_map(|batch| R::from_batch(batch).unwrap())
        .collect()
}

/// Row counts of images and labels.
pub async fn counts(snapshot: &Snapshot) -> (u64, u64) {
    (
        snapshot.count(Table::Images).await.unwrap(),
        snapshot.count(Table::Labels).await.unwrap(),
    )
}

/// What only tests ask of the program.
pub trait Asks {
    /// Runs, expects failure, and gives back stderr.
    fn fails(&self, args: &[&str]) -> String;
    /// Runs, expects success, and gives back what it printed as JSON.
    fn json(&self, args: &[&str]) -> serde_json::Value;
}

impl Asks for Program {
    #[track_caller]
    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    #[track_caller]
    fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.expect(0, args)).unwrap()
    }
}
