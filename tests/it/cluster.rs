//! Extraction on a cluster of processes that are killed.

use crate::support::cluster::{Kills, kill_while_extracting};
use crate::support::harness::Program;
use crate::support::new_place;

const PROGRAM: &str = env!("CARGO_BIN_EXE_grainstore");

#[test]
fn whatever_is_killed_a_cluster_makes_what_one_process_makes() {
    let dir = tempfile::tempdir().unwrap();
    let place = new_place(&dir).into();
    let kills = Kills {
        photos: 60,
        executors: 4,
        schedulers: 1,
        drivers: 1,
    };
    kill_while_extracting(PROGRAM.as_ref(), dir.path(), place, kills);
}

#[test]
fn a_cluster_that_is_not_there_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program {
        file: PROGRAM.into(),
        store: dir.path().join("store"),
    };
    program.expect(0, &["init", "--embedding-dim", "128"]);
    let told = |args: &[&str]| {
        let output = program.run(args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let checkpoint = crate::support::CHECKPOINT;
    let extract = [
        "extract",
        "--checkpoint",
        checkpoint,
        "--cluster",
        "127.0.0.1:1",
    ];
    let error = told(&extract);
    assert!(error.contains("there is no scheduler"), "{error}");
    let error = told(&["executor", "--scheduler", "nowhere"]);
    assert!(error.contains("HOST:PORT"), "{error}");
    let error = told(&[
        "executor",
        "--scheduler",
        "127.0.0.1:1",
        "--bind",
        "0.0.0.0:50060",
    ]);
    assert!(error.contains("--host"), "{error}");
}
