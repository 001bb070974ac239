//! Labels that spread to similar masks, and queues of masks that are worth a look.

use std::collections::{BTreeMap, HashSet};

use grainstore::annotate::{AnnotateRequest, Policy, annotate};
use grainstore::head::{Loss, TrainOptions, TrainRequest};
use grainstore::neighbours::SearchedTable;
use grainstore::progress::NoProgress;
use grainstore::review::{
    LabelRequest, Origin, PropagateRequest, PropagateSummary, QueueKind, QueueRequest, QueuedMask,
    Statement, Verdict, confirm_labels, label_masks, mask_labels, propagate, queue, undo_labels,
};
use grainstore::selection::ImageFilter;
use grainstore::store::rows::MaskLabelRow;

use crate::made_store::{Made, made};
use crate::support::image;

/// 12 images of two classes; masks 0 to 2 of each show its label, the others nothing.
async fn two_kinds() -> Made {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 6, 0).await;
    made
}

async fn say(made: &Made, reviewer: Option<&str>, n: u32, mask_index: i32, label: Option<&str>) {
    let statement = Statement {
        mask: made.mask(n, mask_index),
        label: label.map(str::to_owned),
        verdict: Verdict::Is,
        line: None,
    };
    let request = LabelRequest {
        statements: vec![statement],
        origin: Origin::Review,
        reviewer: reviewer.map(str::to_owned),
        file: None,
    };
    label_masks(&made.store, &request).await.unwrap();
}

async fn rows_that_count(made: &Made) -> Vec<MaskLabelRow> {
    let snapshot = made.store.snapshot().await.unwrap();
    mask_labels(&snapshot).await.unwrap()
}

fn at(min_score: f64, min_margin: f64) -> PropagateRequest {
    PropagateRequest {
        min_score,
        min_margin,
        ..PropagateRequest::new(SearchedTable::Masks)
    }
}

async fn spread(made: &Made, request: &PropagateRequest) -> PropagateSummary {
    propagate(&made.store, request, &NoProgress).await.unwrap()
}

#[tokio::test]
async fn labels_spread_to_similar_masks_with_their_proof() {
    let made = two_kinds().await;
    let message = propagate(&made.store, &at(0.5, 0.1), &NoProgress).await;
    let message = message.unwrap_err().to_string();
    assert!(message.contains("nothing to propagate"), "{message}");

    // Image 0 shows cats, image 1 dogs.
    say(&made, Some("anna"), 0, 0, Some("cat")).await;
    say(&made, Some("anna"), 1, 0, Some("dog")).await;
    let dry = PropagateRequest {
        dry_run: true,
        ..at(0.5, 0.1)
    };
    let counted = spread(&made, &dry).await;
    assert_eq!(
        rows_that_count(&made).await.len(),
        2,
        "a dry run stores nothing"
    );
    let found = spread(&made, &at(0.5, 0.1)).await;
    assert_eq!(found, counted);
    // Of 6 images of each class 3 masks show it; one of each is labelled by hand.
    let expected = BTreeMap::from([("cat".to_owned(), 17), ("dog".to_owned(), 17)]);
    assert_eq!(found.labels, expected);
    assert_eq!((found.labelled, found.added, found.taken_back), (2, 34, 0));

    let rows = rows_that_count(&made).await;
    let by_hand: BTreeMap<&str, &MaskLabelRow> = rows
        .iter()
        .filter(|row| row.reviewer.is_some())
        .map(|row| (row.label.as_deref().unwrap(), row))
        .collect();
    for row in rows.iter().filter(|row| row.reviewer.is_none()) {
        let label = row.label.as_deref().unwrap();
        assert!(row.mask_index < 3, "{row:?}");
        assert_eq!(row.origin, "propagated");
        assert_eq!(row.proof.as_ref(), Some(&by_hand[label].mask_label_id));
        assert!(
            row.score.unwrap() >= 0.5 && row.margin.unwrap() >= 0.1,
            "{row:?}"
        );
    }
    // The scores are cosines.
    let sql = "SELECT max(abs(l.score - cosine_similarity(a.embedding, b.embedding)))
               FROM mask_labels l
               JOIN masks a ON a.image_id = l.image_id AND a.mask_index = l.mask_index
               JOIN mask_labels p ON p.mask_label_id = l.proof
               JOIN masks b ON b.image_id = p.image_id AND b.mask_index = p.mask_index";
    let off = made.query(sql).await.unwrap();
    let off = arrow::compute::cast(off[0].column(0), &arrow::datatypes::DataType::Float64);
    let off = arrow::array::AsArray::as_primitive::<arrow::datatypes::Float64Type>(&off.unwrap())
        .value(0);
    assert!(off < 1e-3, "{off}");

    // The same again adds nothing; a stricter run takes back what no longer holds.
    let again = spread(&made, &at(0.5, 0.1)).await;
    assert_eq!((again.added, again.taken_back), (0, 0));
    let none = spread(&made, &at(0.9999, 0.1)).await;
    assert_eq!((none.added, none.taken_back), (0, 34));
    assert_eq!(rows_that_count(&made).await.len(), 2);

    // Without the labels that they come from, spread labels go.
    spread(&made, &at(0.5, 0.1)).await;
    let by_hand: Vec<String> = rows_that_count(&made)
        .await
        .iter()
        .filter(|row| row.reviewer.is_some())
        .map(|row| row.mask_label_id.to_string())
        .collect();
    undo_labels(&made.store, &by_hand).await.unwrap();
    let gone = spread(&made, &at(0.5, 0.1)).await;
    assert_eq!((gone.labelled, gone.taken_back), (0, 34));
    assert!(rows_that_count(&made).await.is_empty());
}

