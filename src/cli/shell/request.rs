//! What is asked of the shell itself: lines that begin with a backslash.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::bail;

use super::statements::is_within_quotation;
use crate::cli::output::Format;
use crate::cli::statement::{by_parameter, parse_pair};

pub const HELP: &str = "\
SELECT ...;          run a statement; it may take several lines
\\d                   list the tables
\\d TABLE             show its columns, with units and ranges
\\queries             list the named queries
\\r NAME [KEY=VALUE]  run a named query, with its parameters
\\at [VERSION|TAG]    read the store as it was; alone, as it is
\\mode FORMAT         show rows as table, csv, json or jsonl
\\o FILE              write the rows of the next statement to a file, in the format of its extension
\\timing [on|off]     show how long statements take
\\c                   drop the lines of a statement that was begun
\\?                   this list
\\q                   leave, as Ctrl-D does";

/// A line that begins with a backslash.
#[derive(Debug, PartialEq)]
pub enum Request {
    Help,
    Leave,
    Drop,
    Tables,
    Describe(String),
    Timing(Option<bool>),
    Mode(Format),
    Output(PathBuf),
    At(Option<String>),
    Queries,
    Run(String, HashMap<String, String>),
}

/// Whether a text is a request, or its last line is one after a statement that was begun.
pub fn is_request(text: &str) -> bool {
    request_in(text).is_some()
}

/// The request that a text is or ends with. Within a quotation, a backslash is a backslash.
fn request_in(text: &str) -> Option<&str> {
    let text = text.trim();
    let word = text.trim_end_matches(';');
    if text.starts_with('\\') || ["quit", "exit"].contains(&word.to_lowercase().as_str()) {
        return Some(text);
    }
    let (begun, last) = text.rsplit_once('\n')?;
    let last = last.trim_start();
    (last.starts_with('\\') && !is_within_quotation(begun)).then_some(last)
}

impl Request {
    /// Reads a text; `None` if it is no request.
    pub fn parse(text: &str) -> anyhow::Result<Option<Self>> {
        let Some(line) = request_in(text) else {
            return Ok(None);
        };
        let line = line.strip_prefix('\\').unwrap_or(line);
        // A path as it is typed, with backslashes on Windows.
        if let Some(file) = line.strip_prefix("o ") {
            return Ok(Some(Self::Output(PathBuf::from(file.trim()))));
        }
        let Some(words) = shlex::split(line.trim_end_matches(';')) else {
            bail!("a quotation in '\\{line}' does not end");
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(Some(match words.as_slice() {
            ["?" | "h" | "help"] => Self::Help,
            ["c"] => Self::Drop,
            ["q"] => Self::Leave,
            [word] if ["quit", "exit"].contains(&word.to_lowercase().as_str()) => Self::Leave,
            ["d" | "dt"] => Self::Tables,
            ["d", table] => Self::Describe((*table).to_owned()),
            ["timing"] => Self::Timing(None),
            ["timing", "on"] => Self::Timing(Some(true)),
            ["timing", "off"] => Self::Timing(Some(false)),
            ["mode", format] => Self::Mode(format_named(format)?),
            ["at"] => Self::At(None),
            ["at", at] => Self::At(Some((*at).to_owned())),
            ["queries"] => Self::Queries,
            ["r", name, parameters @ ..] => Self::Run((*name).to_owned(), pairs(parameters)?),
            ["mode"] => bail!("'\\mode' needs a format: table, csv, json or jsonl"),
            ["r"] => bail!("'\\r' needs the name of a query; \\queries lists them"),
            _ => bail!("'\\{line}' is not a command of the shell; \\? lists them"),
        }))
    }
}

fn pairs(words: &[&str]) -> anyhow::Result<HashMap<String, String>> {
    let pair = |word: &&str| match parse_pair(word) {
        Ok(pair) => Ok(pair),
        Err(expected) => bail!("'{word}' is not a parameter: {expected}"),
    };
    by_parameter(words.iter().map(pair).collect::<anyhow::Result<_>>()?)
}

/// The format that a word names.
fn format_named(word: &str) -> anyhow::Result<Format> {
    match <Format as clap::ValueEnum>::from_str(word, true) {
        Ok(format @ (Format::Table | Format::Csv | Format::Json | Format::Jsonl)) => Ok(format),
        _ => bail!("'{word}' is not a mode: expected table, csv, json or jsonl"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_a_backslash_are_requests() {
        let parsed = |line: &str| Request::parse(line).unwrap();
        assert_eq!(parsed("SELECT 1;"), None);
        assert_eq!(parsed("  \\d"), Some(Request::Tables));
        for leave in [
            "\\q",
            "quit",
            "EXIT;",
            "SELECT 1\n\\q\n",
            "SELECT\n 1\n  \\q",
        ] {
            assert!(is_request(leave), "{leave}");
            assert_eq!(parsed(leave), Some(Request::Leave), "{leave}");
        }
        assert_eq!(parsed("SELECT 1\n\\c"), Some(Request::Drop));
        for sql in ["SELECT 'a\n\\q", "SELECT quit", "SELECT 1 -- \\q"] {
            assert!(!is_request(sql), "{sql}");
        }
        assert_eq!(
            parsed("\\d masks;"),
            Some(Request::Describe("masks".to_owned()))
        );
        assert_eq!(parsed("\\mode JSON"), Some(Request::Mode(Format::Json)));
        let file = PathBuf::from(r"C:\temp\a b.csv");
        assert_eq!(parsed(r"\o C:\temp\a b.csv"), Some(Request::Output(file)));
        let parameters = HashMap::from([("dataset".to_owned(), "a b".to_owned())]);
        assert_eq!(
            parsed("\\r review/labels 'dataset=a b'"),
            Some(Request::Run("review/labels".to_owned(), parameters))
        );
        for wrong in ["\\x", "\\mode arrow", "\\r a b", "\\r a k=1 k=2", "\\o"] {
            assert!(Request::parse(wrong).is_err(), "{wrong}");
        }
    }
}
