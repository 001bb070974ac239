//! Heads that learn from labels of masks: with labels of images, alone, and as closed forms.

use arrow::array::AsArray;
use grainstore::annotate::{AnnotateRequest, MapRule, annotate, default_map_rule};
use grainstore::head::{
    CreateHead, Loss, MaskLabelCounts, Parent, Recipe, TrainOptions, TrainRequest, TrainingMasks,
    TrainingQuery, head_status, load_head,
};
use grainstore::ids::{ExtractorId, MaskLabelId};
use grainstore::progress::NoProgress;
use grainstore::review::{
    LabelRequest, Origin, Statement, Verdict, label_masks, mask_labels, undo_labels,
};
use grainstore::store::rows::MaskLabelRow;

use crate::made_store::{Made, Shown, made};
use crate::support::{append, image, rows};

const CLASSES: [(&str, &[&str]); 3] = [("cat", &["cat"]), ("dog", &["dog"]), ("cow", &["cow"])];

/// A word about a mask: an image's number, the mask's index, a verdict and a label.
type Word<'a> = (u32, i32, Verdict, Option<&'a str>);

async fn say(made: &Made, reviewer: &str, words: &[Word<'_>]) {
    let statements = words
        .iter()
        .map(|(n, mask_index, verdict, label)| Statement {
            mask: made.mask(*n, *mask_index),
            label: label.map(str::to_owned),
            verdict: *verdict,
            line: None,
        });
    let request = LabelRequest {
        statements: statements.collect(),
        origin: Origin::Review,
        reviewer: Some(reviewer.to_owned()),
        file: None,
    };
    label_masks(&made.store, &request).await.unwrap();
}

/// 60 images of three classes: of each image three masks show its label, the others nothing.
async fn labelled_images() -> (Made, TrainRequest) {
    let made = made().await;
    made.add_classes(&["cat", "dog", "cow"], 20, 0).await;
    let set = made.classes("three", &CLASSES).await;
    let mut request = made.request("h", set).await;
    request.options.epochs = Some(30);
    (made, request)
}

/// A mask of each class of some images, and two that show nothing of each.
fn words(images: std::ops::Range<u32>) -> Vec<Word<'static>> {
    let of_image = |n: u32| {
        let label = ["cat", "dog", "cow"][n as usize % 3];
        [
            (n, 0, Verdict::Is, Some(label)),
            (n, 5, Verdict::Is, None),
            (n, 6, Verdict::Is, None),
        ]
    };
    images.flat_map(of_image).collect()
}

fn with(request: &TrainRequest, loss: Option<Loss>) -> TrainRequest {
    TrainRequest {
        options: TrainOptions {
            loss,
            ..request.options.clone()
        },
        ..request.clone()
    }
}

async fn number(made: &Made, sql: &str) -> f64 {
    let rows = made.query(sql).await.unwrap();
    let column = arrow::compute::cast(rows[0].column(0), &arrow::datatypes::DataType::Float64);
    column
        .unwrap()
        .as_primitive::<arrow::datatypes::Float64Type>()
        .value(0)
}

/// Mean score of masks that show nothing.
async fn background_score(made: &Made, head: &str) -> f64 {
    let sql =
        format!("SELECT avg(predict('{head}', embedding).score) FROM masks WHERE mask_index >= 3");
    number(made, &sql).await
}

