//! Batches: groups of images in the form that the model takes, read and converted ahead of it.

use std::sync::mpsc;

use super::bags::Bags;
use super::draw::{LabelledDraw, balance_halves};
use super::mil::{Bag, KnownMask};
use super::spec::HeadSpec;
use crate::Result;

/// Maximum number of batches that wait for the model.
const READ_AHEAD: usize = 2;

/// A group of images in the form that the model takes.
pub(super) struct Batch {
    pub bags: Vec<Bag>,
    /// Row of each mask in the embeddings: the masks of the bags, then labelled masks.
    pub rows: Vec<u32>,
    /// What is known of the labelled masks.
    pub known: Vec<KnownMask>,
    /// Classes of which no mask is labelled.
    pub left_out: Vec<usize>,
    /// `[masks, embedding_dim]`.
    pub embeddings: Vec<f32>,
    /// `[masks, width of the last hidden layer]`, 0 or 1 / (1 - p); `None` where nothing is dropped.
    pub dropout: Option<Vec<f32>>,
}

impl Batch {
    /// Number of masks of the bags, which come before the labelled masks.
    pub fn masks_of_bags(&self) -> usize {
        self.rows.len() - self.known.len()
    }
}

/// Labelled masks that are added to each batch.
pub(super) struct Added<'d> {
    /// What is drawn from.
    pub draw: &'d mut LabelledDraw,
    /// About how many.
    pub count: usize,
}

/// Calls `work` with each batch of images, in order, while a thread reads ahead. `weights` holds the weight of each
/// image of the bags in the loss.
///
/// # Errors
/// The first error of reading or of `work`.
pub(super) fn over_batches<'b>(
    bags: &Bags,
    weights: &[f64],
    batches: impl Iterator<Item = &'b [usize]> + Send,
    dropout: Option<Dropout>,
    mut added: Option<Added<'_>>,
    work: impl FnMut(Batch) -> Result<()>,
) -> Result<()> {
    let mut dropping = dropout.map(|dropout| (dropout, fastrand::Rng::with_seed(dropout.seed)));
    let batches = batches.map(move |images| {
        let labelled = added
            .as_mut()
            .map(|added| added.draw.step(added.count / 2, added.count / 2));
        let mut batch = read_batch(bags, weights, images, labelled.unwrap_or_default())?;
        if let Some(added) = &added {
            balance_halves(&mut batch.known, added.draw.background());
            batch.left_out = added.draw.classes_without_masks().to_vec();
        }
        if let Some((dropout, random)) = &mut dropping {
            batch.dropout = dropout.draw(batch.rows.len(), random);
        }
        Ok(batch)
    });
    ahead(batches, work)
}

/// Calls `work` with each item, in order, while a thread makes the next ones; ends at the first error.
pub(super) fn ahead<T: Send>(
    items: impl Iterator<Item = Result<T>> + Send,
    mut work: impl FnMut(T) -> Result<()>,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(READ_AHEAD);
        scope.spawn(move || {
            for item in items {
                let failed = item.is_err();
                if sender.send(item).is_err() || failed {
                    return;
                }
            }
        });
        // Moved into the scope so that it is dropped, and the reader is not blocked, when `work` fails.
        let receiver = receiver;
        receiver.iter().try_for_each(|item| work(item?))
    })
}

fn read_batch(
    bags: &Bags,
    weights: &[f64],
    images: &[usize],
    labelled: Vec<(u32, KnownMask)>,
) -> Result<Batch> {
    let mut batch = Batch {
        bags: Vec::with_capacity(images.len()),
        rows: Vec::new(),
        known: Vec::with_capacity(labelled.len()),
        left_out: Vec::new(),
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
    for (row, known) in labelled {
        batch.rows.push(row);
        batch.known.push(known);
    }
    batch.embeddings = read_masks(bags, &batch.rows)?;
    Ok(batch)
}

/// The normalised numbers of some masks, `[masks, embedding_dim]`.
pub(super) fn read_masks(bags: &Bags, rows: &[u32]) -> Result<Vec<f32>> {
    let mut numbers = Vec::with_capacity(rows.len() * bags.embedding_dim);
    bags.embeddings.read(rows, &mut numbers)?;
    bags.normaliser.apply(&mut numbers);
    Ok(numbers)
}

/// Dropout of the last hidden layer's units.
#[derive(Clone, Copy)]
pub(super) struct Dropout {
    /// Number of units.
    pub width: usize,
    /// Probability that a unit is dropped.
    pub probability: f64,
    /// Seed of the random choice.
    pub seed: u64,
}

impl Dropout {
    /// That of a head's last hidden layer.
    pub fn of(spec: &HeadSpec, seed: u64) -> Self {
        Self {
            width: spec.hidden.last().copied().unwrap_or(0),
            probability: spec.dropout,
            seed,
        }
    }

    /// Draws the factor of each unit of each mask: 0 if it is dropped, 1 / (1 - p) if it stays. Returns `None` if all
    /// stay.
    pub fn draw(self, masks: usize, random: &mut fastrand::Rng) -> Option<Vec<f32>> {
        let stay = 1.0 - self.probability;
        if self.probability <= 0.0 || self.width == 0 {
            return None;
        }
        let threshold = (stay * 65536.0).round() as u32;
        let count = masks * self.width;
        let bits: Vec<u64> = (0..count.div_ceil(4)).map(|_| random.u64(..)).collect();
        Some(grainstore_kernels::dropout_factors(
            &bits,
            count,
            threshold,
            (1.0 / stay) as f32,
        ))
    }
}
