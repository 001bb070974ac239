//! Checkpoints as people have them: `tests/data/sam/make_layouts.py` made them; and what people have in their place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grainstore::device::Precision;
use grainstore::error::ModelError;
use grainstore::extract::{MaskOptions, extractor_row};
use grainstore::models::sam::Checkpoint;

use crate::support::device;

fn layout(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/sam/layouts")
        .join(name)
}

/// Every tensor of the model, by official name.
fn values(checkpoint: &Checkpoint) -> BTreeMap<String, Vec<f32>> {
    let names = checkpoint.names();
    names
        .map(|name| (name.to_owned(), checkpoint.values(name).unwrap()))
        .collect()
}

fn refused(path: impl AsRef<Path>) -> String {
    Checkpoint::open(path).unwrap_err().to_string()
}

fn sha256(checkpoint: &Checkpoint) -> String {
    let config = checkpoint.config().unwrap();
    let options = MaskOptions::default();
    let row = extractor_row(checkpoint, &config, &options, Precision::F32).unwrap();
    row.checkpoint_sha256
}

#[test]
fn every_layout_is_the_same_model() {
    let flat = Checkpoint::open(layout("flat.pth")).unwrap();
    let expected = values(&flat);
    assert!(expected.len() > 100, "{}", expected.len());
    for name in [
        "lightning.ckpt",
        "micro_sam.pt",
        "torch_em.pt",
        "medsam_ddp.pth",
        "compiled_ddp.pth",
        "encoder_compiled.pth",
        "whole.pth",
        "buffers.pth",
    ] {
        let checkpoint =
            Checkpoint::open(layout(name)).unwrap_or_else(|err| panic!("{name}: {err}"));
        assert!(values(&checkpoint) == expected, "{name}: other tensors");
        assert_eq!(
            checkpoint.config().unwrap(),
            flat.config().unwrap(),
            "{name}"
        );
        checkpoint.load(&device()).unwrap();
    }
}

#[test]
fn a_folder_and_an_index_are_all_their_shards() {
    let folder = layout("hf_sharded");
    let text = std::fs::read_to_string(layout("hf_sharded.json")).unwrap();
    let mut sums: BTreeMap<String, f64> = serde_json::from_str(&text).unwrap();
    // The two places that have the positions share one tensor.
    sums.remove("prompt_encoder.shared_embedding.positional_embedding");
    let mut expected: Vec<f64> = sums.into_values().collect();
    expected.sort_by(f64::total_cmp);
    for path in [folder.clone(), folder.join("model.safetensors.index.json")] {
        let checkpoint = Checkpoint::open(&path).unwrap();
        let tensors = values(&checkpoint);
        let sum = |values: &Vec<f32>| values.iter().map(|x| f64::from(*x)).sum::<f64>();
        let mut found: Vec<f64> = tensors.values().map(sum).collect();
        found.sort_by(f64::total_cmp);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
        checkpoint.load(&device()).unwrap();
        // sha256sum *.safetensors | cut -c1-64 | LC_ALL=C sort | sha256sum
        assert_eq!(
            sha256(&checkpoint),
            "eaa85a4c9c57c1f17baae9883f1ba4f2107bf43b98abf2634dda762be33b474e"
        );
    }
}

