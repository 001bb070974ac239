//! Vectors of masks: embedding runs on a store, and heads that read vectors.

use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use grainstore::device::Precision;
use grainstore::extract::{MaskGenerator, MaskOptions, Shard};
use grainstore::geometry::Size;
use grainstore::models::clip::Clip;
use grainstore::models::sam::{Checkpoint, PreparedImage};
use grainstore::models::{Activation, Family, Weights};
use grainstore::schema::{StoreTable, VectorTable};
use safetensors::SafeTensors;
use serde_json::Value;

use crate::support::harness::Program;
use crate::support::random_clip::random_clip;
use crate::support::{Asks, CHECKPOINT, device};

const PROGRAM: &str = env!("CARGO_BIN_EXE_grainstore");

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/embed");
    folder.join(name).to_str().unwrap().to_owned()
}

/// A store with masks of the small model over the photos of `tests/data`, in three classes.
struct Store {
    _dir: tempfile::TempDir,
    dir: PathBuf,
    program: Program,
}

fn store() -> Store {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    for (class, photo) in [
        ("cat", "embed/photo_a.png"),
        ("cat", "sam/wide.png"),
        ("dog", "embed/photo_b.png"),
        ("dog", "sam/tall.png"),
    ] {
        let folder = path.join("photos").join(class);
        std::fs::create_dir_all(&folder).unwrap();
        let from = data.join(photo);
        std::fs::copy(&from, folder.join(from.file_name().unwrap())).unwrap();
    }
    let program = Program {
        file: PROGRAM.into(),
        store: path.join("store"),
    };
    program.expect(0, &["init", "--embedding-dim", "128"]);
    let photos = path.join("photos");
    program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    let extract = [
        "extract",
        "--checkpoint",
        CHECKPOINT,
        "--points-per-side",
        "4",
    ];
    program.expect(0, &extract);
    Store {
        _dir: dir,
        dir: path,
        program,
    }
}

impl Store {
    fn embed(&self, arguments: &[&str]) -> Value {
        let command: Vec<&str> = ["--json", "embed"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        self.program.json(&command)
    }

    fn sql(&self, query: &str) -> Vec<Value> {
        let found = self.program.json(&["--json", "sql", query]);
        found.as_array().unwrap().clone()
    }
}

#[test]
fn vectors_are_those_of_the_model_on_the_crop() {
    let store = store();
    let checkpoint = fixture("clip.safetensors");
    let photo = "cat/photo_a.png";
    let ids = store.sql(&format!(
        "SELECT image_id FROM images WHERE file_name = '{photo}'"
    ));
    let image_id = ids[0]["image_id"].as_str().unwrap().to_owned();
    let arguments = [
        "--checkpoint",
        &checkpoint,
        "--activation",
        "quick-gelu",
        "--context",
        "10",
    ];
    store.embed(&arguments);
    // With that much context, the crop of a mask that is not too small is the whole photo.
    let covers = |axis: u32, length: u32| {
        let (start, extent) = (format!("m.bbox[{axis}]"), format!("m.bbox[{}]", axis + 2));
        format!("{start} - 4.5 * {extent} <= 0 AND {start} + 5.5 * {extent} >= {length}")
    };
    let stored = store.sql(&format!(
        "SELECT vector FROM vectors.clip v JOIN masks m ON m.image_id = v.image_id AND m.mask_index = v.mask_index
         WHERE m.image_id = '{image_id}' AND {} AND {}",
        covers(1, 97),
        covers(2, 61)
    ));
    assert!(stored.len() > 3);
    let vectors: Vec<Vec<f64>> = stored
        .iter()
        .map(|row| {
            let numbers = row["vector"].as_array().unwrap().iter();
            numbers.map(|x| x.as_f64().unwrap()).collect()
        })
        .collect();

    let reference = std::fs::read(fixture("pixels_reference.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&reference).unwrap();
    let pixels = tensors.tensor("clip.normalised.photo_a").unwrap();
    let pixels: Vec<f32> = pixels
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|it| f32::from_le_bytes(*it))
        .collect();
    let weights = Weights::open(fixture("clip.safetensors"), &[Family::Clip]).unwrap();
    let activation = Some(Activation::QuickGelu);
    let model = Clip::load(weights, activation, Precision::F32, &device()).unwrap();
    let pixels = TensorData::new(pixels, [1, 3, 32, 32]);
    let expected = model
        .visual
        .unwrap()
        .forward(Tensor::from_data(pixels, &device()));
    let expected: Vec<f32> = expected.into_data().iter::<f32>().collect();
    for vector in &vectors {
        for (found, expected) in vector.iter().zip(&expected) {
            assert!(
                (found - f64::from(*expected)).abs() < 3e-3,
                "{found} {expected}"
            );
        }
    }
}

#[test]
fn a_run_goes_on_where_it_was_and_failures_are_rows() {
    let store = store();
    let checkpoint = fixture("dinov2.safetensors");
    let run = |more: &[&str]| {
        let arguments: Vec<&str> = ["--checkpoint", &checkpoint]
            .iter()
            .chain(more)
            .copied()
            .collect();
        store.embed(&arguments)
    };
    let first = run(&["--limit", "1"]);
    assert_eq!(
        (&first["images"], &first["embedder"]),
        (&1.into(), &"dinov2".into())
    );
    let left = run(&["--dry-run"]);
    assert_eq!((&left["images"], &left["dim"]), (&3.into(), &128.into()));

    let gone = store.dir.join("photos/dog/tall.png");
    std::fs::rename(&gone, gone.with_extension("gone")).unwrap();
    let args = ["--json", "embed", "--checkpoint", &checkpoint];
    let told: Value = serde_json::from_str(&store.program.expect(2, &args)).unwrap();
    assert_eq!((&told["images"], &told["failed"]), (&2.into(), &1.into()));
    let failures = store.sql("SELECT stage, item FROM failures");
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0]["stage"], "embed");
    assert!(failures[0]["item"].as_str().unwrap().contains("tall.png"));