#[tokio::test]
async fn a_persons_word_counts_more_than_a_spread_label() {
    let made = two_kinds().await;
    say(&made, None, 0, 0, Some("cat")).await;
    say(&made, None, 1, 0, Some("dog")).await;
    say(&made, Some("ben"), 2, 5, None).await;
    let found = spread(&made, &at(0.5, 0.1)).await;
    let of = |rows: &[MaskLabelRow], n: u32, mask: i32| -> Vec<(String, Option<String>)> {
        let of_mask = rows
            .iter()
            .filter(|row| row.image_id == image(n).image_id && row.mask_index == mask);
        of_mask
            .map(|row| (row.origin.clone(), row.label.clone()))
            .collect()
    };
    let rows = rows_that_count(&made).await;
    assert_eq!(of(&rows, 2, 5), [("review".to_owned(), None)]);
    let cat = ("propagated".to_owned(), Some("cat".to_owned()));
    assert_eq!(of(&rows, 4, 0), [cat]);
    let added = found.added;

    // Ben says the same of one, confirms another and takes a third back.
    say(&made, Some("ben"), 4, 0, Some("cat")).await;
    let id = |n: u32, mask: i32| {
        let row = rows.iter().find(|row| {
            row.image_id == image(n).image_id
                && row.mask_index == mask
                && row.origin == "propagated"
        });
        row.unwrap().mask_label_id.to_string()
    };
    let confirmed = confirm_labels(&made.store, &[id(4, 1)], Some("ben"))
        .await
        .unwrap();
    assert_eq!(confirmed.len(), 1);
    undo_labels(&made.store, &[id(4, 2)]).await.unwrap();
    let again = spread(&made, &at(0.5, 0.1)).await;
    assert_eq!(again.taken_back, 0);
    let rows = rows_that_count(&made).await;
    assert!(of(&rows, 4, 0).contains(&("review".to_owned(), Some("cat".to_owned()))));
    let own = rows.iter().find(|row| {
        row.image_id == image(4).image_id && row.mask_index == 1 && row.origin == "review"
    });
    let own = own.unwrap();
    assert_eq!(own.proof.as_ref().map(ToString::to_string), Some(id(4, 1)));
    assert_eq!((own.score, own.reviewer.as_deref()), (None, Some("ben")));
    assert_eq!(of(&rows, 4, 2), [], "what was taken back stays so");
    assert!(added > 20);
    let message = confirm_labels(&made.store, &["zz".to_owned()], None).await;
    assert!(message.unwrap_err().to_string().contains("'zz'"));
}

