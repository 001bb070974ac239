//! COCO as its exporters write it. Files and masks are made by tests/data/coco/make.py; masks are pycocotools'.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use grainstore::export::CocoExport;
use grainstore::export::{CocoFormat, MaskStyle, export_coco};
use grainstore::ingest::CocoIngest;
use grainstore::ingest::{IngestSummary, ingest_coco};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{ClassRow, GroundTruthRow, ImageRow, LabelRow};
use serde_json::{Value, json};

use crate::export::request;
use crate::ingest::{failures, options, write_photo};
use crate::support::{new_store, rows};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/coco")
        .join(name)
}

/// What pycocotools draws of a file's annotations: run lengths, or none for a box.
fn expected(name: &str) -> Vec<Option<String>> {
    let text = std::fs::read(data("expected.json")).unwrap();
    let all: HashMap<String, Vec<Option<String>>> = serde_json::from_slice(&text).unwrap();
    all[name].clone()
}

/// The photos that the files speak of, no two alike.
fn photos(dir: &Path) -> PathBuf {
    let photos = dir.join("photos");
    let names = ["a.png", "b.png", "c.png", "d.png", "e.png", "images/a.png"];
    for (name, n) in names.into_iter().zip(1..) {
        write_photo(&photos.join(name), n, (64, 48));
    }
    write_photo(&photos.join("train2017/000000000001.png"), 9, (64, 48));
    photos
}

async fn ingest(store: &Store, photos: &Path, file: &Path) -> grainstore::Result<IngestSummary> {
    ingest_coco(
        store,
        &CocoIngest {
            annotations: file.into(),
            images: photos.into(),
            options: options("coco", None),
        },
        &NoProgress,
    )
    .await
}

/// A store with one file in it, which brings nothing when it comes again.
async fn ingested(name: &str) -> (tempfile::TempDir, Store, IngestSummary) {
    let (dir, store) = new_store().await;
    let photos = photos(dir.path());
    let summary = ingest(&store, &photos, &data(name)).await.unwrap();
    let version = store.snapshot().await.unwrap().version();
    let again = ingest(&store, &photos, &data(name)).await.unwrap();
    assert_eq!((again.ground_truth_added, again.labels_added), (0, 0));
    assert_eq!(again.failed, summary.failed);
    assert_eq!(store.snapshot().await.unwrap().version(), version);
    (dir, store, summary)
}

async fn truth(store: &Store) -> Vec<GroundTruthRow> {
    rows(&store.snapshot().await.unwrap()).await
}

fn masks(truth: &[GroundTruthRow]) -> Vec<Option<String>> {
    let counts = |row: &GroundTruthRow| row.rle.as_ref().map(|rle| rle.counts.clone());
    truth.iter().map(counts).collect()
}

async fn told(store: &Store) -> BTreeMap<String, String> {
    failures(store).await.into_iter().collect()
}

#[track_caller]
fn assert_told(told: &BTreeMap<String, String>, expected: &[(&str, &str)]) {
    for (item, part) in expected {
        let reason = told.get(*item);
        let reason = reason.unwrap_or_else(|| panic!("'{item}' is not in {told:#?}"));
        assert!(reason.contains(part), "{item}: {reason}");
    }
    assert_eq!(told.len(), expected.len(), "{told:#?}");
}

