//! The way of a correction: what a head keeps goes out, a person changes it in another tool, and it comes back as ground truth,
//! which says what masks show.

use std::collections::BTreeMap;

use grainstore::catalogue::extractors_stored;
use grainstore::export::{CvatExport, LabelStudioExport, Photos, export_cvat, export_label_studio};
use grainstore::ingest::{
    CvatIngest, IngestOptions, LabelStudioIngest, ingest_cvat, ingest_label_studio,
};
use grainstore::progress::NoProgress;
use grainstore::review::{
    LabelRequest, LabelSummary, Origin, Verdict, label_masks, labels_of_ground_truth, mask_labels,
};
use grainstore::selection::ImageFilter;
use grainstore::store::Store;
use grainstore::store::rows::ImageRow;
use serde_json::{Value, json};

use crate::export::request;
use crate::predicted_store::{
    HEAD, Object, Place, Prediction, SIZE, annotated, predicted_store, rectangle,
};
use crate::support::rows;

/// The masks of the first photo: a cat; a boat that the head calls a traffic light; a cat without its right side; no object at all.
const RIGHT: Place = [2, 2, 8, 8];
const MISTAKEN: Place = [14, 2, 8, 8];
const CUT: Place = [2, 13, 8, 8];
const NOTHING: Place = [14, 13, 8, 8];
/// What the person draws there: the whole of the cat that is cut, and a cat that the head missed.
const WHOLE: Place = [2, 13, 10, 8];
const MISSED: Place = [24, 18, 4, 4];
/// The mask of the second photo, a boat.
const SECOND: Place = [5, 5, 10, 10];

async fn found() -> (tempfile::TempDir, Store) {
    let prediction = |photo, class, place| Prediction {
        photo,
        class,
        score: 0.9,
        mask: rectangle(place),
    };
    predicted_store(&[
        prediction("a.png", "cat", RIGHT),
        prediction("a.png", "traffic light", MISTAKEN),
        prediction("a.png", "cat", CUT),
        prediction("a.png", "cat", NOTHING),
        prediction("sub/b.png", "boat", SECOND),
    ])
    .await
}

/// Checks that data set 'reviewed' has what the person left and drew, and that masks get their labels by it.
async fn check_corrected(store: &Store) {
    let snapshot = store.snapshot().await.unwrap();
    let images: Vec<ImageRow> = rows(&snapshot).await;
    let id = |name: &str| {
        let image = images.iter().find(|row| row.file_name == name);
        image.unwrap().image_id.to_string()
    };
    let object = |photo: &str, class: &str, place: Place| -> Object {
        let counts = rectangle(place).to_counts_string();
        (id(photo), class.to_owned(), counts)
    };
    let mut expected = vec![
        object("a.png", "cat", RIGHT),
        object("a.png", "boat", MISTAKEN),
        object("a.png", "cat", WHOLE),
        object("a.png", "cat", MISSED),
        object("sub/b.png", "boat", SECOND),
    ];
    expected.sort();
    assert_eq!(annotated(store, "reviewed").await, expected);

    let extractors = extractors_stored(&snapshot).await.unwrap();
    let [extractor] = &extractors[..] else {
        panic!("{extractors:?}")
    };
    let all = ImageFilter::all();
    let found = labels_of_ground_truth(&snapshot, "reviewed", &extractor.extractor_id, &all).await;
    let labels = LabelRequest {
        statements: found.unwrap(),
        origin: Origin::GroundTruth,
        reviewer: None,
        file: None,
    };
    let summary = label_masks(store, &labels).await.unwrap();
    let expected = LabelSummary {
        added: 5,
        ..LabelSummary::default()
    };
    assert_eq!(summary, expected);
    let counting = mask_labels(&store.snapshot().await.unwrap()).await.unwrap();
    let said: BTreeMap<(String, i32), Option<String>> = counting
        .into_iter()
        .map(|row| {
            assert_eq!(row.verdict, Verdict::Is.word());
            assert_eq!(row.origin, Origin::GroundTruth.word());
            ((row.image_id.to_string(), row.mask_index), row.label)
        })
        .collect();
    let label = |photo: &str, mask_index: i32, label: Option<&str>| {
        ((id(photo), mask_index), label.map(str::to_owned))
    };
    let expected = BTreeMap::from([
        label("a.png", 0, Some("cat")),
        label("a.png", 1, Some("boat")),
        label("a.png", 2, Some("cat")),
        // It shows nothing of any class.
        label("a.png", 3, None),
        label("sub/b.png", 0, Some("boat")),
    ]);
    assert_eq!(said, expected);
}

