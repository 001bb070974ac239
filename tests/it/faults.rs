//! Faults: processes that are killed, disks that are full or read-only or flip bytes, clocks that go back, stores of
//! earlier versions. Nothing is lost, nothing doubled, and nothing wrong goes unsaid.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use arrow::util::display::array_value_to_string;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use grainstore::Error;
use grainstore::catalogue::find_head;
use grainstore::progress::NoProgress;
use grainstore::schema::Table;
use grainstore::store::{Snapshot, Store};

use crate::harness::{Program, copy_tree, jobs, photos};
use crate::made_store::made_in_directory;
use crate::support::{Asks, CHECKPOINT};

const PROGRAM: &str = env!("CARGO_BIN_EXE_grainstore");

fn program(store: PathBuf) -> Program {
    Program {
        file: PROGRAM.into(),
        store,
    }
}

/// A store with photos, masks, a head and predictions.
fn annotated(dir: &Path, count: u32) -> Program {
    let program = program(dir.join("store"));
    let photos = photos(dir, count);
    for command in [
        "init --embedding-dim 128".to_owned(),
        format!("ingest images {} --commit-rows 4", photos.display()),
        format!("extract --checkpoint {CHECKPOINT} --points-per-side 2 --commit-masks 16"),
        "classes add all --from labels".to_owned(),
        "train --name h --classes all --epochs 1".to_owned(),
        "annotate --head h --score-threshold 0".to_owned(),
    ] {
        program.expect(0, &command.split(' ').collect::<Vec<_>>());
    }
    program
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Kills the runs of a command; the soak does so more often.
fn killed(name: &str, photos_there: u32, kills: u32) {
    let dir = tempfile::tempdir().unwrap();
    let photos = photos(dir.path(), photos_there);
    std::fs::write(photos.join("cat/bad.jpg"), "x").unwrap();
    let jobs = jobs(&photos, Path::new(CHECKPOINT), dir.path());
    let job = jobs.iter().find(|job| job.name == name).unwrap();
    let killed = job.kill_at_random_moments(Path::new(PROGRAM), dir.path(), kills);
    assert_eq!(killed.kills, kills);
}

#[test]
fn kill_9_while_ingesting_loses_and_doubles_nothing() {
    killed("ingest", 400, 16);
}

#[test]
fn kill_9_while_extracting_loses_and_doubles_nothing() {
    killed("extract", 60, 16);
}

#[test]
fn kill_9_while_embedding_loses_and_doubles_nothing() {
    killed("embed", 60, 16);
}

#[test]
fn kill_9_while_importing_masks_loses_and_doubles_nothing() {
    killed("import masks", 60, 6);
}

#[test]
fn kill_9_while_labelling_or_propagating_leaves_all_labels_or_none() {
    killed("label", 30, 6);
    killed("propagate", 30, 6);
}

#[test]
fn kill_9_while_training_leaves_a_whole_head_or_none() {
    killed("train", 30, 6);
}

#[test]
fn kill_9_while_annotating_loses_and_doubles_nothing() {
    killed("annotate", 30, 6);
}

#[test]
fn kill_9_while_exporting_leaves_the_old_file() {
    killed("export", 30, 6);
}

#[test]
fn kill_9_while_compacting_or_cleaning_up_changes_no_row() {
    killed("compact", 60, 6);
    killed("cleanup", 60, 6);
}

#[test]
fn four_processes_write_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path().join("store"));
    let first = photos(&dir.path().join("first"), 40);
    let all = photos(&dir.path().join("all"), 80);
    program.expect(0, &["init", "--embedding-dim", "128"]);
    program.expect(0, &["ingest", "images", first.to_str().unwrap()]);
    let extract = format!("extract --checkpoint {CHECKPOINT} --points-per-side 2 --commit-masks 8");
    let ingest = format!("ingest images {} --commit-rows 4", all.display());
    let spawn = |command: &str| {
        let args: Vec<&str> = command.split(' ').collect();
        program
            .command(&args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let at_once = [&*extract, &extract, &ingest, "store compact"].map(spawn);
    for child in at_once {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
    }
    program.expect(0, &extract.split(' ').collect::<Vec<_>>());
    program.expect(0, &["check", "--deep"]);
    // Of the photos in both folders the second copy is known by its content.
    let counts = "SELECT (SELECT count(*) FROM images) AS images, count(*) AS masks, \
                  count(DISTINCT image_id) AS extracted FROM masks";
    assert_eq!(
        program.expect(0, &["sql", counts, "--format", "csv"]),
        "images,masks,extracted\n80,320,80\n"
    );
}

/// A shell in which the file system at `dir` is a small one, or none where this machine does not allow that.
fn on_a_small_disk(dir: &Path, script: &str) -> Option<Output> {
    let mounts = format!("mount -t tmpfs -o size=1m none '{}'", dir.display());
    let shell = |script: &str| {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .output()
    };
    let allowed = shell(&mounts).is_ok_and(|output| output.status.success());
    allowed.then(|| shell(&format!("{mounts} && {script}")).unwrap())
}

#[test]
fn a_full_disk_is_told_and_the_run_goes_on_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (photos, disk) = (photos(dir.path(), 400), dir.path().join("disk"));
    std::fs::create_dir(&disk).unwrap();
    let ingest = format!(
        "'{PROGRAM}' --store '{disk}/store' ingest images '{}' --commit-rows 4",
        photos.display(),
        disk = disk.display()
    );
    let check = format!(
        "'{PROGRAM}' --store '{disk}/store' check --deep",
        disk = disk.display()
    );
    let count = format!(
        "'{PROGRAM}' --store '{}/store' sql 'SELECT count(*) AS labels FROM labels'",
        disk.display()
    );
    let script = format!(
        "{ingest}; echo \"ended $?\"; {check}; echo \"checked $?\"; \
         mount -o remount,size=64m '{}' && {ingest} && {check} && {count}",
        disk.display()
    );
    let Some(output) = on_a_small_disk(&disk, &script) else {
        eprintln!("no user namespaces here: the disk's limit is a file's limit, in the next test");
        return;
    };
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(stdout.contains("ended 1\n"), "{stdout} {stderr}");
    assert!(stderr.contains("No space left on device"), "{stderr}");
    assert!(stdout.contains("checked 0\n"), "{stdout} {stderr}");
    assert!(output.status.success(), "{stdout} {stderr}");
    assert!(stdout.ends_with("labels\n400\n"), "{stdout}");
}

