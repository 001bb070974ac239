//! Evaluation against pycocotools and NumPy, on the fixtures of tests/data/eval.

use std::collections::HashMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use grainstore::classes::{ClassSet, add_class_set};
use grainstore::eval::{
    CeilingRequest, CompareRequest, EvalRequest, Evaluation, ceiling, compare, evaluate,
};
use grainstore::head::{Removal, remove_head, rename_head};
use grainstore::import::{ImportRequest, import_coco_results};
use grainstore::progress::NoProgress;
use grainstore::query::{Query, QuerySession};
use grainstore::schema::Table;
use grainstore::selection::ImageFilter;
use grainstore::store::Store;
use grainstore::store::rows::{EvaluationRow, FailureRow, PredictionRow};
use serde_json::Value;

use crate::eval_store::{annotated_store, class, import, json};
use crate::support::{new_store, rows};

pub async fn eval(store: &Store, request: EvalRequest) -> grainstore::Result<Evaluation> {
    evaluate(&store.snapshot().await.unwrap(), &request, &NoProgress).await
}

pub fn head(name: &str) -> EvalRequest {
    EvalRequest {
        head: name.to_owned(),
        ..EvalRequest::default()
    }
}

/// A figure of an evaluation.
pub fn value_of(evaluation: &Evaluation, class: Option<&str>, metric: &str) -> Option<f64> {
    let found: Vec<_> = evaluation
        .metrics
        .iter()
        .filter(|it| it.class.as_deref() == class && it.metric == metric)
        .collect();
    assert_eq!(found.len(), 1, "{class:?} {metric}");
    found[0].value
}

fn assert_near(ours: Option<f64>, theirs: &Value, within: f64, what: &str) {
    match (ours, theirs.as_f64()) {
        (None, None) => {}
        (Some(a), Some(b)) if (a - b).abs() <= within => {}
        _ => panic!("{what}: {ours:?}, expected {theirs}"),
    }
}

/// Sums of the same numbers, in an order that threads decide.
fn assert_same(a: Option<f64>, b: Option<f64>, what: &str) {
    match (a, b) {
        (None, None) => {}
        (Some(a), Some(b)) if (a - b).abs() < 1e-12 => {}
        _ => panic!("{what}: {a:?}, {b:?}"),
    }
}

const STATS: [&str; 12] = [
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar_1",
    "ar_10",
    "ar_100",
    "ar_small",
    "ar_medium",
    "ar_large",
];
const CLASS_STATS: [&str; 7] = [
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar_100",
];

fn assert_coco(evaluation: &Evaluation, expected: &Value, prefix: &str) {
    for (at, metric) in STATS.iter().enumerate() {
        let metric = format!("{prefix}{metric}");
        let ours = value_of(evaluation, None, &metric);
        assert_near(ours, &expected["stats"][at], 1e-9, &metric);
    }
    let classes = expected["classes"].as_object().unwrap();
    assert!(classes.len() > 1);
    for (class, metrics) in classes {
        for (at, metric) in CLASS_STATS.iter().enumerate() {
            let metric = format!("{prefix}{metric}");
            let ours = value_of(evaluation, Some(class), &metric);
            assert_near(ours, &metrics[at], 1e-9, &format!("{class} {metric}"));
        }
    }
    let ours = evaluation.metrics.iter();
    let ours = ours.filter(|it| it.class.is_some() && it.metric == format!("{prefix}ap"));
    assert_eq!(ours.count(), classes.len(), "classes with objects");
}

fn assert_pixels(evaluation: &Evaluation, expected: &Value, classes: &[&str]) {
    for metric in [
        "miou",
        "miou_classes",
        "pixel_accuracy",
        "mean_accuracy",
        "fw_iou",
        "dice",
    ] {
        let ours = value_of(evaluation, None, metric);
        assert_near(ours, &expected[metric], 1e-12, metric);
    }
    for (at, class) in classes.iter().enumerate() {
        let ours = value_of(evaluation, Some(class), "iou");
        assert_near(ours, &expected["iou"][at], 1e-12, class);
    }
}

const CLASSES: [&str; 7] = ["background", "cat", "dog", "car", "bus", "boat", "spoon"];

