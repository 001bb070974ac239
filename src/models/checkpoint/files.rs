//! Finds the files of a checkpoint.
//!
//! In: the path that the user names: a file, a folder, or the index of several files. Out: the weight files and the
//! config beside them. Weights are not read here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::error::NotWeights;
use crate::models::error::{ModelError, Result};

/// Names that Hugging Face's programs give to weights, in the order in which they look for them.
const NAMES: [&str; 4] = [
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
];

/// Extensions of files that may be weights.
const EXTENSIONS: [&str; 5] = ["safetensors", "pth", "pt", "bin", "ckpt"];

const INDEX: &str = ".index.json";

/// Limit on the size of an index, which names each tensor once. Those of published models take about 20 KB.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// The files of a checkpoint.
#[derive(Debug, PartialEq)]
pub(super) struct CheckpointFiles {
    /// Weight files; at least one.
    pub weights: Vec<PathBuf>,
    /// The file of each tensor, by the tensor's name; empty for a single file.
    pub index: BTreeMap<String, PathBuf>,
    /// `config.json`, if a folder was named that has one.
    pub config: Option<PathBuf>,
}

/// Finds the files of the checkpoint at a path.
///
/// # Errors
/// [`ModelError::OpenCheckpoint`], [`ModelError::NotWeights`] for a pipe, [`ModelError::CheckpointFolder`],
/// [`ModelError::CheckpointShard`], [`ModelError::CheckpointIndex`].
pub(super) fn find(path: &Path) -> Result<CheckpointFiles> {
    let found = fs::metadata(path).map_err(cannot_open(path))?;
    if found.is_dir() {
        return in_folder(path);
    }
    if !found.is_file() {
        return Err(ModelError::NotWeights {
            path: path.to_owned(),
            kind: NotWeights::NotAFile,
        });
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(INDEX) {
        return indexed(path);
    }
    if is_shard(&name) {
        return Err(ModelError::CheckpointShard {
            path: path.to_owned(),
        });
    }
    Ok(CheckpointFiles {
        weights: vec![path.to_owned()],
        index: BTreeMap::new(),
        config: None,
    })
}

pub(super) fn cannot_open(path: &Path) -> impl FnOnce(std::io::Error) -> ModelError + '_ {
    |source| ModelError::OpenCheckpoint {
        path: path.to_owned(),
        source,
    }
}

fn in_folder(folder: &Path) -> Result<CheckpointFiles> {
    let known = NAMES.iter().map(|name| folder.join(name));
    let weights = match known.into_iter().find(|path| path.is_file()) {
        Some(path) => path,
        None => only_file(folder)?,
    };
    let config = folder.join("config.json");
    Ok(CheckpointFiles {
        config: config.is_file().then_some(config),
        ..find(&weights)?
    })
}

/// The only file in a folder that may be weights.
fn only_file(folder: &Path) -> Result<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).map_err(cannot_open(folder))? {
        let path = entry.map_err(cannot_open(folder))?.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        if EXTENSIONS.contains(&extension.as_ref()) && path.is_file() {
            found.insert(path);
        }
    }
    let mut paths = found.iter();
    match (paths.next(), paths.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => Err(ModelError::CheckpointFolder {
            path: folder.to_owned(),
            found: found.iter().map(|path| quoted_name(path)).collect(),
        }),
    }
}

fn quoted_name(path: &Path) -> String {
    format!(
        "'{}'",
        path.file_name().unwrap_or_default().to_string_lossy()
    )
}

/// Whether a name is that of one of several files, such as `model-00001-of-00002.safetensors`.
fn is_shard(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let Some((before, of)) = stem.rsplit_once("-of-") else {
        return false;
    };
    let number = |text: &str| text.parse::<u32>().ok();
    let part = before.rsplit_once('-').and_then(|(_, part)| number(part));
    part.is_some() && number(of).is_some_and(|of| of > 1)
}

/// The index that Hugging Face's `save_pretrained` writes beside several weight files.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The first `max_bytes` bytes of a text file.
pub(in crate::models) fn read_text(path: &Path, max_bytes: u64) -> Result<String> {
    let mut text = String::new();
    let file = File::open(path).map_err(cannot_open(path))?;
    let read = file.take(max_bytes).read_to_string(&mut text);
    read.map_err(cannot_open(path))?;
    Ok(text)
}

fn indexed(path: &Path) -> Result<CheckpointFiles> {
    let wrong = |reason: String| ModelError::CheckpointIndex {
        path: path.to_owned(),
        reason,
    };
    let text = read_text(path, MAX_INDEX_BYTES)?;
    let index: Index = serde_json::from_str(&text)
        .map_err(|err| wrong(format!("expected JSON with a 'weight_map': {err}")))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = BTreeMap::new();
    for (tensor, name) in index.weight_map {
        if !is_plain_name(&name) {
            return Err(wrong(format!(
                "tensor '{tensor}' is said to be in '{name}'; expected the name of a file in its folder"
            )));
        }
        files.insert(tensor, folder.join(name));
    }
    let weights: BTreeSet<PathBuf> = files.values().cloned().collect();
    let gone: Vec<String> = weights
        .iter()
        .filter(|file| !file.is_file())
        .map(|file| quoted_name(file))
        .collect();
    if !gone.is_empty() {
        return Err(wrong(format!(
            "it lists {} files, and these are not there: {}; fetch them into its folder",
            weights.len(),
            gone.join(", ")
        )));
    }
    if weights.is_empty() {
        return Err(wrong("its 'weight_map' lists no file".to_owned()));
    }
    Ok(CheckpointFiles {
        weights: weights.into_iter().collect(),
        index: files,
        config: None,
    })
}

fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(
        (parts.next(), parts.next()),
        (Some(Component::Normal(part)), None) if part == name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_told_from_whole_files() {
        for (name, expected) in [
            ("model-00001-of-00002.safetensors", true),
            ("pytorch_model-2-of-3.bin", true),
            ("model-00001-of-00001.safetensors", false),
            ("best-of-three.pth", false),
            ("run-1-of-many.pth", false),
            ("sam_vit_b_01ec64.pth", false),
        ] {
            assert_eq!(is_shard(name), expected, "{name}");
        }
    }

    #[test]
    fn an_index_names_files_of_its_own_folder_only() {
        for (name, expected) in [
            ("a.safetensors", true),
            ("../a.safetensors", false),
            ("/etc/passwd", false),
            ("b/a.safetensors", false),
            ("a.safetensors/", false),
            ("..", false),
            ("", false),
        ] {
            assert_eq!(is_plain_name(name), expected, "{name}");
        }
    }
}
