//! Named reports: files of `queries/` with a header.
//!
//! ```sql
//! -- asks:    How many images has each split?
//! -- params:  dataset TEXT = NULL -- only this data set
//! --          least BIGINT = 1    -- leave out splits with fewer images
//! -- reads:   images
//! -- grain:   one row per split
//! -- columns: split, images
//! SELECT ... WHERE $dataset IS NULL OR dataset = $dataset
//! ```
//!
//! A parameter without `=` must be given. Its value goes in as a typed value, never as text.
//!
//! A report may build on others: `-- uses: eval/matches, eval/objects` makes their rows tables named `matches` and
//! `objects`, with the parameters of the same names; `eval/matches AS others (head = other; policy = other_policy)` makes
//! them the table `others`, with the parameters `other` and `other_policy` in the places of `head` and `policy`.
//! Such rows are held in memory while the session lasts, unless the report has a line `-- view: why`.

use std::collections::HashMap;

use datafusion::common::ScalarValue;

use crate::{Error, Result};

/// A query with a name, a description and parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    name: String,
    text: String,
    asks: String,
    grain: String,
    columns: String,
    uses: Vec<Used>,
    is_view: bool,
    parameters: Vec<Parameter>,
}

/// A report that another builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Its name.
    pub report: String,
    /// What its rows are called there.
    pub table: String,
    /// Its parameters that take the value of another one there: its own name, the other's.
    pub renamed: Vec<(String, String)>,
}

impl Used {
    /// Reads `name`, `name AS table` or `name AS table (parameter = other; ...)`.
    fn parse(text: &str) -> Option<Self> {
        let (text, renamed) = match text.split_once('(') {
            Some((text, renamed)) => (text, renamed.strip_suffix(')')?),
            None => (text, ""),
        };
        let mut pairs = Vec::new();
        for pair in renamed.split(';').filter(|pair| !pair.trim().is_empty()) {
            let (own, other) = pair.split_once('=')?;
            pairs.push((own.trim().to_owned(), other.trim().to_owned()));
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let (report, table) = match words[..] {
            [report] => (report, report.rsplit('/').next().unwrap_or(report)),
            [report, "AS", table] => (report, table),
            _ => return None,
        };
        Some(Self {
            report: report.to_owned(),
            table: table.to_owned(),
            renamed: pairs,
        })
    }
}

/// A parameter of a report.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Its name: `$name` in the query.
    pub name: String,
    /// What values it takes.
    pub kind: ParameterType,
    /// Its value where none is given; outer `None`: one must be.
    pub default: Option<ScalarValue>,
    /// What it does.
    pub about: String,
}

/// Types of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterType {
    /// Any text.
    Text,
    /// A whole number.
    Bigint,
    /// A number.
    Double,
    /// `true` or `false`.
    Boolean,
}

impl ParameterType {
    fn parse(word: &str) -> Option<Self> {
        match word.to_ascii_uppercase().as_str() {
            "TEXT" => Some(Self::Text),
            "BIGINT" => Some(Self::Bigint),
            "DOUBLE" => Some(Self::Double),
            "BOOLEAN" => Some(Self::Boolean),
            _ => None,
        }
    }

    /// The SQL name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Bigint => "BIGINT",
            Self::Double => "DOUBLE",
            Self::Boolean => "BOOLEAN",
        }
    }

    fn value(self, text: &str) -> Option<ScalarValue> {
        if text == "NULL" {
            return Some(match self {
                Self::Text => ScalarValue::Utf8(None),
                Self::Bigint => ScalarValue::Int64(None),
                Self::Double => ScalarValue::Float64(None),
                Self::Boolean => ScalarValue::Boolean(None),
            });
        }
        match self {
            Self::Text => Some(ScalarValue::Utf8(Some(text.to_owned()))),
            Self::Bigint => text.parse().ok().map(|n| ScalarValue::Int64(Some(n))),
            Self::Double => text.parse().ok().map(|x| ScalarValue::Float64(Some(x))),
            Self::Boolean => text.parse().ok().map(|b| ScalarValue::Boolean(Some(b))),
        }
    }
}

