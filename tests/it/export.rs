//! Exports: what other tools read is what the store holds, and a failed export leaves what was there.
//!
//! Areas, boxes and counts of the fixtures are pycocotools' (tests/data/eval/make.py); that other importers load the
//! files is shown by tests/parity/export.py.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use grainstore::export::CocoExport;
use grainstore::export::{
    Annotations, CocoFormat, ExportRequest, ExportSummary, Ids, MaskStyle, export_coco,
};
use grainstore::geometry::{Rle, Size, rle_from_polygons};
use grainstore::import::{ImportRequest, import_coco_results};
use grainstore::ingest::CocoIngest;
use grainstore::ingest::{IngestOptions, Source, ingest_coco};
use grainstore::progress::NoProgress;
use grainstore::selection::ImageFilter;
use grainstore::store::rows::{
    ClassRow, GroundTruthRow, ImageRow, LabelRow, PolicyRow, PredictionRow, Row,
};
use grainstore::store::{Snapshot, Store};
use serde_json::{Value, json};

use crate::eval_store::{annotated_store, import, json as fixture};
use crate::support::{instant, new_store, rows};

pub fn request(head: Option<&str>) -> ExportRequest {
    ExportRequest {
        annotations: match head {
            Some(head) => Annotations::Head {
                head: head.to_owned(),
                policy: None,
            },
            None => Annotations::GroundTruth,
        },
        images: ImageFilter::default(),
        classes: None,
        supercategories: None,
        ids: Ids::Original,
    }
}

async fn coco(
    store: &Store,
    request: &ExportRequest,
    format: CocoFormat,
    style: Option<MaskStyle>,
    file: &Path,
) -> grainstore::Result<ExportSummary> {
    let snapshot = store.snapshot().await?;
    export_coco(
        &snapshot,
        &CocoExport {
            export: request.clone(),
            format,
            style,
            file: file.into(),
        },
        &NoProgress,
    )
    .await
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// The mask of an annotation or detection that holds it as RLE.
pub fn rle_of(it: &Value) -> Rle {
    let segmentation = &it["segmentation"];
    let side = |at: usize| segmentation["size"][at].as_u64().unwrap() as u32;
    let size = Size {
        height: side(0),
        width: side(1),
    };
    Rle::from_counts_str(size, segmentation["counts"].as_str().unwrap()).unwrap()
}

/// The detections of a fixture or results file, in an order of their own.
fn detections(list: &Value) -> Vec<String> {
    let mut found: Vec<String> = list
        .as_array()
        .unwrap()
        .iter()
        .map(Value::to_string)
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn a_data_set_follows_the_rules_of_coco() {
    let (dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let file = dir.path().join("masks.coco.json");
    let wanted = ExportRequest {
        supercategories: Some("groups".to_owned()),
        ..request(Some("masks"))
    };
    let summary = coco(&store, &wanted, CocoFormat::Dataset, None, &file)
        .await
        .unwrap();
    let (found, truth, list) = (read(&file), fixture("truth.json"), fixture("masks.json"));

    // Categories in declared order with their ids, used or not; supercategories from the coarse set.
    let pair = |it: &Value| (it["id"].clone(), it["name"].clone());
    let categories = |of: &Value| {
        of["categories"]
            .as_array()
            .unwrap()
            .iter()
            .map(pair)
            .collect::<Vec<_>>()
    };
    assert_eq!(categories(&found), categories(&truth));
    let above: Vec<_> = found["categories"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["supercategory"])
        .collect();
    assert_eq!(
        above,
        ["animal", "animal", "vehicle", "vehicle", "vehicle", "spoon"]
    );

    // Images under their COCO ids, also those on which nothing was found.
    let size_of: HashMap<i64, (Value, Value)> = truth["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            (
                it["id"].as_i64().unwrap(),
                (it["width"].clone(), it["height"].clone()),
            )
        })
        .collect();
    let judged: BTreeSet<i64> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["image_id"].as_i64().unwrap())
        .collect();
    for image in found["images"].as_array().unwrap() {
        let expected = &size_of[&image["id"].as_i64().unwrap()];
        assert_eq!(
            (&image["width"], &image["height"]),
            (&expected.0, &expected.1)
        );
        assert!(Path::new(image["file_name"].as_str().unwrap()).is_relative());
    }
    assert_eq!(summary.images, judged.len() as u64);

    // Annotations: ids from 1, masks as text, areas and boxes of the masks, no crowds.
    let annotations = found["annotations"].as_array().unwrap();
    assert_eq!(annotations.len() as u64, summary.annotations);
    assert_eq!(
        summary.annotations + summary.without_pixels,
        list.as_array().unwrap().len() as u64
    );
    for (annotation, id) in annotations.iter().zip(1..) {
        assert_eq!(
            (&annotation["id"], &annotation["iscrowd"]),
            (&json!(id), &json!(0))
        );
        let mask = rle_of(annotation);
        assert_eq!(annotation["area"].as_f64(), Some(mask.area() as f64));
        assert_eq!(annotation["bbox"], json!(mask.bbox().to_xywh()));
        assert!(
            annotation["score"].is_f64() && annotation["mask_index"].is_i64(),
            "{annotation}"
        );
    }
    assert_eq!(found["info"]["grainstore"]["from"]["head"], "masks");

    // The same state, the same bytes.
    let again = dir.path().join("again.json");
    coco(&store, &wanted, CocoFormat::Dataset, None, &again)
        .await
        .unwrap();
    assert_eq!(
        std::fs::read(&file).unwrap(),
        std::fs::read(&again).unwrap()
    );
}

