//! A cluster of processes of the program, any of which is killed while images are extracted.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::CHECKPOINT;
use super::harness::{Program, photos};

/// How much is killed.
#[derive(Debug, Clone, Copy)]
pub struct Kills {
    pub photos: u32,
    pub executors: u32,
    pub schedulers: u32,
    pub drivers: u32,
}

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const EXTRACTED: &[&str] = &[
    "SELECT * FROM masks ORDER BY extractor_id, image_id, mask_index",
    "SELECT extractor_id, image_id, masks FROM extractions ORDER BY 1, 2",
    "SELECT extractor_id, kind, model_type, options FROM extractors",
    "SELECT stage, item FROM failures ORDER BY 1, 2",
];

fn dump(program: &Program) -> Vec<String> {
    let rows = |query: &&str| program.expect(0, &["sql", "--format", "csv", query]);
    EXTRACTED.iter().map(rows).collect()
}

/// A scheduler and two executors of one slot each.
pub struct Cluster<'a> {
    program: &'a Program,
    dir: &'a Path,
    pub address: String,
    scheduler: Option<Process>,
    executors: Vec<Option<Process>>,
    executor_options: &'a [&'a str],
}

impl<'a> Cluster<'a> {
    /// Starts the processes; their logs go to files of `dir`.
    pub fn start(program: &'a Program, dir: &'a Path) -> Self {
        Self::start_with(program, dir, &[])
    }

    /// [`Cluster::start`], with options for the executors.
    pub fn start_with(
        program: &'a Program,
        dir: &'a Path,
        executor_options: &'a [&'a str],
    ) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut cluster = Self {
            program,
            dir,
            address: free.local_addr().unwrap().to_string(),
            scheduler: None,
            executors: vec![None, None],
            executor_options,
        };
        drop(free);
        cluster.start_scheduler();
        cluster.start_executor(0);
        cluster.start_executor(1);
        cluster
    }

    /// Starts a scheduler, after killing the one that is there.
    fn start_scheduler(&mut self) {
        self.scheduler = None;
        let args = ["scheduler", "--bind", &self.address, "--timeout", "3"];
        self.scheduler = Some(self.spawn(&args, "scheduler.log"));
        let listens = (0..600).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            TcpStream::connect(&self.address).is_ok()
        });
        assert!(listens, "the scheduler does not listen: {}", self.logs());
    }

    /// Starts an executor, after killing the one that is there.
    pub fn start_executor(&mut self, which: usize) {
        self.executors[which] = None;
        let args: [&str; 4] = ["-v", "executor", "--scheduler", &self.address];
        let args = [&args, self.executor_options].concat();
        self.executors[which] = Some(self.spawn(&args, "executors.log"));
    }

    fn driver(&self) -> Process {
        let args = [
            "extract",
            "--checkpoint",
            CHECKPOINT,
            "--points-per-side",
            "12",
            "--chunk-images",
            "2",
            "--cluster",
            &self.address,
        ];
        self.spawn(&args, "drivers.log")
    }

    fn spawn(&self, args: &[&str], log: &str) -> Process {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join(log))
            .unwrap();
        let command = &mut self.program.command(args);
        let command = command.stdout(Stdio::null()).stderr(log);
        Process(command.spawn().unwrap())
    }

    /// Chunks that executors have staged so far, however often.
    fn staged(&self) -> usize {
        let log = std::fs::read_to_string(self.dir.join("executors.log")).unwrap_or_default();
        log.lines().filter(|line| line.contains("staged")).count()
    }

    pub fn logs(&self) -> String {
        ["scheduler.log", "executors.log", "drivers.log"]
            .map(|name| std::fs::read_to_string(self.dir.join(name)).unwrap_or_default())
            .join("\n---\n")
    }
}

/// Extracts photos on a cluster in which processes are killed, and holds the store against one that a single process made of
/// the same photos.
pub fn kill_while_extracting(file: &Path, dir: &Path, place: PathBuf, kills: Kills) {
    let there = Program {
        file: file.to_owned(),
        store: place,
    };
    let alone = Program {
        store: dir.join("alone"),
        ..there.clone()
    };
    let folder = photos(dir, kills.photos);
    for program in [&alone, &there] {
        program.expect(0, &["init", "--embedding-dim", "128"]);
        program.expect(
            0,
            &[
                "ingest",
                "images",
                folder.to_str().unwrap(),
                "--dataset",
                "p",
            ],
        );
    }
    std::fs::write(folder.join("cat/00003.png"), "gone").unwrap();
    alone.expect(
        2,
        &[
            "extract",
            "--checkpoint",
            CHECKPOINT,
            "--points-per-side",
            "12",
        ],
    );
    let expected = dump(&alone);

    let mut cluster = Cluster::start(&there, dir);
    let mut driver = cluster.driver();
    let (mut left, mut finished) = (kills, false);
    while left.executors + left.schedulers + left.drivers > 0 {
        // Each kill comes after some work was done.
        let before = cluster.staged();
        for _ in 0..1200 {
            if cluster.staged() > before || driver.0.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..400)));
        if driver.0.try_wait().unwrap().is_some() {
            finished = true;
            break;
        }
        if left.executors > 0 {
            left.executors -= 1;
            cluster.start_executor(left.executors as usize % 2);
        } else if left.schedulers > 0 {
            left.schedulers -= 1;
            cluster.start_scheduler();
        } else {
            left.drivers -= 1;
            drop(driver);
            driver = cluster.driver();
        }
    }
    let unused = left.executors + left.schedulers + left.drivers;
    assert!(
        !finished || unused == 0,
        "the photos did not last: {left:?}\n{}",
        cluster.logs()
    );
    // A job that was given up while its scheduler was away is started again.
    let mut ended = driver.0.wait().unwrap().code();
    for _ in 0..3 {
        if ended != Some(2) {
            ended = cluster.driver().0.wait().unwrap().code();
        }
    }
    assert_eq!(ended, Some(2), "{}", cluster.logs());

    assert!(dump(&there) == expected, "{}", cluster.logs());
    there.expect(0, &["check", "--deep"]);
    let staged = cluster.staged() as u32;
    // Every kill costs at most the tasks that were under way: one an executor.
    let chunks = kills.photos.div_ceil(2);
    let redone = staged.saturating_sub(chunks);
    let most = kills.executors + 3 * (kills.schedulers + kills.drivers);
    assert!(
        redone <= most,
        "{redone} chunks were done again\n{}",
        cluster.logs()
    );
    annotate_and_embed(&cluster, &there, &alone);
}

