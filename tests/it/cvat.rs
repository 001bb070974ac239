//! "CVAT for images" and CVAT's COCO files, as CVAT writes them (tests/data/cvat/generate.py), and there and back.

use std::path::{Path, PathBuf};

use grainstore::export::{
    CocoExport, CocoFormat, CvatExport, MaskStyle, Photos, export_coco, export_cvat,
};
use grainstore::geometry::{Rle, Size, rle_from_polygon};
use grainstore::ingest::{
    CocoIngest, CvatIngest, IngestOptions, IngestSummary, ingest_coco, ingest_cvat,
};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::{ClassRow, FailureRow, GroundTruthRow, ImageRow, LabelRow};
use serde_json::{Value, json};

use crate::export::request;
use crate::support::{new_store, rows};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cvat")
}

async fn of_cvat(store: &Store, annotations: &Path) -> grainstore::Result<IngestSummary> {
    let request = CvatIngest {
        annotations: annotations.into(),
        images: None,
        options: IngestOptions::of_dataset("d"),
    };
    ingest_cvat(store, &request, &NoProgress).await
}

async fn of_coco(store: &Store, annotations: &Path, images: &Path) -> IngestSummary {
    let request = CocoIngest {
        annotations: annotations.into(),
        images: images.into(),
        options: IngestOptions::of_dataset("d"),
    };
    ingest_coco(store, &request, &NoProgress).await.unwrap()
}

async fn truth(store: &Store) -> Vec<GroundTruthRow> {
    rows(&store.snapshot().await.unwrap()).await
}

async fn failures(store: &Store) -> Vec<String> {
    let rows: Vec<FailureRow> = rows(&store.snapshot().await.unwrap()).await;
    rows.iter()
        .map(|row| format!("{}: {}", row.item, row.reason))
        .collect()
}

fn mask_of(row: &GroundTruthRow) -> Option<Rle> {
    row.rle.as_ref().map(|rle| Rle::try_from(rle).unwrap())
}

fn attributes_of(row: &GroundTruthRow) -> Value {
    let text = row.attributes.as_deref().unwrap_or("{}");
    serde_json::from_str(text).unwrap()
}

/// The mask of an expected shape: pycocotools' runs of a mask, or its ring.
fn expected_mask(shape: &Value, size: Size) -> Option<Rle> {
    if let Some(counts) = shape["counts"].as_array() {
        let runs = counts.iter().map(|run| run.as_u64().unwrap() as u32);
        return Some(Rle::from_runs(size, runs.collect()).unwrap());
    }
    let points = shape["points"]
        .as_array()
        .filter(|_| shape["kind"] == "polygon")?;
    let ring = points.iter().flat_map(|point| point.as_array().unwrap());
    let ring: Vec<f64> = ring.map(|side| side.as_f64().unwrap()).collect();
    Some(rle_from_polygon(&ring, size).unwrap())
}