/// Copies files of a folder elsewhere.
fn copied(from: &Path, names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

const INDEX: &str = "model.safetensors.index.json";
const SHARDS: [&str; 2] = [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
];

#[test]
fn shards_that_do_not_fit_are_named() {
    let sharded = layout("hf_sharded");
    let one = refused(sharded.join(SHARDS[0]));
    assert!(
        one.contains("is one file of several; name their folder"),
        "{one}"
    );

    let without = copied(&sharded, &[INDEX, SHARDS[1]]);
    let gone = refused(without.path());
    assert!(
        gone.contains(&format!(
            "lists 2 files, and these are not there: '{}'",
            SHARDS[0]
        )),
        "{gone}"
    );

    let unlisted = copied(&sharded, &SHARDS);
    let several = refused(unlisted.path());
    assert!(
        several.contains("several files of weights; name one: 'model-00001"),
        "{several}"
    );

    let twice = copied(&sharded, &[INDEX, SHARDS[0]]);
    std::fs::copy(sharded.join(SHARDS[0]), twice.path().join(SHARDS[1])).unwrap();
    let both = refused(twice.path());
    assert!(
        both.contains("' is in '") && both.contains("' too"),
        "{both}"
    );

    let swapped = copied(&sharded, &[INDEX]);
    for (from, to) in [(0, 1), (1, 0)] {
        std::fs::copy(sharded.join(SHARDS[from]), swapped.path().join(SHARDS[to])).unwrap();
    }
    let wrong = refused(swapped.path());
    assert!(wrong.contains("the index says that tensor '"), "{wrong}");

    let text = std::fs::read_to_string(sharded.join(INDEX)).unwrap();
    let outside = text.replace(SHARDS[0], "../model.safetensors");
    for (content, expected) in [
        ("{}", "expected JSON with a 'weight_map'"),
        ("{\"weight_map\": {}}", "lists no file"),
        (
            outside.as_str(),
            "expected the name of a file in its folder",
        ),
    ] {
        std::fs::write(without.path().join(INDEX), content).unwrap();
        let found = refused(without.path());
        assert!(found.contains(INDEX) && found.contains(expected), "{found}");
    }
}

#[test]
fn a_folder_with_one_file_is_that_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.pth");
    std::fs::copy(layout("flat.pth"), &file).unwrap();
    std::fs::write(folder.path().join("README.md"), "about").unwrap();
    std::fs::write(
        folder.path().join("config.json"),
        "{\"encoder\": \"vit_b\"}",
    )
    .unwrap();
    let (of_folder, of_file) = (
        Checkpoint::open(folder.path()).unwrap(),
        Checkpoint::open(&file).unwrap(),
    );
    assert_eq!(values(&of_folder), values(&of_file));
    assert_eq!(sha256(&of_folder), sha256(&of_file));
    std::fs::copy(&file, folder.path().join("last.ckpt")).unwrap();
    let two = refused(folder.path());
    assert!(two.contains("name one: 'last.ckpt', 'mine.pth'"), "{two}");
    std::fs::copy(&file, folder.path().join("pytorch_model.bin")).unwrap();
    Checkpoint::open(folder.path()).unwrap();
    let none = refused(tempfile::tempdir().unwrap().path());
    assert!(
        none.contains("holds no checkpoint: expected 'model.safetensors'"),
        "{none}"
    );
}

#[test]
fn the_config_of_a_folder_tells_the_decoders_heads() {
    let sam = layout("").join("..");
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("model.safetensors");
    std::fs::copy(sam.join("hf.safetensors"), &weights).unwrap();
    let config = folder.path().join("config.json");
    let heads = |heads: u64| {
        let text = format!(
            "{{\"model_type\": \"sam\", \"mask_decoder_config\": {{\"num_attention_heads\": {heads}}}}}"
        );
        std::fs::write(&config, text).unwrap();
        Checkpoint::open(folder.path())
    };
    let alone = sha256(&Checkpoint::open(&weights).unwrap());
    let eight = heads(8).unwrap();
    assert_eq!(
        (eight.config().unwrap().decoder.heads, sha256(&eight)),
        (8, alone.clone())
    );
    let four = heads(4).unwrap();
    assert_eq!(four.config().unwrap().decoder.heads, 4);
    assert_eq!(four.files().len(), 2);
    assert_ne!(sha256(&four), alone, "another model has another id");
    for wrong in [0, u64::from(u32::MAX)] {
        let message = heads(wrong).unwrap_err().to_string();
        assert!(
            message.contains(&format!("num_attention_heads' is {wrong}; expected 1")),
            "{message}"
        );
    }
    for (text, expected) in [
        (
            "{\"model_type\": \"sam2\"}",
            "'model_type' is 'sam2'; expected 'sam'",
        ),
        ("not JSON", "expected JSON"),
    ] {
        std::fs::write(&config, text).unwrap();
        let message = refused(folder.path());
        assert!(
            message.contains("config.json") && message.contains(expected),
            "{message}"
        );
    }
}