#[tokio::test(flavor = "multi_thread")]
async fn maps_of_the_papers_heads_are_painted() {
    let (made, request) = labelled_images().await;
    made.train(request.clone()).await.unwrap();
    let paper = TrainRequest {
        name: "paper".to_owned(),
        options: TrainOptions {
            epochs: Some(2),
            ..Recipe::Paper.options()
        },
        ..request
    };
    made.train(paper).await.unwrap();
    let snapshot = made.store.snapshot().await.unwrap();
    for (head, rule) in [
        ("h", MapRule::Vote(0.5)),
        ("paper", MapRule::Paint),
        ("paper.teacher", MapRule::Paint),
    ] {
        assert_eq!(default_map_rule(&snapshot, head).await.unwrap(), rule);
    }
    let unknown = default_map_rule(&snapshot, "nobody").await.unwrap_err();
    assert!(unknown.to_string().contains("nobody"), "{unknown}");
    let spec = load_head(&snapshot, "paper").await.unwrap().spec.options;
    assert_eq!((spec.recipe, spec.a), (Recipe::Paper, 8.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn labelled_masks_join_labelled_images_in_one_loss() {
    let (made, request) = labelled_images().await;
    let plain = made.train(request.clone()).await.unwrap();
    assert_eq!((plain.loss, plain.mask_labels), (Loss::MilDistill, None));
    assert!(
        background_score(&made, "h").await > 0.33,
        "it knows no background"
    );

    let counts = |classes, background, not| MaskLabelCounts {
        classes,
        background,
        not,
    };
    // Labels of classes alone leave the head without an output for the background.
    let of_classes: Vec<Word<'_>> = words(0..3)
        .into_iter()
        .filter(|word| word.3.is_some())
        .collect();
    say(&made, "anna", &of_classes).await;
    let first = made.train(request.clone()).await.unwrap();
    assert_eq!(
        (first.loss, first.mask_labels),
        (Loss::MilDistill, Some(counts(3, 0, 0)))
    );
    assert_eq!(made.weights("h").await.widths().last(), Some(&3));

    say(&made, "anna", &words(0..6)).await;
    let joint = made.train(request.clone()).await.unwrap();
    assert_eq!(joint.mask_labels, Some(counts(6, 12, 0)));
    assert_eq!((joint.images, joint.masks), (plain.images, plain.masks));
    let snapshot = made.store.snapshot().await.unwrap();
    let head = load_head(&snapshot, "h").await.unwrap();
    assert!(head.spec.head.background && head.spec.mask_labels == joint.mask_labels);
    assert_eq!(head.weights.widths().last(), Some(&4));
    // Its teacher learns from images alone.
    let teacher = load_head(&snapshot, "h.teacher").await.unwrap();
    assert_eq!(teacher.weights.widths().last(), Some(&3));
    assert!(!teacher.spec.head.background && teacher.spec.mask_labels.is_none());
    assert!(background_score(&made, "h").await < 0.2);
    for label in ["cat", "dog", "cow"] {
        assert!(made.mask_accuracy("h", label).await > 0.95, "{label}");
    }

    // In refining, only what is labelled as background is so.
    let refined = made
        .train(with(&request, Some(Loss::MilDistillRefine)))
        .await
        .unwrap();
    assert_eq!(
        (refined.loss, refined.mask_labels),
        (Loss::MilDistillRefine, joint.mask_labels)
    );
    assert_eq!(refined.refined.unwrap().background, 0);
    let background = background_score(&made, "h").await;
    assert!(background < 0.25, "{background}");
    let none = TrainRequest {
        masks: chosen(&made, |chosen| {
            chosen.mask_labels = Some("false".to_owned())
        }),
        ..request.clone()
    };
    let none = made.train(none).await.unwrap();
    assert_eq!((none.loss, none.mask_labels), (Loss::MilDistill, None));
    assert_eq!(none.validation_loss, plain.validation_loss);
    let snapshot = made.store.snapshot().await.unwrap();
    let head = load_head(&snapshot, "h").await.unwrap();
    let status = head_status(&snapshot, &head.row).await.unwrap();
    assert_eq!(
        (status.images_added, status.masks_added),
        (Some(0), Some(0))
    );
}

fn chosen(made: &Made, change: impl Fn(&mut grainstore::head::ChosenImages)) -> TrainingMasks {
    let mut chosen = Box::<grainstore::head::ChosenImages>::default();
    change(&mut chosen);
    TrainingMasks::OfImages {
        chosen,
        extractor: Some(made.extractor.to_string()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labelled_masks_alone_are_enough() {
    let (made, mut request) = labelled_images().await;
    request.options.epochs = Some(60);
    for loss in [Loss::Masks, Loss::Linear, Loss::Prototypes] {
        let message = made.train(with(&request, Some(loss))).await.unwrap_err();
        let message = message.to_string();
        assert!(
            message.contains("no mask is labelled"),
            "{}: {message}",
            loss.word()
        );
    }
    say(&made, "anna", &words(0..12)).await;
    for loss in [Loss::Masks, Loss::Linear, Loss::Prototypes] {
        let word = loss.word();
        let trained = made.train(with(&request, Some(loss))).await.unwrap();
        assert_eq!((trained.images, trained.masks), (12, 36), "{word}");
        assert_eq!(trained.loss, loss);
        for label in ["cat", "dog", "cow"] {
            assert!(
                made.mask_accuracy("h", label).await > 0.95,
                "{word} {label}"
            );
        }
        let background = background_score(&made, "h").await;
        assert!(background < 0.3, "{word}: {background}");
        let snapshot = made.store.snapshot().await.unwrap();
        let head = load_head(&snapshot, "h").await.unwrap();
        assert_eq!(head.spec.head.hidden.is_empty(), loss.is_closed_form());
        // The same labels give the same head.
        let again = made.train(with(&request, Some(loss))).await.unwrap();
        assert_eq!(again.validation_loss, trained.validation_loss);
        let weights = made.weights("h").await;
        assert_eq!(weights, head.weights, "{word}");
    }
    // It annotates as any other head.
    let annotated = AnnotateRequest {
        head: "h".to_owned(),
        ..AnnotateRequest::default()
    };
    let summary = annotate(&made.store, &annotated, &NoProgress)
        .await
        .unwrap();
    assert_eq!(summary.images, 60);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_with_only_labelled_masks_enter_without_a_bag() {
    let (made, mut request) = labelled_images().await;
    // Photos to annotate: no condition of training chooses them, though they are labelled.
    let target = [Shown {
        n: 700,
        labels: &["dog"],
        masks: 8,
    }];
    made.add_images(&target).await;
    let id = image(700).image_id;
    let only_others = format!("image_id <> '{id}'");
    request.masks = chosen(&made, |chosen| {
        chosen.images = Some(grainstore::selection::ImageFilter::matching(
            only_others.clone(),
        ));
    });
    say(&made, "anna", &[(700, 0, Verdict::Is, Some("dog"))]).await;
    let left_out = made.train(request.clone()).await.unwrap();
    assert_eq!((left_out.images, left_out.mask_labels), (60, None));

    let sql = format!(
        "SELECT m.image_id, m.extractor_id, m.mask_index, m.embedding,
                CASE WHEN m.image_id <> '{id}' THEN l.label END AS label,
                CASE WHEN m.image_id = '{id}' THEN make_array('dog') END AS mask_is
         FROM masks m JOIN labels l ON l.image_id = m.image_id
         WHERE m.image_id <> '{id}' OR m.mask_index = 0"
    );
    request.masks = TrainingMasks::Query(TrainingQuery::new(&sql));
    let with_it = made.train(request).await.unwrap();
    assert_eq!(with_it.images, 61);
    assert_eq!(with_it.masks, left_out.masks + 1);
    assert_eq!(
        with_it.mask_labels,
        Some(MaskLabelCounts {
            classes: 1,
            ..MaskLabelCounts::default()
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_is_counted_and_told() {
    let (made, request) = labelled_images().await;
    say(
        &made,
        "anna",
        &[
            (0, 0, Verdict::Is, Some("cat")),
            (1, 0, Verdict::Is, Some("dog")),
            (2, 0, Verdict::Is, Some("tree")),
            (3, 7, Verdict::BadMask, None),
            (4, 0, Verdict::IsNot, Some("cat")),
            (5, 0, Verdict::IsNot, Some("tree")),
        ],
    )
    .await;
    say(&made, "ben", &[(0, 0, Verdict::Is, Some("cow"))]).await;
    let trained = made
        .train(with(&request, Some(Loss::MilDistill)))
        .await
        .unwrap();
    let skipped = trained.skipped;
    assert_eq!(
        (
            skipped.masks_contradicted,
            skipped.masks_bad,
            skipped.mask_labels_outside
        ),
        (1, 1, 1)
    );
    let expected = MaskLabelCounts {
        classes: 1,
        background: 1,
        not: 1,
    };
    assert_eq!(trained.mask_labels, Some(expected));
    let all = number(&made, "SELECT count(*) FROM masks").await;
    assert_eq!(
        trained.masks as f64,
        all - 1.0,
        "a mask of no use is left out"
    );

    assert_eq!(trained.labels_of_other_extractors, 0);
    let of_another = MaskLabelRow {
        mask_label_id: MaskLabelId::of_bytes(b"another"),
        extractor_id: ExtractorId::of_bytes(b"another"),
        ..rows::<MaskLabelRow>(&made.store.snapshot().await.unwrap()).await[0].clone()
    };
    append(&made.store, &[of_another]).await;
    let again = made
        .train(with(&request, Some(Loss::MilDistill)))
        .await
        .unwrap();
    assert_eq!(again.labels_of_other_extractors, 1);
    assert_eq!(again.mask_labels, trained.mask_labels);

    // Other classes are another meaning of the same words.
    let set = made
        .classes(
            "two",
            &[("pet", &["cat", "cow"]), ("plant", &["tree", "dog"])],
        )
        .await;
    let other = TrainRequest {
        classes: format!("{}@{}", set.name, set.version),
        ..with(&request, Some(Loss::Prototypes))
    };
    let regrouped = made.train(other).await.unwrap();
    assert_eq!(regrouped.skipped.masks_contradicted, 0);
    assert_eq!(
        regrouped.mask_labels,
        Some(MaskLabelCounts {
            classes: 3,
            background: 0,
            not: 2
        })
    );

    // A class without an example is told of.
    let set = made
        .classes(
            "more",
            &[("cat", &["cat"]), ("dog", &["dog"]), ("owl", &["owl"])],
        )
        .await;
    let other = TrainRequest {
        classes: format!("{}@{}", set.name, set.version),
        masks: chosen(&made, |chosen| {
            chosen.mask_labels = Some("reviewer = 'anna'".to_owned());
        }),
        ..with(&request, Some(Loss::Linear))
    };
    let few = made.train(other).await.unwrap();
    assert_eq!(few.classes_without_examples, ["owl"]);
    let owls = number(
        &made,
        "SELECT count(*) FROM masks WHERE predict('h', embedding).class = 'owl'",
    );
    assert_eq!(owls.await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_a_head_cannot_learn_from_are_errors() {
    let (made, request) = labelled_images().await;
    let fails = async |request: TrainRequest| made.train(request).await.unwrap_err().to_string();
    let message = fails(TrainRequest {
        masks: chosen(&made, |chosen| {
            chosen.mask_labels = Some("colour = 1".to_owned())
        }),
        ..request.clone()
    });
    assert!(message.await.contains("colour"));

    say(
        &made,
        "anna",
        &[
            (0, 0, Verdict::Is, Some("cat")),
            (3, 0, Verdict::Is, Some("cat")),
        ],
    )
    .await;
    for loss in [Loss::Linear, Loss::Prototypes] {
        let message = fails(with(&request, Some(loss))).await;
        assert!(message.contains("all of one kind"), "{message}");
    }
    let sql = "SELECT m.image_id, m.extractor_id, m.mask_index, m.embedding, make_array(l.label) AS mask_is
               FROM masks m JOIN labels l ON l.image_id = m.image_id WHERE m.mask_index = 0";
    let only_masks = TrainRequest {
        masks: TrainingMasks::Query(TrainingQuery::new(sql)),
        ..request.clone()
    };
    let message = fails(with(&only_masks, Some(Loss::MilDistill))).await;
    assert!(message.contains("only masks are"), "{message}");
    assert_eq!(
        made.train(only_masks.clone()).await.unwrap().loss,
        Loss::Masks
    );

    let parent = Parent {
        head: "h".to_owned(),
        replay: None,
    };
    let message = fails(TrainRequest {
        parent: Some(parent),
        ..with(&only_masks, Some(Loss::Linear))
    });
    let message = message.await;
    assert!(message.contains("begins anew"), "{message}");
    let mut several = with(&only_masks, Some(Loss::Prototypes));
    several.options.members = 3;
    assert!(fails(several).await.contains("number of members"));

    // The same in SQL.
    let create = CreateHead::parse(&format!(
        "CREATE HEAD clicked USING CLASSES three OPTIONS (loss = 'linear') AS {sql}"
    ));
    let create = create.unwrap().unwrap();
    let request = TrainRequest {
        name: create.name,
        classes: create.class_set,
        masks: TrainingMasks::Query(TrainingQuery::new(&create.query)),
        options: create.options,
        ..TrainRequest::default()
    };
    let trained = made.train(request).await.unwrap();
    assert_eq!(trained.mask_labels.unwrap().classes, 60);
    for label in ["cat", "dog", "cow"] {
        assert!(made.mask_accuracy("clicked", label).await > 0.95, "{label}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_chooses_among_the_labels_that_count() {
    let (made, request) = labelled_images().await;
    say(&made, "anna", &words(0..4)).await;
    // One is replaced, one taken back: neither may come back by a condition that their newer rows fail.
    say(&made, "anna", &[(0, 0, Verdict::IsNot, Some("cow"))]).await;
    let snapshot = made.store.snapshot().await.unwrap();
    let known = mask_labels(&snapshot).await.unwrap();
    let taken = known
        .iter()
        .find(|row| row.image_id == image(1).image_id && row.mask_index == 0);
    let id = taken.unwrap().mask_label_id.to_string();
    undo_labels(&made.store, &[id]).await.unwrap();
    let with_condition = async |condition: &str| {
        let request = TrainRequest {
            masks: chosen(&made, |chosen| {
                chosen.mask_labels = Some(condition.to_owned())
            }),
            ..with(&request, Some(Loss::Mil))
        };
        made.train(request).await.unwrap().mask_labels
    };
    let counts = |classes, background, not| {
        Some(MaskLabelCounts {
            classes,
            background,
            not,
        })
    };
    assert_eq!(with_condition("true").await, counts(2, 8, 1));
    assert_eq!(with_condition("verdict = 'is'").await, counts(2, 8, 0));
    assert_eq!(with_condition("label IS NOT NULL").await, counts(2, 0, 1));
    assert_eq!(with_condition("reviewer = 'ben'").await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_go_on_from_closed_forms() {
    let (made, request) = labelled_images().await;
    say(&made, "anna", &words(0..12)).await;
    made.train(with(&request, Some(Loss::Linear)))
        .await
        .unwrap();
    let mut on = TrainRequest {
        name: "on".to_owned(),
        parent: Some(Parent {
            head: "h".to_owned(),
            replay: None,
        }),
        ..with(&request, Some(Loss::Masks))
    };
    on.options.hidden = Vec::new();
    on.options.epochs = Some(1);
    made.train(on).await.unwrap();
    // It reads masks as its parent does, so after one pass it still calls them so.
    for label in ["cat", "dog", "cow"] {
        assert!(made.mask_accuracy("on", label).await > 0.95, "{label}");
    }
    let off = number(
        &made,
        "SELECT max(abs(predict('on', embedding).score - predict('h', embedding).score)) FROM masks",
    );
    assert!(off.await < 0.2);
}

#[tokio::test(flavor = "multi_thread")]
async fn labelled_masks_of_validation_images_are_not_trained_on() {
    let (made, mut request) = labelled_images().await;
    request.options.validation = 0.3;
    let plain = made.train(with(&request, Some(Loss::Mil))).await.unwrap();
    assert!(plain.validation_images > 5);
    let weights = made.weights("h").await;
    // Whether an image validates depends on its id alone: those whose label changes nothing do.
    let mut without_effect = 0;
    for n in 0..12 {
        let label = ["cat", "dog", "cow"][n as usize % 3];
        say(&made, "anna", &[(n, 0, Verdict::Is, Some(label))]).await;
        let trained = made.train(with(&request, Some(Loss::Mil))).await.unwrap();
        let same = made.weights("h").await == weights;
        assert_eq!(trained.validation_masks, u64::from(same), "{n}");
        without_effect += u64::from(same);
        let snapshot = made.store.snapshot().await.unwrap();
        let id = mask_labels(&snapshot).await.unwrap()[0]
            .mask_label_id
            .to_string();
        undo_labels(&made.store, &[id]).await.unwrap();
    }
    assert!((1..12).contains(&without_effect), "{without_effect}");
}
