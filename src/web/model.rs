//! The model that masks are added with, and the photos that it has encoded.

use std::path::PathBuf;
use std::sync::Arc;

use grainstore::catalogue::{decoding_by, extractors_stored, sees_alike};
use grainstore::device::{DeviceName, Precision};
use grainstore::extract::Prompter;
use grainstore::ids::ImageId;
use grainstore::models::sam::{ImageFeatures, PredictedMask, Prompt};
use grainstore::store::Store;
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::failure::{Answered, Failure};
use super::photos::{Photos, worked};

/// Bytes of images' features in memory: 32 images of Segment Anything.
const ENCODED: u64 = 128 << 20;

/// The model that masks are added with.
pub struct Model {
    store: Store,
    prompter: Arc<Prompter>,
    features: Cache<ImageId, Arc<ImageFeatures>>,
    encoding: Semaphore,
}

impl Model {
    /// Loads a checkpoint, whose tokens must fit the store.
    pub async fn open(
        store: &Store,
        checkpoint: PathBuf,
        device: DeviceName,
        precision: Precision,
    ) -> anyhow::Result<Self> {
        let opened = move || Prompter::open(&checkpoint, device, precision);
        let prompter = tokio::task::spawn_blocking(opened).await??;
        let prompter = prompter.beside(&extractors_stored(&store.snapshot().await?).await?);
        store.check_embeddings(prompter.extractor())?;
        Ok(Self {
            store: store.clone(),
            prompter: Arc::new(prompter),
            features: Cache::builder()
                .weigher(|_, features: &Arc<ImageFeatures>| {
                    u32::try_from(features.bytes()).unwrap_or(u32::MAX)
                })
                .max_capacity(ENCODED)
                .build(),
            encoding: Semaphore::new(1),
        })
    }

    /// Whether masks of the store are of the same weights in the same precision, so that their heads predict added masks.
    pub async fn is_of_store(&self) -> grainstore::Result<bool> {
        let own = self.prompter.extractor();
        let stored = extractors_stored(&self.store.snapshot().await?).await?;
        let mut others = stored.iter().filter(|row| row.kind != own.kind);
        Ok(others.any(|row| sees_alike(row, own)))
    }

    /// What the model predicts for a prompt, and the place of the best.
    pub async fn predict(
        &self,
        features: Arc<ImageFeatures>,
        prompt: Prompt,
    ) -> Answered<(Vec<PredictedMask>, usize)> {
        let prompter = self.prompter.clone();
        Ok(worked(move || prompter.predict(&features, &prompt)).await??)
    }

    /// The features of a photo: in memory, kept in the store, or made now.
    pub async fn features(
        &self,
        photos: &Photos,
        image_id: &ImageId,
    ) -> Answered<Arc<ImageFeatures>> {
        let made = self.features.try_get_with(image_id.clone(), async {
            let size = photos.image_row(image_id).await?.size();
            let snapshot = self.store.snapshot().await?;
            let kept = self.prompter.kept_features(&snapshot, image_id, size);
            if let Some(kept) = kept.await? {
                return Ok::<_, Failure>(Arc::new(kept));
            }
            let decoding = decoding_by(self.prompter.extractor());
            let photo = photos.decoded(image_id, decoding).await?;
            // One photo at a time: an encoder takes all cores, and gigabytes of memory.
            let turn = self.encoding.acquire().await;
            let prompter = self.prompter.clone();
            let encoded = worked(move || prompter.encode(&photo)).await??;
            drop(turn);
            Ok(Arc::new(encoded))
        });
        let failed = |failure: Arc<Failure>| failure.as_ref().clone();
        made.await.map_err(failed)
    }

    /// What makes the masks.
    pub fn prompter(&self) -> &Prompter {
        &self.prompter
    }
}
