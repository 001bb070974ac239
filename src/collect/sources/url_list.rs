//! A file of URLs that somebody else made: CSV or JSON lines with `url`, `label`, `licence`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use serde::Deserialize;

use super::{Candidate, FoundPage, ImageSource};
use crate::collect::http::Http;
use crate::collect::licence::Licences;
use crate::collect::words::SearchWord;
use crate::csv_text;
use crate::error::FileAction;
use crate::{Error, Result};

/// The source.
#[derive(Debug, Clone)]
pub struct UrlList {
    path: PathBuf,
    /// Images by label, in the file's order.
    images: HashMap<String, Vec<Candidate>>,
}

/// A row of the file.
#[derive(Debug, Deserialize)]
struct UrlRow {
    url: String,
    label: String,
    #[serde(default, alias = "license")]
    licence: Option<String>,
    #[serde(default, alias = "license_url")]
    licence_url: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default, alias = "creator")]
    author: Option<String>,
    #[serde(default)]
    page: Option<String>,
}

impl UrlList {
    /// Reads a file: `.jsonl` has a JSON object per line, any other is CSV with a header. Other keys and columns are not
    /// looked at.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] with the line.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(Error::file(FileAction::Read, path))?;
        let text = csv_text::without_mark(&bytes);
        let is_json = path.extension().is_some_and(|it| it == "jsonl");
        let rows = if is_json {
            json_rows(text)
        } else {
            csv_rows(text)
        };
        let rows = rows.map_err(|(line, reason)| Error::Content {
            path: path.to_owned(),
            place: format!(" line {line}"),
            reason,
        })?;
        let mut images: HashMap<String, Vec<Candidate>> = HashMap::new();
        for row in rows {
            let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
            images.entry(row.label).or_default().push(Candidate {
                url: row.url,
                page: filled(row.page),
                title: filled(row.title),
                author: filled(row.author),
                licence: row.licence.unwrap_or_default(),
                licence_url: filled(row.licence_url),
                not_a_photo: None,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            images,
        })
    }

    /// Labels of the file that no word asks for, with their number of rows.
    pub fn unused_labels(&self, words: &[Vec<SearchWord>]) -> BTreeMap<&str, usize> {
        let words = words.iter().flatten();
        let asked: BTreeSet<&str> = words
            .flat_map(|word| [word.word.as_str(), word.label.as_str()])
            .collect();
        let unused = self.images.iter();
        unused
            .filter(|(label, _)| !asked.contains(label.as_str()))
            .map(|(label, images)| (label.as_str(), images.len()))
            .collect()
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn of(&self, word: &SearchWord) -> Vec<Candidate> {
        let mut names = vec![&word.word];
        if word.label != word.word {
            names.push(&word.label);
        }
        let found = names.into_iter().filter_map(|name| self.images.get(name));
        found.flatten().cloned().collect()
    }
}

type Problem = (u64, String);

fn checked(row: UrlRow, line: u64) -> Result<UrlRow, Problem> {
    if row.url.trim().is_empty() || row.label.trim().is_empty() {
        return Err((line, "the URL or its label is empty".to_owned()));
    }
    Ok(row)
}

fn json_rows(text: &[u8]) -> Result<Vec<UrlRow>, Problem> {
    let text = std::str::from_utf8(text).map_err(|_| (1, "it is not UTF-8".to_owned()))?;
    let lines = text.lines().zip(1..);
    let lines = lines.filter(|(text, _)| !text.trim().is_empty());
    lines
        .map(|(text, line)| {
            let row = serde_json::from_str(text).map_err(|err| (line, err.to_string()))?;
            checked(row, line)
        })
        .collect()
}

fn csv_rows(text: &[u8]) -> Result<Vec<UrlRow>, Problem> {
    let mut reader = csv_text::reader(text);
    let header = reader.headers().map_err(|err| (1, err.to_string()))?;
    let header = header.clone();
    for column in ["url", "label"] {
        if !header.iter().any(|it| it == column) {
            let found = header.iter().collect::<Vec<_>>().join("', '");
            return Err((
                1,
                format!("expected a header with a column '{column}', found '{found}'"),
            ));
        }
    }
    let mut rows = Vec::new();
    for record in reader.records() {
        let failed = |err: csv::Error| {
            let line = err.position().map_or(0, |at| csv_text::line(text, at));
            (line, err.to_string())
        };
        let record = record.map_err(failed)?;
        let line = record.position().map_or(0, |at| csv_text::line(text, at));
        let row = record.deserialize(Some(&header));
        let row: UrlRow = row.map_err(|err| (line, err.to_string()))?;
        rows.push(checked(row, line)?);
    }
    Ok(rows)
}

#[async_trait]
impl ImageSource for UrlList {
    fn name(&self) -> &'static str {
        "urls"
    }

    async fn page(
        &self,
        _http: &Http,
        word: &SearchWord,
        _licences: &Licences,
        _number: usize,
    ) -> Result<FoundPage> {
        Ok(FoundPage {
            candidates: self.of(word),
            has_more: false,
        })
    }

    async fn count(&self, _http: &Http, word: &SearchWord, _licences: &Licences) -> Result<u64> {
        Ok(self.of(word).len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str, text: &str) -> Result<UrlList> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        UrlList::read(&path)
    }

    #[test]
    fn lists_are_csv_or_json_lines() {
        let csv = "url,label,licence,width\nhttps://a/1.jpg,cat,by,3\nhttps://a/2.jpg,dog,,4\n";
        let jsonl = "{\"url\": \"https://a/1.jpg\", \"label\": \"cat\", \"license\": \"by\"}\n\n\
            {\"url\": \"https://a/2.jpg\", \"label\": \"dog\", \"x\": 1}\n";
        let (csv, jsonl) = (read("a.csv", csv).unwrap(), read("a.jsonl", jsonl).unwrap());
        assert_eq!(csv.images, jsonl.images);
        assert_eq!(csv.images["cat"][0].licence, "by");
        let word = |word: &str, label: &str| SearchWord {
            class: "c".to_owned(),
            word: word.to_owned(),
            label: label.to_owned(),
        };
        assert_eq!(csv.of(&word("house cat", "cat")).len(), 1);
        let unused = csv.unused_labels(&[vec![word("cat", "cat")]]);
        assert_eq!(unused.into_iter().collect::<Vec<_>>(), [("dog", 1)]);
    }

    #[test]
    fn bad_rows_are_named() {
        for (name, text, part) in [
            (
                "a.csv",
                "link,label\nx,y\n",
                "line 1: expected a header with a column 'url'",
            ),
            ("a.csv", "url,label\nx,\n", "line 2: the URL or its label"),
            (
                "a.jsonl",
                "{\"url\": \"x\"}",
                "line 1: missing field `label`",
            ),
        ] {
            let message = read(name, text).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
