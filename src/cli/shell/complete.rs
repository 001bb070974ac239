//! Completion of names, and whether a statement goes on in the next line.

use grainstore::query::Query;
use grainstore::sql::SqlNames;
use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};

use super::request::is_request;
use super::statements::is_whole;

/// Words that begin or join the parts of a query.
const KEYWORDS: [&str; 38] = [
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CREATE HEAD",
    "CROSS JOIN",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FROM",
    "GROUP BY",
    "HAVING",
    "IN",
    "INTERSECT",
    "IS",
    "JOIN",
    "LEFT JOIN",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "ORDER BY",
    "OVER",
    "SELECT",
    "SHOW TABLES",
    "UNION ALL",
    "USING",
    "WHERE",
    "WITH",
];

/// The shell's own commands.
const REQUESTS: [&str; 9] = [
    "\\?",
    "\\at",
    "\\d",
    "\\mode",
    "\\o",
    "\\q",
    "\\queries",
    "\\r",
    "\\timing",
];

/// Knows what can be typed.
pub struct Assistant {
    names: SqlNames,
    queries: Vec<String>,
}

impl Assistant {
    /// Completes the names of a session, and of the named queries.
    pub fn new(names: SqlNames) -> anyhow::Result<Self> {
        let queries = Query::all()?;
        Ok(Self {
            names,
            queries: queries
                .iter()
                .map(|query| query.name().to_owned())
                .collect(),
        })
    }

    /// What can stand where `word` ends, after `before`.
    fn candidates(&self, before: &str, word: &str) -> Vec<String> {
        let tables = || self.names.tables.iter().map(|(name, _)| name.clone());
        let fits = |name: &String| name.to_lowercase().starts_with(&word.to_lowercase());
        let first = before.split_whitespace().next();
        let mut found: Vec<String> = match first {
            None if word.starts_with('\\') => REQUESTS.map(str::to_owned).to_vec(),
            Some("\\d") => tables().collect(),
            Some("\\r") => self.queries.clone(),
            Some("\\mode") => ["table", "csv", "json", "jsonl"]
                .map(str::to_owned)
                .to_vec(),
            Some("\\timing") => ["on", "off"].map(str::to_owned).to_vec(),
            Some(request) if request.starts_with('\\') => Vec::new(),
            _ => {
                let mut all: Vec<String> = tables().collect();
                let columns = self.names.tables.iter().flat_map(|(_, columns)| columns);
                all.extend(columns.cloned());
                all.extend(self.names.functions.iter().map(|name| format!("{name}(")));
                // As it was begun, in small or in large letters.
                let is_small = word.chars().any(|it| it.is_ascii_lowercase());
                all.extend(KEYWORDS.iter().map(|it| {
                    if is_small {
                        it.to_lowercase()
                    } else {
                        (*it).to_owned()
                    }
                }));
                all.extend(self.columns_of(word));
                all
            }
        };
        found.retain(fits);
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The columns of the table that a word like `masks.ar` begins with.
    fn columns_of(&self, word: &str) -> Vec<String> {
        let Some((table, _)) = word.rsplit_once('.') else {
            return Vec::new();
        };
        let of_table = self.names.tables.iter().filter(|(name, _)| name == table);
        let columns = of_table
            .flat_map(|(name, columns)| columns.iter().map(move |it| format!("{name}.{it}")));
        columns.collect()
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let typed = line.get(..position).unwrap_or(line);
        let is_part = |it: char| it.is_alphanumeric() || "_./\\-?".contains(it);
        let start = typed.rfind(|it| !is_part(it)).map_or(0, |at| {
            at + typed
                .get(at..)
                .and_then(|it| it.chars().next())
                .map_or(1, char::len_utf8)
        });
        let (before, word) = typed.split_at(start);
        let pair = |name: String| Pair {
            display: name.clone(),
            replacement: name,
        };
        let found = self.candidates(before, word);
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        let text = context.input();
        Ok(if is_request(text) || is_whole(text) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

impl Hinter for Assistant {
    type Hint = String;
}

impl Highlighter for Assistant {}

impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use super::*;

    fn assistant() -> Assistant {
        let tables = [
            ("masks", vec!["image_id", "area"]),
            ("vectors.dino", vec!["image_id", "vector"]),
        ];
        let owned = |words: Vec<&str>| words.into_iter().map(str::to_owned).collect();
        let names = SqlNames {
            tables: tables
                .map(|(name, columns)| (name.to_owned(), owned(columns)))
                .to_vec(),
            functions: owned(vec!["rle_area", "rle_union"]),
        };
        Assistant::new(names).unwrap()
    }

    fn completed(line: &str) -> Vec<String> {
        let history = rustyline::history::MemHistory::new();
        let found = assistant().complete(line, line.len(), &Context::new(&history));
        found
            .unwrap()
            .1
            .into_iter()
            .map(|pair| pair.replacement)
            .collect()
    }

    #[test]
    fn names_are_completed() {
        assert_eq!(completed("SELECT rle_"), ["rle_area(", "rle_union("]);
        assert_eq!(completed("SELECT ar"), ["area"]);
        assert_eq!(completed("SELECT * FROM vectors.d"), ["vectors.dino"]);
        assert_eq!(completed("SELECT masks.a"), ["masks.area"]);
        assert_eq!(completed("sel"), ["select"]);
        assert_eq!(completed("SEL"), ["SELECT"]);
        assert_eq!(completed("\\d ma"), ["masks"]);
        assert_eq!(completed("\\ti"), ["\\timing"]);
        assert!(completed("\\r review/la").contains(&"review/labels".to_owned()));
        assert!(completed("SELECT é.x").is_empty());
    }
}