    std::fs::rename(gone.with_extension("gone"), &gone).unwrap();
    assert_eq!(run(&[])["images"], 1);
    assert_eq!(run(&[])["images"], 0);
    // Every mask that is not empty has one vector.
    let counts = store.sql(
        "SELECT count(*) AS vectors, count(DISTINCT concat(image_id, mask_index)) AS masks,
                (SELECT count(*) FROM masks WHERE area > 0) AS expected,
                (SELECT sum(vectors) FROM embeddings) AS marked FROM vectors.dinov2",
    );
    assert!(counts[0]["vectors"].as_i64().unwrap() > 10);
    for name in ["masks", "expected", "marked"] {
        assert_eq!(counts[0][name], counts[0]["vectors"], "{name}");
    }
    let missing = store.sql(
        "SELECT m.mask_index FROM masks m LEFT ANTI JOIN vectors.dinov2 v
         ON v.extractor_id = m.extractor_id AND v.image_id = m.image_id AND v.mask_index = m.mask_index
         WHERE m.area > 0",
    );
    assert!(missing.is_empty());
    assert!(
        store
            .program
            .expect(0, &["check", "--deep"])
            .contains("healthy")
    );
}

#[test]
fn shards_filters_and_image_vectors() {
    let store = store();
    let checkpoint = fixture("dinov2_reg_hf");
    for shard in ["0/2", "1/2"] {
        shard.parse::<Shard>().unwrap();
        store.embed(&[
            "--checkpoint",
            &checkpoint,
            "--shard",
            shard,
            "--commit-vectors",
            "1",
        ]);
    }
    let images = store.sql("SELECT count(DISTINCT image_id) AS n FROM vectors.dinov2");
    assert_eq!(images[0]["n"], 4);

    let good = store.embed(&["--checkpoint", &checkpoint, "--min-predicted-iou", "0.5"]);
    let name = good["embedder"].as_str().unwrap();
    assert!(name.starts_with("dinov2_"), "{name}");
    let expected =
        store.sql("SELECT count(*) AS n FROM masks WHERE area > 0 AND predicted_iou >= 0.5");
    assert_eq!(good["vectors"], expected[0]["n"]);

    let of_images = store.embed(&[
        "--checkpoint",
        &checkpoint,
        "--pool",
        "image",
        "--name",
        "photos",
    ]);
    assert_eq!(
        (&of_images["images"], &of_images["vectors"]),
        (&4.into(), &4.into())
    );
    assert_eq!(
        store.sql("SELECT image_id FROM image_vectors.photos").len(),
        4
    );
    let listed = store.program.json(&["--json", "embedders", "list"]);
    let names: Vec<&str> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["embedder"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["dinov2", name, "photos"]);
}