#[tokio::test]
async fn flags_whole_numbers_nulls_and_boxes_in_every_spelling() {
    let (_dir, store, summary) = ingested("flags_and_numbers.json").await;
    assert_eq!((summary.ground_truth_added, summary.failed), (12, 0));
    let truth = truth(&store).await;
    // In the order of images: the sixth annotation is the second image's.
    let mut in_file: Vec<Option<String>> = expected("flags_and_numbers.json");
    let of_second = in_file.remove(5);
    in_file.push(of_second);
    assert_eq!(masks(&truth), in_file);
    let ids: Vec<_> = truth.iter().map(|row| row.external_id).collect();
    assert_eq!(ids[..3], [Some(1), Some(2), Some(3)]);
    assert_eq!(ids[10], None);
    let crowds: Vec<_> = truth.iter().map(|row| row.iscrowd).collect();
    assert_eq!(
        crowds.iter().filter(|it| **it).count(),
        2,
        "1.0 and true: {crowds:?}"
    );
    assert!(crowds[2] && crowds[3]);
    let boxes: Vec<_> = truth.iter().map(|row| row.segmentation.as_str()).collect();
    assert_eq!(boxes[5..9], ["none"; 4]);
    assert_eq!(truth[5].bbox, [5.0, 6.0, 20.0, 15.0]);
    // The square's pixels, where the file gives no area; the mask's box, where it gives none.
    assert_eq!(truth[4].area, 300.0);
    let box_of_mask = truth[3].bbox;
    assert!(box_of_mask[2] > 0.0, "{box_of_mask:?}");

    let images: Vec<ImageRow> = rows(&store.snapshot().await.unwrap()).await;
    let attributes = |at: usize| -> Value {
        serde_json::from_str(images[at].attributes.as_deref().unwrap()).unwrap()
    };
    assert_eq!(images[0].external_id, Some(1));
    assert_eq!(attributes(0)["license"], Value::Null);
    assert_eq!(attributes(1)["license"]["name"], "BY");
}

#[tokio::test]
async fn a_stray_point_costs_the_point_and_not_the_object() {
    let (_dir, store, summary) = ingested("stray_points.json").await;
    assert_eq!((summary.ground_truth_added, summary.failed), (2, 3));
    assert_eq!(
        masks(&truth(&store).await),
        expected("stray_points.json")[..2]
    );
    assert_told(
        &told(&store).await,
        &[
            (
                "a.png: annotation 1",
                "segmentation[1] has 2 numbers, expected at least 6 (three points); the object is kept",
            ),
            ("a.png: annotation 2", "segmentation[0] has 4 numbers"),
            ("a.png: annotation 3", "polygon 0 has 2 numbers"),
        ],
    );
}

#[tokio::test]
async fn sizes_that_say_nothing_are_taken_from_the_photos() {
    let (_dir, store, summary) = ingested("sizes.json").await;
    assert_eq!((summary.images_added, summary.ground_truth_added), (3, 3));
    assert_eq!(masks(&truth(&store).await), expected("sizes.json")[..3]);
    assert_told(
        &told(&store).await,
        &[
            ("d.png", "annotated at 65x48, the file is 64x48"),
            (
                "sizes.json: images[4]",
                "width is 64.5, expected a whole number of pixels; the annotations of the image are left out",
            ),
        ],
    );
}

#[tokio::test]
async fn names_of_windows_are_paths_and_do_not_lead_out() {
    let (dir, store, summary) = ingested("windows.json").await;
    assert_eq!((summary.images_added, summary.ground_truth_added), (1, 1));
    let images: Vec<ImageRow> = rows(&store.snapshot().await.unwrap()).await;
    assert_eq!(images[0].file_name, "images/a.png");
    assert!(dir.path().join("photos/images/a.png").exists());
    let out = "expected a path below the image directory, none that leads out of it";
    assert_told(
        &told(&store).await,
        &[("../label/b.png", out), ("C:/data/c.png", out)],
    );
}

#[tokio::test]
async fn objects_that_share_an_id_are_all_kept() {
    let (_dir, store, summary) = ingested("same_ids.json").await;
    assert_eq!((summary.ground_truth_added, summary.failed), (3, 2));
    let found = truth(&store).await;
    assert_eq!(masks(&found), expected("same_ids.json")[..3]);
    let ids: Vec<_> = found.iter().map(|row| row.external_id).collect();
    assert_eq!(ids, [Some(4040), None, Some(4041)]);
    assert_told(
        &told(&store).await,
        &[
            (
                "same_ids.json: annotations[1] of 'b.png'",
                "its id, 4040, is that of annotations[0] of 'a.png', too; the object is kept without an id",
            ),
            (
                "same_ids.json: annotations[3] of 'b.png'",
                "it says the same as annotations[2] of 'b.png', id 4041 included, and is left out",
            ),
        ],
    );

    let (_dir, store, summary) = ingested("zero_ids.json").await;
    assert_eq!((summary.ground_truth_added, summary.failed), (3, 2));
    let found = truth(&store).await;
    assert_eq!(masks(&found), expected("zero_ids.json"));
    let ids: Vec<_> = found.iter().map(|row| row.external_id).collect();
    assert_eq!(ids, [Some(0), None, None]);
}

