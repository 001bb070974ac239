//! The program itself: what it prints, and how it exits.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::harness::{Program, photos};
use crate::support::{Asks, CHECKPOINT};

fn program(dir: &Path) -> Program {
    Program {
        file: PathBuf::from(env!("CARGO_BIN_EXE_grainstore")),
        store: dir.join("store"),
    }
}

#[test]
fn a_first_session() {
    let dir = tempfile::tempdir().unwrap();
    let (program, photos) = (program(dir.path()), photos(dir.path(), 10));
    let photos = photos.to_str().unwrap();
    std::fs::write(format!("{photos}/cat/bad.jpg"), "x").unwrap();

    let summary: serde_json::Value =
        serde_json::from_str(&program.expect(2, &["ingest", "images", photos, "--json"])).unwrap();
    assert_eq!(
        (&summary["images_added"], &summary["failed"]),
        (&10.into(), &1.into())
    );

    let csv = program.expect(
        0,
        &[
            "sql",
            "SELECT label, count(*) AS n FROM labels GROUP BY label ORDER BY label",
        ],
    );
    assert_eq!(csv, "label,n\ncat,4\ncow,3\ndog,3\n");
    let rows = program.json(&["query", "failures", "--json"]);
    assert_eq!(rows[0]["item"], "cat/bad.jpg");
    assert_eq!(rows[0]["dataset"], "photos");
    let check = program.json(&["check", "--json"]);
    assert_eq!(
        (&check["healthy"], &check["version"]),
        (&true.into(), &2.into())
    );
    assert!(program.expect(0, &["check"]).starts_with("healthy"));

    let info = program.json(&["store", "info", "--json"]);
    assert_eq!(info["tables"][0]["rows"], 10);
    program.expect(0, &["store", "tag", "first"]);
    program.expect(2, &["ingest", "images", photos, "--dataset", "again"]);
    let count = ["sql", "SELECT count(*) AS n FROM labels", "--at", "first"];
    assert_eq!(program.expect(0, &count), "n\n10\n");
    assert_eq!(program.expect(0, &count[..2]), "n\n20\n");
    assert!(
        program
            .expect(0, &["store", "log"])
            .contains("ingest images  failures +1, images +10")
    );
}

#[test]
fn results_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    program.expect(0, &["init"]);
    let query = "SELECT 1 AS a, 'x,y' AS b, NULL AS c, [1.5, 2] AS d";
    let out = |format: &str| program.expect(0, &["sql", query, "--format", format]);
    assert_eq!(out("csv"), "a,b,c,d\n1,\"x,y\",,\"[1.5, 2.0]\"\n");
    assert_eq!(out("jsonl"), "{\"a\":1,\"b\":\"x,y\",\"d\":[1.5,2.0]}\n");
    assert_eq!(out("json"), "[{\"a\":1,\"b\":\"x,y\",\"d\":[1.5,2.0]}]\n");
    assert!(out("table").contains("| 1 | x,y |   | [1.5, 2.0] |"));
    assert_eq!(
        program.expect(0, &["sql", "SELECT 1 AS a WHERE false", "--json"]),
        "[]\n"
    );
    assert_eq!(
        program.expect(0, &["sql", "SELECT 1 AS a WHERE false"]),
        "a\n"
    );

    for (name, start) in [
        ("r.parquet", &b"PAR1"[..]),
        ("r.arrow", b"ARROW1"),
        ("r.csv", b"a,b"),
    ] {
        let file = dir.path().join(name);
        program.expect(0, &["sql", query, "-o", file.to_str().unwrap()]);
        assert!(std::fs::read(&file).unwrap().starts_with(start), "{name}");
    }
    // A failed query leaves the old file alone and no part of a new one.
    let file = dir.path().join("r.csv");
    let old = std::fs::read(&file).unwrap();
    program.fails(&[
        "sql",
        "SELECT 1 / (value - 5) FROM generate_series(1, 9)",
        "-o",
        file.to_str().unwrap(),
    ]);
    assert_eq!(std::fs::read(&file).unwrap(), old);
    let left = std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(left, 4, "store and three results");
}

