//! HQ-SAM against its official package: `tests/data/sam/make_hq.py` made the references.

use std::path::{Path, PathBuf};

use burn::tensor::{Int, Tensor, TensorData};
use grainstore::Error;
use grainstore::extract::{MaskGenerator, MaskOptions, MaskOutput};
use grainstore::geometry::{Rle, Size};
use grainstore::models::sam::{
    Checkpoint, EncoderConfig, ImageFeatures, ModelType, Prompt, Prompts, Sam, SamConfig,
    SamPredictor, WeightPrecision, save,
};
use serde_json::Value;

use crate::sam::{Reference, photo};
use crate::support::device;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sam")
}

/// The decoder's heads, and the size of a TinyViT's input, cannot be told from shapes; the small models have others than
/// published ones.
fn load(file: &str, early_channels: usize) -> Sam {
    let checkpoint = Checkpoint::open(folder().join(file)).unwrap();
    let mut config = checkpoint.config().unwrap();
    assert_eq!(config.decoder.hq_channels, Some(early_channels));
    if matches!(config.encoder, EncoderConfig::TinyVit(_)) {
        config.image_size = 128;
    }
    config.decoder.heads = 4;
    checkpoint.load_as(&config, &device()).unwrap()
}

fn small_model() -> Sam {
    load("hq.safetensors", 32)
}

/// The output of each prompt that upstream chooses: 0, or the best of the three for an ambiguous prompt.
fn chosen(iou: Tensor<2>, is_best: bool) -> Vec<usize> {
    let [rows, outputs] = iou.dims();
    let numbers: Vec<f32> = iou.into_data().iter::<f32>().collect();
    let best = numbers.chunks_exact(outputs).map(|iou| {
        let several = (1..outputs).max_by(|a, b| iou[*a].total_cmp(&iou[*b]).then(b.cmp(a)));
        if is_best { several.unwrap() } else { 0 }
    });
    let best: Vec<usize> = best.collect();
    assert_eq!(best.len(), rows);
    best
}

/// Every stage of a model on two images; prints the differences.
fn check_masks(model: &Sam, reference: &str) {
    let reference = Reference::file(folder().join(reference));
    for name in ["wide", "tall"] {
        let (rgb, size) = photo(&folder(), name);
        let pixels = model.config().prepare(&rgb, size).unwrap();
        let embedding = model.encode_image(pixels.into_tensor(&device()));
        let difference = reference.check(&format!("{name}.embedding"), embedding.cells.clone());
        println!("{name}.embedding: {difference:.1e}");
        for prompt in ["point", "points", "box", "point_box"] {
            let key = format!("{name}.{prompt}");
            let prompts = reference.prompts(&key);
            let output = model.decode(embedding.clone(), &prompts);
            let decoded = model.decode_tokens(embedding.clone(), &prompts);
            let tokens = reference.check(&format!("{key}.tokens"), decoded.tokens.clone());
            for (which, is_best) in [("single", false), ("best", true)] {
                let outputs = chosen(output.iou.clone(), is_best);
                let masks = model.masks(decoded.clone(), &outputs);
                let masks = reference.check(&format!("{key}.{which}"), masks);
                let rows = outputs
                    .iter()
                    .enumerate()
                    .map(|(row, output)| (4 * row + output) as i32);
                let rows: Vec<i32> = rows.collect();
                let count = rows.len();
                let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [count]), &device());
                let iou = output.iou.clone().reshape([4 * count]).select(0, rows);
                let iou = reference.check(&format!("{key}.{which}_iou"), iou.reshape([count, 1]));
                println!(
                    "{key}.{which}: tokens, iou, masks {:?}",
                    [tokens, iou, masks]
                );
            }
        }
    }
}

#[test]
fn masks_are_those_of_upstream_with_the_added_one() {
    check_masks(&small_model(), "hq_reference.safetensors");
}

#[test]
fn masks_behind_a_tiny_vit_are_those_of_upstream() {
    let model = load("hq_tiny.safetensors", 16);
    let EncoderConfig::TinyVit(tiny) = &model.config().encoder else {
        panic!("{:?}", model.config())
    };
    assert_eq!(
        (tiny.embed_dims, tiny.depths, tiny.mlp_ratio),
        ([8, 12, 16, 20], [1, 2, 1, 2], 4)
    );
    // The first stage has no attention.
    assert_eq!(
        (&tiny.heads[1..], &tiny.window_sizes[1..]),
        (&[2, 4, 5][..], &[5, 8, 3][..])
    );
    check_masks(&model, "hq_tiny_reference.safetensors");
}

