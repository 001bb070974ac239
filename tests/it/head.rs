//! Heads: losses and steps against PyTorch (fixtures: `tests/data/head`), and trainings on stores of made-up
//! embeddings whose classes can be told apart.

use std::sync::Arc;

use arrow::array::{AsArray, FixedSizeListArray, Float16Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Int64Type};
use grainstore::classes::{Class, ClassSet, add_class_set};
use grainstore::device::DeviceName;
use grainstore::geometry::{Rle, Size};
use grainstore::head::{
    Bag, Bags, Balance, CacheOptions, CreateHead, HeadSpec, HeadWeights, Logits, Loss, Parent,
    Phase, Split, TrainOptions, TrainRequest, TrainSummary, Training, TrainingQuery,
    find_extractor, head_status, heads_stored, import_head, is_bad_mask, load_head, mil_loss,
    register_predict, remove_head, rename_head, softmax, train_and_store, uncertainty_loss,
};
use grainstore::names::ContentId;
use grainstore::progress::NoProgress;
use grainstore::schema::{EmbeddingType, Table};
use grainstore::sql::Sql;
use grainstore::store::rows::{ExtractorRow, ImageRow, LabelRow, MaskRow, Row, masks_to_batch};
use grainstore::store::{Changes, Store};
use serde_json::Value;

use crate::support::{image, instant, label, new_store};

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

/// The gradient as a full matrix.
fn dense(rows: &[(usize, Vec<f64>)], masks: usize, classes: usize) -> Vec<f64> {
    let mut full = vec![0.0; masks * classes];
    for (mask, row) in rows {
        full[mask * classes..(mask + 1) * classes].copy_from_slice(row);
    }
    full
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
        let masks = student.len() / classes;
        let logits = Logits {
            values: &student,
            classes,
            none_class: false,
        };
        let bags = bags(case);
        let mil = mil_loss(&logits, &bags, |d| options.k(d));
        assert_near(&[mil.loss], &[case["mil"].as_f64().unwrap()], "mil");
        let gradient = dense(&mil.rows, masks, classes);
        assert_near(&gradient, &numbers(&case["mil_gradient"]), "mil gradient");

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
        let gradient = dense(&uncertainty.rows, masks, classes);
        let expected = numbers(&case["uncertainty_gradient"]);
        assert_near(&gradient, &expected, "uncertainty gradient");
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
    let extractor = ContentId::of_bytes(b"extractor");
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
    };
    let set = ClassSet::new("numbers", names.iter().map(class).collect()).unwrap();
    let bags = Bags::of_batches(&[batch], &set, &CacheOptions::default()).unwrap();
    let spec = HeadSpec {
        embedding_dim: 6,
        hidden: widths[1..4].to_vec(),
        dropout: 0.0,
        classes: names.to_vec(),
    };
    let options = TrainOptions {
        loss: Loss::Mil,
        a: fixture["a"].as_f64().unwrap(),
        epochs: 3,
        learning_rate: fixture["learning_rate"].as_f64().unwrap(),
        validation: 0.0,
        balance: Balance::None,
        ..TrainOptions::default()
    };
    let start = torch_weights(&fixture["before"], &widths);
    let split = Split::new(&bags, &spec, &options, None);
    let trained = Training {
        bags: &bags,
        spec: &spec,
        options: &options,
        split: &split,
        start: Some(&start),
        device: &crate::support::device(),
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

/// A store with one extractor; masks are added with [`add_images`].
struct Made {
    _dir: tempfile::TempDir,
    store: Store,
    extractor: ContentId,
}

async fn made() -> Made {
    let (dir, store) = new_store().await;
    let extractor = ContentId::of_bytes(b"extractor");
    let row = ExtractorRow {
        extractor_id: extractor.clone(),
        model_type: "custom".to_owned(),
        checkpoint: "made.safetensors".to_owned(),
        checkpoint_sha256: "0".repeat(64),
        embedding_dim: 1024,
        options: "{}".to_owned(),
        grainstore_version: "0".to_owned(),
        created_at: instant(0),
    };
    crate::support::append(&store, &[row]).await;
    Made {
        _dir: dir,
        store,
        extractor,
    }
}

/// An image `n` with labels and so many masks, of which the first three per label show it.
struct Shown<'a> {
    n: u32,
    labels: &'a [&'a str],
    masks: usize,
}

