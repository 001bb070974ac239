//! `collect synthetic`: a stand-in of AUTOMATIC1111's server, programs, drawn scenes, manifests.

use std::collections::HashMap;
use std::path::Path;
use std::process::Output;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grainstore::scenes::{Kind, SceneGenerator};
use serde_json::{Value, json};

use super::offering::{pattern, png};
use super::{lines, program, rows};
use crate::harness::Program;
use crate::support::web_server::{Answer, Asked, WebServer};

const CLASSES: &str = "\
[[class]]
name = \"pet\"
labels = [\"cat\", \"dog\"]
[[class]]
name = \"person\"
";

fn run(program: &Program, dir: &Path, more: &[&str]) -> Output {
    let classes = dir.join("classes.toml");
    std::fs::write(&classes, CLASSES).unwrap();
    let mut command = program.command(&["collect", "synthetic", "--per-class", "4"]);
    command.arg("--classes").arg(&classes);
    command.arg("-o").arg(dir.join("made"));
    command.args(more).env("NO_PROXY", "*").output().unwrap()
}

fn expect(code: i32, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    stderr
}

/// A server that draws a pattern for each seed. What it makes of a prompt may be changed.
fn server(change: impl Fn(&Value, usize) -> Option<Answer> + Send + Sync + 'static) -> WebServer {
    let times: Mutex<HashMap<u64, usize>> = Mutex::default();
    WebServer::start(move |asked: &Asked| match asked.path.as_str() {
        "/sdapi/v1/samplers" => {
            Answer::json(&json!([{"name": "Euler a", "aliases": ["k_euler_a"]}]))
        }
        "/sdapi/v1/txt2img" => {
            let request: Value = serde_json::from_slice(&asked.body).unwrap();
            let seed = request["seed"].as_u64().unwrap();
            let time = {
                let mut times = times.lock().unwrap();
                let time = times.entry(seed).or_default();
                *time += 1;
                *time
            };
            change(&request, time).unwrap_or_else(|| {
                let image = STANDARD.encode(png(&pattern(seed as u32)));
                let info = json!({"prompt": request["prompt"], "seed": seed}).to_string();
                Answer::json(&json!({"images": [image], "parameters": request, "info": info}))
            })
        }
        _ => Answer::status(404),
    })
}

#[test]
fn a_server_makes_images_of_prompts_and_the_store_keeps_them() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let server = server(|request, time| {
        assert_eq!(
            (&request["width"], &request["steps"]),
            (&json!(64), &json!(3))
        );
        let is_dog = request["prompt"] == "a photo of a dog";
        match time {
            1 if is_dog => Some(Answer::status(500)), // out of memory, for once
            _ => None,
        }
    });
    let options = ["--url", &server.base, "--steps", "3", "--width", "64"];
    let stderr = expect(0, &run(&program, dir.path(), &options));
    assert!(
        stderr.contains("made 8 images") && stderr.contains("added 8 images to the store"),
        "{stderr}"
    );
    let found = rows(
        &program,
        "SELECT l.label, i.source, count(*) AS n, \
                count(*) FILTER (WHERE attributes LIKE concat('%\"prompt\":\"a photo of a ', l.label, '\"%')) AS right \
         FROM images i JOIN labels l ON i.image_id = l.image_id GROUP BY 1, 2 ORDER BY 1",
    );
    let row =
        |label: &str, n: u32| json!({"label": label, "source": "synthetic", "n": n, "right": n});
    assert_eq!(found, [row("cat", 2), row("dog", 2), row("person", 4)]);
    let manifest = lines(&dir.path().join("made/manifest.jsonl"));
    assert_eq!(manifest.len(), 8);
    for line in &manifest {
        assert_eq!(
            (&line["generator"], &line["steps"]),
            (&json!("automatic1111"), &json!(3))
        );
        assert!(
            dir.path()
                .join("made")
                .join(line["file"].as_str().unwrap())
                .is_file()
        );
    }

    // More images: those that are there stay.
    let before = server.times("/sdapi/v1/txt2img");
    let more = [&options[..], &["--per-class", "6"]].concat();
    let output = run_with_count(&program, dir.path(), &more);
    let stderr = expect(0, &output);
    assert!(
        stderr.contains("made 4 images") && stderr.contains("8 were there"),
        "{stderr}"
    );
    assert_eq!(server.times("/sdapi/v1/txt2img") - before, 4 + 1);
    let files = rows(&program, "SELECT count(*) AS n FROM images");
    assert_eq!(files[0]["n"], 12);

    // Other options are another set of images.
    let other = [&options[..], &["--template", "a drawing of a {}"]].concat();
    let stderr = expect(1, &run(&program, dir.path(), &other));
    assert!(
        stderr.contains("line 1 lists 'cat/") && stderr.contains("use the options of before"),
        "{stderr}"
    );
}

