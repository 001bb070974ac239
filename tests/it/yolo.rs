//! YOLO directories, there and back, and as Ultralytics reads and writes them (tests/data/yolo/generate.py).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grainstore::export::{ExportSummary, Photos, YoloExport, export_yolo};
use grainstore::geometry::{Rle, Size, polygons_from_rle, rle_from_pixel_ring};
use grainstore::ingest::{
    CocoIngest, IngestOptions, Outlines, YoloIngest, ingest_coco, ingest_yolo,
};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{ClassRow, FailureRow, GroundTruthRow, ImageRow, LabelRow};
use serde::Deserialize;
use serde_json::json;

use crate::export::request;
use crate::support::{new_store, rows};

pub fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/yolo")
}

pub async fn of_coco(store: &Store, annotations: &Path, images: &Path) {
    let request = CocoIngest {
        annotations: annotations.into(),
        images: images.into(),
        options: IngestOptions {
            split: Some("val".to_owned()),
            ..IngestOptions::of_dataset("d")
        },
    };
    let done = ingest_coco(store, &request, &NoProgress).await.unwrap();
    assert_eq!(done.failed, 0);
}

async fn exported(store: &Store, directory: &Path) -> ExportSummary {
    let request = YoloExport {
        export: request(None),
        photos: Photos::Copy,
        directory: directory.into(),
    };
    let snapshot = store.snapshot().await.unwrap();
    export_yolo(&snapshot, &request, &NoProgress).await.unwrap()
}

pub async fn of_yolo(store: &Store, data: &Path, split: Option<&str>) -> (u64, u64) {
    of_outlines(store, data, split, Outlines::Edges).await
}

pub async fn of_outlines(
    store: &Store,
    data: &Path,
    split: Option<&str>,
    outlines: Outlines,
) -> (u64, u64) {
    let request = YoloIngest {
        data: data.into(),
        outlines,
        options: IngestOptions {
            split: split.map(str::to_owned),
            ..IngestOptions::of_dataset("d")
        },
    };
    let done = ingest_yolo(store, &request, &NoProgress).await.unwrap();
    (done.images_added, done.failed)
}

/// Class and mask of each object, by the photo's bytes.
pub async fn objects(store: &Store) -> Vec<(String, Option<String>, Option<Rle>)> {
    let truth: Vec<GroundTruthRow> = rows(&store.snapshot().await.unwrap()).await;
    let mask = |row: &GroundTruthRow| row.rle.as_ref().map(|rle| Rle::try_from(rle).unwrap());
    let mut found: Vec<_> = truth
        .iter()
        .map(|row| (row.image_id.to_string(), row.category.clone(), mask(row)))
        .collect();
    found.sort_by_key(|(image, class, mask)| {
        let area = mask.as_ref().map_or(0, Rle::area);
        (image.clone(), class.clone(), area)
    });
    found
}

fn iou(one: &Rle, other: &Rle) -> f64 {
    let both = one.intersection(other).unwrap().area() as f64;
    both / (one.area() + other.area() - both as u64) as f64
}

