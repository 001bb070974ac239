//! Class names of label maps, one per line, for the indices 1, 2, ... `ingest voc --class-names` reads such a file and
//! `export voc` writes one.

use std::collections::HashSet;
use std::path::Path;

use crate::classes::{Class, ClassSet};
use crate::error::FileAction;
use crate::{Error, Result};

/// Maximum number of classes in a label map: 0 is background, 255 is void.
const MAX_CLASSES: usize = 254;
/// Windows editors write this before the first line.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Reads a file of class names.
///
/// # Errors
/// [`Error::File`]; [`Error::Content`] if a line is empty, a name occurs twice, or there are no names or more than 254.
pub fn read_class_names(path: &Path) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).map_err(Error::file(FileAction::Read, path))?;
    parse_class_names(&text, path)
}

/// Parses class names. `path` is the file that the text comes from. Blanks around a name, empty lines at the end and a
/// byte-order mark are ignored.
///
/// # Errors
/// [`Error::Content`] if a line is empty, a name occurs twice, or there are no names or more than 254.
pub fn parse_class_names(text: &str, path: &Path) -> Result<Vec<String>> {
    let bad = |place: String, reason: String| Error::Content {
        path: path.to_owned(),
        place,
        reason,
    };
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let names: Vec<String> = text
        .trim_end()
        .lines()
        .map(|line| line.trim().to_owned())
        .collect();
    let mut seen = HashSet::with_capacity(names.len());
    for (name, line) in names.iter().zip(1..) {
        if name.is_empty() {
            let reason = "the line is empty: every index needs a name".to_owned();
            return Err(bad(format!(" line {line}"), reason));
        }
        if !seen.insert(name) {
            let reason = format!("class '{name}' is named twice");
            return Err(bad(format!(" line {line}"), reason));
        }
    }
    if !(1..=MAX_CLASSES).contains(&names.len()) {
        let found = names.len();
        let reason = format!("expected 1 to {MAX_CLASSES} class names, one a line, found {found}");
        return Err(bad(String::new(), reason));
    }
    Ok(names)
}

/// A class set of a data set's name, of classes with numbers and names. Each class has its name as its label.
pub(super) fn class_set<'a>(
    dataset: &str,
    classes: impl Iterator<Item = (i64, &'a String)>,
) -> ClassSet {
    let class = |(id, name): (i64, &String)| Class {
        name: name.clone(),
        supercategory: None,
        external_id: Some(id),
        labels: vec![name.clone()],
        search: Vec::new(),
    };
    ClassSet {
        name: dataset.to_owned(),
        version: 0,
        classes: classes.map(class).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_any_editor_are_read() {
        let read = |text: &str| parse_class_names(text, Path::new("names.txt"));
        assert_eq!(
            read("\u{feff}cat\r\n dog \r\n\r\n").unwrap(),
            ["cat", "dog"]
        );
        for (text, said) in [
            ("", "'names.txt': expected 1 to 254 class names"),
            ("cat\n\ndog\n", "'names.txt' line 2: the line is empty"),
            ("\ncat\n", "'names.txt' line 1: the line is empty"),
            (
                "cat\ndog\ncat \n",
                "'names.txt' line 3: class 'cat' is named twice",
            ),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.starts_with(said), "{text:?}: {message}");
        }
        let many: String = (0..255).map(|n| format!("{n}\n")).collect();
        assert!(read(&many).unwrap_err().to_string().ends_with("found 255"));
    }
}
