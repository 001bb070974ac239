//! Label Studio's JSON, as its own package reads and writes it (tests/data/labelstudio/generate.py), and there and back.

use std::path::{Path, PathBuf};

use grainstore::export::{LabelStudioExport, export_label_studio};
use grainstore::geometry::{Rle, Size};
use grainstore::ingest::{
    CocoIngest, IngestOptions, IngestSummary, LabelStudioIngest, ingest_coco, ingest_label_studio,
};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{FailureRow, GroundTruthRow, ImageRow, LabelRow, PredictionRow};
use serde_json::{Value, json};

use crate::eval_store::{annotated_store, import};
use crate::export::request;
use crate::support::{new_store, rows};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/labelstudio")
}

fn ingest_of(tasks: &Path, images: &Path) -> LabelStudioIngest {
    LabelStudioIngest {
        tasks: tasks.into(),
        images: images.into(),
        options: IngestOptions::of_dataset("d"),
        ..LabelStudioIngest::default()
    }
}

async fn read(store: &Store, request: &LabelStudioIngest) -> grainstore::Result<IngestSummary> {
    ingest_label_studio(store, request, &NoProgress).await
}

async fn truth(store: &Store) -> Vec<GroundTruthRow> {
    rows(&store.snapshot().await.unwrap()).await
}

async fn failures(store: &Store) -> Vec<String> {
    let rows: Vec<FailureRow> = rows(&store.snapshot().await.unwrap()).await;
    rows.iter()
        .map(|row| format!("{}: {}", row.item, row.reason))
        .collect()
}

fn mask_of(row: &GroundTruthRow) -> Option<Rle> {
    row.rle.as_ref().map(|rle| Rle::try_from(rle).unwrap())
}

/// What the package itself reads of its export.
fn expected() -> Vec<Value> {
    let text = std::fs::read(data().join("expected.json")).unwrap();
    serde_json::from_slice::<Vec<Value>>(&text).unwrap()
}

/// Compares what was read of a task's annotation or prediction, and returns how many regions were.
async fn compare(store: &Store, said: &Value) -> usize {
    let images: Vec<ImageRow> = rows(&store.snapshot().await.unwrap()).await;
    let number = said["task"].as_u64().unwrap() - 100;
    let image = images
        .iter()
        .find(|row| row.file_name == format!("{number}.png"))
        .unwrap();
    let truth = truth(store).await;
    let mut compared = 0;
    for region in said["regions"].as_array().unwrap() {
        let labels = region["labels"].as_array().unwrap();
        let size = Size {
            height: region["size"][0].as_u64().unwrap() as u32,
            width: region["size"][1].as_u64().unwrap() as u32,
        };
        let counts = region["counts"].as_str().or(region["drawn"].as_str());
        let Some(counts) = counts else { continue };
        let mask = Rle::from_counts_str(size, counts).unwrap();
        let is_box = region["shape"] == "rectangle" && region["rotation"] == 0;
        for label in labels {
            let mut found = truth.iter().filter(|row| {
                row.image_id == image.image_id && row.category.as_deref() == label.as_str()
            });
            let found = found.find(|row| match mask_of(row) {
                Some(own) if region["shape"] == "ellipse" => {
                    // The package has no pixels of ellipses; expected.json has a ring of other corners.
                    let both = own.intersection(&mask).unwrap().area() as f64;
                    both / own.union(&mask).unwrap().area() as f64 > 0.95
                }
                Some(own) => own == mask,
                None => {
                    is_box && {
                        let corner =
                            |at: usize, side: usize| region["points"][at][side].as_f64().unwrap();
                        let bbox = [
                            corner(0, 0),
                            corner(0, 1),
                            corner(2, 0) - corner(0, 0),
                            corner(2, 1) - corner(0, 1),
                        ];
                        row.bbox
                            .iter()
                            .zip(bbox)
                            .all(|(one, other)| (one - other).abs() < 1e-9)
                    }
                }
            });
            let found = found.unwrap_or_else(|| panic!("{region}"));
            if !region["score"].is_null() {
                let own: Value =
                    serde_json::from_str(found.attributes.as_deref().unwrap()).unwrap();
                assert_eq!(own["score"].as_f64(), region["score"].as_f64());
            }
            compared += 1;
        }
    }
    compared
}

