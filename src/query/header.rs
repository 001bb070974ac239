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
//! A parameter without `=` must be given. It is bound as a typed value, never pasted as text. Types are `TEXT`,
//! `BIGINT`, `DOUBLE`, `BOOLEAN` and `ONE_OF(a|b)`, and names that must exist: `HEAD`, `POLICY(head)` (of the head that
//! the parameter `head` names; `newest` is the policy used last), `CLASS_SET` or `CLASS_SET(head)` (`own` is the head's
//! class set), `DATASET`, `ANNOTATED` (a data set with annotations), `SPLIT`, `EXTRACTOR`, `EMBEDDER` and `IMAGE`.
//! Where a name has an id, the query sees the id; of class sets it sees `NAME@VERSION`.
//!
//! A query can build on others. `-- uses: eval/matches, eval/objects` makes their rows the tables `matches` and
//! `objects`, and passes them the parameters of the same names.
//! `eval/matches AS others (head = other; policy = other_policy)` makes the rows the table `others`, and passes other
//! parameters in place of its own. Such rows are held in memory while the session lasts, unless the query that yields
//! them has a line `-- view: why`.

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
    /// Name of the query that is built on.
    pub query: String,
    /// Name of the table that holds its rows.
    pub table: String,
    /// Parameters that take the value of one with another name: the used query's name, and the other name.
    pub renamed: Vec<(String, String)>,
}

impl Used {
    /// Parses `name`, `name AS table` or `name AS table (parameter = other; ...)`.
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
    /// Every query that comes with grainstore, ordered by name.
    ///
    /// # Errors
    /// [`Error::Query`] if a file has no proper header; a test ensures that every file has one.
    pub fn all() -> Result<Vec<Self>> {
        EMBEDDED
            .iter()
            .map(|(name, text)| Self::parse(name, text))
            .collect()
    }

    /// Finds the query of that name; its folder may be left out if the rest is unambiguous.
    ///
    /// # Errors
    /// [`Error::Catalogue`] if there is none; [`Error::Query`] if there is more than one.
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

    /// Parses a query from its text.
    ///
    /// # Errors
    /// [`Error::Query`] if the header lacks a part, has an unknown key, or declares a parameter wrongly.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let header = Header::read(text);
        let fail = |reason: String| Error::Query {
            query: name.to_owned(),
            reason,
        };
        let mut keys: Vec<&String> = header.parts.keys().collect();
        keys.sort_unstable();
        if let Some(unknown) = keys.iter().find(|key| !KEYS.contains(&key.as_str())) {
            let known = KEYS.join(", ");
            return Err(fail(match unknown.as_str() {
                "" => format!("its header begins with a line that has no key; there are {known}"),
                unknown => format!("its header has a line '-- {unknown}: ...'; there are {known}"),
            }));
        }
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

    /// The query's name, folder first: `review/labels`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The complete file: header and query.
    pub fn sql(&self) -> &str {
        &self.text
    }

    /// The question that it answers.
    pub fn asks(&self) -> &str {
        &self.asks
    }

    /// What one row of its result is.
    pub fn grain(&self) -> &str {
        &self.grain
    }

    /// The columns of its result.
    pub fn columns(&self) -> &str {
        &self.columns
    }

    /// The queries that it builds on.
    pub fn uses(&self) -> &[Used] {
        &self.uses
    }

    /// Whether its rows are computed while the queries that use it read them; otherwise they are held in memory.
    pub fn is_view(&self) -> bool {
        self.is_view
    }

    /// Its name without the folder, which is the default name of its table where others use it.
    pub fn short_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Adds its text, and the texts of the queries that it builds on, to a hash.
    ///
    /// # Errors
    /// [`Error::Catalogue`] if it builds on a query that does not exist.
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

/// The keys that a header may have.
const KEYS: [&str; 8] = [
    "asks", "params", "uses", "reads", "grain", "columns", "notes", "view",
];

/// The comment lines with which a query begins, by key.
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

/// Parses `name TYPE = default -- about`.
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
        let param = Query::parse("t", &TEXT.replace("params:", "param:"));
        let message = param.unwrap_err().to_string();
        assert!(
            message.contains("'-- param: ...'; there are asks, params"),
            "{message}"
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
