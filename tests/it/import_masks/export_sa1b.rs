//! Masks that are exported as SA-1B come back, and datumaro reads the same from them (`tests/data/sa1b/generate.py`).

use std::path::Path;

use grainstore::export::{ExportSummary, Ids, Photos, Sa1bExport, export_sa1b};
use grainstore::geometry::{Rle, Size};

use super::*;

fn fixture(name: &str) -> PathBuf {
    data("../sa1b").join(name)
}

async fn exported(
    store: &Store,
    directory: &Path,
    request: Sa1bExport,
) -> grainstore::Result<ExportSummary> {
    let request = Sa1bExport {
        directory: directory.into(),
        ..request
    };
    export_sa1b(&store.snapshot().await.unwrap(), &request, &NoProgress).await
}

/// Masks as values, by photo.
fn values(masks: BTreeMap<String, Vec<Stored>>) -> BTreeMap<String, Vec<Value>> {
    let value = |it: Stored| {
        json!({"counts": it.counts, "area": it.area, "bbox": it.bbox, "predicted_iou": it.predicted_iou,
            "stability_score": it.stability_score, "point": it.point, "crop_box": it.crop_box})
    };
    let masks = masks.into_iter();
    masks
        .map(|(photo, masks)| (photo, masks.into_iter().map(value).collect()))
        .collect()
}

/// The names in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let names = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[derive(Deserialize)]
struct ReadMask {
    id: u64,
    size: [u32; 2],
    runs: Vec<u32>,
    bbox: [f64; 4],
    predicted_iou: f32,
    stability_score: f32,
    point_coords: Vec<Vec<f64>>,
    crop_box: [f64; 4],
}

#[tokio::test]
async fn masks_come_back_with_all_that_is_known_of_them() {
    for source in [
        MaskSource::Sa1b(data("sa1b")),
        MaskSource::Coco(data("coco.json")),
        label_maps("label_maps", &[]),
    ] {
        let (dir, store) = store_of_photos().await;
        let summary = import(&store, source).await;
        let before = values(masks_of(&store, &summary).await);
        let (images, masks) = (summary.images, summary.masks);
        let directory = dir.path().join("masks");
        let done = exported(&store, &directory, Sa1bExport::default())
            .await
            .unwrap();
        assert_eq!(
            (done.images, done.annotations, done.failed),
            (images, masks, 0)
        );
        assert_eq!(names(&directory).len() as u64, images);

        let (_dir, other) = store_of_photos().await;
        let back = import(&other, MaskSource::Sa1b(directory)).await;
        assert_eq!((back.images, back.masks, back.failed), (images, masks, 0));
        assert_eq!(values(masks_of(&other, &back).await), before);
    }
}

#[tokio::test]
async fn photos_are_copied_beside_their_masks() {
    let (dir, store) = store_of_photos().await;
    let summary = import(&store, MaskSource::Coco(data("coco.json"))).await;
    let before = values(masks_of(&store, &summary).await);
    let directory = dir.path().join("masks");
    let request = Sa1bExport {
        photos: Photos::Copy,
        ids: Ids::New,
        images: ImageFilter {
            condition: Some("file_name <> 'd.png'".to_owned()),
            ..ImageFilter::all()
        },
        ..Sa1bExport::default()
    };
    let done = exported(&store, &directory, request).await.unwrap();
    assert_eq!((done.images, done.annotations), (3, 7));
    let annotations = &super::expected()["coco"];
    let mut id = 0;
    for (image_id, photo, file, [width, height]) in [
        (1, "a.jpg", "a.jpg", [40, 30]),
        (2, "sub/b.png", "b.png", [23, 31]),
        (3, "turned.jpg", "turned.jpg", [20, 30]),
    ] {
        let json = std::fs::read(directory.join(file).with_extension("json")).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        let annotations: Vec<Value> = annotations[photo]
            .iter()
            .map(|it| {
                id += 1;
                json!({"id": id, "segmentation": {"size": [height, width], "counts": it["counts"]}, "bbox": it["bbox"],
                    "area": it["area"], "crop_box": [0.0, 0.0, f64::from(width), f64::from(height)]})
            })
            .collect();
        let image =
            json!({"image_id": image_id, "width": width, "height": height, "file_name": file});
        assert_eq!(json, json!({"image": image, "annotations": annotations}));
    }
    let expected = [
        "a.jpg",
        "a.json",
        "b.json",
        "b.png",
        "turned.jpg",
        "turned.json",
    ];
    assert_eq!(names(&directory), expected);

    let (_dir, other) = new_store().await;
    let photos = FolderIngest {
        directory: directory.clone(),
        labels: LabelSource::Unlabelled,
        options: IngestOptions::of_dataset("copies"),
    };
    let ingested = ingest_folder(&other, &photos, &NoProgress).await.unwrap();
    assert_eq!((ingested.images_added, ingested.failed), (3, 0));
    let back = import(&other, MaskSource::Sa1b(directory)).await;
    assert_eq!((back.images, back.masks, back.failed), (3, 7, 0));
    let after = values(masks_of(&other, &back).await);
    let of = |masks: &BTreeMap<String, Vec<Value>>, name: &str| masks[name].clone();
    assert_eq!(of(&after, "a.jpg"), of(&before, "a.jpg"));
    assert_eq!(of(&after, "b.png"), of(&before, "sub/b.png"));
    assert_eq!(of(&after, "turned.jpg"), of(&before, "turned.jpg"));
}