#[test]
fn what_cannot_be_embedded_says_why() {
    let store = store();
    let fails = |arguments: &[&str]| {
        let command: Vec<&str> = ["embed"].iter().chain(arguments).copied().collect();
        store.program.fails(&command)
    };
    let (clip, net, dino) = (
        fixture("clip.safetensors"),
        fixture("efficientnet_lite.safetensors"),
        fixture("dinov2.safetensors"),
    );
    for (arguments, part) in [
        (vec!["--checkpoint", &clip], "--activation quick-gelu"),
        (vec!["--checkpoint", CHECKPOINT], "holds Segment Anything"),
        (
            vec!["--checkpoint", &net, "--pool", "dense"],
            "EfficientNet-Lite has no vectors of patches",
        ),
        (
            vec!["--checkpoint", &net, "--activation", "gelu"],
            "only files of CLIP",
        ),
        (
            vec!["--checkpoint", &dino, "--image-size", "500"],
            "a multiple of the patch of 14",
        ),
        (
            vec!["--checkpoint", &dino, "--fit", "pad"],
            "keep or squash",
        ),
        (
            vec!["--checkpoint", &net, "--fit", "keep"],
            "the network's input is square",
        ),
        (vec!["--checkpoint", &dino, "--context", "0.5"], "1 to 10"),
        (
            vec!["--checkpoint", &dino, "--name", "Big-Name"],
            "lower-case letters",
        ),
        (
            vec!["--checkpoint", &dino, "--name", "tokens"],
            "lower-case letters",
        ),
        (
            vec!["--checkpoint", &dino, "--name", "mask_index"],
            "no column of masks",
        ),
        (
            vec!["--checkpoint", &dino, "--extractor", "ffff"],
            "extractor",
        ),
        (
            vec!["--checkpoint", &dino, "--where", "nonsense = 1"],
            "nonsense",
        ),
    ] {
        let told = fails(&arguments);
        assert!(told.contains(part), "{arguments:?}: {told}");
    }
    store.embed(&["--checkpoint", &dino, "--name", "mine"]);
    let taken = fails(&["--checkpoint", &net, "--name", "mine"]);
    assert!(
        taken.contains("embedder 'mine' is another one already") && taken.contains("--name"),
        "{taken}"
    );
    let renamed = fails(&["--checkpoint", &dino, "--name", "other"]);
    assert!(
        renamed.contains("'mine', which this embedder has already"),
        "{renamed}"
    );
}

#[test]
fn an_embedder_is_removed_with_its_vectors() {
    let store = store();
    let program = &store.program;
    store.embed(&[
        "--checkpoint",
        &fixture("dinov2.safetensors"),
        "--name",
        "one",
    ]);
    store.embed(&["--checkpoint", &fixture("dinov2_hf"), "--name", "two"]);
    program.expect(0, &["embedders", "rm", "one"]);
    let gone = program.fails(&["sql", "SELECT * FROM vectors.one"]);
    assert!(gone.contains("one"), "{gone}");
    assert!(!store.sql("SELECT * FROM vectors.two LIMIT 1").is_empty());
    let unknown = program.fails(&["embedders", "rm", "one"]);
    assert!(
        unknown.contains("there is no embedder 'one'") && unknown.contains("two"),
        "{unknown}"
    );
    let folders = || {
        std::fs::read_dir(store.program.store.join("vectors"))
            .unwrap()
            .count()
    };
    assert_eq!(folders(), 2, "an earlier version of the store names them");
    program.expect(0, &["store", "cleanup", "--older-than", "0s"]);
    assert_eq!(folders(), 1);
    assert!(program.expect(0, &["check", "--deep"]).contains("healthy"));
    // The same vectors again, after all.
    let again = store.embed(&[
        "--checkpoint",
        &fixture("dinov2.safetensors"),
        "--name",
        "one",
    ]);
    assert_eq!(again["images"], 4);
}

