//! Semantic maps by vote: each pixel gets the class with the greatest mean score among the masks that contain it.
//!
//! The rule is that of Region-Based Representations Revisited (Shlapentokh-Rothman et al., CVPR 2024): "for pixels
//! belonging to multiple regions, we averaged the confidence".

use std::collections::BTreeMap;

use super::bbox::Size;
use super::rle::Rle;
use super::spans::{RunBuilder, spans};
use crate::Error;
use crate::error::Result;

/// Scores are summed as multiples of 2^-40, so that what a mask adds where it begins is exactly what it takes away where
/// it ends.
const UNIT: f64 = (1u64 << 40) as f64;

/// A mask that votes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vote<'a, C> {
    /// The class that it votes for; `None` for a mask of no class, which only lowers the means.
    pub class: Option<C>,
    /// Its score, in [0, 1].
    pub score: f64,
    /// Its pixels.
    pub mask: &'a Rle,
}

/// What the masks over a pixel say about one class: the sum of the scores.
struct Tally<C> {
    class: C,
    sum: i64,
    pixels: RunBuilder,
}

/// Lets masks vote: of each pixel, the score of a class is the sum of the scores of the masks of this class that
/// contain it, divided by the number of all masks that contain it. The pixel gets the class of the greatest score, of
/// equal ones the least class, if this is at least `tau`. Returns one mask per class that is seen.
///
/// # Errors
/// [`Error::SizeMismatch`] unless all masks are of `size`.
pub(crate) fn vote<C: Ord + Copy>(
    size: Size,
    votes: &[Vote<'_, C>],
    tau: f64,
) -> Result<BTreeMap<C, Rle>> {
    let pixels = size.pixels()?;
    let mut classes: Vec<C> = votes.iter().filter_map(|vote| vote.class).collect();
    classes.sort_unstable();
    classes.dedup();
    // Where a mask begins or ends: pixel, index of its class, what it adds to the sum and to the number of masks.
    let mut changes: Vec<(u32, Option<usize>, i64, i64)> = Vec::new();
    for vote in votes {
        if vote.mask.size() != size {
            return Err(Error::SizeMismatch {
                expected: size,
                found: vote.mask.size(),
            });
        }
        let at = vote
            .class
            .and_then(|class| classes.binary_search(&class).ok());
        let score = (vote.score.clamp(0.0, 1.0) * UNIT).round() as i64;
        for (start, end) in spans(vote.mask.runs()) {
            changes.push((start, at, score, 1));
            changes.push((end, at, -score, -1));
        }
    }
    changes.sort_unstable_by_key(|change| change.0);
    let tally = |class| Tally {
        class,
        sum: 0,
        pixels: RunBuilder::default(),
    };
    let mut tallies: Vec<Tally<C>> = classes.into_iter().map(tally).collect();
    let (mut masks, mut from) = (0, 0);
    for (at, class, score, count) in changes {
        if from < at && masks > 0 {
            let least = tau * UNIT * masks as f64;
            // The first of the greatest.
            let best = tallies.iter_mut().rev().max_by_key(|tally| tally.sum);
            if let Some(best) = best.filter(|best| best.sum > 0 && best.sum as f64 >= least) {
                best.pixels.push(from, at);
            }
        }
        from = at;
        masks += count;
        if let Some(tally) = class.and_then(|class| tallies.get_mut(class)) {
            tally.sum += score;
        }
    }
    let seen = tallies.into_iter().map(|tally| {
        (
            tally.class,
            Rle::from_canonical(size, tally.pixels.finish(pixels)),
        )
    });
    Ok(seen.filter(|(_, mask)| !mask.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn each_pixel_has_the_class_of_the_greatest_mean() {
        let mut random = Random::new(5);
        for round in 0..300 {
            let size = random.size(12);
            let masks: Vec<(Option<usize>, f64, Rle)> = (0..7)
                .map(|n| {
                    let class = (n % 4 != 3).then_some(n % 4);
                    // Multiples of 1/8, so that sums are exact and ties happen.
                    (class, ((n * 5 + round) % 9) as f64 / 8.0, random.mask(size))
                })
                .collect();
            let tau = (round % 5) as f64 / 8.0;
            let votes: Vec<Vote<'_, usize>> = masks
                .iter()
                .map(|(class, score, mask)| Vote {
                    class: *class,
                    score: *score,
                    mask,
                })
                .collect();
            let pixels = (size.height * size.width) as usize;
            let (mut sums, mut counts) = (vec![[0.0; 3]; pixels], vec![0.0; pixels]);
            for (class, score, mask) in &masks {
                for (at, pixel) in mask.to_row_major().into_iter().enumerate() {
                    counts[at] += f64::from(pixel);
                    if let Some(class) = class {
                        sums[at][*class] += f64::from(pixel) * score;
                    }
                }
            }
            let expected: Vec<Option<usize>> = sums
                .iter()
                .zip(&counts)
                .map(|(sums, count)| {
                    let best = (0..3)
                        .rev()
                        .max_by(|a, b| sums[*a].total_cmp(&sums[*b]))
                        .unwrap();
                    (sums[best] > 0.0 && sums[best] >= tau * count).then_some(best)
                })
                .collect();
            let mut found = vec![None; pixels];
            for (class, mask) in vote(size, &votes, tau).unwrap() {
                for (slot, pixel) in found.iter_mut().zip(mask.to_row_major()) {
                    if pixel == 1 {
                        assert_eq!(slot.replace(class), None);
                    }
                }
            }
            assert_eq!(found, expected, "round {round}");
        }
    }

    #[test]
    fn masks_of_another_size_are_refused() {
        let size = |width| Size { height: 2, width };
        let mask = Rle::full(size(3)).unwrap();
        let votes = [Vote {
            class: Some(0),
            score: 1.0,
            mask: &mask,
        }];
        assert!(vote(size(2), &votes, 0.5).is_err());
        assert_eq!(vote::<u8>(size(2), &[], 0.5).unwrap(), BTreeMap::new());
    }
}