#[tokio::test]
async fn a_task_is_read_as_cvat_means_it() {
    let (_dir, store) = new_store().await;
    let done = of_cvat(&store, &data().join("task")).await.unwrap();
    assert_eq!(done.images_added, 3);
    let expected: Value =
        serde_json::from_slice(&std::fs::read(data().join("expected.json")).unwrap()).unwrap();
    let (truth, images): (_, Vec<ImageRow>) = (
        truth(&store).await,
        rows(&store.snapshot().await.unwrap()).await,
    );
    let mut compared = 0;
    for image in expected["task"]["images"].as_array().unwrap() {
        let name = image["name"].as_str().unwrap();
        let row = images.iter().find(|row| row.file_name == name).unwrap();
        let size = Size {
            height: row.height as u32,
            width: row.width as u32,
        };
        let of_image: Vec<_> = truth
            .iter()
            .filter(|it| it.image_id == row.image_id)
            .collect();
        for shape in image["shapes"].as_array().unwrap() {
            let label = shape["label"].as_str();
            let same_label = of_image.iter().filter(|it| it.category.as_deref() == label);
            let mut same_label = same_label.copied();
            if shape["group"] != 0 {
                continue; // parts of one object
            }
            if shape["kind"] == "box" && shape["rotation"] == 0.0 {
                let sides: Vec<f64> = shape["box"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|it| it.as_f64().unwrap())
                    .collect();
                let bbox = [sides[0], sides[1], sides[2] - sides[0], sides[3] - sides[1]];
                let found = same_label.find(|it| it.rle.is_none() && it.bbox == bbox);
                assert_eq!(attributes_of(found.unwrap())["attributes"]["checked"], true);
                compared += 1;
                continue;
            }
            let Some(mask) = expected_mask(shape, size) else {
                continue;
            };
            let found = same_label.find(|it| mask_of(it).as_ref() == Some(&mask));
            let found = found.unwrap_or_else(|| panic!("{shape}"));
            let own = attributes_of(found);
            assert_eq!(own["source"], shape["source"]);
            assert_eq!(
                own.get("z_order").cloned().unwrap_or(json!(0)),
                shape["z_order"]
            );
            let occluded = own["attributes"].get("occluded").is_some();
            assert_eq!(json!(occluded), shape["occluded"]);
            for (name, text) in shape["attributes"].as_object().unwrap() {
                let text = text.as_str().unwrap();
                let value = &own["attributes"][name];
                let expected = match (name.as_str(), label.unwrap()) {
                    ("checked", _) => json!(text == "true"),
                    ("count", "cell") => serde_json::from_str(text).unwrap(),
                    _ => json!(text),
                };
                assert_eq!(*value, expected, "{name} of {shape}");
            }
            compared += 1;
        }
    }
    assert!(compared >= 12, "{compared} shapes compared");

    // Two masks of a group are one object; so are a box and a mask.
    let grouped: Vec<u64> = truth
        .iter()
        .filter(|row| attributes_of(row).get("group_id").is_some())
        .map(|row| mask_of(row).unwrap().area())
        .collect();
    assert_eq!(grouped.len(), 2);
    assert!(grouped.contains(&(37 * 53)), "{grouped:?}");
    // What has no pixels is a failure; tags are labels of their image.
    let told = failures(&store).await;
    assert_eq!(told.len(), 4, "{told:?}");
    for kind in ["polyline", "points", "cuboid", "skeleton"] {
        assert!(
            told.iter()
                .any(|it| it.contains(kind) && it.starts_with("night/b 2.png")),
            "{kind}: {told:?}"
        );
    }
    let labels: Vec<LabelRow> = rows(&store.snapshot().await.unwrap()).await;
    assert!(
        labels
            .iter()
            .any(|row| row.label == "blurred" && row.origin == "cvat")
    );
    let classes: Vec<ClassRow> = rows(&store.snapshot().await.unwrap()).await;
    let names: Vec<&str> = classes.iter().map(|row| row.class.as_str()).collect();
    assert_eq!(
        names,
        ["cell", "kočka 猫", "a & b <c>", "blurred", "unused", "pose"]
    );
}

#[tokio::test]
async fn images_of_a_project_have_their_subsets() {
    let (_dir, store) = new_store().await;
    let done = of_cvat(&store, &data().join("project/annotations.xml"))
        .await
        .unwrap();
    assert_eq!((done.images_added, done.failed), (3, 0));
    let images: Vec<ImageRow> = rows(&store.snapshot().await.unwrap()).await;
    let mut found: Vec<(&str, Option<&str>)> = images
        .iter()
        .map(|row| (row.file_name.as_str(), row.split.as_deref()))
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("train/a.png", Some("train")),
            ("train/b.png", Some("train")),
            ("val/a.png", Some("val"))
        ]
    );
}