#[tokio::test]
async fn of_two_categories_of_one_name_the_annotated_one_is_read() {
    let (dir, store, summary) = ingested("one_raccoon.json").await;
    assert_eq!((summary.ground_truth_added, summary.failed), (1, 0));
    let classes: Vec<ClassRow> = rows(&store.snapshot().await.unwrap()).await;
    assert_eq!(classes.len(), 1);
    assert_eq!(
        (classes[0].external_id, classes[0].supercategory.as_deref()),
        (Some(1), Some("raccoon"))
    );
    let photos = dir.path().join("photos");
    let both = ingest(&store, &photos, &data("two_raccoons.json")).await;
    let message = both.unwrap_err().to_string();
    assert!(
        message.contains("categories 0 and 1 are both named 'raccoon'"),
        "{message}"
    );
}

#[tokio::test]
async fn lvis_is_named_by_its_urls_and_said_to_be_annotated_in_part() {
    let (dir, store, summary) = ingested("lvis.json").await;
    assert_eq!((summary.ground_truth_added, summary.failed), (1, 1));
    let images: Vec<ImageRow> = rows(&store.snapshot().await.unwrap()).await;
    assert_eq!(images[0].file_name, "train2017/000000000001.png");
    let attributes: Value = serde_json::from_str(images[0].attributes.as_deref().unwrap()).unwrap();
    assert_eq!(attributes["neg_category_ids"], json!([2]));
    assert_eq!(attributes["not_exhaustive_category_ids"], json!([1]));
    assert_told(
        &told(&store).await,
        &[(
            "lvis.json: images",
            "detections of the class count as false positives",
        )],
    );

    // Of a directory that is the split's own.
    let (_other, store) = new_store().await;
    let split = dir.path().join("photos/train2017");
    ingest(&store, &split, &data("lvis.json")).await.unwrap();
    let images: Vec<ImageRow> = rows(&store.snapshot().await.unwrap()).await;
    assert_eq!(images[0].file_name, "000000000001.png");
}