#[tokio::test]
async fn masks_come_back_exactly_with_holes_and_parts() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(8);
    let size = Size {
        height: 30,
        width: 41,
    };
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    let (mut holes, mut parts) = (0, 0);
    std::fs::create_dir_all(dir.path().join("photos/sub")).unwrap();
    for (number, name) in ["a.png", "sub/b.png", "c.png"].into_iter().enumerate() {
        let level = number as u8 * 40;
        let photo = image::RgbImage::from_pixel(size.width, size.height, image::Rgb([level, 7, 9]));
        photo.save(dir.path().join("photos").join(name)).unwrap();
        images.push(json!({"id": number + 1, "file_name": name, "width": 41, "height": 30}));
        for _ in 0..if name == "c.png" { 0 } else { 8 } {
            let pixels = size.width as usize * size.height as usize;
            let bitmap: Vec<u8> = (0..pixels).map(|_| u8::from(random.u8(..) < 150)).collect();
            let mask = Rle::from_row_major(size, &bitmap).unwrap();
            let polygons = polygons_from_rle(&mask);
            parts += polygons.len();
            holes += polygons.iter().map(|it| it.holes.len()).sum::<usize>();
            annotations.push(json!({"id": annotations.len() + 1, "image_id": number + 1,
                "category_id": random.u32(0..2) * 7, "iscrowd": 0,
                "segmentation": {"size": [30, 41], "counts": mask.runs()}}));
        }
    }
    assert!(holes > 100 && parts > 100, "{holes} holes, {parts} parts");
    let whole = annotations.len() as u64;
    let mut crowd = annotations[0].clone();
    (crowd["id"], crowd["iscrowd"]) = (json!(900), json!(1));
    annotations.push(crowd);
    annotations.push(json!({"id": 901, "image_id": 1, "category_id": 0, "bbox": [1.0, 2.0, 3.0, 4.0], "iscrowd": 0}));
    let coco = json!({"images": images, "annotations": annotations,
        "categories": [{"id": 0, "name": "cat: 'big'"}, {"id": 7, "name": "traffic light"}]});
    std::fs::write(dir.path().join("in.json"), coco.to_string()).unwrap();
    let (_one, store) = new_store().await;
    of_coco(
        &store,
        &dir.path().join("in.json"),
        &dir.path().join("photos"),
    )
    .await;
    let yolo = dir.path().join("yolo");
    let summary = exported(&store, &yolo).await;
    assert_eq!((summary.images, summary.annotations), (3, whole));
    assert_eq!((summary.crowds, summary.without_mask), (1, 1));

    let (_other, other) = new_store().await;
    assert_eq!(of_yolo(&other, &yolo, None).await, (3, 0));
    let mut expected: Vec<GroundTruthRow> = rows(&store.snapshot().await.unwrap()).await;
    expected.retain(|row| !row.iscrowd && row.rle.is_some());
    let back = objects(&other).await;
    assert_eq!(back.len(), expected.len());
    for row in &expected {
        let mask = Rle::try_from(row.rle.as_ref().unwrap()).unwrap();
        let same = (row.image_id.to_string(), row.category.clone(), Some(mask));
        assert!(back.contains(&same), "{row:?}");
    }
    let images: Vec<ImageRow> = rows(&other.snapshot().await.unwrap()).await;
    assert!(images.iter().all(|it| it.split.as_deref() == Some("val")));
    let labels: Vec<LabelRow> = rows(&other.snapshot().await.unwrap()).await;
    assert_eq!(labels.len(), 4, "two classes on each of two photos");
    let classes: Vec<ClassRow> = rows(&other.snapshot().await.unwrap()).await;
    let named: Vec<_> = classes.iter().map(|it| it.class.as_str()).collect();
    assert_eq!(named, ["cat: 'big'", "traffic light"]);
    // Once more: nothing is added.
    assert_eq!(of_yolo(&other, &yolo, Some("val")).await, (0, 0));
    assert_eq!(objects(&other).await.len(), expected.len());
}

/// A directory with the labels that Ultralytics wrote for the masks of in.json, and their photos.
pub fn saved_by_ultralytics(dir: &Path) -> PathBuf {
    let saved = dir.join("saved");
    for folder in ["images", "labels"] {
        std::fs::create_dir_all(saved.join(folder)).unwrap();
    }
    for name in ["a", "b"] {
        let photo = format!("{name}.png");
        let labels = format!("{name}.txt");
        std::fs::copy(
            data().join("photos").join(&photo),
            saved.join("images").join(photo),
        )
        .unwrap();
        std::fs::copy(
            data().join("saved").join(&labels),
            saved.join("labels").join(labels),
        )
        .unwrap();
    }
    std::fs::write(
        saved.join("data.yaml"),
        "train: images\nval: images\nnames: [ring, pair, blob]\n",
    )
    .unwrap();
    saved
}

#[derive(Deserialize)]
struct Read {
    names: Vec<String>,
    images: BTreeMap<String, Vec<ReadObject>>,
}

#[derive(Deserialize)]
struct ReadObject {
    class: usize,
    runs: Vec<u32>,
}

