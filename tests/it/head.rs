//! Heads: trainings on stores of made-up embeddings whose classes can be told apart.

use std::sync::Arc;

use arrow::array::{AsArray, FixedSizeListArray, Float16Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type};
use grainstore::annotate::{AnnotateRequest, Policy, annotate};
use grainstore::catalogue::{find_extractor, find_head, heads_stored};
use grainstore::head::TrainingMasks;
use grainstore::head::{
    Bags, CacheOptions, ChosenImages, CreateHead, HeadInputs, Loss, Parent, Phase, Pick, Removal,
    TrainOptions, TrainRequest, TrainingQuery, head_status, import_head, load_head, remove_head,
    rename_head,
};
use grainstore::ids::{ExtractorId, HeadId};
use grainstore::progress::NoProgress;
use grainstore::selection::ImageFilter;
use grainstore::store::rows::HeadRow;

use crate::made_store::{Shown, made, made_in_directory};
use crate::support::append;

const FINE: [(&str, &[&str]); 3] = [("cat", &["cat"]), ("dog", &["dog"]), ("cow", &["cow"])];

#[tokio::test(flavor = "multi_thread")]
async fn one_store_serves_any_granularity() {
    let made = made().await;
    made.add_classes(&["cat", "dog", "cow"], 30, 0).await;
    let fine = made.classes("fine", &FINE).await;
    let coarse = made
        .classes("coarse", &[("pet", &["cat", "dog"]), ("farm", &["cow"])])
        .await;
    let one = made.classes("one", &[("dog", &["dog"])]).await;

    let summary = made.train(made.request("fine", fine).await).await.unwrap();
    assert_eq!((summary.images, summary.skipped.images_outside), (90, 0));
    assert!(
        summary.validation_images > 0 && summary.validation_accuracy.unwrap() > 0.9,
        "{summary:?}"
    );
    for label in ["cat", "dog", "cow"] {
        let accuracy = made.mask_accuracy("fine", label).await;
        assert!(accuracy > 0.9, "{label}: {accuracy}");
    }
    made.train(made.request("coarse", coarse).await)
        .await
        .unwrap();
    let rows = made
        .query("SELECT predict_scores('coarse', embedding) FROM masks LIMIT 5")
        .await
        .unwrap();
    let scores = rows[0].column(0).as_list::<i32>().value(0);
    let scores = scores.as_primitive::<Float32Type>();
    assert_eq!(scores.len(), 2);
    assert!((scores.value(0) + scores.value(1) - 1.0).abs() < 1e-5);

    // One class alone is told from the images that do not show it.
    let mut request = made.request("one", one).await;
    // Each mask that shows nothing is noise of its own here; clean picks learn some of them by heart.
    request.options.pick = Pick::Noisy;
    let summary = made.train(request).await.unwrap();
    assert!(summary.validation_accuracy.unwrap() > 0.9, "{summary:?}");
    let rows = made
        .query(
            "SELECT avg(predict('one', m.embedding, m.extractor_id).score) FILTER (WHERE l.label = 'dog' AND m.mask_index < 3)
                  - avg(predict('one', m.embedding).score) FILTER (WHERE l.label <> 'dog') AS apart
             FROM masks m JOIN labels l USING (image_id)",
        )
        .await
        .unwrap();
    let apart = rows[0]
        .column(0)
        .as_primitive::<arrow::datatypes::Float64Type>()
        .value(0);
    assert!(apart > 0.4, "{apart}");
}

