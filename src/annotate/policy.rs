//! Which of an image's predicted masks are kept: score threshold, mask NMS, a maximum per image. Pure.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::geometry::{NmsConfig, NmsOutcome, Rle, mask_nms};
use crate::ids::PolicyId;
use crate::options::{is_default, one_of};
use crate::{Error, Result};

/// Which masks suppress which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NmsScope {
    /// Masks of one class suppress each other.
    #[default]
    Class,
    /// All masks of an image suppress each other.
    All,
}

impl NmsScope {
    const WORDS: [(&'static str, Self); 2] = [("class", Self::Class), ("all", Self::All)];
}

impl std::str::FromStr for NmsScope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of("scope of NMS", text, &Self::WORDS)
    }
}

/// How the masks of an image become its semantic map, which has one class, or none, per pixel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapRule {
    /// Kept masks are painted over each other: each pixel gets the class of its best-scoring mask.
    Paint,
    /// All masks vote, kept or not, but for those whose quality is too low: each pixel gets the class with the greatest
    /// sum of scores divided by the number of masks over the pixel, if this is at least the given number, in [0, 1].
    Vote(f64),
}

impl Default for MapRule {
    fn default() -> Self {
        Self::Vote(Self::TAU)
    }
}

impl MapRule {
    /// The minimum mean score of a vote, if none is given.
    pub const TAU: f64 = 0.5;

    /// Whether masks are painted. Policies that were written before there was another rule do not name one.
    fn is_paint(&self) -> bool {
        *self == Self::Paint
    }

    fn paint() -> Self {
        Self::Paint
    }

    /// The rule in `policies.policy`; that of imported predictions names none.
    ///
    /// # Errors
    /// [`Error::Json`] for a policy that cannot be read.
    pub fn of_policy(policy: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Rule {
            #[serde(default = "MapRule::paint")]
            map: MapRule,
        }
        Ok(serde_json::from_str::<Rule>(policy)?.map)
    }
}

impl std::str::FromStr for MapRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = match text.split_once(':') {
            None if text == "paint" => Some(Self::Paint),
            None if text == "vote" => Some(Self::Vote(Self::TAU)),
            Some(("vote", tau)) => tau.parse().ok().map(Self::Vote),
            _ => None,
        };
        found.ok_or_else(|| Error::InvalidOption {
            what: "rule of the semantic map",
            value: text.to_owned(),
            expected: "paint, vote, or vote:TAU with a number from 0 to 1".to_owned(),
        })
    }
}

impl std::fmt::Display for MapRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Paint => f.write_str("paint"),
            Self::Vote(tau) => write!(f, "vote:{tau}"),
        }
    }
}

/// What a mask is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ScoreRule {
    /// The head's probability of its class.
    #[default]
    #[serde(rename = "p")]
    Probability,
    /// That times the mask's predicted IoU, where this is known (Mask Scoring R-CNN: Huang et al., CVPR 2019).
    #[serde(rename = "p*iou")]
    TimesPredictedIou,
}

impl ScoreRule {
    const WORDS: [(&'static str, Self); 2] =
        [("p", Self::Probability), ("p*iou", Self::TimesPredictedIou)];

    /// A mask's score by this rule.
    pub fn score(self, probability: f64, predicted_iou: Option<f32>) -> f64 {
        match self {
            Self::Probability => probability,
            Self::TimesPredictedIou => probability * predicted_iou.map_or(1.0, f64::from),
        }
    }

    /// The rule in `policies.policy`; that of policies that name none is the probability.
    ///
    /// # Errors
    /// [`Error::Json`] for a policy that cannot be read.
    pub fn of_policy(policy: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Rule {
            #[serde(default)]
            score: ScoreRule,
        }
        Ok(serde_json::from_str::<Rule>(policy)?.score)
    }
}

impl std::str::FromStr for ScoreRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of("rule of the score", text, &Self::WORDS)
    }
}

impl std::fmt::Display for ScoreRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = Self::WORDS.iter().find(|(_, rule)| rule == self);
        f.write_str(known.map_or("", |(word, _)| word))
    }
}

/// What makes a predicted mask part of the annotation, and how masks become a semantic map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
// Fields that came later are skipped when they say nothing, so that a policy written before them keeps its id.
pub struct Policy {
    /// Minimum score of some classes, by name, in place of the one for all.
    #[serde(default, skip_serializing_if = "is_default")]
    pub class_thresholds: BTreeMap<String, f64>,
    /// Minimum of the best score of a class in an image, in [0, 1]: where it is lower, the class is taken not to be on the
    /// image, and none of its masks is kept or votes; 0 for no minimum.
    #[serde(default, skip_serializing_if = "is_default")]
    pub image_gate: f64,
    /// How masks become a semantic map.
    #[serde(default = "MapRule::paint", skip_serializing_if = "MapRule::is_paint")]
    pub map: MapRule,
    /// Maximum number of kept masks in an image; those with the highest scores are kept.
    pub max_per_image: u32,
    /// Minimum predicted IoU, Segment Anything's own estimate of a mask's quality; 0 for no minimum.
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_predicted_iou: f32,
    /// Minimum stability score, in [0, 1]; 0 for no minimum.
    #[serde(default, skip_serializing_if = "is_default")]
    pub min_stability_score: f32,
    /// Which masks suppress which.
    pub nms: NmsScope,
    /// A mask is dropped if its IoU with a kept mask of a higher score is above this, in [0, 1].
    pub nms_iou: f64,
    /// What the score of a mask is.
    #[serde(default, skip_serializing_if = "is_default")]
    pub score: ScoreRule,
    /// Minimum score, in [0, 1].
    pub score_threshold: f64,
}

