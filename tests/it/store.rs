//! The store: schemas, commits across tables, recovery, concurrency, upkeep.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::TimeDelta;
use datafusion::prelude::{col, lit};
use grainstore::Error;
use grainstore::progress::NoProgress;
use grainstore::schema::{EmbeddingFloat, EmbeddingType, Table};
use grainstore::store::rows::{ImageRow, LabelRow, Row};
use grainstore::store::{Changes, Store, StoreOptions};
use lance::dataset::{InsertBuilder, WriteMode, WriteParams};

use crate::support::{append, counts, image, instant, label, new_store, rows, store_in_directory};

#[tokio::test]
async fn ddl_arrow_schema_and_fresh_dataset_are_one() {
    let (_dir, store) = new_store().await;
    let snapshot = store.snapshot().await.unwrap();
    for table in Table::ALL {
        let dataset = snapshot.dataset(table).await.unwrap();
        let on_disk = arrow::datatypes::Schema::from(dataset.schema());
        assert_eq!(
            on_disk.fields(),
            table.schema().fields(),
            "{}",
            table.name()
        );
        assert_eq!(dataset.count_rows(None).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_store_can_hold_other_embeddings() {
    let dir = tempfile::tempdir().unwrap();
    let embedding = EmbeddingType {
        float: EmbeddingFloat::F32,
        dim: 64,
    };
    let uri = dir.path().to_str().unwrap();
    let store = Store::open_or_create(uri, StoreOptions { embedding })
        .await
        .unwrap();
    let dataset = store
        .snapshot()
        .await
        .unwrap()
        .dataset(Table::Masks)
        .await
        .unwrap();
    let on_disk = arrow::datatypes::Schema::from(dataset.schema());
    assert_eq!(
        on_disk.field_with_name("embedding").unwrap().data_type(),
        &embedding.arrow()
    );
    let reopened = Store::open(uri).await.unwrap();
    assert_eq!(reopened.options().embedding, embedding);
}

#[tokio::test]
async fn rows_come_back_as_they_went_in() {
    let (_dir, store) = new_store().await;
    let mut odd = image(1);
    odd.file_name = "größe/日本 \"1\".png".to_owned();
    odd.split = None;
    odd.external_id = None;
    odd.attributes = Some(r#"{"license":"CC BY 4.0"}"#.to_owned());
    odd.ingested_at = instant(7);
    let written = vec![image(0), odd];
    let snapshot = append(&store, &written).await;
    assert_eq!(rows::<ImageRow>(&snapshot).await, written);
}

#[tokio::test]
async fn a_scan_reads_chosen_columns_and_rows() {
    let (_dir, store) = new_store().await;
    let written: Vec<_> = (0..100).map(image).collect();
    let snapshot = append(&store, &written).await;
    let scan = snapshot.scan(Table::Images).await.unwrap();
    let batches = scan
        .project(&["external_id"])
        .unwrap()
        .filter(col("external_id").gt_eq(lit(97i64)))
        .collect()
        .await
        .unwrap();
    assert!(batches.iter().all(|batch| batch.num_columns() == 1));
    assert_eq!(
        batches.iter().map(|batch| batch.num_rows()).sum::<usize>(),
        3
    );
    let first = snapshot
        .scan(Table::Images)
        .await
        .unwrap()
        .limit(5)
        .unwrap();
    let first = first.collect().await.unwrap();
    assert_eq!(ImageRow::from_batch(&first[0]).unwrap(), written[..5]);
    let too_many = snapshot.scan(Table::Images).await.unwrap();
    let message = too_many.limit(1 << 63).err().unwrap().to_string();
    assert!(
        message.contains("'9223372036854775808' is not a limit of rows"),
        "{message}"
    );
}

#[tokio::test]
async fn a_snapshot_does_not_see_later_commits() {
    let (_dir, store) = new_store().await;
    let before = append(&store, &[image(0)]).await;
    let after = append(&store, &[image(1), image(2)]).await;
    assert_eq!(before.count(Table::Images).await.unwrap(), 1);
    assert_eq!(after.count(Table::Images).await.unwrap(), 3);
    let past = store.snapshot_at(before.version()).await.unwrap();
    assert_eq!(past.count(Table::Images).await.unwrap(), 1);
    let missing = store.snapshot_at(99).await.unwrap_err();
    assert!(
        matches!(missing, Error::NoSuchVersion { version: 99 }),
        "{missing}"
    );
    let log = store.log().await.unwrap();
    assert_eq!(log.len(), 3);
    assert_eq!(log[2].rows["images"], 2);
}

#[tokio::test]
async fn nothing_to_write_makes_no_version() {
    let (_dir, store) = new_store().await;
    let version = store.snapshot().await.unwrap().version();
    let commit = store
        .commit("nothing", async |_| Ok(Changes::new()))
        .await
        .unwrap();
    assert!(!commit.changed);
    assert_eq!(store.snapshot().await.unwrap().version(), version);
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused_whole() {
    let (_dir, store) = new_store().await;
    let good = LabelRow::to_batch(&[label(0, "cat")]).unwrap();
    let bad = good.project(&[0, 1, 2]).unwrap();
    let refused = store
        .commit("bad", async |_| {
            let mut changes = Changes::new();
            changes.append(Table::Images, ImageRow::to_batch(&[image(0)]).unwrap());
            changes.append(Table::Labels, bad.clone());
            Ok(changes)
        })
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("column 'origin'"), "{refused}");
    assert_eq!(counts(&store.snapshot().await.unwrap()).await, (0, 0));
}

/// Appends straight to one Lance table, as a writer does that dies before its record is put.
async fn half_a_commit(store: &Store, n: u32) {
    let dataset = store
        .snapshot()
        .await
        .unwrap()
        .dataset(Table::Images)
        .await
        .unwrap();
    let params = WriteParams {
        mode: WriteMode::Append,
        ..Default::default()
    };
    InsertBuilder::new(Arc::new(dataset.as_ref().clone()))
        .with_params(&params)
        .execute(vec![ImageRow::to_batch(&[image(n)]).unwrap()])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_commit_that_died_midway_is_never_seen() {
    let (_dir, store) = store_in_directory().await;
    append(&store, &[image(0)]).await;
    half_a_commit(&store, 1).await;
    assert_eq!(
        store
            .snapshot()
            .await
            .unwrap()
            .count(Table::Images)
            .await
            .unwrap(),
        1
    );

    let snapshot = append(&store, &[label(0, "cat")]).await;
    assert_eq!(counts(&snapshot).await, (1, 1));
    // The table itself, as any reader of Lance sees it, is rid of the row too.
    let uri = format!("{}/images.lance", store.uri());
    let plain = lance::Dataset::open(&uri).await.unwrap();
    assert_eq!(plain.count_rows(None).await.unwrap(), 1);

    half_a_commit(&store, 2).await;
    let snapshot = append(&store, &[image(3)]).await;
    let names: Vec<_> = rows::<ImageRow>(&snapshot)
        .await
        .into_iter()
        .map(|r| r.file_name)
        .collect();
    assert_eq!(names, ["000000.jpg", "000003.jpg"]);
}

#[tokio::test]
async fn a_version_without_content_that_no_commit_names_stands_in_nobodys_way() {
    let (_dir, store) = store_in_directory().await;
    append(&store, &[image(0)]).await;
    half_a_commit(&store, 1).await;
    // As a power cut may leave it: the file is there, its bytes are not.
    let versions = std::path::Path::new(store.uri()).join("images.lance/_versions");
    let manifests = std::fs::read_dir(&versions)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    // Lance counts names down.
    let newest = manifests
        .filter(|path| path.extension().is_some_and(|it| it == "manifest"))
        .min();
    std::fs::write(newest.unwrap(), "").unwrap();
    let store = Store::open(store.uri()).await.unwrap();
    let snapshot = append(&store, &[image(2)]).await;
    let names = rows::<ImageRow>(&snapshot)
        .await
        .into_iter()
        .map(|row| row.file_name);
    assert_eq!(names.collect::<Vec<_>>(), ["000000.jpg", "000002.jpg"]);
    let found = snapshot.verify_all(&NoProgress).await.unwrap();
    assert_eq!((found.damaged, found.without_checksum), (vec![], 0));
}

#[tokio::test]
async fn checksums_are_merged_when_they_are_many_and_go_with_their_commits() {
    let (_dir, store) = store_in_directory().await;
    for n in 0..70 {
        append(&store, &[image(n)]).await;
    }
    let files = || {
        let folder = std::path::Path::new(store.uri()).join("checksums");
        std::fs::read_dir(folder).unwrap().count()
    };
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(files(), 71);
    assert_eq!(snapshot.record().checksums.len(), 7);
    let found = snapshot.verify_all(&NoProgress).await.unwrap();
    assert!(found.files > 80, "{found:?}");
    assert_eq!((found.damaged, found.without_checksum), (vec![], 0));

    store.compact().await.unwrap();
    store.cleanup(TimeDelta::zero()).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(files(), snapshot.record().checksums.len());
    let found = snapshot.verify_all(&NoProgress).await.unwrap();
    assert_eq!((found.damaged, found.without_checksum), (vec![], 0));
    assert_eq!(snapshot.count(Table::Images).await.unwrap(), 70);

    // One that is lost is told; what it was of can be read, unverified.
    let lost = &snapshot.record().checksums[0];
    let path = format!("checksums/{lost}.json");
    std::fs::remove_file(std::path::Path::new(store.uri()).join(&path)).unwrap();
    snapshot
        .verify(&[Table::Images], &NoProgress)
        .await
        .unwrap();
    let found = snapshot.verify_all(&NoProgress).await.unwrap();
    assert_eq!(found.damaged[0].path, path);
}

async fn write_at_once(uri: &str) {
    const WRITERS: u32 = 4;
    const COMMITS: u32 = 5;
    Store::open_or_create(uri, StoreOptions::default())
        .await
        .unwrap();
    let writers = (0..WRITERS).map(|writer| {
        let uri = uri.to_owned();
        tokio::spawn(async move {
            // A store of its own: nothing is shared but the files.
            let store = Store::open(&uri).await.unwrap();
            for commit in 0..COMMITS {
                let n = writer * COMMITS + commit;
                store
                    .commit("both tables", async |_| {
                        let mut changes = Changes::new();
                        changes.append(Table::Images, ImageRow::to_batch(&[image(n)])?);
                        changes.append(Table::Labels, LabelRow::to_batch(&[label(n, "cat")])?);
                        Ok(changes)
                    })
                    .await
                    .unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }

    let store = Store::open(uri).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.version(), 1 + u64::from(WRITERS * COMMITS));
    let images: BTreeSet<_> = rows::<ImageRow>(&snapshot)
        .await
        .into_iter()
        .map(|r| r.image_id)
        .collect();
    let labels: BTreeSet<_> = rows::<LabelRow>(&snapshot)
        .await
        .into_iter()
        .map(|r| r.image_id)
        .collect();
    let expected: BTreeSet<_> = (0..WRITERS * COMMITS).map(|n| image(n).image_id).collect();
    assert_eq!(images, expected);
    assert_eq!(labels, expected);
    assert_eq!(counts(&snapshot).await, (20, 20));
    // Every version between is whole too.
    for record in store.log().await.unwrap() {
        let (images, labels) = counts(&store.snapshot_at(record.version).await.unwrap()).await;
        assert_eq!(images, labels, "version {}", record.version);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_at_once_lose_and_double_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write_at_once(dir.path().join("a store").to_str().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_without_a_lock_lose_and_double_nothing() {
    write_at_once("shared-memory://grainstore-test/no-lock").await;
}

#[tokio::test]
async fn the_plan_sees_what_the_last_writer_wrote() {
    let (_dir, store) = new_store().await;
    let first = append(&store, &[image(0)]).await;
    let commit = store
        .commit("again", async |head| {
            assert_eq!(head.version(), first.version());
            assert_eq!(head.count(Table::Images).await?, 1);
            Ok(Changes::new())
        })
        .await
        .unwrap();
    assert!(!commit.changed);
}

/// Number of files with rows of `labels`, whether a version of the table names them or not.
fn label_files(store: &Store) -> usize {
    let data = std::path::Path::new(store.uri()).join("labels.lance/data");
    std::fs::read_dir(data).unwrap().count()
}

/// More rows than are kept in memory until the lock is taken.
fn many_labels() -> Vec<LabelRow> {
    (0..3000).map(|n| label(n, "cat")).collect()
}

#[tokio::test]
async fn rows_are_written_once_however_often_a_commit_is_planned() {
    let (_dir, store) = store_in_directory().await;
    let other = Store::open(store.uri()).await.unwrap();
    let mut plans = 0;
    let commit = store
        .commit("labels", |_| {
            plans += 1;
            let is_overtaken = plans == 1;
            let other = &other;
            async move {
                if is_overtaken {
                    append(other, &[label(9000, "dog")]).await;
                }
                let mut changes = Changes::new();
                changes.append(Table::Labels, LabelRow::to_batch(&many_labels())?);
                Ok(changes)
            }
        })
        .await
        .unwrap();
    assert_eq!(plans, 2);
    assert_eq!(commit.snapshot.record().rows["labels"], 3000);
    let found = rows::<LabelRow>(&commit.snapshot).await;
    assert_eq!(found[0], label(9000, "dog"));
    assert_eq!(found[1..], many_labels());
    assert_eq!(label_files(&store), 2);
    let verified = commit.snapshot.verify_all(&NoProgress).await.unwrap();
    assert_eq!((verified.damaged, verified.without_checksum), (vec![], 0));
}

#[tokio::test]
async fn rows_that_another_writer_was_quicker_to_write_are_left_out_of_what_was_written() {
    let (_dir, store) = store_in_directory().await;
    let other = Store::open(store.uri()).await.unwrap();
    let mut plans = 0;
    let commit = store
        .commit("labels", |head| {
            plans += 1;
            let is_overtaken = plans == 1;
            let other = &other;
            async move {
                let there = rows::<LabelRow>(&head).await;
                let mut new = many_labels();
                new.retain(|row| !there.contains(row));
                if is_overtaken {
                    append(other, &[label(7, "cat")]).await;
                }
                let mut changes = Changes::new();
                changes.append(Table::Labels, LabelRow::to_batch(&new)?);
                Ok(changes)
            }
        })
        .await
        .unwrap();
    let found = rows::<LabelRow>(&commit.snapshot).await;
    let images: BTreeSet<_> = found.iter().map(|row| row.image_id.clone()).collect();
    assert_eq!((found.len(), images.len()), (3000, 3000));
    // The file that was written in vain is named by nothing.
    assert_eq!(label_files(&store), 3);
    let verified = commit.snapshot.verify_all(&NoProgress).await.unwrap();
    assert_eq!((verified.damaged, verified.without_checksum), (vec![], 0));
}

#[tokio::test]
async fn large_rows_that_do_not_fit_are_refused_before_anything_is_written() {
    let (_dir, store) = store_in_directory().await;
    let images: Vec<ImageRow> = (0..3000).map(image).collect();
    let batch = ImageRow::to_batch(&images).unwrap();
    let refused = store
        .commit("wrong table", async |_| {
            let mut changes = Changes::new();
            changes.append(Table::Labels, batch.clone());
            Ok(changes)
        })
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, Error::ColumnMismatch { table, .. } if table == "labels"),
        "{refused}"
    );
    assert!(
        !std::path::Path::new(store.uri())
            .join("labels.lance/data")
            .exists()
    );
}

#[tokio::test]
async fn compaction_and_cleanup_keep_every_row_and_tagged_version() {
    let (_dir, store) = store_in_directory().await;
    for n in 0..12 {
        append(&store, &[image(n)]).await;
        if n == 4 {
            let snapshot = store.snapshot().await.unwrap();
            store.create_tag("five", &snapshot).await.unwrap();
        }
    }
    let before = rows::<ImageRow>(&store.snapshot().await.unwrap()).await;

    let compacted = store.compact().await.unwrap();
    assert_eq!(compacted.len(), 1);
    assert_eq!(
        (compacted[0].files_before, compacted[0].files_after),
        (12, 1)
    );
    assert!(store.compact().await.unwrap().is_empty());
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(rows::<ImageRow>(&snapshot).await, before);

    let nothing = store.cleanup(TimeDelta::days(1)).await.unwrap();
    assert_eq!(nothing.commits, 0);
    let removed = store.cleanup(TimeDelta::zero()).await.unwrap();
    assert_eq!(removed.commits, 12); // of 14, all but the newest and the tagged
    assert!(removed.table_versions >= 10, "{removed:?}");
    assert_eq!(
        rows::<ImageRow>(&store.snapshot().await.unwrap()).await,
        before
    );
    let tagged = store.version_of_tag("five").await.unwrap();
    let tagged = store.snapshot_at(tagged).await.unwrap();
    assert_eq!(rows::<ImageRow>(&tagged).await, before[..5]);
    assert!(matches!(
        store.snapshot_at(3).await,
        Err(Error::NoSuchVersion { version: 3 })
    ));

    assert!(matches!(
        store.create_tag("five", &snapshot).await,
        Err(Error::TagExists { .. })
    ));
    store.delete_tag("five").await.unwrap();
    assert!(matches!(
        store.version_of_tag("five").await,
        Err(Error::NoSuchTag { .. })
    ));
    assert!(matches!(
        store.delete_tag("../x").await,
        Err(Error::InvalidName { .. })
    ));
    store.create_tag("five", &snapshot).await.unwrap();
    assert_eq!(store.tags().await.unwrap()[0].version, snapshot.version());

    // Writing goes on after all that.
    let after = append(&store, &[image(99)]).await;
    assert_eq!(after.count(Table::Images).await.unwrap(), 13);
}

#[tokio::test]
async fn wrong_places_are_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let uri = dir.path().to_str().unwrap();
    let missing = Store::open(&format!("{uri}/nowhere")).await.unwrap_err();
    assert!(matches!(missing, Error::StoreNotFound { .. }), "{missing}");
    assert!(!dir.path().join("nowhere").exists());

    std::fs::write(dir.path().join("thesis.docx"), "x").unwrap();
    for opened in [
        Store::open(uri).await,
        Store::open_or_create(uri, StoreOptions::default()).await,
    ] {
        assert!(matches!(opened, Err(Error::NotAStore { .. })));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn other_format_versions_and_damage_are_named() {
    let (dir, store) = store_in_directory().await;
    let header = dir.path().join("store/grainstore.json");
    let text = std::fs::read_to_string(&header).unwrap();
    // Without its own checksum, as earlier versions wrote it.
    let unsealed = text.replace("xxh3", "no_xxh3");
    std::fs::write(
        &header,
        unsealed.replace("\"format_version\": 2", "\"format_version\": 3"),
    )
    .unwrap();
    let newer = Store::open(store.uri()).await.unwrap_err();
    assert!(
        newer
            .to_string()
            .contains("version 3, this program reads version 2"),
        "{newer}"
    );
    assert!(newer.to_string().contains("update grainstore"), "{newer}");

    std::fs::write(&header, &text[..20]).unwrap();
    let cut = Store::open(store.uri()).await.unwrap_err();
    assert!(
        cut.to_string().contains("grainstore.json' is damaged"),
        "{cut}"
    );

    std::fs::write(&header, text).unwrap();
    let record = dir.path().join("store/commits/0000000001.json");
    std::fs::write(record, "{}").unwrap();
    let cut = Store::open(store.uri()).await.unwrap_err();
    assert!(
        cut.to_string().contains("0000000001.json' is damaged"),
        "{cut}"
    );
}

#[tokio::test]
async fn a_creation_that_died_is_finished_by_the_next() {
    let (dir, store) = store_in_directory().await;
    // As if killed after some tables, before the first record.
    std::fs::remove_dir_all(dir.path().join("store/commits")).unwrap();
    std::fs::remove_dir_all(dir.path().join("store/masks.lance")).unwrap();
    let reopened = Store::open(store.uri()).await.unwrap();
    let snapshot = append(&reopened, &[image(0)]).await;
    assert_eq!(counts(&snapshot).await, (1, 0));
    assert_eq!(snapshot.count(Table::Masks).await.unwrap(), 0);

    // As if killed before the header.
    let early = dir.path().join("early");
    std::fs::create_dir(&early).unwrap();
    std::fs::write(early.join("lock"), "").unwrap();
    let store = Store::open_or_create(early.to_str().unwrap(), StoreOptions::default())
        .await
        .unwrap();
    assert_eq!(store.snapshot().await.unwrap().version(), 1);
}
