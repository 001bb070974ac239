//! The catalogue resolves the names of heads, policies, class sets, data sets, splits, extractors, embedders and images
//! to ids and rows. No other module does.
//!
//! Words that people type come in with a [`Snapshot`](crate::store::Snapshot); ids and rows go out. A word that names
//! nothing is a [`CatalogueError`] with the nearest existing names, never an empty
//! result. No masks are read.

mod class_sets;
mod datasets;
mod extractors;
mod heads;
mod images;
mod policies;

pub use class_sets::{ClassSetVersion, find_class_set};
pub use datasets::{
    Annotated, annotated_categories, find_annotated_dataset, find_dataset, find_split,
};
pub use extractors::{
    decoding_by, decoding_of, embedders_stored, extractor_of_mask, extractors_stored,
    extractors_to_choose, find_embedder, find_extractor, find_masks_of, sees_alike, with_prompted,
};
pub(crate) use heads::is_head;
pub use heads::{find_head, heads_stored, whole_head};
pub use images::{find_image, images_named};
pub(crate) use policies::imported_policy;
pub use policies::{StoredPolicy, find_policy, policies_of};

use crate::Error;
use crate::error::{CatalogueError, Named};

/// The error that nothing of a kind has the name `name`; `names` are the existing names.
pub(crate) fn no_such<'a>(
    kind: Named,
    name: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Error {
    let mut names: Vec<&str> = names.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    names.sort_by(|a, b| {
        let likeness = |other: &str| strsim::normalized_damerau_levenshtein(name, other);
        likeness(b).total_cmp(&likeness(a))
    });
    Error::Catalogue(CatalogueError::NoSuch {
        kind,
        name: name.to_owned(),
        nearest: names.into_iter().map(str::to_owned).collect(),
    })
}

/// Minimum number of digits of an id by which something can be named.
const MIN_DIGITS: usize = 4;

/// The only one of `items` whose id begins with `word`.
///
/// # Errors
/// [`CatalogueError::NoSuch`] with the names of all items; [`CatalogueError::Ambiguous`] if there are several.
fn by_id<'a, T>(
    kind: Named,
    word: &str,
    items: &'a [T],
    id: impl Fn(&T) -> &str,
    name: impl Fn(&T) -> String,
) -> Result<&'a T, Error> {
    let begins = |item: &&T| word.len() >= MIN_DIGITS && id(item).starts_with(word);
    let fitting: Vec<&T> = items.iter().filter(begins).collect();
    match fitting[..] {
        [one] => Ok(one),
        [] => {
            let names: Vec<String> = items.iter().map(name).collect();
            Err(no_such(kind, word, names.iter().map(String::as_str)))
        }
        _ => Err(Error::Catalogue(CatalogueError::Ambiguous {
            kind,
            word: word.to_owned(),
            fitting: fitting
                .into_iter()
                .map(|item| match (id(item), name(item)) {
                    (id, name) if name.starts_with(id) => name,
                    (id, name) => format!("{id} ({name})"),
                })
                .collect(),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_comes_first() {
        let err = no_such(Named::Head, "fien", ["coarse", "fine", "fine", "zebra"]);
        let Error::Catalogue(CatalogueError::NoSuch { nearest, .. }) = err else {
            panic!("{err}")
        };
        assert_eq!(nearest.first().map(String::as_str), Some("fine"));
        assert_eq!(nearest.len(), 3);
    }

    #[test]
    fn ids_are_named_by_enough_of_their_digits() {
        let ids = ["aabbcc", "aabbdd", "ffff00"];
        let find = |word: &str| {
            by_id(Named::Extractor, word, &ids, |id| id, |id| (*id).to_owned()).copied()
        };
        assert_eq!(find("ffff").unwrap(), "ffff00");
        assert!(find("fff").unwrap_err().to_string().contains("there is no"));
        let both = find("aabb").unwrap_err().to_string();
        assert!(both.contains("aabbcc, aabbdd"), "{both}");
    }
}