#[test]
fn heads_read_vectors_in_their_order() {
    let store = store();
    let program = &store.program;
    store.embed(&[
        "--checkpoint",
        &fixture("dinov2.safetensors"),
        "--name",
        "dino",
    ]);
    let clip = random_clip(&store.dir.join("clip"), 3);
    store.embed(&["--checkpoint", clip.to_str().unwrap(), "--name", "clip"]);
    program.expect(0, &["classes", "add", "all", "--from", "labels"]);
    let train = |name: &str, vectors: &str| {
        let common = [
            "train",
            "--classes",
            "all",
            "--epochs",
            "3",
            "--validation",
            "0",
        ];
        let more = ["--where", "true", "--name", name, "--vectors", vectors];
        program.expect(0, &[&common[..], &more[..]].concat())
    };
    train("one", "dino");
    train("both", "clip,tokens,shape");
    let heads = store.sql("SELECT head, inputs, normalise, query FROM heads WHERE head IN ('one', 'both') ORDER BY head");
    let embedders = store.sql("SELECT embedder, embedder_id FROM embedders ORDER BY embedder");
    let clip_id = embedders[0]["embedder_id"].as_str().unwrap();
    assert_eq!(
        heads[0]["inputs"],
        format!(r#"["{clip_id}","tokens","shape"]"#)
    );
    assert_eq!(
        heads[0]["normalise"],
        r#"["standard","standard","standard"]"#
    );
    assert!(
        heads[0]["query"]
            .as_str()
            .unwrap()
            .contains(r#"vectors."clip""#)
    );

    // Numbers that stay in the store until they are needed give the same head, whose mean and scale are those of a
    // sample of the masks: here, of all of them.
    let (names, of) = (["all_read", "when_needed"], "clip,tokens");
    let mut command = vec![
        "train",
        "--classes",
        "all",
        "--epochs",
        "3",
        "--where",
        "true",
    ];
    command.extend(["--vectors", of, "--name"]);
    program.expect(0, &[&command[..], &names[..1]].concat());
    program.expect(
        0,
        &[&command[..], &names[1..], &["--cache-mib", "0"]].concat(),
    );
    let differs = store.sql(
        "SELECT count(*) AS n, max(abs(predict('all_read', v.vector, m.embedding).score
                - predict('when_needed', v.vector, m.embedding).score)) AS most
         FROM masks m JOIN vectors.clip v ON v.image_id = m.image_id AND v.mask_index = m.mask_index",
    );
    assert!(differs[0]["n"].as_i64().unwrap() > 10, "{differs:?}");
    assert!(differs[0]["most"].as_f64().unwrap() < 1e-4, "{differs:?}");

    // In SQL as in annotate.
    program.expect(0, &["annotate", "--head", "both", "--score-threshold", "0"]);
    let differs = store.sql(
        "SELECT count(*) AS n, max(abs(p.score - predict('both', v.vector, m.embedding,
                mask_shape(m.rle, m.predicted_iou, m.stability_score)).score)) AS most
         FROM predictions p
         JOIN masks m ON m.image_id = p.image_id AND m.mask_index = p.mask_index
         JOIN vectors.clip v ON v.image_id = m.image_id AND v.mask_index = m.mask_index",
    );
    assert!(differs[0]["n"].as_i64().unwrap() > 10, "{differs:?}");
    assert!(differs[0]["most"].as_f64().unwrap() < 1e-6, "{differs:?}");
    let counted = store.sql(
        "SELECT (SELECT count(*) FROM predictions) = (SELECT count(*) FROM vectors.clip) AS same",
    );
    assert_eq!(counted[0]["same"], true);

    // Other vectors, another order, another number.
    for (call, part) in [
        ("predict('one', v.vector)", "found vectors of embedder"),
        (
            "predict('both', m.embedding, v.vector, mask_shape(m.rle, 0, 0))",
            "found",
        ),
        ("predict('both', v.vector)", "expected 3 embeddings"),
        (
            "predict('one', m.embedding, v.vector)",
            "expected one embedding of 128 numbers",
        ),
    ] {
        let query = format!(
            "SELECT {call} FROM masks m JOIN vectors.clip v ON v.image_id = m.image_id AND v.mask_index = m.mask_index"
        );
        let told = program.fails(&["sql", &query]);
        assert!(told.contains(part), "{call}: {told}");
    }
    let unknown = program.fails(&[
        "train",
        "--name",
        "x",
        "--classes",
        "all",
        "--vectors",
        "dyno",
    ]);
    assert!(
        unknown.contains("there is no embedder 'dyno'") && unknown.contains("dino"),
        "{unknown}"
    );
    let twice = program.fails(&[
        "train",
        "--name",
        "x",
        "--classes",
        "all",
        "--vectors",
        "dino,dino",
    ]);
    assert!(twice.contains("each of them once"), "{twice}");
    let in_use = program.fails(&["embedders", "rm", "clip"]);
    assert!(in_use.contains("is read by head 'both"), "{in_use}");

    // Elsewhere and back: the statistics travel with the weights.
    let file = store.dir.join("both.safetensors");
    let file = file.to_str().unwrap();
    program.expect(0, &["heads", "export", "both", "-o", file]);
    program.expect(0, &["heads", "rm", "both", "--force"]);
    program.expect(0, &["heads", "import", file]);
    let again = program.expect(
        0,
        &[
            "--json",
            "annotate",
            "--head",
            "both",
            "--score-threshold",
            "0",
        ],
    );
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["images"], 4);
    program.expect(0, &["heads", "status"]);

    // A head over vectors goes on from one over the same, and from no other.
    let from = [
        "train",
        "--classes",
        "all",
        "--epochs",
        "2",
        "--where",
        "true",
        "--validation",
        "0",
        "--from",
    ];
    program.expect(
        0,
        &[&from[..], &["one", "--name", "more", "--vectors", "dino"]].concat(),
    );
    let other =
        program.fails(&[&from[..], &["one", "--name", "more", "--vectors", "clip"]].concat());
    assert!(other.contains("it reads"), "{other}");
}

