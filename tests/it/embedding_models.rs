//! The embedding networks against official packages: the scripts in `tests/data/embed` made the references.

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use grainstore::device::Precision;
use grainstore::error::ModelError;
use grainstore::models::clip::{Clip, ClipConfig, Tokenizer};
use grainstore::models::dino::{Dino, DinoConfig};
use grainstore::models::efficientnet::EfficientNetLite;
use grainstore::models::{Activation, Family, Weights};
use safetensors::SafeTensors;

use crate::support::device;

/// Largest difference allowed, relative to the largest value of the reference.
const TOLERANCE: f64 = 1e-5;

const EMBEDDING: [Family; 3] = [Family::Clip, Family::DinoV2, Family::EfficientNetLite];

fn fixture(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/embed");
    folder.join(name)
}

fn weights(name: &str) -> Weights {
    Weights::open(fixture(name), &EMBEDDING).unwrap()
}

/// What the official packages computed.
struct Reference(Vec<u8>);

impl Reference {
    fn open(name: &str) -> Self {
        Self::file(&fixture(name))
    }

    fn file(path: &Path) -> Self {
        Self(std::fs::read(path).unwrap())
    }

    fn values(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        let numbers = tensor.data().as_chunks::<4>().0.iter();
        let numbers = numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        (tensor.shape().to_vec(), numbers)
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let (shape, values) = self.values(name);
        Tensor::from_data(TensorData::new(values, shape), &device())
    }

    fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        let ids = tensor.data().as_chunks::<8>().0.iter();
        let ids: Vec<u32> = ids.map(|bytes| i64::from_le_bytes(*bytes) as u32).collect();
        ids.chunks(tensor.shape()[1]).map(<[u32]>::to_vec).collect()
    }

    fn assert_close<const D: usize>(&self, name: &str, found: Tensor<D>) {
        let (_, expected) = self.values(name);
        let found: Vec<f32> = found.into_data().iter::<f32>().collect();
        assert_eq!(found.len(), expected.len(), "{name}");
        let largest = expected
            .iter()
            .fold(0f64, |most, x| most.max(f64::from(x.abs())));
        let pairs = found.iter().zip(&expected);
        let difference = pairs.fold(0f64, |most, (found, expected)| {
            most.max((f64::from(*found) - f64::from(*expected)).abs())
        });
        assert!(
            difference <= TOLERANCE * largest,
            "{name}: {difference:.2e} of {largest:.3}"
        );
    }
}

#[test]
fn efficientnet_is_timms() {
    let reference = Reference::open("efficientnet_reference.safetensors");
    let weights = weights("efficientnet_lite.safetensors");
    assert_eq!(weights.family(), Family::EfficientNetLite);
    let network = EfficientNetLite::load(weights, Precision::F32, &device()).unwrap();
    assert_eq!(network.dim(), 96);
    for case in ["", "odd."] {
        let features = network.forward(reference.tensor(&format!("{case}pixels")));
        reference.assert_close(&format!("{case}features"), features);
    }
}

#[test]
fn dinov2_is_the_official_one_at_every_size() {
    let reference = Reference::open("dinov2_reference.safetensors");
    for (prefix, file, heads, registers) in [
        ("official", "dinov2.safetensors", 2, 0),
        ("hf", "dinov2_hf", 2, 0),
        ("reg_hf", "dinov2_reg_hf", 2, 4),
    ] {
        let weights = weights(file);
        assert_eq!(weights.family(), Family::DinoV2);
        let config = DinoConfig::of(&weights).unwrap();
        assert_eq!(
            (config.heads, config.registers),
            (heads, registers),
            "{file}"
        );
        let model = Dino::load(weights, Precision::F32, &device()).unwrap();
        for size in ["", "56x84.", "70x42."] {
            let name = |what: &str| format!("{prefix}.{size}{what}");
            let output = model.forward(reference.tensor(&name("pixels")));
            reference.assert_close(&name("cls"), output.cls);
            reference.assert_close(&name("patches"), output.patches);
        }
    }
}

