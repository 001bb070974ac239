//! Sources of images on the web: what they offer for a word, page by page.

mod commons;
mod openverse;
mod url_list;

use async_trait::async_trait;

pub use commons::Commons;
pub use openverse::Openverse;
pub use url_list::UrlList;

use super::http::Http;
use super::licence::Licences;
use super::words::SearchWord;
use crate::Result;

/// An image that a source offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Address of the file.
    pub url: String,
    /// Page that shows it and says whose it is.
    pub page: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Who made it.
    pub author: Option<String>,
    /// Its licence, as the source writes it.
    pub licence: String,
    /// The licence's text.
    pub licence_url: Option<String>,
    /// What it is, where the source says that it is no photo, such as `drawing`.
    pub not_a_photo: Option<String>,
}

/// A page of what a source offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundPage {
    /// The images, best first.
    pub candidates: Vec<Candidate>,
    /// Whether there is another page.
    pub has_more: bool,
}

/// Where images are found.
#[async_trait]
pub trait ImageSource: Send + Sync {
    /// Its name in tables and files.
    fn name(&self) -> &'static str;

    /// A page of images for a word; the first is 0.
    ///
    /// # Errors
    /// [`crate::error::CollectError::Server`].
    async fn page(
        &self,
        http: &Http,
        word: &SearchWord,
        licences: &Licences,
        number: usize,
    ) -> Result<FoundPage>;

    /// How many images it says that it has for a word.
    ///
    /// # Errors
    /// As [`ImageSource::page`].
    async fn count(&self, http: &Http, word: &SearchWord, licences: &Licences) -> Result<u64>;
}

/// Text at a path of keys in JSON, without blanks around it; `None` if there is none.
fn text_at(value: &serde_json::Value, path: &str) -> Option<String> {
    let text = value.pointer(path)?;
    let text = match text {
        serde_json::Value::String(text) => text.trim().to_owned(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}