#[test]
fn vectors_that_are_called_tokens_are_refused() {
    let store = store();
    let program = &store.program;
    let same_width = fixture("dinov2.safetensors");
    store.embed(&[
        "--checkpoint",
        &same_width,
        "--name",
        "dino",
        "--where",
        "file_name LIKE '%wide%' OR file_name LIKE '%tall%'",
    ]);
    program.expect(0, &["classes", "add", "all", "--from", "labels"]);
    let query = "CREATE HEAD h USING CLASSES all AS SELECT v.image_id, v.extractor_id, v.mask_index, l.label, \
                 v.vector AS embedding FROM vectors.dino v JOIN labels l ON l.image_id = v.image_id";
    let told = program.fails(&["sql", query]);
    assert!(
        told.contains("column 'embedding' is to hold tokens, and holds the vectors of embedder"),
        "{told}"
    );
    let options = "CLASSES all OPTIONS (vectors = 'dino', epochs = 1)";
    let named = query.replace("AS embedding", "AS dino");
    program.expect(0, &["sql", &named.replace("CLASSES all", options)]);
    let train = [
        "train",
        "--name",
        "h",
        "--classes",
        "all",
        "--where",
        "true",
        "--epochs",
        "1",
        "--vectors",
        "dino",
    ];
    program.expect(0, &train);
    let told = program.expect(0, &["annotate", "--head", "h"]);
    assert!(
        told.contains("2 images left out: vectors that the head reads are missing"),
        "{told}"
    );
    let shown = program.expect(0, &["heads", "show", "h"]);
    assert!(
        shown.contains("reads     dino, normalised: [\"standard\"]"),
        "{shown}"
    );
    let unknown = program.fails(&["sql", "SELECT * FROM vectors.nothing"]);
    assert!(unknown.contains("embedders list"), "{unknown}");
}

#[test]
fn images_that_were_extracted_before_get_sams_vectors_too() {
    let store = store();
    let program = &store.program;
    let again = [
        "extract",
        "--checkpoint",
        CHECKPOINT,
        "--points-per-side",
        "4",
        "--vectors",
        "token",
    ];
    let left = program.expect(0, &[&again[..], &["--dry-run"]].concat());
    assert!(left.starts_with("4 images left to do"), "{left}");
    let before = store.sql("SELECT count(*) AS n FROM masks");
    let told = program.json(&[&["--json"][..], &again[..]].concat());
    assert_eq!(
        (&told["revisited"], &told["images"], &told["failed"]),
        (&4.into(), &0.into(), &0.into())
    );
    assert_eq!(store.sql("SELECT count(*) AS n FROM masks"), before);
    let counts = store.sql(
        "SELECT (SELECT count(*) FROM vectors.sam_token) AS vectors, (SELECT count(*) FROM masks WHERE area > 0) AS masks",
    );
    assert_eq!(counts[0]["vectors"], counts[0]["masks"]);
    assert!(program.expect(0, &again).is_empty());
    assert!(program.expect(0, &["check"]).starts_with("healthy"));
}