/// As [`run`], with another number of images.
fn run_with_count(program: &Program, dir: &Path, more: &[&str]) -> Output {
    let mut command = program.command(&["collect", "synthetic"]);
    command.arg("--classes").arg(dir.join("classes.toml"));
    command.arg("-o").arg(dir.join("made"));
    command.args(more).env("NO_PROXY", "*").output().unwrap()
}

#[test]
fn what_a_server_cannot_make_is_a_row_and_is_made_later() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let broken = server(|request, _| match request["prompt"].as_str().unwrap() {
        "a photo of a cat" => Some(Answer::Whole(
            422,
            vec![("Content-Type".to_owned(), "application/json".to_owned())],
            b"{\"detail\": \"no such model\"}".to_vec(),
        )),
        "a photo of a dog" => Some(Answer::json(&json!({"images": ["????"]}))),
        _ => Some(Answer::json(
            &json!({"images": [STANDARD.encode(b"no image")]}),
        )),
    });
    let stderr = expect(2, &run(&program, dir.path(), &["--url", &broken.base]));
    assert!(
        stderr.contains("8 images failed; 'grainstore query failures'"),
        "{stderr}"
    );
    let reasons = rows(&program, "SELECT reason FROM failures ORDER BY reason");
    let reasons: Vec<&str> = reasons
        .iter()
        .map(|it| it["reason"].as_str().unwrap())
        .collect();
    for part in [
        "answers 422: no such model",
        "its image is not base64",
        "not an image",
    ] {
        assert!(
            reasons.iter().any(|it| it.contains(part)),
            "{part}: {reasons:?}"
        );
    }
    let good = server(|_, _| None);
    let stderr = expect(0, &run(&program, dir.path(), &["--url", &good.base]));
    assert!(stderr.contains("made 8 images"), "{stderr}");

    let silent = format!("http://{}", unused_port());
    let stderr = expect(1, &run(&program, dir.path(), &["--url", &silent]));
    assert!(stderr.contains("start it with --api"), "{stderr}");
    let other = WebServer::start(|_| Answer::status(404));
    let stderr = expect(1, &run(&program, dir.path(), &["--url", &other.base]));
    assert!(
        stderr.contains("it answers 404 to /sdapi/v1/samplers"),
        "{stderr}"
    );
}

fn unused_port() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

#[test]
fn a_parallel_run_makes_what_a_serial_one_makes() {
    let mut found = Vec::new();
    for parallel in ["1", "5"] {
        let dir = tempfile::tempdir().unwrap();
        let program = program(dir.path());
        let server = server(|_, _| None);
        let options = ["--url", &server.base, "--parallel", parallel];
        expect(0, &run(&program, dir.path(), &options));
        let images = "SELECT i.image_id, i.file_name, l.label, i.attributes FROM images i \
            JOIN labels l ON i.image_id = l.image_id ORDER BY 1";
        found.push((
            lines(&dir.path().join("made/manifest.jsonl")),
            rows(&program, images),
        ));
    }
    assert_eq!(found[0], found[1]);
}

