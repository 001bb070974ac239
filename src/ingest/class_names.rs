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

/// The classes of the values of label maps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClassValues(Vec<(u32, String)>);

impl ClassValues {
    /// Reads a file of classes: a name a line, for the values 1, 2, ...; or a value and a name a line, apart by a comma, a tab
    /// or a blank. Of more than two columns, apart by tabs, the first and the last count, as in ADE20K's objectInfo150.txt. A
    /// first line without a value is a heading.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] for a value or a name that is there twice, an empty line, or a file without classes.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::file(FileAction::Read, path))?;
        Self::parse(&text, path)
    }

    /// Parses a file of classes. `path` is the file that the text comes from.
    ///
    /// # Errors
    /// As [`ClassValues::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let bad = |line: usize, reason: String| Error::Content {
            path: path.to_owned(),
            place: format!(" line {line}"),
            reason,
        };
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let mut lines: Vec<(usize, &str)> = (1..).zip(text.trim_end().lines()).collect();
        let is_valued = |(_, line): &(usize, &str)| value_and_name(line).is_some();
        if lines.iter().skip(1).any(is_valued) && !lines.first().is_some_and(is_valued) {
            lines.remove(0);
        }
        let has_values = lines.iter().any(is_valued);
        let mut classes: Vec<(u32, String)> = Vec::with_capacity(lines.len());
        for (place, (number, line)) in (1..).zip(lines) {
            let (value, name) = match value_and_name(line) {
                Some(found) => found,
                None if has_values => {
                    return Err(bad(
                        number,
                        format!("'{line}' does not begin with a value, as other lines do"),
                    ));
                }
                None => (place, line.trim()),
            };
            if name.is_empty() {
                return Err(bad(number, "there is no name".to_owned()));
            }
            for (known, other) in &classes {
                if *known == value || other == name {
                    return Err(bad(
                        number,
                        format!("value {value} or class '{name}' is there twice"),
                    ));
                }
            }
            classes.push((value, name.to_owned()));
        }
        if classes.is_empty() {
            return Err(bad(1, "there are no classes".to_owned()));
        }
        Ok(Self(classes))
    }

    /// The class of a value.
    pub fn name(&self, value: u32) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| *known == value);
        found.map(|(_, name)| name.as_str())
    }

    /// The values and names, in the order of the file.
    pub(super) fn numbered(&self) -> impl Iterator<Item = (i64, &String)> {
        self.0.iter().map(|(value, name)| (i64::from(*value), name))
    }
}

/// The value and the name of a line that begins with a value.
fn value_and_name(line: &str) -> Option<(u32, &str)> {
    let apart = ['\t', ',', ' ']
        .into_iter()
        .find(|it| line.trim().contains(*it))?;
    let (value, rest) = line.trim().split_once(apart)?;
    let name = match apart {
        '\t' => rest.rsplit(apart).next().unwrap_or(rest),
        _ => rest,
    };
    Some((value.trim().parse().ok()?, name.trim()))
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
    fn values_are_read_in_all_spellings() {
        let read = |text: &str| ClassValues::parse(text, Path::new("c.csv"));
        let expected = ClassValues(vec![
            (7, "road".to_owned()),
            (24, "traffic light".to_owned()),
        ]);
        for text in [
            "7,road\n24,traffic light\n",
            "value,name\r\n7, road\r\n24,traffic light",
            "7 road\n24 traffic light",
            "Idx\tRatio\tName\n7\t0.5\troad\n24\t0.1\ttraffic light\n",
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        let plain = read("road\ntraffic light\n").unwrap();
        assert_eq!(
            (plain.name(1), plain.name(2)),
            (Some("road"), Some("traffic light"))
        );
        for (text, said) in [
            ("", "there are no classes"),
            ("7,road\nsky", "line 2: 'sky' does not begin with a value"),
            (
                "7,road\n7,sky",
                "line 2: value 7 or class 'sky' is there twice",
            ),
            ("7,", "line 1: there is no name"),
        ] {
            let found = read(text).unwrap_err().to_string();
            assert!(found.contains(said), "{text}: {found}");
        }
    }

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
