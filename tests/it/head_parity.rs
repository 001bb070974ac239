//! Heads against PyTorch: losses, gradients and steps (fixtures: `tests/data/head`).

use std::sync::Arc;

use arrow::array::{FixedSizeListArray, RecordBatch};
use arrow::datatypes::{DataType, Field};
use grainstore::classes::{Class, ClassSet};
use grainstore::head::{
    Bag, Bags, Balance, CacheOptions, HeadInputs, HeadSpec, HeadWeights, KnownMask, KnownOutput,
    Logits, Loss, Split, Start, TrainOptions, Training, is_bad_mask, known_loss, mil_loss, softmax,
    uncertainty_loss,
};
use grainstore::ids::ImageId;
use grainstore::progress::NoProgress;
use serde_json::Value;

use crate::support::image;

fn fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/head/losses.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap().iter();
    list.map(|x| x.as_f64().unwrap()).collect()
}

fn indices(value: &Value) -> Vec<usize> {
    numbers(value).iter().map(|x| *x as usize).collect()
}

fn bags(case: &Value) -> Vec<Bag> {
    let mut first = 0;
    let sizes = indices(&case["sizes"]).into_iter();
    let labels = case["labels"].as_array().unwrap().iter();
    sizes
        .zip(labels)
        .map(|(size, classes)| {
            let masks = first..first + size;
            first += size;
            Bag {
                masks,
                classes: indices(classes),
                weight: 1.0,
            }
        })
        .collect()
}

fn assert_near(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!(
            (a - b).abs() <= 1e-5 * b.abs().max(0.01),
            "{what}[{at}]: {a}, expected {b}"
        );
    }
}

#[test]
fn losses_and_gradients_are_pytorchs() {
    let fixture = fixture();
    for case in fixture["cases"].as_array().unwrap() {
        let classes = case["classes"].as_u64().unwrap() as usize;
        let options = TrainOptions {
            a: case["a"].as_f64().unwrap(),
            ..TrainOptions::default()
        };
        let student: Vec<f32> = numbers(&case["student"])
            .iter()
            .map(|x| *x as f32)
            .collect();
        let logits = Logits {
            values: &student,
            outputs: classes,
            classes,
            none_class: false,
        };
        let bags = bags(case);
        let mil = mil_loss(&logits, &bags, |d| options.k(d));
        assert_near(&[mil.loss], &[case["mil"].as_f64().unwrap()], "mil");
        assert_near(
            &mil.gradient,
            &numbers(&case["mil_gradient"]),
            "mil gradient",
        );

        let teacher = numbers(&case["teacher"]);
        let threshold = case["fraction"].as_f64().unwrap() * (classes as f64).ln();
        let mut bad = Vec::new();
        for bag in &bags {
            for mask in bag.masks.clone() {
                let row = teacher[mask * classes..(mask + 1) * classes].to_vec();
                if is_bad_mask(&softmax(row, false), &bag.classes, threshold) {
                    bad.push(mask);
                }
            }
        }
        assert_eq!(bad, indices(&case["bad"]));
        let uncertainty = uncertainty_loss(&logits, &bad);
        let expected = case["uncertainty"].as_f64().unwrap();
        assert_near(&[uncertainty.loss], &[expected], "uncertainty");
        let expected = numbers(&case["uncertainty_gradient"]);
        assert_near(&uncertainty.gradient, &expected, "uncertainty gradient");
    }
}

/// tests/data/head/make_known.py
#[test]
fn the_loss_of_known_masks_is_pytorchs() {
    let cases: Value = serde_json::from_str(include_str!("../data/head/known.json")).unwrap();
    for case in cases.as_array().unwrap() {
        let values: Vec<f32> = numbers(&case["logits"]).iter().map(|x| *x as f32).collect();
        let outputs = case["outputs"].as_u64().unwrap() as usize;
        let logits = Logits {
            values: &values,
            outputs,
            classes: outputs,
            none_class: false,
        };
        let weights = numbers(&case["weights"]);
        let known = case["known"].as_array().unwrap().iter().zip(weights);
        let known: Vec<KnownMask> = known
            .map(|(output, weight)| KnownMask {
                output: match output.as_u64() {
                    Some(output) => KnownOutput::Is(output as usize),
                    None => KnownOutput::IsNot(indices(output)),
                },
                weight,
            })
            .collect();
        let found = known_loss(&logits, 0, &known, &indices(&case["left_out"]));
        assert_near(&[found.loss], &[case["loss"].as_f64().unwrap()], "loss");
        assert_near(&found.gradient, &numbers(&case["gradient"]), "gradient");
    }
}

