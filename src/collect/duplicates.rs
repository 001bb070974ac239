//! Finds images that are there already: the same bytes, or the same picture in another size or quality.

use std::collections::HashMap;
use std::thread::available_parallelism;

use futures::{StreamExt, stream};
use image::RgbImage;
use image_hasher::{Hasher, HasherConfig};
use serde::Deserialize;

use super::folder::Folder;
use super::journal::Journal;
use crate::ids::ImageId;
use crate::photo::{self, DecodeLimits};
use crate::progress::Progress;
use crate::selection::{ImageFilter, SelectedImage, find_images};
use crate::store::Snapshot;
use crate::{Error, Result};

/// File of the directory that keeps hashes of images that are in the store but did not come from here.
const HASHES: &str = ".hashes.jsonl";
/// Key of `images.attributes` for the hash.
pub(super) const HASH_KEY: &str = "photo_hash";
/// Number of bits in which the hashes of the same picture differ at most. Of 510 photos, copies of 30 to 77 % of the size at
/// JPEG quality 50 differed in at most 4; no two of them in fewer than 12.
const MAX_DISTANCE: u32 = 6;

/// A perceptual hash of 64 bits: the signs of the lowest frequencies of the picture's cosine transform, against their median.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PhotoHash(u64);

impl PhotoHash {
    /// 16 hex digits.
    pub fn to_text(self) -> String {
        format!("{:016x}", self.0)
    }

    fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }

    fn distance(self, other: Self) -> u32 {
        (self.0 ^ other.0).count_ones()
    }
}

/// The hash of a photo's pixels.
pub(super) fn photo_hash(pixels: &RgbImage) -> PhotoHash {
    let hasher: Hasher = HasherConfig::new()
        .hash_size(8, 8)
        .hash_alg(image_hasher::HashAlg::Median)
        .preproc_dct()
        .to_hasher();
    let bytes = hasher.hash_image(pixels);
    let bytes = bytes.as_bytes().iter().take(8);
    PhotoHash(bytes.fold(0, |hash, byte| hash << 8 | u64::from(*byte)))
}

/// The images that are there.
#[derive(Debug, Default)]
pub(super) struct KnownPhotos {
    names: HashMap<ImageId, String>,
    hashes: Vec<(PhotoHash, String)>,
}

impl KnownPhotos {
    /// All images of a store. Files of those whose hash is not known are decoded; of those that are not there any more,
    /// only the content is known.
    pub async fn of_store(
        snapshot: &Snapshot,
        folder: &Folder,
        progress: &dyn Progress,
    ) -> Result<Self> {
        #[derive(Deserialize, serde::Serialize)]
        struct Kept {
            image_id: ImageId,
            hash: String,
        }
        let images = find_images(snapshot, &ImageFilter::all(), |_| true).await?;
        let (mut journal, text) = Journal::open(&folder.at(HASHES))?;
        let kept = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Kept>(line).ok());
        let kept: HashMap<ImageId, String> = kept.map(|it| (it.image_id, it.hash)).collect();
        let mut known = Self::default();
        let mut unhashed = Vec::new();
        for image in images {
            let hash = stored_hash(&image).or_else(|| kept.get(&image.image_id).cloned());
            match hash.as_deref().and_then(PhotoHash::parse) {
                Some(hash) => known.add(&image.image_id, hash, &image.file_name),
                None => unhashed.push(image),
            }
        }
        if unhashed.is_empty() {
            return Ok(known);
        }
        progress.start("images of the store looked at", Some(unhashed.len() as u64));
        let workers = available_parallelism().map_or(1, |n| n.get());
        let mut hashed = stream::iter(unhashed)
            .map(|image| {
                tokio::task::spawn_blocking(move || {
                    let hash = hash_of_file(&image);
                    (image, hash)
                })
            })
            .buffered(workers);
        while let Some(done) = hashed.next().await {
            let (image, hash) = done.map_err(|source| Error::Worker {
                task: "hashing an image",
                source,
            })?;
            progress.advance(1);
            let Some(hash) = hash else {
                known.names.insert(image.image_id, image.file_name);
                continue;
            };
            journal.add(&Kept {
                image_id: image.image_id.clone(),
                hash: hash.to_text(),
            })?;
            known.add(&image.image_id, hash, &image.file_name);
        }
        progress.finish();
        Ok(known)
    }

    /// Why an image is there already; `None` if it is not.
    pub fn find(&self, image_id: &ImageId, hash: PhotoHash) -> Option<String> {
        if let Some(name) = self.names.get(image_id) {
            return Some(format!("same bytes as '{name}'"));
        }
        let near = self
            .hashes
            .iter()
            .filter(|(other, _)| other.distance(hash) <= MAX_DISTANCE);
        let nearest = near.min_by_key(|(other, _)| other.distance(hash));
        nearest.map(|(_, name)| format!("same picture as '{name}'"))
    }

    /// Adds an image.
    pub fn add(&mut self, image_id: &ImageId, hash: PhotoHash, name: &str) {
        self.names.insert(image_id.clone(), name.to_owned());
        self.hashes.push((hash, name.to_owned()));
    }
}

/// The hash in an image's attributes, if it was collected.
fn stored_hash(image: &SelectedImage) -> Option<String> {
    let attributes = image.attributes.as_deref()?;
    let attributes: serde_json::Value = serde_json::from_str(attributes).ok()?;
    let hash = attributes.get(HASH_KEY)?;
    hash.as_str().map(str::to_owned)
}

fn hash_of_file(image: &SelectedImage) -> Option<PhotoHash> {
    let bytes = std::fs::read(image.path()).ok()?;
    let pixels = photo::decode(&bytes, &DecodeLimits::default()).ok()?;
    Some(photo_hash(&pixels))
}
