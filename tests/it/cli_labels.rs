//! The program on queues and labels of masks: `queue`, `propagate`, `label ground-truth`, and `labels list`, `confirm`, `undo`.

use std::collections::HashMap;

use grainstore::head::{Loss, TrainOptions, TrainRequest};
use grainstore::progress::NoProgress;
use grainstore::review::{QueueKind, QueueRequest, queue};
use grainstore::selection::ImageFilter;
use serde_json::{Value, json};

use crate::harness::Program;
use crate::made_store::{Made, made_in_directory};
use crate::predicted_store::{Prediction, predicted_store, rectangle};
use crate::support::{Asks, image, new_place};

const LABELS: [&str; 2] = ["cat", "dog"];
const CLASSES: [(&str, &[&str]); 2] = [("cat", &["cat"]), ("dog", &["dog"])];

/// 12 images, the even ones of cats, the others of dogs; masks 0 to 2 of each show its label, the others nothing.
async fn two_kinds() -> (Made, Program) {
    let made = made_in_directory().await;
    made.add_classes(&LABELS, 6, 0).await;
    let program = Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: made.dir.path().join("store"),
    };
    (made, program)
}

fn rows(printed: &Value) -> &[Value] {
    printed.as_array().unwrap()
}

fn ids(rows: &[Value]) -> Vec<&str> {
    let ids = rows.iter().map(|row| row["mask_label_id"].as_str());
    let mut ids: Vec<&str> = ids.map(Option::unwrap).collect();
    ids.sort_unstable();
    ids
}

/// The label of image `n`.
fn label_of(n: u32) -> &'static str {
    LABELS[n as usize % 2]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_queue_gives_masks_in_its_order_and_says_why() {
    let (made, program) = two_kinds().await;
    let set = made.classes("two", &CLASSES).await;
    let base = made.request("h", set).await;
    let request = TrainRequest {
        options: TrainOptions {
            members: 2,
            epochs: Some(40),
            loss: Some(Loss::MilDistill),
            ..base.options.clone()
        },
        ..base
    };
    made.train(request).await.unwrap();
    let annotate = ["annotate", "--head", "h", "--score-threshold", "0.6"];
    program.expect(0, &annotate);
    let name = image(0).file_name;
    program.expect(0, &["label", "mask", &name, "0", "--is", "dog"]);

    let unknown = program.fails(&["queue", "typo", "--head", "h"]);
    assert!(unknown.contains("'typo' is not a queue"), "{unknown}");
    let (_, known) = unknown.split_once("expected ").unwrap();
    let known = known.lines().next().unwrap().replace(" or ", ", ");
    let kinds: Vec<&str> = known.split(", ").collect();
    assert_eq!(kinds.len(), 9, "{unknown}");
    let numbers: HashMap<String, u32> = (0..12)
        .map(|n| (image(n).image_id.to_string(), n))
        .collect();
    let snapshot = made.store.snapshot().await.unwrap();
    for word in kinds {
        let printed = program.json(&["queue", word, "--head", "h", "-k", "5", "--json"]);
        let kind: QueueKind = word.parse().unwrap();
        let request = QueueRequest {
            kind,
            head: kind.needs_head().then(|| "h".to_owned()),
            extractor: None,
            policy: None,
            images: ImageFilter::default(),
            count: 5,
            vectors: None,
            seed: 0,
        };
        let expected = queue(&snapshot, &request, &NoProgress).await.unwrap();
        let expected: Vec<Value> = expected
            .iter()
            .map(|mask| {
                let n = numbers[mask.image_id.as_str()];
                let mut row = serde_json::to_value(mask).unwrap();
                row["file_name"] = image(n).file_name.into();
                row
            })
            .collect();
        assert_eq!(rows(&printed), expected, "{word}");
        let said =
            |row: &Value| row["image_id"] == image(0).image_id.as_str() && row["mask_index"] == 0;
        let of = |row: &Value| label_of(numbers[row["image_id"].as_str().unwrap()]);
        match kind {
            QueueKind::MaskLabelErrors => {
                assert_eq!(expected.len(), 1, "{expected:?}");
                assert!(said(&expected[0]) && expected[0]["class"] == "cat");
                let why = expected[0]["why"].as_str().unwrap();
                assert!(why.starts_with("labelled dog, "), "{why}");
            }
            QueueKind::ImageLabelErrors => {
                assert!((1..=5).contains(&expected.len()));
                for row in &expected {
                    let why = row["why"].as_str().unwrap();
                    let labelled = format!("in an image that is labelled {}", of(row));
                    assert!(row["class"] != of(row) && why.ends_with(&labelled), "{row}");
                }
            }
            _ => {
                assert_eq!(expected.len(), 5, "{word}");
                assert!(!expected.iter().any(said), "{word}: it is labelled");
            }
        }
    }

    let without = program.fails(&["queue", "uncertain"]);
    assert!(without.contains("give it with --head"), "{without}");
    let any = program.json(&["queue", "unlabelled", "-k", "3", "--json"]);
    assert_eq!(rows(&any).len(), 3);
    let condition = format!("file_name = '{}'", image(3).file_name);
    let of_image = ["queue", "uncertain", "--head", "h", "--where", &condition];
    let of_image = program.json(&[&of_image[..], &["--json"]].concat());
    let sql =
        format!("SELECT mask_index FROM masks JOIN images USING (image_id) WHERE {condition}");
    let masks = made.query(&sql).await.unwrap();
    let masks: usize = masks.iter().map(|batch| batch.num_rows()).sum();
    assert_eq!(rows(&of_image).len(), masks);
    let id = image(3).image_id;
    assert!(
        rows(&of_image)
            .iter()
            .all(|row| row["image_id"] == id.as_str())
    );

    // For people, a line for each mask.
    let few = ["queue", "threshold", "--head", "h", "-k", "2"];
    let printed = program.json(&[&few[..], &["--json"]].concat());
    let output = program.run(&few);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    for (line, row) in lines[1..].iter().zip(rows(&printed)) {
        let (name, why) = (row["file_name"].as_str(), row["why"].as_str());
        assert!(
            line.contains(name.unwrap()) && line.ends_with(why.unwrap()),
            "{text}"
        );
    }
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.starts_with("2 masks in the queue 'threshold'"),
        "{told}"
    );
}

