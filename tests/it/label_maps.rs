//! Label maps as Cityscapes' own scripts draw them (tests/data/label_maps/generate.py), and there and back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grainstore::export::{LabelMapExport, MapFile, Photos, export_label_maps};
use grainstore::geometry::{Rle, Size};
use grainstore::ingest::{
    ClassValues, CocoIngest, IngestOptions, IngestSummary, LabelMapIngest, ingest_coco,
    ingest_label_maps,
};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{FailureRow, GroundTruthRow};
use serde_json::json;

use crate::export::request;
use crate::support::{new_store, rows};

const CITYSCAPES: &str = "0,unlabeled\n4,static\n7,road\n23,sky\n24,person\n26,car\n";

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/label_maps")
}

fn classes(text: &str) -> ClassValues {
    ClassValues::parse(text, Path::new("classes.csv")).unwrap()
}

fn cityscapes(map_suffix: &str) -> LabelMapIngest {
    LabelMapIngest {
        images: data().join("leftImg8bit"),
        maps: data().join("gtFine"),
        image_suffix: "_leftImg8bit".to_owned(),
        map_suffix: map_suffix.to_owned(),
        classes: classes(CITYSCAPES),
        options: IngestOptions::of_dataset("d"),
        ..LabelMapIngest::default()
    }
}

async fn read(store: &Store, request: &LabelMapIngest) -> grainstore::Result<IngestSummary> {
    ingest_label_maps(store, request, &NoProgress).await
}

async fn truth(store: &Store) -> Vec<GroundTruthRow> {
    rows(&store.snapshot().await.unwrap()).await
}

