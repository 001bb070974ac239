//! SAM 3's tracker against transformers: `tests/data/sam3/make_hf.py` made the references.

use std::path::{Path, PathBuf};

use burn::tensor::Tensor;
use grainstore::burn;
use grainstore::device::Precision;
use grainstore::error::ModelError;
use grainstore::extract::extractor_row;
use grainstore::extract::{MaskGenerator, MaskOptions};
use grainstore::geometry::Size;
use grainstore::models::sam::{
    Checkpoint, EncoderConfig, ModelType, Prompts, SamConfig, WeightPrecision, save,
};
use grainstore::store::rows::ExtractorKind;
use safetensors::Dtype;
use safetensors::tensor::{SafeTensors, TensorView, serialize_to_file};

use crate::sam::{Reference, photo};
use crate::support::device;

fn test_data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn reference() -> Reference {
    Reference::file(test_data("sam3/hf_reference.safetensors"))
}

fn open() -> Checkpoint {
    Checkpoint::open(test_data("sam3/hf")).unwrap()
}

#[test]
fn the_published_files_names_are_understood() {
    let reference = reference();
    let checkpoint = open();
    let config = checkpoint.config().unwrap();
    assert_eq!((config.image_size, config.decoder.heads), (112, 4));
    assert_eq!(
        (
            config.patch_size(),
            config.grid_size(),
            config.low_res_size()
        ),
        (14, 8, 32)
    );
    let EncoderConfig::Sam3Vit(vit) = &config.encoder else {
        panic!("{config:?}")
    };
    assert_eq!((vit.heads, vit.window_size, vit.position_table), (3, 3, 3));
    assert_eq!(
        (vit.global_attention_blocks.as_slice(), vit.epsilon),
        (&[0, 2][..], 1e-6)
    );
    // The sizes in its config.json make another model of the same weights.
    assert_eq!(checkpoint.files().len(), 2);

    let model = checkpoint.load(&device()).unwrap();
    let embedding = model.encode_image(reference.tensor("pixels").unwrap());
    let differences = [reference.check("channels", embedding.clone().into_channels())];
    let prompts = Prompts {
        points: reference.points("points", "labels"),
        ..Prompts::default()
    };
    let output = model.decode(embedding.clone(), &prompts);
    let several = |tensor: Tensor<4>| tensor.narrow(1, 1, 3);
    let of_points = [
        reference.check("tokens", output.tokens),
        reference.check("masks", several(output.masks)),
        reference.check("iou", output.iou.narrow(1, 1, 3)),
        reference.check("score", output.object_score.unwrap()),
    ];
    let prompts = Prompts {
        boxes: reference.tensor("box"),
        ..Prompts::default()
    };
    let output = model.decode(embedding, &prompts);
    // An unstable single mask is replaced by the best of the three others.
    let single = output.masks.clone().narrow(1, 0, 1).into_data();
    let iou = output.iou.clone().into_data();
    let iou = iou.as_slice::<f32>().unwrap();
    let best = (1..4).max_by(|a, b| iou[*a].total_cmp(&iou[*b])).unwrap();
    let is_replaced = config.replaces_single_mask(single.as_slice::<f32>().unwrap());
    let chosen = if is_replaced { best } else { 0 };
    let of_box = [
        reference.check("box_tokens", output.tokens),
        reference.check("box_masks", output.masks.narrow(1, chosen, 1)),
        reference.check("box_iou", output.iou.narrow(1, chosen, 1)),
    ];
    println!("embedding {differences:?}, points {of_points:?}, box {of_box:?}");
}

