//! Options: those whose value is one of a fixed set of words, and those that are not written where they say nothing.

use crate::{Error, Result};

/// Returns the value that a word of an option maps to.
///
/// # Errors
/// [`Error::InvalidOption`], which lists every accepted word.
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

/// Whether a field holds its type's default, for serde's `skip_serializing_if`.
pub fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