#[test]
fn masks_without_a_vector_are_left_out_and_counted() {
    let store = store();
    let program = &store.program;
    let dino = fixture("dinov2.safetensors");
    store.embed(&[
        "--checkpoint",
        &dino,
        "--name",
        "dino",
        "--min-predicted-iou",
        "0.5",
    ]);
    program.expect(0, &["classes", "add", "all", "--from", "labels"]);
    let told = program.expect(
        0,
        &[
            "train",
            "--name",
            "h",
            "--classes",
            "all",
            "--epochs",
            "2",
            "--where",
            "true",
            "--validation",
            "0",
            "--vectors",
            "dino",
        ],
    );
    let without =
        store.sql("SELECT count(*) AS n FROM masks WHERE NOT (area > 0 AND predicted_iou >= 0.5)");
    let without = without[0]["n"].as_i64().unwrap();
    assert!(without > 0);
    assert!(
        told.contains(&format!(
            "left out: {without} x mask without one of the vectors"
        )),
        "{told}"
    );
    program.expect(0, &["annotate", "--head", "h"]);
    let counts = store.sql(
        "SELECT (SELECT count(*) FROM predictions) AS predictions, (SELECT count(*) FROM vectors.dino) AS vectors",
    );
    assert_eq!(counts[0]["predictions"], counts[0]["vectors"]);
}

#[test]
fn a_head_from_words_is_clips_softmax() {
    let store = store();
    let program = &store.program;
    let clip = random_clip(&store.dir.join("clip"), 5);
    let clip = clip.to_str().unwrap();
    store.embed(&["--checkpoint", clip, "--name", "clip"]);
    program.expect(0, &["classes", "add", "all", "--from", "labels"]);
    let made = |name: &str, more: &[&str]| {
        let common = [
            "heads",
            "zero-shot",
            name,
            "--classes",
            "all",
            "--embedder",
            "clip",
            "--checkpoint",
            clip,
        ];
        program.expect(0, &[&common[..], more].concat())
    };
    made("words", &[]);
    made("two", &["--template", "a {}.", "--template", "the {} here"]);

    // The same by hand: the cosines with the texts, times the factor, through a softmax.
    let weights = Weights::open(clip, &[Family::Clip]).unwrap();
    let model = Clip::load(weights, None, Precision::F32, &device()).unwrap();
    let tower = model.text.as_ref().unwrap();
    let tokenizer = grainstore::models::clip::Tokenizer::new();
    let unit = |vector: Vec<f64>| -> Vec<f64> {
        let length = vector.iter().map(|x| x * x).sum::<f64>().sqrt();
        vector.into_iter().map(|x| x / length).collect()
    };
    let text = |text: &str| -> Vec<f64> {
        let vector = tower.forward(&tokenizer.ids(text, 77)).into_data();
        unit(vector.iter::<f32>().map(f64::from).collect())
    };
    for (head, templates) in [
        ("words", vec!["a photo of a {}."]),
        ("two", vec!["a {}.", "the {} here"]),
    ] {
        let classes = ["cat", "dog"].map(|class| {
            let mut sum = vec![0.0; 12];
            for template in &templates {
                let vector = text(&template.replace("{}", class));
                sum.iter_mut().zip(vector).for_each(|(sum, x)| *sum += x);
            }
            unit(sum)
        });
        let found = store.sql(&format!(
            "SELECT vector, predict_scores('{head}', vector) AS scores FROM vectors.clip LIMIT 20"
        ));
        for row in &found {
            let numbers = |name: &str| -> Vec<f64> {
                let values = row[name].as_array().unwrap().iter();
                values.map(|x| x.as_f64().unwrap()).collect()
            };
            let vector = unit(numbers("vector"));
            let logits = classes.clone().map(|class| {
                let cosine: f64 = class.iter().zip(&vector).map(|(x, y)| x * y).sum();
                (cosine * model.similarity_factor()).exp()
            });
            let total: f64 = logits.iter().sum();
            for (found, expected) in numbers("scores").iter().zip(logits) {
                assert!((found - expected / total).abs() < 1e-4, "{head}");
            }
        }
    }
    program.expect(
        0,
        &["annotate", "--head", "words", "--score-threshold", "0.7"],
    );
    let status = program.expect(0, &["heads", "status"]);
    assert!(status.contains("made from words"), "{status}");

    let other = random_clip(&store.dir.join("other"), 6);
    let zero_shot = |more: &[&str]| {
        let common = ["heads", "zero-shot", "x", "--embedder", "clip"];
        program.fails(&[&common[..], more].concat())
    };
    let told = zero_shot(&["--classes", "all", "--checkpoint", other.to_str().unwrap()]);
    assert!(
        told.contains("is not the checkpoint of embedder 'clip'"),
        "{told}"
    );
    let told = zero_shot(&[
        "--classes",
        "all",
        "--checkpoint",
        clip,
        "--template",
        "a dog",
    ]);
    assert!(told.contains("'{}' in the place of the class"), "{told}");
    let one = store.dir.join("one.toml");
    std::fs::write(&one, "[[class]]\nname = \"cat\"\nlabels = [\"cat\"]\n").unwrap();
    program.expect(
        0,
        &["classes", "add", "one", "--file", one.to_str().unwrap()],
    );
    let told = zero_shot(&["--classes", "one", "--checkpoint", clip]);
    assert!(
        told.contains("say what everything else is called"),
        "{told}"
    );
    program.expect(
        0,
        &[
            "heads",
            "zero-shot",
            "x",
            "--embedder",
            "clip",
            "--classes",
            "one",
            "--checkpoint",
            clip,
            "--background",
            "background",
        ],
    );
}

