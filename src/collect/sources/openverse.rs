//! Openverse, a search over openly licensed images of many sites (<https://api.openverse.org>). It answers without a key:
//! pages of 20, the first 240 of a search.

use async_trait::async_trait;
use reqwest::Url;
use serde_json::Value;

use super::{Candidate, FoundPage, ImageSource, text_at};
use crate::Result;
use crate::collect::http::Http;
use crate::collect::licence::Licences;
use crate::collect::words::SearchWord;
use crate::error::CollectError;

const NAME: &str = "openverse";
/// Images of a page, the most that it gives without a key.
const PAGE: usize = 20;
/// Images of a search that it shows without a key.
const SHOWN: usize = 240;

/// The source.
#[derive(Debug, Clone)]
pub struct Openverse {
    url: Url,
}

impl Openverse {
    /// Where it is.
    pub const URL: &'static str = "https://api.openverse.org";

    /// The API at an address.
    ///
    /// # Errors
    /// [`CollectError::Server`] for something that is no URL.
    pub fn at(url: &str) -> Result<Self> {
        let url = parse_server(url)?;
        Ok(Self { url })
    }

    fn search(&self, word: &SearchWord, licences: &Licences, size: usize, page: usize) -> Url {
        let mut url = self.url.clone();
        url.set_path("/v1/images/");
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("q", &word.word);
            query.append_pair("page_size", &size.to_string());
            query.append_pair("page", &(page + 1).to_string());
            query.append_pair("category", "photograph");
            if let Some(wanted) = licences.wanted() {
                let words: Vec<&str> = wanted.iter().map(|it| it.as_str()).collect();
                query.append_pair("license", &words.join(","));
            }
        }
        url
    }
}

/// Reads the address of a server.
pub(super) fn parse_server(url: &str) -> Result<Url> {
    Ok(Url::parse(url).map_err(|err| CollectError::Server {
        server: url.to_owned(),
        reason: format!("it is no URL: {err}"),
    })?)
}

fn candidate(item: &Value) -> Option<Candidate> {
    let text = |path: &str| text_at(item, path);
    let version = text("/license_version").map_or(String::new(), |version| format!(" {version}"));
    let category = text("/category").filter(|category| category != "photograph");
    Some(Candidate {
        url: text("/url")?,
        page: text("/foreign_landing_url"),
        title: text("/title"),
        author: text("/creator"),
        licence: format!("{}{version}", text("/license").unwrap_or_default()),
        licence_url: text("/license_url"),
        not_a_photo: category.map(|category| category.replace('_', " ")),
    })
}

#[async_trait]
impl ImageSource for Openverse {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn page(
        &self,
        http: &Http,
        word: &SearchWord,
        licences: &Licences,
        number: usize,
    ) -> Result<FoundPage> {
        let answer = http.json(self.search(word, licences, PAGE, number)).await?;
        let results = answer.pointer("/results").and_then(Value::as_array);
        let results = results.ok_or_else(|| no_results(&self.url, "results"))?;
        let pages = answer.pointer("/page_count").and_then(Value::as_u64);
        let shown = (number + 1) * PAGE;
        Ok(FoundPage {
            candidates: results.iter().filter_map(candidate).collect(),
            has_more: !results.is_empty()
                && shown < SHOWN
                && pages.unwrap_or_default() > number as u64 + 1,
        })
    }

    async fn count(&self, http: &Http, word: &SearchWord, licences: &Licences) -> Result<u64> {
        let answer = http.json(self.search(word, licences, 1, 0)).await?;
        let count = answer.pointer("/result_count").and_then(Value::as_u64);
        Ok(count.ok_or_else(|| no_results(&self.url, "result_count"))?)
    }
}

/// The error of an answer without a key that it should have.
pub(super) fn no_results(url: &Url, key: &str) -> CollectError {
    CollectError::Server {
        server: url.to_string(),
        reason: format!("its answer has no '{key}'; is it another API?"),
    }
}
