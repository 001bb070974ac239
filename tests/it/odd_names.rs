//! Names and numbers that formats have trouble with: splits that number their photos alike, names with blanks and quotes, words that
//! mean something to a format, and files of another kind.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::Program;

/// Declared in this order; the last is never used.
const CLASSES: [&str; 6] = [
    "zebra",
    "  lead",
    "tab\tin",
    "comma, in",
    "quote \"<&>\"",
    "unused",
];

fn program(dir: &Path, name: &str) -> Program {
    Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: dir.join(name),
    }
}

/// Those that a line of a file can hold.
const PLAIN: [&str; 6] = [
    "zebra",
    "a lead",
    "b",
    "comma, in",
    "quote \"<&>\"",
    "unused",
];

/// A store with a photo 'x.png' in each of some splits, all numbered 1, with an object of every class but the last.
fn store(dir: &Path, classes: [&str; 6], splits: &[&str]) -> Program {
    let program = program(dir, "store");
    for (split, level) in splits.iter().zip(1u8..) {
        let photos = dir.join("photos").join(split);
        std::fs::create_dir_all(&photos).unwrap();
        let photo = image::RgbImage::from_pixel(24, 16, image::Rgb([level, 9, 9]));
        photo.save(photos.join("x.png")).unwrap();
        let annotations = (1..6).map(|class| {
            let runs = [class * 40, 30, 384 - class * 40 - 30];
            json!({"id": class, "image_id": 1, "category_id": class, "iscrowd": 0,
                "segmentation": {"size": [16, 24], "counts": runs}})
        });
        let categories = classes.iter().zip(1..);
        let coco = json!({
            "images": [{"id": 1, "file_name": "x.png", "width": 24, "height": 16}],
            "annotations": annotations.collect::<Vec<_>>(),
            "categories": categories.map(|(name, id)| json!({"id": id, "name": name})).collect::<Vec<_>>(),
        });
        let file = dir.join(format!("{split}.json"));
        std::fs::write(&file, coco.to_string()).unwrap();
        let [file, photos] = [&file, &photos].map(|path| path.to_str().unwrap());
        let args = ["ingest", "coco", "--annotations", file, "--images", photos];
        program.expect(
            0,
            &[&args[..], &["--dataset", "d", "--split", split]].concat(),
        );
    }
    program
}

