//! Extraction by workers: chunks that are staged by many and committed by one, and what happens when any of them dies.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::util::pretty::pretty_format_batches;
use chrono::TimeDelta;
use datafusion::physical_plan::ExecutionPlan;
use grainstore::Error;
use grainstore::compact::compact_with_workers;
use grainstore::embed::{EmbedOptions, EmbedRequest, Pool, embed, embed_with_workers};
use grainstore::extract::{
    ExtractRequest, ExtractSummary, ImageSelection, MaskOptions, SamVector, extract,
    extract_with_workers,
};
use grainstore::ingest::{FolderIngest, IngestOptions, LabelSource, ingest_folder};
use grainstore::jobs::{InThisProcess, JobOptions, RunPlan, WorkerOptions};
use grainstore::progress::NoProgress;
use grainstore::schema::EmbeddingType;
use grainstore::sql::Sql;
use grainstore::store::{Store, StoreOptions};

use crate::support::harness::photos;
use crate::support::{CHECKPOINT, new_place};

const PHOTOS: u32 = 11;

/// A store of photos, one of which is damaged after it was ingested.
async fn store_of_photos() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let embedding = EmbeddingType {
        dim: 128, // as large as the tokens of the small model
        ..EmbeddingType::default()
    };
    let place = new_place(&dir);
    let store = Store::open_or_create(&place, StoreOptions { embedding })
        .await
        .unwrap();
    let folder = photos(dir.path(), PHOTOS);
    let request = FolderIngest {
        directory: (&folder).into(),
        labels: LabelSource::Unlabelled,
        options: IngestOptions::of_dataset("photos"),
    };
    ingest_folder(&store, &request, &NoProgress).await.unwrap();
    std::fs::write(any_photo(folder), "gone").unwrap();
    (dir, store)
}

fn any_photo(folder: PathBuf) -> PathBuf {
    let files = walkdir::WalkDir::new(folder).sort_by_file_name();
    let mut files = files
        .into_iter()
        .flatten()
        .filter(|it| it.file_type().is_file());
    files.next().unwrap().into_path()
}

fn request() -> ExtractRequest {
    ExtractRequest {
        checkpoint: CHECKPOINT.into(),
        options: MaskOptions {
            points_per_side: 6,
            ..MaskOptions::default()
        },
        ..ExtractRequest::default()
    }
}

pub(crate) fn small_chunks() -> JobOptions {
    JobOptions {
        chunk_images: 2,
        wave: 4,
        poll: Duration::from_millis(20),
        commit_every: Duration::from_millis(100),
        ..JobOptions::default()
    }
}

pub(crate) fn workers(dir: &tempfile::TempDir) -> InThisProcess {
    InThisProcess::new(WorkerOptions {
        slots: 2,
        cache: dir.path().join("cache"),
        ..WorkerOptions::default()
    })
}

async fn run(store: &Store, workers: &dyn RunPlan) -> Result<ExtractSummary, Error> {
    extract_with_workers(store, &request(), workers, &small_chunks(), &NoProgress).await
}

/// All that an extraction writes but times.
async fn dump(store: &Store) -> String {
    let snapshot = store.snapshot().await.unwrap();
    let sql = Sql::new(&snapshot).await.unwrap();
    let mut all = String::new();
    for query in [
        "SELECT * FROM masks ORDER BY extractor_id, image_id, mask_index",
        "SELECT extractor_id, image_id, masks FROM extractions ORDER BY 1, 2",
        "SELECT extractor_id, kind, checkpoint FROM extractors ORDER BY 1",
        "SELECT embedder_id, extractor_id, image_id, vectors FROM embeddings ORDER BY 1, 2, 3",
        "SELECT stage, item FROM failures ORDER BY 1, 2",
    ] {
        let found = sql.query(query).await.unwrap().collect().await.unwrap();
        all += &pretty_format_batches(&found).unwrap().to_string();
    }
    let found = snapshot.verify_all(&NoProgress).await.unwrap();
    assert_eq!((found.damaged, found.without_checksum), (vec![], 0));
    all
}

/// What one process makes of the same photos.
async fn alone(request: &ExtractRequest) -> (ExtractSummary, String) {
    let (_dir, store) = store_of_photos().await;
    let summary = extract(&store, request, &NoProgress).await.unwrap();
    (summary, dump(&store).await)
}

/// Where the store lies, if in a directory.
fn directory(store: &Store) -> Option<PathBuf> {
    (!store.uri().contains("://")).then(|| store.uri().into())
}

