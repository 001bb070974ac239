//! Imports of other models' results: again, after removal, in other classes, for data sets whose ids repeat.

use std::collections::HashMap;

use grainstore::classes::{ClassSet, add_class_set};
use grainstore::eval::{EvalRequest, evaluate};
use grainstore::head::{Removal, remove_head};
use grainstore::import::{ImportRequest, import_coco_results};
use grainstore::progress::NoProgress;
use grainstore::query::{Query, QuerySession};
use grainstore::schema::Table;
use grainstore::store::Store;
use grainstore::store::rows::ImageRow;

use crate::eval_store::{annotated_store, import};
use crate::support::{append, image, new_store};

/// Rows that the checks of a store find.
async fn findings(store: &Store) -> Vec<String> {
    let snapshot = store.snapshot().await.unwrap();
    let session = QuerySession::new(&snapshot).await.unwrap();
    let mut found = Vec::new();
    for query in Query::all().unwrap() {
        if query.name().starts_with("check/") {
            let mut rows = session.run(&query, &HashMap::new()).await.unwrap();
            while let Some(batch) = rows.next().await.unwrap() {
                found.extend((0..batch.num_rows()).map(|_| query.name().to_owned()));
            }
        }
    }
    found
}

async fn ap(store: &Store, head: &str) -> f64 {
    let request = EvalRequest {
        head: head.to_owned(),
        ..EvalRequest::default()
    };
    let snapshot = store.snapshot().await.unwrap();
    let found = evaluate(&snapshot, &request, &NoProgress).await.unwrap();
    let ap = found
        .metrics
        .iter()
        .find(|it| it.metric == "ap" && it.class.is_none());
    ap.unwrap().value.unwrap()
}

#[tokio::test]
async fn imported_again_after_removal_or_in_other_classes_nothing_is_lost_or_counted_twice() {
    for name in ["masks", "boxes"] {
        let (_dir, store) = annotated_store().await;
        let first = import(&store, name).await;
        let before = ap(&store, name).await;
        assert!(before > 0.0);
        remove_head(&store, name, Removal::Any).await.unwrap();
        let again = import(&store, name).await;
        assert_eq!((again.images, again.done), (first.images, 0));
        assert_eq!(ap(&store, name).await, before, "{name}");

        // Another version of the classes makes another head of the same masks.
        let snapshot = store.snapshot().await.unwrap();
        let masks = snapshot.count(Table::Masks).await.unwrap();
        let mut set = ClassSet::load(&snapshot, "shapes").await.unwrap();
        set.classes[0].supercategory = Some("thing".to_owned());
        add_class_set(&store, "test", &set, "test").await.unwrap();
        let other = import(&store, name).await;
        assert_ne!(other.head_id, first.head_id);
        assert_eq!(other.images, first.images);
        assert_eq!(ap(&store, name).await, before);
        assert_eq!(ap(&store, first.head_id.unwrap().as_str()).await, before);
        let snapshot = store.snapshot().await.unwrap();
        assert_eq!(snapshot.count(Table::Masks).await.unwrap(), masks);
        assert_eq!(snapshot.count(Table::Extractors).await.unwrap(), 1);
        assert_eq!(findings(&store).await, [""; 0], "{name}");
    }
}

#[tokio::test]
async fn an_image_id_of_two_splits_asks_which() {
    let (dir, store) = new_store().await;
    let of_split = |n: u32, split: &str| ImageRow {
        external_id: Some(1),
        split: Some(split.to_owned()),
        dataset: "mine".to_owned(),
        ..image(n)
    };
    append(&store, &[of_split(0, "train"), of_split(1, "val")]).await;
    let class = crate::eval_store::class("cat", Some(1), &["cat"]);
    let set = ClassSet::new("mine", vec![class]).unwrap();
    add_class_set(&store, "test", &set, "test").await.unwrap();
    let file = dir.path().join("results.json");
    let detection = r#"[{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.5}]"#;
    std::fs::write(&file, detection).unwrap();
    let mut request = ImportRequest {
        file,
        head: "m".to_owned(),
        dataset: "mine".to_owned(),
        split: None,
        classes: None,
    };
    let both = import_coco_results(&store, &request, &NoProgress).await;
    let both = both.unwrap_err().to_string();
    assert!(
        both.contains("image id 1") && both.contains("choose one split"),
        "{both}"
    );
    request.split = Some("val".to_owned());
    let one = import_coco_results(&store, &request, &NoProgress)
        .await
        .unwrap();
    assert_eq!((one.images, one.failed), (1, 0));
}