#[tokio::test]
async fn ultralytics_reads_what_is_exported_and_what_it_writes_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (_one, store) = new_store().await;
    of_coco(&store, &data().join("in.json"), &data().join("photos")).await;
    let yolo = dir.path().join("yolo");
    exported(&store, &yolo).await;

    // What YOLODataset made of the exported directory; it cuts decimals off and fills with OpenCV, which paints the outlines, too.
    let read = std::fs::read_to_string(data().join("read.json")).unwrap();
    let read: Read = serde_json::from_str(&read).unwrap();
    let size = Size {
        height: 400,
        width: 600,
    };
    let images: Vec<ImageRow> = rows(&store.snapshot().await.unwrap()).await;
    let id = |name: &str| {
        let found = images.iter().find(|it| it.file_name == name);
        found.unwrap().image_id.to_string()
    };
    let original = objects(&store).await;
    let of = |image: &str, class: &str| {
        let found = original.iter();
        let mut found = found.filter(|it| it.0 == id(image) && it.1.as_deref() == Some(class));
        found.next().unwrap().2.clone().unwrap()
    };
    let mut least: f64 = 1.0;
    for (image, objects) in &read.images {
        let labels = yolo.join("labels/val").join(image).with_extension("txt");
        let labels = std::fs::read_to_string(labels).unwrap();
        assert_eq!((objects.len(), labels.lines().count()), (3, 3));
        for (object, line) in objects.iter().zip(labels.lines()) {
            let mask = Rle::from_runs(size, object.runs.clone()).unwrap();
            let class = read.names[object.class].as_str();
            let same = iou(&mask, &of(image, class));
            least = least.min(same);
            assert!(same == 1.0 || class == "pair", "{image}, {class}: {same}");
            // That it is still what is exported; lines of bridges may differ by single pixels.
            let numbers: Vec<f32> = line.split(' ').map(|it| it.parse().unwrap()).collect();
            let (corners, _) = numbers[1..].as_chunks::<2>();
            let ring: Vec<[i32; 2]> = corners
                .iter()
                .map(|[x, y]| [(x * 600.0) as i32, (y * 400.0) as i32])
                .collect();
            let painted = rle_from_pixel_ring(&ring, size).unwrap();
            assert_eq!(numbers[0] as usize, object.class);
            assert!(iou(&mask, &painted) > 0.999, "{image}, {class}");
        }
    }
    assert!(least > 0.996, "IoU of at least {least}");

    // Labels that Ultralytics wrote for the same masks. It has no holes, so the rings are whole.
    let saved = saved_by_ultralytics(dir.path());
    for (outlines, expected) in [(Outlines::Pixels, 1.0), (Outlines::Edges, 0.97)] {
        let (_other, other) = new_store().await;
        assert_eq!(of_outlines(&other, &saved, None, outlines).await, (2, 0));
        let mut least: f64 = 1.0;
        for (image, class, mask) in objects(&other).await {
            let class = class.unwrap();
            if class == "blob" {
                let name = images
                    .iter()
                    .find(|it| it.image_id.as_str() == image)
                    .unwrap();
                least = least.min(iou(&mask.unwrap(), &of(&name.file_name, &class)));
            }
        }
        assert!(least >= expected, "{outlines:?}: IoU of at least {least}");
    }
}

#[tokio::test]
async fn labels_that_cannot_be_used_are_failures_with_their_lines() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (
            "good",
            "0 0.1 0.1 0.5 0.1 0.5 0.5\n\n1.0 0.5 0.5 0.2 0.4\n",
            "",
        ),
        ("none", "", ""),
        (
            "class",
            "0 0.5 0.5 0.1 0.1\n9 0.1 0.1 0.5 0.1 0.5 0.5\n",
            "line 2: there is no class 9",
        ),
        (
            "word",
            "cat 0.5 0.5 0.1 0.1\n",
            "line 1: the class is 'cat'",
        ),
        (
            "pixels",
            "0 12 14 30 40 5 6\n",
            "line 1: found '12', expected shares",
        ),
        (
            "odd",
            "0 0.1 0.1 0.5 0.1 0.5 0.5 0.3\n",
            "line 1: found 7 numbers",
        ),
        ("nan", "0 0.1 NaN 0.5 0.1\n", "found 'NaN'"),
    ];
    for folder in ["images/train", "labels/train"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for (number, (name, text, _)) in cases.iter().enumerate() {
        let photo = image::GrayImage::from_pixel(50, 40, image::Luma([number as u8]));
        photo
            .save(dir.path().join(format!("images/train/{name}.png")))
            .unwrap();
        if !text.is_empty() {
            std::fs::write(dir.path().join(format!("labels/train/{name}.txt")), text).unwrap();
        }
    }
    std::fs::write(
        dir.path().join("data.yaml"),
        "train: images/train\nnames: [cat, dog]\n",
    )
    .unwrap();
    let (_guard, store) = new_store().await;
    assert_eq!(of_yolo(&store, dir.path(), None).await, (2, 5));
    let failures: Vec<FailureRow> = rows(&store.snapshot().await.unwrap()).await;
    for (name, _, part) in cases.iter().filter(|it| !it.2.is_empty()) {
        let item = format!("{name}.png");
        let failure = failures.iter().find(|it| it.item == item).unwrap();
        assert!(failure.reason.contains(part), "{name}: {}", failure.reason);
        assert!(
            failure.reason.contains(&format!("{name}.txt")),
            "{}",
            failure.reason
        );
    }
    let truth: Vec<GroundTruthRow> = rows(&store.snapshot().await.unwrap()).await;
    let boxed = truth.iter().find(|it| it.rle.is_none()).unwrap();
    assert_eq!((boxed.category.as_deref(), truth.len()), (Some("dog"), 2));
    let expected = [20.0, 12.0, 10.0, 16.0];
    assert!(
        boxed
            .bbox
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-9)
    );

    let missing = YoloIngest {
        data: dir.path().into(),
        outlines: Outlines::Edges,
        options: IngestOptions {
            split: Some("vall".to_owned()),
            ..IngestOptions::of_dataset("d")
        },
    };
    let missing = ingest_yolo(&store, &missing, &NoProgress);
    let message = missing.await.unwrap_err().to_string();
    assert!(
        message.contains("'vall'") && message.contains("train"),
        "{message}"
    );
}
