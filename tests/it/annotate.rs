//! Annotation of made-up masks: what is kept, that nothing is doubled, and that scores need no second pass.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Float32Type, Int32Type};
use datafusion::physical_plan::ExecutionPlan;
use grainstore::Error;
use grainstore::annotate::{
    AnnotateRequest, AnnotateSummary, NmsScope, Policy, ScoreRule, annotate, annotate_with_workers,
    rethreshold, thresholds_from_labels,
};
use grainstore::catalogue::{find_head, policies_of};
use grainstore::head::{Removal, remove_head};
use grainstore::jobs::{InThisProcess, JobOptions, RunPlan, WorkerOptions};
use grainstore::progress::NoProgress;
use grainstore::query::{Query, QuerySession};
use grainstore::selection::ImageFilter;
use grainstore::store::Store;
use grainstore::store::rows::{GroundTruthRow, PredictionRow};

use crate::made_store::{Made, made};
use crate::sql_store::annotation;
use crate::support::{append, image, rows};

async fn trained() -> Made {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 16, 0).await;
    let set = made
        .classes("pets", &[("cat", &["cat"]), ("dog", &["dog"])])
        .await;
    let request = made.request("pets", set).await;
    made.train(request).await.unwrap();
    made
}

fn request(policy: Policy) -> AnnotateRequest {
    AnnotateRequest {
        head: "pets".to_owned(),
        images: ImageFilter::all(),
        policy,
    }
}

async fn predictions(made: &Made) -> Vec<PredictionRow> {
    rows(&made.store.snapshot().await.unwrap()).await
}

