//! `ingest yolo`: outlines as Ultralytics saves them (tests/data/yolo/generate.py), and directories that cannot be used as they are.

use std::path::Path;

use grainstore::geometry::{Rle, polygons_from_rle, rle_from_polygon};
use grainstore::ingest::{IngestOptions, Outlines, YoloIngest, ingest_yolo};
use grainstore::progress::NoProgress;
use grainstore::store::rows::{FailureRow, GroundTruthRow, ImageRow, LabelRow};

use crate::support::{new_store, rows};
use crate::yolo::{data, objects, of_coco, of_outlines, of_yolo, saved_by_ultralytics};

#[tokio::test]
async fn what_ultralytics_saves_has_its_parts_joined_and_its_holes_filled() {
    let dir = tempfile::tempdir().unwrap();
    let (_one, store) = new_store().await;
    of_coco(&store, &data().join("in.json"), &data().join("photos")).await;
    let (_other, other) = new_store().await;
    let saved = saved_by_ultralytics(dir.path());
    let read = of_outlines(&other, &saved, None, Outlines::Pixels).await;
    assert_eq!(read, (2, 0));
    let (drawn, read) = (objects(&store).await, objects(&other).await);
    assert_eq!((drawn.len(), read.len()), (6, 6));
    let of_class = |wanted: &str| {
        let pairs = drawn.iter().zip(&read);
        let pairs = pairs.filter(|(own, _)| own.1.as_deref() == Some(wanted));
        let pairs = pairs.map(|((image, class, own), (image_read, class_read, read))| {
            assert_eq!((image, class), (image_read, class_read));
            (own.clone().unwrap(), read.clone().unwrap())
        });
        pairs.collect::<Vec<(Rle, Rle)>>()
    };
    for (own, read) in of_class("ring") {
        let parts = polygons_from_rle(&own);
        assert_eq!((parts.len(), parts[0].holes.len()), (1, 2));
        let outline: Vec<f64> = parts[0].exterior.iter().flatten().copied().collect();
        assert_eq!(read, rle_from_polygon(&outline, own.size()).unwrap());
    }
    for (own, read) in of_class("pair") {
        assert_eq!(polygons_from_rle(&own).len(), 2);
        assert!(own.difference(&read).unwrap().is_empty());
        // The bridge is a line down, a pixel wide.
        let bridge = read.difference(&own).unwrap();
        let [_, _, _, height] = bridge.bbox().to_xywh();
        assert!(height > 50.0 && bridge.area() as f64 == height);
    }
}