#[test]
fn errors_say_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    program.fails(&["ingest", "images", "/nowhere"]);
    assert!(!program.store.exists(), "a mistyped ingest leaves no store");
    let missing = program.fails(&["sql", "SELECT 1"]);
    assert!(
        missing.contains("no store at") && missing.contains("grainstore init"),
        "{missing}"
    );
    program.expect(0, &["init"]);
    for (args, part) in [
        (
            &["sql", "SELEC 1"][..],
            "Expected: an SQL statement, found: SELEC at Line: 1, Column: 1",
        ),
        (&["sql", "SELECT nope FROM images"], "No field named nope"),
        (
            &["sql", "DROP TABLE images"],
            "only queries can be run here",
        ),
        (&["query", "nope"], "'grainstore query --list' lists them"),
        (
            &["query", "labels", "--param", "datset=x"],
            "no parameter 'datset'; it takes dataset",
        ),
        (&["sql", "SELECT 1", "--at", "99"], "no version 99"),
        (&["sql", "SELECT 1", "--at", "nope"], "no tag 'nope'"),
        (&["sql", "SELECT 1", "-o", "x.doc"], "names no format"),
        (&["schema", "mask"], "the tables are images, extractors"),
        (
            &["ingest", "images", "/nowhere"],
            "cannot open directory '/nowhere'",
        ),
        (
            &["ingest", "images", "/tmp", "--source", "book"],
            "expected web, synthetic or target",
        ),
        (&["init", "--embedding-type", "f32"], "exists already"),
        (&["frobnicate"], "unrecognized subcommand"),
    ] {
        let stderr = program.fails(args);
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    }
    let usage: serde_json::Value =
        serde_json::from_slice(&program.run(&["frobnicate", "--json"]).stdout).unwrap();
    assert!(
        usage["error"]
            .as_str()
            .unwrap()
            .contains("unrecognized subcommand"),
        "{usage}"
    );
    let json: serde_json::Value =
        serde_json::from_slice(&program.run(&["sql", "SELEC", "--json"]).stdout).unwrap();
    assert!(
        json["error"]
            .as_str()
            .unwrap()
            .contains("cannot read the query"),
        "{json}"
    );
}

