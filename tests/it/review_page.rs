//! The review page: who gets in, what is saved, what a kill leaves, and a person's session in a real browser.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grainstore::geometry::{Rle, Size};
use grainstore::ids::{ExtractorId, ImageId};
use grainstore::schema::{EmbeddingType, Table};
use grainstore::store::rows::{ExtractionRow, ExtractorRow, MaskRow, Row, masks_to_batch};
use grainstore::store::{Changes, Store};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use crate::harness::Program;
use crate::made_store::extractor_row;
use crate::support::instant;

mod adding;
mod browser;

/// Classes of the photos; masks 0 and 1 of each photo show its class.
const LABELS: [&str; 3] = ["cat", "cow", "dog"];
const PHOTOS: u32 = 30;
const MASKS: i32 = 8;
const SIZE: Size = Size {
    height: 48,
    width: 64,
};

/// A store with photos, masks, and a head `h` over classes `three` that has annotated them.
struct Made {
    _dir: tempfile::TempDir,
    program: Program,
    extractor: ExtractorId,
}

fn embedding(class: Option<usize>, random: &mut fastrand::Rng) -> Vec<f32> {
    (0..1024)
        .map(|at| {
            let signal = class.is_some_and(|class| at / 100 == class);
            random.f32() * 0.6 - 0.3 + f32::from(u8::from(signal))
        })
        .collect()
}

impl Made {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let photos = dir.path().join("photos");
        for n in 0..PHOTOS {
            let class = n as usize % 3;
            let folder = photos.join(LABELS[class]);
            std::fs::create_dir_all(&folder).unwrap();
            let color = [[200, 60, 60], [60, 200, 60], [60, 60, 200]][class];
            let mut photo = RgbImage::from_pixel(SIZE.width, SIZE.height, Rgb([n as u8, 90, 90]));
            for (x, y, pixel) in photo.enumerate_pixels_mut() {
                if x < 32 && y < 24 {
                    *pixel = Rgb(color);
                }
            }
            photo.save(folder.join(format!("{n:02}.png"))).unwrap();
        }
        let program = Program {
            file: env!("CARGO_BIN_EXE_grainstore").into(),
            store: dir.path().join("store"),
        };
        program.expect(
            0,
            &[
                "ingest",
                "images",
                photos.to_str().unwrap(),
                "--dataset",
                "pets",
            ],
        );
        let extractor = ExtractorId::of_bytes(b"made");
        let made = Self {
            _dir: dir,
            program,
            extractor,
        };
        made.add_masks().await;
        made.program
            .expect(0, &["classes", "add", "three", "--from", "labels"]);
        made.program.expect(
            0,
            &[
                "train",
                "--name",
                "h",
                "--classes",
                "three",
                "--epochs",
                "12",
                "--loss",
                "mil",
            ],
        );
        made.program.expect(0, &["annotate", "--head", "h"]);
        made
    }

    fn store(&self) -> &str {
        self.program.store.to_str().unwrap()
    }

    async fn add_masks(&self) {
        let store = Store::open(self.store()).await.unwrap();
        let row = extractor_row(&self.extractor);
        let images = self.sql("SELECT image_id, file_name FROM images ORDER BY file_name");
        let mut random = fastrand::Rng::with_seed(1);
        let (mut rows, mut done) = (Vec::new(), Vec::new());
        for image in images.as_array().unwrap() {
            let name = image["file_name"].as_str().unwrap();
            let class = LABELS.iter().position(|label| name.starts_with(label));
            let image_id =
                ImageId::try_from(image["image_id"].as_str().unwrap().to_owned()).unwrap();
            done.push(ExtractionRow {
                extractor_id: self.extractor.clone(),
                image_id: image_id.clone(),
                masks: MASKS,
                seconds: 1.0,
                extracted_at: instant(0),
            });
            for mask_index in 0..MASKS {
                let shows = class.filter(|_| mask_index < 2);
                let (left, top) = (mask_index as u32 * 4, mask_index as u32 * 3);
                let inside =
                    |x: u32, y: u32| (left..left + 24).contains(&x) && (top..top + 20).contains(&y);
                let bits: Vec<u8> = (0..SIZE.height)
                    .flat_map(|y| (0..SIZE.width).map(move |x| u8::from(inside(x, y))))
                    .collect();
                rows.push(MaskRow {
                    extractor_id: self.extractor.clone(),
                    image_id: image_id.clone(),
                    mask_index,
                    rle: Rle::from_row_major(SIZE, &bits).unwrap(),
                    bbox: None,
                    predicted_iou: Some(0.9),
                    stability_score: Some(0.9),
                    point: None,
                    crop_box: [0.0, 0.0, 64.0, 48.0],
                    mask_output: Some(0),
                    embedding: Some(embedding(shows, &mut random)),
                    object_score: None,
                });
            }
        }
        let extractor = ExtractorRow::to_batch(&[row]).unwrap();
        let masks = masks_to_batch(&rows, EmbeddingType::default()).unwrap();
        let done = ExtractionRow::to_batch(&done).unwrap();
        store
            .commit("test", |_| {
                let (extractor, masks, done) = (extractor.clone(), masks.clone(), done.clone());
                async move {
                    let mut changes = Changes::new();
                    changes.append(Table::Extractors, extractor);
                    changes.append(Table::Masks, masks);
                    changes.append(Table::Extractions, done);
                    Ok(changes)
                }
            })
            .await
            .unwrap();
    }

    fn sql(&self, query: &str) -> Value {
        let text = self.program.expect(0, &["--quiet", "sql", query, "--json"]);
        serde_json::from_str(&text).unwrap()
    }

    /// The number that a query yields.
    fn count(&self, of: &str) -> u64 {
        self.sql(&format!("SELECT count(*) AS n FROM {of}"))[0]["n"]
            .as_u64()
            .unwrap()
    }

    /// A mask of a photo, as requests name it.
    fn mask(&self, file_name: &str, mask_index: i32) -> Value {
        let found = self.sql(&format!(
            "SELECT image_id FROM images WHERE file_name = '{file_name}'"
        ));
        json!({
            "extractor_id": self.extractor.as_str(),
            "image_id": found[0]["image_id"],
            "mask_index": mask_index,
        })
    }

    fn page(&self, args: &[&str]) -> Page {
        Page::open(&self.program, args)
    }
}