/// A mask of class `label` has ones in a stretch of its embedding that the class alone has.
fn embedding(label: Option<&str>, random: &mut fastrand::Rng) -> Vec<f32> {
    let stretch = label.map(|label| {
        let place = ["cat", "dog", "cow", "owl"]
            .iter()
            .position(|l| *l == label);
        place.unwrap_or(4) * 100
    });
    (0..1024)
        .map(|at| {
            let signal = stretch.is_some_and(|from| (from..from + 100).contains(&at));
            random.f32() * 0.6 - 0.3 + f32::from(u8::from(signal))
        })
        .collect()
}

impl Made {
    async fn add_images(&self, shown: &[Shown<'_>]) {
        let mut images: Vec<ImageRow> = Vec::new();
        let mut labels: Vec<LabelRow> = Vec::new();
        let mut masks = Vec::new();
        for it in shown {
            let mut random = fastrand::Rng::with_seed(u64::from(it.n));
            let row = ImageRow {
                source: "web".to_owned(),
                ..image(it.n)
            };
            for mask_index in 0..it.masks {
                let of = it.labels.get(mask_index / 3).copied();
                let size = Size {
                    height: 2,
                    width: 2,
                };
                masks.push(MaskRow {
                    extractor_id: self.extractor.clone(),
                    image_id: row.image_id.clone(),
                    mask_index: i32::try_from(mask_index).unwrap(),
                    rle: Rle::from_bitmap(size, &[1, 0, 0, 0]).unwrap(),
                    predicted_iou: 0.9,
                    stability_score: 0.9,
                    point: [0.0, 0.0],
                    crop_box: [0.0, 0.0, 2.0, 2.0],
                    mask_output: 1,
                    embedding: embedding(of, &mut random),
                });
            }
            labels.extend(it.labels.iter().map(|text| label(it.n, text)));
            images.push(row);
        }
        let masks = masks_to_batch(&masks, EmbeddingType::default()).unwrap();
        let images = ImageRow::to_batch(&images).unwrap();
        let labels = LabelRow::to_batch(&labels).unwrap();
        let (masks, images, labels) = (&masks, &images, &labels);
        self.store
            .commit("test", |_| async move {
                let mut changes = Changes::new();
                changes.append(Table::Images, images.clone());
                changes.append(Table::Labels, labels.clone());
                changes.append(Table::Masks, masks.clone());
                Ok(changes)
            })
            .await
            .unwrap();
    }

    /// `count` images a label, numbered from `first`.
    async fn add_classes(&self, labels: &[&str], count: u32, first: u32) {
        let mut shown = Vec::new();
        for n in 0..count * labels.len() as u32 {
            let at = n as usize % labels.len();
            shown.push(Shown {
                n: first + n,
                labels: &labels[at..=at],
                masks: 8 + n as usize % 5,
            });
        }
        self.add_images(&shown).await;
    }

    async fn classes(&self, name: &str, classes: &[(&str, &[&str])]) -> ClassSet {
        let class = |(name, labels): &(&str, &[&str])| Class {
            name: (*name).to_owned(),
            supercategory: None,
            external_id: None,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        };
        let set = ClassSet::new(name, classes.iter().map(class).collect()).unwrap();
        add_class_set(&self.store, "test", &set, "file")
            .await
            .unwrap();
        ClassSet::load(&self.store.snapshot().await.unwrap(), name)
            .await
            .unwrap()
    }

    async fn request(&self, name: &str, class_set: ClassSet) -> TrainRequest {
        let snapshot = self.store.snapshot().await.unwrap();
        TrainRequest {
            name: name.to_owned(),
            class_set,
            query: TrainingQuery::of_images(&snapshot, &self.extractor, None)
                .await
                .unwrap(),
            options: TrainOptions {
                a: 4.0,
                batch_images: 16,
                ..TrainOptions::default()
            },
            parent: None,
            cache: CacheOptions::default(),
            device: DeviceName::Cpu,
        }
    }

    async fn train(&self, request: TrainRequest) -> grainstore::Result<TrainSummary> {
        let snapshot = self.store.snapshot().await.unwrap();
        train_and_store(&self.store, &snapshot, request, &NoProgress).await
    }

    async fn weights(&self, head: &str) -> HeadWeights {
        let snapshot = self.store.snapshot().await.unwrap();
        load_head(&snapshot, head).await.unwrap().weights
    }

    async fn query(&self, sql: &str) -> grainstore::Result<Vec<RecordBatch>> {
        let snapshot = self.store.snapshot().await?;
        let session = Sql::new(&snapshot).await?;
        register_predict(&session, &snapshot, sql).await?;
        session.query(sql).await?.collect().await
    }

    /// Share of the masks that show a label which the head calls by the class of that label.
    async fn mask_accuracy(&self, head: &str, label: &str) -> f64 {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE predict('{head}', m.embedding).class = '{label}'), count(*)
             FROM masks m JOIN labels l ON l.image_id = m.image_id
             WHERE l.label = '{label}' AND m.mask_index < 3"
        );
        let rows = self.query(&sql).await.unwrap();
        let count = |column: usize| rows[0].column(column).as_primitive::<Int64Type>().value(0);
        count(0) as f64 / count(1) as f64
    }
}

