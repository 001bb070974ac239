//! Which images are used for training and which for validation, their weights, and their order in an epoch.

#![allow(
    clippy::indexing_slicing,
    reason = "indices of the images and classes that are split"
)]

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use super::bags::{Bags, ImageBag};
use super::spec::HeadSpec;
use super::train_options::{Balance, TrainOptions};
use crate::ids::ImageId;

/// The split of the images, by their indices in [`Bags::images`].
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    /// Images used only for validation, ascending.
    pub validation: Vec<usize>,
    /// Training images that are in every epoch.
    fresh: Vec<usize>,
    /// Training images of which `replayed` are drawn for each epoch.
    old: Vec<usize>,
    replayed: usize,
    /// Weight of each image of the bags in the loss.
    pub(super) weights: Vec<f64>,
    /// Relative probability of drawing each image, if images are drawn by rarity.
    rarity: Option<Vec<f64>>,
}

/// Which images are old, and how many of them an epoch has for each new image.
#[derive(Debug, Clone, Copy)]
pub struct Replay<'a> {
    /// The old images.
    pub old: &'a HashSet<ImageId>,
    /// Old images per new image in an epoch.
    pub share: f64,
}

impl Split {
    /// Splits the bags. Whether an image is used for validation depends only on its id and the seed, so it stays the
    /// same when others are added; but every class keeps an image to train on.
    pub fn new(
        bags: &Bags,
        spec: &HeadSpec,
        options: &TrainOptions,
        replay: Option<Replay<'_>>,
    ) -> Self {
        let images = &bags.images;
        let classes = spec.classes.len() + usize::from(spec.has_none_class());
        // An image of no class says nothing by its labels, unless there is a class for none.
        let measures = |image: &ImageBag| {
            position(&image.image_id, options.seed) < options.validation
                && (spec.has_none_class() || !image.classes.is_empty())
        };
        let mut validation: Vec<usize> = (0..images.len())
            .filter(|at| measures(&images[*at]))
            .collect();
        for class in 0..classes {
            let shows = |at: &usize| shown(&images[*at], spec).any(|c| c == class);
            let trains =
                (0..images.len()).any(|at| shows(&at) && validation.binary_search(&at).is_err());
            if !trains {
                validation.retain(|at| !shows(at));
            }
        }
        let training = (0..images.len()).filter(|at| validation.binary_search(at).is_err());
        let (old, fresh): (Vec<usize>, Vec<usize>) = match replay {
            None => (Vec::new(), training.collect()),
            Some(replay) => training.partition(|at| replay.old.contains(&images[*at].image_id)),
        };
        let share = replay.map_or(0.0, |replay| replay.share);
        let replayed = ((fresh.len() as f64 * share).round() as usize).min(old.len());
        let mut split = Self {
            validation,
            fresh,
            old,
            replayed,
            weights: vec![1.0; images.len()],
            rarity: None,
        };
        if options.balance != Balance::None {
            let rarity = split.rarity(images, spec, classes);
            match options.balance {
                Balance::Sampling => split.rarity = Some(rarity),
                _ => split.weights = rarity,
            }
        }
        split
    }

    /// How rare the classes of each image are among the images of an epoch; 1 on average.
    fn rarity(&self, images: &[ImageBag], spec: &HeadSpec, classes: usize) -> Vec<f64> {
        let chance = self.replayed as f64 / self.old.len().max(1) as f64;
        let expected = |images: &[usize], chance: f64| -> Vec<(usize, f64)> {
            images.iter().map(|at| (*at, chance)).collect()
        };
        let coming = [expected(&self.fresh, 1.0), expected(&self.old, chance)].concat();
        let mut counts = vec![0.0; classes];
        for (at, chance) in &coming {
            for class in shown(&images[*at], spec) {
                counts[class] += chance;
            }
        }
        let rare: Vec<f64> = images
            .iter()
            .map(|image| {
                let (mut sum, mut shows) = (0.0, 0.0);
                for class in shown(image, spec) {
                    sum += 1.0 / counts[class].max(1e-9);
                    shows += 1.0;
                }
                sum / f64::max(shows, 1.0)
            })
            .collect();
        let total: f64 = coming.iter().map(|(_, chance)| chance).sum();
        let weighted: f64 = coming.iter().map(|(at, chance)| chance * rare[*at]).sum();
        rare.iter()
            .map(|rare| rare * total / weighted.max(1e-12))
            .collect()
    }

    /// Whether there are enough validation images to choose an epoch by; the loss of only a few is mostly chance.
    pub fn can_choose(&self) -> bool {
        self.validation.len() >= 20
    }

    /// All training images, new and old.
    pub fn all_training(&self) -> Vec<usize> {
        [self.fresh.as_slice(), &self.old].concat()
    }

    /// Number of images in an epoch.
    pub fn images_per_epoch(&self) -> usize {
        self.fresh.len() + self.replayed
    }

    /// Draws the images of one epoch, in random order.
    pub(super) fn draw_epoch(&self, random: &mut fastrand::Rng) -> Vec<usize> {
        let mut order = self.fresh.clone();
        if self.replayed > 0 {
            let mut old = self.old.clone();
            random.shuffle(&mut old);
            order.extend(&old[..self.replayed]);
        }
        if let Some(rarity) = &self.rarity {
            let mut sum = 0.0;
            let sums: Vec<f64> = order
                .iter()
                .map(|at| {
                    sum += rarity[*at];
                    sum
                })
                .collect();
            let drawn = (0..order.len()).map(|_| {
                let place = random.f64() * sum;
                let at = sums.partition_point(|end| *end <= place);
                order[at.min(order.len() - 1)]
            });
            return drawn.collect();
        }
        random.shuffle(&mut order);
        order
    }
}

/// Classes that an image shows; one that shows none counts as the further class of a head of one class, whose index is
/// the last.
fn shown<'a>(image: &'a ImageBag, spec: &HeadSpec) -> impl Iterator<Item = usize> + 'a {
    let none = image.classes.is_empty() && spec.has_none_class();
    let none = none.then_some(spec.classes.len());
    image.classes.iter().copied().chain(none)
}

/// A number in [0, 1) that is determined by an image and a seed.
pub(super) fn position(image: &ImageId, seed: u64) -> f64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(image.as_str());
    let digest = hash.finalize();
    let bytes = digest.iter().take(6);
    bytes.fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte)) / 256f64.powi(6)
}
