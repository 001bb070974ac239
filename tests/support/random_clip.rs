//! A CLIP with random weights and the whole vocabulary, small enough to be made anew by each test.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

/// Tokens of CLIP's vocabulary.
const VOCABULARY: usize = 49_408;

/// Writes a CLIP under OpenAI's names, with the config that open_clip writes beside it; returns the folder.
pub fn random_clip(folder: &Path, seed: u64) -> PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let mut random = fastrand::Rng::with_seed(seed);
    let (width, text_width, dim, grid) = (16, 8, 12, 4);
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("visual.class_embedding".to_owned(), vec![width]),
        (
            "visual.positional_embedding".to_owned(),
            vec![1 + grid * grid, width],
        ),
        ("visual.conv1.weight".to_owned(), vec![width, 3, 8, 8]),
        ("visual.proj".to_owned(), vec![width, dim]),
        (
            "token_embedding.weight".to_owned(),
            vec![VOCABULARY, text_width],
        ),
        ("positional_embedding".to_owned(), vec![77, text_width]),
        ("text_projection".to_owned(), vec![text_width, dim]),
        ("logit_scale".to_owned(), vec![]),
    ];
    for (norm, width) in [
        ("visual.ln_pre", width),
        ("visual.ln_post", width),
        ("ln_final", text_width),
    ] {
        for part in ["weight", "bias"] {
            shapes.push((format!("{norm}.{part}"), vec![width]));
        }
    }
    for (tower, width) in [("visual.", width), ("", text_width)] {
        for (name, shape) in [
            ("attn.in_proj_weight", vec![3 * width, width]),
            ("attn.in_proj_bias", vec![3 * width]),
            ("attn.out_proj.weight", vec![width, width]),
            ("attn.out_proj.bias", vec![width]),
            ("mlp.c_fc.weight", vec![2 * width, width]),
            ("mlp.c_fc.bias", vec![2 * width]),
            ("mlp.c_proj.weight", vec![width, 2 * width]),
            ("mlp.c_proj.bias", vec![width]),
            ("ln_1.weight", vec![width]),
            ("ln_1.bias", vec![width]),
            ("ln_2.weight", vec![width]),
            ("ln_2.bias", vec![width]),
        ] {
            shapes.push((format!("{tower}transformer.resblocks.0.{name}"), shape));
        }
    }
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let count: usize = shape.iter().product();
            let numbers = (0..count).map(|_| random.f32() * 2.0 - 1.0);
            let bytes = numbers.flat_map(f32::to_le_bytes).collect();
            (name, shape, bytes)
        })
        .collect();
    let views: HashMap<&str, TensorView<'_>> = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
            (name.as_str(), view)
        })
        .collect();
    serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    let config = r#"{"model_cfg": {"quick_gelu": true,
        "vision_cfg": {"head_width": 8}, "text_cfg": {"heads": 2}}}"#;
    std::fs::write(folder.join("open_clip_config.json"), config).unwrap();
    folder.to_owned()
}