#[test]
fn a_closed_stderr_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    for (args, code) in [(&["init"][..], 0), (&["sql", "SELECT no"], 1)] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = program.command(args).stderr(writer).status().unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn help_has_examples_and_a_closed_pipe_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    assert!(program.expect(0, &["--help"]).contains("Examples:"));
    for command in [
        &["init"][..],
        &["sql"],
        &["query"],
        &["check"],
        &["ingest", "coco"],
        &["ingest", "voc"],
    ] {
        let help = program.expect(0, &[command, &["--help"]].concat());
        assert!(help.contains("Example"), "{command:?}");
    }
    assert!(
        program
            .expect(0, &["completions", "bash"])
            .contains("grainstore")
    );
    assert!(
        program
            .expect(0, &["schema", "masks"])
            .contains("FLOAT16[1024]")
    );
    for (args, key) in [
        (&["schema", "masks", "--json"][..], "masks"),
        (&["query", "review/labels", "--show", "--json"], "sql"),
    ] {
        let printed: serde_json::Value = serde_json::from_str(&program.expect(0, args)).unwrap();
        let text = printed[key].as_str().unwrap();
        assert!(text.contains("image_id"), "{args:?}: {text}");
    }

    program.expect(0, &["init"]);
    let query = [
        "sql",
        "SELECT value FROM generate_series(1, 5000000)",
        "--format",
        "csv",
    ];
    let mut child = program
        .command(&query)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Like `head`: takes a little, then goes.
    let mut stdout = child.stdout.take().unwrap();
    std::io::Read::read_exact(&mut stdout, &mut [0; 100]).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.stderr.is_empty());

    // Nobody reads at all.
    let set_file = dir.path().join("set.toml");
    std::fs::write(&set_file, "[[class]]\nname = \"cat\"\n").unwrap();
    program.expect(
        0,
        &[
            "classes",
            "add",
            "none",
            "--file",
            set_file.to_str().unwrap(),
        ],
    );
    for args in [
        &["query", "--list"][..],
        &["classes", "list"],
        &["store", "log"],
        &["schema", "masks"],
        &["check"],
    ] {
        let command = &mut program.command(args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn two_processes_ingest_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (program, photos) = (program(dir.path()), photos(dir.path(), 200));
    let ingest = [
        "ingest",
        "images",
        photos.to_str().unwrap(),
        "--commit-rows",
        "10",
        "--json",
    ];
    let spawn = || {
        program
            .command(&ingest)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let outputs = [spawn(), spawn()].map(|child| child.wait_with_output().unwrap());
    let mut added = 0;
    for output in outputs {
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let summary: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let count = |key: &str| summary[key].as_u64().unwrap();
        assert_eq!(count("images_added") + count("images_known"), 200);
        added += count("images_added");
    }
    assert_eq!(added, 200);
    assert!(program.expect(0, &["check"]).starts_with("healthy"));
    assert_eq!(
        program.expect(0, &["sql", "SELECT count(*) AS n FROM labels"]),
        "n\n200\n"
    );
}

#[test]
fn training_on_masks_of_two_extractors_asks_which() {
    let dir = tempfile::tempdir().unwrap();
    let (program, photos) = (program(dir.path()), photos(dir.path(), 3));
    program.expect(0, &["init", "--embedding-dim", "128"]);
    program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    program.expect(0, &["classes", "add", "all", "--from", "labels"]);
    let train = ["train", "--name", "h", "--classes", "all", "--epochs", "1"];
    let none = program.fails(&train);
    assert!(none.contains("run 'grainstore extract' first"), "{none}");
    // A run over no images leaves no trace.
    let nothing = ["extract", "--checkpoint", CHECKPOINT, "--limit", "0"];
    program.expect(0, &nothing);
    let one = program.fails(&train);
    assert!(one.contains("run 'grainstore extract' first"), "{one}");
    for points in ["1", "2"] {
        program.expect(
            0,
            &[
                "extract",
                "--checkpoint",
                CHECKPOINT,
                "--points-per-side",
                points,
            ],
        );
    }
    let two = program.fails(&train);
    assert!(
        two.contains("there are several extractors; choose one"),
        "{two}"
    );
    assert!(
        two.contains("--extractor") && two.contains("sharp.safetensors"),
        "{two}"
    );
    let unknown = program.fails(&[&train[..], &["--extractor", "0123"]].concat());
    assert!(
        unknown.contains("there is no extractor '0123'"),
        "{unknown}"
    );
}

#[test]
fn a_limit_gets_past_photos_that_fail() {
    let dir = tempfile::tempdir().unwrap();
    let (program, photos) = (program(dir.path()), photos(dir.path(), 3));
    program.expect(0, &["init", "--embedding-dim", "128"]);
    program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    std::fs::remove_file(photos.join("cat/00000.png")).unwrap();
    let extract = [
        "extract",
        "--checkpoint",
        CHECKPOINT,
        "--points-per-side",
        "1",
        "--limit",
        "1",
    ];
    program.expect(2, &extract);
    program.expect(0, &extract);
    program.expect(0, &extract);
    let count = ["sql", "SELECT count(*) AS n FROM masks", "--format", "csv"];
    assert_eq!(program.expect(0, &count), "n\n2\n");
    // It is tried again when nothing else is left.
    program.expect(2, &extract);
}

#[test]
fn exports_tell_of_new_ids_of_images_left_out_and_of_heads_that_find_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap()
    };
    let export = |args: &[&str], name: &str| {
        let output = program.run(&[&["export", "coco", "-o", &path(name)], args].concat());
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {stderr}");
        (stderr, read(name))
    };
    for (name, n) in [("a.png", 1), ("b.png", 2)] {
        crate::ingest::write_photo(&dir.path().join("photos").join(name), n, (8, 6));
    }
    let truth = r#"{"images": [{"id": 77, "file_name": "a.png"}, {"id": 78, "file_name": "b.png"}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [{"id": 55, "image_id": 77, "category_id": 3, "bbox": [1, 1, 4, 3]}]}"#;
    std::fs::write(path("truth.json"), truth).unwrap();
    let (truth, photos) = (path("truth.json"), path("photos"));
    program.expect(
        0,
        &[
            "ingest",
            "coco",
            "--annotations",
            &truth,
            "--images",
            &photos,
        ],
    );

    let (told, new) = export(&["--ground-truth", "--ids", "new"], "new.json");
    assert!(
        told.contains("2 new image ids as --ids new asks for"),
        "{told}"
    );
    assert_eq!(
        (&new["images"][0]["id"], &new["images"][1]["id"]),
        (&1.into(), &2.into())
    );
    let (told, _) = export(&["--ground-truth"], "own.json");
    assert!(!told.contains("image id"), "{told}");

    let found = r#"[{"image_id": 77, "category_id": 3, "score": 0.5, "bbox": [1, 1, 4, 3]}]"#;
    for (head, results) in [("blind", "[]"), ("seeing", found)] {
        std::fs::write(path("results.json"), results).unwrap();
        let (file, dataset) = (path("results.json"), "coco");
        program.expect(
            0,
            &[
                "import",
                "coco-results",
                &file,
                "--head",
                head,
                "--dataset",
                dataset,
            ],
        );
    }
    let (told, one) = export(&["--head", "seeing"], "seeing.json");
    assert!(
        told.contains("1 image left out: the head has no predictions there"),
        "{told}"
    );
    assert_eq!(one["images"].as_array().map(Vec::len), Some(1));
    let (told, none) = export(&["--head", "blind"], "blind.json");
    assert!(told.contains("there are no objects"), "{told}");
    assert_eq!(none["images"].as_array().map(Vec::len), Some(2));
    assert_eq!(none["categories"][0]["name"], "cat");
    assert_eq!(none["annotations"], serde_json::json!([]));
    let results = ["--head", "blind", "--format", "results"];
    let (told, none) = export(&results, "blind_results.json");
    assert!(told.contains("there are no objects"), "{told}");
    assert_eq!(none, serde_json::json!([]));
}

