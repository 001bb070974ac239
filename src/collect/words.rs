//! The words that images of classes are searched with, and the label that an image of each word gets.

use crate::Result;
use crate::classes::Class;
use crate::error::CollectError;

/// A word to search images with.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SearchWord {
    /// The class.
    pub class: String,
    /// The word, as it is searched or put into a prompt.
    pub word: String,
    /// Label of the images that are found: one that maps to the class.
    pub label: String,
}

/// Returns the words of each class, in order, for every class.
///
/// Words are the class's `search`. Without these, the word is the class's name if that is one of its labels; otherwise,
/// each of its labels, so that images keep the finer words and can be regrouped. The label of a word is the word itself if it
/// is a label of the class, else the class's name, else its only label.
///
/// # Errors
/// [`CollectError::NoLabel`] for a word of which it is not clear which label its images have.
pub fn search_words(classes: &[Class]) -> Result<Vec<Vec<SearchWord>>> {
    classes.iter().map(words_of).collect()
}

fn words_of(class: &Class) -> Result<Vec<SearchWord>> {
    let has_label = |word: &String| class.labels.contains(word);
    let words = if !class.search.is_empty() {
        class.search.clone()
    } else if has_label(&class.name) {
        vec![class.name.clone()]
    } else {
        class.labels.clone()
    };
    let with_label = |word: String| {
        let label = match class.labels.as_slice() {
            _ if has_label(&word) => word.clone(),
            _ if has_label(&class.name) => class.name.clone(),
            [only] => only.clone(),
            _ => {
                return Err(CollectError::NoLabel {
                    class: class.name.clone(),
                    word,
                    labels: class.labels.join("', '"),
                }
                .into());
            }
        };
        Ok(SearchWord {
            class: class.name.clone(),
            word,
            label,
        })
    };
    words.into_iter().map(with_label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(name: &str, labels: &[&str], search: &[&str]) -> Class {
        let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Class {
            name: name.to_owned(),
            supercategory: None,
            external_id: None,
            labels: owned(labels),
            search: owned(search),
        }
    }

    fn pairs(class: &Class) -> Vec<(String, String)> {
        let words = words_of(class).unwrap();
        words.into_iter().map(|it| (it.word, it.label)).collect()
    }

    #[test]
    fn images_get_a_label_that_maps_to_the_class() {
        let pair = |word: &str, label: &str| (word.to_owned(), label.to_owned());
        assert_eq!(pairs(&class("cat", &["cat"], &[])), [pair("cat", "cat")]);
        assert_eq!(
            pairs(&class("pet", &["cat", "dog"], &[])),
            [pair("cat", "cat"), pair("dog", "dog")]
        );
        assert_eq!(
            pairs(&class(
                "tvmonitor",
                &["tvmonitor"],
                &["television", "monitor"]
            )),
            [
                pair("television", "tvmonitor"),
                pair("monitor", "tvmonitor")
            ]
        );
        assert_eq!(
            pairs(&class("tv", &["tvmonitor"], &["television"])),
            [pair("television", "tvmonitor")]
        );
        let unclear = class("pet", &["cat", "dog"], &["house pet"]);
        let message = words_of(&unclear).unwrap_err().to_string();
        assert!(message.contains("'house pet'"), "{message}");
    }
}
