//! Ingest: folders, COCO into a store, bad items, the same again.

use std::collections::BTreeMap;
use std::path::Path;

use grainstore::geometry::{Rle, Size, rle_from_polygons};
use grainstore::ids::ImageId;
use grainstore::ingest::CocoIngest;
use grainstore::ingest::FolderIngest;
use grainstore::ingest::{
    DEFAULT_COMMIT_ROWS, IngestOptions, IngestSummary, LabelSource, Source, ingest_coco,
    ingest_folder,
};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{ClassRow, FailureRow, GroundTruthRow, ImageRow, LabelRow};
use image::{ImageFormat, Rgb, RgbImage};

use crate::support::{new_store, rows};

pub fn options(dataset: &str, split: Option<&str>) -> IngestOptions {
    IngestOptions {
        dataset: dataset.to_owned(),
        source: Source::Web,
        split: split.map(str::to_owned),
        verify_pixels: false,
        commit_rows: DEFAULT_COMMIT_ROWS,
    }
}

/// A small photo whose bytes differ with `n`.
pub fn write_photo(path: &Path, n: u8, (width, height): (u32, u32)) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let photo = RgbImage::from_fn(width, height, |x, y| Rgb([n, x as u8, y as u8]));
    photo.save_with_format(path, ImageFormat::Png).unwrap();
}

async fn ingest_images(store: &Store, dir: &Path, labels: LabelSource) -> IngestSummary {
    ingest_folder(
        store,
        &FolderIngest {
            directory: dir.into(),
            labels,
            options: options("pets", None),
        },
        &NoProgress,
    )
    .await
    .unwrap()
}

async fn labels_by_file(store: &Store) -> BTreeMap<String, Vec<String>> {
    let snapshot = store.snapshot().await.unwrap();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let names: BTreeMap<_, _> = rows::<ImageRow>(&snapshot)
        .await
        .into_iter()
        .map(|r| (r.image_id, r.file_name))
        .collect();
    for name in names.values() {
        found.insert(name.clone(), Vec::new());
    }
    for row in rows::<LabelRow>(&snapshot).await {
        found
            .get_mut(&names[&row.image_id])
            .unwrap()
            .push(row.label);
    }
    found
}

pub async fn failures(store: &Store) -> Vec<(String, String)> {
    let snapshot = store.snapshot().await.unwrap();
    rows::<FailureRow>(&snapshot)
        .await
        .into_iter()
        .map(|r| (r.item, r.reason))
        .collect()
}

fn pets(dir: &Path) {
    write_photo(&dir.join("cat/1.png"), 1, (4, 3));
    write_photo(&dir.join("cat/deep/2.png"), 2, (4, 3));
    write_photo(&dir.join("dog/3.png"), 3, (4, 3));
    write_photo(&dir.join("4.png"), 4, (4, 3));
    std::fs::write(dir.join("notes.txt"), "not a photo").unwrap();
    write_photo(&dir.join(".hidden/5.png"), 5, (4, 3));
}

#[tokio::test]
async fn folders_are_labels_and_the_same_again_is_nothing() {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    pets(&photos);
    let summary = ingest_images(&store, &photos, LabelSource::Folders).await;
    let expected = IngestSummary {
        images_added: 4,
        labels_added: 3,
        other_files: 1,
        ..Default::default()
    };
    assert_eq!(summary, expected);
    let version = store.snapshot().await.unwrap().version();
    let labels = labels_by_file(&store).await;
    assert_eq!(labels["cat/1.png"], ["cat"]);
    assert_eq!(labels["cat/deep/2.png"], ["cat"]);
    assert_eq!(labels["dog/3.png"], ["dog"]);
    assert_eq!(labels["4.png"], [""; 0]);

    let again = ingest_images(&store, &photos, LabelSource::Folders).await;
    let expected = IngestSummary {
        images_known: 4,
        other_files: 1,
        ..Default::default()
    };
    assert_eq!(again, expected);
    assert_eq!(store.snapshot().await.unwrap().version(), version);

    // The same photo in another folder is one image with two labels.
    std::fs::create_dir(photos.join("tabby")).unwrap();
    std::fs::copy(photos.join("cat/1.png"), photos.join("tabby/x.png")).unwrap();
    let more = ingest_images(&store, &photos, LabelSource::Folders).await;
    assert_eq!((more.images_added, more.labels_added), (0, 1));
    assert_eq!(labels_by_file(&store).await["cat/1.png"], ["cat", "tabby"]);
}

