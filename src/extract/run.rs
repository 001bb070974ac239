//! The run: images are read ahead on threads, go through the model, and are committed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::ScopedJoinHandle;
use std::time::Instant;

use futures::{StreamExt, stream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::crop_features::KeptFeatures;
use super::decoded::{Ahead, DECODED_AHEAD, DecodedPhoto, read_ahead};
use super::generator::{Generated, MaskGenerator};
use super::kept::Kept;
use super::options::SamVector;
use super::pending::{ImageSelection, PendingImage, Wanted, pending_images};
use super::sink::Sink;
use super::summary::ExtractSummary;
use super::target::{Extracted, Target};
use crate::catalogue::embedders_stored;
use crate::progress::Progress;
use crate::store::rows::{EmbedderRow, ExtractorRow, FailureRow};
use crate::store::{PhotoFiles, Snapshot, Store};
use crate::vectors::free_name;
use crate::{Error, Result};

/// Default number of masks that are committed together, unless 20 seconds pass first: what memory allows, because every commit
/// makes a file per table.
pub const DEFAULT_COMMIT_MASKS: usize = 32_768;

/// A model with its options, ready to extract, and the row that identifies it.
pub struct Extractor {
    pub(super) generator: MaskGenerator,
    pub(super) row: ExtractorRow,
    pub(super) vectors: Vec<(SamVector, EmbedderRow)>,
    keeps_features: bool,
    commit_masks: usize,
    pub(super) images_at_once: usize,
}

impl Extractor {
    /// Creates an extractor from a generator and the row that [`extractor_row`](super::extractor_row) made from its
    /// checkpoint and options.
    pub fn new(generator: MaskGenerator, row: ExtractorRow) -> Self {
        Self {
            generator,
            row,
            vectors: Vec::new(),
            keeps_features: false,
            commit_masks: DEFAULT_COMMIT_MASKS,
            images_at_once: 1,
        }
    }

    /// Also keeps vectors of masks, each as those of an embedder.
    #[must_use]
    pub(super) fn with_vectors(self, vectors: Vec<(SamVector, EmbedderRow)>) -> Self {
        Self { vectors, ..self }
    }

    /// Also keeps the features of images.
    #[must_use]
    pub fn with_features(self) -> Self {
        Self {
            generator: self.generator.with_features(),
            keeps_features: true,
            ..self
        }
    }

    /// Extracts this many images at once, each on one CPU thread, instead of one image with all threads. This is faster
    /// for small models, whose kernels have little work to share among threads, but takes that many times the memory.
    #[must_use]
    pub fn with_images_at_once(self, images_at_once: usize) -> Self {
        Self {
            images_at_once: images_at_once.max(1),
            ..self
        }
    }

    /// Commits whenever this many masks have been collected, instead of [`DEFAULT_COMMIT_MASKS`].
    #[must_use]
    pub fn with_commit_masks(self, commit_masks: usize) -> Self {
        Self {
            commit_masks,
            ..self
        }
    }
}

/// Extracts the selected images that an extractor has not done yet: [`super::extract`] with a model of your own.
///
/// A run may be stopped at any time and started again; several may run at once on one store.
///
/// # Errors
/// [`Error::EmbeddingSize`] if the store keeps embeddings of another size; [`Error::Extraction`] if the model fails;
/// errors of the store. An image that cannot be read is recorded in `failures` instead.
pub async fn extract_with(
    store: &Store,
    extractor: Extractor,
    selection: &ImageSelection,
    progress: &dyn Progress,
) -> Result<ExtractSummary> {
    store.check_embeddings(&extractor.row)?;
    let snapshot = store.snapshot().await?;

    let Extractor {
        generator,
        row,
        vectors,
        keeps_features,
        commit_masks,
        images_at_once,
    } = extractor;
    generator.check_features(keeps_features)?;
    let vectors = named_in(&snapshot, vectors).await?;
    let embedders = vectors.iter();
    let wanted = Wanted {
        embedders: embedders.map(|(_, row)| row.embedder_id.clone()).collect(),
        features: keeps_features,
    };
    let pending = pending_images(&snapshot, &row.extractor_id, &wanted, selection).await?;
    progress.start("images", Some(pending.len() as u64));
    let token_width = generator.token_width();
    let generator = Arc::new(generator);
    let kept = kept_for(&generator, &snapshot, &row).await?;
    let mut running = Running::start(generator, store.photos(), pending, images_at_once, kept);
    let mut sink = Sink::new(store, Target::new(row, vectors, token_width), commit_masks);
    while let Some((image, result)) = running.next().await {
        match result {
            Ok(extracted) => sink.push(extracted).await?,
            Err(err) => {
                let failure = failure_of("extract", &image, &err);
                progress.note(&format!("{}: {}", failure.item, failure.reason));
                sink.fail(failure).await?;
            }
        }
        progress.advance(1);
    }
    let ended = running.end().await;
    // Masks that were extracted are kept, however the run ended.
    let summary = sink.finish().await?;
    progress.finish();
    ended.map(|()| summary)
}

/// Images on their way through a model: they are read ahead, and go through it on threads of their own.
pub(super) struct Running {
    results: mpsc::Receiver<Outcome>,
    reading: JoinHandle<()>,
    model: JoinHandle<Result<()>>,
}

impl Running {
    pub fn start(
        generator: Arc<MaskGenerator>,
        files: PhotoFiles,
        images: Vec<PendingImage>,
        images_at_once: usize,
        kept: Option<Kept>,
    ) -> Self {
        let (photos, to_model) = mpsc::channel(DECODED_AHEAD);
        let (done, results) = mpsc::channel(DECODED_AHEAD);
        let decoding = generator.decoding();
        let kept = Arc::new(kept);
        let model = tokio::task::spawn_blocking(move || match images_at_once {
            1 => run_model(&generator, to_model, &done),
            many => run_model_beside(&generator, many, to_model, &done),
        });
        Self {
            results,
            reading: tokio::spawn(read_ahead(
                stream::iter(images).map(|image| (image, ())),
                |()| true,
                move |image, (), place| match &*kept {
                    Some(kept) => {
                        let of_image = Handle::current().block_on(kept.read(&image.image_id))?;
                        let photo = || DecodedPhoto::read(&files, image, &decoding, place);
                        of_image
                            .map_or_else(|| photo().map(Seen::Photo), |it| Ok(Seen::Features(it)))
                    }
                    None => DecodedPhoto::read(&files, image, &decoding, place).map(Seen::Photo),
                },
                photos,
            )),
            model,
        }
    }

    /// The next image and its masks, or the reason why it has none; `None` at the end.
    pub async fn next(&mut self) -> Option<Outcome> {
        self.results.recv().await
    }

    /// Waits for the threads, after the last image.
    ///
    /// # Errors
    /// [`Error::Extraction`] if the model failed.
    pub async fn end(self) -> Result<()> {
        let ended = self.model.await.unwrap_or_else(|source| {
            Err(Error::Worker {
                task: "running the model",
                source,
            })
        });
        self.reading.abort();
        ended
    }
}

/// The features that are kept for an extractor, if it uses them.
pub(super) async fn kept_for(
    generator: &MaskGenerator,
    snapshot: &Snapshot,
    row: &ExtractorRow,
) -> Result<Option<Kept>> {
    if !generator.reads_kept_features() {
        return Ok(None);
    }
    Ok(Some(Kept::for_extractor(snapshot, row).await?))
}

/// Embedders under the names that they have in the store, or under free ones.
pub(super) async fn named_in(
    snapshot: &Snapshot,
    vectors: Vec<(SamVector, EmbedderRow)>,
) -> Result<Vec<(SamVector, EmbedderRow)>> {
    let stored = embedders_stored(snapshot).await?;
    let named = |(kind, row): (SamVector, EmbedderRow)| (kind, free_name(&stored, row));
    Ok(vectors.into_iter().map(named).collect())
}

/// What the model gets of an image.
pub(super) enum Seen {
    Photo(DecodedPhoto),
    Features(KeptFeatures),
}

type Photo = Ahead<(), Seen>;
pub(super) type Outcome = (PendingImage, Result<Extracted>);

/// Runs the model on every photo. A photo that cannot be used is passed on as its own error; an error of the model ends
/// the run.
fn run_model(
    generator: &MaskGenerator,
    mut photos: mpsc::Receiver<Photo>,
    results: &mpsc::Sender<Outcome>,
) -> Result<()> {
    while let Some((image, (), photo)) = photos.blocking_recv() {
        let result = run_on(generator, &image, photo)?;
        if results.blocking_send((image, result)).is_err() {
            break;
        }
    }
    Ok(())
}

/// Like [`run_model`], but with `many` photos at once, each on a thread of its own, in turn; results come in the order of
/// the photos.
fn run_model_beside(
    generator: &MaskGenerator,
    many: usize,
    mut photos: mpsc::Receiver<Photo>,
    results: &mpsc::Sender<Outcome>,
) -> Result<()> {
    // Kernels of the CPU that split their work over shared threads would wait for each other more than they work, so
    // each thread has its own pool there.
    let pool = || {
        let alone = rayon::ThreadPoolBuilder::new().num_threads(1);
        let pool = generator.is_on_cpu().then(|| alone.build());
        pool.transpose().map_err(|source| Error::Threads { source })
    };
    let pools = (0..many).map(|_| pool()).collect::<Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        let worker = |pool| {
            let (photos, given) = sync_channel::<Photo>(1);
            let (done, results) = sync_channel(1);
            let running = scope.spawn(move || work(generator, pool, given, &done));
            Worker {
                photos,
                results,
                running,
            }
        };
        let mut working: VecDeque<Worker<'_>> = VecDeque::new();
        let mut idle: VecDeque<Worker<'_>> = pools.iter().map(Option::as_ref).map(worker).collect();
        loop {
            while let Some(worker) = idle.pop_front() {
                let Some(photo) = photos.blocking_recv() else {
                    break;
                };
                // A worker that has ended is found when its result is awaited.
                let _ = worker.photos.send(photo);
                working.push_back(worker);
            }
            let Some(worker) = working.pop_front() else {
                return Ok(());
            };
            let Ok(outcome) = worker.results.recv() else {
                let ended = worker.running.join();
                return ended.map_err(|panic| std::panic::resume_unwind(panic));
            };
            if results.blocking_send(outcome?).is_err() {
                return Ok(());
            }
            idle.push_back(worker);
        }
    })
}