/// A page that is served.
struct Page {
    child: Child,
    /// `http://127.0.0.1:PORT`
    origin: String,
    token: String,
}

impl Drop for Page {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer of the server.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|err| {
            panic!("{err}: {}", String::from_utf8_lossy(&self.body));
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| {
            line.split_once(':')
                .is_some_and(|(key, _)| key.eq_ignore_ascii_case(name))
        });
        line.and_then(|line| Some(line.split_once(':')?.1.trim()))
    }
}

/// Sends a request with exactly these headers.
fn request(host: &str, method: &str, path: &str, headers: &[String], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(host).unwrap();
    let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    for header in headers {
        text.push_str(&format!("{header}\r\n"));
    }
    if !body.is_empty() {
        text.push_str(&format!(
            "Content-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        ));
    }
    stream.write_all(format!("{text}\r\n").as_bytes()).unwrap();
    // A server that refuses a body may close before it is sent whole.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let mut part = [0; 64 << 10];
    let (mut end, mut length) = (0, usize::MAX);
    // Not every server ends the connection when it is asked to.
    while answer.len() < length {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => break,
            Ok(read) => answer.extend(&part[..read]),
        }
        if end == 0
            && let Some(found) = answer.windows(4).position(|it| it == b"\r\n\r\n")
        {
            end = found;
            let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
            let told = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"));
            length = told.map_or(usize::MAX, |told| {
                end + 4 + told.trim().parse::<usize>().unwrap()
            });
        }
    }
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
    Answer {
        status: status.unwrap_or_else(|| panic!("no answer to {method} {path}")),
        head,
        body: answer.get(end + 4..).unwrap_or_default().to_vec(),
    }
}

impl Page {
    fn open(program: &Program, args: &[&str]) -> Self {
        let mut child = program
            .command(&[&["review"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        let (origin, token) = line.trim().split_once("/?token=").unwrap_or_else(|| {
            panic!("no address in '{line}'");
        });
        Self {
            child,
            origin: origin.to_owned(),
            token: token.to_owned(),
        }
    }

    fn host(&self) -> &str {
        self.origin.strip_prefix("http://").unwrap()
    }

    fn cookie(&self) -> String {
        let port = self.host().rsplit_once(':').unwrap().1;
        format!("Cookie: grainstore-{port}={}", self.token)
    }

    /// Sends a request with exactly these headers.
    fn raw(&self, method: &str, path: &str, headers: &[String], body: &[u8]) -> Answer {
        request(self.host(), method, path, headers, body)
    }

    fn headers(&self) -> Vec<String> {
        vec![format!("Host: {}", self.host()), self.cookie()]
    }

    fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, &self.headers(), b"")
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let mut headers = self.headers();
        headers.push(format!("Origin: {}", self.origin));
        self.raw("POST", path, &headers, body.to_string().as_bytes())
    }

    /// Says of a mask what it shows; panics unless that was saved.
    fn say(&self, mask: &Value, label: &str) {
        let answer = self.post("/api/labels", &json!({ "answers": [is(mask, label)] }));
        assert_eq!(
            answer.status,
            200,
            "{}",
            String::from_utf8_lossy(&answer.body)
        );
        assert_eq!(answer.json()["saved"], 1);
    }

    /// Ends it as Ctrl-C does.
    fn end(mut self) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-INT", &id])
                .status()
                .unwrap()
                .success()
        );
        assert!(self.child.wait().unwrap().success());
    }
}

