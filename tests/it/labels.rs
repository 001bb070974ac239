//! Labels on masks: one by one, from files, from ground truth; what counts, and what is undone.

use std::collections::HashMap;

use grainstore::geometry::{Rle, pairwise_iou};
use grainstore::review::{
    LabelRequest, LabelSummary, Origin, Statement, Verdict, label_masks, labels_of_ground_truth,
    mask_labels, read_label_file, undo_labels,
};
use grainstore::selection::ImageFilter;
use grainstore::store::rows::{GroundTruthRow, MaskLabelRow, RleRow};
use serde::Deserialize;

use crate::eval_store::{annotated_store, import};
use crate::made_store::{Made, made};
use crate::support::{image, rows};

fn statement(made: &Made, n: u32, mask_index: i32, label: Option<&str>) -> Statement {
    Statement {
        mask: made.mask(n, mask_index),
        label: label.map(str::to_owned),
        verdict: Verdict::Is,
        line: None,
    }
}

fn of(reviewer: Option<&str>, statements: Vec<Statement>) -> LabelRequest {
    LabelRequest {
        statements,
        origin: Origin::Review,
        reviewer: reviewer.map(str::to_owned),
        file: None,
    }
}

async fn counting(made: &Made) -> Vec<(String, Option<String>, Option<String>)> {
    let snapshot = made.store.snapshot().await.unwrap();
    let found = mask_labels(&snapshot).await.unwrap().into_iter();
    let mut found: Vec<_> = found
        .map(|row| {
            let mask = format!("{} {}", row.image_id, row.mask_index);
            (mask, row.reviewer, row.label)
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn the_newest_label_of_each_reviewer_counts() {
    let made = made().await;
    made.add_classes(&["cat", "dog"], 2, 0).await;
    let say = async |reviewer, label| {
        let request = of(reviewer, vec![statement(&made, 0, 3, label)]);
        label_masks(&made.store, &request).await.unwrap()
    };
    let summary = |added, unchanged, replaced, contradicting| LabelSummary {
        added,
        unchanged,
        replaced,
        contradicting,
    };
    assert_eq!(say(None, Some("cat")).await, summary(1, 0, 0, 0));
    assert_eq!(say(None, Some("cat")).await, summary(0, 1, 0, 0));
    assert_eq!(say(None, Some("dog")).await, summary(1, 0, 1, 0));
    assert_eq!(say(Some("anna"), None).await, summary(1, 0, 0, 1));
    let mask = format!("{} 3", image(0).image_id);
    let dog = (mask.clone(), None, Some("dog".to_owned()));
    let none = (mask, Some("anna".to_owned()), None);
    assert_eq!(counting(&made).await, [dog.clone(), none]);

    // Taking anna's back leaves the other's; her older rows stay in the store.
    let snapshot = made.store.snapshot().await.unwrap();
    let newest = mask_labels(&snapshot).await.unwrap().pop().unwrap();
    let id = newest.mask_label_id.to_string();
    let both = undo_labels(&made.store, &[String::new()]).await;
    let both = both.unwrap_err().to_string();
    assert!(both.contains(&id) && both.contains("several"), "{both}");
    let undone = undo_labels(&made.store, &[id[..10].to_owned()])
        .await
        .unwrap();
    assert_eq!(undone, [newest]);
    assert_eq!(counting(&made).await, [dog]);
    let snapshot = made.store.snapshot().await.unwrap();
    let all: Vec<MaskLabelRow> = rows(&snapshot).await;
    assert_eq!(all.len(), 4);
    let again = undo_labels(&made.store, &[id])
        .await
        .unwrap_err()
        .to_string();
    assert!(again.contains("no label that counts"), "{again}");
    // What was taken back may be said again.
    assert_eq!(say(Some("anna"), None).await, summary(1, 0, 0, 1));
}

#[tokio::test]
async fn labels_that_cannot_be_are_named_and_nothing_is_added() {
    let made = made().await;
    made.add_classes(&["cat"], 2, 0).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("labels.csv");
    let name = image(0).file_name;
    let snapshot = made.store.snapshot().await.unwrap();
    let read = async |text: &str| {
        std::fs::write(&file, text).unwrap();
        let statements = read_label_file(&snapshot, &file, &made.extractor).await?;
        let request = LabelRequest {
            file: Some(file.clone()),
            origin: Origin::Import,
            ..of(Some("anna"), statements)
        };
        label_masks(&made.store, &request).await
    };
    for (text, part) in [
        ("image,label\n", "a column 'mask_index'"),
        ("image,mask_index,label\n", "holds no labels"),
        (
            "image,mask_index,label\nNAME,0,cat\nNAME,99,cat\n",
            "line 3: image",
        ),
        (
            "image,mask_index,label\nNAME,0,cat\nNAME,0,dog\n",
            "on line 2",
        ),
        (
            "image,mask_index,label\nNAME,0,cat\nnowhere.jpg,0,cat\n",
            "line 3: there is no image 'nowhere.jpg'",
        ),
        ("image,mask_index,label\nNAME,x,cat\n", "mask_index 'x'"),
        (
            "image,mask_index,label,verdict\nNAME,0,cat,maybe\n",
            "verdict 'maybe'",
        ),
        (
            "image,mask_index,label,verdict\nNAME,0,,is not\n",
            "needs a label",
        ),
        ("image,mask_index,label\nNAME,0\n", "line"),
    ] {
        // The lines of a spreadsheet are counted alike.
        for text in [text.to_owned(), text.replace('\n', "\r\n")] {
            let message = read(&text.replace("NAME", &name))
                .await
                .unwrap_err()
                .to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        assert!(counting(&made).await.is_empty());
    }
    let text = "\u{feff}Image,mask_index,label,verdict\nNAME,0,cat,\nNAME,1,,\nNAME,2,dog,is not\nNAME,3,,bad mask\n";
    let added = read(&text.replace("NAME", &name)).await.unwrap();
    assert_eq!(added.added, 4);
    let snapshot = made.store.snapshot().await.unwrap();
    let mut found = mask_labels(&snapshot).await.unwrap();
    found.sort_by_key(|row| row.mask_index);
    let said: Vec<(&str, Option<&str>)> = found
        .iter()
        .map(|row| (row.verdict.as_str(), row.label.as_deref()))
        .collect();
    let expected = [
        ("is", Some("cat")),
        ("is", None),
        ("is not", Some("dog")),
        ("bad mask", None),
    ];
    assert_eq!(said, expected);

    let request = of(Some("no name"), vec![statement(&made, 0, 0, None)]);
    let message = label_masks(&made.store, &request)
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains("no name"), "{message}");
}

#[tokio::test]
async fn annotated_objects_label_the_masks_that_overlap_them() {
    #[derive(Deserialize)]
    struct Mask {
        image_id: String,
        mask_index: i32,
        rle: RleRow,
    }
    let (_dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let snapshot = store.snapshot().await.unwrap();
    let extractors = grainstore::catalogue::extractors_stored(&snapshot)
        .await
        .unwrap();
    let [extractor] = &extractors[..] else {
        panic!("{extractors:?}")
    };
    let id = &extractor.extractor_id;
    let found = labels_of_ground_truth(&snapshot, "shapes", id, &ImageFilter::all())
        .await
        .unwrap();
    let found: HashMap<(String, i32), Option<String>> = found
        .into_iter()
        .map(|it| ((it.mask.image_id.to_string(), it.mask.mask_index), it.label))
        .collect();

    let truth: Vec<GroundTruthRow> = rows(&snapshot).await;
    let scan = snapshot
        .scan(grainstore::schema::Table::Masks)
        .await
        .unwrap();
    let (mut objects, mut none) = (0, 0);
    for batch in scan
        .project(&["image_id", "mask_index", "rle"])
        .unwrap()
        .collect()
        .await
        .unwrap()
    {
        let masks =
            grainstore::store::rows::decode::<Mask>(grainstore::schema::Table::Masks, &batch);
        for mask in masks.unwrap() {
            let of_image: Vec<&GroundTruthRow> = truth
                .iter()
                .filter(|it| it.image_id.as_str() == mask.image_id)
                .collect();
            let rles: Vec<Rle> = of_image
                .iter()
                .map(|it| Rle::try_from(it.rle.as_ref().unwrap()).unwrap())
                .collect();
            let crowds: Vec<bool> = of_image.iter().map(|it| it.iscrowd).collect();
            let rle = Rle::try_from(&mask.rle).unwrap();
            let ious = pairwise_iou(&[rle], &rles, &crowds).unwrap();
            let ious = ious.row(0);
            let on_crowd = ious
                .iter()
                .zip(&crowds)
                .any(|(iou, crowd)| *crowd && *iou >= 0.1);
            let best = ious
                .iter()
                .copied()
                .enumerate()
                .max_by(|a, b| a.1.total_cmp(&b.1));
            let key = (mask.image_id.clone(), mask.mask_index);
            let expected = match best {
                Some((at, iou)) if iou >= 0.5 && !on_crowd => Some(of_image[at].category.clone()),
                Some((_, iou)) if iou < 0.1 && !on_crowd => Some(None),
                _ => None,
            };
            assert_eq!(found.get(&key), expected.as_ref(), "{key:?} {ious:?}");
            match expected {
                Some(Some(_)) => objects += 1,
                Some(None) => none += 1,
                None => {}
            }
        }
    }
    assert!(objects > 50 && none > 10, "{objects} {none}");
    let nobody =
        labels_of_ground_truth(&snapshot, "shapes", id, &ImageFilter::matching("width < 0")).await;
    assert!(nobody.unwrap().is_empty());
}
