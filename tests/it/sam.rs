//! Segment Anything against the official package: `tests/data/sam/make_fixtures.py` made the references.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::{Int, Tensor, TensorData};
use grainstore::error::ModelError;
use grainstore::geometry::Size;
use grainstore::models::sam::{
    Checkpoint, EncoderConfig, MASK_THRESHOLD, MaskUpscaler, ModelType, PixelTransform,
    PointPrompts, PreparedImage, Prompts, Sam, SamConfig, WeightPrecision, save, stability_score,
    threshold_into,
};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::support::device;

/// Largest difference allowed, relative to the largest reference value.
const TOLERANCE: f64 = 1e-4;
const PROMPTS: [&str; 5] = ["point", "points", "box", "point_box", "mask"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sam")
}

/// The decoder's heads cannot be told from shapes; the small model has fewer than published ones.
fn small_config(checkpoint: &Checkpoint) -> SamConfig {
    let mut config = checkpoint.config().unwrap();
    config.decoder.heads = 4;
    config
}

fn small_model() -> Sam {
    let checkpoint = Checkpoint::open(fixtures().join("small.pth")).unwrap();
    let config = small_config(&checkpoint);
    checkpoint.load_as(&config, &device()).unwrap()
}

/// What upstream computed.
pub struct Reference {
    bytes: Vec<u8>,
    pub tolerance: f64,
    /// Tolerance of what follows from a mask prompt.
    pub mask_prompt_tolerance: f64,
}

impl Reference {
    pub fn open(folder: &Path) -> Self {
        Self::file(folder.join("reference.safetensors"))
    }

    pub fn file(path: PathBuf) -> Self {
        Self {
            bytes: std::fs::read(path).unwrap(),
            tolerance: TOLERANCE,
            mask_prompt_tolerance: TOLERANCE,
        }
    }

    pub fn raw(&self, name: &str) -> Option<(Dtype, Vec<usize>, Vec<u8>)> {
        let tensors = SafeTensors::deserialize(&self.bytes).unwrap();
        let tensor = tensors.tensor(name).ok()?;
        Some((
            tensor.dtype(),
            tensor.shape().to_vec(),
            tensor.data().to_vec(),
        ))
    }

    pub fn floats(&self, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
        let (dtype, shape, data) = self.raw(name)?;
        assert_eq!(dtype, Dtype::F32, "{name}");
        let (values, _) = data.as_chunks::<4>();
        Some((
            shape,
            values
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect(),
        ))
    }

    pub fn tensor<const D: usize>(&self, name: &str) -> Option<Tensor<D>> {
        let (shape, values) = self.floats(name)?;
        Some(Tensor::from_data(TensorData::new(values, shape), &device()))
    }

    pub fn bits(&self, name: &str, count: usize) -> Vec<bool> {
        let (_, _, bytes) = self.raw(name).unwrap();
        (0..count)
            .map(|i| bytes[i / 8] >> (7 - i % 8) & 1 == 1)
            .collect()
    }

    pub fn points(&self, coords: &str, labels: &str) -> Option<PointPrompts> {
        let coords = self.tensor(coords)?;
        let (_, shape, data) = self.raw(labels)?;
        let (labels, _) = data.as_chunks::<4>();
        let labels: Vec<i32> = labels.iter().map(|it| i32::from_le_bytes(*it)).collect();
        let labels = Tensor::<2, Int>::from_data(TensorData::new(labels, shape), &device());
        Some(PointPrompts { coords, labels })
    }

    pub fn prompts(&self, key: &str) -> Prompts {
        let points = self.points(&format!("{key}.points"), &format!("{key}.labels"));
        Prompts {
            points,
            boxes: self.tensor(&format!("{key}.boxes")),
            masks: self.tensor(&format!("{key}.mask_input")),
        }
    }