#[tokio::test]
async fn numbers_that_are_none_cost_one_annotation() {
    let (_dir, store, summary) = ingested("no_numbers.json").await;
    assert_eq!((summary.images_added, summary.ground_truth_added), (1, 1));
    let found = truth(&store).await;
    assert_eq!(masks(&found), expected("no_numbers.json")[1..2]);
    assert_eq!(found[0].attributes.as_deref(), Some(r#"{"score":"NaN"}"#));
    assert_told(
        &told(&store).await,
        &[
            ("a.png: annotation 1", "area is NaN, expected a number"),
            (
                "a.png: annotation 3",
                "bbox[1] is -Infinity, expected a number of pixels",
            ),
            (
                "a.png: annotation 4",
                "segmentation has a coordinate Infinity, expected a number",
            ),
            (
                "no_numbers.json: annotations[4]",
                "image_id is NaN, expected a whole number",
            ),
        ],
    );
}

#[tokio::test]
async fn keypoints_are_kept_beside_the_mask() {
    let (_dir, store, summary) = ingested("keypoints.json").await;
    assert_eq!((summary.ground_truth_added, summary.failed), (1, 0));
    let found = truth(&store).await;
    assert_eq!(masks(&found), expected("keypoints.json"));
    let attributes: Value = serde_json::from_str(found[0].attributes.as_deref().unwrap()).unwrap();
    assert_eq!(attributes["keypoints"].as_array().map(Vec::len), Some(51));
    assert_eq!(attributes["num_keypoints"], 0);
}

#[tokio::test]
async fn other_files_are_named_as_what_they_are_and_change_nothing() {
    let (dir, store) = new_store().await;
    let photos = photos(dir.path());
    for (name, part) in [
        (
            "utf16.json",
            "this is text in UTF-16, not COCO's JSON; save the file as UTF-8",
        ),
        ("latin1.json", "holds byte 0xF6, as Latin-1"),
        (
            "archive.json",
            "this is a ZIP archive, not COCO's JSON; unpack it",
        ),
        ("empty.json", "the file is empty"),
        ("login.json", "this is an HTML page"),
        (
            "captions.json",
            "this is a COCO captions file: it has no segmentations",
        ),
        ("panoptic.json", "this is a COCO panoptic file"),
    ] {
        let message = ingest(&store, &photos, &data(name)).await.unwrap_err();
        let message = message.to_string();
        assert!(
            message.contains(part) && message.contains(name),
            "{message}"
        );
    }
    assert_eq!(store.snapshot().await.unwrap().version(), 1);
    for name in ["marked.json", "packed.json.gz"] {
        ingest(&store, &photos, &data(name)).await.unwrap();
        let labels: Vec<LabelRow> = rows(&store.snapshot().await.unwrap()).await;
        assert_eq!(labels[0].label, "köter", "{name}");
        assert_eq!(truth(&store).await.len(), 1, "the same of both files");
    }
}

/// What a row says, its time aside.
fn said(rows: Vec<GroundTruthRow>) -> Vec<String> {
    let still = |row: GroundTruthRow| GroundTruthRow {
        ingested_at: crate::support::instant(0),
        ..row
    };
    let text = |row| serde_json::to_string(&still(row)).unwrap();
    let mut rows: Vec<String> = rows.into_iter().map(text).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn polygons_without_a_pixel_come_out_as_they_were_annotated() {
    let (dir, store, summary) = ingested("outlines.json").await;
    assert_eq!((summary.ground_truth_added, summary.failed), (6, 0));
    assert_eq!(masks(&truth(&store).await), expected("outlines.json"));
    let given: Value =
        serde_json::from_slice(&std::fs::read(data("outlines.json")).unwrap()).unwrap();
    let numbers = |it: &Value| -> Vec<Vec<f64>> { serde_json::from_value(it.clone()).unwrap() };
    for style in [None, Some(MaskStyle::Polygon)] {
        let file = dir.path().join("out.json");
        let snapshot = store.snapshot().await.unwrap();
        let wanted = request(None);
        export_coco(
            &snapshot,
            &CocoExport {
                export: wanted,
                format: CocoFormat::Dataset,
                style,
                file: (&file).into(),
            },
            &NoProgress,
        )
        .await
        .unwrap();
        let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let pair = |at: usize| {
            let of = |file: &Value| file["annotations"][at].clone();
            (of(&written), of(&given))
        };
        for at in 1..5 {
            let (found, wanted) = pair(at);
            assert_eq!(
                numbers(&found["segmentation"]),
                numbers(&wanted["segmentation"]),
                "{style:?}"
            );
        }
        assert_eq!(pair(2).0["note"], json!({"by": "x"}));
        assert!(pair(5).0["segmentation"]["counts"].is_string(), "a crowd");

        // Back in another store, the rows are the same; of the crowd all but its spelling.
        let (_other, again) = new_store().await;
        ingest(&again, &dir.path().join("photos"), &file)
            .await
            .unwrap();
        let objects =
            |rows: Vec<GroundTruthRow>| said(rows.into_iter().filter(|row| !row.iscrowd).collect());
        assert_eq!(objects(truth(&again).await), objects(truth(&store).await));
    }
    let file = dir.path().join("rle.json");
    let snapshot = store.snapshot().await.unwrap();
    let (wanted, style) = (request(None), Some(MaskStyle::Rle));
    export_coco(
        &snapshot,
        &CocoExport {
            export: wanted,
            format: CocoFormat::Dataset,
            style,
            file: (&file).into(),
        },
        &NoProgress,
    )
    .await
    .unwrap();
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let all = written["annotations"].as_array().unwrap();
    assert!(
        all.iter()
            .all(|it| it["segmentation"]["counts"].is_string())
    );
}