#[tokio::test]
async fn figures_are_pycocotools_and_numpys() {
    let (_dir, store) = annotated_store().await;
    let expected = json("expected.json");
    for name in ["masks", "boxes"] {
        let imported = import(&store, name).await;
        assert_eq!((imported.detections, imported.failed), (267, 0));
        let evaluation = eval(&store, head(name)).await.unwrap();
        assert_coco(&evaluation, &expected[name]["segm"], "");
        assert_coco(&evaluation, &expected[name]["bbox"], "box_");
        assert_eq!(evaluation.images, 32);
        if name == "masks" {
            assert_pixels(&evaluation, &expected["pixels"], &CLASSES);
            let rims = expected["pixels"]["boundary_iou"].as_array().unwrap();
            for (class, rim) in CLASSES[1..].iter().zip(rims) {
                if !rim.is_null() {
                    let ours = value_of(&evaluation, Some(class), "boundary_iou");
                    assert_near(ours, rim, 1e-12, class);
                }
            }
        }
    }
    // A fine head in coarser classes; a class of neither is left out.
    let request = EvalRequest {
        classes: Some("groups".to_owned()),
        ..head("masks")
    };
    let coarse = eval(&store, request).await.unwrap();
    assert_coco(&coarse, &expected["coarse"]["segm"], "");
    let names = ["background", "animal", "vehicle"];
    assert_pixels(&coarse, &expected["coarse"]["pixels"], &names);
    assert_eq!(coarse.classes, "groups@1");
}

