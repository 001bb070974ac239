//! Average precision and recall from matches (pycocotools: `COCOeval.accumulate`).

use super::matching::{IOU_THRESHOLDS, MAX_DETECTIONS};

/// Numbers of detections per image and class at which recall is computed (`maxDets`).
pub const DETECTION_LIMITS: [usize; 3] = [1, 10, MAX_DETECTIONS];

/// Recalls at which precision is averaged: 0, 0.01, ..., 1.
const RECALLS: u16 = 101;

/// A detection of one class in one area range, with what it matched. Bit `t` of a bit set belongs to
/// [`IOU_THRESHOLDS`]`[t]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Matched {
    /// Confidence; higher is more confident.
    pub score: f64,
    /// Position of its image. Of equal scores, the one of the first image goes first.
    pub image: i64,
    /// Position among the detections of the image and class by falling score, counted from 0. From [`MAX_DETECTIONS`] on, a
    /// detection does not count.
    pub rank: i64,
    /// Bit set of thresholds at which it matched an object.
    pub matched: u16,
    /// Bit set of thresholds at which it counts neither for nor against.
    pub ignored: u16,
}

/// Precision and recall of a class in one area range at one IoU threshold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Precision {
    /// Mean over 101 recalls of the highest precision at that recall or a higher one.
    pub average: f64,
    /// Maximum recall if the detections per image are limited to each of [`DETECTION_LIMITS`].
    pub recall: [f64; DETECTION_LIMITS.len()],
}

/// Precision and recall at each of [`IOU_THRESHOLDS`]. `objects` is the number of objects to find, at least 1; the
/// detections are put in order.
pub fn accumulate_matches(
    detections: &mut [Matched],
    objects: u64,
) -> [Precision; IOU_THRESHOLDS.len()] {
    detections.sort_unstable_by(|a, b| {
        let by_score = b.score.total_cmp(&a.score);
        by_score.then((a.image, a.rank).cmp(&(b.image, b.rank)))
    });
    std::array::from_fn(|bit| at_threshold(detections, bit, objects.max(1)))
}

fn at_threshold(detections: &[Matched], bit: usize, objects: u64) -> Precision {
    let of_objects = |found: u64| found as f64 / objects as f64;
    let (mut counted, mut right) = (0_u64, 0_u64);
    let mut found = [0_u64; DETECTION_LIMITS.len()];
    // Precision and recall at each detection that is right: recall rises there, and precision is highest.
    let mut steps = Vec::new();
    for it in detections {
        if (it.ignored >> bit) & 1 == 1 || it.rank >= MAX_DETECTIONS as i64 {
            continue;
        }
        counted += 1;
        if (it.matched >> bit) & 1 == 1 {
            right += 1;
            steps.push((right as f64 / counted as f64, of_objects(right)));
            for (found, limit) in found.iter_mut().zip(DETECTION_LIMITS) {
                *found += u64::from(it.rank < limit as i64);
            }
        }
    }
    let mut best: f64 = 0.0;
    for (precision, _) in steps.iter_mut().rev() {
        best = best.max(*precision);
        *precision = best;
    }
    let mut sum = 0.0;
    let mut steps = steps.into_iter().peekable();
    for recall in 0..RECALLS {
        let wanted = f64::from(recall) * 0.01;
        while steps.next_if(|(_, reached)| *reached < wanted).is_some() {}
        sum += steps.peek().map_or(0.0, |(precision, _)| *precision);
    }
    Precision {
        average: sum / f64::from(RECALLS),
        recall: found.map(of_objects),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(score: f64, matched: u16, ignored: u16) -> Matched {
        Matched {
            score,
            image: 0,
            rank: 0,
            matched,
            ignored,
        }
    }

    #[test]
    fn precision_is_averaged_over_recalls() {
        // Right, wrong, right; one of three objects is never found: precision 1 up to a recall of 1/3, 2/3 up to 2/3.
        let mut given = [
            detection(0.7, 1, 0),
            detection(0.9, 1, 0),
            detection(0.8, 0, 0),
        ];
        let [first, second, ..] = accumulate_matches(&mut given, 3);
        let expected = (34.0 + 33.0 * 2.0 / 3.0) / 101.0;
        assert!((first.average - expected).abs() < 1e-15);
        assert_eq!(first.recall, [2.0 / 3.0; 3]);
        assert_eq!(second, Precision::default());
    }

    #[test]
    fn what_is_ignored_does_not_count() {
        let mut given = [detection(0.9, 0, 0b11), detection(0.5, 0b11, 0b10)];
        let [first, second, ..] = accumulate_matches(&mut given, 1);
        assert_eq!((first.average, first.recall), (1.0, [1.0; 3]));
        assert_eq!((second.average, second.recall), (0.0, [0.0; 3]));
    }

    #[test]
    fn recall_is_limited_by_detections_per_image() {
        let mut given: Vec<Matched> = (0..20)
            .map(|rank| Matched {
                rank,
                ..detection(1.0 - rank as f64 * 0.01, u16::from(rank % 2 == 1), 0)
            })
            .collect();
        let [first, ..] = accumulate_matches(&mut given, 10);
        assert_eq!(first.recall, [0.0, 0.5, 1.0]);
    }

    #[test]
    fn equal_scores_go_by_image_and_rank() {
        let at = |image, rank, matched| Matched {
            image,
            rank,
            ..detection(0.5, matched, 0)
        };
        let mut given = [at(1, 0, 1), at(0, 1, 0), at(0, 0, 1)];
        let [first, ..] = accumulate_matches(&mut given, 2);
        // Right, wrong, right.
        let expected = (51.0 + 50.0 * 2.0 / 3.0) / 101.0;
        assert!((first.average - expected).abs() < 1e-15);
    }

    #[test]
    fn more_than_a_hundred_detections_of_an_image_do_not_count() {
        let mut given: Vec<Matched> = (0..200)
            .map(|rank| Matched {
                rank,
                ..detection(1.0 - rank as f64 * 0.001, 1, 0)
            })
            .collect();
        let [first, ..] = accumulate_matches(&mut given, 200);
        assert_eq!(first.recall, [0.005, 0.05, 0.5]);
        assert!((first.average - 51.0 / 101.0).abs() < 1e-15);
    }

    #[test]
    fn without_detections_all_is_zero() {
        assert_eq!(accumulate_matches(&mut [], 5), [Precision::default(); 10]);
    }
}