const FINE: [(&str, &[&str]); 3] = [("cat", &["cat"]), ("dog", &["dog"]), ("cow", &["cow"])];

#[tokio::test(flavor = "multi_thread")]
async fn one_store_serves_any_granularity() {
    let made = made().await;
    made.add_classes(&["cat", "dog", "cow"], 30, 0).await;
    let fine = made.classes("fine", &FINE).await;
    let coarse = made
        .classes("coarse", &[("pet", &["cat", "dog"]), ("farm", &["cow"])])
        .await;
    let one = made.classes("one", &[("dog", &["dog"])]).await;

    let summary = made.train(made.request("fine", fine).await).await.unwrap();
    assert_eq!((summary.images, summary.skipped.images_outside), (90, 0));
    assert!(
        summary.validation_images > 0 && summary.validation_accuracy.unwrap() > 0.9,
        "{summary:?}"
    );
    for label in ["cat", "dog", "cow"] {
        let accuracy = made.mask_accuracy("fine", label).await;
        assert!(accuracy > 0.9, "{label}: {accuracy}");
    }
    made.train(made.request("coarse", coarse).await)
        .await
        .unwrap();
    let rows = made
        .query("SELECT predict_scores('coarse', embedding) FROM masks LIMIT 5")
        .await
        .unwrap();
    let scores = rows[0].column(0).as_list::<i32>().value(0);
    let scores = scores.as_primitive::<Float32Type>();
    assert_eq!(scores.len(), 2);
    assert!((scores.value(0) + scores.value(1) - 1.0).abs() < 1e-5);

    // One class alone is told from the images that do not show it.
    let summary = made.train(made.request("one", one).await).await.unwrap();
    assert!(summary.validation_accuracy.unwrap() > 0.9, "{summary:?}");
    let rows = made
        .query(
            "SELECT avg(predict('one', m.embedding, m.extractor_id).score) FILTER (WHERE l.label = 'dog' AND m.mask_index < 3)
                  - avg(predict('one', m.embedding).score) FILTER (WHERE l.label <> 'dog') AS apart
             FROM masks m JOIN labels l USING (image_id)",
        )
        .await
        .unwrap();
    let apart = rows[0]
        .column(0)
        .as_primitive::<arrow::datatypes::Float64Type>()
        .value(0);
    assert!(apart > 0.4, "{apart}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_training_gives_the_same_weights() {
    let made = made().await;
    made.add_classes(&["cat", "dog", "cow"], 12, 0).await;
    let set = made.classes("fine", &FINE).await;
    let mut request = made.request("a", set).await;
    request.options.epochs = 2;
    made.train(request.clone()).await.unwrap();
    // Embeddings in a file instead of in memory make no difference either.
    request.name = "b".to_owned();
    request.cache.budget_bytes = 0;
    made.train(request.clone()).await.unwrap();
    assert_eq!(made.weights("a").await, made.weights("b").await);
    request.name = "c".to_owned();
    request.options.seed = 1;
    made.train(request).await.unwrap();
    assert_ne!(made.weights("a").await, made.weights("c").await);

    let snapshot = made.store.snapshot().await.unwrap();
    let names: Vec<String> = heads_stored(&snapshot)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.head)
        .collect();
    assert_eq!(
        names,
        ["a.teacher", "a", "b.teacher", "b", "c.teacher", "c"]
    );
    let head = load_head(&snapshot, "a").await.unwrap();
    let teacher = load_head(&snapshot, "a.teacher").await.unwrap();
    assert_eq!(head.row.teacher_head_id, Some(teacher.row.head_id));
    let curves: Vec<grainstore::head::Curve> = serde_json::from_str(&head.row.curves).unwrap();
    let phases: Vec<Phase> = curves.iter().map(|curve| curve.phase).collect();
    assert_eq!(
        phases,
        [
            Phase::Teacher,
            Phase::Teacher,
            Phase::Student,
            Phase::Student
        ]
    );
    assert!(
        curves
            .iter()
            .all(|curve| curve.uncertainty.is_some() == (curve.phase == Phase::Student))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_several_kinds_are_told_apart_and_counted() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 10, 0).await;
    made.add_images(&[
        Shown {
            n: 100,
            labels: &["cat", "dog"],
            masks: 9,
        },
        Shown {
            n: 101,
            labels: &["cat", "tree"],
            masks: 1,
        },
        Shown {
            n: 102,
            labels: &["tree"],
            masks: 5,
        },
    ])
    .await;
    let set = made
        .classes("two", &[("cat", &["cat"]), ("dog", &["dog"])])
        .await;
    let request = made.request("two", set.clone()).await;
    let snapshot = made.store.snapshot().await.unwrap();
    let rows = request.query.rows(&snapshot).await.unwrap();
    let bags = Bags::read(rows, &set, &CacheOptions::default(), &NoProgress)
        .await
        .unwrap();
    assert_eq!(bags.images.len(), 22);
    assert_eq!(
        (bags.skipped.images_outside, bags.skipped.labels_outside),
        (1, 1)
    );
    let both = bags
        .images
        .iter()
        .filter(|image| image.classes == [0, 1])
        .count();
    assert_eq!(both, 1);

    // A query of one's own: a row for each label, and masks chosen by what they are.
    let sql =
        "SELECT m.*, l.label FROM masks m JOIN labels l USING (image_id) WHERE m.mask_index < 6;";
    let rows = TrainingQuery::new(sql).rows(&snapshot).await.unwrap();
    let own = Bags::read(rows, &set, &CacheOptions::default(), &NoProgress)
        .await
        .unwrap();
    assert_eq!(own.images.len(), 22);
    assert_eq!(own.masks(), 20 * 6 + 6 + 1);
    let both = own
        .images
        .iter()
        .filter(|image| image.classes == [0, 1])
        .count();
    assert_eq!(both, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_trained_on_is_named() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 3, 0).await;
    let lacking = made.classes("lacking", &FINE).await;
    let message = made
        .train(made.request("h", lacking).await)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("no image to train on for class 'cow'"),
        "{message}"
    );

    let all = made.classes("all", &[("any", &["cat", "dog"])]).await;
    let message = made
        .train(made.request("h", all).await)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("one class and every image shows it"),
        "{message}"
    );

    let set = made.classes("two", &FINE[..2]).await;
    for (sql, part) in [
        ("SELECT image_id FROM masks", "no column 'extractor_id'"),
        ("SELECT * FROM masks", "no column 'label'"),
        (
            "SELECT m.*, 1 AS label FROM masks m WHERE false",
            "it yields no rows",
        ),
        (
            "SELECT image_id, extractor_id, mask_index, 'x' AS label, area AS embedding FROM masks",
            "column 'embedding': expected a list of fixed size",
        ),
        (
            "SELECT image_id, CAST(mask_index AS TEXT) AS extractor_id, mask_index, 'cat' AS label, embedding FROM masks",
            "masks of extractors",
        ),
    ] {
        let mut request = made.request("h", set.clone()).await;
        request.query = TrainingQuery::new(sql);
        let message = made.train(request).await.unwrap_err().to_string();
        assert!(message.contains(part), "{sql}: {message}");
    }
    let snapshot = made.store.snapshot().await.unwrap();
    let bad = TrainingQuery::of_images(&snapshot, &made.extractor, Some("1=1) OR (true")).await;
    assert!(
        bad.is_err(),
        "a condition that closes the bracket is no expression"
    );
    let message = find_extractor(&snapshot, Some("zz"))
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains("made.safetensors"), "{message}");
    assert!(
        heads_stored(&snapshot).await.unwrap().is_empty(),
        "nothing was stored"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_that_are_not_finite_are_left_out() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 3, 0).await;
    let set = made.classes("two", &FINE[..2]).await;
    let snapshot = made.store.snapshot().await.unwrap();
    let request = made.request("h", set.clone()).await;
    let batches = request
        .query
        .rows(&snapshot)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let schema = batches[0].schema();
    let batch = arrow::compute::concat_batches(&schema, &batches).unwrap();
    let masks = batch.num_rows();
    // The store refuses NaN, so the rows are changed on their way: those of one image, and one more.
    let at = schema.index_of("embedding").unwrap();
    let ids = batch.column(schema.index_of("image_id").unwrap()).clone();
    let first = arrow::compute::cast(&ids, &DataType::Utf8).unwrap();
    let first = first.as_string::<i32>();
    let spoilt: Vec<usize> = (0..masks)
        .filter(|row| first.value(*row) == first.value(0))
        .collect();
    let column = batch.column(at).as_fixed_size_list();
    let values = column
        .values()
        .as_primitive::<arrow::datatypes::Float16Type>();
    let values: Vec<_> = values
        .values()
        .iter()
        .enumerate()
        .map(|(n, x)| {
            if spoilt.contains(&(n / 1024)) || n == masks * 1024 - 1 {
                half::f16::NAN
            } else {
                *x
            }
        })
        .collect();
    let item = Arc::new(Field::new("item", DataType::Float16, true));
    let values = Arc::new(Float16Array::from(values));
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(FixedSizeListArray::new(item, 1024, values, None));
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    let bags = Bags::of_batches(&[batch], &set, &CacheOptions::default()).unwrap();
    assert_eq!(bags.skipped.masks_not_finite, spoilt.len() as u64 + 1);
    assert_eq!(bags.skipped.images_empty, 1);
    assert_eq!(bags.images.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_class_is_added_to_a_head() {
    let made = made().await;
    made.add_classes(&["cat", "dog", "cow"], 30, 0).await;
    let fine = made.classes("fine", &FINE).await;
    made.train(made.request("fine", fine).await).await.unwrap();
    let parent = Parent::load(&made.store.snapshot().await.unwrap(), "fine", Some(1.0))
        .await
        .unwrap();
    let status = head_status(&made.store.snapshot().await.unwrap(), &parent.head.row)
        .await
        .unwrap();
    assert_eq!((status.images_added, status.stale), (Some(0), false));

    made.add_classes(&["owl"], 30, 1000).await;
    let more = [FINE.as_slice(), &[("owl", &["owl"])]].concat();
    let set = made.classes("fine", &more).await;
    assert_eq!(set.version, 2);
    let snapshot = made.store.snapshot().await.unwrap();
    let status = head_status(&snapshot, &parent.head.row).await.unwrap();
    assert_eq!(
        (
            status.images_added,
            status.newest_class_set_version,
            status.stale
        ),
        (Some(30), Some(2), true)
    );

    let mut request = made.request("fine4", set).await;
    request.parent = Some(parent.clone());
    request.options.epochs = 4;
    made.train(request.clone()).await.unwrap();
    for label in ["cat", "dog", "cow", "owl"] {
        let accuracy = made.mask_accuracy("fine4", label).await;
        assert!(accuracy > 0.9, "{label}: {accuracy}");
    }
    let head = load_head(&made.store.snapshot().await.unwrap(), "fine4")
        .await
        .unwrap();
    assert_eq!(
        head.row.parent_head_id.as_ref(),
        Some(&parent.head.row.head_id)
    );

    // A head of another extractor's masks is refused, naming both.
    let mut row = head.row.clone();
    row.extractor_id = ContentId::of_bytes(b"another");
    let mut stranger = parent.clone();
    stranger.head.row.extractor_id = row.extractor_id.clone();
    request.parent = Some(stranger);
    let message = made.train(request).await.unwrap_err().to_string();
    assert!(
        message.contains(made.extractor.as_str()) && message.contains(row.extractor_id.as_str()),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_kept_moved_and_removed() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 6, 0).await;
    let set = made.classes("two", &FINE[..2]).await;
    let mut request = made.request("h", set).await;
    request.options = TrainOptions {
        loss: Loss::Mil,
        epochs: 1,
        ..request.options
    };
    made.train(request).await.unwrap();
    let snapshot = made.store.snapshot().await.unwrap();
    let head = load_head(&snapshot, "h").await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("h.safetensors");
    std::fs::write(&file, grainstore::head::head_file(&head).unwrap()).unwrap();
    rename_head(&made.store, "h", "g").await.unwrap();
    let snapshot = made.store.snapshot().await.unwrap();
    assert!(load_head(&snapshot, "h").await.is_err());
    assert_eq!(
        load_head(&snapshot, "g").await.unwrap().row.head_id,
        head.row.head_id
    );
    assert!(rename_head(&made.store, "g", "g").await.is_err());
    remove_head(&made.store, "g", false).await.unwrap();
    assert!(
        heads_stored(&made.store.snapshot().await.unwrap())
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        remove_head(&made.store, "g", false)
            .await
            .unwrap_err()
            .to_string()
            .contains("no head 'g'")
    );

    let imported = import_head(&made.store, &file, Some("again"))
        .await
        .unwrap();
    assert_eq!(imported.head_id, head.row.head_id);
    assert_eq!(made.weights("again").await, head.weights);
    std::fs::write(&file, "not a head").unwrap();
    let message = import_head(&made.store, &file, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains("h.safetensors"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_names_what_is_wrong_with_a_prediction() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 6, 0).await;
    let set = made.classes("two", &FINE[..2]).await;
    let create = "CREATE HEAD h USING CLASSES two OPTIONS (loss = 'mil', epochs = 1) AS \
        SELECT m.*, l.label FROM masks m JOIN labels l USING (image_id)";
    let create = CreateHead::parse(create).unwrap().unwrap();
    let mut request = made.request(&create.name, set).await;
    (request.query, request.options) = (TrainingQuery::new(&create.query), create.options);
    made.train(request).await.unwrap();
    for (sql, part) in [
        (
            "SELECT predict('nobody', embedding) FROM masks",
            "no head 'nobody'",
        ),
        (
            "SELECT predict('h', area) FROM masks",
            "expected an embedding of 1024 numbers",
        ),
        (
            "SELECT predict('h', embedding, 'f00') FROM masks",
            "cannot judge those of extractor 'f00'",
        ),
    ] {
        let message = made.query(sql).await.unwrap_err().to_string();
        assert!(message.contains(part), "{sql}: {message}");
    }
    let rows = made
        .query("SELECT predict('h', embedding).entropy AS e FROM masks ORDER BY e DESC LIMIT 3")
        .await
        .unwrap();
    let entropy = rows[0].column(0).as_primitive::<Float32Type>();
    assert!(
        entropy
            .values()
            .iter()
            .all(|e| (0.0..=2f32.ln() + 1e-6).contains(e))
    );
}