#[tokio::test]
async fn an_evaluation_is_kept() {
    let (_dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let evaluation = eval(&store, head("masks")).await.unwrap();
    evaluation.save(&store).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let kept: Vec<EvaluationRow> = rows(&snapshot).await;
    assert_eq!(kept.len(), evaluation.metrics.len());
    let miou = kept.iter().find(|row| row.metric == "miou").unwrap();
    assert_eq!(miou.value, value_of(&evaluation, None, "miou"));
    assert_eq!(miou.head_id, evaluation.head_id);
    assert!(
        miou.request.contains("\"dataset\":\"shapes\""),
        "{}",
        miou.request
    );
}

#[tokio::test]
async fn a_model_that_found_nothing_is_evaluated_all_the_same() {
    let (dir, store) = annotated_store().await;
    let file = dir.path().join("nothing.json");
    std::fs::write(&file, "[]").unwrap();
    let request = ImportRequest {
        split: None,
        file,
        head: "nothing".to_owned(),
        dataset: "shapes".to_owned(),
        classes: None,
    };
    import_coco_results(&store, &request, &NoProgress)
        .await
        .unwrap();
    let found = eval(&store, head("nothing")).await.unwrap();
    for metric in ["ap", "ar_100", "miou_classes"] {
        assert_eq!(value_of(&found, None, metric), Some(0.0), "{metric}");
    }
    assert_eq!(found.images, found.images_without_predictions);
}

#[tokio::test]
async fn importing_again_adds_nothing() {
    let (dir, store) = annotated_store().await;
    let first = import(&store, "masks").await;
    let before = store.snapshot().await.unwrap();
    let second = import(&store, "masks").await;
    assert_eq!((second.detections, second.done), (0, first.images));
    let after = store.snapshot().await.unwrap();
    for table in [
        Table::Masks,
        Table::Predictions,
        Table::Heads,
        Table::Extractors,
    ] {
        assert_eq!(
            before.count(table).await.unwrap(),
            after.count(table).await.unwrap()
        );
    }

    // A head without weights is renamed and removed as any other; its predictions go with it.
    rename_head(&store, "masks", "others").await.unwrap();
    assert!(
        remove_head(&store, "others", Removal::Unused)
            .await
            .is_err()
    );
    remove_head(&store, "others", Removal::Any).await.unwrap();
    let after = store.snapshot().await.unwrap();
    assert_eq!(after.count(Table::Predictions).await.unwrap(), 0);

    // What cannot be used is named, and the rest comes in.
    let mut results = json("masks.json");
    let list = results.as_array_mut().unwrap();
    list.truncate(6);
    list[0]["image_id"] = 1.into();
    list[1]["category_id"] = 2.into();
    list[2]["segmentation"]["size"] = serde_json::json!([4, 4]);
    list[3]["score"] = "high".into();
    let file = dir.path().join("bad.json");
    std::fs::write(&file, results.to_string()).unwrap();
    let mut request = ImportRequest {
        split: None,
        file,
        head: "bad".to_owned(),
        dataset: "shapes".to_owned(),
        classes: None,
    };
    let summary = import_coco_results(&store, &request, &NoProgress)
        .await
        .unwrap();
    assert_eq!((summary.detections, summary.failed), (2, 4));
    let failures: Vec<FailureRow> = rows(&store.snapshot().await.unwrap()).await;
    for (at, part) in [
        (0, "no image of the data set has its image_id, 1"),
        (1, "no class has its category_id, 2"),
        (2, "4"),
        (3, "invalid type: string"),
    ] {
        let item = format!("bad.json: [{at}]");
        let row = failures.iter().find(|row| row.item == item).unwrap();
        assert!(row.reason.contains(part), "{}", row.reason);
    }
    std::fs::write(&request.file, "{\"images\": []}").unwrap();
    let message = import_coco_results(&store, &request, &NoProgress)
        .await
        .unwrap_err();
    assert!(
        message.to_string().contains("not a list of COCO results"),
        "{message}"
    );
    request.classes = Some("groups".to_owned());
    std::fs::write(&request.file, "[]").unwrap();
    let message = import_coco_results(&store, &request, &NoProgress)
        .await
        .unwrap_err();
    assert!(
        message.to_string().contains("has no category ids"),
        "{message}"
    );
}

#[tokio::test]
async fn parts_of_the_images_are_judged_by_themselves() {
    let (_dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let of_split = EvalRequest {
        images: ImageFilter::split("even"),
        ..head("masks")
    };
    let even = eval(&store, of_split).await.unwrap();
    let condition = EvalRequest {
        images: ImageFilter::matching("split = 'even'"),
        ..head("masks")
    };
    let same = eval(&store, condition).await.unwrap();
    assert_eq!(even.metrics.len(), same.metrics.len());
    for (a, b) in even.metrics.iter().zip(&same.metrics) {
        assert_same(a.value, b.value, &format!("{a:?} {b:?}"));
    }
    assert_eq!(even.images, 16);
    let sliced = EvalRequest {
        slice: Some("split".to_owned()),
        ..head("masks")
    };
    let sliced = eval(&store, sliced).await.unwrap();
    assert_eq!(sliced.images, 32);
    for it in &even.metrics {
        let wanted = sliced.metrics.iter().find(|other| {
            let part = (&other.query, &other.class, &other.metric);
            other.slice.as_deref() == Some("even") && part == (&it.query, &it.class, &it.metric)
        });
        assert_same(wanted.unwrap().value, it.value, &format!("{it:?}"));
    }
    assert!(
        sliced
            .metrics
            .iter()
            .any(|it| it.slice.as_deref() == Some("odd"))
    );
}

#[tokio::test]
async fn what_cannot_be_judged_says_why() {
    let (_dir, store) = new_store().await;
    let message = |result: grainstore::Result<Evaluation>| result.unwrap_err().to_string();
    assert!(message(eval(&store, head("x")).await).contains("there is no head 'x'"));
    let (_dir, store) = annotated_store().await;
    import(&store, "masks").await;
    for (request, part) in [
        (
            EvalRequest {
                images: ImageFilter::dataset("voc"),
                ..head("masks")
            },
            "there is no data set with annotations 'voc'; there are 'shapes'",
        ),
        (
            EvalRequest {
                policy: Some("ffff".to_owned()),
                ..head("masks")
            },
            "there is no policy 'ffff'",
        ),
        (
            EvalRequest {
                classes: Some("none".to_owned()),
                ..head("masks")
            },
            "there is no class set 'none'",
        ),
        (
            EvalRequest {
                images: ImageFilter::matching("colour = 3"),
                ..head("masks")
            },
            "colour",
        ),
    ] {
        let found = message(eval(&store, request).await);
        assert!(found.contains(part), "{found}");
    }
    // A coarse head cannot be judged in finer classes.
    let results = json("masks.json");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("coarse.json");
    std::fs::write(&file, serde_json::json!([results[0]]).to_string()).unwrap();
    let set = ClassSet::new(
        "coarse",
        vec![class(
            "animal",
            results[0]["category_id"].as_i64(),
            &["cat", "dog"],
        )],
    )
    .unwrap();
    add_class_set(&store, "test", &set, "file").await.unwrap();
    let request = ImportRequest {
        split: None,
        file,
        head: "coarse".to_owned(),
        dataset: "shapes".to_owned(),
        classes: Some("coarse".to_owned()),
    };
    import_coco_results(&store, &request, &NoProgress)
        .await
        .unwrap();
    let request = EvalRequest {
        classes: Some("mixed".to_owned()),
        ..head("coarse")
    };
    let found = message(eval(&store, request).await);
    assert!(
        found.contains("class 'animal' of head 'coarse' would be a and b"),
        "{found}"
    );
}

#[tokio::test]
async fn heads_are_compared_on_the_same_samples() {
    let (dir, store) = annotated_store().await;
    import(&store, "masks").await;
    // The same detections but for every third.
    let results = json("masks.json");
    let fewer: Vec<&Value> = results
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .filter(|(at, _)| at % 3 != 0)
        .map(|(_, it)| it)
        .collect();
    let file = dir.path().join("fewer.json");
    std::fs::write(&file, serde_json::to_vec(&fewer).unwrap()).unwrap();
    let request = ImportRequest {
        split: None,
        file,
        head: "fewer".to_owned(),
        dataset: "shapes".to_owned(),
        classes: None,
    };
    import_coco_results(&store, &request, &NoProgress)
        .await
        .unwrap();
    let request = CompareRequest {
        first: head("masks"),
        other: "fewer".to_owned(),
        other_policy: None,
        replicates: 100,
        ap_replicates: 50,
        seed: 3,
    };
    let snapshot = store.snapshot().await.unwrap();
    let compared = compare(&snapshot, &request, &NoProgress).await.unwrap();
    let first = eval(&store, head("masks")).await.unwrap();
    let other = eval(&store, head("fewer")).await.unwrap();
    assert_eq!(compared.metrics.len(), 3);
    for it in &compared.metrics {
        for (ours, evaluation) in [(it.value, &first), (it.other_value, &other)] {
            let theirs = value_of(evaluation, None, &it.metric).unwrap();
            assert!((ours.unwrap() - theirs).abs() < 1e-12, "{it:?} {theirs}");
        }
        let (low, high) = (it.ci_low.unwrap(), it.ci_high.unwrap());
        let difference = it.difference.unwrap();
        assert!(
            low < high && low <= difference && difference <= high,
            "{it:?}"
        );
    }
    let again = compare(&snapshot, &request, &NoProgress).await.unwrap();
    for (a, b) in again.metrics.iter().zip(&compared.metrics) {
        assert_same(a.ci_low, b.ci_low, &a.metric);
        assert_same(a.ci_high, b.ci_high, &a.metric);
    }
    let itself = CompareRequest {
        other: "masks".to_owned(),
        ..request
    };
    for it in compare(&snapshot, &itself, &NoProgress)
        .await
        .unwrap()
        .metrics
    {
        for ours in [it.difference, it.ci_low, it.ci_high] {
            assert_same(ours, Some(0.0), &format!("{it:?}"));
        }
    }
}

#[tokio::test]
async fn queries_run_by_themselves() {
    let (_dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let snapshot = store.snapshot().await.unwrap();
    let session = QuerySession::new(&snapshot).await.unwrap();
    let mut ran = 0;
    for query in Query::all().unwrap() {
        // Tells of two heads of the same masks: tests/it/annotate.rs.
        if !query.name().starts_with("eval/") || query.name() == "eval/consistency" {
            continue;
        }
        let takes = |name: &str| query.parameters().iter().any(|it| it.name == name);
        let mut parameters = HashMap::new();
        for (name, value) in [("head", "masks"), ("dataset", "shapes"), ("other", "masks")] {
            if takes(name) {
                parameters.insert(name.to_owned(), value.to_owned());
            }
        }
        let rows = session.run(&query, &parameters).await;
        let rows = rows.unwrap_or_else(|err| panic!("{}: {err}", query.name()));
        let columns: Vec<String> = rows
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        let batches = rows.collect().await;
        let batches = batches.unwrap_or_else(|err| panic!("{}: {err}", query.name()));
        assert!(
            batches.iter().any(|batch| batch.num_rows() > 0),
            "{}",
            query.name()
        );
        let said = query.columns();
        for column in columns {
            assert!(
                said.contains(&column),
                "{}: column '{column}' is not told of",
                query.name()
            );
        }
        ran += 1;
    }
    assert!(ran > 8, "{ran}");

    // The whole confusion matrix.
    let expected = json("expected.json");
    let query = Query::named("eval/confusion").unwrap();
    let parameters = HashMap::from([("head".to_owned(), "masks".to_owned())]);
    let rows = session
        .run(&query, &parameters)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let mut matrix = vec![vec![0i64; 7]; 7];
    for batch in &rows {
        let number = |name: &str| {
            let column = batch.column_by_name(name).unwrap();
            arrow::compute::cast(column, &arrow::datatypes::DataType::Int64).unwrap()
        };
        let (truth, predicted, pixels) = (
            number("truth_index"),
            number("predicted_index"),
            number("pixels"),
        );
        for row in 0..batch.num_rows() {
            let at =
                |column: &arrow::array::ArrayRef| column.as_primitive::<Int64Type>().value(row);
            matrix[(at(&truth) + 1) as usize][(at(&predicted) + 1) as usize] = at(&pixels);
        }
    }
    let expected: Vec<Vec<i64>> =
        serde_json::from_value(expected["pixels"]["confusion"].clone()).unwrap();
    assert_eq!(matrix, expected);
    let predictions: Vec<PredictionRow> = crate::support::rows(&snapshot).await;
    assert_eq!(predictions.len(), 267);
}

/// tests/data/eval/make_ceiling.py, with pycocotools and NumPy.
#[tokio::test(flavor = "multi_thread")]
async fn the_ceiling_is_pycocotools_of_a_head_that_knows_everything() {
    let (_dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let snapshot = store.snapshot().await.unwrap();
    let request = CeilingRequest {
        classes: Some("shapes".to_owned()),
        ..CeilingRequest::default()
    };
    let found = ceiling(&snapshot, &request, &NoProgress).await.unwrap();
    let expected = json("ceiling.json");
    let overall = found.overall().unwrap();
    let stat = |name: &str| &expected["stats"][STATS.iter().position(|it| *it == name).unwrap()];
    assert_near(overall.ap50, stat("ap50"), 1e-12, "ap50");
    assert_near(overall.ar_100, stat("ar_100"), 1e-12, "ar_100");
    assert_near(found.miou, &expected["pixels"]["miou"], 1e-12, "miou");
    let mut sizes = 0;
    for row in found.rows.iter().filter(|row| row.class.is_none()) {
        let wanted = &expected["sizes"][&row.area];
        assert_eq!(
            row.objects,
            wanted["objects"].as_i64().unwrap(),
            "{}",
            row.area
        );
        assert_eq!(
            row.uncovered,
            wanted["uncovered"].as_i64().unwrap(),
            "{}",
            row.area
        );
        assert_near(row.mean_iou, &wanted["mean_iou"], 1e-12, &row.area);
        if row.area != "all" {
            let name = format!("ar_{}", row.area);
            assert_near(row.ar_100, stat(&name), 1e-12, &name);
        }
        sizes += 1;
    }
    assert_eq!(sizes, expected["sizes"].as_object().unwrap().len());
    let of_class = found.rows.iter().filter(|row| row.area == "all");
    let of_class: Vec<_> = of_class.filter(|row| row.class.is_some()).collect();
    assert_eq!(
        of_class.len(),
        expected["classes"].as_object().unwrap().len()
    );
    for row in of_class {
        let class = row.class.as_deref().unwrap();
        let wanted = &expected["classes"][class];
        assert_near(row.ap50, &wanted[0], 1e-12, class);
        assert_near(row.ar_100, &wanted[1], 1e-12, class);
    }

    // By way of a head, whose own score does not matter; and no better than that by its classes.
    let of_head = CeilingRequest {
        head: Some("masks".to_owned()),
        ..CeilingRequest::default()
    };
    let same = ceiling(&snapshot, &of_head, &NoProgress).await.unwrap();
    assert_eq!(same.extractor_id, found.extractor_id);
    assert_near(same.miou, &expected["pixels"]["miou"], 1e-12, "miou");
    let evaluated = eval(&store, head("masks")).await.unwrap();
    assert!(evaluated.metric("miou") < found.miou && evaluated.metric("ap50") < overall.ap50);
    for (request, part) in [
        (
            CeilingRequest {
                classes: Some("shape".to_owned()),
                ..CeilingRequest::default()
            },
            "shapes",
        ),
        (
            CeilingRequest {
                images: ImageFilter::matching("width < 0"),
                ..request.clone()
            },
            "no image of the data set",
        ),
        (
            CeilingRequest {
                extractor: Some("zz".to_owned()),
                ..request.clone()
            },
            "zz",
        ),
    ] {
        let message = ceiling(&snapshot, &request, &NoProgress).await;
        let message = message.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}
