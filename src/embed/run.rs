//! The run: masks and photos are read ahead, go through the network, and their vectors are committed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use datafusion::prelude::{col, lit};
use futures::{StreamExt, stream};
use image::RgbImage;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::embedder::{Embedder, MaskToEmbed};
use super::options::Resolved;
use super::pending::{PendingVectors, pending_vectors};
use super::sink::{Embedded, Sink, Vectors};
use super::summary::EmbedSummary;
use crate::catalogue::decoding_of;
use crate::extract::{
    Ahead, DECODED_AHEAD, DecodedPhoto, ImageSelection, PendingImage, failure_of, read_ahead,
};
use crate::ids::{ExtractorId, ImageId};
use crate::photo::Decoding;
use crate::progress::Progress;
use crate::schema::Table;
use crate::store::columns::RleColumn;
use crate::store::{Snapshot, Store, is_of_images};
use crate::{Error, Result};

/// Up to this many pending images, only their masks are read; beyond it, all masks of the extractor.
const FEW_IMAGES: usize = 1000;

/// Embeds what is left to do; `extractor_id` is `None` for vectors of whole images.
pub(super) async fn run(
    store: &Store,
    embedder: Embedder,
    extractor_id: Option<&ExtractorId>,
    selection: &ImageSelection,
    commit_vectors: usize,
    progress: &dyn Progress,
) -> Result<EmbedSummary> {
    let snapshot = store.snapshot().await?;
    let row = embedder.row().clone();
    let pending = pending_vectors(&snapshot, &row.embedder_id, extractor_id, selection).await?;
    progress.start("images", Some(pending.len() as u64));
    let counted = pending.iter();
    let counted = counted.map(|it| (it.image.image_id.clone(), it.masks));
    let counted: HashMap<ImageId, u64> = counted.collect();

    let embedder = Arc::new(embedder);
    let mut images = Embedding::start(embedder, &snapshot, extractor_id, pending).await?;
    let mut sink = Sink::new(&snapshot, &row, extractor_id, counted, commit_vectors);
    while let Some((image, result)) = images.next().await {
        match result {
            Ok(embedded) => sink.push(embedded).await?,
            Err(err) => {
                let failure = failure_of("embed", &image, &err);
                progress.note(&format!("{}: {}", failure.item, failure.reason));
                sink.fail(failure).await?;
            }
        }
        progress.advance(1);
    }
    let ended = images.end().await;
    // Vectors that were made are kept, however the run ended.
    let summary = sink.finish().await?;
    progress.finish();
    ended.map(|()| summary)
}

/// Images on their way through a network: masks and photos are read ahead, and the network has a thread of its own.
pub(super) struct Embedding {
    results: mpsc::Receiver<Outcome>,
    finding: JoinHandle<Result<()>>,
    reading: JoinHandle<()>,
    model: JoinHandle<Result<()>>,
}

impl Embedding {
    /// `extractor_id` is `None` for vectors of whole images.
    pub async fn start(
        embedder: Arc<Embedder>,
        snapshot: &Snapshot,
        extractor_id: Option<&ExtractorId>,
        pending: Vec<PendingVectors>,
    ) -> Result<Self> {
        let decoding = match extractor_id {
            Some(extractor_id) => decoding_of(snapshot, extractor_id).await?,
            None => Decoding::default(),
        };
        let (jobs, mut to_decode) = mpsc::channel(DECODED_AHEAD);
        let (photos, to_model) = mpsc::channel(DECODED_AHEAD);
        let (done, results) = mpsc::channel(DECODED_AHEAD);
        let options = embedder.options;
        let (of_extractor, masks_in) = (extractor_id.cloned(), snapshot.clone());
        let finding = tokio::spawn(async move {
            match of_extractor {
                Some(extractor_id) => {
                    with_masks(&masks_in, &extractor_id, pending, &options, jobs).await
                }
                None => {
                    for image in pending {
                        let job = (image.image, Vec::new());
                        if jobs.send(job).await.is_err() {
                            break;
                        }
                    }
                    Ok(())
                }
            }
        });
        let files = snapshot.store().photos();
        let of_masks = extractor_id.is_some();
        Ok(Self {
            results,
            finding,
            reading: tokio::spawn(async move {
                // The photo of an image without masks is not read, if masks are what is embedded.
                let is_read = move |masks: &Vec<MaskToEmbed>| !of_masks || !masks.is_empty();
                let read = move |image: &PendingImage, masks: &Vec<MaskToEmbed>, place| {
                    let photo =
                        is_read(masks).then(|| DecodedPhoto::read(&files, image, &decoding, place));
                    photo.transpose()
                };
                let jobs = stream::poll_fn(move |context| to_decode.poll_recv(context));
                read_ahead(jobs, is_read, read, photos).await;
            }),
            model: tokio::task::spawn_blocking(move || run_model(&embedder, to_model, &done)),
        })
    }

    /// The next image and its vectors, or the reason why it has none; `None` at the end.
    pub async fn next(&mut self) -> Option<Outcome> {
        self.results.recv().await
    }

    /// Waits for the threads, after the last image.
    pub async fn end(self) -> Result<()> {
        let worker = |source| Error::Worker {
            task: "embedding",
            source,
        };
        let ended = self.model.await.unwrap_or_else(|err| Err(worker(err)));
        let found = self.finding.await.unwrap_or_else(|err| Err(worker(err)));
        self.reading.abort();
        ended.and(found)
    }
}

