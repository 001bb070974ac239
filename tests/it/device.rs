//! Models in half precision, on the device the tests run on.

use std::path::Path;

use burn::tensor::Tensor;
use grainstore::device::Precision;
use grainstore::models::sam::{Checkpoint, PreparedImage, Prompts, Sam, WeightPrecision, save};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use crate::support::device;

fn model(precision: Precision) -> Sam {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sam");
    let checkpoint = Checkpoint::open(folder.join("small.pth")).unwrap();
    checkpoint.load_in(precision, &device()).unwrap()
}

/// Embedding, mask tokens and predicted IoU of one photo.
fn outputs(precision: Precision) -> [Vec<f32>; 3] {
    let model = model(precision);
    let photo = image::open(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/sam/wide.png"
    ))
    .unwrap()
    .to_rgb8();
    let size = grainstore::geometry::Size {
        height: photo.height(),
        width: photo.width(),
    };
    let prepared = PreparedImage::new(photo.as_raw(), size, model.config().image_size).unwrap();
    let embedding = model.encode_image(prepared.into_tensor(&device()));
    let prompts = Prompts::single_points(&[[20.0, 30.0], [50.0, 10.0]], &device());
    let decoded = model.decode(embedding.clone(), &prompts);
    assert_eq!(embedding.cells.dtype(), precision.dtype());
    assert_eq!(decoded.tokens.dtype(), precision.dtype());
    [
        values(embedding.cells),
        values(decoded.tokens),
        values(decoded.iou),
    ]
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn half_precision_gives_nearly_the_same() {
    let exact = outputs(Precision::F32);
    for (precision, tolerance) in [(Precision::F16, 0.01), (Precision::Bf16, 0.06)] {
        if !device().supports_dtype(precision.dtype()) {
            println!("{precision}: not on this device");
            continue;
        }
        for (exact, rounded) in exact.iter().zip(outputs(precision)) {
            let scale = exact.iter().fold(0f32, |most, x| most.max(x.abs()));
            let apart = exact.iter().zip(&rounded).map(|(a, b)| (a - b).abs());
            let apart = apart.fold(0f32, f32::max) / scale;
            println!("{precision}: {apart:.1e}");
            assert!(apart > 0.0 && apart < tolerance, "{precision}: {apart}");
        }
    }
}

#[test]
fn a_bf16_checkpoint_loads() {
    let dir = tempfile::tempdir().unwrap();
    let (full, half) = (dir.path().join("f32"), dir.path().join("bf16"));
    let exact = model(Precision::F32);
    save(&exact, &full, WeightPrecision::F32).unwrap();
    let bytes = std::fs::read(&full).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    // The upper half of an f32 is its bf16, rounded towards 0.
    let cut: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| {
            let (values, _) = tensor.data().as_chunks::<4>();
            let upper: Vec<u8> = values.iter().flat_map(|it| [it[2], it[3]]).collect();
            (name.to_owned(), tensor.shape().to_vec(), upper)
        })
        .collect();
    let views = cut.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::BF16, shape.clone(), data).unwrap();
        (name.as_str(), view)
    });
    safetensors::serialize_to_file(views, None, &half).unwrap();

    let loaded = Checkpoint::open(&half).unwrap().load(&device()).unwrap();
    let weight = |sam: &Sam| values(sam.mask_decoder.mask_tokens.weight.val());
    let (exact, loaded) = (weight(&exact), weight(&loaded));
    assert_ne!(exact, loaded);
    for (exact, loaded) in exact.iter().zip(loaded) {
        assert!(
            (exact - loaded).abs() <= exact.abs() / 128.0,
            "{exact} {loaded}"
        );
    }
}
