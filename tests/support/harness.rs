//! Runs of the program that are killed at random moments, and what must hold afterwards.
//!
//! Shared by the soak, which kills each command a hundred times, and the test suite, which does so a few times.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use image::{Rgb, RgbImage};

/// The program, and the store it works on.
#[derive(Debug, Clone)]
pub struct Program {
    pub file: PathBuf,
    pub store: PathBuf,
}

impl Program {
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.file);
        command
            .env("GRAINSTORE_STORE", &self.store)
            .env_remove("GRAINSTORE_LOG")
            .args(args);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs, expects the exit code, and gives back stdout.
    #[track_caller]
    pub fn expect(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// So many small photos of three classes, no two alike.
pub fn photos(dir: &Path, count: u32) -> PathBuf {
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

/// A command that is killed.
pub struct Job {
    pub name: &'static str,
    /// Commands that run before, undisturbed.
    prepare: Vec<Vec<String>>,
    command: Vec<String>,
    /// Its exit code when it is left alone.
    code: i32,
    /// What the store must answer in the end as one in which nothing was killed.
    queries: &'static [&'static str],
    /// The file it writes, beside the store's directory.
    writes: Option<&'static str>,
}

const INGESTED: &[&str] = &[
    "SELECT image_id, file_name, width, height, source, dataset FROM images ORDER BY image_id",
    "SELECT image_id, dataset, label, origin FROM labels ORDER BY image_id, label",
    "SELECT item, reason FROM failures ORDER BY item",
];

const EXTRACTED: &[&str] = &[
    "SELECT image_id, mask_index, rle, area, predicted_iou, stability_score, mask_output FROM masks
     ORDER BY image_id, mask_index",
    "SELECT embedding FROM masks ORDER BY image_id, mask_index",
    "SELECT image_id, masks FROM extractions ORDER BY image_id",
    "SELECT extractor_id, model_type, options FROM extractors",
];

const EMBEDDED: &[&str] = &[
    "SELECT image_id, mask_index, vector FROM vectors.e ORDER BY image_id, mask_index",
    "SELECT image_id, vectors FROM embeddings ORDER BY image_id",
    "SELECT embedder_id, embedder, dim, options FROM embedders",
    "SELECT (SELECT count(*) FROM vectors.e) = (SELECT sum(vectors) FROM embeddings) AS as_counted",
];

/// Training again makes another head of the same name, with the same weights: a run that was killed after it committed
/// is no different. A student never comes without its teacher.
const TRAINED: &[&str] = &[
    "SELECT DISTINCT head, class_set, encode(sha256(weights), 'hex') AS weights FROM heads ORDER BY head",
    "SELECT DISTINCT count(*) = (SELECT count(*) FROM heads WHERE head = 'h') AS complete FROM heads GROUP BY head",
];

const ANNOTATED: &[&str] = &[
    "SELECT image_id, mask_index, class_index, score, entropy, kept, dropped FROM predictions
     ORDER BY image_id, mask_index",
];

const LABELLED: &[&str] = &[
    "SELECT image_id, mask_index, label, verdict, origin, reviewer, score, margin FROM mask_labels
     ORDER BY image_id, mask_index, origin",
];

const IMPORTED: &[&str] = &[
    "SELECT image_id, mask_index, rle, predicted_iou FROM masks ORDER BY image_id, mask_index",
    "SELECT image_id, masks FROM extractions ORDER BY image_id",
    "SELECT extractor_id, kind FROM extractors",
];

/// A file of labels for two masks of each of some photos.
fn label_file(photos: &Path, dir: &Path) -> PathBuf {
    let mut text = "image,mask_index,label\n".to_owned();
    for entry in walkdir::WalkDir::new(photos).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        let name = path.strip_prefix(photos).unwrap().to_str().unwrap();
        let Some((label, number)) = name.split_once('/') else {
            continue;
        };
        if number.starts_with("0000") {
            text += &format!("{name},0,{label}\n{name},1,\n");
        }
    }
    let file = dir.join("labels.csv");
    std::fs::write(&file, text).unwrap();
    file
}

