//! Reads label files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::walk::is_system;
use crate::csv_text;
use crate::error::FileAction;
use crate::{Error, Result};

/// Names accepted for the column with the image file.
const FILE_COLUMNS: [&str; 5] = ["file", "file_name", "filename", "path", "image"];
/// Names accepted for the column with the label.
const LABEL_COLUMNS: [&str; 4] = ["label", "class", "category", "labels"];

/// A label file: all labels of every file that it names.
#[derive(Debug)]
pub(super) struct LabelFile {
    path: PathBuf,
    /// Labels with their line numbers, by file name relative to the image directory.
    labels: HashMap<String, Vec<(u64, String)>>,
    /// Files that were found on disk.
    seen: Mutex<std::collections::HashSet<String>>,
}

impl LabelFile {
    /// Reads a CSV file with a header. A file with several labels has several rows.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] with the line number.
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |place: String, reason: String| Error::Content {
            path: path.to_owned(),
            place,
            reason,
        };
        let bytes = std::fs::read(path).map_err(Error::file(FileAction::Read, path))?;
        let text = csv_text::without_mark(&bytes);
        let mut reader = csv_text::reader(text);
        let header = reader
            .headers()
            .map_err(|err| bad(" line 1".to_owned(), err.to_string()))?;
        let header = header.clone();
        let column = |names: &[&str]| {
            let place = header
                .iter()
                .position(|name| names.contains(&name.to_lowercase().as_str()));
            place.ok_or_else(|| {
                let reason = format!(
                    "expected a header with a column '{}', found '{}'",
                    names.join("', '"),
                    header.iter().collect::<Vec<_>>().join("', '")
                );
                bad(" line 1".to_owned(), reason)
            })
        };
        let (file_column, label_column) = (column(&FILE_COLUMNS)?, column(&LABEL_COLUMNS)?);

        let mut labels: HashMap<String, Vec<(u64, String)>> = HashMap::new();
        for record in reader.records() {
            let record = record.map_err(|err| bad(String::new(), err.to_string()))?;
            let line = record.position().map_or(0, |at| csv_text::line(text, at));
            let cell = |column: usize| match record.get(column) {
                Some(text) if !text.is_empty() => Ok(text),
                _ => Err(bad(
                    format!(" line {line}"),
                    "the file or its label is empty".to_owned(),
                )),
            };
            let file = cell(file_column)?.replace('\\', "/");
            let file = file.strip_prefix("./").unwrap_or(&file).to_owned();
            labels
                .entry(file)
                .or_default()
                .push((line, cell(label_column)?.to_owned()));
        }
        if labels.is_empty() {
            return Err(bad(String::new(), "it holds no labels".to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            labels,
            seen: Mutex::default(),
        })
    }

    /// Returns the labels of a file and marks the file as found.
    pub fn of(&self, file_name: &str) -> Vec<String> {
        let Some(labels) = self.labels.get(file_name) else {
            return Vec::new();
        };
        let mut seen = self.seen.lock().unwrap_or_else(|err| err.into_inner());
        seen.insert(file_name.to_owned());
        labels.iter().map(|(_, label)| label.clone()).collect()
    }

    /// Files in the label file that were not found on disk, each with its line and the reason. System files are left
    /// out, because a list of all files in a directory names them too.
    pub fn missing(&self) -> Vec<(String, String)> {
        let seen = self.seen.lock().unwrap_or_else(|err| err.into_inner());
        let mut missing: Vec<_> = self
            .labels
            .iter()
            .filter(|(file, _)| !seen.contains(*file) && !is_system(Path::new(""), Path::new(file)))
            .map(|(file, labels)| (labels.first().map_or(0, |(line, _)| *line), file))
            .collect();
        missing.sort_unstable();
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        missing
            .into_iter()
            .map(|(line, file)| {
                (
                    format!("{name} line {line}"),
                    format!("there is no image file '{file}'"),
                )
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LabelFile> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.csv");
        std::fs::write(&path, text).unwrap();
        LabelFile::read(&path)
    }

    #[test]
    fn label_files_are_read_with_their_quirks() {
        let file = read(
            "\u{feff}Path, Class,width\r\n./a/1.jpg, cat ,5\r\na/1.jpg,dog,5\r\nb\\2.jpg,\"cat, big\",5\r\n",
        );
        let file = file.unwrap();
        assert_eq!(file.of("a/1.jpg"), ["cat", "dog"]);
        assert_eq!(file.of("c.jpg"), [""; 0]);
        let missing = file.missing();
        assert_eq!(missing.len(), 1);
        assert_eq!(missing[0].0, "labels.csv line 4");
        assert!(missing[0].1.contains("b/2.jpg"));
        assert_eq!(file.of("b/2.jpg"), ["cat, big"]);
        assert!(file.missing().is_empty());
    }

    #[test]
    fn bad_label_files_name_the_line() {
        for (text, part) in [
            ("a.jpg,cat\n", "line 1: expected a header"),
            ("file,label\na.jpg\n", "line: 2"),
            (
                "file,label\na.jpg,\n",
                "line 2: the file or its label is empty",
            ),
            ("file,label\n", "no labels"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }
}
