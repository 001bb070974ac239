//! Imports of masks of COCO, SA-1B and label maps, which must be what pycocotools and numpy say of them
//! (`tests/data/import/make.py`).

mod export_sa1b;
mod ground_truth;
mod program;

use std::collections::BTreeMap;
use std::path::PathBuf;

use grainstore::import::{ImportMasksRequest, ImportMasksSummary, MaskSource, import_masks};
use grainstore::ingest::{FolderIngest, IngestOptions, LabelSource, ingest_folder};
use grainstore::progress::NoProgress;
use grainstore::schema::Table;
use grainstore::selection::ImageFilter;
use grainstore::sql::Sql;
use grainstore::store::Store;
use grainstore::store::rows::{
    ExtractionRow, ExtractorKind, ExtractorRow, FailureRow, ImageRow, decode,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{append, image, new_store, rows};

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/import")
        .join(name)
}

/// Masks by source and photo.
fn expected() -> BTreeMap<String, BTreeMap<String, Vec<Value>>> {
    serde_json::from_slice(&std::fs::read(data("expected.json")).unwrap()).unwrap()
}

fn label_maps(name: &str, ignore: &[u32]) -> MaskSource {
    MaskSource::LabelMaps {
        path: data(name),
        ignore: ignore.to_vec(),
    }
}

async fn store_of_photos() -> (TempDir, Store) {
    let (dir, store) = new_store().await;
    let request = FolderIngest {
        directory: data("photos"),
        labels: LabelSource::Unlabelled,
        options: IngestOptions::of_dataset("photos"),
    };
    let summary = ingest_folder(&store, &request, &NoProgress).await.unwrap();
    assert_eq!((summary.images_added, summary.failed), (6, 0));
    (dir, store)
}

async fn try_import(
    store: &Store,
    source: MaskSource,
    images: ImageFilter,
) -> grainstore::Result<ImportMasksSummary> {
    let request = ImportMasksRequest {
        source,
        images,
        commit_masks: 4, // several commits
    };
    import_masks(store, &request, &NoProgress).await
}

async fn import(store: &Store, source: MaskSource) -> ImportMasksSummary {
    try_import(store, source, ImageFilter::all()).await.unwrap()
}

/// A mask as it is stored.
#[derive(Debug, Deserialize)]
struct Stored {
    file_name: String,
    mask_index: i32,
    counts: String,
    area: i64,
    bbox: [f64; 4],
    predicted_iou: Option<f32>,
    stability_score: Option<f32>,
    point: Option<[f64; 2]>,
    crop_box: [f64; 4],
    is_plain: bool,
}

/// The masks of an import, by photo.
async fn masks_of(store: &Store, summary: &ImportMasksSummary) -> BTreeMap<String, Vec<Stored>> {
    let sql = Sql::new(&store.snapshot().await.unwrap()).await.unwrap();
    let id = summary.extractor_id.as_ref().unwrap();
    let query = format!(
        "SELECT i.file_name, m.mask_index, m.rle['counts'] AS counts, m.area, m.bbox, m.predicted_iou,
                m.stability_score, m.point, m.crop_box,
                m.embedding IS NULL AND m.mask_output IS NULL AND m.object_score IS NULL AS is_plain
         FROM masks AS m JOIN images AS i ON m.image_id = i.image_id
         WHERE m.extractor_id = '{id}'
         ORDER BY i.file_name, m.mask_index"
    );
    let mut found: BTreeMap<String, Vec<Stored>> = BTreeMap::new();
    let batches = sql.query(&query).await.unwrap().collect().await.unwrap();
    for batch in batches {
        for mask in decode::<Stored>(Table::Masks, &batch).unwrap() {
            found.entry(mask.file_name.clone()).or_default().push(mask);
        }
    }
    found
}

fn numbers<const N: usize>(value: &Value) -> Option<[f64; N]> {
    let numbers: Vec<f64> = serde_json::from_value(value.clone()).ok()?;
    numbers.try_into().ok()
}

#[track_caller]
fn compare(found: &Stored, at: usize, expected: &Value) {
    let of = format!("{} {at}", found.file_name);
    assert_eq!(found.mask_index as usize, at, "{of}");
    assert_eq!(found.counts, expected["counts"], "{of}");
    assert_eq!(found.area, expected["area"], "{of}");
    assert_eq!(Some(found.bbox), numbers(&expected["bbox"]), "{of}");
    let float = |key: &str| expected[key].as_f64().map(|number| number as f32);
    assert_eq!(found.predicted_iou, float("predicted_iou"), "{of}");
    assert_eq!(found.stability_score, float("stability_score"), "{of}");
    assert_eq!(found.point, numbers(&expected["point"]), "{of}");
    if let Some(crop) = numbers::<4>(&expected["crop_box"]) {
        assert_eq!(found.crop_box, crop, "{of}");
    }
    assert!(found.is_plain, "{of}");
}