/// `queries/`, embedded: name and text.
macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../queries/", $name, ".sql")))),*]
    };
}

const EMBEDDED: &[(&str, &str)] = embedded![
    "annotate/chosen_head",
    "annotate/chosen_policy",
    "annotate/chosen_predictions",
    "annotate/policies",
    "check/class_sets_in_order",
    "check/evaluations_once",
    "check/extractions_masks",
    "check/extractions_once",
    "check/extractors_once",
    "check/failures_once",
    "check/ground_truth_geometry",
    "check/ground_truth_once",
    "check/ground_truth_without_image",
    "check/heads_once",
    "check/images_once",
    "check/images_values",
    "check/labels_once",
    "check/labels_without_image",
    "check/masks_geometry",
    "check/masks_once",
    "check/masks_without_extractor",
    "check/masks_without_image",
    "check/predictions_once",
    "check/predictions_without_head",
    "check/predictions_without_mask",
    "classes/from_ground_truth",
    "classes/from_labels",
    "eval/annotated_regions",
    "eval/average_precision",
    "eval/best_threshold",
    "eval/boundary_iou",
    "eval/calibration",
    "eval/calibration_error",
    "eval/coco",
    "eval/coco_by_class",
    "eval/compare_ap",
    "eval/compare_miou",
    "eval/confusion",
    "eval/consistency",
    "eval/detections",
    "eval/evaluated_classes",
    "eval/evaluated_images",
    "eval/image_counts",
    "eval/image_iou",
    "eval/image_pixels",
    "eval/iou_by_class",
    "eval/matches",
    "eval/miou",
    "eval/object_counts",
    "eval/objects",
    "eval/pixel_counts",
    "eval/precision_recall",
    "eval/predicted_regions",
    "eval/unclear_pixels",
    "review/datasets",
    "review/disagreements",
    "review/extractors",
    "review/failures",
    "review/label_errors",
    "review/labels",
    "review/multi_label_images",
    "review/similar_images",
    "review/similar_masks",
    "review/uncertain_images",
    "review/uncertain_masks",
    "review/unconfident_classes",
    "train/bags",
];

impl Report {
    /// Every report that comes with the program, by name.
    ///
    /// # Errors
    /// [`Error::Query`] if a file has no proper header; the tests see to it that none has.
    pub fn all() -> Result<Vec<Self>> {
        EMBEDDED
            .iter()
            .map(|(name, text)| Self::parse(name, text))
            .collect()
    }

    /// The report of that name; its folder may be left out where the rest is enough.
    ///
    /// # Errors
    /// [`Error::Query`] if there is none, or more than one.
    pub fn named(name: &str) -> Result<Self> {
        let fail = |reason: String| Error::Query {
            query: name.to_owned(),
            reason,
        };
        let file_name = |full: &'static str| full.rsplit('/').next().unwrap_or(full);
        let found: Vec<_> = EMBEDDED
            .iter()
            .filter(|(full, _)| *full == name || file_name(full) == name)
            .collect();
        match found[..] {
            [(full, text)] => Self::parse(full, text),
            [] => Err(fail(
                "there is none of that name; 'grainstore query --list' lists them".to_owned(),
            )),
            _ => {
                let names: Vec<_> = found.iter().map(|(full, _)| *full).collect();
                Err(fail(format!("it may be any of {}", names.join(", "))))
            }
        }
    }