    /// Holds a tensor against the reference and returns the relative difference.
    pub fn check<const D: usize>(&self, name: &str, found: Tensor<D>) -> f64 {
        let (shape, expected) = self
            .floats(name)
            .unwrap_or_else(|| panic!("no reference '{name}'"));
        assert_eq!(found.dims().to_vec(), shape, "{name}");
        let found: Vec<f32> = found.into_data().iter::<f32>().collect();
        let difference = relative_difference(&found, &expected);
        let tolerance = if name.contains(".mask.") {
            self.mask_prompt_tolerance
        } else {
            self.tolerance
        };
        assert!(
            difference <= tolerance,
            "{name}: relative difference {difference:e}"
        );
        difference
    }
}

fn relative_difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0f64, |most, x| most.max(f64::from(x.abs())));
    let apart = found
        .iter()
        .zip(expected)
        .map(|(a, b)| f64::from(a - b).abs());
    apart.fold(
        0f64,
        |most, x| if x > most || x.is_nan() { x } else { most },
    ) / largest.max(1e-12)
}

pub fn photo(folder: &Path, name: &str) -> (Vec<u8>, Size) {
    let image = image::open(folder.join(format!("{name}.png")))
        .unwrap()
        .to_rgb8();
    let (width, height) = image.dimensions();
    (image.into_raw(), Size { height, width })
}

/// Every stage of the model on one image; prints the differences.
fn check_image(model: &Sam, folder: &Path, name: &str) {
    let mut reference = Reference::open(folder);
    if model.config().image_size == 1024 {
        // With random weights at full size, torch's own f32 strays 3e-4 from its f64 here.
        reference.mask_prompt_tolerance = 1e-3;
    }
    let (rgb, size) = photo(folder, name);
    let prepared = PreparedImage::new(&rgb, size, model.config().image_size).unwrap();
    let frame = prepared.frame;
    let start = Instant::now();
    let embedding = model.encode_image(prepared.into_tensor(&device()));
    println!("{name}: encoder {:.2} s", start.elapsed().as_secs_f64());
    println!(
        "{name}.embedding: {:.1e}",
        reference.check(&format!("{name}.embedding"), embedding.cells.clone())
    );

    for prompt in PROMPTS {
        let key = format!("{name}.{prompt}");
        let prompts = reference.prompts(&key);
        let embedded = model.prompt_encoder.forward(&prompts);
        reference.check(&format!("{key}.sparse"), embedded.sparse);
        if reference.floats(&format!("{key}.dense")).is_some() {
            let difference = reference.check(&format!("{key}.dense"), embedded.dense);
            println!("{key}.dense: {difference:.1e}");
        }
        let output = model.decode(embedding.clone(), &prompts);
        let differences = [
            reference.check(&format!("{key}.tokens"), output.tokens),
            reference.check(&format!("{key}.iou"), output.iou),
            reference.check(&format!("{key}.low_res"), output.masks.clone()),
        ];
        println!("{key}: tokens, iou, masks {differences:?}");

        let [rows, outputs, side, _] = output.masks.dims();
        let logits = output.masks.into_data();
        let logits = logits.as_slice::<f32>().unwrap();
        let mut upscaler = MaskUpscaler::new(&frame, side);
        let (_, stability) = reference.floats(&format!("{key}.stability")).unwrap();
        let (_, means) = reference.floats(&format!("{key}.full_mean")).unwrap();
        for (i, low_res) in logits.chunks_exact(side * side).enumerate() {
            let full = upscaler.logits(low_res).unwrap();
            let mean = full.iter().sum::<f32>() / full.len() as f32;
            let largest = full.iter().fold(0f32, |most, x| most.max(x.abs()));
            assert!(
                (mean - means[i]).abs() <= 1e-4 * largest,
                "{key}: mean of mask {i}"
            );
            let score = stability_score(full, MASK_THRESHOLD, 0.3);
            assert!(
                (score - stability[i]).abs() <= 2e-3,
                "{key}: stability {score} {}",
                stability[i]
            );
        }
        assert_eq!(stability.len(), rows * outputs);

        let full = upscaler
            .logits(&logits[side * side..2 * side * side])
            .unwrap();
        let mut bitmap = Vec::new();
        threshold_into(full, MASK_THRESHOLD, &mut bitmap);
        let expected = reference.bits(&format!("{key}.bits"), bitmap.len());
        let near = reference.bits(&format!("{key}.near"), bitmap.len());
        let wrong = (0..bitmap.len())
            .filter(|&i| (bitmap[i] == 1) != expected[i] && !near[i])
            .count();
        assert_eq!(wrong, 0, "{key}: pixels");
    }
}