#[tokio::test]
async fn rows_say_what_the_file_is() {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    write_photo(&photos.join("a.png"), 1, (7, 5));
    ingest_images(&store, &photos, LabelSource::Unlabelled).await;
    let images = rows::<ImageRow>(&store.snapshot().await.unwrap()).await;
    let bytes = std::fs::read(photos.join("a.png")).unwrap();
    assert_eq!(images.len(), 1);
    let row = &images[0];
    assert_eq!(row.image_id, ImageId::of_bytes(&bytes));
    assert_eq!((row.width, row.height, row.orientation), (7, 5, 1));
    assert_eq!((row.format.as_str(), row.source.as_str()), ("png", "web"));
    assert_eq!(row.file_bytes, bytes.len() as i64);
    assert_eq!(Path::new(&row.root), photos);
    assert_eq!((row.dataset.as_str(), row.split.as_deref()), ("pets", None));
}

#[tokio::test]
async fn a_label_file_gives_labels_and_its_own_failures() {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    pets(&photos);
    let csv = dir.path().join("labels.csv");
    std::fs::write(
        &csv,
        "file,label\ncat/1.png,tabby\ncat/1.png,asleep\nmissing.png,cat\n",
    )
    .unwrap();
    let summary = ingest_images(&store, &photos, LabelSource::File(csv)).await;
    assert_eq!(
        (summary.images_added, summary.labels_added, summary.failed),
        (4, 2, 1)
    );
    assert_eq!(
        labels_by_file(&store).await["cat/1.png"],
        ["tabby", "asleep"]
    );
    let failures = failures(&store).await;
    assert_eq!(failures[0].0, "labels.csv line 4");
    assert!(failures[0].1.contains("'missing.png'"), "{failures:?}");
}

#[tokio::test]
async fn bad_files_are_recorded_once_and_the_rest_goes_on() {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    pets(&photos);
    let whole = std::fs::read(photos.join("cat/1.png")).unwrap();
    std::fs::write(photos.join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    std::fs::write(photos.join("empty.jpg"), "").unwrap();
    std::fs::write(photos.join("text.jpg"), "hello").unwrap();
    std::os::unix::fs::symlink("/nowhere", photos.join("broken.png")).unwrap();
    for _ in 0..2 {
        let summary = ingest_images(&store, &photos, LabelSource::Folders).await;
        assert_eq!(summary.failed, 4);
        assert_eq!(summary.images_added + summary.images_known, 4);
        let found: BTreeMap<_, _> = failures(&store).await.into_iter().collect();
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found["cut.png"].contains("truncated png"), "{found:?}");
        assert!(found["empty.jpg"].contains("empty"), "{found:?}");
        assert!(found["text.jpg"].contains("not an image"), "{found:?}");
        assert!(found["broken.png"].contains("No such file"), "{found:?}");
    }
    // Mended, it is taken.
    std::fs::write(
        photos.join("text.jpg"),
        std::fs::read(photos.join("cat/1.png")).unwrap(),
    )
    .unwrap();
    let summary = ingest_images(&store, &photos, LabelSource::Folders).await;
    assert_eq!((summary.failed, summary.images_known), (3, 5));
}

#[tokio::test]
async fn samples_of_16_bits_are_taken_and_told() {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    let deep = image::ImageBuffer::from_pixel(4, 3, Rgb([300u16, 60_000, 7]));
    deep.save(photos.join("deep.png")).unwrap();
    write_photo(&photos.join("plain.png"), 1, (4, 3));
    let summary = ingest_images(&store, &photos, LabelSource::Unlabelled).await;
    assert_eq!((summary.images_added, summary.failed), (2, 1));
    let found = failures(&store).await;
    assert_eq!(found[0].0, "deep.png");
    assert!(
        found[0]
            .1
            .starts_with("rgb16: of each 16-bit sample the high 8 bits"),
        "{found:?}"
    );
}