/// CVAT's COCO file: masks are crowds in it, and attributes an object. What it covers is pycocotools' (expected.json).
#[tokio::test]
async fn cvats_coco_keeps_masks_and_attributes() {
    let (dir, store) = new_store().await;
    let file = data().join("coco/annotations/instances_default.json");
    let done = of_coco(&store, &file, &data().join("task/images")).await;
    assert_eq!(done.failed, 0);
    let request = CocoExport {
        export: request(None),
        format: CocoFormat::Dataset,
        style: Some(MaskStyle::Rle),
        file: dir.path().join("out.json"),
    };
    let snapshot = store.snapshot().await.unwrap();
    export_coco(&snapshot, &request, &NoProgress).await.unwrap();
    let read =
        |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let (given, written) = (read(&file), read(&request.file));
    // What pycocotools fills polygons with.
    let expected = read(&data().join("expected.json"));
    let filled = expected["coco"].as_array().unwrap();
    let (images, given, written) = (
        given["images"].as_array().unwrap(),
        given["annotations"].as_array().unwrap(),
        written["annotations"].as_array().unwrap(),
    );
    assert_eq!(given.len(), written.len());
    assert!(given.iter().any(|object| object["iscrowd"] == 1));
    let stored = truth(&store).await;
    let (mut masks, mut polygons, mut boxes) = (0, 0, 0);
    for object in given {
        let id = &object["id"];
        let back = written.iter().find(|it| it["id"] == *id).unwrap();
        for key in ["attributes", "category_id", "bbox"] {
            assert_eq!(back[key], object[key], "{key} of {id}");
        }
        assert_eq!(back["iscrowd"], 0, "{id}");
        let mut image = images.iter().filter(|it| it["id"] == object["image_id"]);
        let image = image.next().unwrap();
        let side = |key: &str| image[key].as_u64().unwrap() as u32;
        let size = Size {
            height: side("height"),
            width: side("width"),
        };
        let pycocotools = filled.iter().find(|it| it["id"] == *id).unwrap();
        let counts = object["segmentation"]["counts"].as_array();
        let expected = counts.or(pycocotools["counts"].as_array()).map(|runs| {
            let runs = runs.iter().map(|run| run.as_u64().unwrap() as u32);
            Rle::from_runs(size, runs.collect()).unwrap()
        });
        let mut own = stored.iter().filter(|row| row.external_id == id.as_i64());
        assert_eq!(mask_of(own.next().unwrap()), expected, "{id} in the store");
        let out = back["segmentation"]["counts"].as_str();
        let out = out.map(|counts| Rle::from_counts_str(size, counts).unwrap());
        assert_eq!(out, expected, "{id} in the export");
        match object["segmentation"].as_array() {
            None => masks += 1,
            Some(rings) if rings.is_empty() => boxes += 1,
            Some(_) => polygons += 1,
        }
    }
    assert_eq!((masks, polygons, boxes), (12, 2, 2));
}