#[tokio::test]
async fn a_person_who_says_what_was_spread_keeps_it() {
    let made = two_kinds().await;
    say(&made, None, 0, 0, Some("cat")).await;
    say(&made, None, 1, 0, Some("dog")).await;
    let found = spread(&made, &at(0.5, 0.1)).await;
    let state = async |mask: i32| {
        let rows = rows_that_count(&made).await.into_iter();
        let of_mask =
            rows.filter(|row| row.image_id == image(4).image_id && row.mask_index == mask);
        of_mask
            .map(|row| (row.origin, row.label.unwrap()))
            .collect::<Vec<_>>()
    };
    let word = |origin: &str, label: &str| (origin.to_owned(), label.to_owned());
    assert_eq!(state(0).await, [word("propagated", "cat")]);

    // Without a reviewer's name, too, and by ground truth, the same word is a new statement; another word contradicts nobody.
    let say_of = async |mask: i32, label: &str, origin: Origin, reviewer: Option<&str>| {
        let request = LabelRequest {
            statements: vec![Statement {
                mask: made.mask(4, mask),
                label: Some(label.to_owned()),
                verdict: Verdict::Is,
                line: None,
            }],
            origin,
            reviewer: reviewer.map(str::to_owned),
            file: None,
        };
        let done = label_masks(&made.store, &request).await.unwrap();
        (
            done.added,
            done.unchanged,
            done.replaced,
            done.contradicting,
        )
    };
    assert_eq!(say_of(0, "cat", Origin::Review, None).await, (1, 0, 0, 0));
    assert_eq!(say_of(0, "cat", Origin::Review, None).await, (0, 1, 0, 0));
    assert_eq!(
        say_of(1, "cat", Origin::GroundTruth, None).await,
        (1, 0, 0, 0)
    );
    assert_eq!(
        say_of(2, "dog", Origin::Review, Some("ben")).await,
        (1, 0, 0, 0)
    );

    // Stricter thresholds take back all that was spread, and nothing that was said.
    let none = spread(&made, &at(0.9999, 0.1)).await;
    assert!(none.taken_back < found.added && none.taken_back > 20);
    assert_eq!(state(0).await, [word("review", "cat")]);
    assert_eq!(state(1).await, [word("ground-truth", "cat")]);
    assert!(state(2).await.contains(&word("review", "dog")));
}

