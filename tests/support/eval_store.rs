//! A store made of the fixtures of tests/data/eval.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use grainstore::classes::{Class, ClassSet, add_class_set};
use grainstore::ids::GroundTruthId;
use grainstore::import::{ImportRequest, ImportSummary, import_coco_results};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{GroundTruthRow, ImageRow, RleRow};
use serde_json::Value;

use crate::support::{append, image, instant, new_store};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/eval")
        .join(name)
}

pub fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(data(name)).unwrap()).unwrap()
}

pub fn class(name: &str, id: Option<i64>, labels: &[&str]) -> Class {
    Class {
        name: name.to_owned(),
        supercategory: None,
        external_id: id,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        search: Vec::new(),
    }
}

/// A store with the images and annotations of the fixture, and class sets of two granularities.
pub async fn annotated_store() -> (tempfile::TempDir, Store) {
    let (dir, store) = new_store().await;
    let truth = json("truth.json");
    let mut images = Vec::new();
    let mut ids = HashMap::new();
    for (n, it) in truth["images"].as_array().unwrap().iter().enumerate() {
        let row = ImageRow {
            width: it["width"].as_i64().unwrap() as i32,
            height: it["height"].as_i64().unwrap() as i32,
            external_id: it["id"].as_i64(),
            dataset: "shapes".to_owned(),
            split: Some(if n % 2 == 0 { "even" } else { "odd" }.to_owned()),
            ..image(n as u32)
        };
        ids.insert(it["id"].as_i64().unwrap(), row.image_id.clone());
        images.push(row);
    }
    append(&store, &images).await;
    let mut names = BTreeMap::new();
    let mut classes = Vec::new();
    for it in truth["categories"].as_array().unwrap() {
        let (id, name) = (it["id"].as_i64().unwrap(), it["name"].as_str().unwrap());
        names.insert(id, name);
        classes.push(class(name, Some(id), &[name]));
    }
    for (name, classes) in [
        ("shapes", classes),
        (
            "groups",
            vec![
                class("animal", None, &["cat", "dog"]),
                class("vehicle", None, &["car", "bus", "boat"]),
            ],
        ),
        (
            "mixed",
            vec![
                class("a", None, &["cat", "car"]),
                class("b", None, &["dog"]),
            ],
        ),
    ] {
        let set = ClassSet::new(name, classes).unwrap();
        add_class_set(&store, "test", &set, "file").await.unwrap();
    }
    let annotations: Vec<GroundTruthRow> = truth["annotations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let category = it["category_id"].as_i64().unwrap();
            let size = |at: usize| it["segmentation"]["size"][at].as_i64().unwrap() as i32;
            GroundTruthRow {
                ground_truth_id: GroundTruthId::of_bytes(it["id"].to_string().as_bytes()),
                image_id: ids[&it["image_id"].as_i64().unwrap()].clone(),
                dataset: "shapes".to_owned(),
                external_id: it["id"].as_i64(),
                category: Some(names[&category].to_owned()),
                category_id: Some(category),
                rle: Some(RleRow {
                    height: size(0),
                    width: size(1),
                    counts: it["segmentation"]["counts"].as_str().unwrap().to_owned(),
                }),
                bbox: std::array::from_fn(|at| it["bbox"][at].as_f64().unwrap()),
                area: it["area"].as_f64().unwrap(),
                iscrowd: it["iscrowd"] == 1,
                is_ignored: false,
                segmentation: "rle".to_owned(),
                attributes: None,
                ingested_at: instant(0),
            }
        })
        .collect();
    append(&store, &annotations).await;
    (dir, store)
}

pub async fn import(store: &Store, name: &str) -> ImportSummary {
    let request = ImportRequest {
        split: None,
        file: data(&format!("{name}.json")),
        head: name.to_owned(),
        dataset: "shapes".to_owned(),
        classes: None,
    };
    import_coco_results(store, &request, &NoProgress)
        .await
        .unwrap()
}
