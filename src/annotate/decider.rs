//! Decides by a policy which of an image's predicted masks are kept: quality, scores, mask NMS, a maximum. Pure.

use std::collections::HashSet;

use super::policy::{NmsScope, Policy};
use crate::geometry::{NmsConfig, NmsOutcome, Rle, mask_nms};
use crate::{Error, Result};

/// A predicted mask.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Candidate {
    /// Index of the mask in its image.
    pub mask_index: i32,
    /// Index of the predicted class.
    pub class: u32,
    /// Score of the prediction, in [0, 1].
    pub score: f64,
    /// `masks.predicted_iou`; `None` for an imported mask, of which it is unknown.
    pub predicted_iou: Option<f32>,
    /// `masks.stability_score`; `None` likewise.
    pub stability_score: Option<f32>,
}

/// What a policy decided about a predicted mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The mask is part of the annotation.
    Kept,
    /// Its score is below the threshold.
    BelowThreshold,
    /// Its predicted IoU or its stability score is too low.
    LowQuality,
    /// No mask of the image has a score of its class that is high enough for the class to be on the image.
    NotOnImage,
    /// It overlaps a kept mask of a higher score too much.
    Suppressed {
        /// `mask_index` of that mask.
        by: i32,
    },
    /// The image has enough kept masks of higher scores.
    BeyondMax,
}

impl Verdict {
    /// Whether the mask is part of the annotation.
    pub fn is_kept(self) -> bool {
        self == Self::Kept
    }

    /// The value of `predictions.dropped`.
    pub fn dropped(self) -> Option<&'static str> {
        match self {
            Self::Kept => None,
            Self::BelowThreshold => Some("score"),
            Self::LowQuality => Some("quality"),
            Self::NotOnImage => Some("image_gate"),
            Self::Suppressed { .. } => Some("suppressed"),
            Self::BeyondMax => Some("max_per_image"),
        }
    }

    /// The value of `predictions.suppressed_by`.
    pub fn suppressed_by(self) -> Option<i32> {
        match self {
            Self::Suppressed { by } => Some(by),
            _ => None,
        }
    }
}

/// A policy for the classes of a head.
#[derive(Debug, Clone)]
pub(super) struct Decider {
    policy: Policy,
    /// Minimum score of each class.
    thresholds: Vec<f64>,
}

impl Decider {
    /// The policy for the classes of a head, in the order of its outputs.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a threshold of a class that the head does not have.
    pub fn new(policy: &Policy, classes: &[String]) -> Result<Self> {
        let unknown = policy
            .class_thresholds
            .keys()
            .find(|it| !classes.contains(it));
        if let Some(name) = unknown {
            return Err(Error::InvalidOption {
                what: "class with a threshold of its own",
                value: name.clone(),
                expected: format!("one of the head's: {}", classes.join(", ")),
            });
        }
        let of_class = |name: &String| policy.class_thresholds.get(name).copied();
        let thresholds = classes.iter();
        let thresholds = thresholds.map(|name| of_class(name).unwrap_or(policy.score_threshold));
        Ok(Self {
            policy: policy.clone(),
            thresholds: thresholds.collect(),
        })
    }

    /// Whether a mask's score and quality suffice. A score of NaN never does; unknown quality always does.
    pub fn is_candidate(&self, candidate: &Candidate) -> bool {
        let class = candidate.class as usize;
        let threshold = self.thresholds.get(class).copied();
        let threshold = threshold.unwrap_or(self.policy.score_threshold);
        self.score(candidate) >= threshold && self.has_quality(candidate)
    }

    fn score(&self, candidate: &Candidate) -> f64 {
        let rule = self.policy.score;
        rule.score(candidate.score, candidate.predicted_iou)
    }

    fn has_quality(&self, candidate: &Candidate) -> bool {
        let suffices =
            |min: f32, value: Option<f32>| min == 0.0 || value.is_none_or(|value| value >= min);
        suffices(self.policy.min_predicted_iou, candidate.predicted_iou)
            && suffices(self.policy.min_stability_score, candidate.stability_score)
    }