/// The tensors of the fixture under other names, in a folder with another config.
fn renamed(dir: &Path, name: impl Fn(&str) -> String, config: &str) {
    let bytes = std::fs::read(test_data("sam3/hf/model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = tensors
        .tensors()
        .into_iter()
        .map(|(old, view)| (name(&old), view));
    serialize_to_file(tensors, None, &dir.join("model.safetensors")).unwrap();
    std::fs::write(dir.join("config.json"), config).unwrap();
}

#[test]
fn files_of_save_pretrained_and_nested_configs_are_the_same_model() {
    let config = std::fs::read_to_string(test_data("sam3/hf/config.json")).unwrap();
    let tracker: serde_json::Value = serde_json::from_str(&config).unwrap();
    // As the published file has it: the tracker beside the detector, whose encoder it shares.
    let nested = serde_json::json!({
        "model_type": "sam3_video",
        "tracker_config": {"mask_decoder_config": tracker["mask_decoder_config"]},
        "detector_config": {"vision_config": tracker["vision_config"]},
    });
    let dir = tempfile::tempdir().unwrap();
    let behind = |name: &str| match name.strip_prefix("tracker_model.") {
        Some(rest) => format!("tracker_model.{rest}"),
        None => format!("tracker_model.{name}"),
    };
    renamed(dir.path(), behind, &nested.to_string());
    let [found, expected] = [Checkpoint::open(dir.path()).unwrap(), open()];
    assert_eq!(found.config().unwrap(), expected.config().unwrap());
    let pixels = reference().tensor("pixels").unwrap();
    let encoded = [found, expected].map(|it| {
        let model = it.load(&device()).unwrap();
        model
            .encode_image(pixels.clone())
            .into_channels()
            .into_data()
    });
    encoded[0].assert_eq(&encoded[1], true);

    let other = tempfile::tempdir().unwrap();
    renamed(
        other.path(),
        str::to_owned,
        &nested.to_string().replace("sam3_video", "sam2"),
    );
    let error = Checkpoint::open(other.path()).unwrap_err().to_string();
    assert!(
        error.contains("'model_type' is 'sam2'; expected 'sam3_tracker'"),
        "{error}"
    );
}

/// The official file: the encoder and the tracker's neck inside the detector, a class token's position before the others, and the
/// tracker.
#[test]
fn official_names_are_the_same_model() {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved.safetensors");
    let expected = open().load(&device()).unwrap();
    save(&expected, &saved, WeightPrecision::F32).unwrap();
    let bytes = std::fs::read(&saved).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut official: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, view) in tensors.tensors() {
        let (mut shape, mut data) = (view.shape().to_vec(), view.data().to_vec());
        if name == "image_encoder.trunk.pos_embed" {
            data.splice(0..0, 7.0f32.to_le_bytes().repeat(shape[2]));
            shape[1] += 1;
        }
        official.push((official_name(&name), shape, data));
    }
    for unused in [
        "detector.backbone.vision_backbone.convs.0.conv_1x1.weight",
        "detector.backbone.vision_backbone.sam2_convs.3.conv_1x1.weight",
        "detector.backbone.vision_backbone.trunk.blocks.0.attn.freqs_cis",
        "tracker.maskmem_backbone.fuser.weight",
        "tracker.transformer.encoder.norm.weight",
        "tracker.no_obj_ptr",
    ] {
        official.push((unused.to_owned(), vec![1], vec![0; 4]));
    }
    let views = official.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data);
        (name.clone(), view.unwrap())
    });
    let folder = dir.path().join("official");
    std::fs::create_dir(&folder).unwrap();
    serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
    std::fs::copy(test_data("sam3/hf/config.json"), folder.join("config.json")).unwrap();

    let found = Checkpoint::open(&folder).unwrap();
    assert_eq!(&found.config().unwrap(), expected.config());
    let pixels = reference().tensor("pixels").unwrap();
    let encoded = [found.load(&device()).unwrap(), expected].map(|model| {
        let embedding = model.encode_image(pixels.clone());
        embedding.into_channels().into_data()
    });
    encoded[0].assert_eq(&encoded[1], true);
}

/// The official name of a tensor that has ours.
fn official_name(name: &str) -> String {
    const BACKBONE: &str = "detector.backbone.vision_backbone.";
    if let Some(name) = name.strip_prefix("image_encoder.trunk.") {
        return format!("{BACKBONE}trunk.{}", name.replace(".mlp.lin", ".mlp.fc"));
    }
    if let Some(name) = name.strip_prefix("image_encoder.neck.convs.") {
        let name = name.replacen("0.up.0.", "0.dconv_2x2_0.", 1);
        let name = name.replacen("0.up.1.", "0.dconv_2x2_1.", 1);
        return format!(
            "{BACKBONE}sam2_convs.{}",
            name.replacen("1.up.0.", "1.dconv_2x2.", 1)
        );
    }
    if name == "no_mem_embed" {
        return format!("tracker.{name}");
    }
    let name = name.replace(".mlp.lin1.", ".mlp.layers.0.");
    format!(
        "tracker.sam_{}",
        name.replace(".mlp.lin2.", ".mlp.layers.1.")
    )
}