#[test]
fn small_model_computes_what_upstream_does() {
    let model = small_model();
    for name in ["wide", "tall", "tiny"] {
        check_image(&model, &fixtures(), name);
    }
}

/// `tests/data/sam/make_medsam.py` made the reference.
#[test]
fn medsams_pixels_give_what_medsams_steps_give() {
    let model = small_model().with_pixels(PixelTransform::MedSam);
    let reference = Reference::file(fixtures().join("medsam_reference.safetensors"));
    for name in ["wide", "tall", "tiny"] {
        let (rgb, size) = photo(&fixtures(), name);
        let prepared = model.config().prepare(&rgb, size).unwrap();
        let frame = prepared.frame;
        let embedding = model.encode_image(prepared.into_tensor(&device()));
        reference.check(&format!("{name}.embedding"), embedding.cells.clone());

        let (shape, points) = reference.floats(&format!("{name}.points")).unwrap();
        let to_input = |numbers: &[f32]| -> Vec<f32> {
            let (points, _) = numbers.as_chunks::<2>();
            let scaled = points.iter().flat_map(|[x, y]| {
                let point = frame.model_from_image([f64::from(*x), f64::from(*y)]);
                point.map(|side| side as f32)
            });
            scaled.collect()
        };
        let coords = to_input(&points);
        let prompts = Prompts {
            points: Some(PointPrompts {
                coords: Tensor::from_data(TensorData::new(coords, [shape[0], 1, 2]), &device()),
                labels: Tensor::ones([shape[0], 1], &device()),
            }),
            boxes: None,
            masks: None,
        };
        let output = model.decode(embedding.clone(), &prompts);
        reference.check(&format!("{name}.tokens"), output.tokens);
        reference.check(&format!("{name}.iou"), output.iou);

        let [_, _, side, _] = output.masks.dims();
        let logits = output.masks.into_data();
        let logits = logits.as_slice::<f32>().unwrap();
        let mut upscaler = MaskUpscaler::new(&frame, side);
        let (_, means) = reference.floats(&format!("{name}.full_mean")).unwrap();
        for (low_res, expected) in logits.chunks_exact(side * side).zip(&means) {
            let full = upscaler.logits(low_res).unwrap();
            let mean = full.iter().sum::<f32>() / full.len() as f32;
            let largest = full.iter().fold(0f32, |most, x| most.max(x.abs()));
            assert!((mean - expected).abs() <= 1e-4 * largest, "{name}");
        }
        let full = upscaler
            .logits(&logits[side * side..2 * side * side])
            .unwrap();
        let mut bitmap = Vec::new();
        threshold_into(full, MASK_THRESHOLD, &mut bitmap);
        let expected = reference.bits(&format!("{name}.bits"), bitmap.len());
        let near = reference.bits(&format!("{name}.near"), bitmap.len());
        let wrong = (0..bitmap.len()).filter(|&i| (bitmap[i] == 1) != expected[i] && !near[i]);
        assert_eq!(wrong.count(), 0, "{name}: pixels");

        // As MedSAM itself is asked.
        let (_, corners) = reference.floats(&format!("{name}.box")).unwrap();
        let corners = to_input(&corners);
        let prompts = Prompts {
            points: None,
            boxes: Some(Tensor::from_data(
                TensorData::new(corners, [1, 4]),
                &device(),
            )),
            masks: None,
        };
        let output = model.decode(embedding, &prompts);
        let single = output.masks.slice([0..1, 0..1, 0..side, 0..side]);
        reference.check(&format!("{name}.single"), single.clone());
        let single = single.into_data();
        let full = upscaler.logits(single.as_slice::<f32>().unwrap()).unwrap();
        threshold_into(full, MASK_THRESHOLD, &mut bitmap);
        let expected = reference.bits(&format!("{name}.medsam_seg"), bitmap.len());
        let wrong = (0..bitmap.len()).filter(|&i| (bitmap[i] == 1) != expected[i]);
        let wrong = wrong.count();
        // MedSAM scales probabilities, which moves outlines a little.
        println!(
            "{name}: {wrong} of {} pixels differ from MedSAM's",
            bitmap.len()
        );
        assert!(
            wrong * 50 <= bitmap.len(),
            "{name}: {wrong} of {}",
            bitmap.len()
        );
    }
}