    /// Decides on all masks of one image; returns one verdict per mask, in the order given.
    ///
    /// `mask` returns the pixels of a candidate and is called only for those that [suffice](Self::is_candidate). Of
    /// equal scores, the first counts as higher.
    ///
    /// # Errors
    /// Errors of `mask`; [`Error::SizeMismatch`] unless all masks have the same size.
    pub fn decide(
        &self,
        candidates: &[Candidate],
        mut mask: impl FnMut(usize) -> Result<Rle>,
    ) -> Result<Vec<Verdict>> {
        let on_image = self.classes_on_image(candidates);
        // Quality first: a mask below the threshold may vote, one of low quality may not.
        let low = |candidate: &Candidate| {
            if !self.has_quality(candidate) {
                Verdict::LowQuality
            } else if !on_image.contains(&candidate.class) {
                Verdict::NotOnImage
            } else {
                Verdict::BelowThreshold
            }
        };
        let mut verdicts: Vec<Verdict> = candidates.iter().map(low).collect();
        let above: Vec<(usize, &Candidate)> = candidates
            .iter()
            .enumerate()
            .filter(|(_, it)| self.is_candidate(it) && on_image.contains(&it.class))
            .collect();
        let mut masks = Vec::with_capacity(above.len());
        for (at, _) in &above {
            masks.push(mask(*at)?);
        }
        let scores: Vec<f64> = above.iter().map(|(_, it)| self.score(it)).collect();
        let classes: Vec<u32> = above.iter().map(|(_, it)| it.class).collect();
        let config = NmsConfig {
            iou_threshold: self.policy.nms_iou,
            classes: (self.policy.nms == NmsScope::Class).then_some(classes.as_slice()),
        };
        let outcomes = mask_nms(&masks, &scores, &config)?;
        let mut kept = Vec::new();
        for ((at, candidate), outcome) in above.iter().zip(outcomes) {
            let verdict = match outcome {
                NmsOutcome::Kept => {
                    kept.push((*at, self.score(candidate)));
                    Verdict::Kept
                }
                NmsOutcome::SuppressedBy(by) => Verdict::Suppressed {
                    by: above.get(by).map_or(-1, |(_, it)| it.mask_index),
                },
            };
            if let Some(slot) = verdicts.get_mut(*at) {
                *slot = verdict;
            }
        }
        kept.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (at, _) in kept.iter().skip(self.policy.max_per_image as usize) {
            if let Some(slot) = verdicts.get_mut(*at) {
                *slot = Verdict::BeyondMax;
            }
        }
        Ok(verdicts)
    }