/// Masks of some photos as a COCO file: two boxes in each.
fn mask_file(photos: &Path, dir: &Path) -> PathBuf {
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for entry in walkdir::WalkDir::new(photos).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        let Ok((width, height)) = image::image_dimensions(&path) else {
            continue;
        };
        let name = path.strip_prefix(photos).unwrap().to_str().unwrap();
        let id = images.len();
        images.push(serde_json::json!({
            "id": id, "file_name": name, "width": width, "height": height
        }));
        for left in 0..2 {
            let right = left + 2;
            annotations.push(serde_json::json!({
                "id": annotations.len() + 1, "image_id": id, "category_id": 1, "iscrowd": 0, "area": 4,
                "bbox": [left, 0, 2, 2], "segmentation": [[left, 0, right, 0, right, 2, left, 2]]
            }));
        }
    }
    let file = dir.join("masks.json");
    let text = serde_json::json!({
        "images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]
    });
    std::fs::write(&file, text.to_string()).unwrap();
    file
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Every command that writes, on `photos` and with a checkpoint of a small model.
pub fn jobs(photos: &Path, checkpoint: &Path, dir: &Path) -> Vec<Job> {
    let label = words(&format!("label csv {}", label_file(photos, dir).display()));
    let masks = mask_file(photos, dir);
    let import = words(&format!("import masks --coco {}", masks.display()));
    let (photos, checkpoint) = (photos.display(), checkpoint.display());
    let init = words("init --embedding-dim 128");
    let ingest = words(&format!("ingest images {photos} --commit-rows 20"));
    let extract = words(&format!(
        "extract --checkpoint {checkpoint} --points-per-side 2 --commit-masks 12"
    ));
    let embed = words(&format!(
        "embed --checkpoint {}/tests/data/embed/clip_hf --name e --commit-vectors 10",
        env!("CARGO_MANIFEST_DIR")
    ));
    let classes = words("classes add all --from labels");
    let train = words("train --name h --classes all --epochs 3 --loss mil+distill");
    let annotate = words("annotate --head h --score-threshold 0.3");
    let export = words(&format!(
        "export coco --head h -o {}",
        dir.join("h.json").display()
    ));
    let to_masks = [init.clone(), ingest.clone(), extract.clone()];
    let with = |others: &[&Vec<String>]| {
        let others = others.iter().map(|it| (*it).clone());
        to_masks.iter().cloned().chain(others).collect::<Vec<_>>()
    };
    let job = |name, prepare, command: &Vec<String>, queries| Job {
        name,
        prepare,
        command: command.clone(),
        code: 0,
        queries,
        writes: None,
    };
    vec![
        Job {
            code: 2, // one photo is none
            ..job("ingest", vec![init.clone()], &ingest, INGESTED)
        },
        job(
            "import masks",
            vec![init.clone(), ingest.clone()],
            &import,
            IMPORTED,
        ),
        job("extract", vec![init, ingest.clone()], &extract, EXTRACTED),
        job("label", with(&[]), &label, LABELLED),
        job(
            "propagate",
            with(&[&label]),
            &words("propagate --min-score -1 --min-margin 0"),
            LABELLED,
        ),
        job("embed", with(&[]), &embed, EMBEDDED),
        job("train", with(&[&classes]), &train, TRAINED),
        job("annotate", with(&[&classes, &train]), &annotate, ANNOTATED),
        Job {
            writes: Some("h.json"),
            ..job(
                "export",
                with(&[&classes, &train, &annotate]),
                &export,
                ANNOTATED,
            )
        },
        job(
            "compact",
            with(&[&classes, &train, &annotate]),
            &words("store compact"),
            EXTRACTED,
        ),
        job(
            "cleanup",
            with(&[&classes, &train, &annotate]),
            &words("store cleanup --older-than 0s"),
            EXTRACTED,
        ),
    ]
}

