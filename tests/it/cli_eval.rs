//! The program on what heads can reach, and on the rules by which masks become a semantic map.

use std::collections::BTreeMap;
use std::path::Path;

use grainstore::eval::{CeilingRequest, ceiling};
use grainstore::progress::NoProgress;
use serde_json::{Value, json};

use crate::eval_store::{annotated_store, import};
use crate::harness::{Program, photos};
use crate::support::{Asks, CHECKPOINT, new_place};

/// A metric over all classes.
fn metric(evaluation: &Value, name: &str) -> f64 {
    let mut metrics = evaluation["metrics"].as_array().unwrap().iter();
    let found = metrics.find(|it| it["metric"] == name && it["class"].is_null());
    found.unwrap()["value"].as_f64().unwrap()
}

/// A number as the program prints it.
fn printed(value: &Value) -> String {
    value
        .as_f64()
        .map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// A result with its fractions to 12 decimals: the last digits of a mean depend on the order in which threads give its parts.
fn to_12_decimals(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => {
            let number = number.as_f64().unwrap();
            ((number * 1e12).round() / 1e12).into()
        }
        Value::Array(values) => values.iter().map(to_12_decimals).collect(),
        Value::Object(values) => {
            let values = values.iter();
            Value::Object(
                values
                    .map(|(key, it)| (key.clone(), to_12_decimals(it)))
                    .collect(),
            )
        }
        other => other.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ceiling_is_printed_stores_nothing_and_stands_in_the_report() {
    let (dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let program = Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: new_place(&dir).into(),
    };
    let of_classes = ["eval", "--ceiling", "--classes", "shapes", "--json"];
    let best = program.json(&of_classes);
    let of_head = ["eval", "--ceiling", "--head", "masks"];
    let by_head = program.json(&[&of_head[..], &["--json"]].concat());
    assert_eq!(to_12_decimals(&by_head), to_12_decimals(&best));
    let request = CeilingRequest {
        classes: Some("shapes".to_owned()),
        ..CeilingRequest::default()
    };
    let snapshot = store.snapshot().await.unwrap();
    let found = ceiling(&snapshot, &request, &NoProgress).await.unwrap();
    let by_library = serde_json::to_value(&found).unwrap();
    assert_eq!(to_12_decimals(&best), to_12_decimals(&by_library));
    let stored = ["sql", "SELECT count(*) AS n FROM evaluations"];
    assert_eq!(program.expect(0, &stored), "n\n0\n");

    let (iou, rows) = (
        best["iou"].as_array().unwrap(),
        best["rows"].as_array().unwrap(),
    );
    assert!(iou.len() > 2 && rows.len() > iou.len());
    let of_rows = rows
        .iter()
        .flat_map(|row| ["mean_iou", "ar_100", "ap50"].map(|name| &row[name]));
    let values = iou.iter().map(|it| &it["value"]).chain(of_rows);
    let values: Vec<f64> = values
        .chain([&best["miou"]])
        .filter_map(Value::as_f64)
        .collect();
    assert!(values.len() > 20);
    assert!(values.iter().all(|value| (0.0..=1.0).contains(value)));
    for row in rows {
        let count = |name: &str| row[name].as_i64().unwrap();
        assert!((0..=count("objects")).contains(&count("uncovered")));
    }

    // A head cannot do better with these masks.
    let own = program.json(&["eval", "--head", "masks", "--json"]);
    let best_miou = best["miou"].as_f64().unwrap();
    assert!(metric(&own, "miou") < best_miou);
    let overall = found.overall().unwrap();
    assert!(metric(&own, "ap50") < overall.ap50.unwrap());
    assert_ne!(program.expect(0, &stored), "n\n0\n");

    // The same figures for people.
    let text = program.expect(0, &of_head);
    let miou = format!("\n  mIoU {:>11}\n", printed(&best["miou"]));
    assert!(text.contains(&miou), "{text}");
    let of_classes = rows
        .iter()
        .filter(|row| row["area"] == "all" && !row["class"].is_null());
    let mut lines = 0;
    for row in of_classes {
        let class = row["class"].as_str().unwrap();
        let mut found = text.lines().map(|line| line.split_whitespace());
        let line = found.find(|words| words.clone().next() == Some(class));
        let line: Vec<&str> = line.unwrap().collect();
        let iou = iou.iter().find(|it| it["class"] == class).unwrap();
        let expected = [
            class.to_owned(),
            row["objects"].to_string(),
            printed(&row["mean_iou"]),
            printed(&row["ar_100"]),
            printed(&row["ap50"]),
            printed(&iou["value"]),
        ];
        // Two words are a percentage.
        assert_eq!([&line[..2], &line[4..]].concat(), expected, "{text}");
        lines += 1;
    }
    assert!(lines > 2, "{text}");

    let page = dir.path().join("page.html");
    let report = ["report", "--head", "masks", "--images", "0", "-o"];
    program.expect(0, &[&report[..], &[page.to_str().unwrap()]].concat());
    let page = std::fs::read_to_string(page).unwrap();
    let sentence = format!(
        "scores it by its IoU: mIoU {best_miou:.3}, where this head has {:.3}.",
        metric(&own, "miou")
    );
    assert!(page.contains(&sentence), "{sentence}");

    let none = program.fails(&["eval", "--ceiling"]);
    assert!(none.contains("--ceiling needs --classes"), "{none}");
    let other = program.fails(&["eval", "--ceiling", "--classes", "shape"]);
    assert!(other.contains("there is no class set 'shape'"), "{other}");
}

/// How many pixels of the label maps in a directory have each value but 0.
fn pixels(maps: &Path) -> BTreeMap<u8, i64> {
    let mut counts = BTreeMap::new();
    for entry in std::fs::read_dir(maps).unwrap() {
        let map = image::open(entry.unwrap().path()).unwrap().to_luma8();
        for pixel in map.pixels() {
            *counts.entry(pixel.0[0]).or_insert(0) += 1;
        }
    }
    counts.remove(&0);
    counts
}

#[test]
fn rules_of_the_semantic_map_are_recorded_and_change_it() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: dir.path().join("store"),
    };
    let photos = photos(dir.path(), 12);
    program.expect(0, &["init", "--embedding-dim", "128"]);
    program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    let extract = ["extract", "--checkpoint", CHECKPOINT];
    program.expect(0, &[&extract[..], &["--points-per-side", "2"]].concat());
    program.expect(0, &["classes", "add", "all", "--from", "labels"]);
    let train =
        "train --name h --classes all --loss mil --dropout 0 -a 4 --batch-images 4 --epochs 150";
    let train: Vec<&str> = train.split_whitespace().collect();
    program.expect(0, &train);

    let annotate = |more: &[&str]| {
        let args = ["annotate", "--head", "h", "--json", "--score-threshold"];
        program.json(&[&args[..], more].concat())
    };
    // With a threshold of 1 nothing is kept, so nothing can be painted; all masks vote, kept or not.
    let rules = [
        ("1", "paint", Value::Null, ""),
        ("0", "paint", Value::Null, ""),
        ("1", "vote:0", json!({ "vote": 0.0 }), ", 0.0"),
        ("1", "vote:0.4", json!({ "vote": 0.4 }), ", 0.4"),
    ];
    let mut maps = Vec::new();
    for (threshold, map, stored, tau) in rules {
        let summary = annotate(&[threshold, "--map", map]);
        assert_eq!(
            (&summary["images"], &summary["done"]),
            (&json!(12), &json!(0)),
            "{map}"
        );
        let policy = summary["policy_id"].as_str().unwrap();
        let policies = program.json(&["query", "annotate/policies", "--json"]);
        let mut policies = policies.as_array().unwrap().iter();
        let row = policies.find(|row| row["policy_id"] == policy).unwrap();
        let recorded: Value = serde_json::from_str(row["policy"].as_str().unwrap()).unwrap();
        assert_eq!(recorded["map"], stored, "{map}");

        let out = dir.path().join(policy);
        let export = ["export", "label-maps", "--head", "h", "--policy", policy];
        program.expect(0, &[&export[..], &["-o", out.to_str().unwrap()]].concat());
        let found = pixels(&out.join("maps"));
        let is_drawn = if tau.is_empty() { "p.kept" } else { "true" };
        let sql = format!(
            "SELECT part['class_index'] + 1 AS value, sum(rle_area(part['rle'])) AS pixels
             FROM (SELECT unnest(semantic_map(m.rle, p.class_index, p.score, p.mask_index{tau})) AS part
                   FROM predictions p
                   JOIN masks m ON m.image_id = p.image_id AND m.extractor_id = p.extractor_id AND m.mask_index = p.mask_index
                   WHERE p.policy_id = '{policy}' AND {is_drawn}
                   GROUP BY p.image_id)
             GROUP BY 1"
        );
        let expected = program.json(&["sql", &sql, "--json"]);
        let expected = expected.as_array().unwrap().iter();
        let expected: BTreeMap<u8, i64> = expected
            .map(|row| {
                let number = |name: &str| row[name].as_i64().unwrap();
                (u8::try_from(number("value")).unwrap(), number("pixels"))
            })
            .collect();
        assert_eq!(found, expected, "{map}");
        maps.push(found);
    }
    assert!(maps[0].is_empty(), "{maps:?}");
    assert!(maps[1..].iter().all(|map| !map.is_empty()), "{maps:?}");
    assert_ne!(maps[2], maps[3]);

    // The same rule again is the same policy; without one, masks vote.
    let again = annotate(&["1", "--map", "vote:0.4"]);
    assert_eq!((&again["images"], &again["done"]), (&json!(0), &json!(12)));
    let plain = annotate(&["1"]);
    let same = annotate(&["1", "--map", "vote:0.5"]);
    assert_eq!(
        (&same["policy_id"], &same["done"]),
        (&plain["policy_id"], &json!(12))
    );
    for (map, part) in [
        ("vote:7", "'7' is not a minimum mean score of a vote"),
        ("voe", "expected paint, vote, or vote:TAU"),
    ] {
        let message = program.fails(&["annotate", "--head", "h", "--map", map]);
        assert!(message.contains(part), "{message}");
    }
}
