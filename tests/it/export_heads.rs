//! What a head keeps under a policy, in every format that holds masks: these masks with their classes and scores, and no others.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use grainstore::annotate::{AnnotateRequest, MapRule, Policy, rethreshold};
use grainstore::catalogue::{StoredPolicy, find_head, policies_of};
use grainstore::export::{
    Annotations, CocoExport, CocoFormat, CvatExport, ExportRequest, ExportSummary,
    HuggingFaceExport, LabelMapExport, MaskStyle, Photos, YoloExport, export_coco, export_cvat,
    export_hugging_face, export_label_maps, export_yolo,
};
use grainstore::geometry::Rle;
use grainstore::ingest::{
    ClassValues, CocoIngest, CvatIngest, IngestOptions, LabelMapIngest, Outlines, YoloIngest,
    ingest_coco, ingest_cvat, ingest_label_maps, ingest_yolo,
};
use grainstore::progress::NoProgress;
use grainstore::query::{Query, QuerySession};
use grainstore::schema::Table;
use grainstore::sql::Sql;
use grainstore::store::Store;
use grainstore::store::rows::{GroundTruthRow, ImageRow, RleRow, decode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::export::rle_of;
use crate::predicted_store::{CLASSES, HEAD, Object, Prediction, SIZE, annotated, predicted_store};
use crate::support::{new_store, rows};

/// A head with masks of noise, and two policies beside that of its import: they drop masks for their scores, and a mask that is there
/// twice. Of the third photo's masks they keep none.
async fn found() -> (tempfile::TempDir, Store) {
    let mut random = fastrand::Rng::with_seed(11);
    let mut predictions: Vec<Prediction> = Vec::new();
    for (photo, scores) in [
        ("a.png", &[0.97, 0.88, 0.77, 0.66, 0.41, 0.22][..]),
        ("sub/b.png", &[0.93, 0.84, 0.72, 0.55, 0.31][..]),
        ("c.png", &[0.45, 0.13][..]),
    ] {
        for (score, (_, class)) in scores.iter().zip(CLASSES.into_iter().cycle()) {
            let bits = (0..24 * 30).map(|_| u8::from(random.u8(..) < 120));
            let mask = Rle::from_row_major(SIZE, &bits.collect::<Vec<_>>()).unwrap();
            predictions.push(Prediction {
                photo,
                class,
                score: *score,
                mask,
            });
        }
    }
    let again = predictions[0].mask.clone();
    predictions.push(Prediction {
        photo: "a.png",
        class: "cat",
        score: 0.91,
        mask: again,
    });
    let (dir, store) = predicted_store(&predictions).await;
    for policy in [
        Policy {
            class_thresholds: BTreeMap::from([("boat".to_owned(), 0.8)]),
            map: MapRule::Paint,
            ..Policy::default()
        },
        Policy {
            map: MapRule::Vote(0.4),
            score_threshold: 0.75,
            ..Policy::default()
        },
    ] {
        let request = AnnotateRequest {
            head: HEAD.to_owned(),
            policy,
            ..AnnotateRequest::default()
        };
        rethreshold(&store, &request, &NoProgress).await.unwrap();
    }
    let mut kept: Vec<i64> = policies(&store).await.iter().map(|it| it.kept).collect();
    kept.sort_unstable();
    assert_eq!(kept, [5, 6, 14]);
    (dir, store)
}

async fn policies(store: &Store) -> Vec<StoredPolicy> {
    let snapshot = store.snapshot().await.unwrap();
    let head = find_head(&snapshot, HEAD).await.unwrap();
    policies_of(&snapshot, &head.head_id).await.unwrap()
}

fn of_policy(policy: &StoredPolicy) -> ExportRequest {
    ExportRequest {
        annotations: Annotations::Head {
            head: HEAD.to_owned(),
            policy: Some(policy.policy_id.to_string()),
        },
        ..ExportRequest::default()
    }
}

/// A prediction that a policy keeps, as SQL has it.
#[derive(Debug, Clone, Deserialize)]
struct Kept {
    image_id: String,
    class: String,
    score: f64,
    rle: RleRow,
}

async fn kept(store: &Store, policy: &StoredPolicy) -> Vec<Kept> {
    let sql = Sql::new(&store.snapshot().await.unwrap()).await.unwrap();
    let query = format!(
        "SELECT p.image_id, p.class, p.score, m.rle
         FROM predictions p JOIN masks m USING (extractor_id, image_id, mask_index)
         WHERE p.kept AND p.policy_id = '{}'",
        policy.policy_id
    );
    let batches = sql.query(&query).await.unwrap().collect().await.unwrap();
    let kept: Vec<Kept> = batches
        .iter()
        .flat_map(|batch| decode::<Kept>(Table::Predictions, batch).unwrap())
        .collect();
    assert_eq!(kept.len() as i64, policy.kept);
    kept
}

fn objects(kept: &[Kept]) -> Vec<Object> {
    let object = |it: &Kept| {
        let counts = it.rle.counts.clone();
        (it.image_id.clone(), it.class.clone(), counts)
    };
    let mut objects: Vec<Object> = kept.iter().map(object).collect();
    objects.sort();
    objects
}

/// All that is kept is written, and the images with predictions, also those on which nothing is kept.
#[track_caller]
fn check_counts(done: &ExportSummary, policy: &StoredPolicy) {
    assert_eq!((done.images, done.images_without_predictions), (3, 1));
    assert_eq!((done.annotations as i64, done.failed), (policy.kept, 0));
}

#[tokio::test]
async fn yolo_holds_what_a_head_keeps() {
    let (dir, store) = found().await;
    let snapshot = store.snapshot().await.unwrap();
    for policy in policies(&store).await {
        let kept = kept(&store, &policy).await;
        let request = YoloExport {
            export: of_policy(&policy),
            photos: Photos::Copy,
            directory: dir.path().join(policy.policy_id.to_string()),
        };
        let done = export_yolo(&snapshot, &request, &NoProgress).await.unwrap();
        check_counts(&done, &policy);
        // A line is a class and pairs of coordinates: the format has no scores.
        let mut lines = 0;
        for name in ["a.txt", "b.txt", "c.txt"] {
            let file = request.directory.join("labels/train").join(name);
            for line in std::fs::read_to_string(file).unwrap().lines() {
                assert_eq!(line.split(' ').count() % 2, 1, "{line}");
                lines += 1;
            }
        }
        assert_eq!(lines, kept.len());
        let files = walkdir::WalkDir::new(&request.directory).into_iter();
        let sizes = files.map(|file| file.unwrap().metadata().unwrap());
        let bytes: u64 = sizes.filter(|it| it.is_file()).map(|it| it.len()).sum();
        assert_eq!(done.bytes, bytes);
        let (_other, other) = new_store().await;
        let back = YoloIngest {
            data: request.directory,
            outlines: Outlines::Edges,
            options: IngestOptions::of_dataset("back"),
        };
        let back = ingest_yolo(&other, &back, &NoProgress).await.unwrap();
        assert_eq!((back.images_added, back.failed), (3, 0));
        assert_eq!(annotated(&other, "back").await, objects(&kept));
    }
}

#[tokio::test]
async fn cvat_holds_what_a_head_keeps() {
    let (dir, store) = found().await;
    let snapshot = store.snapshot().await.unwrap();
    for policy in policies(&store).await {
        let request = CvatExport {
            export: of_policy(&policy),
            photos: Photos::Copy,
            directory: dir.path().join(policy.policy_id.to_string()),
        };
        let done = export_cvat(&snapshot, &request, &NoProgress).await.unwrap();
        check_counts(&done, &policy);
        let (_other, other) = new_store().await;
        let back = CvatIngest {
            annotations: request.directory,
            images: None,
            options: IngestOptions::of_dataset("back"),
        };
        let back = ingest_cvat(&other, &back, &NoProgress).await.unwrap();
        assert_eq!((back.images_added, back.failed), (3, 0));
        let kept = kept(&store, &policy).await;
        assert_eq!(annotated(&other, "back").await, objects(&kept));
        // CVAT shows by this that no person drew them.
        let truth: Vec<GroundTruthRow> = rows(&other.snapshot().await.unwrap()).await;
        for row in truth {
            assert_eq!(row.attributes.as_deref(), Some(r#"{"source":"auto"}"#));
        }
    }
}

/// CVAT's COCO files have masks as runs that it calls crowds, or as polygons, and neither scores nor keys of other tools.
#[tokio::test]
async fn coco_holds_what_a_head_keeps_also_after_cvat_wrote_it_again() {
    const OF_CVAT: [&str; 8] = [
        "id",
        "image_id",
        "category_id",
        "segmentation",
        "area",
        "bbox",
        "iscrowd",
        "attributes",
    ];
    let (dir, store) = found().await;
    let snapshot = store.snapshot().await.unwrap();
    let styles = [MaskStyle::Rle, MaskStyle::Polygon, MaskStyle::Rle];
    for (policy, style) in policies(&store).await.into_iter().zip(styles) {
        let request = CocoExport {
            export: of_policy(&policy),
            format: CocoFormat::Dataset,
            style: Some(style),
            file: dir.path().join(format!("{}.json", policy.policy_id)),
        };
        let done = export_coco(&snapshot, &request, &NoProgress).await.unwrap();
        check_counts(&done, &policy);
        let written = std::fs::read(&request.file).unwrap();
        let mut written: Value = serde_json::from_slice(&written).unwrap();
        let mut scores = Vec::new();
        for annotation in written["annotations"].as_array_mut().unwrap() {
            scores.push(annotation["score"].as_f64().unwrap());
            if style == MaskStyle::Rle {
                annotation["segmentation"]["counts"] = json!(rle_of(annotation).runs());
                annotation["iscrowd"] = json!(1);
            }
            annotation["attributes"] = json!({"occluded": false});
            let keys = annotation.as_object_mut().unwrap();
            keys.retain(|key, _| OF_CVAT.contains(&key.as_str()));
        }
        std::fs::write(&request.file, written.to_string()).unwrap();
        let (_other, other) = new_store().await;
        let back = CocoIngest {
            annotations: request.file,
            images: dir.path().join("photos"),
            options: IngestOptions::of_dataset("back"),
        };
        let back = ingest_coco(&other, &back, &NoProgress).await.unwrap();
        assert_eq!((back.images_added, back.failed), (3, 0));
        let kept = kept(&store, &policy).await;
        assert_eq!(annotated(&other, "back").await, objects(&kept), "{style:?}");
        let mut expected: Vec<f64> = kept.iter().map(|it| it.score).collect();
        expected.sort_by(f64::total_cmp);
        scores.sort_by(f64::total_cmp);
        assert_eq!(scores, expected);
    }
}

#[tokio::test]
async fn hugging_face_holds_what_a_head_keeps_with_its_scores() {
    let (dir, store) = found().await;
    let snapshot = store.snapshot().await.unwrap();
    let images: Vec<ImageRow> = rows(&snapshot).await;
    for policy in policies(&store).await {
        let request = HuggingFaceExport {
            export: of_policy(&policy),
            directory: dir.path().join(policy.policy_id.to_string()),
        };
        let done = export_hugging_face(&snapshot, &request, &NoProgress).await;
        check_counts(&done.unwrap(), &policy);
        let file = request.directory.join("data/train-00000.parquet");
        let file = std::fs::File::open(file).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        let mut found: Vec<(Object, f64)> = Vec::new();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let names = batch.column_by_name("file_name").unwrap();
            let names = names.as_string::<i32>();
            let lists = batch.column_by_name("objects").unwrap().as_list::<i32>();
            for row in 0..batch.num_rows() {
                let mut of_name = images.iter().filter(|it| it.file_name == names.value(row));
                let image = of_name.next().unwrap().image_id.to_string();
                let objects = lists.value(row);
                let objects = objects.as_struct();
                let column = |name: &str| objects.column_by_name(name).unwrap();
                let classes = column("category").as_primitive::<Int64Type>();
                let scores = column("score").as_primitive::<Float64Type>();
                let masks = column("segmentation").as_struct();
                let counts = masks.column_by_name("counts").unwrap();
                let counts = counts.as_string::<i32>();
                for at in 0..objects.len() {
                    let class = CLASSES[classes.value(at) as usize].1.to_owned();
                    let object = (image.clone(), class, counts.value(at).to_owned());
                    found.push((object, scores.value(at)));
                }
            }
        }
        let kept = kept(&store, &policy).await.into_iter();
        let mut expected: Vec<(Object, f64)> = kept
            .map(|it| ((it.image_id, it.class, it.rle.counts), it.score))
            .collect();
        for list in [&mut found, &mut expected] {
            list.sort_by(|a, b| a.partial_cmp(b).unwrap());
        }
        assert_eq!(found, expected);
    }
}

/// The pixels of a class on an image.
#[derive(Debug, Clone)]
struct Region {
    image_id: String,
    class: String,
    mask: Rle,
}

/// The regions of a policy's semantic maps.
async fn regions(store: &Store, policy: &StoredPolicy) -> Vec<Region> {
    #[derive(Deserialize)]
    struct Row {
        image_id: String,
        class_index: i32,
        rle: RleRow,
    }
    let snapshot = store.snapshot().await.unwrap();
    let session = QuerySession::new(&snapshot).await.unwrap();
    let parameters = HashMap::from([
        ("head".to_owned(), HEAD.to_owned()),
        ("policy".to_owned(), policy.policy_id.to_string()),
    ]);
    let query = Query::named("eval/predicted_regions").unwrap();
    let mut found = session.run(&query, &parameters).await.unwrap();
    let mut regions = Vec::new();
    while let Some(batch) = found.next().await.unwrap() {
        for row in decode::<Row>(Table::Masks, &batch).unwrap() {
            regions.push(Region {
                image_id: row.image_id,
                class: CLASSES[row.class_index as usize].1.to_owned(),
                mask: Rle::try_from(&row.rle).unwrap(),
            });
        }
    }
    regions
}

/// Takes from the regions what a map by objects shows of each kept mask: its pixels that no better mask covers, in the region of
/// its class.
fn take_objects(regions: &mut [Region], mut kept: Vec<Kept>) -> Vec<Object> {
    kept.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut covered: HashMap<String, Rle> = HashMap::new();
    let mut objects = Vec::new();
    for it in kept {
        let mask = Rle::try_from(&it.rle).unwrap();
        let better = covered.remove(&it.image_id);
        let better = better.unwrap_or_else(|| Rle::empty(SIZE).unwrap());
        let is_own =
            |region: &&mut Region| (&region.image_id, &region.class) == (&it.image_id, &it.class);
        if let Some(region) = regions.iter_mut().find(is_own) {
            let seen = mask.difference(&better).unwrap();
            let seen = seen.intersection(&region.mask).unwrap();
            region.mask = region.mask.difference(&seen).unwrap();
            if !seen.is_empty() {
                objects.push((it.image_id.clone(), it.class, seen.to_counts_string()));
            }
        }
        covered.insert(it.image_id, better.union(&mask).unwrap());
    }
    objects
}

fn objects_of(regions: &[Region]) -> Vec<Object> {
    let shown = regions.iter().filter(|it| !it.mask.is_empty());
    shown
        .map(|it| {
            let counts = it.mask.to_counts_string();
            (it.image_id.clone(), it.class.clone(), counts)
        })
        .collect()
}

#[tokio::test]
async fn label_maps_hold_what_a_head_keeps_by_class_and_by_object() {
    let (dir, store) = found().await;
    let snapshot = store.snapshot().await.unwrap();
    for policy in policies(&store).await {
        let mut regions = regions(&store, &policy).await;
        let by_class = objects_of(&regions);
        let mut by_object = take_objects(&mut regions, kept(&store, &policy).await);
        // What is left got its class from masks that are not kept: it is of no object.
        let left = objects_of(&regions);
        assert_eq!(left.is_empty(), !policy.policy.contains("vote"));
        by_object.extend(left);
        for (with_objects, mut expected) in [(false, by_class), (true, by_object)] {
            let name = format!("{}-{with_objects}", policy.policy_id);
            let request = LabelMapExport {
                export: of_policy(&policy),
                objects: with_objects,
                photos: Photos::Copy,
                directory: dir.path().join(name),
                ..LabelMapExport::default()
            };
            let done = export_label_maps(&snapshot, &request, &NoProgress).await;
            check_counts(&done.unwrap(), &policy);
            let out = &request.directory;
            let classes = std::fs::read_to_string(out.join("classes.csv")).unwrap();
            assert_eq!(classes, "value,name\n3,cat\n11,traffic light\n40,boat\n");
            let (_other, other) = new_store().await;
            let back = LabelMapIngest {
                images: out.join("images"),
                maps: out.join("maps"),
                classes: ClassValues::read(&out.join("classes.csv")).unwrap(),
                objects: with_objects,
                options: IngestOptions::of_dataset("back"),
                ..LabelMapIngest::default()
            };
            let back = ingest_label_maps(&other, &back, &NoProgress).await;
            let back = back.unwrap();
            assert_eq!((back.images_added, back.failed), (3, 0));
            expected.sort();
            assert_eq!(annotated(&other, "back").await, expected, "{with_objects}");
        }
    }
}
