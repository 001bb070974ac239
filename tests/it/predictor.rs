//! Masks of clicks and boxes against segment-anything's `SamPredictor`: `tests/data/extract/make_clicks.py` made the
//! references.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use grainstore::error::ModelError;
use grainstore::geometry::{Rle, Size};
use grainstore::models::sam::{Checkpoint, Prompt, Sam, SamPredictor};
use image::RgbImage;
use serde_json::Value;

use crate::support::{CHECKPOINT, device};

/// Largest difference allowed in predicted IoU.
const IOU_TOLERANCE: f64 = 1e-5;
/// Largest difference allowed in a stability score.
const STABILITY_TOLERANCE: f64 = 1e-4;

fn test_data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// The small model of `make_clicks.py`; shapes do not tell its decoder's heads.
fn sharp_model() -> Sam {
    let checkpoint = Checkpoint::open(CHECKPOINT).unwrap();
    let mut config = checkpoint.config().unwrap();
    config.decoder.heads = 4;
    checkpoint.load_as(&config, &device()).unwrap()
}

fn photo(name: &str) -> RgbImage {
    let path = test_data("sam").join(name);
    image::open(path).unwrap().into_rgb8()
}

/// A prompt, and what upstream gives for it.
struct Case {
    /// To tell it by.
    name: String,
    /// Of the photo.
    size: Size,
    prompt: Prompt,
    /// By number of the output: the single mask, then the three of an ambiguous prompt.
    masks: Vec<UpstreamMask>,
}

struct UpstreamMask {
    /// COCO's compressed counts.
    counts: String,
    predicted_iou: f64,
    stability_score: f64,
}

fn array(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn numbers<const N: usize>(value: &Value) -> [f64; N] {
    let found: Vec<f64> = array(value).iter().map(|x| x.as_f64().unwrap()).collect();
    found.try_into().unwrap()
}

impl Case {
    fn new(photo: &str, size: Size, case: &Value) -> Self {
        let points =
            |name: &str| -> Vec<[f64; 2]> { array(&case[name]).iter().map(numbers).collect() };
        let prompt = Prompt {
            foreground: points("foreground"),
            background: points("background"),
            box_xyxy: (!case["box"].is_null()).then(|| numbers(&case["box"])),
            mask: None,
        };
        let mask = |mask: &Value| UpstreamMask {
            counts: mask["counts"].as_str().unwrap().to_owned(),
            predicted_iou: mask["predicted_iou"].as_f64().unwrap(),
            // Of a mask that is empty at both thresholds upstream's score is not a number, and ours is 0.
            stability_score: mask["stability_score"].as_f64().unwrap_or(0.0),
        };
        Self {
            name: format!("{photo}, {prompt:?}"),
            size,
            prompt,
            masks: array(&case["masks"]).iter().map(mask).collect(),
        }
    }

    /// Whether the prompt is a single point, which may mean a part, an object or a whole.
    fn is_ambiguous(&self) -> bool {
        let points = self.prompt.foreground.len() + self.prompt.background.len();
        points == 1 && self.prompt.box_xyxy.is_none()
    }

    /// Upstream's best output: `argmax` of the three for a single point, else the single mask.
    fn best(&self) -> usize {
        if !self.is_ambiguous() {
            return 0;
        }
        let iou = |output: &usize| self.masks[*output].predicted_iou;
        (1..self.masks.len())
            .max_by(|a, b| iou(a).total_cmp(&iou(b)))
            .unwrap()
    }
}

/// Calls `check` with every prompt of the fixture and the predictor of its photo; returns how many there are.
fn for_every_case(mut check: impl FnMut(&SamPredictor<'_>, &Case)) -> usize {
    let fixture = std::fs::read_to_string(test_data("extract/clicks.json")).unwrap();
    let fixture: Value = serde_json::from_str(&fixture).unwrap();
    let model = sharp_model();
    let mut count = 0;
    for of_photo in array(&fixture["photos"]) {
        let name = of_photo["photo"].as_str().unwrap();
        let photo = photo(name);
        let size = Size {
            height: photo.height(),
            width: photo.width(),
        };
        let predictor = SamPredictor::new(&model, &photo, &device()).unwrap();
        for case in array(&of_photo["prompts"]) {
            check(&predictor, &Case::new(name, size, case));
            count += 1;
        }
    }
    count
}

#[test]
fn predictions_are_those_of_upstreams_predictor() {
    let count = for_every_case(|predictor, case| {
        let found = predictor.predict(&case.prompt).unwrap();
        assert_eq!(found.len(), case.masks.len(), "{}", case.name);
        for (output, (ours, upstream)) in found.iter().zip(&case.masks).enumerate() {
            let name = format!("{}, output {output}", case.name);
            assert_eq!(ours.output, output, "{name}");

            let expected = Rle::from_counts_str(case.size, &upstream.counts).unwrap();
            let shared = ours.mask.intersection_area(&expected).unwrap();
            let differing = ours.mask.union(&expected).unwrap().area() - shared;
            assert_eq!(differing, 0, "{name}: pixels that differ");
            assert_eq!(ours.mask.to_counts_string(), upstream.counts, "{name}");

            let (iou, stability) = (ours.predicted_iou, ours.stability_score);
            assert!(
                (f64::from(iou) - upstream.predicted_iou).abs() <= IOU_TOLERANCE,
                "{name}: predicted IoU {iou}, upstream's {}",
                upstream.predicted_iou
            );
            assert!(
                (f64::from(stability) - upstream.stability_score).abs() <= STABILITY_TOLERANCE,
                "{name}: stability score {stability}, upstream's {}",
                upstream.stability_score
            );
        }
    });
    assert_eq!(count, 10);
}

#[test]
fn the_best_mask_is_upstreams_choice() {
    let mut chosen = BTreeSet::new();
    for_every_case(|predictor, case| {
        let (best, expected) = (predictor.predict_best(&case.prompt).unwrap(), case.best());
        assert_eq!(best.output, expected, "{}", case.name);
        let upstream = &case.masks[expected];
        assert_eq!(
            best.mask.to_counts_string(),
            upstream.counts,
            "{}",
            case.name
        );
        chosen.insert(expected);
    });
    // The fixture tells the best of three from any fixed one.
    assert!(chosen.contains(&0) && chosen.len() >= 3, "{chosen:?}");
}

#[test]
fn prompts_that_ask_for_nothing_or_lie_nowhere_are_refused() {
    let (model, photo) = (sharp_model(), photo("wide.png"));
    let predictor = SamPredictor::new(&model, &photo, &device()).unwrap();
    let refused = |prompt: &Prompt| {
        let error = predictor.predict(prompt).unwrap_err();
        let of_best = predictor.predict_best(prompt).unwrap_err();
        assert_eq!(error.to_string(), of_best.to_string());
        error
    };

    let error = refused(&Prompt::default());
    assert!(matches!(error, ModelError::EmptyPrompt), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the prompt has neither a point nor a box nor a mask"
    );

    let beside = Prompt {
        background: vec![[f64::NAN, 3.0]],
        ..Prompt::click(20.0, 30.0)
    };
    for prompt in [
        Prompt::click(f64::NAN, 30.0),
        Prompt::click(20.0, f64::NAN),
        Prompt::of_box([5.0, 5.0, 60.0, f64::NAN]),
        beside,
    ] {
        let error = refused(&prompt);
        let ModelError::PromptCoordinate { value } = error else {
            panic!("{prompt:?}: {error}")
        };
        assert!(value.is_nan(), "{prompt:?}");
        assert_eq!(
            error.to_string(),
            "the prompt has coordinate NaN, expected a finite number of pixels"
        );
    }
}
