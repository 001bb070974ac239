//! What grainstore writes for other tools, what these read of it, and what they write again (tests/data/there_and_back).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::harness::Program;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/there_and_back")
        .join(name)
}

fn photos() -> String {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/labelstudio/photos");
    photos.to_owned()
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(data(name)).unwrap()).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Class and mask of each object of a photo; the mask is empty if there is only a box.
type Objects = BTreeMap<String, Vec<(String, String)>>;

fn sorted(found: impl IntoIterator<Item = (String, String, String)>) -> Objects {
    let mut objects = Objects::new();
    for (photo, class, mask) in found {
        objects.entry(photo).or_default().push((class, mask));
    }
    objects.values_mut().for_each(|of_photo| of_photo.sort());
    objects
}

/// What goes in: the objects of in.json, or the predictions of results.json.
fn given(objects: &Value) -> Objects {
    let coco = json("in.json");
    let of = |list: &str, id: &Value, key: &str| {
        let mut entries = coco[list].as_array().unwrap().iter();
        text(&entries.find(|it| it["id"] == *id).unwrap()[key])
    };
    let object = |it: &Value| {
        let photo = of("images", &it["image_id"], "file_name");
        let class = of("categories", &it["category_id"], "name");
        (
            photo,
            class,
            it["segmentation"]["counts"]
                .as_str()
                .unwrap_or("")
                .to_owned(),
        )
    };
    sorted(objects.as_array().unwrap().iter().map(object))
}

/// What datumaro read.
fn by_datumaro(said: &Value) -> Objects {
    let images = said["images"].as_array().unwrap().iter();
    sorted(images.flat_map(|image| {
        let shapes = image["shapes"].as_array().unwrap().iter();
        shapes.map(|it| {
            let mask = it["counts"].as_str().unwrap_or("").to_owned();
            (text(&image["name"]), text(&it["label"]), mask)
        })
    }))
}

/// What Label Studio's package read.
fn by_label_studio(said: &Value) -> Objects {
    let tasks = said.as_array().unwrap().iter();
    sorted(tasks.flat_map(|task| {
        assert_eq!(task["errors"], Value::Array(Vec::new()));
        let photo = text(&task["image"]).replace("/data/local-files/?d=", "");
        let regions = task["regions"].as_array().unwrap().iter();
        regions.map(move |it| {
            let is_box = it["shape"] == "rectangle";
            let mask = it["counts"].as_str().or(it["drawn"].as_str());
            let mask = mask.filter(|_| !is_box).unwrap_or("");
            (photo.clone(), text(&it["labels"][0]), mask.to_owned())
        })
    }))
}

/// What Hugging Face's `datasets` read.
fn by_datasets(said: &Value) -> Objects {
    let rows = said.as_array().unwrap().iter();
    sorted(rows.flat_map(|row| {
        let objects = row["objects"].as_array().unwrap().iter();
        objects.map(|it| {
            let mask = it["segmentation"]["counts"].as_str().unwrap_or("");
            (
                text(&row["file_name"]),
                text(&it["category"]),
                mask.to_owned(),
            )
        })
    }))
}

fn program(dir: &tempfile::TempDir, name: &str) -> Program {
    Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: dir.path().join(name),
    }
}

/// A store with the objects as a data set and the predictions as a head.
fn there(dir: &tempfile::TempDir) -> Program {
    let program = program(dir, "there");
    let (objects, results) = (data("in.json"), data("results.json"));
    let coco = ["ingest", "coco", "--annotations", objects.to_str().unwrap()];
    let of_photos = ["--images", &photos(), "--dataset", "there"];
    program.expect(0, &[&coco[..], &of_photos].concat());
    let import = ["import", "coco-results", results.to_str().unwrap()];
    program.expect(
        0,
        &[&import[..], &["--head", "found", "--dataset", "there"]].concat(),
    );
    program
}

#[test]
fn what_is_written_is_what_the_tools_have_read() {
    let dir = tempfile::tempdir().unwrap();
    let program = there(&dir);
    let truth = ["--ground-truth", "--dataset", "there"];
    let head = ["--head", "found", "--dataset", "there"];
    for (name, format, what, options, files) in [
        (
            "cvat",
            "cvat",
            &truth[..],
            &["--no-images"][..],
            &["annotations.xml"][..],
        ),
        (
            "cvat_head",
            "cvat",
            &head,
            &["--no-images"],
            &["annotations.xml"],
        ),
        (
            "label_studio",
            "label-studio",
            &truth,
            &[],
            &["tasks.json", "config.xml"],
        ),
        (
            "label_studio_polygons",
            "label-studio",
            &truth,
            &["--polygons"],
            &["tasks.json", "config.xml"],
        ),
        (
            "label_studio_head",
            "label-studio",
            &head,
            &[],
            &["tasks.json", "config.xml"],
        ),
    ] {
        let out = dir.path().join(name);
        let to = ["-o", out.to_str().unwrap()];
        program.expect(0, &[&["export", format], what, options, &to].concat());
        for file in files {
            let found = std::fs::read_to_string(out.join(file)).unwrap();
            let read = std::fs::read_to_string(data("written").join(name).join(file)).unwrap();
            assert_eq!(found, read, "{name}/{file}");
        }
    }
    let out = dir.path().join("coco.json");
    let to = ["-o", out.to_str().unwrap()];
    program.expect(0, &[&["export", "coco"], &truth[..], &to].concat());
    // The first line says when the store was changed.
    let but_info = |text: String| text.split_once('\n').unwrap().1.to_owned();
    let found = std::fs::read_to_string(out).unwrap();
    let read = std::fs::read_to_string(data("written/coco/instances_default.json")).unwrap();
    assert_eq!(but_info(found), but_info(read));
}