#[test]
fn a_write_that_fails_is_told_and_leaves_the_store_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let program = annotated(dir.path(), 12);
    let before = program.expect(0, &["store", "info", "--json"]);
    // No file may grow beyond so many blocks; writing more fails, as on a full disk.
    let limited = |blocks: u32, args: &str| {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec '{PROGRAM}' {args}");
        let mut command = Command::new("sh");
        command.env("GRAINSTORE_STORE", &program.store);
        command.args(["-c", &script]).output().unwrap()
    };
    let file = dir.path().join("h.json");
    std::fs::write(&file, "old").unwrap();
    for args in [
        "train --name other --classes all --epochs 1".to_owned(),
        format!("export coco --head h -o {}", file.display()),
        format!("heads export h -o {}", file.display()),
        format!("heads plot h -o {}", file.display()),
    ] {
        let output = limited(1, &args);
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{args}: {stderr}");
        assert!(stderr.contains("File too large"), "{args}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
    let left = std::fs::read_dir(dir.path()).unwrap();
    let part = left
        .flatten()
        .find(|it| it.path().extension().is_some_and(|end| end == "part"));
    assert!(part.is_none(), "{part:?}");
    assert_eq!(program.expect(0, &["store", "info", "--json"]), before);
    program.expect(0, &["check", "--deep"]);
    program.expect(
        0,
        &[
            "train",
            "--name",
            "other",
            "--classes",
            "all",
            "--epochs",
            "1",
        ],
    );
    program.expect(0, &["check", "--deep"]);
}

/// Takes or gives the right to write to everything in a directory.
fn set_writable(directory: &Path, writable: bool) {
    for entry in walkdir::WalkDir::new(directory) {
        let entry = entry.unwrap();
        let mut permissions = entry.metadata().unwrap().permissions();
        let mode = permissions.mode();
        permissions.set_mode(if writable {
            mode | 0o200
        } else {
            mode & !0o222
        });
        std::fs::set_permissions(entry.path(), permissions).unwrap();
    }
}

#[test]
fn a_read_only_store_is_read_and_says_that_it_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let program = annotated(dir.path(), 6);
    set_writable(&program.store, false);
    // The superuser may write anything, unless told otherwise.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|it| it.uid() == 0);
    let run = |args: &[&str]| {
        if !is_root {
            return program.run(args);
        }
        let mut command = Command::new("setpriv");
        command.args(["--bounding-set", "-dac_override", "--", PROGRAM]);
        command.env("GRAINSTORE_STORE", &program.store).args(args);
        command.output().unwrap()
    };
    for reads in [
        &["check", "--deep"][..],
        &["sql", "SELECT count(*) FROM masks"],
        &[
            "export",
            "coco",
            "--head",
            "h",
            "-o",
            dir.path().join("h.json").to_str().unwrap(),
        ],
    ] {
        let output = run(reads);
        assert!(output.status.success(), "{reads:?}: {}", stderr(&output));
    }
    for writes in [
        &["annotate", "--head", "h", "--score-threshold", "0.9"][..],
        &["train", "--name", "g", "--classes", "all", "--epochs", "1"],
        &["store", "compact"],
        &["store", "tag", "now"],
    ] {
        let output = run(writes);
        let stderr = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{writes:?}: {stderr}");
        assert!(stderr.contains("Permission denied"), "{writes:?}: {stderr}");
        assert!(stderr.contains(program.store.to_str().unwrap()), "{stderr}");
    }
    set_writable(&program.store, true);
    program.expect(0, &["annotate", "--head", "h", "--score-threshold", "0.9"]);
}

