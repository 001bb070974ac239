//! Small models against diffusers; `tests/data/diffusion/make.py` says how both are made.

use std::collections::{BTreeMap, HashMap};

use safetensors::{Dtype, SafeTensors, serialize_to_file, tensor::TensorView};

use super::*;

const PROMPT: &str = "a photo of a cat";

/// Weights of a name, as `filled` of make.py.
fn filled(name: &str, shape: &[usize]) -> Vec<f32> {
    let start = name.bytes().fold(2_166_136_261_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(16_777_619)
    });
    let fan_in: usize = shape.iter().skip(1).product();
    let count: usize = shape.iter().product();
    let unit = |at: usize| {
        let mut mixed = (at as u32).wrapping_mul(2_654_435_769).wrapping_add(start);
        mixed ^= mixed >> 16;
        mixed = mixed.wrapping_mul(2_246_822_507);
        mixed ^= mixed >> 13;
        f64::from(mixed) / 4_294_967_296.0 - 0.5
    };
    let value = |at: usize| match shape.len() {
        1 if name.ends_with("weight") => 1.0 + 0.2 * unit(at),
        1 => 0.1 * unit(at),
        _ => 3.0 * unit(at) / (fan_in as f64).sqrt(),
    };
    (0..count).map(|at| value(at) as f32).collect()
}

/// A folder as diffusers writes it, with all weights.
fn folder(version: &str) -> tempfile::TempDir {
    let from = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/diffusion")
        .join(version);
    let dir = tempfile::tempdir().unwrap();
    for entry in walkdir::WalkDir::new(&from).into_iter().flatten() {
        let to = dir.path().join(entry.path().strip_prefix(&from).unwrap());
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(to).unwrap();
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
    let shapes: HashMap<String, BTreeMap<String, Vec<usize>>> = read(&from, "shapes.json").unwrap();
    for (part, tensors) in shapes {
        let values: BTreeMap<String, Vec<u8>> = tensors
            .iter()
            .map(|(name, shape)| {
                let values = filled(name, shape);
                (name.clone(), bytemuck::cast_slice(&values).to_vec())
            })
            .collect();
        let views = tensors.iter().map(|(name, shape)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), &values[name]);
            (name.clone(), view.unwrap())
        });
        let stem = if part == "text_encoder" {
            "model"
        } else {
            "diffusion_pytorch_model"
        };
        let file = dir.path().join(part).join(format!("{stem}.safetensors"));
        serialize_to_file(views, None, &file).unwrap();
    }
    dir
}

fn options(steps: usize, guidance: f64) -> DiffusionOptions {
    DiffusionOptions {
        steps,
        guidance,
        negative_prompt: "blurry".to_owned(),
        width: 16,
        height: 16,
        ..DiffusionOptions::default()
    }
}

fn expected(version: &str) -> HashMap<String, Vec<f32>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/diffusion")
        .join(version)
        .join("expected.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors
        .iter()
        .map(|(name, view)| {
            let values = view.data().chunks_exact(4);
            let values = values.map(|it| f32::from_le_bytes(it.try_into().unwrap()));
            (name.to_owned(), values.collect())
        })
        .collect()
}

/// The greatest difference, as a share of the greatest value.
fn differ(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let most = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    most / expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()))
}

#[test]
fn small_models_make_what_diffusers_makes() {
    for (version, steps, guidance) in [("v1", 4, 7.5), ("v2", 3, 5.0), ("turbo", 1, 0.0)] {
        let (dir, expected) = (folder(version), expected(version));
        let pipeline = Pipeline::load(dir.path(), options(steps, guidance)).unwrap();
        let hidden = pipeline.hidden_states(PROMPT).unwrap();
        let flat: Vec<f32> = hidden.flatten_all().unwrap().to_vec1().unwrap();
        let text = differ(&flat, &expected["hidden"]);
        assert!(text < 1e-5, "{version}: text {text}");

        let latents = Tensor::from_slice(&expected["latents"], (1, 4, 8, 8), &Device::Cpu).unwrap();
        let last = hidden.narrow(0, hidden.dim(0).unwrap() - 1, 1).unwrap();
        let noise = pipeline.unet.forward(&latents, 500.0, &last).unwrap();
        let noise: Vec<f32> = noise.flatten_all().unwrap().to_vec1().unwrap();
        let unet = differ(&noise, &expected["noise"]);
        // Its gated units take the tangent's approximation of GELU.
        assert!(unet < 1e-3, "{version}: UNet {unet}");

        let pixels = pipeline.pixels(PROMPT, &expected["latents"]).unwrap();
        let pixels = differ(&pixels, &expected["pixels"]);
        assert!(pixels < 4e-3, "{version}: image {pixels}");
        println!("{version}: text {text}, UNet {unet}, image {pixels}");
    }
}

#[test]
fn a_seed_makes_one_image_and_another_another() {
    let dir = folder("turbo");
    let pipeline = Pipeline::load(dir.path(), options(1, 0.0)).unwrap();
    let image = |seed| pipeline.generate(PROMPT, seed).unwrap();
    assert_eq!(image(1).dimensions(), (16, 16));
    assert_eq!(image(1), image(1));
    assert_ne!(image(1), image(2));
    let numbers = normal_numbers(3, 10_001);
    let mean = numbers.iter().sum::<f32>() / numbers.len() as f32;
    let variance = numbers.iter().map(|x| x * x).sum::<f32>() / numbers.len() as f32;
    assert!(
        mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05,
        "{mean} {variance}"
    );
}

#[test]
fn what_is_no_such_folder_is_said() {
    let dir = folder("v1");
    let fails = |options| {
        let loaded = Pipeline::load(dir.path(), options);
        loaded.err().unwrap().to_string()
    };
    let side = DiffusionOptions {
        width: 24,
        ..options(4, 1.0)
    };
    assert!(fails(side).contains("width 24; this model makes multiples of 16 pixels"));
    assert!(fails(options(0, 1.0)).contains("0 steps; expected 1 to 1000"));
    let device = DiffusionOptions {
        device: "tpu".to_owned(),
        ..options(4, 1.0)
    };
    assert!(fails(device).contains("there is no device 'tpu'"));
    let unet = dir.path().join("unet/config.json");
    let text = std::fs::read_to_string(&unet).unwrap();
    let mut other: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    other.insert("addition_embed_type".to_owned(), "text_time".into());
    std::fs::write(&unet, Value::Object(other).to_string()).unwrap();
    assert!(fails(options(4, 1.0)).contains("another family"));
    std::fs::write(&unet, text).unwrap();
    std::fs::remove_file(dir.path().join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    assert!(fails(options(4, 1.0)).contains("give the folder of a model as diffusers writes it"));
}
