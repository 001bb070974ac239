//! Names and ids that appear in files, tables and options.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Checks a name that a person gives to a tag, a data set, a class set or a head.
///
/// # Errors
/// [`Error::InvalidName`] unless it is 1 to 100 ASCII letters, digits, `.`, `_` or `-`, does not begin with `.` or `-`,
/// does not end with `.`, and does not contain `..`; also if a tag is all digits or ends with `.lock`.
pub fn check_name(what: &'static str, name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let good = (1..=100).contains(&name.chars().count())
        && name.chars().all(plain)
        && !name.starts_with(['.', '-'])
        && !name.ends_with('.')
        && !name.contains("..");
    // '--at 12' means version 12, and Lance reserves '.lock' for itself.
    let is_digits = name.chars().all(|c| c.is_ascii_digit());
    let good = good && (what != "tag" || !is_digits && !name.ends_with(".lock"));
    if good {
        return Ok(());
    }
    Err(Error::InvalidName {
        what,
        name: name.to_owned(),
    })
}

/// Maximum length in bytes of the name of a file or directory on the file systems in use (Linux: NAME_MAX; APFS and
/// NTFS count characters, and a name never has more characters than bytes).
pub const MAX_FILE_NAME: usize = 255;

/// Cuts a file's name at a character boundary, so that an ending of `ending` bytes still fits.
pub fn cut_file_name(name: &str, ending: usize) -> &str {
    let end = name.floor_char_boundary(MAX_FILE_NAME.saturating_sub(ending));
    name.get(..end).unwrap_or(name)
}

/// Formats bytes as lower-case hex digits, two per byte.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// The kinds of ids, as types without values, so that an id of one kind cannot be used as one of another.
pub mod kind {
    macro_rules! kinds {
        ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
            $(
                $(#[$doc])*
                #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
                pub enum $name {}
            )*
        };
    }
    kinds! {
        /// An image.
        Image,
        /// An extractor.
        Extractor,
        /// An embedding space: what embeds masks, whatever the grid.
        EmbeddingSpace,
        /// A head.
        Head,
        /// A policy.
        Policy,
        /// An evaluation.
        Evaluation,
        /// An annotated object.
        GroundTruth,
        /// A failure.
        Failure,
        /// An embedder.
        Embedder,
        /// A label of a mask.
        MaskLabel,
    }
}

/// Id of an image, made from the bytes of its file.
pub type ImageId = Id<kind::Image>;
/// Id of an extractor.
pub type ExtractorId = Id<kind::Extractor>;
/// Id of an embedding space: of what embeds masks.
pub type EmbeddingSpaceId = Id<kind::EmbeddingSpace>;
/// Id of a head.
pub type HeadId = Id<kind::Head>;
/// Id of a policy.
pub type PolicyId = Id<kind::Policy>;
/// Id of an evaluation.
pub type EvaluationId = Id<kind::Evaluation>;
/// Id of an annotated object.
pub type GroundTruthId = Id<kind::GroundTruth>;
/// Id of a failure.
pub type FailureId = Id<kind::Failure>;
/// Id of an embedder.
pub type EmbedderId = Id<kind::Embedder>;
/// Id of a label of a mask.
pub type MaskLabelId = Id<kind::MaskLabel>;

/// An id made from content: the first 128 bits of a SHA-256, as 32 lower-case hex digits. `K` is its [`kind`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String", bound = "K: Clone")]
pub struct Id<K> {
    hex: String,
    kind: PhantomData<K>,
}

impl<K> Id<K> {
    /// The id of `bytes`.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self::from_digest(&Sha256::digest(bytes))
    }

    /// The id of several parts in order. Each is hashed with its length, so that no part can run into the next.
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Self::from_digest(&hash.finalize())
    }

    fn from_digest(digest: &[u8]) -> Self {
        Self {
            hex: hex(digest.get(..16).unwrap_or(digest)),
            kind: PhantomData,
        }
    }

    /// The id as a number of 128 bits, which takes less memory than its digits.
    pub(crate) fn number(&self) -> u128 {
        u128::from_str_radix(&self.hex, 16).unwrap_or_default() // never: `hex` has 32 hex digits
    }

    /// The 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.hex
    }
}

impl<K> TryFrom<String> for Id<K> {
    type Error = Error;

    fn try_from(value: String) -> Result<Self> {
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        if value.len() == 32 && value.bytes().all(is_hex) {
            return Ok(Self {
                hex: value,
                kind: PhantomData,
            });
        }
        Err(Error::InvalidId { value })
    }
}

impl<K> From<Id<K>> for String {
    fn from(id: Id<K>) -> Self {
        id.hex
    }
}

impl<K> std::fmt::Display for Id<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.hex)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_are_refused() {
        for good in ["voc", "COCO-mini_2017.v2", "groesse", "a"] {
            check_name("tag", good).unwrap();
        }
        for bad in ["", "a b", "../x", "a/b", ".hidden", "-x", &"x".repeat(101)] {
            assert!(check_name("tag", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_cut_at_a_character() {
        let cats = |n: usize| "\u{732b}".repeat(n); // three bytes each
        assert_eq!(cut_file_name("cat", 4), "cat");
        assert_eq!(cut_file_name(&"x".repeat(300), 4), "x".repeat(251));
        assert_eq!(cut_file_name(&cats(85), 0), cats(85));
        assert_eq!(cut_file_name(&cats(85), 4), cats(83));
        assert_eq!(cut_file_name("cat", 300), "");
    }

    #[test]
    fn ids_are_sha256_prefixes() {
        // FIPS 180-2, appendix B.1
        assert_eq!(
            ImageId::of_bytes(b"abc").as_str(),
            "ba7816bf8f01cfea414140de5dae2223"
        );
        assert_ne!(
            ImageId::of_parts(["ab", "c"]),
            ImageId::of_parts(["a", "bc"])
        );
        let id = ImageId::of_bytes(b"");
        assert_eq!(ImageId::try_from(id.to_string()).unwrap(), id);
        for bad in [
            "",
            "BA7816BF8F01CFEA414140DE5DAE2223",
            "ba7816bf8f01cfea414140de5dae222",
        ] {
            assert!(ImageId::try_from(bad.to_owned()).is_err());
        }
    }
}