#[test]
fn a_store_that_is_deleted_under_way_ends_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let photos = photos(dir.path(), 400);
    let program = program(dir.path().join("store"));
    program.expect(0, &["init"]);
    let child = program
        .command(&[
            "ingest",
            "images",
            photos.to_str().unwrap(),
            "--commit-rows",
            "2",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let commits = program.store.join("commits");
    let started = Instant::now();
    while std::fs::read_dir(&commits).unwrap().count() < 4 {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "nothing was committed"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    // The process writes on, so that once may not be enough.
    while std::fs::remove_dir_all(&program.store).is_err() {}
    let output = child.wait_with_output().unwrap();
    let stderr = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains(program.store.to_str().unwrap()), "{stderr}");
    assert!(
        stderr.contains("was removed while it was in use"),
        "{stderr}"
    );
    assert!(!stderr.contains("panicked"), "{stderr}");
    // What is left stands in nobody's way.
    let _ = std::fs::remove_dir_all(&program.store);
    program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    program.expect(0, &["check", "--deep"]);
}

/// Every row of every table, as text.
async fn everything(snapshot: &Snapshot) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for table in Table::ALL {
        let mut rows = snapshot.scan(table).await?.stream().await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            for row in 0..batch.num_rows() {
                let columns = batch.columns().iter();
                let cells = columns.map(|column| array_value_to_string(column, row));
                found.push(cells.collect::<Result<Vec<_>, _>>()?.join("|"));
            }
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_found_or_is_nowhere_that_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let program = annotated(dir.path(), 6);
    let uri = program.store.to_str().unwrap();
    let snapshot = Store::open(uri).await.unwrap().snapshot().await.unwrap();
    let before = everything(&snapshot).await.unwrap();
    assert!(before.len() > 50);

    let files: Vec<PathBuf> = walkdir::WalkDir::new(&program.store)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.metadata().unwrap().is_file())
        .map(walkdir::DirEntry::into_path)
        .filter(|path| std::fs::metadata(path).unwrap().len() > 0)
        .collect();
    let (mut found, mut harmless) = (0, 0);
    for file in &files {
        let whole = std::fs::read(file).unwrap();
        let mut flipped = whole.clone();
        flipped[fastrand::usize(..whole.len())] ^= 1 << fastrand::u32(..8);
        std::fs::write(file, &flipped).unwrap();
        match damage(uri).await {
            Some(_) => found += 1,
            None => {
                let snapshot = Store::open(uri).await.unwrap().snapshot().await.unwrap();
                let after = everything(&snapshot).await.unwrap();
                assert!(after == before, "{}: not found, and read", file.display());
                harmless += 1;
            }
        }
        std::fs::write(file, &whole).unwrap();
    }
    assert_eq!(damage(uri).await, None);
    assert!(found > 15, "{found} found, {harmless} harmless");
}