type Job = (PendingImage, Vec<MaskToEmbed>);
type Decoded = Ahead<Vec<MaskToEmbed>, Option<DecodedPhoto>>;
pub(super) type Outcome = (PendingImage, Result<Embedded>);

/// An image whose masks are being read.
struct Gathering {
    image: PendingImage,
    /// Rows that are still to come.
    missing: u64,
    masks: Vec<MaskToEmbed>,
}

/// Sends each pending image with its masks as soon as all of them have been read.
async fn with_masks(
    snapshot: &Snapshot,
    extractor_id: &ExtractorId,
    pending: Vec<PendingVectors>,
    options: &Resolved,
    jobs: mpsc::Sender<Job>,
) -> Result<()> {
    let mut gathering: HashMap<ImageId, Gathering> = HashMap::new();
    for PendingVectors { image, masks } in pending {
        if masks == 0 {
            if jobs.send((image, Vec::new())).await.is_err() {
                return Ok(());
            }
            continue;
        }
        let id = image.image_id.clone();
        let new = Gathering {
            image,
            missing: masks,
            masks: Vec::new(),
        };
        gathering.insert(id, new);
    }
    if gathering.is_empty() {
        return Ok(());
    }
    let columns = [
        "image_id",
        "mask_index",
        "rle",
        "predicted_iou",
        "stability_score",
    ];
    let mut wanted = col("extractor_id").eq(lit(extractor_id.as_str()));
    if gathering.len() <= FEW_IMAGES {
        wanted = wanted.and(is_of_images(gathering.keys()));
    }
    let scan = snapshot.scan(Table::Masks).await?.project(&columns)?;
    let mut rows = scan.filter(wanted).stream().await?;
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let complete = take_masks(&mut gathering, &batch, options)?;
        for job in complete {
            if jobs.send(job).await.is_err() {
                return Ok(());
            }
        }
        if gathering.is_empty() {
            break;
        }
    }
    // An image whose row of `extractions` counts more masks than there are is embedded with those that there are.
    for (_, left) in gathering {
        if jobs.send((left.image, left.masks)).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Adds the masks of a batch to their images; returns the images that are complete.
fn take_masks(
    gathering: &mut HashMap<ImageId, Gathering>,
    batch: &arrow::array::RecordBatch,
    options: &Resolved,
) -> Result<Vec<Job>> {
    #[derive(serde::Deserialize)]
    struct Row {
        image_id: ImageId,
        mask_index: i32,
        predicted_iou: Option<f32>,
        stability_score: Option<f32>,
    }
    let rle = batch.column_by_name("rle").ok_or(Error::Internal {
        what: "a scan of masks lacks the column rle",
    })?;
    let masks = RleColumn::new(rle)?;
    let values = batch.project(&[0, 1, 3, 4])?;
    let rows = crate::store::rows::decode::<Row>(Table::Masks, &values)?;
    let mut complete = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        let Some(image) = gathering.get_mut(&row.image_id) else {
            continue;
        };
        let reaches = |min: Option<f32>, value: Option<f32>| {
            min.zip(value).is_none_or(|(min, value)| value >= min)
        };
        if reaches(options.min_predicted_iou, row.predicted_iou)
            && reaches(options.min_stability_score, row.stability_score)
            && let Some(rle) = masks.get(at)?
        {
            image.masks.push(MaskToEmbed {
                mask_index: row.mask_index,
                rle,
            });
        }
        image.missing = image.missing.saturating_sub(1);
        if image.missing == 0
            && let Some(done) = gathering.remove(&row.image_id)
        {
            complete.push((done.image, done.masks));
        }
    }
    Ok(complete)
}

/// Runs the network on every photo. A photo that cannot be used, or of which the network makes numbers that are not
/// finite, is passed on as its own error; any other error of the network ends the run.
fn run_model(
    embedder: &Embedder,
    mut photos: mpsc::Receiver<Decoded>,
    results: &mpsc::Sender<Outcome>,
) -> Result<()> {
    while let Some((image, masks, photo)) = photos.blocking_recv() {
        let result = match photo {
            Ok(photo) => match embedded(embedder, &image, &masks, photo.as_deref()) {
                // Numbers that are not finite are this photo's; anything else would go wrong with others, too.
                Err(err @ Error::ModelOutput { .. }) => Err(err),
                Err(err) => {
                    return Err(Error::Embedding {
                        item: image.file_name,
                        source: Box::new(err),
                    });
                }
                done => done,
            },
            Err(err) => Err(err),
        };
        if results.blocking_send((image, result)).is_err() {
            break;
        }
    }
    Ok(())
}

fn embedded(
    embedder: &Embedder,
    image: &PendingImage,
    masks: &[MaskToEmbed],
    photo: Option<&RgbImage>,
) -> Result<Embedded> {
    let started = Instant::now();
    let vectors = match photo {
        Some(photo) if embedder.is_of_images() => Vectors::Image(embedder.image_vector(photo)?),
        Some(photo) => Vectors::Masks(embedder.mask_vectors(photo, masks)?),
        None => Vectors::Masks(Vec::new()),
    };
    Ok(Embedded {
        image_id: image.image_id.clone(),
        vectors,
        seconds: started.elapsed().as_secs_f64(),
    })
}