/// What comes after extraction gives the same on the cluster and in one process, too.
fn annotate_and_embed(cluster: &Cluster<'_>, there: &Program, alone: &Program) {
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/embed/clip_hf");
    for program in [there, alone] {
        program.expect(0, &["classes", "add", "all", "--from", "labels"]);
        let train = [
            "train",
            "--name",
            "h",
            "--classes",
            "all",
            "--epochs",
            "1",
            "--loss",
            "mil",
        ];
        program.expect(0, &train);
        let commands: [&[&str]; 2] = [
            &["annotate", "--head", "h", "--score-threshold", "0.3"],
            &[
                "embed",
                "--checkpoint",
                clip,
                "--name",
                "e",
                "--pool",
                "image",
            ],
        ];
        for command in commands {
            let on_cluster = ["--cluster", &cluster.address, "--chunk-images", "9"];
            let where_to = if program.store == there.store {
                &on_cluster[..]
            } else {
                &[]
            };
            // The damaged photo has no vector.
            let code = if command[0] == "embed" { 2 } else { 0 };
            program.expect(code, &[command, where_to].concat());
        }
    }
    for query in [
        "SELECT image_id, mask_index, class_index, score, entropy, kept, dropped FROM predictions
         ORDER BY image_id, mask_index",
        "SELECT image_id, vector FROM image_vectors.e ORDER BY image_id",
        "SELECT stage, item FROM failures ORDER BY stage, item",
    ] {
        let rows = |program: &Program| program.expect(0, &["sql", "--format", "csv", query]);
        assert!(rows(there) == rows(alone), "{query}");
    }
    // What the masks are called, by a head that travels with the plan; and their neighbours.
    for query in [
        "SELECT image_id, mask_index, predict('h', embedding) FROM masks ORDER BY image_id, mask_index",
        "SELECT predict('h', embedding).class, count(*) FROM masks GROUP BY 1 ORDER BY 1",
        "SELECT n.image_id, i.file_name FROM nearest('image_vectors.e', 'cat/00000.png', NULL, 3) n JOIN images i USING (image_id) ORDER BY 1",
    ] {
        let sql = ["sql", "--format", "csv", query];
        let here = there.expect(0, &sql);
        let on_cluster = ["--cluster", &cluster.address, "--cluster-rows", "0"];
        let on_cluster = there.expect(0, &[&sql[..], &on_cluster[..]].concat());
        assert!(here == on_cluster, "{query}: {here} {on_cluster}");
    }
    index(cluster, there);
    compact(cluster, there);
    there.expect(0, &["check", "--deep"]);
}

/// An index whose rows executors put into it finds what a search without one finds, if it looks at everything.
fn index(cluster: &Cluster<'_>, there: &Program) {
    let staged = cluster.staged();
    let nearest = |search: &str| {
        let found = "SELECT image_id, round(similarity, 4) FROM nearest('image_vectors.e', 'cat/00000.png', NULL, 10, ";
        let query = format!("{found}'{search}') ORDER BY 2 DESC, 1");
        there.expect(0, &["sql", "--format", "csv", &query])
    };
    let create = ["store", "index", "create", "image_vectors.e"];
    let flat = ["--kind", "ivf_flat", "--partitions", "3"];
    let on_cluster = ["--cluster", &cluster.address, "--part-rows", "20", "--json"];
    let made = there.expect(0, &[&create[..], &flat, &on_cluster].concat());
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(
        (&made["unindexed_rows"], &made["segments"]),
        (&0.into(), &1.into()),
        "{made}"
    );
    assert!(cluster.staged() > staged, "{}", cluster.logs());
    assert_eq!(nearest("nprobes=3 refine=10"), nearest("exact"));
}

/// Files that executors merge hold the same rows, and nothing of the work is left behind.
fn compact(cluster: &Cluster<'_>, there: &Program) {
    let (rows, staged) = (dump(there), cluster.staged());
    let files = || -> u64 {
        let sizes: serde_json::Value =
            serde_json::from_str(&there.expect(0, &["store", "info", "--json"])).unwrap();
        let tables = sizes["tables"].as_array().unwrap().iter();
        tables.map(|table| table["files"].as_u64().unwrap()).sum()
    };
    let before = files();
    let on_cluster = ["store", "compact", "--cluster", &cluster.address, "--json"];
    let merged = there.expect(0, &on_cluster);
    let merged: serde_json::Value = serde_json::from_str(&merged).unwrap();
    let count = |key: &str| -> u64 {
        let tables = merged.as_array().unwrap().iter();
        tables.map(|table| table[key].as_u64().unwrap()).sum()
    };
    assert!(count("files_after") > 0, "{merged}");
    let expected = before - count("files_before") + count("files_after");
    assert_eq!(files(), expected, "{merged}");
    assert!(cluster.staged() > staged, "{}", cluster.logs());
    assert!(dump(there) == rows);
    assert_eq!(there.expect(0, &on_cluster).trim(), "[]");
}