    /// A report from its text.
    ///
    /// # Errors
    /// [`Error::Query`] if the header lacks a part or a parameter is not declared as it should be.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let header = Header::read(text);
        let fail = |reason: String| Error::Query {
            query: name.to_owned(),
            reason,
        };
        let part = |key: &str| {
            let lines = header.parts.get(key).filter(|lines| !lines.is_empty());
            lines.ok_or_else(|| fail(format!("its header has no line '-- {key}: ...'")))
        };
        let mut parameters = Vec::new();
        for line in header.parts.get("params").into_iter().flatten() {
            if line != "none" {
                parameters.push(parse_parameter(line).map_err(fail)?);
            }
        }
        part("reads")?;
        let uses = header.parts.get("uses").map(|lines| lines.join(" "));
        let uses = uses.unwrap_or_default();
        let uses = uses
            .split(',')
            .map(str::trim)
            .filter(|used| !used.is_empty());
        let uses = uses.map(|used| {
            let parsed = Used::parse(used);
            parsed.ok_or_else(|| {
                fail(format!(
                    "'{used}' does not read 'report AS table (parameter = other; ...)'"
                ))
            })
        });
        Ok(Self {
            name: name.to_owned(),
            asks: part("asks")?.join(" "),
            grain: part("grain")?.join(" "),
            columns: part("columns")?.join(" "),
            uses: uses.collect::<Result<_>>()?,
            is_view: header.parts.contains_key("view"),
            parameters,
            text: text.to_owned(),
        })
    }

    /// Its name, folder first: `review/labels`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole file: header and query.
    pub fn sql(&self) -> &str {
        &self.text
    }

    /// The question it answers.
    pub fn asks(&self) -> &str {
        &self.asks
    }

    /// What one row stands for.
    pub fn grain(&self) -> &str {
        &self.grain
    }

    /// The columns of its result.
    pub fn columns(&self) -> &str {
        &self.columns
    }

    /// The reports it builds on.
    pub fn uses(&self) -> &[Used] {
        &self.uses
    }

    /// Whether the reports that use it read its rows as they come; else they are held in memory.
    pub fn is_view(&self) -> bool {
        self.is_view
    }

    /// Its name without the folder: what it is called where others use it.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Its parameters, in declared order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Values for every parameter.
    ///
    /// # Errors
    /// [`Error::Query`] for a parameter that is unknown, missing or of another type.
    pub fn bind(&self, given: &HashMap<String, String>) -> Result<HashMap<String, ScalarValue>> {
        let fail = |reason: String| Error::Query {
            query: self.name.clone(),
            reason,
        };
        if let Some(unknown) = given
            .keys()
            .find(|key| self.parameters.iter().all(|p| p.name != **key))
        {
            let takes: Vec<_> = self.parameters.iter().map(|p| p.name.as_str()).collect();
            let takes = if takes.is_empty() {
                "none".to_owned()
            } else {
                takes.join(", ")
            };
            return Err(fail(format!(
                "there is no parameter '{unknown}'; it takes {takes}"
            )));
        }
        let mut values = HashMap::new();
        for parameter in &self.parameters {
            let name = &parameter.name;
            let value = match (given.get(name), &parameter.default) {
                (Some(text), _) => parameter.kind.value(text).ok_or_else(|| {
                    let kind = parameter.kind.as_str();
                    fail(format!(
                        "parameter '{name}': expected {kind}, found '{text}'"
                    ))
                })?,
                (None, Some(default)) => default.clone(),
                (None, None) => {
                    return Err(fail(format!(
                        "parameter '{name}' is missing: --param {name}=..."
                    )));
                }
            };
            values.insert(name.clone(), value);
        }
        Ok(values)
    }
}

/// The comment lines a query begins with, by key.
struct Header {
    parts: HashMap<String, Vec<String>>,
}

impl Header {
    fn read(text: &str) -> Self {
        let mut parts: HashMap<String, Vec<String>> = HashMap::new();
        let mut key = String::new();
        for line in text.lines().map_while(|line| line.strip_prefix("--")) {
            let line = line.trim();
            let (found, rest) = match line.split_once(':') {
                Some((word, rest)) if word.chars().all(|c| c.is_ascii_lowercase()) => {
                    (Some(word), rest)
                }
                _ => (None, line),
            };
            if let Some(found) = found {
                key = found.to_owned();
            }
            if !rest.trim().is_empty() {
                parts
                    .entry(key.clone())
                    .or_default()
                    .push(rest.trim().to_owned());
            }
        }
        Self { parts }
    }
}

