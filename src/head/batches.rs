//! Batches: images as the model takes them, read and converted ahead of it.

use std::sync::mpsc;

use super::bags::Bags;
use super::mil::Bag;
use crate::Result;

/// Batches that wait for the model.
const READ_AHEAD: usize = 2;

/// Some images, as the model takes them.
pub(super) struct Batch {
    pub bags: Vec<Bag>,
    /// Row of the embeddings of each mask.
    pub rows: Vec<u32>,
    /// `[masks, embedding_dim]`.
    pub embeddings: Vec<f32>,
    /// `[masks, width of the last hidden layer]`, 0 or 1 / (1 - p); none where nothing is dropped.
    pub dropout: Option<Vec<f32>>,
}

/// Does something with the batches of images, in order; a thread reads ahead. `weights` says of each image of the
/// bags how much it counts.
///
/// # Errors
/// The first of reading or of `work`.
pub(super) fn over_batches<'b>(
    bags: &Bags,
    weights: &[f64],
    batches: impl Iterator<Item = &'b [usize]> + Send,
    dropout: Option<Dropout>,
    mut work: impl FnMut(Batch) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(READ_AHEAD);
        scope.spawn(move || {
            let mut dropping =
                dropout.map(|dropout| (dropout, fastrand::Rng::with_seed(dropout.seed)));
            for images in batches {
                let batch = read_batch(bags, weights, images).map(|mut batch| {
                    if let Some((dropout, random)) = &mut dropping {
                        batch.dropout = dropout.draw(batch.rows.len(), random);
                    }
                    batch
                });
                let failed = batch.is_err();
                if sender.send(batch).is_err() || failed {
                    return;
                }
            }
        });
        // Taken into the scope, so that the reader is not kept waiting when work fails.
        let receiver = receiver;
        receiver.iter().try_for_each(|batch| work(batch?))
    })
}

fn read_batch(bags: &Bags, weights: &[f64], images: &[usize]) -> Result<Batch> {
    let mut batch = Batch {
        bags: Vec::with_capacity(images.len()),
        rows: Vec::new(),
        embeddings: Vec::new(),
        dropout: None,
    };
    for index in images {
        let Some(image) = bags.images.get(*index) else {
            continue;
        };
        let first = batch.rows.len();
        batch.rows.extend(&image.rows);
        batch.bags.push(Bag {
            masks: first..batch.rows.len(),
            classes: image.classes.clone(),
            weight: weights.get(*index).copied().unwrap_or(1.0),
        });
    }
    batch
        .embeddings
        .reserve(batch.rows.len() * bags.embedding_dim);
    bags.embeddings.read(&batch.rows, &mut batch.embeddings)?;
    Ok(batch)
}

/// How units of the last hidden layer are dropped.
#[derive(Clone, Copy)]
pub(super) struct Dropout {
    /// Units.
    pub width: usize,
    /// Of one being dropped.
    pub probability: f64,
    /// Of the choice.
    pub seed: u64,
}

impl Dropout {
    /// Which units of each mask stay, and by how much they are scaled; none if all stay.
    fn draw(self, masks: usize, random: &mut fastrand::Rng) -> Option<Vec<f32>> {
        let stay = 1.0 - self.probability;
        if self.probability <= 0.0 || self.width == 0 {
            return None;
        }
        let threshold = (stay * 65536.0).round() as u64;
        let scale = (1.0 / stay) as f32;
        let mut values = Vec::with_capacity(masks * self.width + 3);
        while values.len() < masks * self.width {
            let bits = random.u64(..);
            for shift in [0, 16, 32, 48] {
                let stays = (bits >> shift) & 0xffff < threshold;
                values.push(if stays { scale } else { 0.0 });
            }
        }
        values.truncate(masks * self.width);
        Some(values)
    }
}
