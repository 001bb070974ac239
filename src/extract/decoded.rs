//! Photos that are decoded ahead of a model, within a bounded memory.

use std::ops::Deref;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use image::RgbImage;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::pending::PendingImage;
use crate::photo::{Decoding, render};
use crate::store::PhotoFiles;
use crate::{Error, Result};

/// Decoded photos that wait for the model: enough that it never waits for them.
pub(crate) const DECODED_AHEAD: usize = 4;

/// Pixels that photos which are decoded ahead may have together, in units of 2^20: 1.2 GB. A photo that has more is decoded
/// when no other is there.
const ROOM: u32 = 400;

/// Room for decoded photos, which they give back when they are dropped.
#[derive(Clone)]
struct Room(Arc<Semaphore>);

/// A part of the room.
pub(crate) struct Place {
    /// `None` if no photo is to be decoded, or nobody asks for room any more.
    _permits: Option<OwnedSemaphorePermit>,
}

/// A photo in its place.
pub(crate) struct DecodedPhoto {
    photo: RgbImage,
    _place: Place,
}

impl Room {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(ROOM as usize)))
    }

    /// Waits for room for a photo. Photos must ask in the order in which they are used, or they would wait for each other.
    async fn place_of(&self, image: &PendingImage) -> Place {
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
        decoding: &Decoding,
        place: Place,
    ) -> Result<Self> {
        let bytes = files.read_ingested(&image.root, &image.file_name, &image.image_id)?;
        Ok(Self {
            photo: render(&bytes, decoding)?,
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

/// An image on its way to a model, with what it is needed for and what was read of it.
pub(crate) type Ahead<T, P> = (PendingImage, T, Result<P>);

/// Reads photos on worker threads, in order, and as many ahead as there is room for. `read` gets a place in the room if
/// `needs_room` says so.
pub(crate) async fn read_ahead<T, P>(
    images: impl Stream<Item = (PendingImage, T)> + Send,
    needs_room: impl Fn(&T) -> bool + Send,
    read: impl Fn(&PendingImage, &T, Place) -> Result<P> + Clone + Send + 'static,
    photos: mpsc::Sender<Ahead<T, P>>,
) where
    T: Default + Send + 'static,
    P: Send + 'static,
{
    let room = Room::new();
    let decoded = images
        .then(|(image, needed_for)| {
            let room = needs_room(&needed_for).then(|| room.clone());
            async move {
                let place = match room {
                    Some(room) => room.place_of(&image).await,
                    None => Place { _permits: None },
                };
                (place, image, needed_for)
            }
        })
        .map(|(place, image, needed_for)| {
            let (of, read) = (image.clone(), read.clone());
            let reading = tokio::task::spawn_blocking(move || {
                let photo = read(&image, &needed_for, place);
                (image, needed_for, photo)
            });
            async move {
                reading.await.unwrap_or_else(|source| {
                    let task = "decoding a photo";
                    (of, T::default(), Err(Error::Worker { task, source }))
                })
            }
        })
        .buffered(DECODED_AHEAD);
    let mut decoded = std::pin::pin!(decoded);
    while let Some(photo) = decoded.next().await {
        if photos.send(photo).await.is_err() {
            return; // the run has ended
        }
    }
}