#[test]
fn a_name_that_is_not_there_is_an_error_in_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let (program, photos) = (program(dir.path()), photos(dir.path(), 3));
    program.expect(0, &["init", "--embedding-dim", "128"]);
    program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    program.expect(0, &["classes", "add", "all", "--from", "labels"]);
    let results = dir.path().join("results.json");
    std::fs::write(&results, "[]").unwrap();
    let (results, out) = (results.to_str().unwrap(), dir.path().join("out"));
    let out = out.to_str().unwrap();
    let commands: &[(&str, &[&str])] = &[
        ("head", &["annotate", "--head", "typo"]),
        ("head", &["rethreshold", "--head", "typo"]),
        ("head", &["eval", "--head", "typo"]),
        ("head", &["compare", "--head", "typo", "--with", "typo"]),
        ("head", &["report", "--head", "typo", "-o", out]),
        ("head", &["export", "coco", "--head", "typo", "-o", out]),
        ("head", &["export", "voc", "--head", "typo", "-o", out]),
        ("head", &["export", "parquet", "--head", "typo", "-o", out]),
        (
            "head",
            &["show", "--where", "true", "--head", "typo", "-o", out],
        ),
        ("head", &["heads", "show", "typo"]),
        ("head", &["heads", "status", "typo"]),
        ("head", &["heads", "export", "typo", "-o", out]),
        ("head", &["heads", "rm", "typo"]),
        ("head", &["heads", "rename", "typo", "other"]),
        ("head", &["query", "eval/miou", "--param", "head=typo"]),
        (
            "head",
            &["sql", "SELECT predict('typo', embedding) FROM masks"],
        ),
        ("class set", &["train", "--name", "h", "--classes", "typo"]),
        ("class set", &["classes", "show", "typo"]),
        ("class set", &["classes", "diff", "all", "typo"]),
        (
            "data set",
            &[
                "classes",
                "add",
                "x",
                "--from",
                "labels",
                "--dataset",
                "typo",
            ],
        ),
        (
            "data set",
            &[
                "import",
                "coco-results",
                results,
                "--head",
                "h",
                "--dataset",
                "typo",
            ],
        ),
        (
            "data set",
            &["query", "review/labels", "--param", "dataset=typo"],
        ),
        (
            "split",
            &[
                "import",
                "coco-results",
                results,
                "--head",
                "h",
                "--dataset",
                "photos",
                "--split",
                "typo",
            ],
        ),
        ("query", &["query", "typo"]),
    ];
    for (kind, args) in commands {
        let stderr = program.fails(args);
        let expected = format!("error: there is no {kind} 'typo'");
        assert!(stderr.contains(&expected), "{args:?}: {stderr}");
    }
    assert!(!std::path::Path::new(out).exists());
    let error = program.run(&["--json", "eval", "--head", "typo"]).stdout;
    let error: serde_json::Value = serde_json::from_slice(&error).unwrap();
    assert_eq!(
        error["error"],
        "there is no head 'typo'; there are no heads yet"
    );
    assert_eq!(error["hint"], "'grainstore train' trains one");
}
