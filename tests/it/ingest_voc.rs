//! Ingest of PASCAL VOC directories: image sets, class and object label maps, void.

use std::collections::BTreeMap;
use std::path::Path;

use grainstore::ingest::{VOC_CLASSES, ingest_voc};
use grainstore::progress::NoProgress;
use grainstore::store::rows::{ClassRow, GroundTruthRow, LabelRow};
use image::{ImageFormat, Luma};

use crate::ingest::{failures, options, write_photo};
use crate::support::{new_store, rows};

fn voc_files(dir: &Path) {
    write_photo(&dir.join("JPEGImages/one.png"), 1, (4, 2));
    write_photo(&dir.join("JPEGImages/two.png"), 2, (4, 2));
    write_photo(&dir.join("JPEGImages/three.png"), 3, (4, 2));
    let map = |folder: &str, name: &str, pixels: [u8; 8], width: u32| {
        let path = dir.join(folder).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let picture =
            image::ImageBuffer::<Luma<u8>, _>::from_raw(width, 8 / width, pixels.to_vec());
        picture
            .unwrap()
            .save_with_format(path, ImageFormat::Png)
            .unwrap();
    };
    map(
        "SegmentationClass",
        "one.png",
        [8, 8, 255, 0, 8, 8, 12, 12],
        4,
    );
    map(
        "SegmentationObject",
        "one.png",
        [1, 1, 255, 0, 2, 2, 3, 3],
        4,
    );
    map(
        "SegmentationClass",
        "two.png",
        [0, 0, 0, 15, 0, 0, 0, 15],
        4,
    );
    map("SegmentationClass", "three.png", [0; 8], 2);
    std::fs::create_dir_all(dir.join("ImageSets/Segmentation")).unwrap();
    std::fs::write(
        dir.join("ImageSets/Segmentation/val.txt"),
        "one\ntwo\n\nthree\nfour\n",
    )
    .unwrap();
}

#[tokio::test]
async fn voc_objects_classes_and_void() {
    let (dir, store) = new_store().await;
    voc_files(dir.path());
    let classes = VOC_CLASSES.map(str::to_owned);
    let run = async |split| {
        ingest_voc(
            &store,
            dir.path(),
            &classes,
            &options("voc", split),
            &NoProgress,
        )
        .await
    };
    let summary = run(Some("val")).await.unwrap();
    assert_eq!(
        (
            summary.images_added,
            summary.ground_truth_added,
            summary.failed
        ),
        (2, 5, 2)
    );
    let snapshot = store.snapshot().await.unwrap();
    let truth = rows::<GroundTruthRow>(&snapshot).await;
    let seen: Vec<_> = truth
        .iter()
        .map(|t| {
            (
                t.category.as_deref(),
                t.category_id,
                t.external_id,
                t.area,
                t.is_ignored,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Some("cat"), Some(8), Some(1), 2.0, false),
            (Some("cat"), Some(8), Some(2), 2.0, false),
            (Some("dog"), Some(12), Some(3), 2.0, false),
            (None, None, None, 1.0, true),
            (Some("person"), Some(15), None, 2.0, false),
        ]
    );
    assert_eq!(truth[2].bbox, [2.0, 1.0, 2.0, 1.0]);
    assert_eq!(truth[4].bbox, [3.0, 0.0, 1.0, 2.0]);
    let classes_stored = rows::<ClassRow>(&snapshot).await;
    assert_eq!(
        (classes_stored.len(), classes_stored[19].external_id),
        (20, Some(20))
    );
    let labels: Vec<_> = rows::<LabelRow>(&snapshot)
        .await
        .into_iter()
        .map(|l| l.label)
        .collect();
    assert_eq!(labels, ["cat", "dog", "person"]);
    let found: BTreeMap<_, _> = failures(&store).await.into_iter().collect();
    assert!(
        found["three"].contains("label map is 2x4, the image 4x2"),
        "{found:?}"
    );
    assert!(found["four"].contains("JPEGImages/four.jpg'"), "{found:?}");
    assert!(found["four"].contains("No such file"), "{found:?}");

    let wrong = run(Some("test")).await.unwrap_err().to_string();
    assert!(wrong.contains("(val)"), "{wrong}");
    assert!(run(None).await.is_err());
}