async fn staged(store: &Store) -> usize {
    let Some(directory) = directory(store) else {
        return 0; // looked at in a directory only
    };
    let files = walkdir::WalkDir::new(directory.join("staging")).into_iter();
    files
        .flatten()
        .filter(|it| it.file_type().is_file())
        .count()
}

/// Runs a plan as another runner does, with what may go wrong.
pub(crate) struct Faulty {
    inner: InThisProcess,
    /// Partitions that ran.
    pub(crate) tasks: AtomicU64,
    fault: Fault,
}

pub(crate) enum Fault {
    /// Every partition runs on two workers at once.
    Twice(InThisProcess),
    /// A run ends with an error after so many partitions.
    EndsAfter(usize),
    /// A run does not end after so many partitions.
    HangsAfter(usize),
    /// Every run ends with an error after this number of partitions of all runs.
    NeverAfter(usize),
    /// Nothing runs.
    Nothing,
}

#[async_trait::async_trait]
impl RunPlan for Faulty {
    async fn run(&self, plan: Arc<dyn ExecutionPlan>) -> Result<u64, Error> {
        let partitions = plan.properties().partitioning.partition_count();
        match &self.fault {
            Fault::Twice(other) => {
                let (one, two) = tokio::join!(self.inner.run(plan.clone()), other.run(plan));
                assert_eq!(one?, two?);
                Ok(partitions as u64)
            }
            Fault::EndsAfter(count) | Fault::HangsAfter(count) => {
                for partition in 0..partitions.min(*count) {
                    self.inner.run_partition(plan.clone(), partition).await?;
                    self.tasks.fetch_add(1, Ordering::Relaxed);
                }
                if matches!(self.fault, Fault::HangsAfter(_)) {
                    std::future::pending::<()>().await;
                }
                let reason = "an executor was lost".to_owned();
                Err(Error::Cluster { reason })
            }
            Fault::NeverAfter(count) => {
                for partition in 0..partitions {
                    if self.tasks.load(Ordering::Relaxed) < *count as u64 {
                        self.inner.run_partition(plan.clone(), partition).await?;
                        self.tasks.fetch_add(1, Ordering::Relaxed);
                    }
                }
                let reason = "an executor was lost".to_owned();
                Err(Error::Cluster { reason })
            }
            Fault::Nothing => Ok(0),
        }
    }
}

