//! `collect web`.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::offering::{Item, Kind, Offering, pattern, png};
use super::{lines, program, rows};
use crate::harness::Program;
use crate::support::web_server::{Answer, WebServer};

/// Two classes; the second has a word that is not its label.
const CLASSES: &str = "\
[[class]]
name = \"cat\"
[[class]]
name = \"tvmonitor\"
search = [\"television\", \"monitor\"]
";

fn items(kinds: &[(Kind, usize)], numbers: &mut u32) -> Vec<Item> {
    let kinds = kinds.iter().flat_map(|(kind, count)| vec![*kind; *count]);
    kinds
        .map(|kind| {
            *numbers += 1;
            Item {
                number: *numbers,
                kind,
            }
        })
        .collect()
}

/// Runs `collect web` against a stand-in.
fn collect(
    program: &Program,
    server: &WebServer,
    dir: &Path,
    more: &[&str],
) -> (i32, Value, String) {
    let classes = dir.join("classes.toml");
    std::fs::write(&classes, CLASSES).unwrap();
    let out = dir.join("web");
    let commons = format!("{}/w/api.php", server.base);
    let mut args = vec![
        "collect",
        "web",
        "--json",
        "--classes",
        classes.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
        "--openverse-url",
        &server.base,
        "--commons-url",
        &commons,
        "--allow-private",
        server.place(),
        "--contact",
        "ann@example.org",
        "--pause",
        "0",
    ];
    args.extend(more);
    let output = program
        .command(&args)
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let summary = serde_json::from_str(&text).unwrap_or_else(|err| panic!("{err}: {text}{stderr}"));
    (output.status.code().unwrap(), summary, stderr)
}

/// 1,000 images: 880 are good, of the others some fail and some are not wanted.
fn thousand() -> Offering {
    let mut numbers = 0;
    let cats = items(
        &[
            (Kind::Good, 190),
            (Kind::SameBytes(1), 6),
            (Kind::SamePicture(2), 10),
            (Kind::Tiny, 8),
            (Kind::Broken, 8),
            (Kind::Html, 6),
            (Kind::Missing, 8),
            (Kind::BusyOnce, 2),
            (Kind::Redirected, 2),
        ],
        &mut numbers,
    );
    let wiki_cats = items(
        &[
            (Kind::Good, 250),
            (Kind::OtherLicence, 20),
            (Kind::Drawing, 15),
            (Kind::ToPrivateNetwork, 10),
            (Kind::ToLoop, 2),
            (Kind::Forbidden, 3),
        ],
        &mut numbers,
    );
    let screens = items(
        &[
            (Kind::Good, 216),
            (Kind::Endless, 2),
            (Kind::Slow, 1),
            (Kind::CutOff, 1),
            (Kind::SamePicture(300), 20),
        ],
        &mut numbers,
    );
    let monitors = items(&[(Kind::Good, 220)], &mut numbers);
    Offering {
        openverse: HashMap::from([("cat".to_owned(), cats), ("television".to_owned(), screens)]),
        commons: HashMap::from([
            ("cat".to_owned(), wiki_cats),
            ("monitor".to_owned(), monitors),
        ]),
        pause: Duration::ZERO,
    }
}

#[test]
fn a_thousand_offered_images_are_taken_refused_or_failed_each_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let server = thousand().serve();
    let more = [
        "--per-class",
        "600",
        "--timeout",
        "2",
        "--max-megabytes",
        "1",
        "--per-host",
        "8",
    ];
    let (code, summary, _) = collect(&program, &server, dir.path(), &more);
    assert_eq!(code, 2);
    let classes = &summary["classes"];
    let count = |class: usize, key: &str| classes[class][key].as_u64().unwrap();
    // Of what Openverse has, a search shows 240.
    assert_eq!(count(0, "offered"), 240 + 300);
    assert_eq!(count(1, "offered"), 240 + 220);
    assert_eq!((count(0, "added"), count(1, "added")), (444, 436));
    assert_eq!((count(0, "refused"), count(0, "failed")), (59, 37));
    assert_eq!((count(1, "refused"), count(1, "failed")), (20, 4));
    assert_eq!(
        summary["reasons"],
        json!({
            "the same bytes are there": 6, "the same picture is there": 30, "too small": 8,
            "licence": 20, "no photo": 15,
        })
    );
    assert_eq!(summary["images_added"], 880);

    // What is in the store says where it comes from.
    let found = rows(
        &program,
        "SELECT l.label, i.source, i.dataset, count(*) AS n FROM images i JOIN labels l ON i.image_id = l.image_id \
         GROUP BY 1, 2, 3 ORDER BY 1",
    );
    assert_eq!(
        found,
        [
            json!({"label": "cat", "source": "web", "dataset": "web", "n": 444}),
            json!({"label": "tvmonitor", "source": "web", "dataset": "web", "n": 436}),
        ]
    );
    let one = rows(
        &program,
        "SELECT file_name, attributes FROM images WHERE attributes LIKE '%\"query\":\"monitor\"%' ORDER BY 1 LIMIT 1",
    );
    let attributes: Value = serde_json::from_str(one[0]["attributes"].as_str().unwrap()).unwrap();
    for (key, value) in [
        ("source", "commons"),
        ("author", "Bob"),
        ("licence", "CC BY 2.0"),
        ("class", "tvmonitor"),
    ] {
        assert_eq!(attributes[key], value, "{attributes}");
    }
    assert!(attributes["collected_at"].as_str().unwrap().contains('T'));

    let reasons = rows(
        &program,
        "SELECT reason, count(*) AS n FROM failures WHERE stage = 'collect' GROUP BY reason ORDER BY reason",
    );
    let reasons: BTreeMap<&str, u64> = reasons
        .iter()
        .map(|row| (row["reason"].as_str().unwrap(), row["n"].as_u64().unwrap()))
        .collect();
    for (part, n) in [
        ("answers 404 Not Found", 8),
        ("answers with text/html; charset=utf-8, not an image", 6),
        ("address of a private network", 10),
        ("more than 5 redirects", 2),
        ("robots.txt forbids it", 3),
        ("over 1000000 bytes", 2),
        ("no whole answer in 2 s", 1),
        ("the connection broke", 1),
    ] {
        let of_part = reasons.iter().filter(|(reason, _)| reason.contains(part));
        assert_eq!(
            of_part.map(|(_, n)| n).sum::<u64>(),
            n,
            "{part}: {reasons:?}"
        );
    }
    assert_eq!(reasons.values().sum::<u64>(), 41, "{reasons:?}");

    let out = dir.path().join("web");
    let credits = std::fs::read_to_string(out.join("ATTRIBUTION.csv")).unwrap();
    assert_eq!(credits.lines().count(), 881);
    assert!(
        credits.contains("\"Ann, \"\"the\"\" photographer\""),
        "{}",
        &credits[..400]
    );
    assert_eq!(lines(&out.join("manifest.jsonl")).len(), 880);
    assert_eq!(lines(&out.join("refused.jsonl")).len(), 59 + 37 + 20 + 4);

    // Again: nothing is downloaded twice, and what may work later is tried again.
    let before = server.paths("/img/");
    assert!(before.values().sum::<usize>() < 1000);
    let (code, summary, _) = collect(&program, &server, dir.path(), &more);
    assert_eq!(code, 2, "what is slow and what breaks off fails again");
    assert_eq!(
        (&summary["downloaded"], &summary["images_added"]),
        (&json!(0), &json!(0))
    );
    for (path, times) in server.paths("/img/") {
        let is_tried_again = path.contains("Slow") || path.contains("CutOff");
        let extra = times - before[&path];
        assert_eq!(extra > 0, is_tried_again, "{path}: {extra} more");
    }
}