#[tokio::test]
async fn annotations_are_read_as_the_package_reads_them() {
    let (_dir, store) = new_store().await;
    let request = ingest_of(&data().join("export.json"), &data().join("photos"));
    let done = read(&store, &request).await.unwrap();
    // The photo of the last task is nowhere.
    assert_eq!(done.images_added, 4);
    let mut compared = 0;
    // Of two annotations: the one that is marked as ground truth, or else the newest.
    for said in expected() {
        if matches!(said["annotation"].as_u64(), Some(1002 | 1005 | 1006)) {
            compared += compare(&store, &said).await;
        }
    }
    assert!(compared >= 8, "{compared} regions compared");
    let told = failures(&store).await;
    assert!(
        told.iter()
            .any(|it| it.contains("task 105") && it.contains("gs://bucket/nowhere.png")),
        "{told:?}"
    );

    let nobody = LabelStudioIngest {
        annotator: Some("nobody".to_owned()),
        ..request.clone()
    };
    let said = read(&store, &nobody).await.unwrap_err().to_string();
    assert!(
        said.contains("'nobody'")
            && said.contains("annotator")
            && said.contains("1, 2, 3, ann@example.com"),
        "{said}"
    );
    let (_dir, store) = new_store().await;
    let first = LabelStudioIngest {
        annotator: Some("1".to_owned()),
        ..request.clone()
    };
    read(&store, &first).await.unwrap();
    let mut compared = 0;
    for said in expected() {
        if matches!(said["annotation"].as_u64(), Some(1001 | 1004)) {
            compared += compare(&store, &said).await;
        }
    }
    assert!(compared >= 20, "{compared} regions compared");
    let told = failures(&store).await.join("\n");
    assert!(
        told.contains("keypoint") && told.contains("it has no label"),
        "{told}"
    );
    let labels: Vec<LabelRow> = rows(&store.snapshot().await.unwrap()).await;
    assert!(
        labels
            .iter()
            .any(|row| row.label == "sunny" || row.label == "rainy"),
        "{labels:?}"
    );
}

#[tokio::test]
async fn predictions_are_read_with_their_scores() {
    let (_dir, store) = new_store().await;
    let request = LabelStudioIngest {
        predictions: true,
        annotator: Some("sam_vit_b".to_owned()),
        ..ingest_of(&data().join("export.json"), &data().join("photos"))
    };
    read(&store, &request).await.unwrap();
    let mut compared = 0;
    for said in expected() {
        if said["model"] == "sam_vit_b" {
            compared += compare(&store, &said).await;
        }
    }
    assert_eq!(compared, 4);
}

