//! Query files: a header of comments, and one SELECT.
//!
//! ```sql
//! -- asks:    How many images has each split?
//! -- params:  dataset DATASET = NULL -- only this data set
//! --          min BIGINT = 1         -- leave out splits with fewer images
//! -- reads:   images
//! -- grain:   one row per split
//! -- columns: split, images
//! SELECT ... WHERE $dataset IS NULL OR dataset = $dataset
//! ```
//!
//! A parameter without `=` must be given. Its value goes in as a typed value, never as text. Types are `TEXT`, `BIGINT`,
//! `DOUBLE`, `BOOLEAN` and `ONE_OF(a|b)`, and names that must be there: `HEAD`, `POLICY(head)` (of the head that the
//! parameter `head` names; `newest` is the one used last), `CLASS_SET` or `CLASS_SET(head)` (`own` is that of the head),
//! `DATASET`, `ANNOTATED` (a data set with annotations), `SPLIT`, `EXTRACTOR`, `EMBEDDER` and `IMAGE`. Of names the query
//! sees ids; of class sets `NAME@VERSION`.
//!
//! A query may build on others: `-- uses: eval/matches, eval/objects` makes their rows tables named `matches` and
//! `objects`, with the parameters of the same names; `eval/matches AS others (head = other; policy = other_policy)`
//! makes them the table `others`, with other parameters in the place of its own.
//! Such rows are held in memory while the session lasts, unless the query has a line `-- view: why`.

use std::collections::HashMap;

use sha2::Digest;

use super::library::EMBEDDED;
use super::parameter::{Parameter, ParameterType};
use crate::catalogue::no_such;
use crate::error::Named;
use crate::{Error, Result};

/// A query with a name, a description and parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    name: String,
    text: String,
    asks: String,
    grain: String,
    columns: String,
    uses: Vec<Used>,
    is_view: bool,
    parameters: Vec<Parameter>,
}

/// A query that another builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// Its name.
    pub query: String,
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
        let (query, table) = match words[..] {
            [query] => (query, query.rsplit('/').next().unwrap_or(query)),
            [query, "AS", table] => (query, table),
            _ => return None,
        };
        Some(Self {
            query: query.to_owned(),
            table: table.to_owned(),
            renamed: pairs,
        })
    }
}

impl Query {
    /// Every query that comes with the program, by name.
    ///
    /// # Errors
    /// [`Error::Query`] if a file has no proper header; the tests see to it that none has.
    pub fn all() -> Result<Vec<Self>> {
        EMBEDDED
            .iter()
            .map(|(name, text)| Self::parse(name, text))
            .collect()
    }

    /// The query of that name; its folder may be left out where the rest is enough.
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
            [] => Err(no_such(
                Named::Query,
                name,
                EMBEDDED.iter().map(|(full, _)| *full),
            )),
            _ => {
                let names: Vec<_> = found.iter().map(|(full, _)| *full).collect();
                Err(fail(format!("it may be any of {}", names.join(", "))))
            }
        }
    }

    /// A query from its text.
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
                    "'{used}' does not read 'query AS table (parameter = other; ...)'"
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

    /// The queries it builds on.
    pub fn uses(&self) -> &[Used] {
        &self.uses
    }

    /// Whether the queries that use it read its rows as they come; else they are held in memory.
    pub fn is_view(&self) -> bool {
        self.is_view
    }

    /// Its name without the folder: what it is called where others use it.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Adds its text, and the texts of the queries that it builds on, to a hash.
    ///
    /// # Errors
    /// [`Error::Catalogue`] if it builds on a query that is not there.
    pub fn hash_texts(&self, hash: &mut impl Digest) -> Result<()> {
        hash.update((self.text.len() as u64).to_le_bytes());
        hash.update(&self.text);
        for used in &self.uses {
            Self::named(&used.query)?.hash_texts(hash)?;
        }
        Ok(())
    }

    /// Its parameters, in declared order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
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
    let kind = ParameterType::parse(kind).ok_or_else(|| {
        format!("'{kind}' is no type of parameter; see docs/sql.md for those there are")
    })?;
    Ok(Parameter {
        name: name.to_owned(),
        kind,
        default: default.map(str::to_owned),
        about: about.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "-- asks:    How many?\n-- params:  split SPLIT = NULL -- only this\n\
        --          min BIGINT     -- at least\n-- reads:   images\n-- grain:   one row\n\
        -- columns: n\nSELECT 1 -- asks: not a header\n";

    #[test]
    fn a_header_is_read() {
        let query = Query::parse("t", TEXT).unwrap();
        assert_eq!(query.asks(), "How many?");
        let [split, min] = query.parameters() else {
            panic!("{:?}", query.parameters())
        };
        assert_eq!(split.kind, ParameterType::Split);
        assert_eq!(
            (split.default.as_deref(), min.default.as_deref()),
            (Some("NULL"), None)
        );
        assert_eq!(min.about, "at least");
    }

    #[test]
    fn bad_headers_are_named() {
        let cut = TEXT.replace("-- grain:   one row\n", "");
        assert!(
            Query::parse("t", &cut)
                .unwrap_err()
                .to_string()
                .contains("-- grain: ...")
        );
        let kind = TEXT.replace("BIGINT", "INTEGER");
        assert!(
            Query::parse("t", &kind)
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
        let names: Vec<_> = Query::all()
            .unwrap()
            .iter()
            .map(|r| r.name().to_owned())
            .collect();
        assert_eq!(names, files);
        for query in Query::all().unwrap() {
            for used in query.uses() {
                for parameter in Query::named(&used.query).unwrap().parameters() {
                    let renamed = used.renamed.iter().find(|(own, _)| *own == parameter.name);
                    let name = renamed.map_or(&parameter.name, |(_, other)| other);
                    let passed = query.parameters().iter().find(|p| p.name == *name);
                    let passed = passed.map(|p| std::mem::discriminant(&p.kind));
                    assert_eq!(
                        passed,
                        Some(std::mem::discriminant(&parameter.kind)),
                        "{}: {used:?} takes '{}'",
                        query.name(),
                        parameter.name
                    );
                }
            }
            for parameter in query.parameters() {
                let known = |name: &str| query.parameters().iter().any(|p| p.name == name);
                let depends = parameter.kind.depends_on();
                assert!(depends.is_none_or(known), "{}: {parameter:?}", query.name());
            }
        }
        assert_eq!(Query::named("labels").unwrap().name(), "review/labels");
        assert!(Query::named("nothing").is_err());
    }
}
