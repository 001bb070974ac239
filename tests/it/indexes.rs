//! Indexes that workers make: they find what those of one process find, whatever happens to the workers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use chrono::TimeDelta;
use grainstore::Error;
use grainstore::indexes::{create_index_with_workers, update_indexes_with_workers};
use grainstore::jobs::{JobOptions, RunPlan};
use grainstore::progress::NoProgress;
use grainstore::schema::{StoreTable, Table};
use grainstore::store::{IndexKind, IndexRequest, IndexStats, Store};
use lance::index::DatasetIndexExt;

use crate::jobs::{Fault, Faulty, faulty, small_chunks, workers};
use crate::neighbours::{Made, assert_same, healthy, of_mask, thorough, vectors_of_e};

/// Images and masks of a commit, which is a file.
const FILES: [(std::ops::Range<u32>, i32); 4] =
    [(0..10, 20), (10..15, 60), (15..30, 10), (30..31, 300)];
const ROWS: u64 = 950;

/// A store whose tables have four files.
async fn store_of_files() -> (tempfile::TempDir, Made) {
    let mut made = Made::new().await;
    for (images, masks) in FILES {
        made.add(images, masks).await;
    }
    (tempfile::tempdir().unwrap(), made)
}

fn request(table: StoreTable, kind: IndexKind) -> IndexRequest {
    IndexRequest {
        kind,
        partitions: Some(3),
        ..IndexRequest::new(table)
    }
}

/// Tasks of at most 500 rows: the first two files, and the last two.
fn parts() -> JobOptions {
    JobOptions {
        part_rows: 500,
        ..small_chunks()
    }
}

async fn create(
    store: &Store,
    request: &IndexRequest,
    workers: &dyn RunPlan,
) -> Result<IndexStats, Error> {
    create_index_with_workers(store, request, workers, &parts(), &NoProgress).await
}

/// Folders of segments of a table's indexes, of a store in a directory.
fn segments(store: &Store, table: &StoreTable) -> Option<usize> {
    let folder = format!("{}/{}.lance/_indices", store.uri(), table.path());
    let is_here = !store.uri().contains("://");
    is_here.then(|| std::fs::read_dir(folder).map_or(0, Iterator::count))
}