#[test]
fn clip_is_open_clips_and_transformers() {
    let reference = Reference::open("clip_reference.safetensors");
    for (prefix, file, activation) in [
        ("quick", "clip.safetensors", Some(Activation::QuickGelu)),
        ("gelu", "clip.safetensors", Some(Activation::Gelu)),
        ("hf", "clip_hf", None),
    ] {
        let model = Clip::load(weights(file), activation, Precision::F32, &device()).unwrap();
        let name = |what: &str| format!("{prefix}.{what}");
        let images = model.visual.as_ref().unwrap();
        let pixels = reference.tensor::<4>(&name("pixels"));
        let image = images.forward(pixels.clone());
        reference.assert_close(&name("image"), image.clone());
        reference.assert_close(&name("dense_residual"), images.dense(pixels));
        let texts = model.text.as_ref().unwrap();
        let ids = reference.ids(&name("ids"));
        let rows = ids.iter().map(|ids| texts.forward(ids).unsqueeze::<2>());
        let text = Tensor::cat(rows.collect(), 0);
        reference.assert_close(&name("text"), text.clone());
        // Without the padding after the end token, nothing changes.
        let short = ids.iter().map(|ids| {
            let end = ids.iter().position(|id| *id == 599).unwrap();
            texts.forward(&ids[..=end]).unsqueeze::<2>()
        });
        reference.assert_close(&name("text"), Tensor::cat(short.collect(), 0));
        let unit = |rows: Tensor<2>| {
            let length = rows.clone().powi_scalar(2).sum_dim(1).sqrt();
            rows / length
        };
        let logits = unit(image).matmul(unit(text).transpose()) * model.similarity_factor();
        reference.assert_close(&name("logits_per_image"), logits);
    }
    let model = Clip::load(
        weights("clip.safetensors"),
        Some(Activation::QuickGelu),
        Precision::F32,
        &device(),
    );
    let images = model.unwrap().visual.unwrap();
    let wide = reference.tensor::<4>("quick.wide.pixels");
    reference.assert_close("quick.wide.image", images.forward(wide));
}

#[test]
fn an_activation_is_never_guessed() {
    let error = ClipConfig::of(&weights("clip.safetensors"), None).unwrap_err();
    assert!(
        matches!(error, ModelError::ActivationUnknown { .. }),
        "{error}"
    );
    let told = ClipConfig::of(&weights("clip_hf"), None).unwrap();
    assert_eq!(told.activation, Activation::QuickGelu);
}

#[test]
fn other_models_are_named() {
    let open = |name: &str, wanted: &[Family]| {
        let error = Weights::open(fixture(name), wanted).unwrap_err();
        error.to_string()
    };
    let dino = open("dinov2.safetensors", &[Family::Sam]);
    assert!(
        dino.contains("holds DINOv2 ('blocks.0.ls1.gamma'); expected Segment Anything"),
        "{dino}"
    );
    let sam = open("../sam/small.pth", &EMBEDDING);
    assert!(
        sam.contains("holds Segment Anything")
            && sam.contains("expected CLIP, DINOv2 or EfficientNet-Lite"),
        "{sam}"
    );
}

#[test]
fn texts_have_open_clips_ids() {
    let text = std::fs::read_to_string(fixture("tokens.json")).unwrap();
    let expected: std::collections::BTreeMap<String, Vec<u32>> =
        serde_json::from_str(&text).unwrap();
    assert!(expected.len() > 150);
    let tokenizer = Tokenizer::new();
    let different: Vec<_> = expected
        .iter()
        .filter(|(text, ids)| tokenizer.ids(text, 77) != **ids)
        .map(|(text, ids)| (text, ids, tokenizer.ids(text, 77)))
        .collect();
    assert!(different.is_empty(), "{different:?}");
}

/// `tests/data/embed/make_full_size.py target/full-size-embed` makes what it needs.
#[test]
#[ignore = "needs 1.1 GB that a script makes"]
fn full_size_networks_are_the_official_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/full-size-embed");
    let weights = |name: &str| Weights::open(folder.join(name), &EMBEDDING).unwrap();
    let reference =
        |name: &str| Reference::file(&folder.join(format!("{name}.reference.safetensors")));

    let clip = Clip::load(weights("clip_vit_b_32"), None, Precision::F32, &device()).unwrap();
    assert_eq!(clip.config().name(), Some("clip_vit_b_32"));
    let expected = reference("clip_vit_b_32");
    let image = clip
        .visual
        .as_ref()
        .unwrap()
        .forward(expected.tensor("pixels"));
    expected.assert_close("image", image);
    let text = clip.text.as_ref().unwrap().forward(&expected.ids("ids")[0]);
    expected.assert_close("text", text);

    let dino = weights("dinov2_vitb14");
    assert_eq!(DinoConfig::of(&dino).unwrap().name(), Some("dinov2_vitb14"));
    let dino = Dino::load(dino, Precision::F32, &device()).unwrap();
    let expected = reference("dinov2_vitb14");
    let output = dino.forward(expected.tensor("pixels"));
    expected.assert_close("cls", output.cls);
    expected.assert_close("patches", output.patches);

    let lite = weights("efficientnet_lite0.pth");
    let lite = EfficientNetLite::load(lite, Precision::F32, &device()).unwrap();
    assert_eq!(lite.dim(), 1280);
    let expected = reference("efficientnet_lite0");
    expected.assert_close("features", lite.forward(expected.tensor("pixels")));
}