#[test]
fn preprocessing_is_pillows() {
    let reference = Reference::open(&fixtures());
    let model = small_config(&Checkpoint::open(fixtures().join("small.pth")).unwrap());
    let (mean, std) = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]);
    for name in ["wide", "tall", "tiny"] {
        let (rgb, size) = photo(&fixtures(), name);
        let prepared = PreparedImage::new(&rgb, size, model.image_size).unwrap();
        let (_, shape, expected) = reference.raw(&format!("{name}.resized")).unwrap();
        let resized = prepared.frame.resized;
        assert_eq!(
            shape,
            [3, resized.height as usize, resized.width as usize],
            "{name}"
        );
        let mut apart = [0usize; 2];
        for (i, pixel) in prepared.pixels().iter().enumerate() {
            let (channel, y, x) = (i / (128 * 128), i / 128 % 128, i % 128);
            if y >= shape[1] || x >= shape[2] {
                assert_eq!(*pixel, 0.0, "{name}: padding");
                continue;
            }
            let level = pixel * std[channel] + mean[channel];
            let expected = f32::from(expected[(channel * shape[1] + y) * shape[2] + x]);
            assert!(
                (level - expected).abs() <= 1.001,
                "{name}: {level} {expected}"
            );
            apart[usize::from((level - expected).abs() > 0.5)] += 1;
        }
        println!("{name}: equal, one level apart {apart:?}");
    }
}

#[test]
fn sizes_are_read_off_the_weights() {
    let checkpoint = Checkpoint::open(fixtures().join("small.pth")).unwrap();
    let config = checkpoint.config().unwrap();
    let EncoderConfig::Vit(vit) = &config.encoder else {
        panic!("{config:?}")
    };
    assert_eq!(
        (config.image_size, config.prompt_dim, config.mask_channels),
        (128, 32, 16)
    );
    assert_eq!(
        (vit.embed_dim, vit.depth, vit.heads, vit.mlp_dim),
        (32, 4, 4, 128)
    );
    assert_eq!(
        (vit.window_size, vit.global_attention_blocks.as_slice()),
        (3, &[1, 3][..])
    );
    let decoder = &config.decoder;
    assert_eq!(
        (decoder.depth, decoder.mlp_dim, decoder.attention_downsample),
        (2, 64, 2)
    );
    assert_eq!(
        (
            decoder.mask_tokens(),
            decoder.iou_head_depth,
            decoder.iou_head_hidden
        ),
        (4, 3, 32)
    );
    assert_eq!(config.model_type(), None);
}

#[test]
fn half_precision_safetensors_are_the_same_model() {
    let (rgb, size) = photo(&fixtures(), "wide");
    let pixels = PreparedImage::new(&rgb, size, 128)
        .unwrap()
        .into_tensor(&device());
    let half = Checkpoint::open(fixtures().join("small_f16.safetensors")).unwrap();
    let half = half.load_as(&small_config(&half), &device()).unwrap();
    let expected = small_model().encode_image(pixels.clone());
    let expected = expected.cells.into_data();
    half.encode_image(pixels)
        .cells
        .into_data()
        .assert_eq(&expected, true);
}

