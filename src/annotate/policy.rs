//! What makes a predicted mask part of the annotation, and how masks become a semantic map.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::catalogue::find_head;
use crate::head::Recipe;
use crate::ids::PolicyId;
use crate::options::{is_default, one_of};
use crate::store::Snapshot;
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

/// The rule of a head's maps, if none is given: the paper's heads have painted ones.
///
/// # Errors
/// As [`find_head`].
pub async fn default_map_rule(snapshot: &Snapshot, head: &str) -> Result<MapRule> {
    #[derive(Default, Deserialize)]
    struct Spec {
        #[serde(default)]
        options: Options,
    }
    #[derive(Default, Deserialize)]
    struct Options {
        #[serde(default)]
        recipe: Recipe,
    }
    // Heads of other tools have no options.
    let spec = find_head(snapshot, head).await?.spec;
    let spec: Spec = serde_json::from_str(&spec).unwrap_or_default();
    Ok(match spec.options.recipe {
        Recipe::Default => MapRule::default(),
        Recipe::Paper => MapRule::Paint,
    })
}

/// What the score of a mask is.
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