    /// Classes of which some mask of the image has a high enough score.
    fn classes_on_image(&self, candidates: &[Candidate]) -> HashSet<u32> {
        let gate = self.policy.image_gate;
        let passes =
            |it: &&Candidate| gate == 0.0 || (self.has_quality(it) && self.score(it) >= gate);
        let passing = candidates.iter().filter(passes);
        passing.map(|it| it.class).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::policy::ScoreRule;
    use super::*;
    use crate::geometry::Size;
    use Verdict::{BelowThreshold, BeyondMax, Kept, LowQuality, Suppressed};

    /// Rows `top..bottom` of a column of ten pixels.
    fn rows(top: u32, bottom: u32) -> Rle {
        let size = Size {
            height: 10,
            width: 1,
        };
        Rle::from_runs(size, vec![top, bottom - top]).unwrap()
    }

    fn decide(policy: &Policy, scored: &[(f64, u32, Rle)]) -> Vec<Verdict> {
        let candidates: Vec<Candidate> = scored
            .iter()
            .zip(100..)
            .map(|((score, class, _), mask_index)| Candidate {
                mask_index,
                class: *class,
                score: *score,
                predicted_iou: Some(0.9),
                stability_score: Some(if *class == 3 { 0.4 } else { 0.8 }),
            })
            .collect();
        let mask = |at: usize| Ok(scored[at].2.clone());
        let names: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        let decider = Decider::new(policy, &names).unwrap();
        decider.decide(&candidates, mask).unwrap()
    }

    #[test]
    fn thresholds_overlap_and_maximum_in_turn() {
        let policy = Policy {
            max_per_image: 2,
            score_threshold: 0.7,
            ..Policy::default()
        };
        let scored = [
            (0.69, 0, rows(0, 9)),  // too low, so it suppresses nothing
            (0.70, 0, rows(0, 5)),  // exactly the threshold
            (0.95, 0, rows(0, 6)),  // suppresses the one before
            (0.90, 1, rows(0, 6)),  // of another class
            (0.80, 2, rows(8, 10)), // the third best
            (f64::NAN, 2, rows(8, 10)),
        ];
        assert_eq!(
            decide(&policy, &scored),
            [
                BelowThreshold,
                Suppressed { by: 102 },
                Kept,
                Kept,
                BeyondMax,
                BelowThreshold
            ]
        );
        let all = Policy {
            nms: NmsScope::All,
            ..policy
        };
        assert_eq!(
            decide(&all, &scored),
            [
                BelowThreshold,
                Suppressed { by: 102 },
                Kept,
                Suppressed { by: 102 },
                Kept,
                BelowThreshold
            ]
        );
        assert_eq!(decide(&all, &[]), []);
    }

    #[test]
    fn masks_of_low_quality_suppress_nothing() {
        let scored = [
            (0.9, 3, rows(0, 5)),
            (0.8, 0, rows(0, 5)),
            (0.1, 3, rows(0, 5)),
        ];
        let policy = |min_predicted_iou, min_stability_score| Policy {
            min_predicted_iou,
            min_stability_score,
            nms: NmsScope::All,
            ..Policy::default()
        };
        assert_eq!(
            decide(&policy(0.9, 0.0), &scored),
            [Kept, Suppressed { by: 100 }, BelowThreshold]
        );
        assert_eq!(
            decide(&policy(0.0, 0.5), &scored),
            [LowQuality, Kept, LowQuality]
        );
        assert_eq!(
            decide(&policy(0.95, 0.0), &scored),
            [LowQuality, LowQuality, LowQuality]
        );
        assert!(policy(1.5, 0.0).validate().is_err() && policy(0.0, f32::NAN).validate().is_err());
    }

    #[test]
    fn classes_have_thresholds_and_must_be_on_the_image() {
        let scored = [
            (0.6, 0, rows(0, 2)),
            (0.6, 1, rows(2, 4)),
            (0.9, 1, rows(4, 6)),
            (0.7, 2, rows(6, 8)),
        ];
        let policy = Policy {
            class_thresholds: BTreeMap::from([("b".to_owned(), 0.8), ("c".to_owned(), 0.75)]),
            ..Policy::default()
        };
        assert_eq!(
            decide(&policy, &scored),
            [Kept, BelowThreshold, Kept, BelowThreshold]
        );
        let gated = Policy {
            image_gate: 0.8,
            ..Policy::default()
        };
        assert_eq!(
            decide(&gated, &scored),
            [Verdict::NotOnImage, Kept, Kept, Verdict::NotOnImage]
        );
        // All have a predicted IoU of 0.9.
        let product = Policy {
            score: ScoreRule::TimesPredictedIou,
            score_threshold: 0.6,
            ..Policy::default()
        };
        assert_eq!(
            decide(&product, &scored),
            [BelowThreshold, BelowThreshold, Kept, Kept]
        );
        let json = product.to_json().unwrap();
        assert_eq!(ScoreRule::of_policy(&json).unwrap(), product.score);
        assert_eq!(
            serde_json::from_str::<Policy>(&policy.to_json().unwrap()).unwrap(),
            policy
        );
        let unknown = Decider::new(&policy, &["a".to_owned(), "b".to_owned()]);
        assert!(unknown.unwrap_err().to_string().contains("'c'"));
        let bad = Policy {
            class_thresholds: BTreeMap::from([("a".to_owned(), 1.5)]),
            ..Policy::default()
        };
        assert!(bad.validate().is_err());
        assert!("p * iou".parse::<ScoreRule>().is_err());
    }
}