#[test]
fn the_published_sizes_are_known() {
    let config = SamConfig::published(ModelType::Sam3);
    assert_eq!(config.model_type(), Some(ModelType::Sam3));
    assert_eq!(
        (config.image_size, config.grid_size(), config.low_res_size()),
        (1008, 72, 288)
    );
    assert_eq!(config.kept_channels(), 4 * 256);
    let saved = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<SamConfig>(&saved).unwrap(), config);
    let mut of_transformers = config;
    if let EncoderConfig::Sam3Vit(vit) = &mut of_transformers.encoder {
        vit.epsilon = 1e-6;
    }
    assert_eq!(of_transformers.model_type(), Some(ModelType::Sam3));
}

#[test]
fn saved_models_keep_their_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.safetensors");
    let checkpoint = open();
    let model = checkpoint.load(&device()).unwrap();
    save(&model, &path, WeightPrecision::F32).unwrap();
    let saved = Checkpoint::open(&path).unwrap();
    assert_eq!(saved.config().unwrap(), checkpoint.config().unwrap());
    let (rgb, size) = photo(&test_data("sam"), "tiny");
    let encoded = [model, saved.load(&device()).unwrap()].map(|sam| {
        let pixels = sam.config().prepare(&rgb, size).unwrap();
        sam.encode_image(pixels.into_tensor(&device()))
            .into_channels()
            .into_data()
    });
    encoded[0].assert_eq(&encoded[1], true);
}

#[test]
fn pixels_are_normalised_as_sam_3_does() {
    let config = open().config().unwrap();
    let size = Size {
        height: 1,
        width: 1,
    };
    let prepared = config.prepare(&[0, 255, 51], size).unwrap();
    let planes = prepared.pixels().chunks_exact(112 * 112);
    for (plane, expected) in planes.zip([-1.0, 1.0, -0.6]) {
        assert!(
            plane.iter().all(|it| (it - expected).abs() < 1e-6),
            "{expected}"
        );
    }
}

#[test]
fn masks_of_a_grid_have_object_scores() {
    let checkpoint = open();
    let options = MaskOptions {
        points_per_side: 3,
        ..MaskOptions::default()
    };
    let config = checkpoint.config().unwrap();
    let row = extractor_row(&checkpoint, &config, &options, Precision::F32).unwrap();
    assert_eq!(
        (row.kind, row.embedding_dim),
        (ExtractorKind::Sam3, Some(4 * 32))
    );
    let model = checkpoint.load(&device()).unwrap();
    let generator = MaskGenerator::new(model, device(), options, 64).unwrap();
    let photo = image::RgbImage::from_fn(61, 40, |x, y| image::Rgb([x as u8 * 4, y as u8 * 6, 90]));
    let masks = generator.generate(&photo).unwrap();
    assert_eq!(masks.len(), 9);
    assert!(
        masks
            .iter()
            .all(|mask| mask.object_score.is_some() && mask.embedding.len() == 4 * 32)
    );
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let wrong = |change: fn(&mut grainstore::models::sam::Sam3VitConfig)| {
        let mut config = open().config().unwrap();
        let EncoderConfig::Sam3Vit(vit) = &mut config.encoder else {
            unreachable!()
        };
        change(vit);
        match config.init(&device()) {
            Err(ModelError::ModelConfig { reason }) => reason,
            other => panic!("{other:?}"),
        }
    };
    assert!(wrong(|it| it.heads = 5).contains("heads 5"));
    assert!(wrong(|it| it.patch_size = 0).contains("image_size 112"));
    assert!(wrong(|it| it.patch_size = 15).contains("not a multiple of 15"));
    assert!(wrong(|it| it.window_size = 0).contains("window_size is 0"));
    assert!(wrong(|it| it.global_attention_blocks = vec![3]).contains("past depth 3"));
    assert!(wrong(|it| it.depth = 0).contains("depth"));
}