#[tokio::test]
async fn masks_and_attributes_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(4);
    let size = Size {
        height: 23,
        width: 31,
    };
    std::fs::create_dir_all(dir.path().join("photos/sub")).unwrap();
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for (number, name) in ["a.png", "sub/b & <c>.png"].into_iter().enumerate() {
        let photo =
            image::RgbImage::from_pixel(size.width, size.height, image::Rgb([number as u8, 7, 9]));
        photo.save(dir.path().join("photos").join(name)).unwrap();
        images.push(json!({"id": number + 1, "file_name": name, "width": size.width, "height": size.height}));
        for n in 0..6 {
            let bitmap: Vec<u8> = (0..23 * 31)
                .map(|_| u8::from(random.u8(..) < 150))
                .collect();
            let mask = Rle::from_row_major(size, &bitmap).unwrap();
            annotations.push(json!({"id": annotations.len() + 1, "image_id": number + 1, "category_id": 1,
                "iscrowd": 0, "attributes": {"note": format!("no {n}: \"a\" & <b>\nc"), "occluded": n == 2,
                "count": n, "checked": n == 3, "mixed": if n == 0 { json!(1) } else { json!("a\tb") }},
                "z_order": n, "source": "auto", "segmentation": {"size": [23, 31], "counts": mask.runs()}}));
        }
    }
    let whole = annotations.len() as u64;
    annotations.push(json!({"id": 901, "image_id": 1, "category_id": 1, "bbox": [1.0, 2.5, 3.0, 4.0], "iscrowd": 0}));
    annotations.push(json!({"id": 902, "image_id": 1, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 4.0], "iscrowd": 1,
        "segmentation": {"size": [23, 31], "counts": [0, 713]}}));
    let coco = json!({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a 'b' & <c>"}]});
    std::fs::write(dir.path().join("in.json"), coco.to_string()).unwrap();
    let (_one, store) = new_store().await;
    of_coco(
        &store,
        &dir.path().join("in.json"),
        &dir.path().join("photos"),
    )
    .await;
    for photos in [Photos::Copy, Photos::Leave] {
        let directory = dir.path().join(format!("{photos:?}"));
        let request = CvatExport {
            export: request(None),
            photos,
            directory: directory.clone(),
        };
        let snapshot = store.snapshot().await.unwrap();
        let done = export_cvat(&snapshot, &request, &NoProgress).await.unwrap();
        assert_eq!(
            (done.images, done.annotations, done.crowds),
            (2, whole + 1, 1)
        );
        let (_other, other) = new_store().await;
        let back = CvatIngest {
            annotations: directory.clone(),
            images: (photos == Photos::Leave).then(|| dir.path().join("photos")),
            options: IngestOptions::of_dataset("d"),
        };
        let back = ingest_cvat(&other, &back, &NoProgress).await.unwrap();
        assert_eq!(
            (back.images_added, back.failed),
            (2, 0),
            "{:?}",
            failures(&other).await
        );
        let back = truth(&other).await;
        assert_eq!(back.len() as u64, whole + 1);
        for row in truth(&store).await.iter().filter(|row| !row.iscrowd) {
            let same = |other: &&GroundTruthRow| {
                (&other.image_id, &other.category) == (&row.image_id, &row.category)
                    && mask_of(other) == mask_of(row)
                    && other.bbox == row.bbox
            };
            let found = back.iter().find(same).unwrap_or_else(|| panic!("{row:?}"));
            let (mut own, found) = (attributes_of(row), attributes_of(found));
            if row.rle.is_none() {
                continue;
            }
            // Of an attribute with texts and numbers, all are texts.
            if own["attributes"]["mixed"] == 1 {
                own["attributes"]["mixed"] = json!("1");
            }
            // What is false or 0 is not there.
            if own["z_order"] == 0 {
                own.as_object_mut().unwrap().remove("z_order");
            }
            if own["attributes"]["occluded"] == false {
                own["attributes"]
                    .as_object_mut()
                    .unwrap()
                    .remove("occluded");
            }
            assert_eq!(found, own);
        }
    }
}

#[tokio::test]
async fn broken_files_say_where() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("annotations.xml");
    let image = |inside: &str| {
        format!(
            "<annotations><image id=\"0\" name=\"a.png\" width=\"9\" height=\"9\">{inside}</image></annotations>"
        )
    };
    for (text, said) in [
        ("no xml".to_owned(), "it has no <annotations>"),
        (String::new(), "it has no <annotations>"),
        (
            "<opencv_storage/>".to_owned(),
            "found <opencv_storage>, expected <annotations>",
        ),
        (
            "<annotations><track id=\"0\"/></annotations>".to_owned(),
            "\"CVAT for video\"",
        ),
        (
            "<annotations><image id=\"0\"".to_owned(),
            "annotations.xml' byte",
        ),
        (
            "<annotations><image name=\"a\" width=\"0\" height=\"2\"/></annotations>".to_owned(),
            "no width in pixels",
        ),
        (image("<mask rle=\"1\"/>"), "a <mask> has no label"),
        (image("<circle label=\"a\"/>"), "found <circle>"),
        (image("<mask label=\"a\">"), "annotations.xml' byte"),
    ] {
        std::fs::write(&file, &text).unwrap();
        let (_dir, store) = new_store().await;
        let err = of_cvat(&store, &file).await.unwrap_err().to_string();
        assert!(
            err.contains(said) && err.contains("annotations.xml"),
            "{text}: {err}"
        );
    }
    // Of a photo that is not there, or a shape that does not fit, a note is made, and the rest is read.
    let photo = image::RgbImage::from_pixel(9, 9, image::Rgb([1, 2, 3]));
    photo.save(dir.path().join("a.png")).unwrap();
    let good = "<box label=\"a\" xtl=\"1\" ytl=\"1\" xbr=\"3\" ybr=\"4\"/>";
    let bad = "<mask label=\"a\" rle=\"3, 9\" left=\"1\" top=\"1\" width=\"2\" height=\"2\"/>";
    let both = image(&format!("{bad}{good}"));
    let missing = "<image id=\"1\" name=\"../b.png\" width=\"9\" height=\"9\"/>\
        <image id=\"2\" name=\"c.png\" subset=\"../x\" width=\"9\" height=\"9\"/></annotations>";
    std::fs::write(&file, both.replace("</annotations>", missing)).unwrap();
    let (_store, store) = new_store().await;
    let done = of_cvat(&store, &file).await.unwrap();
    assert_eq!(
        (done.images_added, done.ground_truth_added, done.failed),
        (1, 1, 3)
    );
    let told = failures(&store).await.join("\n");
    assert!(
        told.contains("a.png: shape 1, a mask of 'a'") && told.contains("run 2 of its rle is '9'"),
        "{told}"
    );
    assert!(
        told.contains("../b.png") && told.contains("c.png: '../x' cannot name a split"),
        "{told}"
    );
}