#[test]
fn checkpoints_that_cannot_be_used_say_why() {
    for (name, expected) in [
        (
            "two_copies.pth",
            "more than one model: there are 'ema.module.mask_decoder.iou_token.weight', 'model.mask_decoder.iou_token.weight'",
        ),
        (
            "encoder_only.pth",
            "holds 2 tensors, but no SAM 3, SAM 2, Segment Anything or HQ-SAM model",
        ),
        ("encoder_only.pth", "there are 'image_encoder' (2 tensors)"),
        (
            "other_pixels.pth",
            "'pixel_mean' is [0.0, 0.0, 0.0], and this program normalises pixels with [123.675, 116.28, 103.53]",
        ),
        (
            "packed.pth",
            "in a Python object of type 'torch.nn.utils.rnn.PackedSequence', which is not run; save its weights alone",
        ),
        ("torchscript.pt", "is a TorchScript archive"),
    ] {
        let message = refused(layout(name));
        assert!(
            message.contains(name) && message.contains(expected),
            "{message}"
        );
    }
    let problems = (0..50)
        .map(|i| format!("'tensor_{i}' is missing"))
        .collect();
    let path = PathBuf::from("a.pth");
    let many = ModelError::CheckpointTensors { path, problems }.to_string();
    assert!(
        many.contains("'tensor_19'") && many.ends_with("and 30 more"),
        "{many}"
    );
}

#[test]
fn what_is_no_checkpoint_is_named_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sam.pth");
    let says = |content: &[u8], expected: &str| {
        std::fs::write(&path, content).unwrap();
        let message = refused(&path);
        assert!(
            message.contains("sam.pth") && message.contains(expected),
            "{message}"
        );
    };
    says(b"", "is empty; fetch it again");
    says(b"\x80", "is cut off after 1 byte; fetch it again");
    says(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 375042383\n",
        "is a Git LFS pointer and not the file it points to, of 375042383 bytes; run 'git lfs pull'",
    );
    says(
        b"<!DOCTYPE html>\n<title>Quota exceeded</title>",
        "is a web page titled 'Quota exceeded', not weights",
    );
    says(
        b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>",
        "that says 'AccessDenied'",
    );
    says(
        b"{\"error\": \"Unauthorized\"}",
        "is JSON that begins '{\"error\": \"Unauthorized\"}'",
    );
    says(b"Entry not found", "is text that begins 'Entry not found'");
    says(b"cannot be had", "is text that begins 'cannot be had'");
    says(b"\xff\xfe\0\0\x01", "begins with the bytes ff fe 00 00 01");
    says(
        b"\0\0\0\0\0\0\0\x10{\"a\":1}",
        "takes 1152921504606846976 bytes, and has 15 bytes itself",
    );
    let photo = layout("").join("../wide.png");
    says(
        &std::fs::read(photo).unwrap(),
        "is a photo (png), not weights",
    );
    let (mut zip, zipped) = (std::fs::read(layout("flat.pth")).unwrap(), b"flat/data.pkl");
    says(
        &zip[..zip.len() / 2],
        "is cut off after 36413 bytes; fetch it again",
    );
    for at in 0..zip.len() - zipped.len() {
        if zip[at..].starts_with(zipped) {
            zip[at + zipped.len() - 1] = b'x';
        }
    }
    says(&zip, "is a ZIP archive; unpack it");
    let old = std::fs::read(layout("torch_em.pt")).unwrap();
    for keep in [old.len() / 8, old.len() / 2, old.len() - 1] {
        says(&old[..keep], &format!("is cut off after {keep} bytes"));
    }
    let shard = std::fs::read(layout("hf_sharded").join(SHARDS[0])).unwrap();
    let keep = shard.len() - 100;
    says(
        &shard[..keep],
        &format!(
            "is cut off after {keep} bytes of {}; fetch it again",
            shard.len()
        ),
    );
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_before_it_is_waited_for() {
    let message = refused("/dev/null");
    assert!(message.contains("is a pipe or a device"), "{message}");
}