#[tokio::test]
async fn damage_inside_pixel_data_is_found_when_asked_for() {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    write_photo(&photos.join("a.png"), 1, (64, 64));
    let mut bytes = std::fs::read(photos.join("a.png")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(photos.join("a.png"), bytes).unwrap();
    let verify = IngestOptions {
        verify_pixels: true,
        ..options("pets", None)
    };
    let summary = ingest_folder(
        &store,
        &FolderIngest {
            directory: (&photos).into(),
            labels: LabelSource::Folders,
            options: verify,
        },
        &NoProgress,
    )
    .await;
    assert_eq!(summary.unwrap().failed, 1);
    assert!(
        failures(&store).await[0].1.contains("cannot decode"),
        "{:?}",
        failures(&store).await
    );
}

#[tokio::test]
async fn wrong_arguments_are_errors_not_failures() {
    let (dir, store) = new_store().await;
    let missing = dir.path().join("nowhere");
    let folders = LabelSource::Folders;
    let err = ingest_folder(
        &store,
        &FolderIngest {
            directory: (&missing).into(),
            labels: folders.clone(),
            options: options("pets", None),
        },
        &NoProgress,
    )
    .await;
    assert!(err.unwrap_err().to_string().contains("nowhere"));
    let err = ingest_folder(
        &store,
        &FolderIngest {
            directory: dir.path().into(),
            labels: folders.clone(),
            options: options("a/b", None),
        },
        &NoProgress,
    )
    .await;
    assert!(
        err.unwrap_err()
            .to_string()
            .contains("'a/b' cannot name a data set")
    );
    assert_eq!(store.snapshot().await.unwrap().version(), 1);
}

const INSTANCES: &str = r#"{
  "info": {"year": 2026}, "licenses": [{"id": 4, "name": "CC BY", "url": "https://cc"}],
  "images": [
    {"id": 9, "file_name": "b.png", "width": 8, "height": 6, "license": 4, "flickr_url": "f"},
    {"id": 2, "file_name": "sub/a.png", "width": 8, "height": 6},
    {"id": 5, "file_name": "missing.png", "width": 8, "height": 6},
    {"id": 6, "file_name": "small.png", "width": 80, "height": 60},
    {"id": 7, "file_name": "../outside.png", "width": 8, "height": 6}],
  "categories": [
    {"id": 18, "name": "dog", "supercategory": "animal"},
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 90, "name": "toothbrush"}],
  "annotations": [
    {"id": 11, "image_id": 9, "category_id": 18, "bbox": [1, 1, 4, 3], "area": 12.5, "iscrowd": 0,
     "segmentation": [[1, 1, 5, 1, 5, 4, 1, 4], [6, 4, 8, 4, 8, 6]], "note": "mine"},
    {"id": 12, "image_id": 9, "category_id": 1, "bbox": [0, 0, 8, 6], "area": 48, "iscrowd": 1,
     "segmentation": {"size": [6, 8], "counts": [0, 48]}},
    {"id": 13, "image_id": 9, "category_id": 18, "bbox": [0, 0, 2, 2], "iscrowd": 0,
     "segmentation": {"size": [6, 8], "counts": "0240T1"}},
    {"id": 14, "image_id": 2, "category_id": 1, "bbox": [2.5, 1, 3, 3], "iscrowd": 0},
    {"id": 15, "image_id": 2, "category_id": 77, "bbox": [0, 0, 1, 1]},
    {"id": 16, "image_id": 2, "category_id": 1, "segmentation": [[1, 1, 2, 2]], "bbox": [0, 0, 1, 1]},
    {"id": 17, "image_id": 2, "category_id": 1, "segmentation": {"size": [4, 4], "counts": [0, 16]}},
    {"id": 18, "image_id": 404, "category_id": 1, "bbox": [0, 0, 1, 1]},
    {"id": 14, "image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]},
    {"id": 19, "image_id": 2, "category_id": 1, "bbox": [0, 0, -1, 1]},
    {"id": 20, "image_id": 2, "category_id": 1, "bbox": "all of it"}]}"#;

fn coco_files(dir: &Path) {
    write_photo(&dir.join("images/b.png"), 1, (8, 6));
    write_photo(&dir.join("images/sub/a.png"), 2, (8, 6));
    write_photo(&dir.join("images/small.png"), 3, (8, 6));
    write_photo(&dir.join("outside.png"), 4, (8, 6));
    std::fs::write(dir.join("instances.json"), INSTANCES).unwrap();
}

async fn ingest_instances(store: &Store, dir: &Path, split: &str) -> IngestSummary {
    let options = options("coco", Some(split));
    let (json, images) = (dir.join("instances.json"), dir.join("images"));
    ingest_coco(
        store,
        &CocoIngest {
            annotations: (&json).into(),
            images: (&images).into(),
            options,
        },
        &NoProgress,
    )
    .await
    .unwrap()
}

