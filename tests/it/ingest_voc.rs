//! Ingest of PASCAL VOC directories: image sets, class and object label maps, void.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grainstore::ingest::VocIngest;
use grainstore::ingest::{IngestSummary, VOC_CLASSES, ingest_voc};
use grainstore::photo::voc_colormap;
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{ClassRow, GroundTruthRow, ImageRow, LabelRow};
use image::{DynamicImage, GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, RgbaImage};

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
            &VocIngest {
                directory: dir.path().into(),
                class_names: classes.to_vec(),
                options: options("voc", split),
            },
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

/// Ingests image set 'val'.
async fn ingest(store: &Store, dir: &Path) -> IngestSummary {
    let classes = VOC_CLASSES.map(str::to_owned);
    ingest_voc(
        store,
        &VocIngest {
            directory: dir.into(),
            class_names: classes.to_vec(),
            options: options("voc", Some("val")),
        },
        &NoProgress,
    )
    .await
    .unwrap()
}

fn write_image_set(dir: &Path, text: &str) {
    std::fs::create_dir_all(dir.join("ImageSets/Segmentation")).unwrap();
    std::fs::write(dir.join("ImageSets/Segmentation/val.txt"), text).unwrap();
}

/// Where a map is to lie, its directory made.
fn map_path(dir: &Path, name: &str) -> PathBuf {
    let folder = dir.join("SegmentationClass");
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

/// A cat of 300 pixels, a dog of 300 and 40 of void on 40 x 30.
fn class_at(x: u32, y: u32) -> u8 {
    match (x, y) {
        (0..20, 0..15) => 8,
        (20..40, 10..25) => 12,
        (0..40, 29) => 255,
        _ => 0,
    }
}

#[tokio::test]
async fn image_sets_and_names_as_windows_has_them() {
    let (dir, store) = new_store().await;
    for (name, n) in [("one.JPG", 1), ("two.jpeg", 2), ("three.PNG", 3)] {
        write_photo(&dir.path().join("JPEGImages").join(name), n, (40, 30));
    }
    let map = GrayImage::from_fn(40, 30, |x, y| Luma([class_at(x, y)]));
    for name in ["one.png", "two.PNG", "three.png"] {
        let path = map_path(dir.path(), name);
        map.save_with_format(path, ImageFormat::Png).unwrap();
    }
    write_image_set(dir.path(), "\u{feff}one\r\ntwo\r\nthree\r\n\r\n");
    let summary = ingest(&store, dir.path()).await;
    assert_eq!(failures(&store).await, []);
    assert_eq!((summary.images_added, summary.ground_truth_added), (3, 9));
    let images = rows::<ImageRow>(&store.snapshot().await.unwrap()).await;
    let mut names: Vec<_> = images.into_iter().map(|row| row.file_name).collect();
    names.sort();
    assert_eq!(names, ["one.JPG", "three.PNG", "two.jpeg"]);
}

#[tokio::test]
async fn label_maps_in_every_spelling() {
    let (dir, store) = new_store().await;
    let colors = voc_colormap();
    let color = |class: u8| colors[usize::from(class)];
    let gray = GrayImage::from_fn(40, 30, |x, y| Luma([class_at(x, y)]));
    let rgb = RgbImage::from_fn(40, 30, |x, y| Rgb(color(class_at(x, y))));
    let rgba: RgbaImage = DynamicImage::ImageRgb8(rgb.clone()).into_rgba8();
    let deep = ImageBuffer::from_fn(40, 30, |x, y| Luma([u16::from(class_at(x, y))]));
    let undeclared = RgbImage::from_fn(40, 30, |x, y| match class_at(x, y) {
        0 => Rgb([0, 0, 0]),
        _ => Rgb([250, 50, 83]),
    });
    let binary = GrayImage::from_fn(40, 30, |x, y| Luma([class_at(x, y).min(1) * 255]));
    let void = RgbImage::from_fn(40, 30, |x, y| Rgb(color(class_at(x, y).min(1) * 255)));
    let maps: [(&str, DynamicImage); 7] = [
        ("gray", gray.into()),
        ("rgb", rgb.into()),
        ("rgba", rgba.into()),
        ("deep", deep.into()),
        ("undeclared", undeclared.into()),
        ("binary", binary.into()),
        ("void", void.into()),
    ];
    let mut names = String::new();
    for ((name, map), n) in maps.iter().zip(1..) {
        write_photo(
            &dir.path().join(format!("JPEGImages/{name}.png")),
            n,
            (40, 30),
        );
        map.save(map_path(dir.path(), &format!("{name}.png")))
            .unwrap();
        names += &format!("{name}\n");
    }
    // Palettes: VOC's, and another with the same indices.
    let others: Vec<[u8; 3]> = (0..=u8::MAX).map(|n| [n, 255 - n, 7]).collect();
    for (name, n, palette) in [("palette", 8, &colors[..]), ("other", 9, &others[..])] {
        write_photo(
            &dir.path().join(format!("JPEGImages/{name}.png")),
            n,
            (40, 30),
        );
        let file = std::fs::File::create(map_path(dir.path(), &format!("{name}.png"))).unwrap();
        let mut encoder = png::Encoder::new(file, 40, 30);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(palette.as_flattened());
        let indices: Vec<u8> = (0..40 * 30).map(|at| class_at(at % 40, at / 40)).collect();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&indices).unwrap();
        names += &format!("{name}\n");
    }
    write_image_set(dir.path(), &names);

    let summary = ingest(&store, dir.path()).await;
    assert_eq!((summary.images_added, summary.failed), (6, 4));
    let snapshot = store.snapshot().await.unwrap();
    let images: BTreeMap<_, _> = rows::<ImageRow>(&snapshot)
        .await
        .into_iter()
        .map(|row| (row.image_id, row.file_name))
        .collect();
    let mut found: BTreeMap<String, Vec<(Option<String>, f64, bool)>> = BTreeMap::new();
    for row in rows::<GroundTruthRow>(&snapshot).await {
        let of_image = found.entry(images[&row.image_id].clone()).or_default();
        of_image.push((row.category, row.area, row.is_ignored));
    }
    let whole = [
        (Some("cat".to_owned()), 300.0, false),
        (Some("dog".to_owned()), 300.0, false),
        (None, 40.0, true),
    ];
    for name in ["gray.png", "rgb.png", "palette.png", "other.png"] {
        assert_eq!(found[name], whole, "{name}");
    }
    assert_eq!(found["void.png"], [(None, 640.0, true)]);
    assert_eq!(found["binary.png"], [(None, 640.0, true)]);

    let failures: BTreeMap<_, _> = failures(&store).await.into_iter().collect();
    assert_eq!(failures.len(), 4, "{failures:?}");
    for (name, said) in [
        (
            "rgba",
            "found png of rgba8; save it as one of those, without transparency",
        ),
        ("deep", "found png of gray16"),
        (
            "undeclared",
            "pixel (0, 0) has colour [250, 50, 83], which is not in the PASCAL VOC colour map",
        ),
        ("binary.png", "it looks like a 0/255 mask"),
    ] {
        assert!(failures[name].contains(said), "{name}: {}", failures[name]);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn pipes_in_place_of_photos_and_label_maps_are_told() {
    let (dir, store) = new_store().await;
    write_photo(&dir.path().join("JPEGImages/one.png"), 1, (40, 30));
    for pipe in [
        map_path(dir.path(), "one.png"),
        dir.path().join("JPEGImages/two.jpg"),
    ] {
        let made = std::process::Command::new("mkfifo").arg(pipe).status();
        assert!(made.unwrap().success());
    }
    write_image_set(dir.path(), "one\ntwo\n");
    let summary = ingest(&store, dir.path()).await;
    assert_eq!((summary.images_added, summary.failed), (0, 2));
    for (item, reason) in failures(&store).await {
        assert!(reason.ends_with("a pipe, not a file"), "{item}: {reason}");
    }
}