/// A thread that runs the model on one photo after the other.
struct Worker<'scope> {
    photos: SyncSender<Photo>,
    results: std::sync::mpsc::Receiver<Result<Outcome>>,
    running: ScopedJoinHandle<'scope, ()>,
}

/// What a worker does, until no photo is left or nobody waits for results.
fn work(
    generator: &MaskGenerator,
    pool: Option<&rayon::ThreadPool>,
    photos: std::sync::mpsc::Receiver<Photo>,
    results: &SyncSender<Result<Outcome>>,
) {
    for (image, (), photo) in photos {
        let run = || run_on(generator, &image, photo);
        let result = match pool {
            Some(pool) => pool.install(run),
            None => run(),
        };
        if results.send(result.map(|result| (image, result))).is_err() {
            return;
        }
    }
}

/// The masks of one photo, or the reason why it cannot be used.
fn run_on(
    generator: &MaskGenerator,
    image: &PendingImage,
    seen: Result<Seen>,
) -> Result<Result<Extracted>> {
    let seen = match seen {
        Ok(seen) => seen,
        Err(err) => return Ok(Err(err)),
    };
    let started = Instant::now();
    let made = match &seen {
        Seen::Photo(photo) => generator.run(photo),
        Seen::Features(features) => generator.run_on_features(image.size(), features),
    };
    let Generated { masks, features } = made.map_err(|err| Error::Extraction {
        item: image.file_name.clone(),
        source: Box::new(err),
    })?;
    Ok(Ok(Extracted {
        image_id: image.image_id.clone(),
        masks,
        features,
        seconds: started.elapsed().as_secs_f64(),
    }))
}

/// The row of `failures` for an image that cannot be used in a stage.
pub(crate) fn failure_of(stage: &'static str, image: &PendingImage, err: &Error) -> FailureRow {
    let mut failure = FailureRow::of_error(stage, None, &image.file_name, err);
    failure.image_id = Some(image.image_id.clone());
    failure
}
