//! Manifests: files of JSON lines that list images, with their labels and whatever else is known of them.
//!
//! In: a file with one JSON object per line. `file` is the image's path relative to the image directory, `label` or
//! `labels` are its labels; every other key goes into `images.attributes`. Out: the images, in the file's order. No image
//! is opened here.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::FileAction;
use crate::{Error, Result};

/// One image of a manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct ManifestImage {
    /// Its path relative to the image directory, with `/` as separator.
    pub file: String,
    /// Its labels, which may be none.
    pub labels: Vec<String>,
    /// What else the manifest says about it.
    pub attributes: Map<String, Value>,
    /// Line of the manifest, from 1.
    pub line: u64,
}

impl fmt::Display for ManifestImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

/// A line of a manifest.
#[derive(Deserialize)]
struct Line {
    file: String,
    label: Option<String>,
    labels: Option<Vec<String>>,
    #[serde(flatten)]
    attributes: Map<String, Value>,
}

/// Reads a manifest.
///
/// # Errors
/// [`Error::File`]; [`Error::Content`] with the line that is not as described, or that names a file a second time.
pub fn read_manifest(path: &Path) -> Result<Vec<ManifestImage>> {
    let text = std::fs::read_to_string(path).map_err(Error::file(FileAction::Read, path))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let bad = |line: u64, reason: String| Error::Content {
        path: path.to_owned(),
        place: if line == 0 {
            String::new()
        } else {
            format!(" line {line}")
        },
        reason,
    };
    let mut images = Vec::new();
    let mut lines: HashMap<String, u64> = HashMap::new();
    for (text, line) in text.lines().zip(1..) {
        if text.trim().is_empty() {
            continue;
        }
        let image = parse_line(text, line).map_err(|reason| bad(line, reason))?;
        if let Some(first) = lines.insert(image.file.clone(), line) {
            let reason = format!("file '{}' is in line {first}, too", image.file);
            return Err(bad(line, reason));
        }
        images.push(image);
    }
    if images.is_empty() {
        return Err(bad(0, "it lists no images".to_owned()));
    }
    Ok(images)
}

/// Reads one line of a manifest.
///
/// # Errors
/// The reason why it is none.
pub(crate) fn parse_line(text: &str, line: u64) -> Result<ManifestImage, String> {
    let read: Line = serde_json::from_str(text).map_err(|err| {
        let reason = err.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        format!("expected a JSON object with 'file' and 'label' or 'labels': {reason}")
    })?;
    let file = read.file.replace('\\', "/");
    let file = file.strip_prefix("./").unwrap_or(&file).to_owned();
    if file.is_empty() {
        return Err("'file' is empty".to_owned());
    }
    let labels = match (read.label, read.labels) {
        (Some(_), Some(_)) => return Err("it has 'label' and 'labels'; leave one out".to_owned()),
        (label, labels) => labels.unwrap_or_else(|| label.into_iter().collect()),
    };
    if labels.iter().any(|label| label.trim().is_empty()) {
        return Err("a label is empty".to_owned());
    }
    Ok(ManifestImage {
        file,
        labels,
        attributes: read.attributes,
        line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<ManifestImage>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("manifest.jsonl");
        std::fs::write(&path, text).unwrap();
        read_manifest(&path)
    }

    #[test]
    fn lines_hold_labels_and_whatever_else_is_known() {
        let images = read(
            "\u{feff}{\"file\": \"./cat\\\\1.png\", \"label\": \"cat\", \"seed\": 7}\r\n\n{\"file\": \"2.png\", \"labels\": [\"a\", \"b\"]}\n{\"file\": \"3.png\"}",
        );
        let images = images.unwrap();
        assert_eq!(images[0].file, "cat/1.png");
        assert_eq!(images[0].labels, ["cat"]);
        assert_eq!(images[0].attributes["seed"], 7);
        assert_eq!(images[1].labels, ["a", "b"]);
        assert_eq!((images[1].line, images[1].attributes.len()), (3, 0));
        assert!(images[2].labels.is_empty());
    }

    #[test]
    fn bad_lines_are_named() {
        for (text, part) in [
            ("", "it lists no images"),
            ("{\"file\": \"a\"}\n[1]", "line 2: expected a JSON object"),
            ("{\"label\": \"cat\"}", "missing field `file`"),
            ("{\"file\": \"\"}", "'file' is empty"),
            ("{\"file\": \"a\", \"label\": \" \"}", "a label is empty"),
            (
                "{\"file\": \"a\", \"label\": \"x\", \"labels\": []}",
                "leave one out",
            ),
            (
                "{\"file\": \"a\"}\n{\"file\": \"./a\"}",
                "line 2: file 'a' is in line 1, too",
            ),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }
}
