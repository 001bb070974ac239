//! Masks that a person adds: by clicks, a box, or a brush.

use grainstore::device::{DeviceName, Precision};
use grainstore::extract::Prompter;
use grainstore::models::sam::Prompt;

use super::browser::Browser;
use super::*;

const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/assets/demo/sam_demo.safetensors"
);

/// A store with generated scenes and their masks, with the features of the photos or without.
struct Scenes {
    dir: tempfile::TempDir,
    program: Program,
}

impl Scenes {
    fn new(extract: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = Program {
            file: env!("CARGO_BIN_EXE_grainstore").into(),
            store: dir.path().join("store"),
        };
        let scenes = dir.path().join("scenes");
        let place = scenes.to_str().unwrap();
        program.expect(
            0,
            &[
                "demo",
                "--where",
                place,
                "--only-scenes",
                "--train-images",
                "3",
                "--test-images",
                "1",
            ],
        );
        program.expect(0, &["ingest", "images", place, "--dataset", "scenes"]);
        let made = Self { dir, program };
        made.extract(extract);
        made
    }

    fn extract(&self, args: &[&str]) -> Value {
        let command = [
            "extract",
            "--checkpoint",
            CHECKPOINT,
            "--points-per-side",
            "4",
            "--json",
        ];
        let text = self.program.expect(0, &[&command, args].concat());
        serde_json::from_str(&text).unwrap()
    }

    fn sql(&self, query: &str) -> Value {
        let text = self.program.expect(0, &["--quiet", "sql", query, "--json"]);
        serde_json::from_str(&text).unwrap()
    }

    fn count(&self, of: &str) -> u64 {
        let counted = self.sql(&format!("SELECT count(*) AS n FROM {of}"));
        counted[0]["n"].as_u64().unwrap()
    }

    /// The id, the file and the size of the first photo.
    fn photo(&self) -> (String, PathBuf, [u64; 2]) {
        let found = self.sql("SELECT * FROM images ORDER BY file_name LIMIT 1");
        let text = |name: &str| found[0][name].as_str().unwrap().to_owned();
        let number = |name: &str| found[0][name].as_u64().unwrap();
        let path = Path::new(&text("root")).join(text("file_name"));
        (text("image_id"), path, [number("width"), number("height")])
    }

    fn page(&self, args: &[&str]) -> Page {
        Page::open(
            &self.program,
            &[&["--checkpoint", CHECKPOINT], args].concat(),
        )
    }
}

fn mask_of(rle: &Value) -> Rle {
    let side = |name: &str| u32::try_from(rle[name].as_u64().unwrap()).unwrap();
    let size = Size {
        height: side("height"),
        width: side("width"),
    };
    Rle::from_counts_str(size, rle["counts"].as_str().unwrap()).unwrap()
}

fn iou(a: &Rle, b: &Rle) -> f64 {
    let (a, b) = (a.to_bitmap(), b.to_bitmap());
    let count = |both: &dyn Fn(bool, bool) -> bool| {
        let pairs = a.iter().zip(&b);
        pairs.filter(|(a, b)| both(**a != 0, **b != 0)).count() as f64
    };
    count(&|a, b| a && b) / count(&|a, b| a || b)
}