/// What came of killing.
#[derive(Debug, Clone, Copy)]
pub struct Killed {
    /// Runs that were killed before they had ended.
    pub kills: u32,
    /// Runs that ended before their moment came: what they made was held against the undisturbed store.
    pub completed: u32,
}

/// Copies a directory.
pub fn copy_tree(from: &Path, to: &Path) {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry.unwrap();
        let to = to.join(entry.path().strip_prefix(from).unwrap());
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(to).unwrap()
        } else {
            std::fs::copy(entry.path(), to).map(|_| ()).unwrap()
        }
    }
}

impl Job {
    /// Runs the command and kills it at moments within a run's length, until so many runs were killed. The store must be
    /// healthy each time, every byte of it, and the file it writes whole. Whenever a run ends, and in the end, the store
    /// must answer as one in which nothing was killed; then it starts anew.
    pub fn kill_at_random_moments(&self, program: &Path, dir: &Path, kills: u32) -> Killed {
        let undisturbed = self.program(program, dir, "undisturbed");
        let disturbed = Program {
            store: dir.join(self.name).join("disturbed"),
            ..undisturbed.clone()
        };
        let prepared = dir.join(self.name).join("prepared");
        copy_tree(&undisturbed.store, &prepared);
        copy_tree(&prepared, &disturbed.store);
        let args: Vec<&str> = self.command.iter().map(String::as_str).collect();
        let started = Instant::now();
        undisturbed.expect(self.code, &args);
        let whole = started.elapsed();
        let file = self.writes.map(|name| dir.join(name));
        // All but where and when it was made.
        let written = |file: &PathBuf| {
            let text = std::fs::read(file).unwrap();
            let mut content: serde_json::Value = serde_json::from_slice(&text).unwrap();
            content["info"].take();
            content
        };
        let expected = file.as_ref().map(written);

        let mut killed = Killed {
            kills: 0,
            completed: 0,
        };
        while killed.kills < kills {
            let moment = whole.mul_f64(fastrand::f64());
            let mut child = disturbed
                .command(&args)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            std::thread::sleep(moment.max(Duration::from_millis(1)));
            let _ = child.kill();
            let ended = child.wait().unwrap().code();
            disturbed.expect(0, &["check", "--deep"]);
            assert_eq!(
                file.as_ref().map(written),
                expected,
                "an old file was changed"
            );
            match ended {
                None => killed.kills += 1,
                Some(code) => {
                    assert_eq!(code, self.code, "{args:?}");
                    self.compare(&disturbed, &undisturbed);
                    std::fs::remove_dir_all(&disturbed.store).unwrap();
                    copy_tree(&prepared, &disturbed.store);
                    killed.completed += 1;
                }
            }
        }
        disturbed.expect(self.code, &args);
        disturbed.expect(0, &["check", "--deep"]);
        self.compare(&disturbed, &undisturbed);
        killed
    }

    fn compare(&self, disturbed: &Program, undisturbed: &Program) {
        for query in self.queries {
            let query = ["sql", query, "--format", "csv"];
            let expected = undisturbed.expect(0, &query);
            assert!(expected.lines().count() > 1, "{query:?}");
            assert_eq!(
                disturbed.expect(0, &query),
                expected,
                "{}: {query:?}",
                self.name
            );
        }
    }

    fn program(&self, file: &Path, dir: &Path, store: &str) -> Program {
        let program = Program {
            file: file.to_owned(),
            store: dir.join(self.name).join(store),
        };
        for command in &self.prepare {
            let args: Vec<&str> = command.iter().map(String::as_str).collect();
            let output = program.run(&args);
            let ended = output.status.code();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(ended, Some(0 | 2)), "{args:?}: {stderr}");
        }
        program
    }
}
