//! Wikimedia Commons, or another MediaWiki with files (<https://www.mediawiki.org/wiki/API:Search>). It answers without a
//! key.

use async_trait::async_trait;
use reqwest::Url;
use serde_json::Value;

use super::openverse::{no_results, parse_server};
use super::{Candidate, FoundPage, ImageSource, text_at};
use crate::Result;
use crate::collect::http::Http;
use crate::collect::licence::Licences;
use crate::collect::words::SearchWord;

const NAME: &str = "commons";
/// Images of a page.
const PAGE: usize = 50;
/// Files that a search reaches.
const SHOWN: usize = 10_000;
/// Width in pixels of the files that are asked for, where the original is wider: one of the sizes that Wikimedia keeps,
/// and more than a SAM looks at.
const WIDTH: u64 = 1280;

/// The source.
#[derive(Debug, Clone)]
pub struct Commons {
    url: Url,
}

impl Commons {
    /// Where it is.
    pub const URL: &'static str = "https://commons.wikimedia.org/w/api.php";

    /// The API at an address, which ends with `api.php`.
    ///
    /// # Errors
    /// [`crate::error::CollectError::Server`] for something that is no URL.
    pub fn at(url: &str) -> Result<Self> {
        let url = parse_server(url)?;
        Ok(Self { url })
    }

    fn asked(&self, pairs: &[(&str, &str)]) -> Url {
        let mut url = self.url.clone();
        url.query_pairs_mut()
            .append_pair("action", "query")
            .append_pair("format", "json")
            .append_pair("formatversion", "2")
            .extend_pairs(pairs);
        url
    }
}

/// What is searched: files with pixels.
fn search_text(word: &SearchWord) -> String {
    format!("{} filetype:bitmap", word.word)
}

/// Text of an HTML fragment: tags are left out, and the entities that names have are read.
fn without_tags(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut is_tag = false;
    for c in html.chars() {
        match c {
            '<' => is_tag = true,
            '>' if is_tag => is_tag = false,
            _ if !is_tag => text.push(c),
            _ => {}
        }
    }
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#039;", "'"),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ];
    for (entity, c) in entities {
        text = text.replace(entity, c);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn candidate(page: &Value) -> Option<Candidate> {
    let info = page.pointer("/imageinfo/0")?;
    let text = |path: &str| text_at(info, path);
    let said = |key: &str| text(&format!("/extmetadata/{key}/value"));
    let width = info.pointer("/width").and_then(Value::as_u64);
    let is_wider = width.is_some_and(|width| width > WIDTH);
    let smaller = text("/thumburl").filter(|_| is_wider);
    let title = text_at(page, "/title");
    let title = title.map(|title| title.trim_start_matches("File:").to_owned());
    let media = text("/mediatype").filter(|media| media != "BITMAP");
    Some(Candidate {
        url: smaller.or_else(|| text("/url"))?,
        page: text("/descriptionurl"),
        title,
        author: said("Artist").map(|artist| without_tags(&artist)),
        licence: said("LicenseShortName")
            .or_else(|| said("License"))
            .unwrap_or_default(),
        licence_url: said("LicenseUrl"),
        not_a_photo: media.map(|media| media.to_lowercase()),
    })
}

#[async_trait]
impl ImageSource for Commons {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn page(
        &self,
        http: &Http,
        word: &SearchWord,
        _licences: &Licences,
        number: usize,
    ) -> Result<FoundPage> {
        let (limit, offset, width) = (
            PAGE.to_string(),
            (number * PAGE).to_string(),
            WIDTH.to_string(),
        );
        let answer = http.json(self.asked(&[
            ("generator", "search"),
            ("gsrsearch", &search_text(word)),
            ("gsrnamespace", "6"),
            ("gsrlimit", &limit),
            ("gsroffset", &offset),
            ("prop", "imageinfo"),
            ("iiprop", "url|size|mime|mediatype|extmetadata"),
            ("iiurlwidth", &width),
        ]));
        let answer = answer.await?;
        if let Some(reason) = text_at(&answer, "/error/info") {
            return Err(crate::error::CollectError::Server {
                server: self.url.to_string(),
                reason,
            }
            .into());
        }
        // Without a hit, an answer has no 'query'.
        let mut pages: Vec<&Value> = match answer.pointer("/query/pages") {
            Some(pages) => pages.as_array().into_iter().flatten().collect(),
            None if answer.is_object() => Vec::new(),
            None => return Err(no_results(&self.url, "query").into()),
        };
        pages.sort_by_key(|page| page.pointer("/index").and_then(Value::as_u64));
        Ok(FoundPage {
            has_more: !pages.is_empty()
                && (number + 1) * PAGE < SHOWN
                && answer.pointer("/continue").is_some(),
            candidates: pages.into_iter().filter_map(candidate).collect(),
        })
    }

    async fn count(&self, http: &Http, word: &SearchWord, _licences: &Licences) -> Result<u64> {
        let answer = http.json(self.asked(&[
            ("list", "search"),
            ("srsearch", &search_text(word)),
            ("srnamespace", "6"),
            ("srlimit", "1"),
            ("srinfo", "totalhits"),
        ]));
        let answer = answer.await?;
        let hits = answer.pointer("/query/searchinfo/totalhits");
        let hits = hits.and_then(Value::as_u64);
        Ok(hits.ok_or_else(|| no_results(&self.url, "query.searchinfo.totalhits"))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_html() {
        let html = "<a href=\"//x\" title=\"y\">Ann &amp; Bob</a>  <span>(&quot;AB&quot;)</span>";
        assert_eq!(without_tags(html), "Ann & Bob (\"AB\")");
        assert_eq!(without_tags("1 < 2"), "1");
        assert_eq!(without_tags("plain"), "plain");
    }
}