/// A line of labels with an outline in pixels of a photo of 16 x 12, as Ultralytics writes it.
fn line(ring: &[[u32; 2]]) -> String {
    let share = |part: u32, side: u32| {
        let text = format!("{:.6}", f64::from(part) / f64::from(side));
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let corners = ring
        .iter()
        .map(|[x, y]| format!(" {} {}", share(*x, 16), share(*y, 12)));
    format!("0{}", corners.collect::<String>())
}

/// Writes photos of 16 x 12 pixels to `images`, and the text of their labels to `labels`.
fn labelled_photos(directory: &Path, photos: &[(&str, String)]) {
    for folder in ["images", "labels"] {
        std::fs::create_dir_all(directory.join(folder)).unwrap();
    }
    for (level, (name, text)) in (0..).zip(photos) {
        let photo = image::GrayImage::from_pixel(16, 12, image::Luma([level]));
        photo
            .save(directory.join(format!("images/{name}.png")))
            .unwrap();
        std::fs::write(directory.join(format!("labels/{name}.txt")), text).unwrap();
    }
}

#[tokio::test]
async fn one_outline_may_have_parts_and_holes_but_no_score() {
    let dir = tempfile::tempdir().unwrap();
    // Two squares with a bridge between them; a square with a bridge to the square hole in it.
    #[rustfmt::skip]
    let parts = line(&[
        [4, 2], [4, 4], [2, 4], [2, 2], [4, 2], [10, 2], [10, 4], [12, 4], [12, 2], [10, 2],
    ]);
    #[rustfmt::skip]
    let hole = line(&[
        [2, 2], [10, 2], [10, 9], [2, 9], [2, 2], [4, 4], [4, 7], [8, 7], [8, 4], [4, 4],
    ]);
    assert!(parts.starts_with("0 0.25 0.166667 0.25 0.333333 0.125 "));
    let scored = format!("{parts} 0.91");
    labelled_photos(
        dir.path(),
        &[
            ("parts", format!("{parts}\n")),
            ("hole", format!("{hole}\n")),
            ("scored", format!("{scored}\n")),
        ],
    );
    std::fs::write(
        dir.path().join("data.yaml"),
        "train: images\nnames: [cat]\n",
    )
    .unwrap();
    for (outlines, expected_parts, expected_hole) in [
        // As cv2.fillPoly paints them.
        (
            Outlines::Pixels,
            &["..###########", "..###.....###", "..###.....###"][..],
            &[
                "..#########",
                "..#########",
                "..#########",
                "..###...###",
                "..###...###",
                "..#########",
                "..#########",
                "..#########",
            ][..],
        ),
        (
            Outlines::Edges,
            &["..##......##", "..##......##"][..],
            &[
                "..########",
                "..########",
                "..##....##",
                "..##....##",
                "..##....##",
                "..########",
                "..########",
            ][..],
        ),
    ] {
        let (_guard, store) = new_store().await;
        let read = of_outlines(&store, dir.path(), None, outlines).await;
        assert_eq!(read, (2, 1));
        let snapshot = store.snapshot().await.unwrap();
        let images: Vec<ImageRow> = rows(&snapshot).await;
        let found = objects(&store).await;
        assert_eq!(found.len(), 2);
        for (name, expected) in [("parts.png", expected_parts), ("hole.png", expected_hole)] {
            let image = images.iter().find(|row| row.file_name == name).unwrap();
            let mut of_image = found.iter().filter(|it| it.0 == image.image_id.as_str());
            let mask = of_image.next().unwrap().2.as_ref().unwrap();
            let pixels = mask.to_row_major();
            let text = |row: &[u8]| {
                let text: String = row
                    .iter()
                    .map(|it| if *it == 1 { '#' } else { '.' })
                    .collect();
                text.trim_end_matches('.').to_owned()
            };
            let shown: Vec<String> = pixels.chunks(16).map(text).collect();
            assert_eq!(shown[..2], ["", ""]);
            let (shown, below) = shown[2..].split_at(expected.len());
            assert_eq!(shown, expected, "{name}, {outlines:?}");
            assert!(below.iter().all(String::is_empty));
        }
        let failures: Vec<FailureRow> = rows(&snapshot).await;
        let reason = &failures[0].reason;
        assert_eq!(failures[0].item, "scored.png");
        assert!(
            reason.contains("scored.txt' line 1: found 21 numbers"),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_data_file_that_cannot_be_used_leaves_the_store_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["images/train", "labels/train"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let photo = image::GrayImage::from_pixel(16, 12, image::Luma([9]));
    photo.save(dir.path().join("images/train/a.png")).unwrap();
    std::fs::write(
        dir.path().join("labels/train/a.txt"),
        "1 0.5 0.5 0.25 0.5\n",
    )
    .unwrap();
    let (_guard, store) = new_store().await;
    let before = store.snapshot().await.unwrap().version();
    let data = dir.path().join("data.yaml");
    let train = "train: images/train";
    for (text, split, part) in [
        // No YAML.
        ("names: [cat\n".to_owned(), None, "line 1"),
        (format!("{train}\nnames: {{0: cat\n"), None, "line 2"),
        ("a photo of a cat\n".to_owned(), None, "'names' among them"),
        ("- cat\n- dog\n".to_owned(), None, "'names' among them"),
        // Names that name nothing.
        (format!("{train}\n"), None, "'names'"),
        (format!("{train}\nnames:\n"), None, "'names'"),
        (
            format!("{train}\nnames: cat\n"),
            None,
            "'names' is \"cat\", expected a list",
        ),
        (
            format!("{train}\nnames: 2\n"),
            None,
            "'names' is 2, expected",
        ),
        (
            format!("{train}\nnames: [cat, dog, cat]\n"),
            None,
            "classes 0 and 2 of 'names' are both called 'cat'",
        ),
        (format!("{train}\nnames: []\n"), None, "'names' is empty"),
        (
            format!("{train}\nnames: [cat, [dog]]\n"),
            None,
            "a name of 'names' is empty or no text",
        ),
        (
            format!("{train}\nnames: {{-1: cat}}\n"),
            None,
            "a key of 'names' is '-1', expected numbers from 0 on",
        ),
        // Splits that are not there.
        ("names: [cat, dog]\n".to_owned(), None, "none of its splits"),
        (
            "names: [cat, dog]\ntrain: images/nowhere\n".to_owned(),
            None,
            "none of its splits (train, val, test) is a folder or a list of images",
        ),
        (
            format!("names: [cat, dog]\n{train}\nval: images/nowhere\n"),
            Some("val"),
            "'val' is not a split: expected one whose images are there",
        ),
        (
            format!("names: [cat, dog]\n{train}\nval: images/nowhere\n"),
            Some("val"),
            "data.yaml' has \"images/nowhere\"",
        ),
        (
            "names: [cat, dog]\ntrain: [images/train, images/nowhere]\n".to_owned(),
            None,
            "images/nowhere', which is not there",
        ),
        (
            "names: [cat, dog]\ntrain: labels/train\n".to_owned(),
            None,
            "there is no photo in train",
        ),
    ] {
        std::fs::write(&data, &text).unwrap();
        let request = YoloIngest {
            data: dir.path().into(),
            outlines: Outlines::Edges,
            options: IngestOptions {
                split: split.map(str::to_owned),
                ..IngestOptions::of_dataset("d")
            },
        };
        let failed = ingest_yolo(&store, &request, &NoProgress).await;
        let message = failed.unwrap_err().to_string();
        assert!(
            message.contains("data.yaml'") && message.contains(part),
            "{text}: {message}"
        );
        let after = store.snapshot().await.unwrap().version();
        assert_eq!(after, before, "{text}");
    }
    // Nothing else was wrong.
    std::fs::write(&data, format!("{train}\nnames: [cat, dog]\n")).unwrap();
    assert_eq!(of_yolo(&store, dir.path(), None).await, (1, 0));
}

#[tokio::test]
async fn photos_of_classes_without_a_name_and_photos_that_are_not_there_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let outline = "0.1 0.1 0.5 0.1 0.5 0.5";
    labelled_photos(
        dir.path(),
        &[
            ("good", format!("7 {outline}\n")),
            ("between", format!("0 {outline}\n1 {outline}\n")),
            ("beyond", format!("0 {outline}\n8 {outline}\n")),
        ],
    );
    std::fs::write(
        dir.path().join("train.txt"),
        "./images/good.png\nimages/between.png\nimages/beyond.png\n\nimages/gone.png\n",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("data.yaml"),
        "train: train.txt\nval: images/nowhere\nnames: {0: cat, 7: dog}\n",
    )
    .unwrap();
    let (_guard, store) = new_store().await;
    assert_eq!(of_yolo(&store, dir.path(), None).await, (1, 3));
    let snapshot = store.snapshot().await.unwrap();
    let failures: Vec<FailureRow> = rows(&snapshot).await;
    for (item, said) in [
        (
            "images/between.png",
            "between.txt' line 2: there is no class 1 in data.yaml",
        ),
        (
            "images/beyond.png",
            "beyond.txt' line 2: there is no class 8 in data.yaml",
        ),
        ("images/gone.png", "images/gone.png"),
    ] {
        let failure = failures.iter().find(|it| it.item == item).unwrap();
        assert!(failure.reason.contains(said), "{}", failure.reason);
    }
    // Nothing of the others is there, also not what their first lines say.
    let truth: Vec<GroundTruthRow> = rows(&snapshot).await;
    let classes: Vec<Option<&str>> = truth.iter().map(|row| row.category.as_deref()).collect();
    assert_eq!(classes, [Some("dog")]);
    let images: Vec<ImageRow> = rows(&snapshot).await;
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].split.as_deref(), Some("train"));
    let labels: Vec<LabelRow> = rows(&snapshot).await;
    assert_eq!(labels.len(), 1);
}
