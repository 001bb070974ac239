use chrono::DateTime;

use super::*;

fn image(name: &str, external_id: Option<i64>) -> ImageRow {
    ImageRow {
        image_id: ImageId::of_bytes(b"pixels"),
        file_name: name.to_owned(),
        root: "/photos".to_owned(),
        width: 4,
        height: 3,
        orientation: 1,
        format: "png".to_owned(),
        file_bytes: 6,
        source: "target".to_owned(),
        split: Some("val".to_owned()),
        dataset: "pets".to_owned(),
        external_id,
        attributes: None,
        ingested_at: DateTime::UNIX_EPOCH,
    }
}

fn annotated(image: ImageRow, categories: &[&str]) -> Outcome {
    let ground_truth = |category: &&str| GroundTruthRow {
        ground_truth_id: GroundTruthId::of_parts([*category]),
        image_id: image.image_id.clone(),
        dataset: image.dataset.clone(),
        external_id: None,
        category: Some((*category).to_owned()),
        category_id: None,
        rle: None,
        bbox: [0.0, 0.0, 1.0, 1.0],
        area: 1.0,
        iscrowd: false,
        is_ignored: false,
        segmentation: "none".to_owned(),
        attributes: None,
        ingested_at: DateTime::UNIX_EPOCH,
    };
    let label = |category: &&str| LabelRow {
        image_id: image.image_id.clone(),
        dataset: image.dataset.clone(),
        label: (*category).to_owned(),
        origin: "coco".to_owned(),
        ingested_at: DateTime::UNIX_EPOCH,
    };
    let record = Record {
        labels: categories.iter().map(label).collect(),
        ground_truth: Some(categories.iter().map(ground_truth).collect()),
        image,
    };
    Outcome::read(record, Vec::new())
}

/// The state of the store after a plan is written.
fn known_after(plan: &Plan) -> Known {
    let mut known = Known::default();
    for row in &plan.images {
        known.images.insert(row.image_id.clone(), row.into());
    }
    for row in &plan.labels {
        known
            .labels
            .insert((row.image_id.clone(), row.dataset.clone(), row.label.clone()));
    }
    for row in &plan.ground_truth {
        let key = (row.image_id.clone(), row.dataset.clone());
        known
            .ground_truth
            .entry(key)
            .or_default()
            .insert(row.ground_truth_id.clone());
    }
    known
}

#[test]
fn the_same_again_writes_nothing_and_says_so() {
    let batch = [annotated(image("a.png", Some(1)), &["cat", "dog"])];
    let first = plan_batch(&batch, Known::default(), Some("val"));
    assert_eq!(
        (
            first.images.len(),
            first.labels.len(),
            first.ground_truth.len()
        ),
        (1, 2, 2)
    );

    let again = plan_batch(&batch, known_after(&first), Some("val"));
    assert_eq!(
        again.summary,
        IngestSummary {
            images_known: 1,
            ..Default::default()
        }
    );
    assert!(again.changes().unwrap().is_empty());
}

#[test]
fn a_copy_within_a_batch_is_one_image() {
    let batch = [
        annotated(image("a.png", None), &[]),
        annotated(image("b.png", None), &["cat"]),
    ];
    let plan = plan_batch(&batch, Known::default(), None);
    assert_eq!(plan.images.len(), 1);
    assert_eq!(plan.labels.len(), 1);
    assert_eq!(
        (plan.summary.images_added, plan.summary.images_known),
        (1, 1)
    );
    assert_eq!(plan.summary.failed, 0);
}

#[test]
fn one_image_under_two_ids_of_a_data_set_is_told() {
    let batch = [
        annotated(image("a.png", Some(1)), &["cat"]),
        annotated(image("b.png", Some(2)), &["dog"]),
    ];
    let plan = plan_batch(&batch, Known::default(), None);
    assert_eq!(plan.ground_truth.len(), 1);
    assert_eq!(plan.failures.len(), 1);
    assert!(
        plan.failures[0]
            .reason
            .contains("same bytes as 'a.png' (image id 1)")
    );
}

#[test]
fn another_split_is_told_and_labels_still_count() {
    let first = plan_batch(
        &[annotated(image("a.png", None), &["cat"])],
        Known::default(),
        None,
    );
    let batch = [annotated(image("a.png", None), &["cat", "dog"])];
    let plan = plan_batch(&batch, known_after(&first), Some("train"));
    assert_eq!(plan.failures.len(), 1);
    assert!(
        plan.failures[0]
            .reason
            .contains("split 'val' and keeps it; 'train'")
    );
    assert_eq!(plan.labels.len(), 1);
}

#[test]
fn no_annotations_where_there_were_some_is_told() {
    let first = plan_batch(
        &[annotated(image("a.png", None), &["cat"])],
        Known::default(),
        None,
    );
    let emptied = plan_batch(
        &[annotated(image("a.png", None), &[])],
        known_after(&first),
        None,
    );
    assert_eq!(emptied.contradictions.len(), 1);

    // A data set without annotations does not contradict stored ones.
    let mut silent = annotated(image("a.png", None), &[]);
    silent.record.as_mut().unwrap().ground_truth = None;
    let silent = plan_batch(&[silent], known_after(&first), None);
    assert_eq!((silent.summary.failed, silent.summary.images_known), (0, 1));
}

#[test]
fn another_source_or_data_set_is_told() {
    let first = plan_batch(
        &[annotated(image("a.png", None), &[])],
        Known::default(),
        None,
    );
    let mut other = image("a.png", Some(4));
    other.source = "web".to_owned();
    other.dataset = "more".to_owned();
    let plan = plan_batch(&[annotated(other, &["cat"])], known_after(&first), None);
    let reasons: Vec<_> = plan
        .failures
        .iter()
        .map(|row| row.reason.as_str())
        .collect();
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].contains("came with data set 'pets'") && reasons[0].contains("'more', 4"));
    assert!(reasons[1].contains("source 'target' and keeps it; 'web'"));
    assert_eq!(plan.ground_truth.len(), 1);
}

#[test]
fn annotations_may_be_added_to_and_not_changed() {
    let first = plan_batch(
        &[annotated(image("a.png", None), &["cat"])],
        Known::default(),
        None,
    );
    let more = [annotated(image("a.png", None), &["cat", "dog"])];
    let more = plan_batch(&more, known_after(&first), None);
    assert_eq!(more.ground_truth.len(), 1);
    assert_eq!(more.summary.failed, 0);

    let changed = [annotated(image("a.png", None), &["dog"])];
    let changed = plan_batch(&changed, known_after(&first), None);
    assert_eq!(changed.ground_truth.len(), 0);
    assert!(
        changed.failures[0]
            .reason
            .contains("1 of its 1 annotations")
    );
}