/// Runs an export, and gives back its error.
fn refused(program: &Program, args: &[&str]) -> String {
    let output = program.run(&[&["export"], args].concat());
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// Exports annotated objects to a directory, which it gives back.
fn exported(program: &Program, format: &str, out: &Path) -> PathBuf {
    let export = ["export", format, "--ground-truth", "-o"];
    program.expect(0, &[&export[..], &[out.to_str().unwrap()]].concat());
    out.to_owned()
}

fn objects(program: &Program) -> Vec<Value> {
    let sql = "SELECT i.width, g.category, g.rle.counts AS counts FROM ground_truth g \
               JOIN images i ON i.image_id = g.image_id ORDER BY i.image_id, g.category, g.area";
    let rows = program.expect(0, &["sql", sql, "--format", "json"]);
    serde_json::from_str(&rows).unwrap()
}

fn classes(program: &Program) -> Vec<String> {
    let sql = "SELECT class FROM class_sets WHERE class_set = 'd' ORDER BY version DESC, class_index LIMIT 6";
    let rows = program.expect(0, &["sql", sql, "--format", "json"]);
    let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
    rows.iter()
        .map(|row| row["class"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn splits_may_number_their_photos_alike() {
    let dir = tempfile::tempdir().unwrap();
    let program = store(dir.path(), PLAIN, &["train", "val"]);
    let expected = objects(&program);
    assert_eq!(expected.len(), 10);
    for format in [
        "yolo",
        "cvat",
        "label-studio",
        "voc",
        "geojson",
        "label-maps",
    ] {
        exported(&program, format, &dir.path().join(format));
    }
    let splits = |program: &Program| {
        let sql = "SELECT split, count(*) AS n FROM images GROUP BY split ORDER BY split";
        program.expect(0, &["sql", sql, "--format", "csv"])
    };
    let photos = dir.path().join("photos");
    for (format, file, options) in [
        ("yolo", "", &[][..]),
        ("cvat", "", &[]),
        (
            "label-studio",
            "tasks.json",
            &["--images", photos.to_str().unwrap()],
        ),
    ] {
        let back = self::program(dir.path(), &format!("of_{format}"));
        let file = dir.path().join(format).join(file);
        let ingest = ["ingest", format, file.to_str().unwrap(), "--dataset", "d"];
        back.expect(0, &[&ingest[..], options].concat());
        assert_eq!(objects(&back), expected, "{format}");
        assert_eq!(splits(&back), splits(&program), "{format}");
    }

    for (format, out) in [
        ("coco", "x.json"),
        ("parquet", "x.parquet"),
        ("hugging-face", "x"),
    ] {
        let out = dir.path().join(out);
        let out = out.to_str().unwrap();
        let message = refused(&program, &[format, "--ground-truth", "-o", out]);
        for part in [
            "split 'train'",
            "split 'val'",
            "both have id 1",
            "--ids new",
        ] {
            assert!(message.contains(part), "{format}: {message}");
        }
        program.expect(
            0,
            &[
                "export",
                format,
                "--ground-truth",
                "--ids",
                "new",
                "-o",
                out,
            ],
        );
    }
}

#[test]
fn class_names_and_their_order_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let program = store(dir.path(), CLASSES, &["train"]);
    let expected = objects(&program);
    let photos = dir.path().join("photos/train");
    let photos = photos.to_str().unwrap();
    for (format, file) in [("cvat", "annotations.xml"), ("label-studio", "tasks.json")] {
        let out = exported(&program, format, &dir.path().join(format));
        let back = self::program(dir.path(), &format!("of_{format}"));
        let file = out.join(file);
        let mut args = vec!["ingest", format, file.to_str().unwrap(), "--dataset", "d"];
        if format == "label-studio" {
            args.extend(["--images", photos]);
        }
        back.expect(0, &args);
        assert_eq!(objects(&back), expected, "{format}");
        assert_eq!(classes(&back), CLASSES, "{format}");
    }
}

#[test]
fn a_name_with_a_comma_is_one_class_of_stuff() {
    let dir = tempfile::tempdir().unwrap();
    let program = store(dir.path(), PLAIN, &["train"]);
    let maps = dir.path().join("maps");
    let export = [
        "export",
        "label-maps",
        "--ground-truth",
        "--objects",
        "-o",
        maps.to_str().unwrap(),
    ];
    program.expect(
        0,
        &[
            &export[..],
            &["--stuff", "comma, in", "--stuff", "zebra,unused"],
        ]
        .concat(),
    );
    let wrong = dir.path().join("wrong");
    let message = refused(
        &program,
        &[
            "label-maps",
            "--ground-truth",
            "--objects",
            "--stuff",
            "zebra,sky",
            "-o",
            wrong.to_str().unwrap(),
        ],
    );
    assert!(message.contains("'sky'"), "{message}");
}

#[test]
fn labels_of_whole_images_go_out_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos/train");
    let photos = photos.to_str().unwrap();
    let exported = |program: &Program, format: &str, name: &str| {
        let out = exported(program, format, &dir.path().join(name));
        let file = match format {
            "cvat" => "annotations.xml",
            _ => "tasks.json",
        };
        out.join(file)
    };
    let read = |format: &str, file: &Path, name: &str| {
        let program = program(dir.path(), name);
        let mut args = vec!["ingest", format, file.to_str().unwrap(), "--dataset", "d"];
        if format == "label-studio" {
            args.extend(["--images", photos]);
        }
        program.expect(0, &args);
        program
    };
    // Somebody adds a label of the whole image, and one that an object has.
    let plain = store(dir.path(), PLAIN, &["train"]);
    let file = exported(&plain, "cvat", "plain");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("<tag"), "{text}");
    let tags = ["unused", "zebra"].map(|label| format!("<tag label=\"{label}\"></tag>"));
    let text = text.replace("</image>", &format!("{}</image>", tags.concat()));
    std::fs::write(&file, text).unwrap();
    let program = read("cvat", &file, "tagged");
    let sql = [
        "sql",
        "SELECT label FROM labels ORDER BY label",
        "--format",
        "csv",
    ];
    let expected = program.expect(0, &sql);
    assert!(expected.contains("unused"), "{expected}");
    for format in ["cvat", "label-studio"] {
        let file = exported(&program, format, &format!("tagged_{format}"));
        let text = std::fs::read_to_string(&file).unwrap();
        // What an object shows already is not said again.
        let said = match format {
            "cvat" => text.matches("<tag").count(),
            _ => text.matches(r#""choices":["unused"]"#).count(),
        };
        assert_eq!(said, 1, "{text}");
        let back = read(format, &file, &format!("back_{format}"));
        assert_eq!(back.expect(0, &sql), expected, "{format}");
    }
}

#[test]
fn splits_with_words_of_a_format_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let program = store(dir.path(), PLAIN, &["names", "all", "1"]);
    let out = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let yolo = [
        "yolo",
        "--ground-truth",
        "--split",
        "names",
        "-o",
        &out("y"),
    ];
    let message = refused(&program, &yolo);
    assert!(
        message.contains("split 'names' is a key of data.yaml"),
        "{message}"
    );
    let all = [
        "hugging-face",
        "--ground-truth",
        "--split",
        "all",
        "-o",
        &out("h"),
    ];
    let message = refused(&program, &all);
    assert!(
        message.contains("split 'all' means all splits"),
        "{message}"
    );
    assert!(!dir.path().join("y").exists() && !dir.path().join("h").exists());
    let one = [
        "export",
        "hugging-face",
        "--ground-truth",
        "--split",
        "1",
        "-o",
        &out("one"),
    ];
    program.expect(0, &one);
    let card = std::fs::read_to_string(dir.path().join("one/README.md")).unwrap();
    assert!(card.contains("- split: \"1\"\n"), "{card}");
}

#[test]
fn other_files_and_missing_words_are_told_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let program = store(dir.path(), PLAIN, &["train"]);
    let archive = dir.path().join("a.zip");
    std::fs::write(&archive, b"PK\x03\x04rest").unwrap();
    let photos = dir.path().join("photos");
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let [archive, photos, empty] = [&archive, &photos, &empty].map(|path| path.to_str().unwrap());
    for (args, part) in [
        (
            vec!["ingest", "cvat", archive, "--images", photos],
            "unpack it, and give the annotations.xml",
        ),
        (
            vec!["ingest", "label-studio", archive, "--images", photos],
            "unpack it, and give the JSON file",
        ),
        (
            vec!["ingest", "voc", empty, "--split", "train"],
            "--copy-images",
        ),
        (vec!["ingest", "yolo", empty], "name the YAML file"),
        (
            vec!["export", "coco", "-o", "x.json"],
            "<--head <HEAD>|--ground-truth>",
        ),
        (vec!["show", "-o", "x.png"], "<IMAGE_ID|--where <SQL>>"),
        (
            vec!["show", "nowhere", "-o", "x.png"],
            "there is no image 'nowhere'",
        ),
        (
            vec![
                "export",
                "yolo",
                "--ground-truth",
                "--ids",
                "new",
                "-o",
                "y",
            ],
            "--ids",
        ),
    ] {
        let output = program.run(&args);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{args:?}");
        assert!(message.contains(part), "{args:?}: {message}");
    }
    let found = program.run(&["ingest", "images", empty, "--no-labels"]);
    let message = String::from_utf8(found.stderr).unwrap();
    assert!(message.contains("no photo was found"), "{message}");

    // What a head keeps goes out as predictions, which are not what annotations are read from.
    let results = dir.path().join("results.json");
    let runs = json!({"size": [16, 24], "counts": [40, 30, 314]});
    let result = json!([{"image_id": 1, "category_id": 1, "score": 0.9, "segmentation": runs}]);
    std::fs::write(&results, result.to_string()).unwrap();
    let out = dir.path().join("tasks");
    let [results, out] = [&results, &out].map(|path| path.to_str().unwrap());
    program.expect(
        0,
        &[
            "import",
            "coco-results",
            results,
            "--head",
            "h",
            "--dataset",
            "d",
        ],
    );
    program.expect(0, &["export", "label-studio", "--head", "h", "-o", out]);
    let back = self::program(dir.path(), "back");
    let tasks = format!("{out}/tasks.json");
    let done = back.run(&["ingest", "label-studio", &tasks, "--images", photos]);
    let message = String::from_utf8(done.stderr).unwrap();
    assert!(
        message.contains("1 tasks have only predictions"),
        "{message}"
    );
}