#[tokio::test]
async fn masks_come_back_pixel_for_pixel() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(6);
    let size = Size {
        height: 29,
        width: 17,
    };
    std::fs::create_dir_all(dir.path().join("photos/sub")).unwrap();
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for (number, name) in ["a.png", "sub/b é%20.png"].into_iter().enumerate() {
        let photo =
            image::RgbImage::from_pixel(size.width, size.height, image::Rgb([number as u8, 7, 9]));
        photo.save(dir.path().join("photos").join(name)).unwrap();
        images.push(json!({"id": number + 1, "file_name": name, "width": size.width, "height": size.height}));
        for shape in 0..6 {
            // Noise, and a staircase, which one outline has.
            let bitmap: Vec<u8> = (0..29 * 17)
                .map(|at| match shape {
                    0 => u8::from(at / 17 > 3 && at % 17 > 2 && at % 17 < 4 + at / 34),
                    _ => u8::from(random.u8(..) < 150),
                })
                .collect();
            let mask = Rle::from_row_major(size, &bitmap).unwrap();
            annotations.push(
                json!({"id": annotations.len() + 1, "image_id": number + 1, "category_id": 1,
                "iscrowd": 0, "meta": {"text": ["a \"note\""]},
                "segmentation": {"size": [29, 17], "counts": mask.runs()}}),
            );
        }
    }
    annotations.push(json!({"id": 901, "image_id": 1, "category_id": 1, "bbox": [1.0, 2.5, 3.0, 4.0], "iscrowd": 0}));
    let coco = json!({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a 'b' & <c>"}]});
    std::fs::write(dir.path().join("in.json"), coco.to_string()).unwrap();
    let (_one, store) = new_store().await;
    let request_coco = CocoIngest {
        annotations: dir.path().join("in.json"),
        images: dir.path().join("photos"),
        options: IngestOptions::of_dataset("d"),
    };
    ingest_coco(&store, &request_coco, &NoProgress)
        .await
        .unwrap();
    for polygons in [false, true] {
        let address = polygons.then(|| "https://example.org/x/".to_owned());
        let directory = dir.path().join(format!("out{polygons}"));
        let request = LabelStudioExport {
            export: request(None),
            address,
            polygons,
            directory: directory.clone(),
        };
        let snapshot = store.snapshot().await.unwrap();
        let done = export_label_studio(&snapshot, &request, &NoProgress)
            .await
            .unwrap();
        assert_eq!((done.images, done.annotations), (2, 13));
        let tasks = std::fs::read_to_string(directory.join("tasks.json")).unwrap();
        let of = |kind: &str| tasks.matches(&format!("\"type\":\"{kind}\"")).count();
        let expected = if polygons { (10, 2, 1) } else { (12, 0, 1) };
        let found = (
            of("brushlabels"),
            of("polygonlabels"),
            of("rectanglelabels"),
        );
        assert_eq!(found, expected);
        let config = std::fs::read_to_string(directory.join("config.xml")).unwrap();
        assert!(
            config.contains("a &apos;b&apos; &amp; &lt;c&gt;"),
            "{config}"
        );
        let (_other, other) = new_store().await;
        let back = ingest_of(&directory.join("tasks.json"), &dir.path().join("photos"));
        let back = read(&other, &back).await.unwrap();
        assert_eq!(
            (back.images_added, back.failed),
            (2, 0),
            "{:?}",
            failures(&other).await
        );
        let back = truth(&other).await;
        assert_eq!(back.len(), 13);
        for row in truth(&store).await {
            let same = |other: &&GroundTruthRow| {
                let near = other
                    .bbox
                    .iter()
                    .zip(row.bbox)
                    .all(|(one, other)| (one - other).abs() < 1e-9);
                (&other.image_id, &other.category) == (&row.image_id, &row.category)
                    && mask_of(other) == mask_of(&row)
                    && near
            };
            let found = back.iter().find(same).unwrap_or_else(|| panic!("{row:?}"));
            assert_eq!(found.attributes, row.attributes);
        }
    }
}

#[tokio::test]
async fn what_a_head_keeps_goes_out_as_predictions_with_scores() {
    let (dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let snapshot = store.snapshot().await.unwrap();
    let request = LabelStudioExport {
        export: request(Some("masks")),
        directory: dir.path().join("out"),
        ..LabelStudioExport::default()
    };
    let done = export_label_studio(&snapshot, &request, &NoProgress)
        .await
        .unwrap();
    let tasks = std::fs::read(request.directory.join("tasks.json")).unwrap();
    let tasks: Vec<Value> = serde_json::from_slice(&tasks).unwrap();
    assert_eq!(tasks.len() as u64, done.images);
    let kept: Vec<PredictionRow> = rows(&snapshot).await;
    let kept: Vec<&PredictionRow> = kept.iter().filter(|row| row.kept).collect();
    let mut seen = 0;
    for task in &tasks {
        let prediction = &task["predictions"][0];
        assert_eq!(prediction["model_version"], "masks");
        let regions = prediction["result"].as_array().unwrap();
        let mut scores = Vec::new();
        for region in regions {
            let of_mask = kept.iter().find(|row| {
                task["data"]["image_id"] == row.image_id.as_str()
                    && region["id"] == format!("mask{}", row.mask_index)
            });
            let row = of_mask.unwrap_or_else(|| panic!("{region}"));
            assert_eq!(region["value"]["brushlabels"], json!([row.class]));
            assert_eq!(region["score"].as_f64().unwrap(), row.score);
            scores.push(row.score);
        }
        seen += scores.len();
        let mean = scores.iter().sum::<f64>() / scores.len().max(1) as f64;
        assert!((prediction["score"].as_f64().unwrap() - mean).abs() < 1e-12);
    }
    assert_eq!((seen, done.annotations), (kept.len(), kept.len() as u64));
    assert!(seen > 20, "{seen}");
}

#[tokio::test]
async fn broken_files_say_where() {
    let dir = tempfile::tempdir().unwrap();
    let photo = image::RgbImage::from_pixel(9, 9, image::Rgb([1, 2, 3]));
    photo.save(dir.path().join("a.png")).unwrap();
    let file = dir.path().join("tasks.json");
    for (text, said) in [
        ("", "EOF"),
        ("[1]", "task 1: "),
        (
            "[{\"data\": {\"image\": \"a.png\"}}, {\"id\": 3}]",
            "task 2: missing field `data`",
        ),
        (
            "[{\"data\": {}, \"annotations\": [{\"result\": [{\"value\": {\"rle\": [300]}}]}]}]",
            "task 1: ",
        ),
        ("[] []", "trailing characters"),
    ] {
        std::fs::write(&file, text).unwrap();
        let (_store, store) = new_store().await;
        let err = read(&store, &ingest_of(&file, dir.path()))
            .await
            .unwrap_err()
            .to_string();
        let is_clear =
            err.contains(said) && err.contains("tasks.json") && err.contains("export 'JSON'");
        assert!(is_clear, "{text}: {err}");
    }
    // The short form has no region's shape as it was drawn.
    let (_store, store) = new_store().await;
    let short = read(
        &store,
        &ingest_of(&data().join("min.json"), &data().join("photos")),
    )
    .await;
    let short = short.unwrap_err().to_string();
    assert!(
        short.contains("missing field `data`") && short.contains("export 'JSON'"),
        "{short}"
    );

    let item = |value: Value| json!({"type": "brushlabels", "original_width": 9, "original_height": 9, "id": "r1", "value": value});
    let good = item(
        json!({"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0, "rectanglelabels": ["a"]}),
    );
    let tasks = json!([
        {"id": 7, "data": {"image": "a.png"}, "annotations": [{"result": [
            good, {"type": "brushlabels", "original_width": 8, "original_height": 9, "id": "r2",
                   "value": {"rle": [0], "brushlabels": ["a"]}},
            {"type": "brushlabels", "original_width": 9, "original_height": 9, "id": "r3",
             "value": {"rle": [0, 0, 1, 68, 57, 27], "brushlabels": ["a"]}},
        ]}]},
        {"id": 8, "data": {"photo": "a.png", "text": "b"}, "annotations": []},
        {"id": 9, "data": {"image": "s3://bucket/other/a.png"}, "annotations": []},
        {"id": 10, "data": {"image": "data:image/png;base64,AAAA"}, "annotations": []},
    ]);
    std::fs::write(&file, tasks.to_string()).unwrap();
    let (_store, store) = new_store().await;
    let done = read(&store, &ingest_of(&file, dir.path())).await.unwrap();
    assert_eq!(
        (done.images_added, done.ground_truth_added, done.failed),
        (1, 1, 5)
    );
    let told = failures(&store).await.join("\n");
    for said in [
        "task 7: region r2: it is of an image of 8 x 9 pixels, and the photo has 9 x 9",
        "task 7: region r3: its 6 bytes of rle end too early",
        "task 8: its data has no text 'image'",
        "task 9: by the end of its address, 's3://bucket/other/a.png', its photo would be 'a.png', which is that of 'a.png'",
        "task 10: its photo is in the file itself",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
}