/// A few images with most faults, for runs that are compared.
fn some() -> Offering {
    let mut numbers = 2000;
    let cats = items(
        &[
            (Kind::Good, 6),
            (Kind::SamePicture(2001), 2),
            (Kind::Broken, 1),
            (Kind::Good, 8),
            (Kind::SameBytes(2003), 1),
            (Kind::Missing, 1),
            (Kind::Good, 14),
        ],
        &mut numbers,
    );
    let wiki = items(
        &[(Kind::Good, 24), (Kind::OtherLicence, 4), (Kind::Good, 9)],
        &mut numbers,
    );
    Offering {
        openverse: HashMap::from([("cat".to_owned(), cats)]),
        commons: HashMap::from([
            ("cat".to_owned(), wiki.clone()),
            ("monitor".to_owned(), wiki),
        ]),
        pause: Duration::from_millis(3),
    }
}

/// What a directory and a store hold, without ports and times.
fn kept(program: &Program, dir: &Path, server: &WebServer) -> (Vec<Value>, Vec<Value>) {
    let manifest = lines(&dir.join("web/manifest.jsonl"));
    let files = manifest.into_iter().map(|mut line| {
        assert!(
            dir.join("web")
                .join(line["file"].as_str().unwrap())
                .is_file()
        );
        let line = line.as_object_mut().unwrap();
        line.remove("collected_at");
        line.remove("file");
        let url = line["url"].as_str().unwrap().replace(&server.base, "");
        line.insert("url".to_owned(), json!(url));
        Value::Object(line.clone())
    });
    let labels = rows(
        program,
        "SELECT l.image_id, l.label FROM labels l JOIN images i ON i.image_id = l.image_id ORDER BY 1, 2",
    );
    (files.collect(), labels)
}

