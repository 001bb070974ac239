//! The SQL shell, fed by a pipe. How it behaves on a terminal is tested with the Python package, which has pseudo-terminals.

use std::io::Write;
use std::process::{Output, Stdio};

use crate::support::harness::{Program, photos};

fn program(dir: &tempfile::TempDir) -> Program {
    let program = Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: dir.path().join("store"),
    };
    let photos = photos(dir.path(), 6);
    program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
    program
}

fn fed(program: &Program, args: &[&str], input: &str) -> Output {
    let mut command = program.command(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_shell_runs_statements_and_its_own_commands() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(&dir);
    let out = dir.path().join("rows.json");
    let script = format!(
        "\\mode csv\n\
         SELECT count(*) AS images -- not ; here\n FROM images; SELECT ';' AS semicolon;\n\
         \\at 1\n\
         SELECT count(*) AS before FROM images;\n\
         \\at\n\
         \\r review/labels dataset=photos\n\
         \\o {}\n\
         SELECT label FROM labels GROUP BY label ORDER BY label;\n\
         SELECT 'on screen' AS x;\n\
         \\d labels\n\
         \\q\n\
         SELECT 'not reached';\n",
        out.display()
    );
    let done = fed(&program, &["sql", "--shell"], &script);
    let (shown, said) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{said}");
    assert!(shown.contains("images\n6\n"), "{shown}");
    assert!(shown.contains("semicolon\n;\n"), "{shown}");
    assert!(shown.contains("before\n0\n"), "{shown}");
    assert!(shown.contains("photos,cat,2,0,0\n"), "{shown}");
    assert!(shown.contains("CREATE TABLE labels"), "{shown}");
    assert!(shown.contains("x\non screen\n"), "{shown}");
    assert!(!shown.contains("not reached"), "{shown}");
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert_eq!(
        rows,
        serde_json::json!([{ "label": "cat" }, { "label": "cow" }, { "label": "dog" }])
    );
}

#[test]
fn an_error_ends_a_shell_without_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(&dir);
    for (input, reason) in [
        (
            "SELECT * FROM nothing;\nSELECT 'after';\n",
            "table 'nothing' not found",
        ),
        ("\\mode xml\nSELECT 'after';\n", "'xml' is not a mode"),
        (
            "\\at no-tag\nSELECT 'after';\n",
            "the store has no tag 'no-tag'",
        ),
        ("\\r review/label\nSELECT 'after';\n", "'review/label'"),
        (
            "SELECT 'after'\n",
            "the last statement does not end with ';'",
        ),
        (
            "DROP TABLE images;\nSELECT 'after';\n",
            "only queries can be run",
        ),
    ] {
        let done = fed(&program, &["sql", "--shell"], input);
        let said = text(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{input}: {said}");
        assert!(said.contains(reason), "{input}: {said}");
        assert!(!text(&done.stdout).contains("after"), "{input}");
    }
}

#[test]
fn a_query_without_a_terminal_comes_from_stdin() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(&dir);
    let done = fed(
        &program,
        &["sql", "--format", "csv"],
        "SELECT count(*) AS n\nFROM images",
    );
    assert_eq!(text(&done.stdout), "n\n6\n");
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: dir.path().join("store"),
    };
    let pages = dir.path().join("man");
    program.expect(0, &["man", pages.to_str().unwrap()]);
    let page = std::fs::read_to_string(pages.join("grainstore-export-coco.1")).unwrap();
    assert!(page.contains(r"\-\-supercategories"), "{page}");
    assert!(page.contains("\"grainstore 0."), "{page}");
    assert!(pages.join("grainstore.1").exists());
}