#[tokio::test]
async fn polygons_hold_the_same_masks() {
    let (dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let (rle, polygons) = (
        dir.path().join("rle.json"),
        dir.path().join("polygons.json"),
    );
    for (style, file) in [(MaskStyle::Rle, &rle), (MaskStyle::Polygon, &polygons)] {
        coco(
            &store,
            &request(Some("masks")),
            CocoFormat::Dataset,
            Some(style),
            file,
        )
        .await
        .unwrap();
    }
    let (rle, polygons) = (read(&rle), read(&polygons));
    let pairs = rle["annotations"]
        .as_array()
        .unwrap()
        .iter()
        .zip(polygons["annotations"].as_array().unwrap());
    let (mut compared, mut of_parts) = (0, 0);
    for (a, b) in pairs {
        let outlines: Vec<Vec<f64>> = serde_json::from_value(b["segmentation"].clone()).unwrap();
        let drawn = rle_from_polygons(&outlines, rle_of(a).size()).unwrap();
        assert_eq!(
            drawn.to_counts_string(),
            a["segmentation"]["counts"].as_str().unwrap()
        );
        assert_eq!(
            (&a["id"], &a["area"], &a["bbox"]),
            (&b["id"], &b["area"], &b["bbox"])
        );
        compared += 1;
        of_parts += usize::from(outlines.len() > 1);
    }
    assert!(
        compared > 200 && of_parts > 0,
        "{compared} masks, {of_parts} of several parts"
    );
}

#[tokio::test]
async fn results_come_back_as_they_went() {
    let (dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let file = dir.path().join("results.json");
    let wanted = request(Some("masks"));
    let summary = coco(&store, &wanted, CocoFormat::Results, None, &file)
        .await
        .unwrap();
    let mut expected = fixture("masks.json");
    expected
        .as_array_mut()
        .unwrap()
        .retain(|it| !rle_of(it).is_empty());
    let found = read(&file);
    assert_eq!(found.as_array().unwrap().len() as u64, summary.annotations);
    assert_eq!(detections(&found), detections(&expected));

    let back = ImportRequest {
        split: None,
        file: file.clone(),
        head: "back".to_owned(),
        dataset: "shapes".to_owned(),
        classes: None,
    };
    import_coco_results(&store, &back, &NoProgress)
        .await
        .unwrap();
    let again = dir.path().join("again.json");
    coco(
        &store,
        &request(Some("back")),
        CocoFormat::Results,
        None,
        &again,
    )
    .await
    .unwrap();
    assert_eq!(
        std::fs::read(&file).unwrap(),
        std::fs::read(&again).unwrap()
    );
    let predictions: Vec<PredictionRow> = rows(&store.snapshot().await.unwrap()).await;
    let policies: Vec<PolicyRow> = rows(&store.snapshot().await.unwrap()).await;
    let of = |file: &str| {
        let policy = policies.iter().find(|row| row.policy.contains(file));
        let policy = &policy.unwrap().policy_id;
        let under = predictions.iter().filter(|row| row.policy_id == *policy);
        under.count()
    };
    assert_eq!(of("results.json") as u64, summary.annotations);

    let message = coco(&store, &request(None), CocoFormat::Results, None, &file)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("results are what a head found"),
        "{message}"
    );
}

/// Photos and a COCO file with every spelling: polygons, a hole, a crowd, a box alone, licences, keys of its own.
pub fn photos_and_annotations(dir: &Path) {
    std::fs::create_dir_all(dir.join("photos/sub")).unwrap();
    for (name, width, level) in [("a.png", 40, 10), ("sub/b.png", 50, 99), ("c.png", 30, 200)] {
        let photo = image::RgbImage::from_pixel(width, 30, image::Rgb([level, 7, 9]));
        photo.save(dir.join("photos").join(name)).unwrap();
    }
    let crowd = Rle::from_runs(
        Size {
            height: 30,
            width: 40,
        },
        vec![100, 250, 30, 60],
    )
    .unwrap();
    let annotations = json!({
        "licenses": [{"id": 3, "name": "BY", "url": "u"}],
        "images": [
            {"id": 900, "file_name": "a.png", "width": 40, "height": 30, "license": 3, "date_captured": "2013"},
            {"id": 12, "file_name": "sub/b.png", "width": 50, "height": 30},
            {"id": 15, "file_name": "c.png", "width": 30, "height": 30}],
        "categories": [
            {"id": 18, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "car", "supercategory": "vehicle"},
            {"id": 90, "name": "spoon", "supercategory": "kitchen"}],
        "annotations": [
            {"id": 700, "image_id": 900, "category_id": 18, "iscrowd": 0, "area": 311.25, "bbox": [2.1, 3.0, 22.9, 18.3],
             "segmentation": [[2.1, 3.0, 25.0, 3.2, 20.3, 21.3], [30.0, 20.0, 38.0, 20.5, 33.0, 28.0]], "note": {"by": "x"}},
            {"id": 701, "image_id": 900, "category_id": 3, "iscrowd": 1, "area": 310.0,
             "segmentation": {"size": [30, 40], "counts": crowd.runs()}},
            {"id": 9, "image_id": 12, "category_id": 3, "iscrowd": 0, "bbox": [4.0, 5.0, 6.5, 7.25]}],
    });
    std::fs::write(dir.join("in.json"), annotations.to_string()).unwrap();
}

pub async fn ingest(store: &Store, dir: &Path, file: &Path) {
    let options = IngestOptions {
        dataset: "mini".to_owned(),
        source: Source::Target,
        split: Some("val".to_owned()),
        verify_pixels: false,
        commit_rows: 1000,
    };
    let summary = ingest_coco(
        store,
        &CocoIngest {
            annotations: file.into(),
            images: (&dir.join("photos")).into(),
            options,
        },
        &NoProgress,
    )
    .await
    .unwrap();
    assert_eq!(summary.failed, 0);
}

/// Everything that ingest wrote, without times.
async fn ingested(store: &Store) -> BTreeMap<&'static str, BTreeSet<String>> {
    let snapshot = store.snapshot().await.unwrap();
    async fn text<R: Row>(snapshot: &Snapshot, still: impl Fn(R) -> R) -> BTreeSet<String> {
        let rows: Vec<R> = rows(snapshot).await;
        rows.into_iter()
            .map(|row| serde_json::to_string(&still(row)).unwrap())
            .collect()
    }
    BTreeMap::from([
        (
            "images",
            text::<ImageRow>(&snapshot, |row| ImageRow {
                ingested_at: instant(0),
                ..row
            })
            .await,
        ),
        (
            "labels",
            text::<LabelRow>(&snapshot, |row| LabelRow {
                ingested_at: instant(0),
                ..row
            })
            .await,
        ),
        (
            "class_sets",
            text::<ClassRow>(&snapshot, |row| ClassRow {
                created_at: instant(0),
                ..row
            })
            .await,
        ),
        (
            "ground_truth",
            text::<GroundTruthRow>(&snapshot, |row| GroundTruthRow {
                ingested_at: instant(0),
                ..row
            })
            .await,
        ),
    ])
}

