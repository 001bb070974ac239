//! Photos, and the masks on them: what was read last is kept in memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::http::StatusCode;
use grainstore::catalogue::{decoding_by, extractors_stored};
use grainstore::ids::{ExtractorId, ImageId};
use grainstore::photo::{Decoding, render};
use grainstore::review::{MaskKey, ShownMask, shown_masks};
use grainstore::selection::{ImageFilter, SelectedImage, find_images};
use grainstore::store::{PhotoFiles, Store};
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use moka::future::Cache;
use tokio::sync::Mutex;

use super::failure::{Answered, Failure};

/// Memory for decoded photos, in bytes.
const DECODED_BYTES: u64 = 256 << 20;
/// Memory for JPEG files, in bytes.
const ENCODED_BYTES: u64 = 128 << 20;
/// Memory for masks, in bytes.
const MASK_BYTES: u64 = 128 << 20;
/// Images whose rows are kept.
const ROWS: u64 = 100_000;
/// Extractors of which is kept how their photos are decoded.
const EXTRACTORS: u64 = 1000;
/// Quality of the JPEG files, of 100.
const QUALITY: u8 = 85;
/// What was read last.
pub struct Photos {
    store: Store,
    files: PhotoFiles,
    rows: Cache<ImageId, Arc<SelectedImage>>,
    decodings: Cache<ExtractorId, Decoding>,
    decoded: Cache<String, Arc<RgbImage>>,
    encoded: Cache<String, Arc<Vec<u8>>>,
    /// Held while a photo is decoded that is too large to be kept.
    large: Mutex<()>,
    masks: Cache<(ExtractorId, ImageId), Arc<Vec<ShownMask>>>,
}