#[test]
fn steps_are_pytorchs() {
    let fixture = &fixture()["training"];
    let widths = indices(&fixture["widths"]);
    let singles =
        |value: &Value| -> Vec<f32> { numbers(value).iter().map(|x| *x as f32).collect() };
    let images = bags(fixture);
    let values = Arc::new(arrow::array::Float32Array::from(singles(
        &fixture["embeddings"],
    )));
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let embeddings = FixedSizeListArray::new(item, 6, values, None);
    let mut rows: (Vec<String>, Vec<i32>, Vec<Vec<String>>) = Default::default();
    for (n, bag) in images.iter().enumerate() {
        for (mask, _) in bag.masks.clone().enumerate() {
            rows.0.push(image(n as u32).image_id.to_string());
            rows.1.push(mask as i32);
            rows.2
                .push(bag.classes.iter().map(usize::to_string).collect());
        }
    }
    let mut labels = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for row in &rows.2 {
        labels.append_value(row.iter().map(Some));
    }
    let ids = |text: &dyn Fn(usize) -> String| -> arrow::array::ArrayRef {
        Arc::new(arrow::array::StringArray::from_iter_values(
            (0..rows.1.len()).map(text),
        ))
    };
    let extractor = ImageId::of_bytes(b"extractor");
    let batch = RecordBatch::try_from_iter([
        ("image_id", ids(&|n| rows.0[n].clone())),
        ("extractor_id", ids(&|_| extractor.to_string())),
        (
            "mask_index",
            Arc::new(arrow::array::Int32Array::from(rows.1.clone())) as _,
        ),
        ("labels", Arc::new(labels.finish()) as _),
        ("embedding", Arc::new(embeddings) as _),
    ])
    .unwrap();
    let names = ["0", "1", "2"].map(str::to_owned);
    let class = |name: &String| Class {
        name: name.clone(),
        supercategory: None,
        external_id: None,
        labels: vec![name.clone()],
        search: Vec::new(),
    };
    let set = ClassSet::new("numbers", names.iter().map(class).collect()).unwrap();
    let bags = Bags::of_batches(
        &[batch],
        &set,
        &HeadInputs::tokens(),
        &CacheOptions::default(),
    )
    .unwrap();
    let spec = HeadSpec {
        blocks: Vec::new(),
        embedding_dim: 6,
        hidden: widths[1..4].to_vec(),
        dropout: 0.0,
        background: false,
        classes: names.to_vec(),
    };
    let options = TrainOptions {
        loss: Some(Loss::Mil),
        a: fixture["a"].as_f64().unwrap(),
        epochs: Some(3),
        learning_rate: fixture["learning_rate"].as_f64().unwrap(),
        validation: 0.0,
        balance: Balance::None,
        ..TrainOptions::default()
    };
    let start = torch_weights(&fixture["before"], &widths);
    let start = Start::of_weights(start, names.to_vec());
    let split = Split::new(&bags, &spec, &options, None);
    let trained = Training {
        bags: &bags,
        spec: &spec,
        options: &options,
        split: &split,
        start: Some(&start),
        pick_masks: None,
        device: &crate::support::device(),
        members_at_once: 1,
        progress: &NoProgress,
    };
    let trained = trained.run().unwrap();
    let losses: Vec<f64> = trained.curves.iter().map(|curve| curve.loss).collect();
    assert_near(&losses, &numbers(&fixture["losses"]), "loss");
    let ours = head_numbers(&trained.weights);
    let theirs = head_numbers(&torch_weights(&fixture["after"], &widths));
    for (at, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        assert!((a - b).abs() < 2e-5, "weight {at}: {a}, expected {b}");
    }
}

/// Weights as the fixture has them, through the file format that PyTorch's layout is kept in.
fn torch_weights(layers: &Value, widths: &[usize]) -> HeadWeights {
    let bytes = |value: &Value| -> Vec<u8> {
        numbers(value)
            .iter()
            .flat_map(|x| (*x as f32).to_le_bytes())
            .collect()
    };
    let mut tensors = Vec::new();
    for (n, layer) in layers.as_array().unwrap().iter().enumerate() {
        let shape = vec![widths[n + 1], widths[n]];
        tensors.push((format!("layers.{n}.weight"), shape, bytes(&layer["weight"])));
        tensors.push((
            format!("layers.{n}.bias"),
            vec![widths[n + 1]],
            bytes(&layer["bias"]),
        ));
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let dtype = safetensors::Dtype::F32;
        let view = safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    let file = safetensors::serialize(views, None).unwrap();
    HeadWeights::of_safetensors("fixture", &file).unwrap().0
}

/// Every number of a head's file, in order.
fn head_numbers(weights: &HeadWeights) -> Vec<f32> {
    let file = weights.to_safetensors(Default::default()).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let mut names: Vec<_> = tensors.names();
    names.sort();
    let bytes = names
        .into_iter()
        .flat_map(|name| tensors.tensor(name).unwrap().data().to_vec());
    bytes
        .collect::<Vec<u8>>()
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect()
}