#[test]
fn automatic_masks_are_those_of_upstreams_generator() {
    let fixture = std::fs::read_to_string(folder().join("hq_masks.json")).unwrap();
    let fixture: Value = serde_json::from_str(&fixture).unwrap();
    let photo = image::open(folder().join(fixture["photo"].as_str().unwrap()));
    let photo = photo.unwrap().to_rgb8();
    let size = Size {
        height: photo.height(),
        width: photo.width(),
    };
    let options = MaskOptions {
        points_per_side: 6,
        mask_output: MaskOutput::Best,
        ..MaskOptions::default()
    };
    let generator = MaskGenerator::new(small_model(), device(), options.clone(), 7).unwrap();
    let mut ours = generator.generate(&photo).unwrap();
    // Upstream orders by score even where nothing is suppressed.
    ours.sort_by(|a, b| b.predicted_iou.total_cmp(&a.predicted_iou));
    let upstream = fixture["masks"].as_array().unwrap();
    assert_eq!(ours.len(), upstream.len());
    let mut exact = 0;
    for (ours, upstream) in ours.iter().zip(upstream) {
        let iou = upstream["predicted_iou"].as_f64().unwrap();
        assert!((f64::from(ours.predicted_iou) - iou).abs() < 1e-3);
        let mask = Rle::from_counts_str(size, upstream["counts"].as_str().unwrap()).unwrap();
        let differing =
            mask.union(&ours.rle).unwrap().area() - mask.intersection_area(&ours.rle).unwrap();
        // A logit next to the threshold may fall on the other side of it.
        assert!(differing <= 2, "{differing} pixels differ");
        exact += usize::from(differing == 0);
    }
    assert!(exact * 20 >= ours.len() * 19, "{exact} of {}", ours.len());

    let all = MaskOptions {
        mask_output: MaskOutput::All,
        ..options
    };
    let error = MaskGenerator::new(small_model(), device(), all, 7)
        .err()
        .unwrap();
    assert!(matches!(error, Error::InvalidOption { .. }), "{error}");
    assert!(
        error.to_string().contains("HQ-SAM gives one mask a point"),
        "{error}"
    );
}

#[test]
fn kept_features_and_saved_models_give_the_same_masks() {
    let model = small_model();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.safetensors");
    save(&model, &path, WeightPrecision::F32).unwrap();
    let saved = Checkpoint::open(&path).unwrap();
    assert_eq!(&saved.config().unwrap(), model.config());
    let saved = saved.load(&device()).unwrap();
    let photo = image::open(folder().join("wide.png")).unwrap().to_rgb8();
    let size = Size {
        height: photo.height(),
        width: photo.width(),
    };
    let pixels = model.config().prepare(photo.as_raw(), size).unwrap();
    let channels = model
        .encode_image(pixels.into_tensor(&device()))
        .into_channels();
    let [_, count, rows, columns] = channels.dims();
    assert_eq!(count, model.config().kept_channels());
    let values: Vec<f32> = channels.into_data().iter::<f32>().collect();
    let kept = ImageFeatures::kept(&model, size, [count, rows, columns], values, &device());
    let kept = SamPredictor::with_features(&saved, kept.unwrap(), &device()).unwrap();
    let made = SamPredictor::new(&model, &photo, &device()).unwrap();
    let prompt = Prompt::click(64.0, 12.0);
    assert_eq!(
        kept.predict(&prompt).unwrap(),
        made.predict(&prompt).unwrap()
    );
}

#[test]
fn published_models_have_upstreams_parameters() {
    // vit_b's 93.7 million and 1.07 of what is added.
    let config = SamConfig::published(ModelType::HqVitB);
    let sam = config.init(&device()).unwrap();
    let added = burn::module::Module::num_params(&sam)
        - burn::module::Module::num_params(&SamConfig::vit_b().init(&device()).unwrap());
    assert!((added as f64 / 1e6 - 1.07).abs() < 0.01, "{added}");
    for model in ModelType::ALL {
        assert_eq!(SamConfig::published(model).model_type(), Some(model));
    }
}

#[test]
fn an_encoder_without_the_early_features_is_refused() {
    let mut config = small_model().config().clone();
    config.decoder.hq_channels = Some(5);
    let error = config.init(&device()).unwrap_err().to_string();
    assert!(
        error.contains("needs 5 early channels; the encoder has 32"),
        "{error}"
    );
}

#[test]
fn hugging_face_names_are_the_same_model() {
    let reference = Reference::file(folder().join("hf_hq_reference.safetensors"));
    let checkpoint = Checkpoint::open(folder().join("hf_hq.safetensors")).unwrap();
    let mut config = checkpoint.config().unwrap();
    config.decoder.heads = 4;
    let model = checkpoint.load_as(&config, &device()).unwrap();
    let embedding = model.encode_image(reference.tensor("pixels").unwrap());
    let prompts = Prompts {
        points: reference.points("points", "labels"),
        ..Prompts::default()
    };
    let decoded = model.decode_tokens(embedding, &prompts);
    reference.check("iou", decoded.iou.clone().narrow(1, 0, 1));
    reference.check("mask", model.masks(decoded, &[0]));
}