#[test]
fn any_program_makes_images_and_its_failures_are_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    // Each seed its own picture; a prompt is one argument, whatever it holds.
    let script = dir.path().join("make.py");
    std::fs::write(
        &script,
        "import struct, sys, zlib\n\
         prompt, seed, out = sys.argv[1:]\n\
         if 'dog' in prompt: sys.exit(f'no dogs: {prompt}')\n\
         row = b'\\0' + struct.pack('>I', int(seed)) * 3\n\
         def chunk(kind, data):\n    \
             return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))\n\
         png = b'\\x89PNG\\r\\n\\x1a\\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 4, 4, 8, 2, 0, 0, 0))\n\
         png += chunk(b'IDAT', zlib.compress(row * 4)) + chunk(b'IEND', b'')\n\
         open(out, 'wb').write(png)\n",
    )
    .unwrap();
    let line = format!("python3 {} {{prompt}} {{seed}} {{out}}", script.display());
    let template = "a {} that's \"big\" {seed}; $(touch x)";
    let stderr = expect(
        2,
        &run(
            &program,
            dir.path(),
            &["--command", &line, "--template", template],
        ),
    );
    assert!(stderr.contains("made 6 images"), "{stderr}");
    let reason = &rows(&program, "SELECT reason FROM failures")[0]["reason"];
    let reason = reason.as_str().unwrap();
    assert!(
        reason.contains("no dogs: a dog that's \"big\" {seed}; $(touch x)"),
        "{reason}"
    );
    for (line, part) in [
        ("true {prompt} {out}", "ended well but wrote no image"),
        ("no-such-program {prompt} {out}", "cannot be run"),
        ("sleep 9 {prompt} {out}", "failed"),
    ] {
        let other = tempfile::tempdir().unwrap();
        let output = run(
            &self::program(other.path()),
            other.path(),
            &["--command", line],
        );
        let stderr = expect(2, &output);
        assert!(stderr.contains(part), "{line}: {stderr}");
    }
    let other = tempfile::tempdir().unwrap();
    let slow = [
        "--command",
        "sh -c 'sleep 9' {prompt} {out}",
        "--timeout",
        "0.2",
        "--parallel",
        "8",
    ];
    let stderr = expect(2, &run(&self::program(other.path()), other.path(), &slow));
    assert!(stderr.contains("took longer than 0.2 s"), "{stderr}");
    let stderr = expect(1, &run(&program, dir.path(), &["--command", "x {out}"]));
    assert!(stderr.contains("has no {prompt}"), "{stderr}");
}

#[test]
fn a_manifest_alone_is_for_any_tool_and_is_ingested_with_what_it_says() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let output = run(&program, dir.path(), &["--manifest-only"]);
    expect(0, &output);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.contains("8 prompts in '") && said.contains("--manifest"),
        "{said}"
    );
    assert!(!program.store.exists(), "a manifest needs no store");
    let made = dir.path().join("made");
    let manifest = lines(&made.join("manifest.jsonl"));
    assert_eq!(manifest[0]["generator"], Value::Null);
    for line in &manifest {
        let file = made.join(line["file"].as_str().unwrap());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let seed = line["seed"].as_u64().unwrap();
        pattern(seed as u32).save(file).unwrap();
    }
    let path = made.join("manifest.jsonl");
    let ingest = [
        "ingest",
        "images",
        made.to_str().unwrap(),
        "--manifest",
        path.to_str().unwrap(),
        "--source",
        "synthetic",
    ];
    program.expect(0, &ingest);
    let found = rows(
        &program,
        "SELECT l.label, l.origin, count(*) AS n FROM labels l GROUP BY 1, 2 ORDER BY 1",
    );
    let row = |label: &str, n: u32| json!({"label": label, "origin": "manifest", "n": n});
    assert_eq!(found, [row("cat", 2), row("dog", 2), row("person", 4)]);

    // A file that is gone is a row; the others are there.
    let gone = made.join(manifest[3]["file"].as_str().unwrap());
    std::fs::remove_file(&gone).unwrap();
    program.expect(2, &ingest);
    let failed = rows(&program, "SELECT item FROM failures");
    assert_eq!(failed[0]["item"], manifest[3]["file"]);
}

#[test]
fn scenes_are_drawn_for_their_kinds_only() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let stderr = expect(1, &run(&program, dir.path(), &["--scenes"]));
    assert!(
        stderr.contains("it draws ball") && stderr.contains("not 'cat'"),
        "{stderr}"
    );
    let classes = dir.path().join("kinds.csv");
    std::fs::write(
        &classes,
        "class,label\nround,ball\nround,donut\ntent,tent\n",
    )
    .unwrap();
    let args = [
        "collect",
        "synthetic",
        "--scenes",
        "--per-class",
        "3",
        "--classes",
        classes.to_str().unwrap(),
        "-o",
        dir.path().join("scenes").to_str().unwrap(),
    ]
    .map(str::to_owned);
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    program.expect(0, &args);
    let found = rows(
        &program,
        "SELECT label, count(*) AS n FROM labels GROUP BY 1 ORDER BY 1",
    );
    let row = |label: &str, n: u32| json!({"label": label, "n": n});
    assert_eq!(found, [row("ball", 2), row("donut", 1), row("tent", 3)]);
}