#[test]
fn a_parallel_run_stores_what_a_serial_one_stores() {
    let mut found = Vec::new();
    for parallel in ["1", "7"] {
        let dir = tempfile::tempdir().unwrap();
        let program = program(dir.path());
        let server = some().serve();
        let more = [
            "--per-class",
            "30",
            "--parallel",
            parallel,
            "--per-host",
            parallel,
        ];
        let (code, summary, _) = collect(&program, &server, dir.path(), &more);
        assert_eq!(code, 2);
        assert_eq!(summary["classes"][0]["images"], 30);
        // The second class offers what the first has taken; one image is nobody's twice.
        assert!(summary["classes"][1]["images"].as_u64().unwrap() < 30);
        found.push(kept(&program, dir.path(), &server));
    }
    assert_eq!(found[0], found[1]);
}

#[test]
fn a_run_that_is_killed_goes_on_and_downloads_nothing_twice() {
    let calm = tempfile::tempdir().unwrap();
    let (calm_program, calm_server) = (program(calm.path()), some().serve());
    let more = ["--per-class", "30", "--parallel", "2"];
    collect(&calm_program, &calm_server, calm.path(), &more);

    let dir = tempfile::tempdir().unwrap();
    let (program, server) = (program(dir.path()), some().serve());
    let mut random = fastrand::Rng::with_seed(5);
    let mut kills = 0;
    while kills < 6 {
        let classes = dir.path().join("classes.toml");
        std::fs::write(&classes, CLASSES).unwrap();
        let mut child = program
            .command(&["collect", "web", "--quiet", "--per-class", "30"])
            .args(["--parallel", "2", "--pause", "0"])
            .arg("--classes")
            .arg(&classes)
            .arg("-o")
            .arg(dir.path().join("web"))
            .args(["--openverse-url", &server.base])
            .args(["--commons-url", &format!("{}/w/api.php", server.base)])
            .args(["--allow-private", server.place()])
            .env("NO_PROXY", "*")
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random.u64(300..2500)));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        kills += 1;
    }
    let (code, ..) = collect(&program, &server, dir.path(), &more);
    assert!(code == 0 || code == 2);
    assert_eq!(
        kept(&program, dir.path(), &server),
        kept(&calm_program, calm.path(), &calm_server)
    );
    // Two downloads are under way at a time, and a kill may lose these.
    let twice: usize = server.paths("/img/").values().map(|times| times - 1).sum();
    assert!(twice <= 2 * kills, "{twice} downloads were made again");
    program.expect(0, &["check"]);
}

#[test]
fn servers_are_left_alone_as_long_as_they_ask() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let mut numbers = 5000;
    let cats = items(&[(Kind::BusyOnce, 1)], &mut numbers);
    let path = cats[0].path();
    let server = Offering {
        openverse: HashMap::from([("cat".to_owned(), cats)]),
        commons: HashMap::new(),
        pause: Duration::ZERO,
    }
    .serve();
    let (code, summary, stderr) = collect(&program, &server, dir.path(), &["--per-class", "1"]);
    assert_eq!((code, &summary["images_added"]), (0, &json!(1)), "{stderr}");
    let asked = server.asked.lock().unwrap();
    let times: Vec<Instant> = asked
        .iter()
        .filter(|(it, _)| *it == path)
        .map(|(_, at)| *at)
        .collect();
    assert_eq!(times.len(), 2);
    assert!(times[1] - times[0] >= Duration::from_millis(990));
}