#[tokio::test]
async fn thresholds_and_tables_are_checked() {
    let made = two_kinds().await;
    for (request, part) in [
        (at(1.5, 0.1), "minimum score"),
        (at(0.5, -0.1), "minimum margin"),
        (at(f64::NAN, 0.1), "minimum score"),
        (
            PropagateRequest::new(SearchedTable::ImageVectors("x".to_owned())),
            "vectors of masks",
        ),
        (
            PropagateRequest::new(SearchedTable::Vectors("nothing".to_owned())),
            "nothing",
        ),
    ] {
        let message = propagate(&made.store, &request, &NoProgress).await;
        let message = message.unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

/// A store with a head of two members that has annotated all masks.
async fn annotated() -> Made {
    let made = made().await;
    made.add_classes(&["cat", "dog", "cow"], 10, 0).await;
    let set = made
        .classes(
            "three",
            &[("cat", &["cat"]), ("dog", &["dog"]), ("cow", &["cow"])],
        )
        .await;
    let base = made.request("h", set).await;
    let request = TrainRequest {
        options: TrainOptions {
            members: 2,
            epochs: Some(15),
            loss: Some(Loss::MilDistill),
            ..base.options.clone()
        },
        ..base
    };
    made.train(request).await.unwrap();
    let request = AnnotateRequest {
        head: "h".to_owned(),
        policy: Policy {
            score_threshold: 0.6,
            ..Policy::default()
        },
        ..AnnotateRequest::default()
    };
    annotate(&made.store, &request, &NoProgress).await.unwrap();
    made
}

fn ask(kind: QueueKind, count: usize) -> QueueRequest {
    QueueRequest {
        kind,
        head: kind.needs_head().then(|| "h".to_owned()),
        extractor: None,
        policy: None,
        images: ImageFilter::default(),
        count,
        vectors: None,
        seed: 0,
    }
}

async fn queued(made: &Made, request: &QueueRequest) -> Vec<QueuedMask> {
    let snapshot = made.store.snapshot().await.unwrap();
    queue(&snapshot, request, &NoProgress).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_come_in_order_and_say_why() {
    let made = annotated().await;
    let all = made.query("SELECT count(*) FROM masks").await.unwrap();
    let all = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(all[0].column(0))
        .value(0) as usize;
    for kind in [
        QueueKind::Uncertain,
        QueueKind::Threshold,
        QueueKind::Disagreement,
        QueueKind::Dropout,
        QueueKind::Random,
        QueueKind::Centres,
        QueueKind::Unlabelled,
    ] {
        let found = queued(&made, &ask(kind, 10_000)).await;
        assert_eq!(found.len(), all, "{}", kind.word());
        let different: HashSet<_> = found
            .iter()
            .map(|it| (it.image_id.clone(), it.mask_index))
            .collect();
        assert_eq!(different.len(), all);
        if kind != QueueKind::Random {
            let falls = |pair: &[QueuedMask; 2]| pair[0].priority >= pair[1].priority - 1e-6;
            assert!(found.array_windows().all(falls), "{}", kind.word());
        }
        assert!(found.iter().all(|it| !it.why.is_empty()));
        // Whoever is asked for fewer gets the first.
        let few = queued(&made, &ask(kind, 7)).await;
        assert_eq!(few, found[..7], "{}", kind.word());
        assert_eq!(queued(&made, &ask(kind, 7)).await, few, "{}", kind.word());
        // What somebody has said something of is left out.
        let first = &found[0];
        let n = (0..30)
            .find(|n| image(*n).image_id == first.image_id)
            .unwrap();
        say(&made, Some(kind.word()), n, first.mask_index, Some("cat")).await;
        let left = queued(&made, &ask(kind, 10_000)).await;
        assert_eq!(left.len(), all - 1, "{}", kind.word());
        let said = rows_that_count(&made).await;
        let ids: Vec<String> = said
            .iter()
            .map(|row| row.mask_label_id.to_string())
            .collect();
        undo_labels(&made.store, &ids).await.unwrap();
    }
    let other = QueueRequest {
        seed: 1,
        ..ask(QueueKind::Random, 20)
    };
    assert_ne!(
        queued(&made, &other).await,
        queued(&made, &ask(QueueKind::Random, 20)).await
    );
    let chosen = QueueRequest {
        images: ImageFilter::matching(format!("image_id = '{}'", image(3).image_id)),
        ..ask(QueueKind::Uncertain, 50)
    };
    let of_image = queued(&made, &chosen).await;
    assert!(!of_image.is_empty() && of_image.iter().all(|it| it.image_id == image(3).image_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_of_errors_find_labels_that_a_head_contradicts() {
    let made = annotated().await;
    // Image 0 shows cats. Its second mask is said to be a dog, the third a cat.
    say(&made, Some("anna"), 0, 1, Some("dog")).await;
    say(&made, Some("anna"), 0, 2, Some("cat")).await;
    let found = queued(&made, &ask(QueueKind::MaskLabelErrors, 10)).await;
    let [only] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!((only.mask_index, only.class.as_deref()), (1, Some("cat")));
    assert!(only.why.contains("labelled dog"), "{}", only.why);
    // What a mask is said not to show counts, too, and two reviewers make one row.
    say(&made, Some("ben"), 0, 1, Some("dog")).await;
    let denied = LabelRequest {
        statements: vec![Statement {
            verdict: Verdict::IsNot,
            mask: made.mask(3, 0),
            label: Some("cat".to_owned()),
            line: None,
        }],
        origin: Origin::Review,
        reviewer: Some("anna".to_owned()),
        file: None,
    };
    label_masks(&made.store, &denied).await.unwrap();
    let found = queued(&made, &ask(QueueKind::MaskLabelErrors, 10)).await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().any(|it| it.why.contains("labelled not cat")));

    // An image of cows that is labelled as one of cats.
    let wrong = grainstore::store::rows::LabelRow {
        ..crate::support::label(5, "cat")
    };
    let cow = image(5).image_id;
    crate::support::append(&made.store, &[wrong]).await;
    let found = queued(&made, &ask(QueueKind::ImageLabelErrors, 1000)).await;
    assert!(!found.is_empty());
    assert!(
        found
            .iter()
            .all(|it| it.image_id != cow || it.class.as_deref() != Some("cow"))
    );
    assert!(found.iter().all(|it| it.why.contains("that is labelled")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_queue_needs_is_told() {
    let made = two_kinds().await;
    let snapshot = made.store.snapshot().await.unwrap();
    let message = queue(&snapshot, &ask(QueueKind::Uncertain, 5), &NoProgress).await;
    let message = message.unwrap_err().to_string();
    assert!(message.contains("there are no heads"), "{message}");
    let set = made
        .classes("two", &[("cat", &["cat"]), ("dog", &["dog"])])
        .await;
    let mut request = made.request("h", set).await;
    request.options.hidden = Vec::new();
    made.train(request).await.unwrap();
    let snapshot = made.store.snapshot().await.unwrap();
    let message = queue(&snapshot, &ask(QueueKind::Dropout, 5), &NoProgress).await;
    let message = message.unwrap_err().to_string();
    assert!(message.contains("no hidden layer"), "{message}");
    let message = queue(&snapshot, &ask(QueueKind::Disagreement, 5), &NoProgress).await;
    let message = message.unwrap_err().to_string();
    assert!(message.contains("has one member"), "{message}");
    let message = queue(&snapshot, &ask(QueueKind::Uncertain, 5), &NoProgress).await;
    assert!(message.is_err(), "nothing was annotated");
    assert!("best".parse::<QueueKind>().is_err());
}