/// A head that was trained on damaged files is not stored, whether they were compared before or meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_masks_give_no_head() {
    let made = made_in_directory().await;
    made.add_classes(&["cat", "dog", "cow"], 12, 0).await;
    let set = made.classes("fine", &FINE).await;
    let files: Vec<_> = walkdir::WalkDir::new(made.dir.path().join("store/masks.lance/data"))
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(walkdir::DirEntry::into_path)
        .collect();
    let [file] = &files[..] else {
        panic!("{files:?}");
    };
    // In the middle of the numbers of a mask.
    let mut bytes = std::fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).unwrap();
    for (name, budget) in [("before", usize::MAX), ("meanwhile", 0)] {
        let mut request = made.request(name, set.clone()).await;
        request.cache.budget_bytes = budget;
        let err = made.train(request).await.unwrap_err();
        assert!(
            matches!(err, grainstore::Error::StoreDamaged { .. }),
            "{name}: {err}"
        );
    }
    let snapshot = made.store.snapshot().await.unwrap();
    assert!(heads_stored(&snapshot).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_training_gives_the_same_weights() {
    let made = made().await;
    made.add_classes(&["cat", "dog", "cow"], 12, 0).await;
    let set = made.classes("fine", &FINE).await;
    let mut request = made.request("a", set).await;
    request.options.epochs = Some(2);
    request.options.loss = Some(Loss::MilDistillRefine);
    made.train(request.clone()).await.unwrap();
    // Embeddings in a file instead of in memory make no difference either.
    request.name = "b".to_owned();
    request.cache.budget_bytes = 0;
    made.train(request.clone()).await.unwrap();
    assert_eq!(made.weights("a").await, made.weights("b").await);
    request.name = "c".to_owned();
    request.options.seed = 1;
    made.train(request).await.unwrap();
    assert_ne!(made.weights("a").await, made.weights("c").await);

    let snapshot = made.store.snapshot().await.unwrap();
    let names: Vec<String> = heads_stored(&snapshot)
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.head)
        .collect();
    assert_eq!(
        names,
        [
            "a.teacher",
            "a.student",
            "a",
            "b.teacher",
            "b.student",
            "b",
            "c.teacher",
            "c.student",
            "c"
        ]
    );
    let head = load_head(&snapshot, "a").await.unwrap();
    let student = load_head(&snapshot, "a.student").await.unwrap();
    let teacher = load_head(&snapshot, "a.teacher").await.unwrap();
    assert_eq!(head.row.teacher_head_id, Some(student.row.head_id));
    assert_eq!(student.row.teacher_head_id, Some(teacher.row.head_id));
    assert!(head.spec.head.background && !student.spec.head.background);
    let curves: Vec<grainstore::head::Curve> = serde_json::from_str(&head.row.curves).unwrap();
    let phases: Vec<Phase> = curves.iter().map(|curve| curve.phase).collect();
    assert_eq!(
        phases,
        [
            Phase::Teacher,
            Phase::Teacher,
            Phase::Student,
            Phase::Student,
            Phase::Refined,
            Phase::Refined
        ]
    );
    assert!(
        curves
            .iter()
            .all(|curve| curve.uncertainty.is_some() == (curve.phase == Phase::Student))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_several_kinds_are_told_apart_and_counted() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 10, 0).await;
    made.add_images(&[
        Shown {
            n: 100,
            labels: &["cat", "dog"],
            masks: 9,
        },
        Shown {
            n: 101,
            labels: &["cat", "tree"],
            masks: 1,
        },
        Shown {
            n: 102,
            labels: &["tree"],
            masks: 5,
        },
    ])
    .await;
    let set = made
        .classes("two", &[("cat", &["cat"]), ("dog", &["dog"])])
        .await;
    let request = made.request("two", set.clone()).await;
    let snapshot = made.store.snapshot().await.unwrap();
    let query = request
        .masks
        .query(&snapshot, None, &HeadInputs::tokens())
        .await
        .unwrap();
    let rows = query.rows(&snapshot).await.unwrap();
    let bags = Bags::read(
        rows,
        &set,
        &HeadInputs::tokens(),
        &CacheOptions::default(),
        &NoProgress,
    )
    .await
    .unwrap();
    assert_eq!(bags.images.len(), 22);
    assert_eq!(
        (bags.skipped.images_outside, bags.skipped.labels_outside),
        (1, 1)
    );
    let both = bags
        .images
        .iter()
        .filter(|image| image.classes == [0, 1])
        .count();
    assert_eq!(both, 1);

    // A query of one's own: a row for each label, and masks chosen by what they are.
    let sql =
        "SELECT m.*, l.label FROM masks m JOIN labels l USING (image_id) WHERE m.mask_index < 6;";
    let rows = TrainingQuery::new(sql).rows(&snapshot).await.unwrap();
    let own = Bags::read(
        rows,
        &set,
        &HeadInputs::tokens(),
        &CacheOptions::default(),
        &NoProgress,
    )
    .await
    .unwrap();
    assert_eq!(own.images.len(), 22);
    assert_eq!(own.masks(), 20 * 6 + 6 + 1);
    let both = own
        .images
        .iter()
        .filter(|image| image.classes == [0, 1])
        .count();
    assert_eq!(both, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_trained_on_is_named() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 3, 0).await;
    let lacking = made.classes("lacking", &FINE).await;
    let message = made
        .train(made.request("h", lacking).await)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("no image to train on for class 'cow'"),
        "{message}"
    );

    let all = made.classes("all", &[("any", &["cat", "dog"])]).await;
    let message = made
        .train(made.request("h", all).await)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("one class and every image shows it"),
        "{message}"
    );

    let set = made.classes("two", &FINE[..2]).await;
    for (sql, part) in [
        ("SELECT image_id FROM masks", "no column 'extractor_id'"),
        ("SELECT * FROM masks", "no column 'label'"),
        (
            "SELECT m.*, 1 AS label FROM masks m WHERE false",
            "there is nothing to train on",
        ),
        (
            "SELECT image_id, extractor_id, mask_index, 'x' AS label, area AS embedding FROM masks",
            "column 'embedding': expected a list of fixed size",
        ),
        (
            "SELECT image_id, CAST(mask_index AS TEXT) AS extractor_id, mask_index, 'cat' AS label, embedding FROM masks",
            "masks of extractors",
        ),
    ] {
        let mut request = made.request("h", set.clone()).await;
        request.masks = TrainingMasks::Query(TrainingQuery::new(sql));
        let message = made.train(request).await.unwrap_err().to_string();
        assert!(message.contains(part), "{sql}: {message}");
    }
    let snapshot = made.store.snapshot().await.unwrap();
    let bad = TrainingQuery::of_images(
        &snapshot,
        &made.extractor,
        &ChosenImages {
            images: Some(ImageFilter::matching("1=1) OR (true")),
            ..ChosenImages::default()
        },
        &HeadInputs::tokens(),
    )
    .await;
    assert!(
        bad.is_err(),
        "a condition that closes the bracket is no expression"
    );
    let message = find_extractor(&snapshot, Some("zz"))
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains("made.safetensors"), "{message}");
    assert!(
        heads_stored(&snapshot).await.unwrap().is_empty(),
        "nothing was stored"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_that_are_not_finite_are_left_out() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 3, 0).await;
    let set = made.classes("two", &FINE[..2]).await;
    let snapshot = made.store.snapshot().await.unwrap();
    let request = made.request("h", set.clone()).await;
    let query = request
        .masks
        .query(&snapshot, None, &HeadInputs::tokens())
        .await
        .unwrap();
    let batches = query
        .rows(&snapshot)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let schema = batches[0].schema();
    let batch = arrow::compute::concat_batches(&schema, &batches).unwrap();
    let masks = batch.num_rows();
    // The store refuses NaN, so the rows are changed on their way: those of one image, and one more.
    let at = schema.index_of("embedding").unwrap();
    let ids = batch.column(schema.index_of("image_id").unwrap()).clone();
    let first = arrow::compute::cast(&ids, &DataType::Utf8).unwrap();
    let first = first.as_string::<i32>();
    let spoilt: Vec<usize> = (0..masks)
        .filter(|row| first.value(*row) == first.value(0))
        .collect();
    let column = batch.column(at).as_fixed_size_list();
    let values = column
        .values()
        .as_primitive::<arrow::datatypes::Float16Type>();
    let values: Vec<_> = values
        .values()
        .iter()
        .enumerate()
        .map(|(n, x)| {
            if spoilt.contains(&(n / 1024)) || n == masks * 1024 - 1 {
                half::f16::NAN
            } else {
                *x
            }
        })
        .collect();
    let item = Arc::new(Field::new("item", DataType::Float16, true));
    let values = Arc::new(Float16Array::from(values));
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(FixedSizeListArray::new(item, 1024, values, None));
    let batch = RecordBatch::try_new(schema, columns).unwrap();
    let bags = Bags::of_batches(
        &[batch],
        &set,
        &HeadInputs::tokens(),
        &CacheOptions::default(),
    )
    .unwrap();
    assert_eq!(bags.skipped.masks_not_finite, spoilt.len() as u64 + 1);
    assert_eq!(bags.skipped.images_empty, 1);
    assert_eq!(bags.images.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_class_is_added_to_a_head() {
    let made = made().await;
    made.add_classes(&["cat", "dog", "cow"], 30, 0).await;
    let fine = made.classes("fine", &FINE).await;
    made.train(made.request("fine", fine).await).await.unwrap();
    let parent = Parent {
        head: "fine".to_owned(),
        replay: Some(1.0),
    };
    let snapshot = made.store.snapshot().await.unwrap();
    let first = find_head(&snapshot, "fine").await.unwrap();
    let status = head_status(&snapshot, &first).await.unwrap();
    assert_eq!((status.images_added, status.stale), (Some(0), false));

    made.add_classes(&["owl"], 30, 1000).await;
    let more = [FINE.as_slice(), &[("owl", &["owl"])]].concat();
    let set = made.classes("fine", &more).await;
    assert_eq!(set.version, 2);
    let snapshot = made.store.snapshot().await.unwrap();
    let status = head_status(&snapshot, &first).await.unwrap();
    assert_eq!(
        (
            status.images_added,
            status.newest_class_set_version,
            status.stale
        ),
        (Some(30), Some(2), true)
    );

    let mut request = made.request("fine4", set).await;
    request.parent = Some(parent.clone());
    request.options.epochs = Some(4);
    made.train(request.clone()).await.unwrap();
    for label in ["cat", "dog", "cow", "owl"] {
        let accuracy = made.mask_accuracy("fine4", label).await;
        assert!(accuracy > 0.9, "{label}: {accuracy}");
    }
    let head = load_head(&made.store.snapshot().await.unwrap(), "fine4")
        .await
        .unwrap();
    assert_eq!(head.row.parent_head_id.as_ref(), Some(&first.head_id));

    // A head of another extractor's masks is refused, naming both.
    let row = HeadRow {
        head_id: HeadId::of_bytes(b"stranger"),
        head: "stranger".to_owned(),
        extractor_id: ExtractorId::of_bytes(b"another"),
        ..head.row.clone()
    };
    append(&made.store, std::slice::from_ref(&row)).await;
    request.parent = Some(Parent {
        head: "stranger".to_owned(),
        ..parent
    });
    let message = made.train(request).await.unwrap_err().to_string();
    assert!(
        message.contains(made.extractor.as_str()) && message.contains(row.extractor_id.as_str()),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_kept_moved_and_removed() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 6, 0).await;
    let set = made.classes("two", &FINE[..2]).await;
    let mut request = made.request("h", set).await;
    request.options = TrainOptions {
        loss: Some(Loss::Mil),
        epochs: Some(1),
        ..request.options
    };
    made.train(request).await.unwrap();
    let snapshot = made.store.snapshot().await.unwrap();
    let head = load_head(&snapshot, "h").await.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("h.safetensors");
    std::fs::write(&file, grainstore::head::export_head(&head).unwrap()).unwrap();
    let known = import_head(&made.store, &file, Some("other")).await;
    let known = known.unwrap_err().to_string();
    assert!(
        known.contains("in the store already, as head 'h'"),
        "{known}"
    );
    rename_head(&made.store, "h", "g").await.unwrap();
    let snapshot = made.store.snapshot().await.unwrap();
    assert!(load_head(&snapshot, "h").await.is_err());
    assert_eq!(
        load_head(&snapshot, "g").await.unwrap().row.head_id,
        head.row.head_id
    );
    assert!(rename_head(&made.store, "g", "g").await.is_err());
    remove_head(&made.store, "g", Removal::Unused)
        .await
        .unwrap();
    assert!(
        heads_stored(&made.store.snapshot().await.unwrap())
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        remove_head(&made.store, "g", Removal::Unused)
            .await
            .unwrap_err()
            .to_string()
            .contains("no head 'g'")
    );

    let imported = import_head(&made.store, &file, Some("again"))
        .await
        .unwrap();
    assert_eq!(imported.head_id, head.row.head_id);
    assert_eq!(made.weights("again").await, head.weights);
    // Versions of the store it came from mean nothing here.
    let snapshot = made.store.snapshot().await.unwrap();
    let status = head_status(&snapshot, &imported).await.unwrap();
    assert!(status.unknown.unwrap().contains("another store"));
    std::fs::write(&file, "not a head").unwrap();
    let message = import_head(&made.store, &file, None)
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains("h.safetensors"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teacher_goes_with_its_last_student() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 6, 0).await;
    let set = made.classes("two", &FINE[..2]).await;
    let mut request = made.request("h", set.clone()).await;
    request.options = TrainOptions {
        loss: Some(Loss::MilDistillRefine),
        epochs: Some(1),
        ..request.options
    };
    made.train(request.clone()).await.unwrap();
    made.train(TrainRequest {
        options: TrainOptions {
            seed: 1,
            ..request.options.clone()
        },
        ..request.clone()
    })
    .await
    .unwrap();
    let names = async || {
        let snapshot = made.store.snapshot().await.unwrap();
        let stored = heads_stored(&snapshot).await.unwrap().into_iter();
        stored.map(|row| row.head).collect::<Vec<_>>()
    };
    let once = ["h.teacher", "h.student", "h"];
    assert_eq!(names().await, [once, once].concat());
    let removed = remove_head(&made.store, "h", Removal::Unused)
        .await
        .unwrap();
    let removed: Vec<&str> = removed.iter().map(|row| row.head.as_str()).collect();
    assert_eq!(removed, ["h", "h.student", "h.teacher"]);
    assert_eq!(names().await, once);

    // One that annotated stays, and what it was trained from.
    let student = AnnotateRequest {
        head: "h.student".to_owned(),
        images: ImageFilter::all(),
        policy: Policy::default(),
    };
    annotate(&made.store, &student, &NoProgress).await.unwrap();
    remove_head(&made.store, "h", Removal::Unused)
        .await
        .unwrap();
    assert_eq!(names().await, ["h.teacher", "h.student"]);

    // Its name must be one.
    let long = TrainRequest {
        name: "x".repeat(95),
        ..request
    };
    let refused = made.train(long).await.unwrap_err().to_string();
    assert!(refused.contains("xxx.teacher"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn training_that_runs_away_says_so() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 6, 0).await;
    let set = made.classes("two", &FINE[..2]).await;
    let mut request = made.request("h", set).await;
    request.options.learning_rate = 1e30;
    let message = made.train(request).await.unwrap_err().to_string();
    assert!(message.contains("not finite numbers any more"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_names_what_is_wrong_with_a_prediction() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 6, 0).await;
    let set = made.classes("two", &FINE[..2]).await;
    let create = "CREATE HEAD h USING CLASSES two OPTIONS (loss = 'mil', epochs = 1) AS \
        SELECT m.*, l.label FROM masks m JOIN labels l USING (image_id)";
    let create = CreateHead::parse(create).unwrap().unwrap();
    let mut request = made.request(&create.name, set).await;
    request.masks = TrainingMasks::Query(TrainingQuery::new(&create.query));
    request.options = create.options;
    made.train(request).await.unwrap();
    for (sql, part) in [
        (
            "SELECT predict('nobody', embedding) FROM masks",
            "no head 'nobody'",
        ),
        (
            "SELECT predict('h', area) FROM masks",
            "expected an embedding of 1024 numbers",
        ),
        (
            "SELECT predict('h', embedding, 'f00') FROM masks",
            "cannot be used on those of extractor 'f00'",
        ),
    ] {
        let message = made.query(sql).await.unwrap_err().to_string();
        assert!(message.contains(part), "{sql}: {message}");
    }
    let rows = made
        .query("SELECT predict('h', embedding).entropy AS e FROM masks ORDER BY e DESC LIMIT 3")
        .await
        .unwrap();
    let entropy = rows[0].column(0).as_primitive::<Float32Type>();
    assert!(
        entropy
            .values()
            .iter()
            .all(|e| (0.0..=2f32.ln() + 1e-6).contains(e))
    );
}