impl Photos {
    /// Of a store; nothing is read yet.
    pub fn new(store: Store) -> Self {
        let weight = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            files: store.photos(),
            large: Mutex::new(()),
            store,
            rows: Cache::new(ROWS),
            decodings: Cache::new(EXTRACTORS),
            decoded: Cache::builder()
                .max_capacity(DECODED_BYTES)
                .weigher(move |_, photo: &Arc<RgbImage>| weight(photo.as_raw().len()))
                .build(),
            encoded: Cache::builder()
                .max_capacity(ENCODED_BYTES)
                .weigher(move |_, bytes: &Arc<Vec<u8>>| weight(bytes.len()))
                .build(),
            masks: Cache::builder()
                .max_capacity(MASK_BYTES)
                .weigher(move |_, masks: &Arc<Vec<ShownMask>>| {
                    let bytes = masks.iter().map(|mask| mask.rle.counts.len() + 200);
                    weight(bytes.sum())
                })
                .build(),
        }
    }

    /// The row of an image.
    pub async fn image_row(&self, image_id: &ImageId) -> Answered<Arc<SelectedImage>> {
        let found = self.rows.try_get_with(image_id.clone(), async {
            let filter = ImageFilter {
                ids: Some(vec![image_id.clone()]),
                ..ImageFilter::default()
            };
            let snapshot = self.store.snapshot().await?;
            let found = find_images(&snapshot, &filter, |_| true).await?.pop();
            let missing = || Failure::missing(format!("there is no image '{image_id}'"));
            found.map(Arc::new).ok_or_else(missing)
        });
        found.await.map_err(told)
    }

    /// The masks that an extractor has of an image.
    pub async fn masks_of(
        &self,
        extractor_id: &ExtractorId,
        image_id: &ImageId,
    ) -> Answered<Arc<Vec<ShownMask>>> {
        let key = (extractor_id.clone(), image_id.clone());
        if let Some(found) = self.masks.get(&key).await {
            return Ok(found);
        }
        let snapshot = self.store.snapshot().await?;
        let of_image = std::slice::from_ref(image_id);
        let masks = Arc::new(shown_masks(&snapshot, extractor_id, of_image).await?);
        // Masks never change, but an image without any can get some, and people add some, whose indices are below 0.
        if masks.first().is_some_and(|first| first.mask_index >= 0) {
            self.masks.insert(key, masks.clone()).await;
        }
        Ok(masks)
    }

    /// A mask; `None` if it is not in the store.
    pub async fn mask(&self, key: &MaskKey) -> Answered<Option<ShownMask>> {
        let of_image = self.masks_of(&key.extractor_id, &key.image_id).await?;
        let mut of_image = of_image.iter();
        Ok(of_image.find(|it| it.mask_index == key.mask_index).cloned())
    }

    /// Reads the rows and all masks of the images that some masks are of, where they are not in memory yet.
    pub async fn read_ahead(&self, masks: impl IntoIterator<Item = &MaskKey>) -> Answered<()> {
        let mut of_extractor: HashMap<&ExtractorId, HashSet<&ImageId>> = HashMap::new();
        for mask in masks {
            let images = of_extractor.entry(&mask.extractor_id).or_default();
            images.insert(&mask.image_id);
        }
        for (extractor_id, images) in of_extractor {
            let images: Vec<ImageId> = images.into_iter().cloned().collect();
            self.read_images(extractor_id, &images).await?;
        }
        Ok(())
    }

    async fn read_images(&self, extractor_id: &ExtractorId, images: &[ImageId]) -> Answered<()> {
        let of = |image: &ImageId| (extractor_id.clone(), image.clone());
        let missing: Vec<ImageId> = images
            .iter()
            .filter(|image| !self.masks.contains_key(&of(image)))
            .cloned()
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let snapshot = self.store.snapshot().await?;
        let filter = ImageFilter {
            ids: Some(missing.clone()),
            ..ImageFilter::default()
        };
        for row in find_images(&snapshot, &filter, |_| true).await? {
            let rows = &self.rows;
            rows.insert(row.image_id.clone(), Arc::new(row)).await;
        }
        let masks = shown_masks(&snapshot, extractor_id, &missing).await?;
        for of_image in masks.chunk_by(|a, b| a.image_id == b.image_id) {
            if let Some(first) = of_image.first() {
                if first.mask_index < 0 {
                    continue;
                }
                let of_image = Arc::new(of_image.to_vec());
                self.masks.insert(of(&first.image_id), of_image).await;
            }
        }
        Ok(())
    }

    /// How the photos of an extractor's masks are decoded.
    async fn decoding(&self, extractor_id: &ExtractorId) -> Answered<Decoding> {
        if let Some(found) = self.decodings.get(extractor_id).await {
            return Ok(found);
        }
        let stored = extractors_stored(&self.store.snapshot().await?).await?;
        let own = stored.iter().find(|row| row.extractor_id == *extractor_id);
        let Some(own) = own else {
            return Ok(Decoding::default());
        };
        // Rows of extractors never change.
        let decoding = decoding_by(own);
        self.decodings.insert(extractor_id.clone(), decoding).await;
        Ok(decoding)
    }

    /// A photo. Those that are too large to be kept in memory are decoded one after the other.
    pub async fn decoded(&self, image_id: &ImageId, decoding: Decoding) -> Answered<Arc<RgbImage>> {
        let row = self.image_row(image_id).await?;
        let key = format!("{image_id} {:?}", decoding.rendering);
        let pixels = u64::from(row.width.unsigned_abs()) * u64::from(row.height.unsigned_abs());
        let found = self.decoded.try_get_with(key, async {
            let _turn = if 3 * pixels > DECODED_BYTES {
                Some(self.large.lock().await)
            } else {
                None
            };
            let (name, files) = (row.file_name.clone(), self.files.clone());
            let read = move || -> grainstore::Result<RgbImage> {
                let bytes = files.read_ingested(&row.root, &row.file_name, &row.image_id)?;
                Ok(render(&bytes, &decoding)?)
            };
            let photo = worked(read).await?.map_err(|err| {
                let failure = Failure::from(err);
                Failure::missing(format!("{name}: {}", failure.text()))
            })?;
            Ok::<_, Failure>(Arc::new(photo))
        });
        found.await.map_err(told)
    }

    /// A picture made from a photo, as the extractor of its masks saw it, as JPEG.
    pub async fn encoded(
        &self,
        key: String,
        (image_id, extractor_id): (&ImageId, Option<&ExtractorId>),
        draw: impl FnOnce(&RgbImage) -> RgbImage + Send + 'static,
    ) -> Answered<Arc<Vec<u8>>> {
        let found = self.encoded.try_get_with(key, async {
            let decoding = match extractor_id {
                Some(extractor_id) => self.decoding(extractor_id).await?,
                None => Decoding::default(),
            };
            let photo = self.decoded(image_id, decoding).await?;
            let encoded = worked(move || {
                let mut bytes = Vec::new();
                let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
                draw(&photo).write_with_encoder(encoder).map(|()| bytes)
            })
            .await?;
            let bytes = encoded
                .map_err(|err| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, err.to_string()))?;
            Ok::<_, Failure>(Arc::new(bytes))
        });
        found.await.map_err(told)
    }
}

/// Runs work on a thread that may block.
pub async fn worked<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Answered<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|err| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, err.to_string()))
}

/// A failure that several requests waited for.
fn told(failure: Arc<Failure>) -> Failure {
    failure.as_ref().clone()
}