#[test]
fn sam_gives_the_neck_under_each_mask_and_the_masks_own_token() {
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/sam/wide.png");
    let photo = image::open(photo).unwrap().to_rgb8();
    let checkpoint = Checkpoint::open(CHECKPOINT).unwrap();
    let config = checkpoint.config().unwrap();
    let (dim, side) = (config.prompt_dim, config.image_size);
    let options = MaskOptions {
        points_per_side: 4,
        crop_n_layers: 1,
        crop_nms_thresh: 1.0,
        ..MaskOptions::default()
    };
    let load = || checkpoint.load(&device()).unwrap();
    let generator = MaskGenerator::new(load(), device(), options, 16)
        .unwrap()
        .with_neck();
    let masks = generator.generate(&photo).unwrap();
    let sam = load();
    let grid = config.grid_size();
    let mut compared = 0;
    for mask in masks.iter().filter(|mask| !mask.rle.is_empty()) {
        let token = mask.token(dim).unwrap();
        assert_eq!(
            token,
            &mask.embedding[mask.mask_output * dim..(mask.mask_output + 1) * dim]
        );
        // The crop's embedding, averaged over the mask's pixels at many samples each.
        let crop = mask.crop;
        let size = Size {
            height: crop.height(),
            width: crop.width(),
        };
        let part = image::imageops::crop_imm(&photo, crop.left, crop.top, size.width, size.height);
        let prepared = PreparedImage::new(part.to_image().as_raw(), size, side).unwrap();
        let frame = prepared.frame;
        let embedding = sam
            .encode_image(prepared.into_tensor(&device()))
            .cells
            .into_data();
        let embedding: Vec<f32> = embedding.iter::<f32>().collect();
        let bitmap = mask.rle.to_row_major();
        let (mut sum, mut count) = (vec![0f64; dim], 0f64);
        const FINE: u32 = 16;
        for y in 0..size.height * FINE {
            for x in 0..size.width * FINE {
                let (row, column) = (y / FINE + crop.top, x / FINE + crop.left);
                if bitmap[(row * photo.width() + column) as usize] == 0 {
                    continue;
                }
                let sample = [x, y].map(|at| (f64::from(at) + 0.5) / f64::from(FINE));
                let cell = frame
                    .model_from_image(sample)
                    .map(|at| (at / 16.0) as usize);
                count += 1.0;
                for (channel, sum) in sum.iter_mut().enumerate() {
                    *sum += f64::from(embedding[(channel * grid + cell[1]) * grid + cell[0]]);
                }
            }
        }
        let largest = embedding.iter().fold(0f32, |most, x| most.max(x.abs()));
        for (found, sum) in mask.neck.as_ref().unwrap().iter().zip(&sum) {
            let expected = sum / count;
            assert!(
                (f64::from(*found) - expected).abs() < 0.02 * f64::from(largest),
                "{found} {expected}"
            );
        }
        compared += 1;
        if compared == 12 {
            break;
        }
    }
    assert_eq!(compared, 12);

    let store = store();
    let program = &store.program;
    let again = [
        "extract",
        "--checkpoint",
        CHECKPOINT,
        "--points-per-side",
        "5",
        "--vectors",
        "neck,token",
    ];
    program.expect(0, &again);
    let counts = store.sql(
        "SELECT (SELECT count(*) FROM vectors.sam_neck) AS neck, (SELECT count(*) FROM vectors.sam_token) AS token,
                (SELECT count(*) FROM masks m JOIN embeddings e ON e.extractor_id = m.extractor_id
                 AND e.image_id = m.image_id AND e.vectors > 0 WHERE m.area > 0) AS masks",
    );
    assert!(counts[0]["neck"].as_i64().unwrap() > 20);
    assert_eq!(counts[0]["neck"], counts[0]["token"]);
    // Each image is done by two embedders.
    assert_eq!(
        counts[0]["masks"].as_i64().unwrap(),
        2 * counts[0]["neck"].as_i64().unwrap()
    );
    program.expect(0, &["classes", "add", "all", "--from", "labels"]);
    let extractor = store.sql("SELECT DISTINCT extractor_id FROM vectors.sam_neck");
    program.expect(
        0,
        &[
            "train",
            "--name",
            "h",
            "--classes",
            "all",
            "--epochs",
            "2",
            "--where",
            "true",
            "--validation",
            "0",
            "--vectors",
            "sam_token,sam_neck,shape",
            "--extractor",
            extractor[0]["extractor_id"].as_str().unwrap(),
        ],
    );
    program.expect(0, &["annotate", "--head", "h"]);
    assert!(program.expect(0, &["check"]).contains("healthy"));
}

