//! Evaluation in class sets of one version or another, and over images that there are none of.

use grainstore::classes::{ClassSet, add_class_set};
use grainstore::eval::{CompareRequest, EvalRequest, compare};
use grainstore::progress::NoProgress;
use grainstore::selection::ImageFilter;
use grainstore::store::rows::EvaluationRow;
use serde_json::Value;

use crate::eval::{eval, head, value_of};
use crate::eval_store::{annotated_store, import};
use crate::support::rows;

#[tokio::test]
async fn a_version_of_a_class_set_judges_as_it_was() {
    let (_dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let before = eval(&store, head("masks")).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let mut set = ClassSet::load(&snapshot, "shapes").await.unwrap();
    let first = set.version;
    set.classes.truncate(1);
    add_class_set(&store, "test", &set, "test").await.unwrap();
    let in_classes = |classes: &str| EvalRequest {
        classes: Some(classes.to_owned()),
        ..head("masks")
    };
    let named = format!("shapes@{first}");
    let as_it_was = eval(&store, in_classes(&named)).await.unwrap();
    assert_eq!(as_it_was.classes, named);
    for (it, then) in as_it_was.metrics.iter().zip(&before.metrics) {
        assert_eq!((&it.metric, &it.class), (&then.metric, &then.class));
        let [now, then] = [it, then].map(|it| it.value.unwrap_or(-1.0));
        assert!((now - then).abs() < 1e-12, "{it:?} {then}");
    }
    let newest = eval(&store, in_classes("shapes")).await.unwrap();
    assert_eq!(newest.classes, format!("shapes@{}", first + 1));
    assert!(newest.metrics.len() < before.metrics.len());
    let missing = eval(&store, in_classes("shapes@77")).await.unwrap_err();
    assert!(missing.to_string().contains("shapes@77"), "{missing}");

    // In its own classes, a head compares with itself as without another version.
    let request = CompareRequest {
        first: head("masks"),
        other: "masks".to_owned(),
        other_policy: None,
        replicates: 20,
        ap_replicates: 20,
        seed: 3,
    };
    let snapshot = store.snapshot().await.unwrap();
    let compared = compare(&snapshot, &request, &NoProgress).await.unwrap();
    assert_eq!(compared.classes, named);
    for it in &compared.metrics {
        assert!(it.difference.unwrap().abs() < 1e-12, "{it:?}");
        let theirs = value_of(&before, None, &it.metric);
        assert!(
            (it.value.unwrap() - theirs.unwrap()).abs() < 1e-12,
            "{it:?}"
        );
    }
    compared.save(&store).await.unwrap();
    let kept: Vec<EvaluationRow> = rows(&store.snapshot().await.unwrap()).await;
    let recorded: Value = serde_json::from_str(&kept[0].request).unwrap();
    assert_eq!(recorded["other"]["head"], before.head_id.as_str());
    assert_eq!(recorded["first"]["classes"], named);
}

#[tokio::test]
async fn a_class_called_as_the_background_is_asks_for_another_name() {
    let (_dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let snapshot = store.snapshot().await.unwrap();
    let mut set = ClassSet::load(&snapshot, "shapes").await.unwrap();
    set.classes[0].name = "background".to_owned();
    add_class_set(&store, "test", &set, "test").await.unwrap();
    let in_it = EvalRequest {
        classes: Some("shapes".to_owned()),
        ..head("masks")
    };
    let refused = eval(&store, in_it).await.unwrap_err().to_string();
    assert!(refused.contains("a class 'background'"), "{refused}");
}

#[tokio::test]
async fn figures_over_no_images_are_an_error() {
    let (_dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let nowhere = EvalRequest {
        images: ImageFilter::split("nowhere"),
        ..head("masks")
    };
    let missing = eval(&store, nowhere).await.unwrap_err().to_string();
    assert!(
        missing.contains("there is no split 'nowhere'; there are 'even', 'odd'"),
        "{missing}"
    );
    let policy = EvalRequest {
        policy: Some("0123".to_owned()),
        ..head("masks")
    };
    let missing = eval(&store, policy).await.unwrap_err().to_string();
    assert!(missing.contains("there is no policy '0123'"), "{missing}");
}