#[tokio::test(flavor = "multi_thread")]
async fn features_are_kept_once_and_prompts_need_no_encoder() {
    let made = Scenes::new(&[]);
    let masks =
        "SELECT image_id, mask_index, rle, embedding FROM masks ORDER BY image_id, mask_index";
    let before = made.sql(masks);
    assert_eq!(made.count("image_features"), 0);
    let kept = made.extract(&["--keep-features"]);
    assert_eq!(kept["masks"], 0);
    let images = made.count("images");
    assert_eq!(kept["revisited"], images);
    assert_eq!(made.count("image_features"), images);
    let again = made.extract(&["--keep-features"]);
    assert_eq!(
        (&again["revisited"], &again["images"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(made.sql(masks), before);
    made.program.expect(0, &["check"]);

    // The decoder over kept features gives what the model gives from the photo, but for their 16 bits.
    let (image, file, [width, height]) = made.photo();
    let store = Store::open(made.program.store.to_str().unwrap())
        .await
        .unwrap();
    let prompter = Prompter::open(Path::new(CHECKPOINT), DeviceName::Cpu, Precision::F32).unwrap();
    let photo = image::open(file).unwrap().into_rgb8();
    let encoded = prompter.encode(&photo).unwrap();
    let size = Size {
        height: height as u32,
        width: width as u32,
    };
    let image_id = ImageId::try_from(image).unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let kept = prompter
        .kept_features(&snapshot, &image_id, size)
        .await
        .unwrap();
    let prompt = Prompt::click(width as f64 / 2.0, height as f64 / 2.0);
    let (from_photo, best) = prompter.predict(&encoded, &prompt).unwrap();
    let (from_kept, best_kept) = prompter.predict(&kept.unwrap(), &prompt).unwrap();
    assert_eq!(best, best_kept);
    for (a, b) in from_photo.iter().zip(&from_kept) {
        assert!((a.predicted_iou - b.predicted_iou).abs() < 0.01);
        assert!(iou(&a.mask, &b.mask) > 0.99, "{}", iou(&a.mask, &b.mask));
        let error = a
            .embedding
            .iter()
            .zip(&b.embedding)
            .map(|(a, b)| (a - b).abs());
        let scale = a.embedding.iter().fold(0f32, |most, x| most.max(x.abs()));
        assert!(error.fold(0f32, f32::max) < 0.02 * scale);
    }
    // Weights in another precision have no features of their own.
    let other = ImageId::of_bytes(b"no image of the store");
    assert!(
        prompter
            .kept_features(&snapshot, &other, size)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_mask_is_labelled_trained_on_and_predicted_like_others() {
    let made = Scenes::new(&["--keep-features"]);
    let (image, _, [width, height]) = made.photo();
    let page = made.page(&["--reviewer", "anna"]);
    let prompt = json!({ "image_id": image, "foreground": [[width / 2, height / 2]] });
    let previews = page.post("/api/prompt", &prompt).json();
    let masks = previews["masks"].as_array().unwrap();
    assert_eq!(masks.len(), 4);
    let best = previews["best"].as_u64().unwrap() as usize;
    assert!(
        masks[best]["output"].as_u64().unwrap() > 0,
        "one point is ambiguous"
    );
    let least = |it: &Value| it["predicted_iou"].as_f64().unwrap();
    assert!(masks[1..].iter().all(|it| least(it) <= least(&masks[best])));
    assert_eq!(
        made.count("masks WHERE mask_index < 0"),
        0,
        "a preview is not stored"
    );

    // The mask that was seen is the one that is stored.
    let added = page
        .post(
            "/api/add",
            &json!({ "prompt": prompt, "output": 1, "seconds": 2.5 }),
        )
        .json();
    assert_eq!(
        (&added["mask_index"], &added["image_id"]),
        (&json!(-1), &json!(image))
    );
    assert_eq!(added["rle"], masks[1]["rle"]);
    let boxed =
        json!({ "image_id": image, "box": [4, 6, width - 8, height - 10], "background": [[1, 1]] });
    let second = page.post("/api/add", &json!({ "prompt": boxed })).json();
    assert_eq!(second["mask_index"], -2);

    // Pixels that were painted are stored as they are, with their source.
    let size = Size {
        height: height as u32,
        width: width as u32,
    };
    let (column, before) = (size.height, 10 * size.height + 5);
    let runs = [
        before,
        20,
        column - 20,
        20,
        size.height * size.width - before - 20 - column,
    ];
    let key = |mask: &Value| json!({ "extractor_id": mask["extractor_id"], "image_id": mask["image_id"], "mask_index": mask["mask_index"] });
    let painted = json!({ "prompt": { "image_id": image }, "runs": runs, "source": key(&added) });
    let third = page.post("/api/add", &painted).json();
    assert_eq!(
        (&third["mask_index"], &third["area"]),
        (&json!(-3), &json!(40))
    );
    assert_eq!(
        mask_of(&third["rle"]),
        Rle::from_runs(size, runs.to_vec()).unwrap()
    );
    assert_eq!(
        third["predicted_iou"],
        Value::Null,
        "an estimate would be of other pixels"
    );

    let extractor = added["extractor_id"].as_str().unwrap();
    let of = format!("extractor_id = '{extractor}'");
    let rows = made.sql(&format!(
        "SELECT kind, embedding_space FROM extractors WHERE {of}"
    ));
    assert_eq!(rows[0]["kind"], "prompted");
    assert_eq!(
        made.count(&format!(
            "extractors WHERE embedding_space = '{}'",
            rows[0]["embedding_space"].as_str().unwrap()
        )),
        2
    );
    let prompts = made.sql("SELECT mask_index, foreground, background, bbox, edited, source_mask_index, reviewer, seconds FROM prompts ORDER BY mask_index DESC");
    let x = (width / 2) as f64;
    let y = (height / 2) as f64;
    assert_eq!(
        prompts[0],
        json!({ "mask_index": -1, "foreground": [x, y], "background": [], "edited": false,
        "reviewer": "anna", "seconds": 2.5 })
    );
    assert_eq!(
        prompts[1]["bbox"],
        json!([4.0, 6.0, (width - 12) as f64, (height - 16) as f64])
    );
    assert_eq!(
        (
            &prompts[1]["background"],
            &prompts[2]["edited"],
            &prompts[2]["source_mask_index"]
        ),
        (&json!([1.0, 1.0]), &json!(true), &json!(-1))
    );
    made.program.expect(0, &["check"]);

    // It is labelled, shown, and a head learns from it and predicts it, as it does the masks of the grid.
    page.say(&key(&added), "thing");
    page.say(&key(&second), "stuff");
    let own = made.sql("SELECT extractor_id FROM extractors WHERE kind = 'sam'");
    let of_grid = |index: u32| json!({ "extractor_id": own[0]["extractor_id"], "image_id": image, "mask_index": index });
    page.say(&of_grid(0), "thing");
    page.say(&of_grid(3), "stuff");
    let shown = page.get(&format!("/api/image?image={image}")).json();
    let shown = shown["masks"].as_array().unwrap();
    assert_eq!(shown.len(), 16 + 3);
    assert_eq!(
        shown
            .iter()
            .filter(|it| it["said"]["label"] == "thing")
            .count(),
        2
    );
    page.end();

    let classes = made.dir.path().join("kinds.toml");
    std::fs::write(&classes, "[[class]]\nname = \"thing\"\nlabels = [\"thing\"]\n\n[[class]]\nname = \"stuff\"\nlabels = [\"stuff\"]\n").unwrap();
    made.program.expect(
        0,
        &[
            "classes",
            "add",
            "kinds",
            "--file",
            classes.to_str().unwrap(),
        ],
    );
    // Without a name for the extractor, it is that of the grid.
    let trained = made.program.expect(
        0,
        &[
            "train",
            "--name",
            "k",
            "--classes",
            "kinds",
            "--loss",
            "linear",
            "--json",
        ],
    );
    let trained: Value = serde_json::from_str(&trained).unwrap();
    assert_eq!(trained["extractor_id"], own[0]["extractor_id"]);
    assert_eq!(trained["masks"], 4);
    assert_eq!(trained["labels_of_other_extractors"], Value::Null);
    made.program
        .expect(0, &["annotate", "--head", "k", "--score-threshold", "0"]);
    let predicted = format!("predictions WHERE {of}");
    assert_eq!(made.count(&predicted), 3);
    assert_eq!(made.count("predictions"), made.count("masks"));
    made.program.expect(0, &["check"]);

    // Its query can be run again, and commands name added masks as they do others.
    let query = made.sql("SELECT query FROM heads WHERE head = 'k'");
    let query = query[0]["query"].as_str().unwrap();
    let written = made.dir.path().join("mine.sql");
    std::fs::write(&written, query).unwrap();
    let again = made.program.expect(
        0,
        &[
            "train",
            "--name",
            "again",
            "--classes",
            "kinds",
            "--loss",
            "linear",
            "--query",
            written.to_str().unwrap(),
            "--json",
        ],
    );
    let again: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(again["extractor_id"], own[0]["extractor_id"]);
    assert_eq!(again["masks"], 4);
    let scored = made.sql("SELECT count(predict('k', embedding, extractor_id)) AS n FROM masks");
    assert_eq!(scored[0]["n"], made.count("masks"));
    let file = made.sql("SELECT file_name FROM images ORDER BY file_name LIMIT 1");
    let file = file[0]["file_name"].as_str().unwrap();
    let label = [
        "label",
        "mask",
        file,
        "-3",
        "--is",
        "stuff",
        "--reviewer",
        "ben",
    ];
    made.program.expect(0, &label);
    let csv = made.dir.path().join("labels.csv");
    std::fs::write(
        &csv,
        format!("image,mask_index,label\n{file},-3,thing\n{file},2,thing\n"),
    )
    .unwrap();
    made.program.expect(
        0,
        &["label", "csv", csv.to_str().unwrap(), "--reviewer", "eve"],
    );
    assert_eq!(
        made.count(&format!("mask_labels WHERE {of} AND mask_index = -3")),
        2
    );
    let like = made
        .program
        .expect(0, &["search", "--like", &format!("{file}:-1"), "--json"]);
    assert!(like.contains("similarity"), "{like}");
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/embed/clip_hf");
    let embed = ["embed", "--checkpoint", clip, "--name", "e"];
    made.program.expect(0, &embed);
    let own_vectors = format!("vectors.e WHERE NOT {of}");
    assert_eq!(made.count("vectors.e"), made.count(&own_vectors));
    let of_added = [&embed[..], &["--extractor", extractor]].concat();
    made.program.expect(0, &of_added);
    assert_eq!(made.count(&format!("vectors.e WHERE {of}")), 3);

    // What it keeps is exported with its own extractor, from the command line and from the page.
    let file = made.dir.path().join("k.json");
    made.program.expect(
        0,
        &[
            "export",
            "coco",
            "--head",
            "k",
            "-o",
            file.to_str().unwrap(),
        ],
    );
    let page = made.page(&[]);
    let head = &trained["head_id"].as_str().unwrap();
    let from_page = page.get(&format!("/heads/{head}/coco"));
    assert!(
        from_page
            .header("content-disposition")
            .unwrap()
            .contains("k.json")
    );
    for exported in [
        serde_json::from_slice::<Value>(&std::fs::read(&file).unwrap()).unwrap(),
        from_page.json(),
    ] {
        let annotations = exported["annotations"].as_array().unwrap();
        let is_added = |it: &&Value| it["extractor_id"] == extractor;
        let added = annotations.iter().filter(is_added);
        let kept = made.count(&format!("{predicted} AND kept"));
        assert_eq!(added.count() as u64, kept);
        assert!(kept > 0 && annotations.len() as u64 == made.count("predictions WHERE kept"));
    }
    let mask = page
        .post(
            "/api/masks",
            &json!({ "masks": [key(&added)], "head": "k" }),
        )
        .json();
    assert_eq!(mask[0]["best"][0]["class"], "thing");
    let shown = page
        .get(&format!("/api/image?image={image}&extractor={extractor}"))
        .json();
    assert_eq!(shown["extractor_id"], own[0]["extractor_id"]);
    assert_eq!(shown["masks"].as_array().unwrap().len(), 16 + 3);
    // An image that gets another mask is embedded again.
    let more = json!({ "prompt": { "image_id": image, "foreground": [[5, 5]] }, "output": 1 });
    assert_eq!(page.post("/api/add", &more).json()["mask_index"], -4);
    assert_eq!(made.count(&format!("vectors.e WHERE {of}")), 0);
    made.program.expect(0, &["check"]);
    made.program.expect(0, &of_added);
    assert_eq!(made.count(&format!("vectors.e WHERE {of}")), 4);
    made.program.expect(0, &["check"]);
    let crop = page.get(&format!("/crops/{extractor}/{image}/-1?side=96"));
    assert_eq!(crop.header("content-type"), Some("image/jpeg"));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_add_at_once_lose_and_double_nothing() {
    let made = Scenes::new(&[]);
    let (image, _, [width, height]) = made.photo();
    let pages = [
        made.page(&["--reviewer", "anna"]),
        made.page(&["--reviewer", "ben"]),
    ];
    let body = json!({ "prompt": { "image_id": image, "foreground": [[width / 2, height / 2]] } });
    std::thread::scope(|scope| {
        for page in &pages {
            scope.spawn(|| {
                for _ in 0..4 {
                    assert_eq!(page.post("/api/add", &body).status, 200);
                }
            });
        }
    });
    let indices = made.sql("SELECT mask_index FROM masks WHERE mask_index < 0 ORDER BY mask_index");
    let expected: Vec<Value> = (-8..0)
        .map(|index| json!({ "mask_index": index }))
        .collect();
    assert_eq!(indices, Value::Array(expected));
    assert_eq!(made.count("prompts WHERE reviewer = 'anna'"), 4);
    assert_eq!(made.count("extractors WHERE kind = 'prompted'"), 1);
    made.program.expect(0, &["check"]);
    // Each page shows what the other has added, too.
    let shown = pages[0].get(&format!("/api/image?image={image}")).json();
    assert_eq!(shown["masks"].as_array().unwrap().len(), 16 + 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_that_cannot_be_added_say_why() {
    let made = Scenes::new(&[]);
    let (image, _, [width, height]) = made.photo();
    let page = made.page(&[]);
    let other =
        made.sql("SELECT image_id FROM images ORDER BY file_name DESC LIMIT 1")[0]["image_id"]
            .clone();
    let own = made.sql("SELECT extractor_id FROM extractors")[0]["extractor_id"].clone();
    let unknown = ImageId::of_bytes(b"no image").to_string();
    let pixels = width * height;
    for (path, body, status, part) in [
        (
            "prompt",
            json!({ "image_id": image }),
            400,
            "neither a point nor a box",
        ),
        (
            "prompt",
            json!({ "image_id": unknown, "foreground": [[1, 1]] }),
            404,
            "there is no image",
        ),
        (
            "prompt",
            json!({ "image_id": image, "foreground": vec![[1, 1]; 101] }),
            400,
            "at most 100",
        ),
        (
            "prompt",
            json!({ "image_id": image, "points": [[1, 1]] }),
            422,
            "points",
        ),
        (
            "add",
            json!({ "prompt": { "image_id": image } }),
            400,
            "neither a point nor a box",
        ),
        (
            "add",
            json!({ "prompt": { "image_id": image, "foreground": [[1, 1]] }, "output": 9 }),
            400,
            "output 9",
        ),
        (
            "add",
            json!({ "prompt": { "image_id": image }, "runs": [pixels] }),
            400,
            "without a pixel",
        ),
        (
            "add",
            json!({ "prompt": { "image_id": image }, "runs": [3, 4] }),
            400,
            &pixels.to_string(),
        ),
        (
            "add",
            json!({ "prompt": { "image_id": image }, "runs": [pixels - 1, 1], "source": { "extractor_id": own, "image_id": other, "mask_index": 0 } }),
            404,
            "not one of this image",
        ),
        (
            "add",
            json!({ "prompt": { "image_id": image }, "runs": [pixels - 1, 1], "source": { "extractor_id": own, "image_id": image, "mask_index": 99 } }),
            404,
            "not one of this image",
        ),
    ] {
        let answer = page.post(&format!("/api/{path}"), &body);
        let text = String::from_utf8_lossy(&answer.body);
        assert!(
            answer.status == status && text.contains(part),
            "{body}: {} {text}",
            answer.status
        );
    }
    let prompt = json!({ "image_id": image, "foreground": [[width / 2, height / 2]] });
    let reading = made.page(&["--read-only"]);
    assert_eq!(
        reading
            .post("/api/add", &json!({ "prompt": prompt }))
            .status,
        403
    );
    assert_eq!(made.count("masks WHERE mask_index < 0"), 0);
    let without = Page::open(&made.program, &[]);
    let answer = without.post("/api/prompt", &prompt);
    let text = String::from_utf8_lossy(&answer.body);
    assert!(
        answer.status == 409 && text.contains("--checkpoint"),
        "{text}"
    );
    // Weights in another precision give masks of their own, and are said to.
    let mut other = made
        .program
        .command(&["review", "--checkpoint", CHECKPOINT, "--precision", "bf16"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(other.stderr.take().unwrap()).lines();
    assert!(said.any(|line| {
        line.unwrap()
            .contains("of this checkpoint in this precision")
    }));
    other.kill().unwrap();
    other.wait().unwrap();
    let failed = made.program.run(&["review", "--checkpoint", "no/such.pth"]);
    let text = String::from_utf8_lossy(&failed.stderr);
    assert!(
        failed.status.code() == Some(1) && text.contains("no/such.pth"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_clicks_paints_and_labels_new_masks() {
    let Some(browser) = Browser::start().await else {
        return;
    };
    let made = Scenes::new(&["--keep-features"]);
    let page = made.page(&["--reviewer", "anna"]);
    browser
        .go(&format!("{}/?token={}", page.origin, page.token))
        .await;
    browser.go(&format!("{}/image", page.origin)).await;
    let masks = async || {
        browser
            .js("return document.querySelectorAll('#masks button').length")
            .await
    };
    let why = async || browser.text("#why").await;
    until("the masks are shown", async || masks().await == 16).await;

    // A held key and a click ask the model; Enter keeps what it gives.
    browser.hold('a').await;
    browser.click_at("#photo", 0.5, 0.5).await;
    browser.let_go('a').await;
    until("a mask is proposed", async || {
        why().await.contains("predicted IoU")
    })
    .await;
    browser.press(&['\u{e007}']).await;
    until("it is kept", async || masks().await == 17).await;
    assert!(why().await.contains("mask -1"), "{}", why().await);

    // The brush changes the mask that is chosen; Escape gives it up, a second try is kept.
    for (key, again) in [('\u{e00c}', true), ('\u{e007}', false)] {
        browser.press(&['e']).await;
        browser.click_at("#photo", 0.2, 0.2).await;
        until("it is painted", async || why().await.contains("painted")).await;
        browser.press(&[key]).await;
        // A kept mask ends the brush, so that the next stroke does not change it by mistake.
        if again {
            browser.press(&['e']).await;
        }
    }
    until("it is kept", async || masks().await == 18).await;
    let rows = made
        .sql("SELECT mask_index, edited, source_mask_index FROM prompts ORDER BY mask_index DESC");
    assert_eq!(
        rows,
        json!([
            { "mask_index": -1, "edited": false },
            { "mask_index": -2, "edited": true, "source_mask_index": -1 },
        ])
    );
    browser.is_quiet().await;
}