#[tokio::test]
async fn what_a_person_corrects_in_cvat_labels_the_masks() {
    let (dir, store) = found().await;
    let export = CvatExport {
        export: request(Some(HEAD)),
        photos: Photos::Leave,
        directory: dir.path().join("to_cvat"),
    };
    let snapshot = store.snapshot().await.unwrap();
    let done = export_cvat(&snapshot, &export, &NoProgress).await.unwrap();
    assert_eq!((done.images, done.annotations), (2, 5));

    let mask = |[left, top, width, height]: Place, label: &str, source: &str| {
        let pixels = width * height;
        format!(
            "<mask rle=\"0, {pixels}\" left=\"{left}\" top=\"{top}\" width=\"{width}\" height=\"{height}\" \
             label=\"{label}\" source=\"{source}\""
        )
    };
    let mut text = std::fs::read_to_string(export.directory.join("annotations.xml")).unwrap();
    for (before, after) in [
        (
            mask(MISTAKEN, "traffic light", "auto"),
            mask(MISTAKEN, "boat", "auto"),
        ),
        (mask(CUT, "cat", "auto"), mask(WHOLE, "cat", "manual")),
        // One is deleted, and another drawn.
        (mask(NOTHING, "cat", "auto"), mask(MISSED, "cat", "manual")),
    ] {
        assert_eq!(text.matches(&before).count(), 1, "{before}: {text}");
        text = text.replace(&before, &after);
    }
    let task = dir.path().join("annotations.xml");
    std::fs::write(&task, text).unwrap();
    let back = CvatIngest {
        annotations: task,
        images: Some(dir.path().join("photos")),
        options: IngestOptions::of_dataset("reviewed"),
    };
    let back = ingest_cvat(&store, &back, &NoProgress).await.unwrap();
    assert_eq!((back.images_known, back.images_added), (2, 0));
    assert_eq!((back.ground_truth_added, back.failed), (5, 0));
    check_corrected(&store).await;
}

/// A rectangle as corners in hundredths of the photo's sides.
fn corners([left, top, width, height]: Place) -> Value {
    let corner = |x: usize, y: usize| {
        let (across, down) = (f64::from(SIZE.width), f64::from(SIZE.height));
        [100.0 * x as f64 / across, 100.0 * y as f64 / down]
    };
    let (right, bottom) = (left + width, top + height);
    json!([
        corner(left, top),
        corner(right, top),
        corner(right, bottom),
        corner(left, bottom)
    ])
}

#[tokio::test]
async fn what_a_person_corrects_in_label_studio_labels_the_masks() {
    let (dir, store) = found().await;
    let export = LabelStudioExport {
        export: request(Some(HEAD)),
        polygons: true,
        directory: dir.path().join("to_label_studio"),
        ..LabelStudioExport::default()
    };
    let snapshot = store.snapshot().await.unwrap();
    let done = export_label_studio(&snapshot, &export, &NoProgress).await;
    let done = done.unwrap();
    assert_eq!((done.images, done.annotations), (2, 5));

    let tasks = std::fs::read(export.directory.join("tasks.json")).unwrap();
    let mut tasks: Vec<Value> = serde_json::from_slice(&tasks).unwrap();
    let mut changed = 0;
    for (task, number) in tasks.iter_mut().zip(1..) {
        // An annotation begins as a copy of the prediction, which stays.
        let mut regions = task["predictions"][0]["result"].clone();
        let is_first = task["data"]["image"].as_str().unwrap().ends_with("a.png");
        for region in regions.as_array_mut().unwrap().iter_mut() {
            let mask = region["id"].as_str().unwrap().to_owned();
            match mask.as_str() {
                "mask1" if is_first => region["value"]["polygonlabels"] = json!(["boat"]),
                "mask2" if is_first => region["value"]["points"] = corners(WHOLE),
                // One is deleted, and another drawn.
                "mask3" if is_first => {
                    region["id"] = json!("drawn");
                    region["value"]["points"] = corners(MISSED);
                    region.as_object_mut().unwrap().remove("score");
                }
                _ => continue,
            }
            changed += 1;
        }
        task["id"] = json!(number);
        task["annotations"] = json!([{"id": 100 + number, "completed_by": 1, "result": regions}]);
    }
    assert_eq!(changed, 3);
    let file = dir.path().join("project.json");
    std::fs::write(&file, Value::from(tasks).to_string()).unwrap();
    let back = LabelStudioIngest {
        tasks: file,
        images: dir.path().join("photos"),
        options: IngestOptions::of_dataset("reviewed"),
        ..LabelStudioIngest::default()
    };
    let back = ingest_label_studio(&store, &back, &NoProgress).await;
    let back = back.unwrap();
    assert_eq!((back.images_known, back.images_added), (2, 0));
    assert_eq!((back.ground_truth_added, back.failed), (5, 0));
    check_corrected(&store).await;
}