#[tokio::test]
async fn annotated_objects_come_back_as_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    photos_and_annotations(dir.path());
    let (_first, store) = new_store().await;
    ingest(&store, dir.path(), &dir.path().join("in.json")).await;
    let file = dir.path().join("out.json");
    let summary = coco(&store, &request(None), CocoFormat::Dataset, None, &file)
        .await
        .unwrap();
    assert_eq!(
        (summary.images, summary.annotations, summary.categories),
        (3, 3, 3)
    );
    let written = read(&file);
    let spelling = |at: usize| &written["annotations"][at]["segmentation"];
    assert_eq!(
        spelling(0).as_array().map(Vec::len),
        Some(2),
        "two polygons stay two"
    );
    assert!(spelling(1)["counts"].is_string() && written["annotations"][1]["iscrowd"] == 1);
    assert_eq!(*spelling(2), json!([]), "a box alone");
    assert_eq!(
        written["licenses"],
        json!([{"id": 3, "name": "BY", "url": "u"}])
    );

    let (_second, other) = new_store().await;
    ingest(&other, dir.path(), &file).await;
    assert_eq!(ingested(&store).await, ingested(&other).await);

    // In other classes, and with new ids.
    let set = grainstore::classes::ClassSet::new(
        "wheels",
        vec![crate::eval_store::class("wheeled", None, &["car"])],
    );
    grainstore::classes::add_class_set(&store, "test", &set.unwrap(), "file")
        .await
        .unwrap();
    let coarse = ExportRequest {
        classes: Some("wheels".to_owned()),
        ids: Ids::New,
        ..request(None)
    };
    let summary = coco(&store, &coarse, CocoFormat::Dataset, None, &file)
        .await
        .unwrap();
    assert_eq!((summary.annotations, summary.of_other_classes), (2, 1));
    let written = read(&file);
    let ids = |of: &str| {
        written[of]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["id"].as_i64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (ids("images"), ids("annotations"), ids("categories")),
        (vec![1, 2, 3], vec![1, 2], vec![1])
    );
}