/// Rows without what differs from run to run, in an order of their own.
fn plain(mut rows: Vec<PredictionRow>) -> Vec<PredictionRow> {
    for row in &mut rows {
        row.created_at = crate::support::instant(0);
    }
    rows.sort_by(|a, b| (&a.image_id, a.mask_index).cmp(&(&b.image_id, b.mask_index)));
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_predict_what_one_process_predicts() {
    let made = trained().await;
    let workers = InThisProcess::new(WorkerOptions {
        slots: 2,
        ..WorkerOptions::default()
    });
    let options = JobOptions {
        chunk_images: 5,
        wave: 3,
        poll: Duration::from_millis(10),
        commit_every: Duration::from_millis(50),
        ..JobOptions::default()
    };
    let few = AnnotateRequest {
        images: ImageFilter::matching("external_id < 3"),
        ..request(Policy::default())
    };
    let before = annotate(&made.store, &few, &NoProgress).await.unwrap();
    let all = request(Policy::default());
    let there = annotate_with_workers(&made.store, &all, &workers, &options, &NoProgress);
    let there = there.await.unwrap();
    assert_eq!((there.images, there.done), (29, 3));
    let again = annotate_with_workers(&made.store, &all, &workers, &options, &NoProgress);
    let again = again.await.unwrap();
    assert_eq!((again.images, again.masks, again.done), (0, 0, 32));

    // The same decisions under another name.
    let alike = request(Policy {
        image_gate: 1e-12,
        ..Policy::default()
    });
    let here = annotate(&made.store, &alike, &NoProgress).await.unwrap();
    assert_eq!(here.images, 32);
    let (mut one, mut other) = (Vec::new(), Vec::new());
    for mut row in plain(predictions(&made).await) {
        let is_alike = Some(&row.policy_id) == here.policy_id.as_ref();
        row.policy_id = here.policy_id.clone().unwrap();
        if is_alike {
            other.push(row);
        } else {
            one.push(row);
        }
    }
    assert!(one == other);
    let counts = |it: &AnnotateSummary| [it.masks, it.kept, it.suppressed, it.below_threshold];
    let sums = counts(&before).into_iter().zip(counts(&there));
    let sums: Vec<u64> = sums.map(|(before, there)| before + there).collect();
    assert_eq!(sums, counts(&here));

    // A head that is removed under way ends the job.
    let other = request(Policy {
        image_gate: 1e-9,
        ..Policy::default()
    });
    let gone = Removing {
        inner: workers,
        store: made.store.clone(),
    };
    let error = annotate_with_workers(&made.store, &other, &gone, &options, &NoProgress);
    let error = error.await.unwrap_err();
    assert!(
        error.to_string().contains("pets") || error.to_string().contains("head"),
        "{error}"
    );
}

/// Removes the head while the tasks run.
struct Removing {
    inner: InThisProcess,
    store: Store,
}

#[async_trait::async_trait]
impl RunPlan for Removing {
    async fn run(&self, plan: Arc<dyn ExecutionPlan>) -> Result<u64, Error> {
        remove_head(&self.store, "pets", Removal::Any).await?;
        self.inner.run(plan).await
    }
}

#[tokio::test]
async fn every_mask_is_judged_once() {
    let made = trained().await;
    let few = AnnotateRequest {
        images: ImageFilter::matching("external_id < 5"),
        ..request(Policy::default())
    };
    let first = annotate(&made.store, &few, &NoProgress).await.unwrap();
    assert_eq!((first.images, first.done), (5, 0));
    let all = request(Policy::default());
    // Two at once: what one writes, the other leaves.
    let (a, b) = tokio::join!(
        annotate(&made.store, &all, &NoProgress),
        annotate(&made.store, &all, &NoProgress)
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!(a.images + b.images, 27, "{a:?} {b:?}");
    let again = annotate(&made.store, &all, &NoProgress).await.unwrap();
    assert_eq!((again.images, again.masks, again.done), (0, 0, 32));

    let found = predictions(&made).await;
    let sql = "SELECT image_id, mask_index, predict('pets', embedding) AS p FROM masks";
    let mut expected = BTreeMap::new();
    for batch in made.query(sql).await.unwrap() {
        let images = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8);
        let images = images.unwrap();
        let masks = batch.column(1).as_primitive::<Int32Type>();
        let judged = batch.column(2).as_struct();
        let classes = judged.column(0).as_string::<i32>();
        let scores = judged.column(1).as_primitive::<Float32Type>();
        for row in 0..batch.num_rows() {
            let key = (
                images.as_string::<i32>().value(row).to_owned(),
                masks.value(row),
            );
            expected.insert(
                key,
                (classes.value(row).to_owned(), f64::from(scores.value(row))),
            );
        }
    }
    assert_eq!(found.len(), expected.len());
    let mut kept = BTreeMap::new();
    for row in &found {
        let (class, score) = &expected[&(row.image_id.to_string(), row.mask_index)];
        assert_eq!((&row.class, row.score), (class, *score));
        match (row.kept, row.dropped.as_deref()) {
            (true, None) => {
                assert!(row.score >= 0.5);
                *kept.entry((&row.image_id, &row.class)).or_insert(0) += 1;
            }
            (false, Some("score")) => assert!(row.score < 0.5),
            (false, Some("suppressed")) => {
                let by = found.iter().find(|other| {
                    other.image_id == row.image_id && Some(other.mask_index) == row.suppressed_by
                });
                let by = by.unwrap();
                assert!(by.kept && by.score >= row.score && by.class == row.class);
            }
            other => panic!("{other:?}"),
        }
    }
    // The masks of an image are one of two pixels: at most one mask of a class is left of each.
    assert!(!kept.is_empty() && kept.values().all(|count| *count <= 2));
}

#[tokio::test]
async fn another_policy_needs_no_second_pass() {
    let policy = Policy {
        score_threshold: 0.3,
        nms: NmsScope::All,
        nms_iou: 1.0,
        max_per_image: 2,
        ..Policy::default()
    };
    let judged = trained().await;
    annotate(&judged.store, &request(Policy::default()), &NoProgress)
        .await
        .unwrap();
    let again = rethreshold(&judged.store, &request(policy.clone()), &NoProgress)
        .await
        .unwrap();
    assert!(again.kept > 0 && again.beyond_max > 0, "{again:?}");
    let direct = trained().await;
    let summary = annotate(&direct.store, &request(policy.clone()), &NoProgress)
        .await
        .unwrap();
    assert_eq!(
        (
            again.masks,
            again.kept,
            again.below_threshold,
            again.beyond_max
        ),
        (
            summary.masks,
            summary.kept,
            summary.below_threshold,
            summary.beyond_max
        )
    );
    let id = policy.id().unwrap();
    let mut rethresholded = predictions(&judged).await;
    rethresholded.retain(|row| row.policy_id == id);
    assert_eq!(plain(rethresholded), plain(predictions(&direct).await));

    let snapshot = judged.store.snapshot().await.unwrap();
    let head = find_head(&snapshot, "pets").await.unwrap();
    let policies = policies_of(&snapshot, &head.head_id).await.unwrap();
    assert_eq!(policies.len(), 2);
    assert_eq!((&policies[0].policy_id, policies[0].images), (&id, 32));
}

#[tokio::test]
async fn what_cannot_be_annotated_says_why() {
    let made = trained().await;
    let all = request(Policy::default());
    let bad_head = AnnotateRequest {
        head: "none".to_owned(),
        ..all.clone()
    };
    let bad_condition = AnnotateRequest {
        images: ImageFilter::matching("no_column = 1"),
        ..all.clone()
    };
    let bad_policy = request(Policy {
        nms_iou: 2.0,
        ..Policy::default()
    });
    for (request, part) in [
        (bad_head, "there is no head 'none'"),
        (bad_condition, "no_column"),
        (bad_policy, "'2' is not a NMS IoU"),
    ] {
        let err = annotate(&made.store, &request, &NoProgress)
            .await
            .unwrap_err();
        assert!(err.to_string().contains(part), "{err}");
    }
    let err = rethreshold(&made.store, &all, &NoProgress)
        .await
        .unwrap_err();
    assert!(
        err.to_string()
            .contains("head 'pets' has no predictions yet"),
        "{err}"
    );
}

#[tokio::test]
async fn review_queries_find_what_they_ask_for() {
    let made = trained().await;
    // An image that shows a dog, labelled as a cat.
    made.add_images(&[crate::made_store::Shown {
        n: 500,
        labels: &["dog"],
        masks: 9,
    }])
    .await;
    made.query("SELECT 1").await.unwrap();
    annotate(&made.store, &request(Policy::default()), &NoProgress)
        .await
        .unwrap();
    let snapshot = made.store.snapshot().await.unwrap();
    let session = QuerySession::new(&snapshot).await.unwrap();
    let image = crate::support::image(500).image_id.to_string();
    for (name, parameters, least) in [
        ("review/uncertain_masks", vec![("head", "pets")], 1),
        ("review/uncertain_images", vec![("head", "pets")], 1),
        ("review/unconfident_classes", vec![("head", "pets")], 2),
        (
            "review/similar_masks",
            vec![("image", image.as_str()), ("mask", "0")],
            20,
        ),
        ("review/similar_images", vec![("min", "0.5")], 1),
        (
            "review/disagreements",
            vec![("head", "pets"), ("other", "pets")],
            0,
        ),
        (
            "review/label_errors",
            vec![("head", "pets"), ("min", "0.5")],
            0,
        ),
        ("annotate/policies", vec![], 1),
        (
            "eval/consistency",
            vec![("head", "pets"), ("other", "pets")],
            2,
        ),
    ] {
        let query = Query::named(name).unwrap();
        let given = parameters
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        let found = session.run(&query, &given).await.unwrap().collect().await;
        let found = found.unwrap_or_else(|err| panic!("{name}: {err}"));
        let count: usize = found.iter().map(|batch| batch.num_rows()).sum();
        assert!(count >= least, "{name}: {count} rows");
        if name == "review/similar_masks" {
            let best = found[0].column_by_name("similarity").unwrap();
            let best = best.as_primitive::<Float32Type>().value(0);
            assert!(
                (best - 1.0).abs() < 1e-3,
                "a mask is most like itself: {best}"
            );
        }
    }
}

/// Names and values of a query's parameters.
type Given<'a> = &'a [(&'a str, &'a str)];

async fn query_rows(made: &Made, name: &str, given: Given<'_>) -> usize {
    let snapshot = made.store.snapshot().await.unwrap();
    let session = QuerySession::new(&snapshot).await.unwrap();
    let given = given
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let query = Query::named(name).unwrap();
    let rows = session.run(&query, &given.collect()).await.unwrap();
    let found = rows.collect().await.unwrap();
    found.iter().map(|batch| batch.num_rows()).sum()
}

#[tokio::test]
async fn queries_tell_of_one_head_and_one_policy() {
    let made = trained().await;
    let with = |head: &str, threshold: f64| AnnotateRequest {
        head: head.to_owned(),
        images: ImageFilter::all(),
        policy: Policy {
            score_threshold: threshold,
            nms_iou: 1.0,
            ..Policy::default()
        },
    };
    let first = annotate(&made.store, &with("pets", 0.9), &NoProgress)
        .await
        .unwrap();
    let newest = rethreshold(&made.store, &with("pets", 0.0), &NoProgress)
        .await
        .unwrap();
    // Later, another head of the same name's beginning, under the first policy.
    annotate(&made.store, &with("pets.teacher", 0.9), &NoProgress)
        .await
        .unwrap();
    assert!(first.kept < newest.kept);
    let all = ("count", "100000");
    let policy = first.policy_id.unwrap().to_string();
    let id = first.head_id.unwrap().to_string();
    let count = async |given: Given<'_>| query_rows(&made, "review/uncertain_masks", given).await;
    assert_eq!(count(&[("head", "pets"), all]).await as u64, newest.kept);
    assert_eq!(count(&[("head", &id), all]).await as u64, newest.kept);
    let under = [("head", "pets"), ("policy", policy.as_str()), all];
    assert_eq!(count(&under).await as u64, first.kept);

    // A head under one policy and under the other: what the first kept, the other kept too.
    let differ = [
        ("head", "pets"),
        ("policy", policy.as_str()),
        ("other", "pets"),
    ];
    assert!(query_rows(&made, "review/disagreements", &differ).await > 0);
    let same = [("head", "pets"), ("other", "pets")];
    assert_eq!(query_rows(&made, "review/disagreements", &same).await, 0);
}

#[tokio::test]
async fn a_new_threshold_reaches_images_whatever_policy_judged_them() {
    let made = trained().await;
    let with = |threshold: f64, condition: Option<&str>| AnnotateRequest {
        images: condition.map_or_else(ImageFilter::all, ImageFilter::matching),
        ..request(Policy {
            score_threshold: threshold,
            ..Policy::default()
        })
    };
    let all = annotate(&made.store, &with(0.7, None), &NoProgress)
        .await
        .unwrap();
    // The newest policy is one of few images: as after a trial, or a run that was cut off.
    let few = with(0.1, Some("external_id < 5"));
    let few = rethreshold(&made.store, &few, &NoProgress).await.unwrap();
    assert_eq!((few.images, all.images), (5, 32));
    let after = rethreshold(&made.store, &with(0.9, None), &NoProgress)
        .await
        .unwrap();
    assert_eq!((after.images, after.masks), (all.images, all.masks));
    let again = rethreshold(&made.store, &with(0.9, None), &NoProgress)
        .await
        .unwrap();
    assert_eq!((again.images, again.done), (0, all.images));
}

#[tokio::test]
async fn thresholds_come_from_labels_of_images() {
    let made = trained().await;
    annotate(&made.store, &request(Policy::default()), &NoProgress)
        .await
        .unwrap();
    let snapshot = made.store.snapshot().await.unwrap();
    // 16 images of each of two classes: a share of 0.2 is 3 of them, and 0.05 is none.
    let found = thresholds_from_labels(&snapshot, "pets", &Policy::default(), 0.2)
        .await
        .unwrap();
    let labels: Vec<grainstore::store::rows::LabelRow> = rows(&snapshot).await;
    let label_of: HashMap<_, _> = labels
        .into_iter()
        .map(|row| (row.image_id, row.label))
        .collect();
    for class in ["cat", "dog"] {
        let mut best: HashMap<_, f64> = HashMap::new();
        for (image, label) in &label_of {
            if label != class {
                best.insert(image.clone(), 0.0);
            }
        }
        for row in predictions(&made).await {
            if let Some(best) = best.get_mut(&row.image_id)
                && row.class == class
            {
                *best = best.max(row.score);
            }
        }
        let mut scores: Vec<f64> = best.into_values().collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let threshold = found[class];
        let wrong = scores.iter().filter(|score| **score >= threshold).count();
        assert!(wrong <= 3, "{class}: {scores:?} {threshold}");
        assert!(
            (threshold - scores[3]).abs() < 2e-6,
            "{class}: {scores:?} {threshold}"
        );
    }
    assert!(
        thresholds_from_labels(&snapshot, "pets", &Policy::default(), 0.05)
            .await
            .unwrap()
            .is_empty()
    );
    let strict = Policy {
        class_thresholds: BTreeMap::from([("cat".to_owned(), 1.0)]),
        ..Policy::default()
    };
    rethreshold(&made.store, &request(strict), &NoProgress)
        .await
        .unwrap();
    let unknown = Policy {
        class_thresholds: BTreeMap::from([("owl".to_owned(), 0.5)]),
        ..Policy::default()
    };
    let message = rethreshold(&made.store, &request(unknown), &NoProgress).await;
    let message = message.unwrap_err().to_string();
    assert!(
        message.contains("'owl'") && message.contains("cat, dog"),
        "{message}"
    );
}

#[tokio::test]
async fn the_score_may_be_times_the_predicted_iou() {
    let made = trained().await;
    let policy = Policy {
        score: ScoreRule::TimesPredictedIou,
        score_threshold: 0.0,
        nms_iou: 1.0,
        ..Policy::default()
    };
    annotate(&made.store, &request(policy), &NoProgress)
        .await
        .unwrap();
    // Predictions hold the probability, so that another policy can use it; an export has the score of the rule.
    let stored = predictions(&made).await;
    let mut stored: Vec<f64> = stored
        .iter()
        .filter(|row| row.kept)
        .map(|row| row.score * f64::from(0.9f32))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pets.parquet");
    let export = grainstore::export::ParquetExport {
        export: crate::export::request(Some("pets")),
        file: file.clone(),
    };
    let snapshot = made.store.snapshot().await.unwrap();
    grainstore::export::export_parquet(&snapshot, &export, &NoProgress)
        .await
        .unwrap();
    let context = grainstore::datafusion::prelude::SessionContext::new();
    let rows = context.read_parquet(file.to_str().unwrap(), Default::default());
    let rows = rows.await.unwrap().select_columns(&["score"]).unwrap();
    let mut found: Vec<f64> = Vec::new();
    for batch in rows.collect().await.unwrap() {
        let scores = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Float64);
        let scores = scores.unwrap();
        let scores = scores.as_primitive::<arrow::datatypes::Float64Type>();
        found.extend(scores.values());
    }
    assert!(found.len() > 100);
    for scores in [&mut stored, &mut found] {
        scores.sort_by(f64::total_cmp);
    }
    assert_eq!(found.len(), stored.len());
    for (found, stored) in found.iter().zip(&stored) {
        assert!((found - stored).abs() < 1e-9, "{found} {stored}");
    }
}