async fn failures(store: &Store) -> String {
    let rows: Vec<FailureRow> = rows(&store.snapshot().await.unwrap()).await;
    let told = rows
        .iter()
        .map(|row| format!("{}: {}", row.item, row.reason));
    told.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn cityscapes_is_read_by_classes_and_by_objects() {
    let text = std::fs::read(data().join("expected.json")).unwrap();
    let expected: BTreeMap<String, BTreeMap<u32, String>> = serde_json::from_slice(&text).unwrap();
    let names = BTreeMap::from([
        (0, "unlabeled"),
        (4, "static"),
        (7, "road"),
        (23, "sky"),
        (24, "person"),
        (26, "car"),
    ]);
    for objects in [false, true] {
        let kind = if objects { "instanceIds" } else { "labelIds" };
        let (_dir, store) = new_store().await;
        let request = LabelMapIngest {
            objects,
            void: Some(vec![4]),
            ..cityscapes(&format!("_gtFine_{kind}"))
        };
        let done = read(&store, &request).await.unwrap();
        assert_eq!(
            (done.images_added, done.failed),
            (1, 0),
            "{}",
            failures(&store).await
        );
        let truth = truth(&store).await;
        assert_eq!(truth.len(), expected[kind].len());
        for (value, counts) in &expected[kind] {
            let mut same = truth
                .iter()
                .filter(|row| row.rle.as_ref().is_some_and(|rle| rle.counts == *counts));
            let row = same.next().unwrap_or_else(|| panic!("{kind} {value}"));
            let class = if *value >= 1000 { value / 1000 } else { *value };
            if *value == 4 {
                assert!(row.is_ignored && row.category.is_none());
            } else {
                assert_eq!(
                    row.category.as_deref(),
                    Some(names[&class]),
                    "{kind} {value}"
                );
                assert_eq!(row.category_id, Some(i64::from(class)));
            }
        }
        // Two cars, a person, and a group of persons that are not apart.
        let of = |name: &str| {
            truth
                .iter()
                .filter(|row| row.category.as_deref() == Some(name))
                .count()
        };
        assert_eq!(
            (of("car"), of("person")),
            if objects { (2, 2) } else { (1, 1) }
        );
    }
}

#[tokio::test]
async fn maps_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let size = Size {
        height: 21,
        width: 34,
    };
    std::fs::create_dir_all(dir.path().join("photos")).unwrap();
    let photo = image::RgbImage::from_pixel(34, 21, image::Rgb([5, 7, 9]));
    photo.save(dir.path().join("photos/a.png")).unwrap();
    // Masks that do not overlap, so that a map holds all of them.
    let mut random = fastrand::Rng::with_seed(2);
    let values: Vec<u8> = (0..21 * 34).map(|_| random.u8(0..6)).collect();
    let mask = |value: u8| {
        let bits: Vec<u8> = values.iter().map(|it| u8::from(*it == value)).collect();
        Rle::from_row_major(size, &bits).unwrap()
    };
    let annotations: Vec<_> = (1..6u8)
        .map(|value| {
            json!({"id": value, "image_id": 1, "category_id": if matches!(value, 3 | 4) { 300 } else { 11 },
                "iscrowd": u8::from(value == 5), "segmentation": {"size": [21, 34], "counts": mask(value).runs()}})
        })
        .collect();
    let coco = json!({"images": [{"id": 1, "file_name": "a.png", "width": 34, "height": 21}], "annotations": annotations,
        "categories": [{"id": 11, "name": "traffic, light"}, {"id": 300, "name": "cat"}]});
    std::fs::write(dir.path().join("in.json"), coco.to_string()).unwrap();
    let (_one, store) = new_store().await;
    let of_coco = CocoIngest {
        annotations: dir.path().join("in.json"),
        images: dir.path().join("photos"),
        options: IngestOptions::of_dataset("d"),
    };
    ingest_coco(&store, &of_coco, &NoProgress).await.unwrap();
    for objects in [false, true] {
        let request = LabelMapExport {
            export: request(None),
            objects,
            photos: Photos::Copy,
            directory: dir.path().join(format!("out{objects}")),
            ..LabelMapExport::default()
        };
        let snapshot = store.snapshot().await.unwrap();
        let done = export_label_maps(&snapshot, &request, &NoProgress)
            .await
            .unwrap();
        assert_eq!((done.images, done.annotations), (1, 4));
        let out = &request.directory;
        let map = image::open(out.join("maps/a.png")).unwrap();
        // 300 does not fit into 8 bits, nor times 1000 into 16: then classes are 1 and 2.
        let text = std::fs::read_to_string(out.join("classes.csv")).unwrap();
        let expected = if objects {
            "1,traffic, light\n2,cat"
        } else {
            "11,traffic, light\n300,cat"
        };
        assert_eq!(text, format!("value,name\n{expected}\n"));
        let levels = map.as_luma16().expect("16 bits").as_raw();
        let expected: &[u16] = if objects {
            &[0, 1000, 1001, 2000, 2001, 65535]
        } else {
            &[0, 11, 300, 65535]
        };
        let mut found = levels.clone();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, expected);

        let (_other, other) = new_store().await;
        let back = LabelMapIngest {
            images: out.join("images"),
            maps: out.join("maps"),
            classes: ClassValues::read(&out.join("classes.csv")).unwrap(),
            objects,
            options: IngestOptions::of_dataset("d"),
            ..LabelMapIngest::default()
        };
        let done = read(&other, &back).await.unwrap();
        assert_eq!(
            (done.images_added, done.failed),
            (1, 0),
            "{}",
            failures(&other).await
        );
        let back = truth(&other).await;
        let has = |name: Option<&str>, mask: &Rle| {
            let counts = mask.to_counts_string();
            back.iter().any(|row| {
                row.category.as_deref() == name
                    && row.rle.as_ref().is_some_and(|rle| rle.counts == counts)
            })
        };
        let light = Some("traffic, light");
        if objects {
            assert!(has(light, &mask(1)) && has(light, &mask(2)) && has(Some("cat"), &mask(3)));
        } else {
            assert!(has(light, &mask(1).union(&mask(2)).unwrap()));
            assert!(has(Some("cat"), &mask(3).union(&mask(4)).unwrap()));
        }
        // The crowd is void.
        assert!(has(None, &mask(5)) && back.iter().filter(|row| row.is_ignored).count() == 1);
    }
}