#[test]
fn the_example_goes_from_words_to_metrics_and_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = root.join("tests/data/import");
    let clip = random_clip(&dir.path().join("clip"), 9);
    let output = std::process::Command::new("bash")
        .arg(root.join("examples/10_words.sh"))
        .args(["--points-per-side", "3"])
        .env("DIR", dir.path())
        .env("GRAINSTORE", PROGRAM)
        .env("SAM", CHECKPOINT)
        .env("CLIP", clip)
        .env("EMBEDDING_DIM", "128")
        .env("ANNOTATIONS", data.join("coco.json"))
        .env("IMAGES", data.join("photos"))
        .output()
        .unwrap();
    let (told, wrong) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{wrong}");
    assert!(
        told.contains("miou") && told.contains("made head 'words'"),
        "{told}"
    );
    let sheet = image::open(dir.path().join("cats.png")).unwrap();
    assert!(sheet.width() > 100 && sheet.height() > 100);
}

#[test]
fn vectors_that_do_not_fit_their_marks_and_masks_are_found() {
    let store = store();
    let program = &store.program;
    store.embed(&[
        "--checkpoint",
        &fixture("dinov2.safetensors"),
        "--name",
        "dino",
    ]);
    assert!(program.expect(0, &["check"]).starts_with("healthy"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let opened = grainstore::store::Store::open(program.store.to_str().unwrap())
            .await
            .unwrap();
        let snapshot = opened.snapshot().await.unwrap();
        let id = grainstore::catalogue::find_embedder(&snapshot, "dino")
            .await
            .unwrap()
            .embedder_id;
        let table = StoreTable::Vectors(VectorTable::Masks, id);
        let stored = snapshot
            .scan(table.clone())
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        // A vector twice, and one of a mask that is not there.
        let first = stored[0].slice(0, 1);
        let index: arrow::array::ArrayRef =
            std::sync::Arc::new(arrow::array::Int32Array::from(vec![9999]));
        let columns = vec![
            first.column(0).clone(),
            first.column(1).clone(),
            index,
            first.column(3).clone(),
        ];
        let stray = arrow::array::RecordBatch::try_new(first.schema(), columns).unwrap();
        let batches = [first, stray];
        let commit = opened.commit("test", |_| {
            let (table, batches) = (table.clone(), batches.clone());
            async move {
                let mut changes = grainstore::store::Changes::new();
                for batch in batches {
                    changes.append(table.clone(), batch);
                }
                Ok(changes)
            }
        });
        commit.await.unwrap();
    });
    let found = program.run(&["--json", "check"]);
    assert_eq!(found.status.code(), Some(1));
    let found: Value = serde_json::from_slice(&found.stdout).unwrap();
    let names: Vec<&str> = found["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["check"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "check/embeddings_vectors",
            "check/vectors_once",
            "check/vectors_without_mask"
        ]
    );
}
