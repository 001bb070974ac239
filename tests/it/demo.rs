//! `grainstore demo` and the scripts of examples/, on a few photos.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn example(name: &str, dir: &Path, args: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    let output = Command::new("bash")
        .arg(&script)
        .args(args)
        .env("DIR", dir)
        .env("GRAINSTORE", env!("CARGO_BIN_EXE_grainstore"))
        .env_remove("GRAINSTORE_LOG")
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_demo_goes_the_whole_way_and_so_do_the_examples() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("demo");
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_grainstore"));
        let few = ["--train-images", "6", "--test-images", "2", "--epochs", "4"];
        command
            .args(["demo", "--json"])
            .args(few)
            .arg("--where")
            .arg(&place);
        command.output().unwrap()
    };
    let output = run();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("$ grainstore extract --checkpoint"),
        "each step is shown"
    );
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps: Vec<&str> = summary["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it[0].as_str().unwrap())
        .collect();
    assert!(
        steps.contains(&"extracting (SAM, once)") && steps.contains(&"training 'coarse'"),
        "{steps:?}"
    );
    let heads = summary["heads"].as_array().unwrap();
    assert_eq!(
        (heads.len(), &heads[0]["head"], &heads[1]["classes"]),
        (2, &"fine".into(), &3.into())
    );
    assert!(heads.iter().all(|head| head["miou"].is_f64()), "{heads:?}");
    for name in [
        "overlays.png",
        "fine.html",
        "coarse.html",
        "store/grainstore.json",
    ] {
        assert!(place.join(name).is_file(), "{name}");
    }
    let exported: Value =
        serde_json::from_slice(&std::fs::read(place.join("fine.json")).unwrap()).unwrap();
    assert_eq!(exported["images"].as_array().unwrap().len(), 2);
    assert_eq!(exported["categories"].as_array().unwrap().len(), 6);
    let grown = exported["categories"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["name"] == "leaf")
        .unwrap();
    assert_eq!(grown["supercategory"], "grown");

    let again = run();
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stdout).contains("is not empty"));

    // The examples: the first two on photos of their own, the others on the demo's store.
    let own = dir.path().join("own");
    example(
        "1_photos.sh",
        &own,
        &["--train-images", "6", "--test-images", "2"],
    );
    assert!(example("2_ingest.sh", &own, &[]).contains("scenes"));
    for name in ["fine.html", "fine.json", "overlays.png"] {
        std::fs::remove_file(place.join(name)).unwrap();
    }
    // As the demo extracted: other options would be another extractor.
    example("3_extract.sh", &place, &["--points-per-side", "8"]);
    assert!(example("4_train.sh", &place, &["--epochs", "1"]).contains("coarse"));
    example("5_annotate.sh", &place, &[]);
    assert!(example("6_sql.sh", &place, &[]).starts_with("class,kept,pixels,score\n"));
    assert!(example("7_evaluate.sh", &place, &[]).contains("miou"));
    example("8_export.sh", &place, &[]);
    example("9_look.sh", &place, &[]);
    for name in [
        "fine.json",
        "fine_polygons.json",
        "fine_results.json",
        "truth.json",
        "voc/classes.txt",
        "fine.parquet",
        "fine.html",
        "overlays.png",
    ] {
        assert!(place.join(name).is_file(), "{name}");
    }
}