fn cityscapes_maps(directory: PathBuf, objects: bool) -> LabelMapExport {
    LabelMapExport {
        export: request(None),
        objects,
        background: Some(0),
        image_suffix: "_leftImg8bit".to_owned(),
        map_suffix: "_gtFine_ids".to_owned(),
        directory,
        ..LabelMapExport::default()
    }
}

fn levels(file: &Path) -> Vec<u16> {
    let image = image::open(file).unwrap();
    match image {
        image::DynamicImage::ImageLuma8(it) => it.into_raw().into_iter().map(u16::from).collect(),
        image::DynamicImage::ImageLuma16(it) => it.into_raw(),
        other => panic!("{:?}", other.color()),
    }
}

#[tokio::test]
async fn what_cityscapes_scripts_drew_goes_out_as_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let name = "bonn_000001_000019_gtFine";
    for objects in [false, true] {
        let kind = if objects { "instanceIds" } else { "labelIds" };
        let drawn = levels(&data().join(format!("gtFine/val/bonn/{name}_{kind}.png")));
        let (_dir, store) = new_store().await;
        let came = LabelMapIngest {
            objects,
            ..cityscapes(&format!("_gtFine_{kind}"))
        };
        read(&store, &came).await.unwrap();
        let snapshot = store.snapshot().await.unwrap();
        let mut tiff_and_png = Vec::new();
        for file in [MapFile::Png, MapFile::Tiff] {
            let request = LabelMapExport {
                file,
                photos: Photos::Copy,
                stuff: ["unlabeled", "static", "road", "sky"]
                    .map(str::to_owned)
                    .into_iter()
                    .filter(|_| objects)
                    .collect(),
                ..cityscapes_maps(dir.path().join(format!("{kind}{file:?}")), objects)
            };
            let done = export_label_maps(&snapshot, &request, &NoProgress).await;
            assert_eq!(done.unwrap().images, 1);
            let out = &request.directory;
            assert!(
                out.join("images/bonn_000001_000019_leftImg8bit.png")
                    .is_file()
            );
            let classes = std::fs::read_to_string(out.join("classes.csv")).unwrap();
            assert_eq!(classes, format!("value,name\n{CITYSCAPES}"));
            let ending = if file == MapFile::Png { "png" } else { "tif" };
            let map = out.join(format!("maps/bonn_000001_000019_gtFine_ids.{ending}"));

            // Both kinds of file are read back as the same ground truth.
            let (_other, other) = new_store().await;
            let back = LabelMapIngest {
                images: out.join("images"),
                maps: out.join("maps"),
                image_suffix: request.image_suffix,
                map_suffix: request.map_suffix,
                ..came.clone()
            };
            let done = read(&other, &back).await.unwrap();
            assert_eq!(
                (done.images_added, done.failed),
                (1, 0),
                "{}",
                failures(&other).await
            );
            let counts = |rows: Vec<GroundTruthRow>| {
                let of = |row: GroundTruthRow| (row.category_id, row.rle.unwrap().counts);
                let mut all: Vec<_> = rows.into_iter().map(of).collect();
                all.sort();
                all
            };
            assert_eq!(counts(truth(&other).await), counts(truth(&store).await));
            if file == MapFile::Png {
                tiff_and_png = levels(&map);
            }
        }
        if !objects {
            assert_eq!(tiff_and_png, drawn);
            continue;
        }
        // Objects may be numbered in another order, and a group of persons is one of them.
        let mut same = BTreeMap::new();
        for (ours, theirs) in tiff_and_png.iter().zip(&drawn) {
            assert_eq!(
                same.entry(*theirs).or_insert(*ours),
                ours,
                "an object is one value"
            );
            let class = |value: u16| if value >= 1000 { value / 1000 } else { value };
            assert_eq!(class(*ours), class(*theirs));
            assert!(*theirs >= 1000 || *theirs == 24 || ours == theirs);
        }
        let mut values: Vec<u16> = same.into_values().collect();
        values.sort_unstable();
        assert_eq!(values, [0, 4, 7, 23, 24000, 24001, 26000, 26001]);
    }
}