/// Numbers of rows that an import writes.
async fn counts(store: &Store) -> Vec<u64> {
    let snapshot = store.snapshot().await.unwrap();
    let mut counts = Vec::new();
    for table in [
        Table::Masks,
        Table::Extractions,
        Table::Extractors,
        Table::Failures,
    ] {
        counts.push(snapshot.count(table).await.unwrap());
    }
    counts
}

/// Reasons of the failures that the store records, by item.
async fn failures(store: &Store) -> BTreeMap<String, FailureRow> {
    let found: Vec<FailureRow> = rows(&store.snapshot().await.unwrap()).await;
    found.into_iter().map(|it| (it.item.clone(), it)).collect()
}

#[track_caller]
fn assert_failures(found: &BTreeMap<String, FailureRow>, expected: &[(&str, &str)]) {
    for (item, part) in expected {
        let row = found.get(*item);
        let row = row.unwrap_or_else(|| panic!("no '{item}' in {:?}", found.keys()));
        assert!(row.reason.contains(part), "{item}: {}", row.reason);
        assert_eq!(row.stage, "import");
    }
    assert_eq!(found.len(), expected.len(), "{:?}", found.keys());
}

#[tokio::test]
async fn masks_are_those_of_the_peers_and_come_once() {
    let expected = expected();
    for (name, source, options, [without_mask, failed, failed_again]) in [
        (
            "coco",
            MaskSource::Coco(data("coco.json")),
            r#"{"source":"coco"}"#,
            [1, 7, 3],
        ),
        (
            "sa1b",
            MaskSource::Sa1b(data("sa1b")),
            r#"{"source":"sa-1b"}"#,
            [1, 4, 2],
        ),
        (
            "label_maps",
            label_maps("label_maps", &[]),
            r#"{"ignore":[],"source":"label-maps"}"#,
            [0, 0, 0],
        ),
    ] {
        let (_dir, store) = store_of_photos().await;
        let expected = &expected[name];
        let summary = import(&store, source.clone()).await;
        let found = masks_of(&store, &summary).await;
        let masks: usize = expected.values().map(Vec::len).sum();
        assert_eq!(
            summary,
            ImportMasksSummary {
                extractor_id: summary.extractor_id.clone(),
                images: expected.len() as u64,
                masks: masks as u64,
                without_mask,
                failed,
                ..ImportMasksSummary::default()
            },
            "{name}"
        );
        for (photo, expected) in expected {
            let found = found.get(photo).map_or(&[][..], Vec::as_slice);
            assert_eq!(found.len(), expected.len(), "{name}: {photo}");
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                compare(found, at, expected);
            }
        }

        let snapshot = store.snapshot().await.unwrap();
        let extractors: Vec<ExtractorRow> = rows(&snapshot).await;
        let [extractor] = &extractors[..] else {
            panic!("{extractors:?}")
        };
        assert_eq!(Some(&extractor.extractor_id), summary.extractor_id.as_ref());
        assert_eq!(extractor.kind, ExtractorKind::ImportedMasks);
        assert_eq!(extractor.options, options);
        assert_eq!(extractor.model(), "imported masks");
        assert!(extractor.embedding_dim.is_none() && extractor.embedding_space.is_none());
        let extractions: Vec<ExtractionRow> = rows(&snapshot).await;
        let recorded: i32 = extractions.iter().map(|row| row.masks).sum();
        assert_eq!(
            (extractions.len(), recorded as usize),
            (expected.len(), masks)
        );

        let before = counts(&store).await;
        let again = import(&store, source).await;
        assert_eq!((again.images, again.masks), (0, 0), "{name}");
        assert_eq!(
            (again.done, again.failed),
            (summary.images, failed_again),
            "{name}"
        );
        assert_eq!(again.extractor_id, summary.extractor_id);
        assert_eq!(counts(&store).await, before, "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_used_is_named() {
    let (_dir, store) = store_of_photos().await;
    import(&store, MaskSource::Coco(data("coco.json"))).await;
    let found = failures(&store).await;
    assert_failures(
        &found,
        &[
            (
                "coco.json: image 14 'c.png'",
                "its masks are 8x8 (width x height), the image is 16x16",
            ),
            (
                "coco.json: image 15 'nowhere.jpg'",
                "no image of the store is called so",
            ),
            (
                "coco.json: annotations[13], id 14",
                "no image has its image_id, 99",
            ),
            (
                "coco.json: image 11 'a.jpg': annotations[9], id 10",
                "its mask covers no pixel",
            ),
            (
                "coco.json: image 12 'photos/sub/b.png': annotations[5], id 6",
                "byte 126",
            ),
            (
                "coco.json: image 12 'photos/sub/b.png': annotations[7], id 8",
                "masks differ in size: expected 31x23, found 23x31",
            ),
            (
                "coco.json: image 12 'photos/sub/b.png': annotations[8], id 9",
                "segmentation[0] has 2 numbers",
            ),
        ],
    );
    let of_image = found.values().filter(|row| row.image_id.is_some()).count();
    assert_eq!(of_image, 5);

    let (_dir, store) = store_of_photos().await;
    import(&store, MaskSource::Sa1b(data("sa1b"))).await;
    assert_failures(
        &failures(&store).await,
        &[
            ("sa_1.json: annotations[1]", "its mask covers no pixel"),
            ("sa_1.json: annotations[2]", "end inside a run"),
            (
                "sa_3.json: image 'nowhere.jpg'",
                "no image of the store is called so",
            ),
            ("cut.json", "not JSON as in SA-1B (image, annotations): EOF"),
        ],
    );

    let (_dir, store) = store_of_photos().await;
    let summary = import(&store, label_maps("bad_label_maps", &[])).await;
    assert_eq!((summary.images, summary.failed), (0, 8));
    assert_failures(
        &failures(&store).await,
        &[
            (
                "a.png",
                "a.png and a.tif hold masks of 'a.jpg'; leave one of them",
            ),
            ("sub/b.png", "not a label map: png of rgb8"),
            ("turned.png", "they were made without its EXIF orientation"),
            ("c.png", "truncated png image"),
            ("d.tif", "it holds value -1, expected labels from 0 on"),
            ("e.tif", "not a label map: tiff of floating-point numbers"),
            ("nowhere.png", "no image of the store is called so"),
            ("text.png", "not an image: the file starts with 'hello'"),
        ],
    );
    assert_eq!(
        counts(&store).await,
        [0, 0, 0, 8],
        "no extractor without masks"
    );
}

#[tokio::test]
async fn values_of_label_maps_can_be_left_out() {
    let (_dir, store) = store_of_photos().await;
    let all = import(&store, label_maps("label_maps", &[])).await;
    let some = import(&store, label_maps("label_maps", &[255, 1])).await;
    assert_ne!(all.extractor_id, some.extractor_id);
    assert_eq!((some.images, some.masks), (6, all.masks - 5));
    let (before, after) = (masks_of(&store, &all).await, masks_of(&store, &some).await);
    let areas = |masks: &[Stored]| masks.iter().map(|mask| mask.area).collect::<Vec<_>>();
    assert_eq!(areas(&after["a.jpg"]), areas(&before["a.jpg"][..2]));
    assert_eq!(areas(&after["sub/b.png"]), areas(&before["sub/b.png"][1..]));
    assert!(!after.contains_key("e.png"), "it is done, without masks");
    let same = import(&store, label_maps("label_maps", &[1, 255, 1])).await;
    assert_eq!((same.extractor_id, same.done), (some.extractor_id, 6));
}

#[tokio::test]
async fn an_import_goes_on_where_it_stopped() {
    let (_dir, store) = store_of_photos().await;
    let source = || MaskSource::Coco(data("coco.json"));
    let first = ImageFilter::matching("file_name = 'a.jpg'");
    let first = try_import(&store, source(), first).await.unwrap();
    assert_eq!((first.images, first.masks, first.left_out), (1, 3, 4));
    let rest = import(&store, source()).await;
    assert_eq!((rest.images, rest.masks, rest.done), (3, 4, 1));
    assert_eq!(rest.extractor_id, first.extractor_id);
    assert_eq!(counts(&store).await, [7, 4, 1, 7]);
    let log = store.log().await.unwrap();
    let imports = log.iter().filter(|it| it.operation == "import masks");
    assert!(imports.count() > 2, "commits are bounded");

    // One file is the same masks as a directory with it, under another extractor.
    let single = import(&store, label_maps("label_maps/a.png", &[])).await;
    assert_eq!((single.images, single.masks), (1, 3));
}

#[tokio::test]
async fn images_of_a_data_set_are_found_by_its_ids() {
    let (dir, store) = new_store().await;
    let row = |n: u32, file_name: &str, dataset: &str| ImageRow {
        file_name: file_name.to_owned(),
        dataset: dataset.to_owned(),
        external_id: Some(i64::from(n % 10)),
        ..image(n)
    };
    let images = [
        row(1, "x1.jpg", "mine"),
        row(2, "same.jpg", "mine"),
        row(12, "same.jpg", "other"),
        row(13, "x3.jpg", "other"),
    ];
    append(&store, &images).await;
    let file = dir.path().join("masks.json");
    let triangle = json!([[1, 1, 9, 1, 9, 9]]);
    let content = json!({
        "images": [{ "id": 1, "file_name": "1.jpg" }, { "id": 2, "file_name": "same.jpg" }],
        "categories": [],
        "annotations": [
            { "image_id": 1, "segmentation": triangle }, { "image_id": 2, "segmentation": triangle },
        ],
    });
    std::fs::write(&file, content.to_string()).unwrap();
    let source = || MaskSource::Coco(file.clone());

    let none = import(&store, source()).await;
    assert_eq!((none.images, none.failed), (0, 2));
    assert_failures(
        &failures(&store).await,
        &[
            (
                "masks.json: image 1 '1.jpg'",
                "no image of the store is called so",
            ),
            (
                "masks.json: image 2 'same.jpg'",
                "it may be any of 'same.jpg' of data set 'mine', 'same.jpg' of data set 'other'",
            ),
        ],
    );
    let mine = ImageFilter::dataset("mine");
    let mine = try_import(&store, source(), mine).await.unwrap();
    assert_eq!((mine.images, mine.masks, mine.failed), (2, 2, 0));
    assert_eq!(
        masks_of(&store, &mine)
            .await
            .into_keys()
            .collect::<Vec<_>>(),
        ["same.jpg", "x1.jpg"]
    );
    let nowhere = try_import(&store, source(), ImageFilter::dataset("nope")).await;
    let nowhere = nowhere.unwrap_err().to_string();
    assert!(nowhere.contains("no data set 'nope'"), "{nowhere}");
}

#[tokio::test]
async fn files_of_other_kinds_are_errors_that_name_them() {
    let (dir, store) = store_of_photos().await;
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let two = dir.path().join("two");
    std::fs::create_dir(&two).unwrap();
    for name in ["1.json", "2.json"] {
        std::fs::write(two.join(name), "{}").unwrap();
    }
    let maps = |path: PathBuf| MaskSource::LabelMaps {
        path,
        ignore: Vec::new(),
    };
    for (source, parts) in [
        (
            MaskSource::Coco(data("sa1b/sa_1.json")),
            ["sa_1.json'", "it has no 'images'"],
        ),
        (
            MaskSource::Coco(data("photos/c.png")),
            ["c.png'", "a PNG image"],
        ),
        (
            MaskSource::Sa1b(data("coco.json")),
            ["coco.json'", "missing field `image`"],
        ),
        (
            MaskSource::Sa1b(two.clone()),
            ["1.json'", "missing field `image`"],
        ),
        (
            MaskSource::Sa1b(empty.clone()),
            ["empty'", "no JSON files are below it (.json)"],
        ),
        (
            maps(empty),
            ["empty'", "no label maps are below it (.png, .tif, .tiff)"],
        ),
        (
            maps(data("bad_label_maps/text.png")),
            ["text.png'", "not an image"],
        ),
        (
            maps(data("photos/a.jpg")),
            ["a.jpg'", "a jpeg file, expected a PNG or TIFF"],
        ),
        (maps(data("nowhere")), ["cannot read", "nowhere'"]),
        (
            MaskSource::Coco(data("nowhere.json")),
            ["cannot read", "nowhere.json'"],
        ),
    ] {
        let err = try_import(&store, source.clone(), ImageFilter::all()).await;
        let err = err.unwrap_err().to_string();
        for part in parts {
            assert!(err.contains(part), "{source:?}: {err}");
        }
    }
    assert_eq!(counts(&store).await, [0; 4]);

    // Two files about one photo.
    std::fs::copy(data("sa1b/sa_1.json"), two.join("1.json")).unwrap();
    std::fs::copy(data("sa1b/sa_1.json"), two.join("2.json")).unwrap();
    let twice = import(&store, MaskSource::Sa1b(two)).await;
    assert_eq!((twice.images, twice.failed), (0, 1));
    let told = [("1.json", "1.json and 2.json hold masks of 'a.jpg'")];
    assert_failures(&failures(&store).await, &told);
}