#[tokio::test]
async fn a_failed_export_leaves_the_old_file() {
    let (dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let file = dir.path().join("out.json");
    std::fs::write(&file, "old").unwrap();
    let nothing = ExportRequest {
        images: ImageFilter {
            condition: Some("width > 100000".to_owned()),
            ..ImageFilter::default()
        },
        ..request(Some("masks"))
    };
    let fine = ExportRequest {
        classes: Some("groups".to_owned()),
        supercategories: Some("shapes".to_owned()),
        ..request(Some("masks"))
    };
    let bad_sql = ExportRequest {
        images: ImageFilter {
            condition: Some("colour = 1".to_owned()),
            ..ImageFilter::default()
        },
        ..request(Some("masks"))
    };
    for (wanted, part) in [
        (&nothing, "no image that is annotated by head 'masks' fits"),
        (&request(Some("nobody")), "there is no head 'nobody'"),
        (
            &fine,
            "'animal' of 'groups' would be part of 'cat' and of 'dog'",
        ),
        (&bad_sql, "colour"),
    ] {
        let message = coco(&store, wanted, CocoFormat::Dataset, None, &file)
            .await
            .unwrap_err()
            .to_string();
        assert!(message.contains(part), "{message}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    }
    // A mask that is not there any more is told, not left out.
    let lost = dir.path().join("lost.json");
    let snapshot = store.snapshot().await.unwrap();
    let mut predictions: Vec<PredictionRow> = rows(&snapshot).await;
    predictions.truncate(1);
    predictions[0].mask_index = 5000;
    crate::support::append(&store, &predictions).await;
    let message = coco(
        &store,
        &request(Some("masks")),
        CocoFormat::Dataset,
        None,
        &lost,
    )
    .await
    .unwrap_err();
    assert!(
        message.to_string().contains("objects are there"),
        "{message}"
    );
    let left: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().contains(".part")),
        "{left:?}"
    );
}
