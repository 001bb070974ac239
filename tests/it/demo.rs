//! `grainstore demo` and the scripts of examples/, on a few photos.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::Program;
use crate::support::Asks;

fn example(name: &str, dir: &Path, args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    let output = Command::new("bash")
        .arg(&script)
        .args(args)
        .env("DIR", dir)
        .env("GRAINSTORE", env!("CARGO_BIN_EXE_grainstore"))
        .env_remove("GRAINSTORE_LOG")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// Checks that tables, exported file and report say the same of a head as the demo's summary, and that it is better than chance.
fn check_head(program: &Program, place: &Path, summary: &Value) {
    let head = summary["head"].as_str().unwrap();
    let ask = |sql: &str| program.json(&["sql", sql, "--json"]);
    let of_head = format!("JOIN heads h ON h.head_id = p.head_id AND h.head = '{head}'");
    let masks = ask(&format!(
        "SELECT (SELECT count(*) FROM predictions p {of_head}) AS predicted,
                (SELECT count(*) FROM masks JOIN images USING (image_id) WHERE split = 'test') AS found"
    ));
    let masks = &masks[0];
    assert_eq!(masks["predicted"], masks["found"], "{head}");

    let kept = ask(&format!(
        "SELECT p.class, count(*) AS kept FROM predictions p {of_head} WHERE p.kept GROUP BY p.class"
    ));
    let kept = kept.as_array().unwrap().iter();
    let kept: BTreeMap<&str, i64> = kept
        .map(|row| {
            (
                row["class"].as_str().unwrap(),
                row["kept"].as_i64().unwrap(),
            )
        })
        .collect();
    assert!(!kept.is_empty(), "{head}");
    let file = std::fs::read(place.join(format!("{head}.json"))).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    let categories = file["categories"].as_array().unwrap();
    let mut exported = BTreeMap::new();
    for annotation in file["annotations"].as_array().unwrap() {
        let id = &annotation["category_id"];
        let category = categories.iter().find(|it| it["id"] == *id).unwrap();
        *exported
            .entry(category["name"].as_str().unwrap())
            .or_insert(0) += 1;
    }
    assert_eq!(exported, kept, "{head}");

    let page = std::fs::read_to_string(place.join(format!("{head}.html"))).unwrap();
    let shows = |name: &str, value: &str| {
        let card = format!(">{name}</div><div class=\"number\">{value}</div>");
        assert!(page.contains(&card), "{head}: {card}");
    };
    let all: i64 = kept.values().sum();
    shows("masks kept", &format!("{all} of {}", masks["found"]));
    let number = |name: &str| summary[name].as_f64().unwrap();
    for (query, metric, name) in [("miou", "miou", "mIoU"), ("coco", "ap50", "mask AP50")] {
        let stored = ask(&format!(
            "SELECT p.value FROM evaluations p {of_head}
             WHERE p.query = 'eval/{query}' AND p.metric = '{metric}' AND p.class IS NULL"
        ));
        assert_eq!(stored, json!([{ "value": number(metric) }]), "{head}");
        shows(name, &format!("{:.3}", number(metric)));
    }

    let classes = ask(&format!(
        "SELECT count(DISTINCT c.class) AS classes
         FROM heads h
         JOIN class_sets c ON c.class_set = h.class_set AND c.version = h.class_set_version
         JOIN ground_truth g ON array_has(c.labels, g.category)
         WHERE h.head = '{head}'"
    ));
    let classes = classes[0]["classes"].as_f64().unwrap();
    // A map of one class, or of the background alone, has at most an IoU of 1 for that, and 0 for all others. Of masks whose class
    // is drawn by chance, one of as many as there are classes is right, so their precision is no better on average.
    assert!(number("miou") > 1.0 / (classes + 1.0), "{summary}");
    assert!(number("ap50") > 1.0 / classes, "{summary}");
}

#[test]
fn the_demo_goes_the_whole_way_and_so_do_the_examples() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("demo");
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grainstore"));
        let few = [
            "--train-images",
            "12",
            "--test-images",
            "2",
            "--epochs",
            "30",
        ];
        command
            .args(["demo", "--json"])
            .args(few)
            .arg("--where")
            .arg(&place);
        command.output().unwrap()
    };
    let output = run();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("$ grainstore extract --checkpoint"),
        "each step is shown"
    );
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps: Vec<&str> = summary["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it[0].as_str().unwrap())
        .collect();
    assert!(
        steps.contains(&"extracting (SAM, once)") && steps.contains(&"training 'coarse'"),
        "{steps:?}"
    );
    let heads = summary["heads"].as_array().unwrap();
    assert_eq!(
        (heads.len(), &heads[0]["head"], &heads[1]["classes"]),
        (2, &"fine".into(), &3.into())
    );
    let program = Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: place.join("store"),
    };
    let counts = "SELECT (SELECT count(*) FROM images) AS images,
                         (SELECT count(*) FROM extractions) AS extracted,
                         (SELECT count(*) FROM masks) = (SELECT sum(masks) FROM extractions) AS is_whole";
    let counts = program.json(&["sql", counts, "--json"]);
    let expected = json!([{ "images": 14, "extracted": 14, "is_whole": true }]);
    assert_eq!(counts, expected);
    for head in heads {
        check_head(&program, &place, head);
    }
    for name in [
        "overlays.png",
        "fine.html",
        "coarse.html",
        "store/grainstore.json",
    ] {
        assert!(place.join(name).is_file(), "{name}");
    }
    let exported: Value =
        serde_json::from_slice(&std::fs::read(place.join("fine.json")).unwrap()).unwrap();
    assert_eq!(exported["images"].as_array().unwrap().len(), 2);
    assert_eq!(exported["categories"].as_array().unwrap().len(), 6);
    let grown = exported["categories"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "leaf")
        .unwrap();
    assert_eq!(grown["supercategory"], "grown");

    let again = run();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stdout).contains("is not empty"));

    // The examples: the first two on photos of their own, the others on the demo's store.
    let own = dir.path().join("own");
    example(
        "1_photos.sh",
        &own,
        &["--train-images", "6", "--test-images", "2"],
    );
    assert!(example("2_ingest.sh", &own, &[]).contains("scenes"));
    for name in ["fine.html", "fine.json", "overlays.png"] {
        std::fs::remove_file(place.join(name)).unwrap();
    }
    // As the demo extracted: other options would be another extractor.
    example("3_extract.sh", &place, &["--points-per-side", "8"]);
    assert!(example("4_train.sh", &place, &["--epochs", "1"]).contains("coarse"));
    example("5_annotate.sh", &place, &[]);
    assert!(example("6_sql.sh", &place, &[]).starts_with("class,kept,pixels,score\n"));
    assert!(example("7_evaluate.sh", &place, &[]).contains("miou"));
    example("8_export.sh", &place, &[]);
    example("9_look.sh", &place, &[]);
    for name in [
        "fine.json",
        "fine_polygons.json",
        "fine_results.json",
        "truth.json",
        "voc/classes.txt",
        "fine.parquet",
        "fine.html",
        "overlays.png",
    ] {
        assert!(place.join(name).is_file(), "{name}");
    }
}