/// Reads `name TYPE = default -- about`.
fn parse_parameter(line: &str) -> Result<Parameter, String> {
    let (declared, about) = line.split_once("--").unwrap_or((line, ""));
    let (declared, default) = match declared.split_once('=') {
        Some((declared, default)) => (declared, Some(default.trim().trim_matches('\''))),
        None => (declared, None),
    };
    let words: Vec<_> = declared.split_whitespace().collect();
    let [name, kind] = words[..] else {
        return Err(format!(
            "'{line}' does not read 'name TYPE = default -- about'"
        ));
    };
    let kind = ParameterType::parse(kind)
        .ok_or_else(|| format!("'{kind}' is not TEXT, BIGINT, DOUBLE or BOOLEAN"))?;
    let default = match default {
        Some(text) => {
            let value = kind.value(text);
            Some(value.ok_or_else(|| format!("default '{text}' is not {}", kind.as_str()))?)
        }
        None => None,
    };
    Ok(Parameter {
        name: name.to_owned(),
        kind,
        default,
        about: about.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "-- asks:    How many?\n-- params:  split TEXT = NULL -- only this\n\
        --          least BIGINT   -- at least\n-- reads:   images\n-- grain:   one row\n\
        -- columns: n\nSELECT 1 -- asks: not a header\n";

    fn given(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn a_header_is_read_and_bound() {
        let report = Report::parse("t", TEXT).unwrap();
        assert_eq!(report.asks(), "How many?");
        assert_eq!(report.parameters().len(), 2);
        let bound = report.bind(&given(&[("least", "3")])).unwrap();
        assert_eq!(bound["least"], ScalarValue::Int64(Some(3)));
        assert_eq!(bound["split"], ScalarValue::Utf8(None));
        for (pairs, part) in [
            (given(&[]), "'least' is missing"),
            (given(&[("least", "x")]), "expected BIGINT, found 'x'"),
            (
                given(&[("least", "1"), ("lest", "1")]),
                "no parameter 'lest'; it takes split, least",
            ),
        ] {
            let message = report.bind(&pairs).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn bad_headers_are_named() {
        let cut = TEXT.replace("-- grain:   one row\n", "");
        assert!(
            Report::parse("t", &cut)
                .unwrap_err()
                .to_string()
                .contains("-- grain: ...")
        );
        let kind = TEXT.replace("BIGINT", "INTEGER");
        assert!(
            Report::parse("t", &kind)
                .unwrap_err()
                .to_string()
                .contains("'INTEGER'")
        );
    }

    #[test]
    fn every_query_file_is_embedded_and_has_a_header() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
        let mut files: Vec<String> = walkdir::WalkDir::new(&root)
            .into_iter()
            .map(|entry| entry.unwrap().into_path())
            .filter(|path| path.extension().is_some_and(|e| e == "sql"))
            .map(|path| {
                path.strip_prefix(&root)
                    .unwrap()
                    .with_extension("")
                    .display()
                    .to_string()
            })
            .collect();
        files.sort();
        let names: Vec<_> = Report::all()
            .unwrap()
            .iter()
            .map(|r| r.name().to_owned())
            .collect();
        assert_eq!(names, files);
        for report in Report::all().unwrap() {
            for used in report.uses() {
                for parameter in Report::named(&used.report).unwrap().parameters() {
                    let renamed = used.renamed.iter().find(|(own, _)| *own == parameter.name);
                    let name = renamed.map_or(&parameter.name, |(_, other)| other);
                    let passed = report.parameters().iter().any(|p| p.name == *name);
                    assert!(
                        passed,
                        "{}: {used:?} takes '{}'",
                        report.name(),
                        parameter.name
                    );
                }
            }
        }
        assert_eq!(Report::named("labels").unwrap().name(), "review/labels");
        assert!(Report::named("nothing").is_err());
    }
}