pub(crate) fn faulty(dir: &tempfile::TempDir, fault: Fault) -> Faulty {
    Faulty {
        inner: workers(dir),
        tasks: AtomicU64::new(0),
        fault,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_make_what_one_process_makes() {
    let (expected, rows) = alone(&request()).await;
    assert_eq!(
        (expected.images, expected.failed),
        (u64::from(PHOTOS) - 1, 1)
    );

    let (dir, store) = store_of_photos().await;
    let found = run(&store, &workers(&dir)).await.unwrap();
    assert_eq!(found, expected);
    assert!(dump(&store).await == rows);
    assert_eq!(staged(&store).await, 0);

    // A second run tries the photo that failed again, and nothing else.
    let again = run(&store, &workers(&dir)).await.unwrap();
    assert_eq!((again.images, again.failed), (0, 1));
    assert!(dump(&store).await == rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_runs_twice_counts_once() {
    let (expected, rows) = alone(&request()).await;
    let (dir, store) = store_of_photos().await;
    let twice = faulty(&dir, Fault::Twice(workers(&dir)));
    assert_eq!(run(&store, &twice).await.unwrap(), expected);
    assert!(dump(&store).await == rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_as_long_as_it_gets_on() {
    let (expected, rows) = alone(&request()).await;
    let (dir, store) = store_of_photos().await;
    let faulty = faulty(&dir, Fault::EndsAfter(2));
    assert_eq!(run(&store, &faulty).await.unwrap(), expected);
    assert!(dump(&store).await == rows);
    // Nothing was done twice.
    let chunks = u64::from(PHOTOS).div_ceil(2);
    assert_eq!(faulty.tasks.load(Ordering::Relaxed), chunks);

    let (dir, store) = store_of_photos().await;
    let stuck = self::faulty(&dir, Fault::EndsAfter(0));
    let error = run(&store, &stuck).await.unwrap_err();
    assert!(
        error.to_string().contains("an executor was lost"),
        "{error}"
    );
    let idle = self::faulty(&dir, Fault::Nothing);
    let error = run(&store, &idle).await.unwrap_err();
    let told = format!("{PHOTOS} images were handed out, and not done");
    assert!(error.to_string().contains(&told), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_staged_when_a_driver_died_is_committed_by_the_next() {
    let (expected, rows) = alone(&request()).await;
    let (dir, store) = store_of_photos().await;
    // A driver that commits nothing before it is gone.
    let options = JobOptions {
        commit_every: Duration::from_secs(3600),
        ..small_chunks()
    };
    let hanging = Arc::new(faulty(&dir, Fault::HangsAfter(3)));
    let dying = tokio::spawn({
        let (store, hanging) = (store.clone(), hanging.clone());
        async move {
            extract_with_workers(&store, &request(), hanging.as_ref(), &options, &NoProgress).await
        }
    });
    while hanging.tasks.load(Ordering::Relaxed) < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    let left = staged(&store).await;
    // Upkeep leaves alone what waits for its commit.
    store.compact().await.unwrap();
    store.cleanup(TimeDelta::zero()).await.unwrap();

    let found = run(&store, &workers(&dir)).await.unwrap();
    assert_eq!(found, expected);
    assert!(dump(&store).await == rows);
    let commits = store.log().await.unwrap();
    let adopted = commits.iter().find(|it| it.operation == "extract").unwrap();
    // Of six images, one is damaged.
    assert_eq!(adopted.rows["extractions"], 5, "{adopted:?}");
    if directory(&store).is_some() {
        assert_eq!(left, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_another_process_does_meanwhile_are_not_doubled() {
    let (expected, rows) = alone(&request()).await;
    let (dir, store) = store_of_photos().await;
    let two = ExtractRequest {
        selection: ImageSelection {
            limit: Some(3),
            ..ImageSelection::default()
        },
        commit_masks: 1,
        ..request()
    };
    let workers = workers(&dir);
    let (alone, many) = tokio::join!(extract(&store, &two, &NoProgress), run(&store, &workers));
    let (alone, many) = (alone.unwrap(), many.unwrap());
    assert_eq!(alone.images + many.images, expected.images);
    assert!(dump(&store).await == rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_are_added_to_images_that_have_masks() {
    let with_vectors = ExtractRequest {
        vectors: vec![SamVector::Neck, SamVector::Token],
        keep_features: true,
        ..request()
    };
    let (expected, rows) = alone(&with_vectors).await;

    let (dir, store) = store_of_photos().await;
    let half = ImageSelection {
        limit: Some(5),
        ..ImageSelection::default()
    };
    let selected = ExtractRequest {
        selection: half,
        ..request()
    };
    let first = extract(&store, &selected, &NoProgress).await.unwrap();
    let workers = workers(&dir);
    let options = small_chunks();
    let found = extract_with_workers(&store, &with_vectors, &workers, &options, &NoProgress)
        .await
        .unwrap();
    assert_eq!(found.revisited, first.images);
    assert_eq!(found.images + first.images, expected.images);
    assert!(dump(&store).await == rows);
}

/// A store of photos whose tables have a file for every image.
async fn store_of_small_files() -> (tempfile::TempDir, Store) {
    let (dir, store) = store_of_photos().await;
    let one_by_one = ExtractRequest {
        commit_masks: 1,
        ..request()
    };
    extract(&store, &one_by_one, &NoProgress).await.unwrap();
    (dir, store)
}

async fn compact(store: &Store, workers: &dyn RunPlan) -> Result<Vec<(String, usize)>, Error> {
    let merged = compact_with_workers(store, workers, &small_chunks(), &NoProgress).await?;
    Ok(merged
        .into_iter()
        .map(|it| (it.table, it.files_after))
        .collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_workers_merge_hold_the_same_rows() {
    let (_dir, store) = store_of_small_files().await;
    let rows = dump(&store).await;
    let alone = store.compact().await.unwrap().into_iter();
    let alone: Vec<(String, usize)> = alone.map(|it| (it.table, it.files_after)).collect();
    assert!(alone.iter().any(|(table, _)| table == "masks"), "{alone:?}");

    for fault in [0, 1, 2] {
        let (dir, store) = store_of_small_files().await;
        let twice = faulty(&dir, Fault::Twice(workers(&dir)));
        // One merge a pass.
        let one_by_one = faulty(&dir, Fault::EndsAfter(1));
        let runners: [&dyn RunPlan; 3] = [&workers(&dir), &twice, &one_by_one];
        assert_eq!(compact(&store, runners[fault]).await.unwrap(), alone);
        assert!(dump(&store).await == rows);
        assert_eq!(staged(&store).await, 0);
        assert!(compact(&store, runners[fault]).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compaction_whose_driver_died_changed_nothing_and_is_not_in_the_way() {
    let (dir, store) = store_of_small_files().await;
    let (rows, version) = (
        dump(&store).await,
        store.snapshot().await.unwrap().version(),
    );
    let hanging = Arc::new(faulty(&dir, Fault::HangsAfter(1)));
    let dying = tokio::spawn({
        let (store, hanging) = (store.clone(), hanging.clone());
        async move { compact(&store, hanging.as_ref()).await }
    });
    while hanging.tasks.load(Ordering::Relaxed) < 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    dying.abort();
    assert!(dying.await.unwrap_err().is_cancelled());
    assert_eq!(store.snapshot().await.unwrap().version(), version);
    store.cleanup(TimeDelta::zero()).await.unwrap();

    let merged = compact(&store, &workers(&dir)).await.unwrap();
    assert!(merged.iter().any(|(table, _)| table == "masks"));
    assert!(dump(&store).await == rows);
    if directory(&store).is_some() {
        // The result of the one that died goes with the next clean-up after six days.
        assert_eq!(staged(&store).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_that_nobody_does_are_told() {
    let (dir, store) = store_of_small_files().await;
    let rows = dump(&store).await;
    let lost = compact(&store, &faulty(&dir, Fault::EndsAfter(0))).await;
    let told = lost.unwrap_err().to_string();
    assert!(told.contains("an executor was lost"), "{told}");
    let idle = compact(&store, &faulty(&dir, Fault::Nothing)).await;
    let told = idle.unwrap_err().to_string();
    assert!(told.contains("handed out, and not done"), "{told}");
    assert!(dump(&store).await == rows);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_another_checkpoint_is_told() {
    let (dir, store) = store_of_photos().await;
    let idle = faulty(&dir, Fault::Nothing);
    run(&store, &idle).await.unwrap_err();
    // Somebody exchanges the weights that the workers read.
    let Some(directory) = directory(&store) else {
        return;
    };
    let weights = walkdir::WalkDir::new(directory.join("checkpoints"));
    let mut weights = weights
        .into_iter()
        .flatten()
        .filter(|it| it.file_type().is_file());
    let path = weights.next().unwrap().into_path();
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = run(&store, &workers(&dir)).await.unwrap_err();
    assert!(
        error.to_string().contains("on this worker, and made"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_embed_what_one_process_embeds() {
    for (name, pool) in [("crops", None), ("photos", Some(Pool::Image))] {
        let embedding = EmbedRequest {
            checkpoint: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/embed/clip_hf").into(),
            name: Some(name.to_owned()),
            options: EmbedOptions {
                pool,
                ..EmbedOptions::default()
            },
            ..EmbedRequest::default()
        };
        let few_masks = ExtractRequest {
            options: MaskOptions {
                points_per_side: 3,
                ..MaskOptions::default()
            },
            ..request()
        };
        let mut found = Vec::new();
        for is_alone in [true, false] {
            let (dir, store) = store_of_photos().await;
            extract(&store, &few_masks, &NoProgress).await.unwrap();
            let summary = if is_alone {
                embed(&store, &embedding, &NoProgress).await
            } else {
                let twice = faulty(&dir, Fault::Twice(workers(&dir)));
                embed_with_workers(&store, &embedding, &twice, &small_chunks(), &NoProgress).await
            };
            let sql = Sql::new(&store.snapshot().await.unwrap()).await.unwrap();
            let (table, order) = match pool {
                None => ("vectors", "image_id, mask_index"),
                Some(_) => ("image_vectors", "image_id"),
            };
            let query = format!("SELECT * FROM {table}.{name} ORDER BY {order}");
            let rows = sql.query(&query).await.unwrap().collect().await.unwrap();
            let rows = pretty_format_batches(&rows).unwrap().to_string();
            found.push((summary.unwrap(), rows, dump(&store).await));
        }
        assert!(found[0].0.vectors >= 10, "{:?}", found[0].0);
        assert_eq!(found[0].0, found[1].0);
        assert!(found[0].1 == found[1].1);
        assert!(found[0].2 == found[1].2);
    }
}