/// That there are `expected` folders of segments.
#[track_caller]
fn assert_segments(store: &Store, table: &StoreTable, expected: usize) {
    assert_eq!(segments(store, table).unwrap_or(expected), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_make_an_index_of_every_kind() {
    for kind in [IndexKind::IvfFlat, IndexKind::IvfSq, IndexKind::IvfPq] {
        let (dir, made) = store_of_files().await;
        let numbers = made.vectors[25].vector.clone();
        let exact = made.brute_force(&numbers, |_| true);
        for table in [made.table(), Table::Masks.into()] {
            let request = request(table.clone(), kind);
            let stats = create(&made.store, &request, &workers(&dir)).await.unwrap();
            let covered = (stats.rows, stats.unindexed_rows, stats.segments);
            assert_eq!(covered, (ROWS, 0, 1));
            assert_segments(&made.store, &table, 1);
            let alone = made.store.create_index(&request).await.unwrap();
            assert_eq!((&alone.kind, alone.segments), (&stats.kind, 1));
            // And one that workers make takes the place of it, if they do everything twice, too.
            let twice = faulty(&dir, Fault::Twice(workers(&dir)));
            let again = create(&made.store, &request, &twice).await.unwrap();
            let covered = (again.rows, again.unindexed_rows, again.segments);
            assert_eq!(covered, (ROWS, 0, 1));
            assert_segments(&made.store, &table, 3);
        }
        healthy(&made.store).await;
        let found = made
            .nearest(&thorough(of_mask(vectors_of_e(), 1, 5)))
            .await
            .rows;
        match kind {
            IndexKind::IvfFlat => assert_same(&found, &exact[..10]),
            _ => {
                let is_found = |row: &&(_, i32, _)| {
                    found
                        .iter()
                        .any(|it| (&it.image_id, it.mask_index) == (&row.0, Some(row.1)))
                };
                let recall = exact[..10].iter().filter(is_found).count();
                assert!(recall >= 8, "{kind}: {recall} of 10");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_add_rows_to_an_index() {
    let (dir, mut made) = store_of_files().await;
    let table = made.table();
    let request = request(table.clone(), IndexKind::IvfFlat);
    create(&made.store, &request, &workers(&dir)).await.unwrap();
    let bloom = IndexRequest {
        kind: IndexKind::Bloom,
        ..IndexRequest::new(table.clone())
    };
    create(&made.store, &bloom, &workers(&dir)).await.unwrap();
    made.add(40..50, 30).await;
    made.add(50..60, 30).await;
    let update = async |workers: &dyn RunPlan| {
        update_indexes_with_workers(&made.store, &table, workers, &parts(), &NoProgress).await
    };
    for _ in 0..2 {
        let updated = update(&workers(&dir)).await.unwrap();
        assert_eq!(updated.len(), 2);
        for index in updated {
            assert_eq!(
                (index.rows, index.unindexed_rows),
                (ROWS + 600, 0),
                "{index:?}"
            );
        }
    }
    healthy(&made.store).await;
    let numbers = made.vectors[1200].clone();
    let exact = made.brute_force(&numbers.vector, |_| true);
    let of = made.vectors[1200].mask_index;
    let found = made
        .nearest(&thorough(of_mask(vectors_of_e(), 48, of)))
        .await;
    assert_same(&found.rows, &exact[..10]);
    let (masks, workers) = (Table::Masks.into(), workers(&dir));
    let none = update_indexes_with_workers(&made.store, &masks, &workers, &parts(), &NoProgress)
        .await
        .unwrap_err()
        .to_string();
    assert_eq!(none, "'masks' has no index of its rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_nobody_makes_is_told_and_changes_nothing() {
    let (dir, made) = store_of_files().await;
    let version = made.snapshot().await.version();
    let request = request(made.table(), IndexKind::IvfSq);
    let lost = create(&made.store, &request, &faulty(&dir, Fault::EndsAfter(0))).await;
    let message = lost.unwrap_err().to_string();
    assert!(message.contains("an executor was lost"), "{message}");
    let idle = create(&made.store, &request, &faulty(&dir, Fault::Nothing)).await;
    let message = idle.unwrap_err().to_string();
    assert!(
        message.contains("2 parts of the index were handed out, and not done"),
        "{message}"
    );
    assert_eq!(made.snapshot().await.version(), version);
    // A part that was made before all failed is gone, too.
    let never = create(&made.store, &request, &faulty(&dir, Fault::NeverAfter(1))).await;
    assert!(never.unwrap_err().to_string().contains("was lost"));
    assert_segments(&made.store, &made.table(), 0);

    // One task a pass is enough to get on.
    let one_by_one: Faulty = faulty(&dir, Fault::EndsAfter(1));
    let stats = create(&made.store, &request, &one_by_one).await.unwrap();
    assert_eq!((stats.rows, stats.unindexed_rows), (ROWS, 0));
    made.store.cleanup(TimeDelta::zero()).await.unwrap();
    healthy(&made.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_whose_driver_died_changed_nothing_and_is_made_by_the_next() {
    let (dir, made) = store_of_files().await;
    let version = made.snapshot().await.version();
    let request = request(made.table(), IndexKind::IvfSq);
    let hanging = Arc::new(faulty(&dir, Fault::HangsAfter(1)));
    let dying = tokio::spawn({
        let (store, hanging, request) = (made.store.clone(), hanging.clone(), request.clone());
        async move { create(&store, &request, hanging.as_ref()).await }
    });
    while hanging.tasks.load(Ordering::Relaxed) < 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    assert_eq!(made.snapshot().await.version(), version);
    made.store.cleanup(TimeDelta::zero()).await.unwrap();
    let stats = create(&made.store, &request, &workers(&dir)).await.unwrap();
    assert_eq!((stats.rows, stats.unindexed_rows), (ROWS, 0));
    healthy(&made.store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_merged_while_workers_make_an_index() {
    let (dir, made) = store_of_files().await;
    let request = request(made.table(), IndexKind::IvfFlat);
    let workers = workers(&dir);
    let (stats, merged) = tokio::join!(
        create(&made.store, &request, &workers),
        made.store.compact()
    );
    assert!(!merged.unwrap().is_empty());
    assert_eq!(
        (
            stats.unwrap().rows,
            made.snapshot().await.indexes().await.unwrap().len()
        ),
        (ROWS, 1)
    );
    healthy(&made.store).await;
    let numbers = made.vectors[25].vector.clone();
    let exact = made.brute_force(&numbers, |_| true);
    let found = made.nearest(&thorough(of_mask(vectors_of_e(), 1, 5))).await;
    assert_same(&found.rows, &exact[..10]);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_as_many_as_one_process_makes() {
    let (dir, made) = store_of_files().await;
    for (kind, expected) in [(IndexKind::IvfPq, 3), (IndexKind::IvfFlat, 100)] {
        let request = IndexRequest {
            partitions: Some(100),
            ..request(made.table(), kind)
        };
        let partitions = async || {
            let dataset = made.snapshot().await.dataset(made.table()).await.unwrap();
            let said = dataset.index_statistics("vector_idx").await.unwrap();
            let said: serde_json::Value = serde_json::from_str(&said).unwrap();
            said["indices"][0]["num_partitions"].as_u64()
        };
        made.store.create_index(&request).await.unwrap();
        assert_eq!(partitions().await, Some(expected), "{kind}");
        create(&made.store, &request, &workers(&dir)).await.unwrap();
        assert_eq!(partitions().await, Some(expected), "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_while_workers_make_an_index() {
    let (dir, mut made) = store_of_files().await;
    let store = made.store.clone();
    let request = request(made.table(), IndexKind::IvfSq);
    let workers = workers(&dir);
    let (stats, ()) = tokio::join!(create(&store, &request, &workers), made.add(60..64, 5));
    let stats = stats.unwrap();
    assert!(
        stats.unindexed_rows <= 20 && stats.rows >= ROWS,
        "{stats:?}"
    );
    assert_eq!(
        made.snapshot().await.count(made.table()).await.unwrap(),
        ROWS + 20
    );
    healthy(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_workers_cannot_index_says_why() {
    let (dir, made) = store_of_files().await;
    let partitions = IndexRequest {
        partitions: Some(ROWS + 1),
        ..request(made.table(), IndexKind::IvfFlat)
    };
    for (request, part) in [
        (partitions, "1 to 950"),
        (IndexRequest::new(Table::Images), "'masks', or vectors"),
    ] {
        let failed = create(&made.store, &request, &workers(&dir)).await;
        let message = failed.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let mut few = Made::new().await;
    few.add(0..10, 10).await;
    let request = request(few.table(), IndexKind::IvfPq);
    let failed = create(&few.store, &request, &workers(&dir)).await;
    let message = failed.unwrap_err().to_string();
    assert!(message.contains("at least 256 vectors"), "{message}");
}
