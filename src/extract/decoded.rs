//! Photos that are decoded ahead of a model, within a bounded memory.

use std::ops::Deref;
use std::sync::Arc;

use image::RgbImage;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::pending::PendingImage;
use crate::Result;
use crate::photo::{DecodeLimits, decode};
use crate::store::PhotoFiles;

/// Pixels that photos which are decoded ahead may have together, in units of 2^20: 1.2 GB. A photo that has more is decoded
/// when no other is there.
const ROOM: u32 = 400;

/// Limits of work that does not need a photo at the size of a network: as many pixels as a mask can have.
pub(crate) const LARGE_PHOTOS: DecodeLimits = DecodeLimits {
    max_pixels: u32::MAX as u64,
    max_bytes: 32 << 30,
};

/// Room for decoded photos, which they give back when they are dropped.
#[derive(Clone)]
pub(crate) struct Room(Arc<Semaphore>);

/// A part of the room.
pub(crate) struct Place {
    /// `None` only if nobody asks for room any more.
    _permits: Option<OwnedSemaphorePermit>,
}

/// A photo in its place.
pub(crate) struct DecodedPhoto {
    photo: RgbImage,
    _place: Place,
}

impl Room {
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(ROOM as usize)))
    }

    /// Waits for room for a photo. Photos must ask in the order in which they are used, or they would wait for each other.
    pub async fn place_of(&self, image: &PendingImage) -> Place {
        let permits = u32::try_from(image.pixels() >> 20).unwrap_or(ROOM);
        let permits = self.0.clone().acquire_many_owned(permits.clamp(1, ROOM));
        Place {
            _permits: permits.await.ok(),
        }
    }
}

impl DecodedPhoto {
    /// Reads and decodes the photo of an image.
    pub fn read(
        files: &PhotoFiles,
        image: &PendingImage,
        limits: &DecodeLimits,
        place: Place,
    ) -> Result<Self> {
        let bytes = files.read_ingested(&image.root, &image.file_name, &image.image_id)?;
        Ok(Self {
            photo: decode(&bytes, limits)?,
            _place: place,
        })
    }
}

impl Deref for DecodedPhoto {
    type Target = RgbImage;

    fn deref(&self) -> &RgbImage {
        &self.photo
    }
}