#[tokio::test]
async fn a_queue_without_masks_is_no_error() {
    let (_made, program) = two_kinds().await;
    let none = ["queue", "unlabelled", "--where", "width < 0"];
    assert_eq!(program.json(&[&none[..], &["--json"]].concat()), json!([]));
    assert_eq!(program.expect(0, &none), "");
}

#[tokio::test]
async fn labels_are_listed_confirmed_and_taken_back() {
    let (_made, program) = two_kinds().await;
    let list = || program.json(&["labels", "list", "--json"]);
    assert_eq!(list(), json!([]));
    for n in [0, 1] {
        let name = image(n).file_name;
        let say = ["label", "mask", &name, "0", "--is", label_of(n)];
        program.expect(0, &[&say[..], &["--reviewer", "anna"]].concat());
    }
    let propagate = "propagate --min-score 0.5 --min-margin 0.1 --json";
    let propagate: Vec<&str> = propagate.split_whitespace().collect();
    let spread = program.json(&propagate);
    // Three masks of each image show its label; one of each label is labelled by hand.
    assert_eq!(
        (&spread["labelled"], &spread["labels"]),
        (&json!(2), &json!({ "cat": 17, "dog": 17 }))
    );

    let all = list();
    let all = rows(&all);
    assert_eq!(all.len(), 36);
    assert!(all[..2].iter().all(|row| row["reviewer"] == "anna"));
    assert!(all[2..].iter().all(|row| row["origin"] == "propagated"));
    let newest = program.json(&["labels", "list", "--limit", "3", "--json"]);
    assert_eq!(rows(&newest), &all[33..]);
    let text = program.expect(0, &["labels", "list", "--limit", "3"]);
    assert_eq!(text.lines().count(), 4, "{text}");
    for (line, row) in text.lines().zip(rows(&newest)) {
        let id = row["mask_label_id"].as_str().unwrap();
        let label = row["label"].as_str().unwrap();
        assert!(line.starts_with(&id[..8]), "{line}");
        assert!(
            line.contains(&format!(": is {label}  (propagated 0.")),
            "{line}"
        );
    }
    assert!(
        text.ends_with("33 older ones: --limit 36 shows them\n"),
        "{text}"
    );

    // Ben confirms all cats and one dog: his words have theirs as their proof.
    let spread = |label: &str| -> Vec<Value> {
        let all = list();
        let of_label = rows(&all).iter().filter(|row| row["label"] == label);
        of_label
            .filter(|row| row["origin"] == "propagated")
            .cloned()
            .collect()
    };
    let (cats, dogs) = (spread("cat"), spread("dog"));
    let confirm = |more: &[&str]| {
        let args = ["labels", "confirm", "--reviewer", "ben"];
        program.expect(0, &[&args[..], more].concat())
    };
    let told = confirm(&["--propagated", "--label", "cat", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((rows(&told).len(), ids(rows(&told))), (17, ids(&cats)));
    let dog = dogs[0]["mask_label_id"].as_str().unwrap();
    let told = confirm(&[&dog[..12]]);
    assert!(told.ends_with("\n1 label confirmed\n"), "{told}");
    let bens = || -> Vec<Value> {
        let all = list();
        rows(&all)
            .iter()
            .filter(|row| row["reviewer"] == "ben")
            .cloned()
            .collect()
    };
    let confirmed = bens();
    assert_eq!(confirmed.len(), 18);
    for row in &confirmed {
        let proof = cats.iter().chain(&dogs[..1]);
        let mut proof = proof.filter(|it| it["mask_label_id"] == row["proof"]);
        let proof = proof.next().unwrap();
        for column in ["image_id", "mask_index", "label", "verdict"] {
            assert_eq!(row[column], proof[column], "{column}");
        }
        assert_eq!(
            (&row["origin"], &row["score"]),
            (&json!("review"), &Value::Null)
        );
    }

    // What was spread is taken back by label, then all; what was confirmed stays.
    let undo = |more: &[&str]| {
        let args = ["labels", "undo", "--json"];
        program.json(&[&args[..], more].concat())
    };
    let taken = undo(&["--propagated", "--label", "dog"]);
    assert_eq!(ids(rows(&taken)), ids(&dogs));
    assert_eq!((spread("cat").len(), spread("dog").len()), (17, 0));
    let gone = program.fails(&["labels", "undo", "--propagated", "--label", "dog"]);
    assert!(gone.contains("no label 'dog' was propagated"), "{gone}");
    assert_eq!(ids(rows(&undo(&["--propagated"]))), ids(&cats));
    assert_eq!(bens(), confirmed);
    let left = list();
    assert_eq!(rows(&left).len(), 20);

    // The last are those that the list ends with.
    let last = undo(&["--last", "2"]);
    assert_eq!(ids(rows(&last)), ids(&rows(&left)[18..]));
    let left = list();
    assert_eq!(rows(&left).len(), 18);
    let first = rows(&left)[0]["mask_label_id"].as_str().unwrap();
    assert_eq!(ids(rows(&undo(&[&first[..12]]))), [first]);
    assert_eq!(list().as_array().map(Vec::len), Some(17));
    for (args, part) in [
        (
            &["labels", "undo", "zz"][..],
            "no label that counts has the id 'zz'",
        ),
        (&["labels", "undo", first], "no label that counts"),
        (
            &["labels", "confirm", "zz"],
            "no label that counts has the id 'zz'",
        ),
        (&["labels", "undo"], "required arguments"),
        (&["labels", "confirm"], "required arguments"),
    ] {
        let message = program.fails(args);
        assert!(message.contains(part), "{args:?}: {message}");
    }
    assert_eq!(list().as_array().map(Vec::len), Some(17));
}

#[tokio::test]
async fn annotated_objects_label_masks_by_a_command() {
    // The data set has a boat on a.png and one on d.png, both in the same place, and says nothing of b.png.
    let boat = [23, 1, 6, 5];
    let part_of_it = [23, 1, 2, 5];
    let elsewhere = [2, 10, 8, 8];
    let prediction = |photo, place| Prediction {
        photo,
        class: "cat",
        score: 0.9,
        mask: rectangle(place),
    };
    let (dir, _store) = predicted_store(&[
        prediction("a.png", boat),
        prediction("a.png", elsewhere),
        prediction("a.png", part_of_it),
        prediction("sub/b.png", boat),
        prediction("d.png", boat),
    ])
    .await;
    let program = Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: new_place(&dir).into(),
    };
    let anna = ["--is", "cat", "--reviewer", "anna", "--json"];
    let first = program.json(&[&["label", "mask", "a.png", "1"][..], &anna].concat());
    let summary = |added: u64, unchanged: u64, contradicting: u64| {
        json!({
            "added": added, "unchanged": unchanged, "replaced": 0, "contradicting": contradicting
        })
    };
    assert_eq!(first, summary(1, 0, 0));

    let label = ["label", "ground-truth", "--json"];
    let one = ["--dataset", "d", "--where", "file_name = 'd.png'"];
    let one = program.json(&[&label[..], &one].concat());
    assert_eq!(one, summary(1, 0, 0));
    // With one annotated data set, none must be named. A mask that is no object shows none of any class, whatever anna says.
    assert_eq!(program.json(&label), summary(2, 1, 1));
    let said = "SELECT file_name, mask_index, coalesce(label, 'none') AS label, verdict, origin
                FROM mask_labels JOIN images USING (image_id)
                WHERE reviewer IS NULL ORDER BY file_name, mask_index";
    let row = |name: &str, mask_index: i32, label: &str| {
        json!({
            "file_name": name, "mask_index": mask_index, "label": label, "verdict": "is",
            "origin": "ground-truth"
        })
    };
    let expected = json!([
        row("a.png", 0, "boat"),
        row("a.png", 1, "none"),
        row("d.png", 0, "boat")
    ]);
    assert_eq!(program.json(&["sql", said, "--json"]), expected);
    let text = program.expect(0, &label[..2]);
    assert_eq!(text, "0 labels added\n3 labels said before\n");
    let listed = program.expect(0, &["labels", "list"]);
    assert!(
        listed.contains(" mask 1: is none of any class  (ground-truth, "),
        "{listed}"
    );
    assert!(
        listed.contains(" mask 0: is boat  (ground-truth, "),
        "{listed}"
    );

    let not_annotated = ["--where", "file_name = 'sub/b.png'"];
    for (more, part) in [
        (&not_annotated[..], "is in an annotated image"),
        (
            &["--dataset", "typo"],
            "there is no data set with annotations 'typo'",
        ),
        (&["--where", "colour = 1"], "No field named colour"),
    ] {
        let message = program.fails(&[&label[..2], more].concat());
        assert!(message.contains(part), "{more:?}: {message}");
    }
}