#[test]
fn a_source_that_is_down_is_a_row_and_the_other_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let mut numbers = 6000;
    let wiki = items(&[(Kind::Good, 4)], &mut numbers);
    let server = Offering {
        openverse: HashMap::new(),
        commons: HashMap::from([("cat".to_owned(), wiki)]),
        pause: Duration::ZERO,
    }
    .serve();
    let down = WebServer::start(|asked| match asked.path.as_str() {
        "/v1/images/" => Answer::wait(503, 100_000),
        _ => Answer::status(404),
    });
    let classes = dir.path().join("one.toml");
    std::fs::write(&classes, "[[class]]\nname = \"cat\"\n").unwrap();
    let commons = format!("{}/w/api.php", server.base);
    let output = program
        .command(&["collect", "web", "--per-class", "4", "--classes"])
        .arg(&classes)
        .arg("-o")
        .arg(dir.path().join("web"))
        .args(["--openverse-url", &down.base, "--commons-url", &commons])
        .args([
            "--allow-private",
            server.place(),
            "--allow-private",
            down.place(),
        ])
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("Wikimedia asks for a way to reach you"),
        "{stderr}"
    );
    assert!(stderr.contains("cat: 4 of 4 images"), "{stderr}");
    assert_eq!(down.times("/v1/images/"), 1);
    let failed = rows(&program, "SELECT item, reason FROM failures");
    assert_eq!(failed[0]["item"], "openverse: 'cat', page 1");
    let reason = failed[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("answers 503 Service Unavailable, and asks to wait for 100000 s"),
        "{reason}"
    );
}

#[test]
fn a_dry_run_says_what_is_offered_and_downloads_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let server = some().serve();
    let (code, offers, _) = collect(&program, &server, dir.path(), &["--dry-run"]);
    assert_eq!(code, 0);
    let counts: Vec<(&str, &str, u64)> = offers
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let text = |key: &str| it[key].as_str().unwrap();
            (text("word"), text("source"), it["images"].as_u64().unwrap())
        })
        .collect();
    assert_eq!(
        counts,
        [
            ("cat", "openverse", 33),
            ("cat", "commons", 37),
            ("television", "openverse", 0),
            ("television", "commons", 0),
            ("monitor", "openverse", 0),
            ("monitor", "commons", 37),
        ]
    );
    assert!(server.paths("/img/").is_empty());
    assert!(!dir.path().join("web").exists() && !program.store.exists());
}

#[test]
fn a_list_of_urls_is_a_source() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let server = WebServer::start(|asked| {
        assert!(asked.agent.starts_with("grainstore/"), "{}", asked.agent);
        match asked.path.strip_prefix("/p/") {
            Some(number) => Answer::of(
                "application/octet-stream",
                png(&pattern(number.parse().unwrap())),
            ),
            None => Answer::status(404),
        }
    });
    let (classes, list) = (dir.path().join("c.toml"), dir.path().join("list.csv"));
    std::fs::write(&classes, CLASSES).unwrap();
    let base = &server.base;
    std::fs::write(
        &list,
        format!(
            "url,label,licence,author\n{base}/p/7001,cat,CC0,Ann\n{base}/p/7002,tvmonitor,by,\n\
             {base}/p/7003,cat,,\n{base}/p/7004,dog,by,\nftp://x/y.jpg,cat,by,\n"
        ),
    )
    .unwrap();
    // An image of the store is not taken again.
    let there = dir.path().join("there");
    std::fs::create_dir_all(&there).unwrap();
    pattern(7002).save(there.join("x.png")).unwrap();
    program.expect(
        0,
        &["ingest", "images", there.to_str().unwrap(), "--no-labels"],
    );
    let output = program
        .command(&["collect", "web", "--classes"])
        .arg(&classes)
        .arg("--urls")
        .arg(&list)
        .arg("-o")
        .arg(dir.path().join("web"))
        .args(["--allow-private", server.place()])
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    for part in [
        "rows with labels of no class are left out: 'dog' (1)",
        "cat: 1 of 45 images (1 new, 1 refused, 1 failed)",
        "tvmonitor: 0 of 45 images (0 new, 1 refused, 0 failed)",
        "no licence is given: 1, the same bytes are there: 1",
        "'ftp' is not a scheme that is fetched",
    ] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert_eq!(
        rows(
            &program,
            "SELECT count(*) AS n FROM images WHERE source = 'web'"
        )[0]["n"],
        1
    );
    // Somebody else's run.
    let lock = std::fs::File::open(dir.path().join("web/.collect.lock")).unwrap();
    lock.lock().unwrap();
    let output = program
        .command(&["collect", "web", "--classes"])
        .arg(&classes)
        .arg("--urls")
        .arg(&list)
        .arg("-o")
        .arg(dir.path().join("web"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains("another run of collect writes to"),
        "{stderr}"
    );
}