#[tokio::test]
async fn maps_that_cannot_be_written_say_why_and_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_dir, store) = new_store().await;
    read(&store, &cityscapes("_gtFine_labelIds")).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let out = dir.path().join("out");
    let all_objects = cityscapes_maps(out.clone(), true);
    let unknown = LabelMapExport {
        stuff: vec!["roof".to_owned()],
        ..all_objects.clone()
    };
    for (request, said) in [
        (
            all_objects,
            "0 of class 'unlabeled'' is not a value in a label map: expected 1 to 64",
        ),
        (
            unknown,
            "'roof' is not a class of stuff: expected classes of the set: unlabeled, static",
        ),
    ] {
        let failed = export_label_maps(&snapshot, &request, &NoProgress).await;
        let message = failed.unwrap_err().to_string();
        assert!(message.contains(said) && !out.exists(), "{message}");
    }
    // Without a background of its own, the class with id 0 would be lost: all get their places.
    let places = LabelMapExport {
        background: None,
        ..cityscapes_maps(out.clone(), false)
    };
    export_label_maps(&snapshot, &places, &NoProgress)
        .await
        .unwrap();
    let classes = std::fs::read_to_string(out.join("classes.csv")).unwrap();
    assert!(
        classes.starts_with("value,name\n1,unlabeled\n2,static\n"),
        "{classes}"
    );
}

#[tokio::test]
async fn maps_that_do_not_fit_say_why() {
    let (_dir, store) = new_store().await;
    let few = LabelMapIngest {
        classes: classes("7,road"),
        ..cityscapes("_gtFine_labelIds")
    };
    let done = read(&store, &few).await.unwrap();
    assert_eq!((done.images_added, done.failed), (0, 1));
    let told = failures(&store).await;
    for said in [
        "_leftImg8bit.png: '",
        "pixels have value 4, which is no class (nor are 3 others)",
        "--void 4",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
    let none = read(&store, &cityscapes("_gtCoarse"))
        .await
        .unwrap_err()
        .to_string();
    assert!(none.contains("it would be 'a/1_gtCoarse.png'"), "{none}");

    let dir = tempfile::tempdir().unwrap();
    for (folder, side) in [("images", 9), ("maps", 8)] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        let file = dir.path().join(folder).join("a.png");
        image::GrayImage::new(side, 9).save(file).unwrap();
    }
    image::GrayImage::new(3, 3)
        .save(dir.path().join("images/b.png"))
        .unwrap();
    // A map that ends too early, in both formats.
    for (name, ending) in [("c", "png"), ("d", "tif")] {
        let photo = image::GrayImage::from_pixel(40, 30, image::Luma([9]));
        photo
            .save(dir.path().join(format!("images/{name}.png")))
            .unwrap();
        let map = dir.path().join(format!("maps/{name}.{ending}"));
        photo.save(&map).unwrap();
        let bytes = std::fs::read(&map).unwrap();
        std::fs::write(&map, &bytes[..bytes.len() / 2]).unwrap();
    }
    let request = LabelMapIngest {
        images: dir.path().join("images"),
        maps: dir.path().join("maps"),
        classes: classes("cat"),
        options: IngestOptions::of_dataset("d"),
        ..LabelMapIngest::default()
    };
    let done = read(&store, &request).await.unwrap();
    assert_eq!((done.failed, done.other_files), (3, 1));
    let told = failures(&store).await;
    assert!(
        told.contains("maps/c.png'") && told.contains("maps/d.tif'"),
        "{told}"
    );
    assert!(
        told.contains("it has 8 x 9 pixels, and its photo 9 x 9"),
        "{told}"
    );
}
