//! The order in which images are tried for a class: every word and every source in turn, each from its best image on.

use std::collections::{HashSet, VecDeque};

use super::http::Http;
use super::licence::Licences;
use super::sources::{Candidate, ImageSource};
use super::words::SearchWord;

/// An image that is to be tried.
#[derive(Debug, Clone)]
pub(super) struct Offered {
    pub candidate: Candidate,
    pub word: SearchWord,
    pub source: &'static str,
}

/// What one source has for one word.
struct Line<'a> {
    source: &'a dyn ImageSource,
    word: &'a SearchWord,
    waiting: VecDeque<Candidate>,
    next_page: Option<usize>,
}

/// A source that could not be asked.
#[derive(Debug, Clone)]
pub(super) struct SourceFailure {
    /// The source, the word and the page.
    pub item: String,
    pub reason: String,
}

/// The images of a class that were not tried yet.
pub(super) struct Feed<'a> {
    http: &'a Http,
    licences: &'a Licences,
    lines: Vec<Line<'a>>,
    turn: usize,
    /// Images that were taken from the feed.
    pub offered: u64,
    pub failures: Vec<SourceFailure>,
}

impl<'a> Feed<'a> {
    pub fn new(
        http: &'a Http,
        licences: &'a Licences,
        sources: &'a [Box<dyn ImageSource>],
        words: &'a [SearchWord],
    ) -> Self {
        let lines = words.iter().flat_map(|word| {
            sources.iter().map(move |source| Line {
                source: source.as_ref(),
                word,
                waiting: VecDeque::new(),
                next_page: Some(0),
            })
        });
        Self {
            http,
            licences,
            lines: lines.collect(),
            turn: 0,
            offered: 0,
            failures: Vec::new(),
        }
    }

    /// The next `count` images whose URLs are not `seen`; fewer if there are no more. It adds their URLs to `seen`.
    pub async fn take(&mut self, count: usize, seen: &mut HashSet<String>) -> Vec<Offered> {
        let mut taken = Vec::new();
        while taken.len() < count && !self.lines.is_empty() {
            let at = self.turn % self.lines.len();
            let Some(line) = self.lines.get_mut(at) else {
                break;
            };
            if line.waiting.is_empty()
                && let Some(number) = line.next_page.take()
            {
                let found = line
                    .source
                    .page(self.http, line.word, self.licences, number);
                match found.await {
                    Ok(page) => {
                        line.next_page = page.has_more.then_some(number + 1);
                        line.waiting.extend(page.candidates);
                    }
                    Err(err) => self.failures.push(SourceFailure {
                        item: format!(
                            "{}: '{}', page {}",
                            line.source.name(),
                            line.word.word,
                            number + 1
                        ),
                        reason: err.to_string(),
                    }),
                }
            }
            let Some(candidate) = line.waiting.pop_front() else {
                if line.next_page.is_none() {
                    self.lines.remove(at);
                }
                continue;
            };
            self.turn = at + 1;
            self.offered += 1;
            if seen.insert(candidate.url.clone()) {
                taken.push(Offered {
                    candidate,
                    word: line.word.clone(),
                    source: line.source.name(),
                });
            }
        }
        taken
    }
}