/// What a deep check says of a store, if it is not healthy.
async fn damage(uri: &str) -> Option<String> {
    let snapshot = match Store::open(uri).await {
        Ok(store) => store.snapshot().await,
        Err(err) => Err(err),
    };
    match snapshot {
        Err(err) => Some(err.to_string()),
        Ok(snapshot) => {
            let damaged = snapshot.verify_all(&NoProgress).await.unwrap().damaged;
            (!damaged.is_empty()).then(|| format!("{damaged:?}"))
        }
    }
}

#[tokio::test]
async fn a_manifest_that_lance_panics_over_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let program = annotated(dir.path(), 3);
    let uri = program.store.to_str().unwrap();
    let snapshot = Store::open(uri).await.unwrap().snapshot().await.unwrap();
    let version = snapshot.record().tables["images"];
    let name = format!("images.lance/_versions/{:020}.manifest", u64::MAX - version);
    let file = program.store.join(name);
    let whole = std::fs::read(&file).unwrap();
    // The last 16 bytes say where the content begins, and what the file is.
    let at = whole.len() - 16;
    for (byte, bit) in (at..at + 8).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut flipped = whole.clone();
        flipped[byte] ^= 1 << bit;
        std::fs::write(&file, &flipped).unwrap();
        assert!(damage(uri).await.is_some(), "byte {byte}, bit {bit}");
    }
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(damage(uri).await, None);
}