/// A policy for the classes of a head.
#[derive(Debug, Clone)]
pub(super) struct Decider {
    policy: Policy,
    /// Minimum score of each class.
    thresholds: Vec<f64>,
}

impl Default for Policy {
    /// `docs/train.md` says how the threshold and the rule of the map were found; the paper's threshold is 0.7.
    fn default() -> Self {
        Self {
            class_thresholds: BTreeMap::new(),
            image_gate: 0.0,
            map: MapRule::default(),
            max_per_image: 100,
            min_predicted_iou: 0.0,
            min_stability_score: 0.0,
            nms: NmsScope::Class,
            nms_iou: 0.5,
            score: ScoreRule::default(),
            score_threshold: 0.5,
        }
    }
}

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

impl Policy {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for the first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let tau = match self.map {
            MapRule::Paint => MapRule::TAU,
            MapRule::Vote(tau) => tau,
        };
        let (predicted_iou, stability) = (
            f64::from(self.min_predicted_iou),
            f64::from(self.min_stability_score),
        );
        let checks = [
            ("min predicted IoU", predicted_iou, share(predicted_iou)),
            ("min stability score", stability, share(stability)),
            (
                "score threshold",
                self.score_threshold,
                share(self.score_threshold),
            ),
            ("image gate", self.image_gate, share(self.image_gate)),
            ("NMS IoU", self.nms_iou, share(self.nms_iou)),
            ("minimum mean score of a vote", tau, share(tau)),
        ];
        let of_classes = self.class_thresholds.values();
        let of_classes = of_classes.map(|it| ("score threshold of a class", *it, share(*it)));
        for (what, value, good) in checks.into_iter().chain(of_classes) {
            if !good {
                return Err(Error::InvalidOption {
                    what,
                    value: value.to_string(),
                    expected: "a number from 0 to 1".to_owned(),
                });
            }
        }
        if self.max_per_image == 0 {
            return Err(Error::InvalidOption {
                what: "maximum per image",
                value: "0".to_owned(),
                expected: "at least 1".to_owned(),
            });
        }
        Ok(())
    }

    /// The value of `policies.policy`: JSON with sorted keys.
    ///
    /// # Errors
    /// [`Error::Json`] if it cannot be serialised.
    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string(self)?)
    }

    /// The policy's id, `policies.policy_id`.
    ///
    /// # Errors
    /// As [`Policy::to_json`].
    pub fn id(&self) -> Result<PolicyId> {
        Ok(PolicyId::of_bytes(self.to_json()?.as_bytes()))
    }

    /// The policy for the classes of a head, in the order of its outputs.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a threshold of a class that the head does not have.
    pub(super) fn for_classes(&self, classes: &[String]) -> Result<Decider> {
        let unknown = self
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
        let of_class = |name: &String| self.class_thresholds.get(name).copied();
        let thresholds = classes.iter();
        let thresholds = thresholds.map(|name| of_class(name).unwrap_or(self.score_threshold));
        Ok(Decider {
            policy: self.clone(),
            thresholds: thresholds.collect(),
        })
    }
}

impl Decider {
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
        let decider = policy.for_classes(&names).unwrap();
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
        let unknown = policy.for_classes(&["a".to_owned(), "b".to_owned()]);
        assert!(unknown.unwrap_err().to_string().contains("'c'"));
        let bad = Policy {
            class_thresholds: BTreeMap::from([("a".to_owned(), 1.5)]),
            ..Policy::default()
        };
        assert!(bad.validate().is_err());
        assert!("p * iou".parse::<ScoreRule>().is_err());
    }

    #[test]
    fn a_policy_is_known_by_its_content() {
        let policy = Policy::default();
        let json = policy.to_json().unwrap();
        assert_eq!(
            json,
            r#"{"map":{"vote":0.5},"max_per_image":100,"nms":"class","nms_iou":0.5,"score_threshold":0.5}"#
        );
        let back: Policy = serde_json::from_str(&json).unwrap();
        assert_eq!(back.id().unwrap(), policy.id().unwrap());
        // As it was written before there was a rule.
        let painting = r#"{"max_per_image":100,"nms":"class","nms_iou":0.5,"score_threshold":0.7}"#;
        let read: Policy = serde_json::from_str(painting).unwrap();
        assert_eq!(
            (read.map, read.to_json().unwrap()),
            (MapRule::Paint, painting.to_owned())
        );
        let voting = Policy {
            map: "vote:0.4".parse().unwrap(),
            ..policy.clone()
        };
        let json = voting.to_json().unwrap();
        assert!(
            json.starts_with(r#"{"map":{"vote":0.4},"max_per_image""#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), voting);
        let other = Policy {
            nms_iou: 0.6,
            ..policy
        };
        assert_ne!(other.id().unwrap(), back.id().unwrap());
        for bad in [
            Policy {
                score_threshold: 1.1,
                ..Policy::default()
            },
            Policy {
                nms_iou: f64::NAN,
                ..Policy::default()
            },
            Policy {
                map: MapRule::Vote(1.5),
                ..Policy::default()
            },
            Policy {
                max_per_image: 0,
                ..Policy::default()
            },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
        assert!("boxes".parse::<NmsScope>().is_err());
        for bad in ["votes", "vote:", "vote:x", "paint:0.5"] {
            assert!(bad.parse::<MapRule>().is_err(), "{bad}");
        }
        assert_eq!("vote".parse::<MapRule>().unwrap(), MapRule::Vote(0.5));
    }
}