/// A server that draws the scene which `--scenes` draws of the same seed.
fn scene_server() -> WebServer {
    server(|request, _| {
        let kind = request["prompt"].as_str().unwrap().rsplit(' ').next()?;
        let kind = Kind::ALL.iter().find(|it| it.name() == kind)?;
        let mut generator = SceneGenerator::new(request["seed"].as_u64()?);
        let size = generator.size(160..=224);
        let photo = generator.scene(size, &[*kind]).photo;
        Some(Answer::json(
            &json!({"images": [STANDARD.encode(png(&photo))], "info": "{}"}),
        ))
    })
}

#[test]
fn the_way_from_words_to_an_evaluation_is_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let server = scene_server();
    let output = std::process::Command::new("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/11_collect.sh"))
        .env("DIR", dir.path())
        .env("GRAINSTORE", env!("CARGO_BIN_EXE_grainstore"))
        .env("GENERATOR", format!("--url {}", server.base))
        .envs([("PER_CLASS", "2"), ("TEST", "2"), ("EPOCHS", "4")])
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("miou") && said.contains("starfish"), "{said}");
    let program = program(dir.path());
    let trained = rows(
        &program,
        "SELECT images_read FROM heads WHERE head = 'fine'",
    );
    assert_eq!(trained[0]["images_read"], 12);

    // The server's images are those that are drawn without one.
    let other = tempfile::tempdir().unwrap();
    let drawn = self::program(other.path());
    let classes = dir.path().join("kinds.csv");
    let args = [
        "collect",
        "synthetic",
        "--scenes",
        "--per-class",
        "2",
        "--classes",
    ];
    let output = drawn
        .command(&args)
        .arg(&classes)
        .arg("-o")
        .arg(other.path().join("made"))
        .output()
        .unwrap();
    expect(0, &output);
    let ids = "SELECT image_id FROM images WHERE source = 'synthetic' ORDER BY 1";
    assert_eq!(rows(&program, ids), rows(&drawn, ids));
}

#[test]
fn a_run_that_is_killed_goes_on_and_makes_nothing_twice() {
    let slow = || {
        server(|_, _| {
            std::thread::sleep(std::time::Duration::from_millis(60));
            None
        })
    };
    let ids = "SELECT i.image_id, l.label FROM images i JOIN labels l ON i.image_id = l.image_id ORDER BY 1";
    let command = |dir: &Path, program: &Program, server: &WebServer| {
        let classes = dir.join("classes.toml");
        std::fs::write(&classes, CLASSES).unwrap();
        let mut command = program.command(&["collect", "synthetic", "--quiet", "--parallel", "2"]);
        command.arg("--classes").arg(&classes);
        command.arg("-o").arg(dir.join("made"));
        command.args(["--per-class", "30", "--url", &server.base]);
        command.env("NO_PROXY", "*");
        command
    };
    let calm = tempfile::tempdir().unwrap();
    let (calm_program, calm_server) = (program(calm.path()), slow());
    let output = command(calm.path(), &calm_program, &calm_server)
        .output()
        .unwrap();
    expect(0, &output);

    let dir = tempfile::tempdir().unwrap();
    let (program, server) = (program(dir.path()), slow());
    let mut random = fastrand::Rng::with_seed(9);
    let kills = 4;
    for _ in 0..kills {
        let mut child = command(dir.path(), &program, &server).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(random.u64(100..900)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    expect(0, &command(dir.path(), &program, &server).output().unwrap());
    assert_eq!(rows(&program, ids), rows(&calm_program, ids));
    assert_eq!(
        lines(&dir.path().join("made/manifest.jsonl")),
        lines(&calm.path().join("made/manifest.jsonl"))
    );
    // Two images are in the making at a time, and a kill may lose these.
    let made = server.times("/sdapi/v1/txt2img");
    assert!(
        (60..=60 + 2 * kills).contains(&made),
        "{made} images were made"
    );
    program.expect(0, &["check"]);
}