#[tokio::test]
async fn coco_keeps_ids_categories_and_every_kind_of_mask() {
    let (dir, store) = new_store().await;
    coco_files(dir.path());
    let summary = ingest_instances(&store, dir.path(), "val").await;
    assert_eq!((summary.images_added, summary.ground_truth_added), (2, 5));
    assert_eq!((summary.labels_added, summary.failed), (3, 10));

    let snapshot = store.snapshot().await.unwrap();
    let classes = rows::<ClassRow>(&snapshot).await;
    let classes: Vec<_> = classes
        .iter()
        .map(|c| {
            (
                c.class_set.as_str(),
                c.class_index,
                c.class.as_str(),
                c.supercategory.as_deref(),
                c.external_id,
            )
        })
        .collect();
    assert_eq!(
        classes,
        [
            ("coco", 0, "dog", Some("animal"), Some(18)),
            ("coco", 1, "person", Some("person"), Some(1)),
            ("coco", 2, "toothbrush", None, Some(90))
        ]
    );

    let images = rows::<ImageRow>(&snapshot).await;
    assert_eq!(images[0].external_id, Some(9));
    assert_eq!(images[1].file_name, "sub/a.png");
    let attributes: serde_json::Value =
        serde_json::from_str(images[0].attributes.as_deref().unwrap()).unwrap();
    assert_eq!(attributes["license"]["name"], "CC BY");
    assert_eq!(attributes["flickr_url"], "f");

    let truth = rows::<GroundTruthRow>(&snapshot).await;
    let size = Size {
        height: 6,
        width: 8,
    };
    let polygons = rle_from_polygons(
        &[
            vec![1.0, 1.0, 5.0, 1.0, 5.0, 4.0, 1.0, 4.0],
            vec![6.0, 4.0, 8.0, 4.0, 8.0, 6.0],
        ],
        size,
    );
    assert_eq!(
        Rle::try_from(truth[0].rle.as_ref().unwrap()).unwrap(),
        polygons.unwrap()
    );
    assert_eq!((truth[0].area, truth[0].bbox), (12.5, [1.0, 1.0, 4.0, 3.0]));
    assert_eq!(truth[0].attributes.as_deref(), Some(r#"{"note":"mine"}"#));
    assert_eq!(
        Rle::try_from(truth[1].rle.as_ref().unwrap()).unwrap(),
        Rle::full(size).unwrap()
    );
    assert!(truth[1].iscrowd && !truth[0].iscrowd);
    assert_eq!(truth[1].category.as_deref(), Some("person"));
    assert_eq!(truth[2].area, 4.0); // not given: pixels
    let kinds: Vec<_> = truth.iter().map(|t| t.segmentation.as_str()).collect();
    assert_eq!(kinds, ["polygon", "rle", "rle", "none", "none"]);
    assert_eq!((truth[4].rle.as_ref(), truth[4].area), (None, 9.0));

    let found: BTreeMap<_, _> = failures(&store).await.into_iter().collect();
    for (item, part) in [
        ("missing.png", "No such file"),
        ("small.png", "annotated at 80x60, the file is 8x6"),
        (
            "../outside.png",
            "expected a path below the image directory",
        ),
        ("sub/a.png: annotation 15", "category_id, 77"),
        ("sub/a.png: annotation 16", "4 numbers"),
        ("sub/a.png: annotation 17", "expected 6x8, found 4x4"),
        ("instances.json: annotation 18", "image_id, 404"),
        (
            "instances.json: annotations[8] of 'b.png'",
            "its id, 14, is that of annotations[3] of 'sub/a.png', too",
        ),
        ("sub/a.png: annotation 19", "negative width"),
        (
            "sub/a.png: annotation 20",
            "bbox is the text 'all of it', expected 4 numbers",
        ),
    ] {
        let reason = found
            .get(item)
            .unwrap_or_else(|| panic!("{item} is not in {found:?}"));
        assert!(reason.contains(part), "{item}: {reason}");
    }
    assert_eq!(found.len(), 10);

    let version = snapshot.version();
    let again = ingest_instances(&store, dir.path(), "val").await;
    assert_eq!((again.images_known, again.failed), (2, 10));
    assert_eq!((again.labels_added, again.ground_truth_added), (0, 0));
    assert_eq!(store.snapshot().await.unwrap().version(), version);
}

#[tokio::test]
async fn changed_annotations_and_splits_are_told_not_taken() {
    let (dir, store) = new_store().await;
    coco_files(dir.path());
    ingest_instances(&store, dir.path(), "val").await;
    let before = rows::<GroundTruthRow>(&store.snapshot().await.unwrap()).await;
    let changed = INSTANCES.replace("\"area\": 12.5", "\"area\": 13.5");
    std::fs::write(dir.path().join("instances.json"), changed).unwrap();
    let summary = ingest_instances(&store, dir.path(), "train").await;
    assert_eq!(summary.ground_truth_added, 0);
    assert_eq!(summary.failed, 10 + 1 + 2);
    let reasons: Vec<_> = failures(&store)
        .await
        .into_iter()
        .map(|(_, reason)| reason)
        .collect();
    assert!(
        reasons.iter().any(|r| r.contains("1 of its 4 annotations")),
        "{reasons:?}"
    );
    assert!(
        reasons
            .iter()
            .any(|r| r.contains("split 'val' and keeps it")),
        "{reasons:?}"
    );
    assert_eq!(
        rows::<GroundTruthRow>(&store.snapshot().await.unwrap()).await,
        before
    );
}

#[tokio::test]
async fn one_photo_under_two_ids_is_told_once() {
    let (dir, store) = new_store().await;
    coco_files(dir.path());
    let images = dir.path().join("images");
    std::fs::copy(images.join("b.png"), images.join("missing.png")).unwrap();
    let mut version = 0;
    for _ in 0..2 {
        let summary = ingest_instances(&store, dir.path(), "val").await;
        assert_eq!(summary.failed, 10);
        let failures = failures(&store).await;
        assert_eq!(failures.len(), 10);
        let told = failures
            .iter()
            .find(|(item, _)| item == "missing.png")
            .unwrap();
        assert!(
            told.1.contains("same bytes as 'b.png' (image id 9)"),
            "{told:?}"
        );
        let now = store.snapshot().await.unwrap().version();
        assert!(
            version == 0 || version == now,
            "the second run writes nothing"
        );
        version = now;
    }
}

#[tokio::test]
async fn a_broken_annotation_file_is_an_error_with_its_place() {
    let (dir, store) = new_store().await;
    coco_files(dir.path());
    for (text, part) in [
        (
            INSTANCES[..400].to_owned(),
            "the JSON ends in the middle, at line",
        ),
        (
            INSTANCES.replace("\"categories\"", "\"kinds\""),
            "categories",
        ),
        (
            INSTANCES.replace("\"id\": 90", "\"id\": 18"),
            "two categories have id 18",
        ),
        ("[]".to_owned(), "not a COCO data set"),
        ("{}".to_owned(), "it has no 'images'"),
    ] {
        std::fs::write(dir.path().join("instances.json"), text).unwrap();
        let (json, images) = (dir.path().join("instances.json"), dir.path().join("images"));
        let done = ingest_coco(
            &store,
            &CocoIngest {
                annotations: (&json).into(),
                images: (&images).into(),
                options: options("coco", None),
            },
            &NoProgress,
        )
        .await;
        let message = done.unwrap_err().to_string();
        assert!(
            message.contains(part) && message.contains("instances.json"),
            "{message}"
        );
    }
    assert_eq!(store.snapshot().await.unwrap().version(), 1);
}

#[tokio::test]
async fn a_list_of_images_without_categories_is_ingested() {
    let (dir, store) = new_store().await;
    write_photo(&dir.path().join("a.png"), 1, (8, 6));
    let images =
        r#"{"images": [{"id": 5, "file_name": "a.png"}], "annotations": [], "categories": []}"#;
    std::fs::write(dir.path().join("images.json"), images).unwrap();
    let summary = ingest_coco(
        &store,
        &CocoIngest {
            annotations: (&dir.path().join("images.json")).into(),
            images: dir.path().into(),
            options: options("plain", None),
        },
        &NoProgress,
    )
    .await
    .unwrap();
    assert_eq!((summary.images_added, summary.failed), (1, 0));
    assert_eq!(
        rows::<ClassRow>(&store.snapshot().await.unwrap())
            .await
            .len(),
        0
    );
}