fn is(mask: &Value, label: &str) -> Value {
    let mut said = mask.clone();
    said["verdict"] = "is".into();
    said["label"] = label.into();
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_the_token_gets_in_and_only_from_the_page() {
    let made = Made::new().await;
    let page = made.page(&[]);
    let host = format!("Host: {}", page.host());
    let paths = [
        "/",
        "/queue",
        "/api/queue",
        "/assets/common.js",
        "/api/events",
        "/nothing",
    ];
    for path in paths {
        let refused = page.raw("GET", path, std::slice::from_ref(&host), b"");
        assert_eq!(refused.status, 401, "{path}");
        let wrong = page.raw(
            "GET",
            &format!("{path}?token=0123"),
            std::slice::from_ref(&host),
            b"",
        );
        assert_eq!(wrong.status, 401, "{path}");
    }
    let opened = page.raw(
        "GET",
        &format!("/queue?kind=random&token={}", page.token),
        std::slice::from_ref(&host),
        b"",
    );
    assert_eq!(
        (opened.status, opened.header("location")),
        (303, Some("/queue?kind=random"))
    );
    let cookie = opened.header("set-cookie").unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"),
        "{cookie}"
    );

    // Another name that resolves to this machine is another site.
    for other in ["evil.example", "evil.example:80", "127.0.0.1"] {
        let headers = [format!("Host: {other}"), page.cookie()];
        assert_eq!(
            page.raw("GET", "/queue", &headers, b"").status,
            421,
            "{other}"
        );
    }
    assert_eq!(
        page.raw("GET", "/queue", &[page.cookie()], b"").status,
        421,
        "without a host"
    );

    let answers = json!({ "answers": [is(&made.mask("cat/00.png", 0), "cat")] }).to_string();
    for origin in [None, Some("http://evil.example"), Some("null")] {
        let mut headers = page.headers();
        headers.extend(origin.map(|origin| format!("Origin: {origin}")));
        let refused = page.raw("POST", "/api/labels", &headers, answers.as_bytes());
        assert_eq!(refused.status, 403, "{origin:?}");
    }
    assert_eq!(made.count("mask_labels"), 0);

    let shown = page.get("/queue");
    assert_eq!(shown.status, 200);
    let policy = shown.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    assert_eq!(shown.header("x-content-type-options"), Some("nosniff"));
    let text = String::from_utf8_lossy(&shown.body).into_owned();
    assert!(
        !text.contains("http://") && !text.contains("https://"),
        "nothing of another host"
    );
    assert!(
        !text.contains(&page.token),
        "the token is in the cookie alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_say_why() {
    let made = Made::new().await;
    let page = made.page(&[]);
    for (path, status, part) in [
        ("/nothing", 404, "no such page"),
        ("/assets/..%2f..%2fCargo.toml", 404, "no file"),
        ("/photos/..%2f..%2fetc%2fpasswd", 400, "id"),
        ("/photos/00000000000000000000000000000000", 404, "no image"),
        ("/api/queue?kind=best", 400, "uncertain"),
        ("/api/queue?head=nobody", 400, "nobody"),
        ("/api/queue?kind=sql&sql=SELECT%201", 400, "extractor_id"),
        ("/api/queue?where=height%20%3D", 400, ""),
        ("/api/grid?class=horse&head=h", 404, "'horse' in three@1"),
        ("/api/grid?class=cat&head=h&sort=taste", 400, "taste"),
        ("/api/image?image=nothing.png", 400, "nothing.png"),
    ] {
        let answer = page.get(path);
        assert_eq!(
            answer.status,
            status,
            "{path}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(part), "{path}: {error}");
    }
    let mask = made.mask("cat/00.png", 0);
    let with = |name: &str, value: Value| {
        let mut said = is(&mask, "cat");
        said[name] = value;
        said
    };
    for (said, part) in [
        (with("mask_index", json!(99)), "no mask 99"),
        (with("extractor_id", json!("0".repeat(32))), "no mask 0"),
        (with("verdict", json!("maybe")), "bad mask"),
        (with("label", json!("  ")), "a label has 1 to"),
        (with("label", json!("a".repeat(300))), "a label has 1 to"),
        (with("verdict", json!("bad mask")), "takes no label"),
        (with("colour", json!("red")), "colour"),
    ] {
        // One bad answer, and nothing of the request is saved.
        let answer = page.post(
            "/api/labels",
            &json!({ "answers": [is(&made.mask("cat/00.png", 1), "cat"), said] }),
        );
        assert!(
            (400..500).contains(&answer.status),
            "{part}: {}",
            answer.status
        );
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(text.contains(part), "{part}: {text}");
    }
    let mut headers = page.headers();
    headers.push(format!("Origin: {}", page.origin));
    let huge = vec![b' '; 3 << 20];
    assert_eq!(page.raw("POST", "/api/labels", &headers, &huge).status, 413);
    for (sql, part) in [
        ("DELETE FROM masks", "only queries"),
        ("CREATE TABLE a (b INT)", "only queries"),
        ("COPY masks TO '/tmp/masks.parquet'", "only queries"),
        ("SELECT * FROM '/etc/passwd'", "passwd"),
        ("SELECT nothing FROM masks", "nothing"),
    ] {
        let answer = page.post("/api/sql", &json!({ "sql": sql }));
        assert_eq!(answer.status, 400, "{sql}");
        let error = answer.json()["error"].to_string();
        assert!(error.contains(part), "{sql}: {error}");
    }
    page.end();
    assert_eq!(made.count("mask_labels"), 0);

    let read_only = made.page(&["--read-only"]);
    assert_eq!(read_only.get("/api/queue?kind=unlabelled").status, 200);
    for (path, body) in [
        ("/api/labels", json!({ "answers": [is(&mask, "cat")] })),
        ("/api/train", json!({ "name": "a", "classes": "three" })),
        ("/api/classes", json!({ "class_set": "a", "classes": [] })),
    ] {
        let answer = read_only.post(path, &body);
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.json()["error"].to_string().contains("--read-only"));
    }
    let remote = made
        .program
        .expect(1, &["review", "--host", "0.0.0.0", "--json"]);
    assert!(remote.contains("--allow-remote"), "{remote}");
    let unknown = made
        .program
        .expect(1, &["review", "--head", "nobody", "--json"]);
    assert!(unknown.contains("nobody"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_grids_and_images_show_what_there_is() {
    let made = Made::new().await;
    let page = made.page(&["--reviewer", "anna"]);
    let all = (PHOTOS as usize) * MASKS as usize;
    for kind in ["uncertain", "unlabelled", "random", "threshold"] {
        let queue = page
            .get(&format!("/api/queue?kind={kind}&count=1000"))
            .json();
        assert_eq!(queue["masks"].as_array().unwrap().len(), all, "{kind}");
        assert_eq!(queue["class_set"], "three@1");
        assert_eq!(queue["classes"][0]["name"], "cat");
    }
    let chosen =
        "/api/queue?kind=sql&sql=SELECT%20*%20FROM%20masks%20WHERE%20mask_index%20%3D%203&count=5";
    assert_eq!(
        page.get(chosen).json()["masks"].as_array().unwrap().len(),
        5
    );

    let mask = made.mask("cow/01.png", 1);
    let details = page
        .post("/api/masks", &json!({ "masks": [mask], "head": "h" }))
        .json();
    let [detail] = &details.as_array().unwrap()[..] else {
        panic!("{details}");
    };
    assert_eq!(
        (&detail["file_name"], &detail["said"]),
        (&json!("cow/01.png"), &Value::Null)
    );
    assert_eq!(detail["best"][0]["class"], "cow");
    assert_eq!(detail["bbox"], json!([4.0, 3.0, 24.0, 20.0]));

    // Photos and crops are JPEG files, and browsers keep them.
    let image = mask["image_id"].as_str().unwrap();
    for path in [
        format!("/photos/{image}?side=640"),
        format!("/crops/{}/{image}/1?side=96", made.extractor),
    ] {
        let picture = page.get(&path);
        assert_eq!(
            (picture.status, picture.header("content-type")),
            (200, Some("image/jpeg")),
            "{path}"
        );
        let decoded = image::load_from_memory(&picture.body).unwrap();
        assert_eq!(
            decoded.width(),
            if path.contains("crops") { 96 } else { 64 }
        );
        let mut headers = page.headers();
        headers.push(format!(
            "If-None-Match: {}",
            picture.header("etag").unwrap()
        ));
        assert_eq!(page.raw("GET", &path, &headers, b"").status, 304);
    }

    // A label takes the mask out of queues and grids, and shows in its image.
    let grid = "/api/grid?head=h&class=cow";
    let cells =
        |page: &Page, path: &str| page.get(path).json()["masks"].as_array().unwrap().clone();
    let before = cells(&page, grid);
    assert!(before.iter().all(|cell| cell["class"] == "cow") && before.len() >= 20);
    let scores: Vec<f64> = before
        .iter()
        .map(|cell| cell["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "the best first");
    page.say(&mask, "cow");
    let is_it = |cell: &Value| cell["image_id"] == mask["image_id"] && cell["mask_index"] == 1;
    assert!(before.iter().any(is_it) && !cells(&page, grid).iter().any(is_it));
    let alike = format!("/api/grid?image={image}&mask=1");
    let alike = cells(&page, &alike);
    let cows = made.sql("SELECT image_id FROM images WHERE file_name LIKE 'cow%'");
    let is_cow = |cell: &&Value| {
        cell["mask_index"].as_i64() < Some(2)
            && cows
                .as_array()
                .unwrap()
                .iter()
                .any(|cow| cow["image_id"] == cell["image_id"])
    };
    assert!(alike.iter().take(15).filter(is_cow).count() == 15 && !alike.iter().any(is_it));
    // One labelled cow is enough to find the others; of a class without labels there is nothing alike.
    let like_cows = cells(&page, "/api/grid?head=h&class=cow&by=labels");
    assert!(like_cows.iter().take(15).filter(is_cow).count() == 15 && !like_cows.iter().any(is_it));
    let scores: Vec<f64> = like_cows
        .iter()
        .map(|cell| cell["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "the most alike first");
    let proof = made.sql("SELECT mask_label_id FROM mask_labels")[0]["mask_label_id"].clone();
    assert!(like_cows.iter().all(|cell| cell["proof"] == proof));
    assert!(cells(&page, "/api/grid?head=h&class=cat&by=labels").is_empty());
    let left = page.get("/api/queue?kind=uncertain&count=1000").json();
    assert_eq!(left["masks"].as_array().unwrap().len(), all - 1);
    let shown = page.get("/api/image?image=cow/01.png&head=h").json();
    assert_eq!(shown["masks"].as_array().unwrap().len(), MASKS as usize);
    assert_eq!(shown["masks"][1]["said"]["label"], "cow");
    assert_eq!(page.get("/api/progress").json(), json!({ "today": 1 }));

    // Classes: a new version, without a word, and again the same.
    let saved =
        json!({ "class_set": "two", "classes": [{ "class": "pet", "labels": ["cat", "dog"] }] });
    assert_eq!(
        page.post("/api/classes", &saved).json(),
        json!({ "version": 1, "new": true })
    );
    assert_eq!(
        page.post("/api/classes", &saved).status,
        409,
        "of no version"
    );
    let mut again = saved;
    again["base"] = 1.into();
    assert_eq!(
        page.post("/api/classes", &again).json(),
        json!({ "version": 1, "new": false })
    );
    let twice = json!({ "class_set": "two", "base": 1, "classes": [{ "class": "a", "labels": ["cat"] }, { "class": "b", "labels": ["cat"] }] });
    assert_eq!(page.post("/api/classes", &twice).status, 400);
    let classes = page.get("/api/classes").json();
    let cow = classes["words"]
        .as_array()
        .unwrap()
        .iter()
        .find(|word| word["label"] == "cow")
        .unwrap();
    assert_eq!((&cow["images"], &cow["masks"]), (&json!(10), &json!(1)));

    let found = page
        .post(
            "/api/sql",
            &json!({ "sql": "SELECT label, reviewer FROM mask_labels" }),
        )
        .json();
    assert_eq!(
        found["rows"],
        json!([["cow", "anna"]]),
        "what was saved is there at once"
    );
    let heads = page.get("/api/heads").json();
    assert_eq!(
        (&heads["heads"][0]["head"], &heads["heads"][0]["class_set"]),
        (&json!("h"), &json!("three@1"))
    );
    let report = page.get("/heads/h/report");
    assert_eq!(report.status, 200);
    assert!(String::from_utf8_lossy(&report.body).contains("Head 'h'"));
    page.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_brings_back_what_the_reviewer_said_before_and_nobody_else() {
    let made = Made::new().await;
    let mask = made.mask("cat/00.png", 0);
    let label = ["label", "mask", "cat/00.png", "0", "--is"];
    let of = |what: &str, who: &str| {
        let said = [&label[..], &[what, "--reviewer", who]].concat();
        made.program.expect(0, &said);
    };
    of("cow", "anna");
    of("dog", "ben");
    let page = made.page(&["--reviewer", "anna"]);
    let say = |label: &str| {
        let body = json!({ "answers": [is(&mask, label)] });
        let saved = page.post("/api/labels", &body).json();
        let mut undone = mask.clone();
        undone["mask_label_id"] = saved["mask_label_ids"][0].clone();
        undone
    };
    let undo = |label: &Value| page.post("/api/undo", &json!({ "labels": [label] }));
    let (cat, owl) = (say("cat"), say("owl"));
    // Only the newest counts, so taking back the one before changes nothing.
    assert_eq!(undo(&cat).json()[0]["label"], "owl");
    assert_eq!(
        undo(&owl).json()[0],
        json!({ "verdict": "is", "label": "cat" })
    );
    let details = page.post("/api/masks", &json!({ "masks": [mask] })).json();
    assert_eq!(
        details[0]["said"],
        json!({ "verdict": "is", "label": "cat", "by": null })
    );
    let other = made.mask("cat/03.png", 0);
    let gone = made.mask("cat/03.png", 1);
    made.program.expect(
        0,
        &[
            "label",
            "mask",
            "cat/03.png",
            "0",
            "--is",
            "dog",
            "--reviewer",
            "ben",
        ],
    );
    let details = page.post("/api/masks", &json!({ "masks": [other] })).json();
    assert_eq!(details[0]["said"]["by"], "ben");
    let mut first = gone.clone();
    let saved = page
        .post("/api/labels", &json!({ "answers": [is(&gone, "cat")] }))
        .json();
    first["mask_label_id"] = saved["mask_label_ids"][0].clone();
    assert_eq!(undo(&first).json(), json!([null]));
    let mut foreign = other.clone();
    let ids = made.sql("SELECT mask_label_id FROM mask_labels WHERE reviewer = 'ben'");
    foreign["mask_label_id"] = ids[0]["mask_label_id"].clone();
    assert_eq!(undo(&foreign).status, 404, "it is not anna's");
    page.end();
    let counting = made
        .program
        .expect(0, &["query", "review/mask_labels", "--json"]);
    let counting: Value = serde_json::from_str(&counting).unwrap();
    let mut counting: Vec<(&str, &str)> = counting
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["reviewer"].as_str().unwrap(),
                row["label"].as_str().unwrap(),
            )
        })
        .collect();
    counting.sort_unstable();
    assert_eq!(counting, [("anna", "cat"), ("ben", "dog"), ("ben", "dog")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_no_label_that_was_saved_and_doubles_none() {
    let made = Made::new().await;
    let file = |n: u32| format!("{}/{n:02}.png", LABELS[n as usize % 3]);
    let mut random = fastrand::Rng::with_seed(7);
    let mut saved = 0;
    for n in 0..6 {
        let mut page = made.page(&["--reviewer", "anna"]);
        // Some sessions are killed before their labels are in the table, some after.
        for mask_index in 0..MASKS {
            page.say(&made.mask(&file(n), mask_index), LABELS[n as usize % 3]);
            saved += 1;
        }
        if n % 2 == 0 {
            std::thread::sleep(Duration::from_millis(random.u64(2500..4500)));
        }
        page.child.kill().unwrap();
        page.child.wait().unwrap();
        assert_eq!(made.count("mask_labels"), saved, "session {n}");
    }
    assert_eq!(
        made.count("(SELECT DISTINCT mask_label_id FROM mask_labels)"),
        saved
    );
    let journals = made.program.store.join("journals");
    let left: Vec<_> = std::fs::read_dir(&journals)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    made.program.expect(0, &["check"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pages_and_the_command_line_share_a_store() {
    let made = Made::new().await;
    let (anna, ben) = (
        made.page(&["--reviewer", "anna"]),
        made.page(&["--reviewer", "ben"]),
    );
    let (one, other) = (made.mask("cat/00.png", 0), made.mask("cat/03.png", 0));
    anna.say(&one, "cat");
    ben.say(&one, "dog");
    ben.say(&other, "dog");
    // The command line sees what both have saved, though both still run.
    assert_eq!(made.count("mask_labels"), 3);
    made.program.expect(
        0,
        &[
            "label",
            "mask",
            "cat/03.png",
            "0",
            "--is",
            "cow",
            "--reviewer",
            "ben",
        ],
    );
    anna.say(&other, "cat");
    let undone = json!({ "answers": [{ "extractor_id": one["extractor_id"], "image_id": one["image_id"], "mask_index": 0, "verdict": "undone" }] });
    assert_eq!(anna.post("/api/labels", &undone).status, 200);
    anna.end();
    ben.end();
    let left = std::fs::read_dir(made.program.store.join("journals")).unwrap();
    assert_eq!(left.count(), 0, "nothing is left in journals");
    let said = made.sql("SELECT file_name, reviewer, label FROM mask_labels JOIN images USING (image_id) ORDER BY 1, 2");
    assert_eq!(made.count("mask_labels"), 6, "{said}");
    let counting = made
        .program
        .expect(0, &["query", "review/mask_labels", "--json"]);
    let counting: Value = serde_json::from_str(&counting).unwrap();
    let mut counting: Vec<(String, String)> = counting
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["reviewer"].as_str().unwrap().to_owned(),
                row["label"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    counting.sort();
    let expected = [("anna", "cat"), ("ben", "cow"), ("ben", "dog")];
    assert_eq!(
        counting,
        expected.map(|(who, what)| (who.to_owned(), what.to_owned()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_is_named_and_nothing_of_it_is_lost() {
    let made = Made::new().await;
    let mut page = made.page(&[]);
    page.say(&made.mask("cat/00.png", 0), "cat");
    page.say(&made.mask("cat/00.png", 1), "cat");
    page.child.kill().unwrap();
    page.child.wait().unwrap();
    let journal = std::fs::read_dir(made.program.store.join("journals"))
        .unwrap()
        .next()
        .unwrap();
    let journal: PathBuf = journal.unwrap().path();
    let whole = std::fs::read(&journal).unwrap();
    let mut damaged = whole.clone();
    damaged[40] ^= 1;
    std::fs::write(&journal, &damaged).unwrap();
    let told = made.program.expect(1, &["labels", "list", "--json"]);
    let name = journal.file_name().unwrap().to_str().unwrap();
    assert!(told.contains(name) && told.contains("line 1"), "{told}");
    std::fs::write(&journal, [&whole[..], b"0123 half a li"].concat()).unwrap();
    assert_eq!(
        made.count("mask_labels"),
        2,
        "an unfinished line was never saved"
    );
    assert!(!journal.exists());
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "waited in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| Path::new(&dir).join(program).is_file())
}
