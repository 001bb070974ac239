//! Options that take one of some words.

use crate::{Error, Result};

/// The value that a word of an option means.
///
/// # Errors
/// [`Error::InvalidOption`] naming every word there is.
pub fn one_of<T: Copy>(what: &'static str, text: &str, words: &[(&str, T)]) -> Result<T> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let expected = match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    };
    Err(Error::InvalidOption {
        what,
        value: text.to_owned(),
        expected,
    })
}