#[test]
fn the_tools_read_the_same_objects() {
    let (objects, found) = (
        given(&json("in.json")["annotations"]),
        given(&json("results.json")),
    );
    assert_eq!((objects.len(), found.len()), (4, 4));
    for (name, read, expected) in [
        ("cvat", by_datumaro as fn(&Value) -> Objects, &objects),
        ("coco", by_datumaro, &objects),
        ("label_studio", by_label_studio, &objects),
        ("label_studio_polygons", by_label_studio, &objects),
        ("hugging_face", by_datasets, &objects),
        ("cvat_head", by_datumaro, &found),
        ("label_studio_head", by_label_studio, &found),
    ] {
        assert_eq!(
            read(&json(&format!("read/{name}.json"))),
            *expected,
            "{name}"
        );
    }
    // Scores, too.
    let tasks = json("read/label_studio_head.json");
    let regions = tasks.as_array().unwrap().iter();
    let regions = regions.flat_map(|task| task["regions"].as_array().unwrap());
    let mut scores: Vec<f64> = regions.map(|it| it["score"].as_f64().unwrap()).collect();
    scores.sort_by(f64::total_cmp);
    assert_eq!(scores, [0.5, 0.5, 0.5, 0.5, 0.875, 0.875, 0.875, 0.875]);
}

#[test]
fn what_the_tools_write_again_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (objects, found) = (
        given(&json("in.json")["annotations"]),
        given(&json("results.json")),
    );
    let path = |name: &str| data("rewritten").join(name).to_str().unwrap().to_owned();
    let (cvat, tasks) = (
        path("cvat/annotations.xml"),
        path("label_studio/tasks.json"),
    );
    let (masks, of_cvat) = (path("coco/masks.json"), path("coco/from_cvat.json"));
    for (name, command, expected) in [
        ("cvat", &["cvat", &*cvat][..], &objects),
        ("masks", &["coco", "--annotations", &masks], &objects),
        ("from_cvat", &["coco", "--annotations", &of_cvat], &objects),
        ("annotations", &["label-studio", &tasks], &objects),
        (
            "predictions",
            &["label-studio", &tasks, "--predictions"],
            &found,
        ),
    ] {
        let program = program(&dir, name);
        let of_photos = ["--images", &photos(), "--dataset", "back"];
        program.expect(0, &[&["ingest"], command, &of_photos].concat());
        let query = "SELECT i.file_name, g.category, g.rle['counts'] AS counts
                     FROM ground_truth g JOIN images i USING (image_id)";
        let rows = program.expect(0, &["sql", "--format", "json", query]);
        let rows: Value = serde_json::from_str(&rows).unwrap();
        let rows = rows.as_array().unwrap().iter();
        let back = sorted(rows.map(|row| {
            let mask = row["counts"].as_str().unwrap_or("").to_owned();
            (text(&row["file_name"]), text(&row["category"]), mask)
        }));
        assert_eq!(back, *expected, "{name}");
    }
}

/// The map by objects that cityscapesScripts read, and what they read.
#[test]
fn cityscapes_scripts_read_the_objects_of_a_map() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(&dir, "maps");
    let maps = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/label_maps");
    let classes = dir.path().join("classes.csv");
    let names = "0,unlabeled\n4,static\n7,road\n23,sky\n24,person\n26,car\n";
    std::fs::write(&classes, names).unwrap();
    let (images, drawn) = (format!("{maps}/leftImg8bit"), format!("{maps}/gtFine"));
    let suffixes = [
        "--image-suffix",
        "_leftImg8bit",
        "--map-suffix",
        "_gtFine_instanceIds",
    ];
    let from = [
        "ingest",
        "label-maps",
        "--images",
        &images,
        "--maps",
        &drawn,
        "--objects",
    ];
    let of = [
        "--classes",
        classes.to_str().unwrap(),
        "--dataset",
        "cityscapes",
    ];
    program.expect(0, &[&from[..], &of, &suffixes].concat());
    let out = dir.path().join("out");
    let export = [
        "export",
        "label-maps",
        "--ground-truth",
        "--dataset",
        "cityscapes",
    ];
    let values = [
        "--background",
        "0",
        "--objects",
        "--stuff",
        "unlabeled,static,road,sky",
    ];
    let to = ["-o", out.to_str().unwrap()];
    program.expect(0, &[&export[..], &values, &suffixes, &to].concat());
    let name = "bonn_000001_000019_gtFine_instanceIds.png";
    let levels = |path: PathBuf| image::open(path).unwrap().into_luma16().into_raw();
    let found = levels(out.join("maps").join(name));
    assert_eq!(found, levels(data("written/cityscapes").join(name)));
    let mut pixels: BTreeMap<&str, BTreeMap<u16, u64>> = BTreeMap::new();
    for level in found {
        let class = if level >= 1000 { level / 1000 } else { level };
        let mut lines = names.lines().filter_map(|line| line.split_once(','));
        let name = lines
            .find(|(value, _)| *value == class.to_string())
            .unwrap()
            .1;
        *pixels.entry(name).or_default().entry(level).or_default() += 1;
    }
    let read = json("read/cityscapes.json");
    assert_eq!(read.as_object().unwrap().len(), pixels.len());
    for (name, of_class) in pixels {
        let mut counts: Vec<u64> = of_class.into_values().collect();
        counts.sort_unstable();
        assert_eq!(read[name], serde_json::json!(counts), "{name}");
    }
}