#[tokio::test]
async fn datumaro_reads_and_writes_the_same() {
    let read = std::fs::read(fixture("read.json")).unwrap();
    let read: BTreeMap<String, Vec<ReadMask>> = serde_json::from_slice(&read).unwrap();
    let (_dir, store) = store_of_photos().await;
    let summary = import(&store, MaskSource::Sa1b(data("sa1b"))).await;
    let found = masks_of(&store, &summary).await;
    assert_eq!(read.len(), found.len());
    let mut ids = Vec::new();
    for (photo, masks) in &found {
        let read = &read[photo];
        assert_eq!(read.len(), masks.len(), "{photo}");
        for (read, mask) in read.iter().zip(masks) {
            let [height, width] = read.size;
            let size = Size { height, width };
            let rle = Rle::from_runs(size, read.runs.clone()).unwrap();
            assert_eq!(rle.to_counts_string(), mask.counts, "{photo}");
            assert_eq!(
                (read.bbox, read.crop_box),
                (mask.bbox, mask.crop_box),
                "{photo}"
            );
            assert_eq!(
                read.predicted_iou,
                mask.predicted_iou.unwrap_or(0.0),
                "{photo}"
            );
            assert_eq!(
                read.stability_score,
                mask.stability_score.unwrap_or(0.0),
                "{photo}"
            );
            let point = mask.point.map_or(Vec::new(), |point| point.to_vec());
            assert_eq!(read.point_coords, [point], "{photo}");
            ids.push(read.id);
        }
    }
    ids.sort_unstable();
    assert_eq!(ids, (1..=summary.masks).collect::<Vec<_>>());

    let (_dir, other) = store_of_photos().await;
    let saved = import(&other, MaskSource::Sa1b(fixture("saved"))).await;
    assert_eq!((saved.masks, saved.failed), (summary.masks, 0));
    let saved = masks_of(&other, &saved).await;
    for (photo, masks) in &found {
        let counts =
            |masks: &[Stored]| masks.iter().map(|it| it.counts.clone()).collect::<Vec<_>>();
        assert_eq!(counts(&saved[photo]), counts(masks), "{photo}");
    }
}

#[tokio::test]
async fn what_cannot_be_exported_is_told_and_leaves_nothing() {
    let (dir, store) = store_of_photos().await;
    let directory = dir.path().join("masks");
    let fails = async |request: Sa1bExport| {
        let failed = exported(&store, &directory, request).await;
        assert!(!directory.exists());
        failed.unwrap_err().to_string()
    };
    let none = fails(Sa1bExport::default()).await;
    assert!(none.contains("no extractors"), "{none}");
    import(&store, MaskSource::Sa1b(data("sa1b"))).await;
    let unknown = Sa1bExport {
        extractor: Some("00000000".to_owned()),
        ..Sa1bExport::default()
    };
    let unknown = fails(unknown).await;
    assert!(unknown.contains("00000000"), "{unknown}");
    let no_image = Sa1bExport {
        images: ImageFilter::split("nowhere"),
        ..Sa1bExport::default()
    };
    let no_image = fails(no_image).await;
    assert!(no_image.contains("nowhere"), "{no_image}");
    import(&store, MaskSource::Coco(data("coco.json"))).await;
    let two = fails(Sa1bExport::default()).await;
    assert!(two.contains("coco.json") && two.contains("sa1b"), "{two}");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("mine.txt"), "mine").unwrap();
    let only = Sa1bExport {
        images: ImageFilter::all(),
        extractor: Some(masks_extractor(&store).await),
        ..Sa1bExport::default()
    };
    let taken = exported(&store, &directory, only).await.unwrap_err();
    assert!(
        taken.to_string().contains("empty or not there yet"),
        "{taken}"
    );
    assert_eq!(names(&directory), ["mine.txt"]);
}

/// The id of one of the extractors.
async fn masks_extractor(store: &Store) -> String {
    let found: Vec<ExtractorRow> = rows(&store.snapshot().await.unwrap()).await;
    found[0].extractor_id.to_string()
}
