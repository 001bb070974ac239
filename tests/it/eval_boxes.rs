//! Ground truth of boxes: what is known of objects without a mask, and what is not.

use grainstore::classes::{ClassSet, add_class_set};
use grainstore::eval::{EvalRequest, Evaluation, evaluate};
use grainstore::geometry::{Size, rle_from_polygon};
use grainstore::ids::GroundTruthId;
use grainstore::import::{ImportRequest, import_coco_results};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{GroundTruthRow, ImageRow, RleRow};
use serde_json::json;

use crate::eval_store::class;
use crate::support::{append, image, instant, new_store};

const SIZE: Size = Size {
    height: 48,
    width: 64,
};
/// Image, category and box of each object.
const OBJECTS: [(u32, i64, [f64; 4]); 3] = [
    (1, 1, [5.0, 6.0, 20.0, 15.0]),
    (1, 2, [30.0, 10.0, 12.0, 20.0]),
    (2, 1, [8.0, 9.0, 30.0, 20.0]),
];

fn mask([x, y, width, height]: [f64; 4]) -> RleRow {
    let (right, bottom) = (x + width, y + height);
    let outline = [x, y, x, bottom, right, bottom, right, y];
    RleRow::from(&rle_from_polygon(&outline, SIZE).unwrap())
}

/// A store in which objects for which `has_mask` holds have one, and a head that finds every object exactly.
async fn store_of(has_mask: impl Fn(usize) -> bool) -> (tempfile::TempDir, Store) {
    let (dir, store) = new_store().await;
    let images = [1, 2].map(|n| ImageRow {
        width: 64,
        height: 48,
        dataset: "boxes".to_owned(),
        ..image(n)
    });
    append(&store, &images).await;
    let names = ["cat", "dog"];
    let classes = vec![
        class("cat", Some(1), &["cat"]),
        class("dog", Some(2), &["dog"]),
    ];
    let set = ClassSet::new("boxes", classes).unwrap();
    add_class_set(&store, "test", &set, "file").await.unwrap();
    let rows: Vec<GroundTruthRow> = OBJECTS
        .iter()
        .enumerate()
        .map(|(at, (n, category, bbox))| GroundTruthRow {
            ground_truth_id: GroundTruthId::of_bytes(&[at as u8]),
            image_id: image(*n).image_id,
            dataset: "boxes".to_owned(),
            external_id: Some(at as i64 + 1),
            category: Some(names[*category as usize - 1].to_owned()),
            category_id: Some(*category),
            rle: has_mask(at).then(|| mask(*bbox)),
            bbox: *bbox,
            area: bbox[2] * bbox[3],
            iscrowd: false,
            is_ignored: false,
            segmentation: if has_mask(at) { "rle" } else { "none" }.to_owned(),
            attributes: None,
            ingested_at: instant(0),
        })
        .collect();
    append(&store, &rows).await;
    let results: Vec<_> = OBJECTS
        .iter()
        .map(|(n, category, bbox)| {
            let RleRow {
                height,
                width,
                counts,
            } = mask(*bbox);
            json!({ "image_id": n, "category_id": category, "score": 0.9,
                    "segmentation": { "size": [height, width], "counts": counts } })
        })
        .collect();
    let file = dir.path().join("results.json");
    std::fs::write(&file, serde_json::to_vec(&results).unwrap()).unwrap();
    let request = ImportRequest {
        split: None,
        file,
        head: "exact".to_owned(),
        dataset: "boxes".to_owned(),
        classes: None,
    };
    import_coco_results(&store, &request, &NoProgress)
        .await
        .unwrap();
    (dir, store)
}

async fn eval(store: &Store) -> Evaluation {
    let request = EvalRequest {
        head: "exact".to_owned(),
        ..EvalRequest::default()
    };
    let snapshot = store.snapshot().await.unwrap();
    evaluate(&snapshot, &request, &NoProgress).await.unwrap()
}

fn value(evaluation: &Evaluation, class: Option<&str>, metric: &str) -> Option<f64> {
    let mut found = evaluation.metrics.iter();
    let found = found.find(|it| it.class.as_deref() == class && it.metric == metric);
    found.unwrap_or_else(|| panic!("no {metric}")).value
}

#[tokio::test]
async fn of_boxes_alone_metrics_of_masks_and_pixels_are_undefined() {
    let (_dir, store) = store_of(|_| false).await;
    let found = eval(&store).await;
    assert_eq!((found.objects, found.objects_without_mask), (3, 3));
    for metric in [
        "miou",
        "miou_classes",
        "pixel_accuracy",
        "mean_accuracy",
        "fw_iou",
        "dice",
        "boundary_miou",
        "ap",
        "ap50",
        "ar_100",
    ] {
        assert_eq!(value(&found, None, metric), None, "{metric}");
    }
    for metric in ["box_ap", "box_ap50", "box_ar_100"] {
        assert_eq!(value(&found, None, metric), Some(1.0), "{metric}");
    }
    assert_eq!(value(&found, Some("cat"), "iou"), None);
    assert_eq!(value(&found, Some("background"), "iou"), None);
}

#[tokio::test]
async fn objects_without_a_mask_beside_others_are_void() {
    let (_dir, store) = store_of(|at| at == 2).await;
    let found = eval(&store).await;
    assert_eq!((found.objects, found.objects_without_mask), (3, 2));
    // The detections in the boxes of image 1 are neither right nor wrong.
    for metric in ["ap", "ap50", "ar_100", "miou", "pixel_accuracy", "box_ap"] {
        assert_eq!(value(&found, None, metric), Some(1.0), "{metric}");
    }
    assert_eq!(value(&found, Some("cat"), "iou"), Some(1.0));
    assert_eq!(value(&found, Some("dog"), "iou"), None);
}