#[test]
fn hugging_face_names_are_the_same_model() {
    let reference = Reference::file(fixtures().join("hf_reference.safetensors"));
    let checkpoint = Checkpoint::open(fixtures().join("hf.safetensors")).unwrap();
    let model = checkpoint
        .load_as(&small_config(&checkpoint), &device())
        .unwrap();
    let embedding = model.encode_image(reference.tensor("pixels").unwrap());
    reference.check("embedding", embedding.cells.clone());
    let prompts = Prompts {
        points: reference.points("points", "labels"),
        ..Prompts::default()
    };
    let output = model.decode(embedding, &prompts);
    reference.check("masks", output.masks.narrow(1, 1, 3));
    reference.check("iou", output.iou.narrow(1, 1, 3));
}

#[test]
fn saved_models_load_with_their_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let model = small_model();
    for precision in [WeightPrecision::F16, WeightPrecision::F32] {
        let path = folder.path().join("saved.safetensors");
        save(&model, &path, precision).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        assert_eq!(&checkpoint.config().unwrap(), model.config());
        let loaded = checkpoint.load(&device()).unwrap();
        let position = |model: &Sam| model.prompt_encoder.dense_position().into_data();
        position(&loaded).assert_eq(&position(&model), true);
        let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
        let official = Checkpoint::open(fixtures().join("small.pth")).unwrap();
        assert_eq!(names, official.names().collect::<Vec<_>>());
    }
}

/// The half-precision checkpoint with some tensors changed.
fn altered(folder: &Path, alter: impl Fn(&str, &mut Vec<usize>, &mut Vec<u8>) -> bool) -> PathBuf {
    let bytes = std::fs::read(fixtures().join("small_f16.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut kept = Vec::new();
    for (name, tensor) in tensors.tensors() {
        let (mut shape, mut data) = (tensor.shape().to_vec(), tensor.data().to_vec());
        if alter(&name, &mut shape, &mut data) {
            kept.push((name, shape, data));
        }
    }
    kept.push(("stowaway".to_owned(), vec![1], vec![0, 0]));
    let views = kept.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F16, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    let path = folder.join("altered.safetensors");
    safetensors::serialize_to_file(views, None, &path).unwrap();
    path
}

#[test]
fn misfits_are_listed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = altered(folder.path(), |name, shape, _| {
        if name == "image_encoder.blocks.2.mlp.lin2.weight" {
            shape.reverse();
        }
        name != "image_encoder.neck.1.bias"
    });
    let checkpoint = Checkpoint::open(&path).unwrap();
    let error = checkpoint
        .load_as(&small_config(&checkpoint), &device())
        .unwrap_err();
    let ModelError::CheckpointTensors { problems, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(problems.len(), 3);
    let text = error.to_string();
    for line in [
        "'image_encoder.blocks.2.mlp.lin2.weight': expected [32, 128], found [128, 32]",
        "'image_encoder.neck.1.bias' is missing: expected [32]",
        "'stowaway' has no place in the model: found [1]",
    ] {
        assert!(text.contains(line), "{text}");
    }

    let path = altered(folder.path(), |name, _, _| {
        name != "image_encoder.pos_embed"
    });
    let error = Checkpoint::open(&path).unwrap().config().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("'image_encoder.pos_embed' is missing"),
        "{error}"
    );
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for bits in [0x7e00u16, 0xfc00] {
        let path = altered(folder.path(), |name, _, data| {
            if name == "mask_decoder.iou_token.weight" {
                data[6..8].copy_from_slice(&bits.to_le_bytes());
            }
            true
        });
        let checkpoint = Checkpoint::open(&path).unwrap();
        let config = small_config(&checkpoint);
        // The stowaway is reported first: shapes are checked before values are.
        assert!(checkpoint.load_as(&config, &device()).is_err());
        let bytes = std::fs::read(&path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let known = tensors
            .tensors()
            .into_iter()
            .filter(|(name, _)| name != "stowaway");
        let path = folder.path().join("nan.safetensors");
        safetensors::serialize_to_file(known, None, &path).unwrap();
        let error = Checkpoint::open(&path)
            .unwrap()
            .load_as(&config, &device())
            .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("tensor 'mask_decoder.iou_token.weight' is NaN or infinite at element 3"),
            "{error}"
        );
    }
}

#[test]
fn damaged_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sam.pth");
    for source in ["small.pth", "small_f16.safetensors"] {
        let whole = std::fs::read(fixtures().join(source)).unwrap();
        for keep in [0, 1, 8, 9, 100, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..keep]).unwrap();
            let opened = Checkpoint::open(&path);
            let loaded =
                opened.and_then(|it| it.load_as(&small_model().config().clone(), &device()));
            let error = loaded.expect_err("a cut file loads");
            assert!(error.to_string().contains("sam.pth"), "{error}");
        }
    }
    for garbage in [
        &b"not a checkpoint at all"[..],
        b"PK\x03\x04garbage",
        b"\x80\x02}q\x00.",
        &[0xff; 64],
    ] {
        std::fs::write(&path, garbage).unwrap();
        let error = Checkpoint::open(&path).unwrap_err();
        assert!(error.to_string().contains("sam.pth"), "{error}");
    }
    let missing = Checkpoint::open(folder.path().join("absent.pth")).unwrap_err();
    assert!(
        matches!(missing, ModelError::OpenCheckpoint { .. }),
        "{missing}"
    );
}