#[test]
fn nothing_is_made_of_damaged_files() {
    let dir = tempfile::tempdir().unwrap();
    let program = annotated(dir.path(), 6);
    let data = program.store.join("masks.lance/data");
    let largest = std::fs::read_dir(&data)
        .unwrap()
        .map(|it| it.unwrap().path());
    let file = largest
        .max_by_key(|it| it.metadata().unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    // Within the embeddings, of which every bit pattern is one.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&file, bytes).unwrap();

    let name = file.file_name().unwrap().to_str().unwrap();
    let deep = program.run(&["check", "--deep"]);
    let stdout = String::from_utf8_lossy(&deep.stdout);
    assert_eq!(deep.status.code(), Some(1));
    assert!(
        stdout.contains(name) && stdout.contains("backup"),
        "{stdout}"
    );
    let json = program.run(&["check", "--deep", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let path = json["verified"]["damaged"][0]["path"].as_str().unwrap();
    assert_eq!(path, format!("masks.lance/data/{name}"));

    let out = dir.path().join("h.json");
    for args in [
        &["train", "--name", "g", "--classes", "all", "--epochs", "1"][..],
        &["annotate", "--head", "h", "--score-threshold", "0.9"],
        &["rethreshold", "--head", "h", "--score-threshold", "0.9"],
        &["export", "coco", "--head", "h", "-o", out.to_str().unwrap()],
        &["store", "compact"],
    ] {
        let stderr = program.fails(args);
        assert!(stderr.contains(name), "{args:?}: {stderr}");
        assert!(stderr.contains("content has changed"), "{args:?}: {stderr}");
    }
    assert!(!out.exists());
}

#[tokio::test]
async fn what_is_newest_does_not_go_by_a_clock_that_was_set_back() {
    let made = made_in_directory().await;
    made.add_classes(&["cat", "dog"], 2, 0).await;
    let classes = made
        .classes("kinds", &[("cat", &["cat"]), ("dog", &["dog"])])
        .await;
    // The newest commit is of a year that is yet to come, as if the clock had been wrong then.
    let store = Path::new(made.store.uri());
    let version = made.store.snapshot().await.unwrap().version();
    let record = store.join(format!("commits/{version:010}.json"));
    let mut content: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    let ahead = Utc::now() + TimeDelta::days(700);
    content["committed_at"] = serde_json::to_value(ahead).unwrap();
    content.as_object_mut().unwrap().remove("xxh3");
    std::fs::write(&record, content.to_string()).unwrap();

    let train = async || {
        made.train(made.request("h", classes.clone()).await)
            .await
            .unwrap()
    };
    let first = train().await;
    let second = train().await;
    assert_ne!(first.head_id, second.head_id);
    let snapshot = made.store.snapshot().await.unwrap();
    let newest = find_head(&snapshot, "h").await.unwrap();
    assert_eq!(newest.head_id, second.head_id);
    assert!(newest.created_at > ahead);
    let log = made.store.log().await.unwrap();
    let times: Vec<DateTime<Utc>> = log.iter().map(|it| it.committed_at).collect();
    assert!(times.is_sorted(), "{times:?}");
}

/// A store that grainstore 0.1.0 made before stores had checksums: see tests/data/store.
fn earlier_store(dir: &Path) -> Program {
    let from = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store/format_1");
    let store = dir.join("store");
    copy_tree(Path::new(from), &store);
    program(store)
}

#[test]
fn a_store_of_an_earlier_version_opens_and_grows() {
    let dir = tempfile::tempdir().unwrap();
    let program = earlier_store(dir.path());
    let rows = "SELECT (SELECT count(*) FROM images) AS images, (SELECT count(*) FROM masks) AS masks, \
                (SELECT count(*) FROM predictions) AS predictions, (SELECT count(*) FROM ground_truth) AS objects, \
                (SELECT count(*) FROM evaluations) AS metrics, (SELECT sum(rle_area(rle)) FROM masks) AS area, \
                (SELECT count(*) FROM failures) AS failures";
    let rows = ["sql", rows, "--format", "csv"];
    let before = program.expect(0, &rows);
    assert_eq!(
        before,
        "images,masks,predictions,objects,metrics,area,failures\n9,38,2,10,81,108430,1\n"
    );
    let deep = program.expect(0, &["check", "--deep"]);
    assert!(deep.contains("took no checksum"), "{deep}");
    assert_eq!(
        program.expect(0, &[&rows[..], &["--at", "first"]].concat()),
        before
    );

    let status = program.expect(0, &["heads", "status"]);
    assert!(status.contains("predictions were imported"), "{status}");

    let photos = photos(dir.path(), 5);
    program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    program.expect(
        0,
        &[
            "extract",
            "--checkpoint",
            CHECKPOINT,
            "--points-per-side",
            "2",
            "--where",
            "dataset = 'photos'",
        ],
    );
    program.expect(0, &["store", "compact"]);
    program.expect(0, &["store", "cleanup", "--older-than", "0s"]);
    let after = program.expect(0, &rows);
    assert!(after.contains("\n14,58,2,10,81,"), "{after}");
    program.expect(0, &["check", "--deep"]);
}

#[test]
fn a_store_of_another_format_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let program = earlier_store(dir.path());
    let header = program.store.join("grainstore.json");
    let text = std::fs::read_to_string(&header).unwrap();
    for (version, advice) in [(0, "update grainstore"), (3, "update grainstore")] {
        let other = text.replace(
            "\"format_version\": 1",
            &format!("\"format_version\": {version}"),
        );
        assert_ne!(other, text);
        std::fs::write(&header, other).unwrap();
        for args in [
            &["check"][..],
            &["ingest", "images", "."],
            &["store", "info"],
        ] {
            let stderr = program.fails(args);
            assert!(stderr.contains(advice), "{stderr}");
            assert!(
                stderr.contains(&format!("format version {version}")),
                "{stderr}"
            );
        }
    }
    std::fs::write(&header, text).unwrap();
    program.expect(0, &["check"]);
}
