//! Files of class sets that people write: TOML or CSV.

use std::path::Path;

use serde::Deserialize;

use super::Class;
use crate::csv_text;
use crate::error::FileAction;
use crate::{Error, Result};

/// Reads the classes of a file, in the file's order.
///
/// TOML (`.toml`) is a list of `[[class]]` with `name`, `labels` and, optionally, `supercategory`, `id` and `search`; if
/// labels are left out, the name is the label. CSV has the columns `class` and `label`, one row per label, and optionally
/// `supercategory`, `id` and `search`.
///
/// # Errors
/// [`Error::Content`] naming the file and, where there is one, the line; [`Error::File`] if it cannot be
/// read.
pub fn parse_class_file(path: &Path) -> Result<Vec<Class>> {
    let text = std::fs::read_to_string(path).map_err(Error::file(FileAction::Read, path))?;
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let parsed = match extension.to_lowercase().as_str() {
        "toml" => parse_toml(&text),
        "csv" => parse_csv(&text),
        _ => Err((
            String::new(),
            "its extension names no format of class sets; expected .toml or .csv".to_owned(),
        )),
    };
    parsed.map_err(|(place, reason)| Error::Content {
        path: path.to_owned(),
        place,
        reason,
    })
}

/// The place in the file, and what is wrong there.
type Problem = (String, String);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlFile {
    #[serde(default)]
    class: Vec<TomlClass>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TomlClass {
    name: String,
    labels: Option<Vec<String>>,
    supercategory: Option<String>,
    id: Option<i64>,
    #[serde(default)]
    search: Vec<String>,
}

fn parse_toml(text: &str) -> Result<Vec<Class>, Problem> {
    let file: TomlFile = toml::from_str(text).map_err(|err| {
        let place = err.span().map_or(String::new(), |span| {
            let before = text.get(..span.start).unwrap_or_default();
            format!(" line {}", before.matches('\n').count() + 1)
        });
        (place, err.message().to_owned())
    })?;
    let class = |class: TomlClass| Class {
        labels: class.labels.unwrap_or_else(|| vec![class.name.clone()]),
        name: class.name,
        supercategory: class.supercategory,
        external_id: class.id,
        search: class.search,
    };
    Ok(file.class.into_iter().map(class).collect())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CsvRow {
    class: String,
    label: String,
    #[serde(default)]
    supercategory: Option<String>,
    #[serde(default)]
    id: Option<i64>,
    #[serde(default)]
    search: Option<String>,
}

fn parse_csv(text: &str) -> Result<Vec<Class>, Problem> {
    let mut reader = csv_text::reader(text.as_bytes());
    let mut classes: Vec<Class> = Vec::new();
    let line = |position: Option<&csv::Position>| {
        position.map_or(String::new(), |position| {
            format!(" line {}", csv_text::line(text.as_bytes(), position))
        })
    };
    let failed = |err: csv::Error| (line(err.position()), csv_reason(&err));
    let header = reader.headers().map_err(failed)?.clone();
    for record in reader.records() {
        let record = record.map_err(failed)?;
        let row: CsvRow = record.deserialize(Some(&header)).map_err(failed)?;
        let supercategory = row.supercategory.filter(|text| !text.is_empty());
        let search = row.search.filter(|text| !text.is_empty());
        let Some(class) = classes.iter_mut().find(|class| class.name == row.class) else {
            classes.push(Class {
                name: row.class,
                supercategory,
                external_id: row.id,
                labels: vec![row.label],
                search: search.into_iter().collect(),
            });
            continue;
        };
        class.labels.push(row.label);
        class.search.extend(search);
        // Any row of a class may give its id and supercategory, but no two rows may give different ones.
        if differ(&class.external_id, &row.id) || differ(&class.supercategory, &supercategory) {
            return Err((
                line(record.position()),
                format!(
                    "class '{}' has another id or supercategory above",
                    row.class
                ),
            ));
        }
        class.external_id = class.external_id.or(row.id);
        class.supercategory = class.supercategory.take().or(supercategory);
    }
    Ok(classes)
}

/// Whether both values are given and differ.
fn differ<T: PartialEq>(one: &Option<T>, other: &Option<T>) -> bool {
    one.is_some() && other.is_some() && one != other
}

/// The reason of an error, without the crate's text about its position.
fn csv_reason(err: &csv::Error) -> String {
    match err.kind() {
        csv::ErrorKind::Deserialize { err, .. } => err.to_string(),
        _ => err.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_row_may_say_what_a_class_is() {
        let late = "class,label,supercategory,id\npet,cat,,\npet,dog,animal,3\n";
        let classes = parse_csv(late).unwrap();
        assert_eq!(classes[0].external_id, Some(3));
        assert_eq!(classes[0].supercategory.as_deref(), Some("animal"));
        let (place, reason) = parse_csv("class,label,id\npet,cat,3\npet,dog,4\n").unwrap_err();
        assert_eq!(place, " line 3");
        assert!(reason.contains("'pet'"), "{reason}");
        assert!(parse_csv("class,label,colour\npet,cat,red\n").is_err());
    }

    #[test]
    fn toml_and_csv_say_the_same() {
        let toml = "[[class]]\nname = \"pet\"\nlabels = [\"cat\", \"dog\"]\nid = 3\n\
            [[class]]\nname = \"person\"\n";
        let csv = "class,label,id\npet,cat,3\nperson,person,\npet, dog,3\n";
        let (toml, csv) = (parse_toml(toml).unwrap(), parse_csv(csv).unwrap());
        assert_eq!(toml, csv);
        assert_eq!(
            (toml[0].name.as_str(), toml[0].external_id),
            ("pet", Some(3))
        );
        assert_eq!(toml[0].labels, ["cat", "dog"]);
        assert_eq!(toml[1].labels, ["person"]);

        let toml = "[[class]]\nname = \"tv\"\nlabels = [\"tv\", \"monitor\"]\nsearch = [\"television\", \"screen\"]\n";
        let csv = "class,label,search\ntv,tv,television\ntv,monitor,screen\n";
        let (toml, csv) = (parse_toml(toml).unwrap(), parse_csv(csv).unwrap());
        assert_eq!(toml, csv);
        assert_eq!(toml[0].search, ["television", "screen"]);
    }

    #[test]
    fn mistakes_are_placed() {
        let (place, reason) = parse_toml("[[class]]\nname = \"a\"\nlabel = [\"b\"]\n").unwrap_err();
        assert_eq!(place, " line 3");
        assert!(reason.contains("unknown field `label`"), "{reason}");
        let (_, reason) = parse_csv("class;label\na;b\n").unwrap_err();
        assert!(
            reason.contains("expected one of `class`, `label`"),
            "{reason}"
        );
        let (place, reason) = parse_csv("class,label,id\na,b,x\n").unwrap_err();
        assert_eq!(place, " line 2");
        assert!(reason.contains("invalid digit"), "{reason}");
    }
}