#[tokio::test]
async fn evaluation_follows_the_score_rule_and_the_gate() {
    let made = trained().await;
    // Only annotated images are evaluated.
    let annotated: Vec<GroundTruthRow> = (0..32)
        .map(|n| GroundTruthRow {
            image_id: image(n).image_id,
            dataset: image(n).dataset,
            category: Some("cat".to_owned()),
            ..annotation(n, 1)
        })
        .collect();
    append(&made.store, &annotated).await;
    let all = Policy {
        score_threshold: 0.0,
        nms_iou: 1.0,
        ..Policy::default()
    };
    annotate(&made.store, &request(all.clone()), &NoProgress)
        .await
        .unwrap();
    let mut best: BTreeMap<(String, i32), f64> = BTreeMap::new();
    let first = predictions(&made).await;
    let ungated = first[0].policy_id.clone();
    for row in first {
        let of_class = (row.image_id.to_string(), row.class_index);
        let found = best.entry(of_class).or_default();
        *found = found.max(row.score);
    }
    // Between the best scores of classes that are on their images and of those that are not.
    let gate = {
        let mut scores: Vec<f64> = best
            .values()
            .map(|score| score * f64::from(0.9f32))
            .collect();
        scores.sort_by(f64::total_cmp);
        let steps = scores
            .windows(2)
            .map(|it| (it[1] - it[0], (it[0] + it[1]) / 2.0));
        steps.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap().1
    };
    let gated = Policy {
        score: ScoreRule::TimesPredictedIou,
        image_gate: gate,
        ..all
    };
    annotate(&made.store, &request(gated), &NoProgress)
        .await
        .unwrap();
    let passes = |row: &PredictionRow| {
        best[&(row.image_id.to_string(), row.class_index)] * f64::from(0.9f32) >= gate
    };
    let stored = predictions(&made).await;
    let stored: Vec<&PredictionRow> = stored
        .iter()
        .filter(|row| row.policy_id != ungated)
        .collect();
    let (on_image, gone): (Vec<_>, Vec<_>) = stored.into_iter().partition(|row| passes(row));
    assert!(!on_image.is_empty() && !gone.is_empty());
    for row in &gone {
        assert_eq!(
            (row.kept, row.dropped.as_deref()),
            (false, Some("image_gate"))
        );
    }
    // What is evaluated is the probability times the predicted IoU, of masks that pass.
    let expected: f64 = on_image
        .iter()
        .map(|row| row.score * f64::from(0.9f32))
        .sum();
    let session = QuerySession::new(&made.store.snapshot().await.unwrap())
        .await
        .unwrap();
    for query in ["eval/detections", "eval/mapped_masks"] {
        let query = Query::named(query).unwrap();
        let given = HashMap::from([("head".to_owned(), "pets".to_owned())]);
        let mut found = session.run(&query, &given).await.unwrap();
        let (mut rows, mut sum) = (0, 0.0);
        while let Some(batch) = found.next().await.unwrap() {
            let scores = batch.column_by_name("score").unwrap();
            let scores = scores.as_primitive::<arrow::datatypes::Float64Type>();
            rows += batch.num_rows();
            sum += scores.values().iter().sum::<f64>();
        }
        assert_eq!(rows, on_image.len(), "{}", query.name());
        assert!(
            (sum - expected).abs() < 1e-6,
            "{}: {sum} {expected}",
            query.name()
        );
    }
}
