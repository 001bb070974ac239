//! Annotated objects of the store become masks.

use std::collections::BTreeMap;

use grainstore::ids::GroundTruthId;
use grainstore::import::MaskSource;
use grainstore::selection::ImageFilter;
use grainstore::store::rows::{GroundTruthRow, ImageRow, RleRow};

use super::{counts, failures, import, masks_of, try_import};
use crate::eval_store::annotated_store;
use crate::support::{append, rows};

fn ground_truth(dataset: &str) -> MaskSource {
    MaskSource::GroundTruth {
        dataset: dataset.to_owned(),
    }
}

#[tokio::test]
async fn annotated_objects_become_masks() {
    let (_dir, store) = annotated_store().await;
    let truth: Vec<GroundTruthRow> = rows(&store.snapshot().await.unwrap()).await;
    let (crowds, objects): (Vec<_>, Vec<_>) = truth.iter().partition(|row| row.iscrowd);
    assert!(!crowds.is_empty());
    // What is no object, has no mask, is of another data set, or cannot be used.
    let other = |n: u8| GroundTruthRow {
        ground_truth_id: GroundTruthId::of_bytes(&[n; 3]),
        ..objects[0].clone()
    };
    let counts_of = |height: i32| RleRow {
        height,
        ..objects[0].rle.clone().unwrap()
    };
    append(
        &store,
        &[
            GroundTruthRow {
                is_ignored: true,
                ..other(1)
            },
            GroundTruthRow {
                rle: None,
                segmentation: "none".to_owned(),
                ..other(2)
            },
            GroundTruthRow {
                dataset: "else".to_owned(),
                ..other(3)
            },
            GroundTruthRow {
                rle: Some(counts_of(100_000)),
                ..other(4)
            },
        ],
    )
    .await;
    let mut expected: BTreeMap<String, Vec<&GroundTruthRow>> = BTreeMap::new();
    let images: Vec<ImageRow> = rows(&store.snapshot().await.unwrap()).await;
    for row in &objects {
        let image = images.iter().find(|it| it.image_id == row.image_id);
        let name = image.unwrap().file_name.clone();
        expected.entry(name).or_default().push(*row);
    }

    let even = ImageFilter::split("even");
    let even = try_import(&store, ground_truth("shapes"), even)
        .await
        .unwrap();
    assert_eq!(even.images + even.left_out, expected.len() as u64);
    assert!(even.images > 0 && even.left_out > 0);
    let rest = import(&store, ground_truth("shapes")).await;
    assert_eq!((rest.done, rest.left_out), (even.images, 0));
    assert_eq!(rest.extractor_id, even.extractor_id);
    assert_eq!((rest.without_mask, even.failed + rest.failed), (1, 1));
    assert_eq!(even.masks + rest.masks, objects.len() as u64);
    let found = masks_of(&store, &rest).await;
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (name, mut expected) in expected {
        expected.sort_by(|a, b| a.ground_truth_id.cmp(&b.ground_truth_id));
        let counts = expected.iter().map(|row| &row.rle.as_ref().unwrap().counts);
        let found: Vec<_> = found[&name].iter().map(|mask| &mask.counts).collect();
        assert_eq!(found, counts.collect::<Vec<_>>(), "{name}");
    }
    let failed = failures(&store).await;
    let failed: Vec<_> = failed.iter().collect();
    let [(item, row)] = failed[..] else {
        panic!("{failed:?}")
    };
    assert!(
        item.ends_with(&format!("object {}", other(4).ground_truth_id)),
        "{item}"
    );
    assert!(
        row.reason.contains("masks differ in size"),
        "{}",
        row.reason
    );
    assert_eq!(row.dataset.as_deref(), Some("shapes"));

    let before = counts(&store).await;
    let again = import(&store, ground_truth("shapes")).await;
    assert_eq!((again.images, again.failed), (0, 0));
    assert_eq!(again.done, even.images + rest.images);
    assert_eq!(counts(&store).await, before);
    let nothing = try_import(&store, ground_truth("nope"), ImageFilter::all()).await;
    let nothing = nothing.unwrap_err().to_string();
    assert!(
        nothing.contains("no data set with annotations 'nope'"),
        "{nothing}"
    );
}