#[test]
fn pickled_code_is_not_executed() {
    // A pickle that would run `touch` where pickle is executed.
    let folder = tempfile::tempdir().unwrap();
    let touched = folder.path().join("touched");
    let path = folder.path().join("evil.pth");
    let pickle = format!("cos\nsystem\n(S'touch {}'\ntR.", touched.display());
    std::fs::write(&path, pickle).unwrap();
    Checkpoint::open(&path).unwrap_err();
    assert!(!touched.exists());
}

#[test]
fn impossible_images_are_refused() {
    let empty = Size {
        height: 0,
        width: 5,
    };
    assert!(matches!(
        PreparedImage::new(&[], empty, 128),
        Err(ModelError::EmptyImage { .. })
    ));
    let size = Size {
        height: 2,
        width: 2,
    };
    assert!(matches!(
        PreparedImage::new(&[0; 11], size, 128),
        Err(ModelError::PixelCount { .. })
    ));
    let sliver = Size {
        height: 1,
        width: 5000,
    };
    let prepared = PreparedImage::new(&[7; 15000], sliver, 128).unwrap();
    assert_eq!(
        prepared.frame.resized,
        Size {
            height: 1,
            width: 128
        }
    );
    let mut upscaler = MaskUpscaler::new(&prepared.frame, 32);
    assert!(matches!(
        upscaler.logits(&[0.0; 5]),
        Err(ModelError::MaskLength { .. })
    ));
    let ones = upscaler.logits(&[1.0; 1024]).unwrap();
    assert_eq!(ones.len(), 5000);
    assert!(ones.iter().all(|x| (x - 1.0).abs() <= f32::EPSILON));
}

/// Holds a published model at full size against the official package.
///
/// `GRAINSTORE_SAM_PYTHON=venv/bin/python cargo test --release -- --ignored upstream --nocapture`; the
/// venv is described in make_fixtures.py.
fn check_published(model_type: ModelType) {
    let python =
        std::env::var_os("GRAINSTORE_SAM_PYTHON").expect("GRAINSTORE_SAM_PYTHON names a Python");
    let folder = tempfile::tempdir().unwrap();
    let status = std::process::Command::new(python)
        .arg(fixtures().join("make_fixtures.py"))
        .args(["--model", model_type.name()])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(status.success());
    let start = Instant::now();
    let checkpoint = Checkpoint::open(folder.path().join(format!("{model_type}.pth"))).unwrap();
    assert_eq!(checkpoint.config().unwrap().model_type(), Some(model_type));
    let model = checkpoint.load(&device()).unwrap();
    println!("loaded in {:.2} s", start.elapsed().as_secs_f64());
    check_image(&model, folder.path(), "wide");
}

#[test]
#[ignore = "makes a 375 MB checkpoint with a Python that has segment-anything"]
fn vit_b_computes_what_upstream_does() {
    check_published(ModelType::VitB);
}

#[test]
#[ignore = "makes a 40 MB checkpoint with a Python that has MobileSAM"]
fn vit_t_computes_what_upstream_does() {
    check_published(ModelType::VitT);
}
