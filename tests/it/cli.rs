//! The program itself: what it prints, how it exits, and what `kill -9` leaves.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};

struct Program {
    store: PathBuf,
}

impl Program {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grainstore"));
        command
            .env("GRAINSTORE_STORE", &self.store)
            .env_remove("GRAINSTORE_LOG")
            .args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs, expects the exit code, and gives back stdout.
    fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs, expects failure, and gives back stderr.
    fn fails(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn json(&self, args: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.expect(0, args)).unwrap()
    }
}

fn program(dir: &Path) -> Program {
    Program {
        store: dir.join("store"),
    }
}

fn photos(dir: &Path, count: u32) -> PathBuf {
    let root = dir.join("photos");
    for n in 0..count {
        let folder = root.join(["cat", "dog", "cow"][(n % 3) as usize]);
        std::fs::create_dir_all(&folder).unwrap();
        let [a, b, ..] = n.to_le_bytes();
        let photo = RgbImage::from_pixel(4 + n % 7, 3, Rgb([a, b, 7]));
        photo.save(folder.join(format!("{n:05}.png"))).unwrap();
    }
    root
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
}

const INGESTED: [&str; 3] = [
    "SELECT image_id, file_name, width, height, source, dataset FROM images ORDER BY image_id",
    "SELECT image_id, dataset, label, origin FROM labels ORDER BY image_id, label",
    "SELECT item, reason FROM failures ORDER BY item",
];

const EXTRACTED: [&str; 3] = [
    "SELECT image_id, mask_index, rle, area, predicted_iou, stability_score, mask_output FROM masks
     ORDER BY image_id, mask_index",
    "SELECT image_id, masks FROM extractions ORDER BY image_id",
    "SELECT extractor_id, model_type, options FROM extractors",
];

/// Runs `command` and kills it, 20 times over, at moments of a run's length; the store must be healthy
/// each time, and in the end, after a run that is left alone, answer `queries` as a store does in which
/// nothing was killed.
fn kill_9_at_random_moments(
    [program, undisturbed]: [&Program; 2],
    command: &[&str],
    code: i32,
    queries: &[&str],
) {
    const KILLS: u32 = 20;
    let started = Instant::now();
    undisturbed.expect(code, command);
    let whole = started.elapsed();

    let mut random = u64::from(std::process::id()) | 1;
    let (mut died, mut checked) = (0, 0);
    for _ in 0..KILLS {
        // xorshift64: moments differ from run to run, on purpose.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let moment = whole.mul_f64((random % 1000) as f64 / 1000.0);
        let mut child = program
            .command(command)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(moment.max(Duration::from_millis(1)));
        let _ = child.kill();
        died += u32::from(child.wait().unwrap().code().is_none());
        let check = program.run(&["check"]);
        let stderr = String::from_utf8_lossy(&check.stderr);
        let no_store_yet = checked == 0 && stderr.contains("no store at");
        assert!(no_store_yet || check.status.code() == Some(0), "{stderr}");
        checked += u32::from(check.status.success());
    }
    assert!(died > 0, "no run was killed midway");
    assert!(checked > 0, "no run left a store");

    program.expect(code, command);
    assert!(program.expect(0, &["check"]).starts_with("healthy"));
    for query in queries {
        let expected = undisturbed.expect(0, &["sql", query]);
        assert!(expected.lines().count() > 1, "{query}");
        assert_eq!(program.expect(0, &["sql", query]), expected);
    }
}

#[test]
fn kill_9_while_ingesting_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let photos = photos(dir.path(), 400);
    std::fs::write(photos.join("cat/bad.jpg"), "x").unwrap();
    let photos = photos.to_str().unwrap();
    let ingest = ["ingest", "images", photos, "--commit-rows", "20"];
    let undisturbed = Program {
        store: dir.path().join("undisturbed"),
    };
    kill_9_at_random_moments([&program(dir.path()), &undisturbed], &ingest, 2, &INGESTED);
}

#[test]
fn kill_9_while_extracting_loses_and_doubles_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let photos = photos(dir.path(), 60);
    let undisturbed = Program {
        store: dir.path().join("undisturbed"),
    };
    let program = program(dir.path());
    for program in [&program, &undisturbed] {
        program.expect(0, &["init", "--embedding-dim", "128"]);
        program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    }
    let checkpoint = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/extract/sharp.safetensors"
    );
    let mut extract = vec!["extract", "--checkpoint", checkpoint];
    extract.extend(["--points-per-side", "2", "--commit-masks", "12"]);
    kill_9_at_random_moments([&program, &undisturbed], &extract, 0, &EXTRACTED);
    assert_eq!(
        program.expect(0, &["sql", "SELECT count(*) AS n FROM masks"]),
        "n\n240\n"
    );
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
