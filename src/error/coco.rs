//! Errors of COCO files.

/// Everything that can go wrong in `coco`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CocoError {
    /// The file holds no text.
    #[error("the file is empty")]
    Empty,

    /// The bytes are those of another kind of file.
    #[error("this is {kind}, not COCO's JSON; {advice}")]
    OtherFormat {
        /// What the file is, with an article.
        kind: &'static str,
        /// What the user can do.
        advice: &'static str,
    },

    /// The text is not in UTF-8, the encoding of JSON.
    #[error(
        "the text is not UTF-8: line {line}, column {column} holds byte 0x{byte:02X}, as Latin-1 and Windows-1252 have it; save the file as UTF-8"
    )]
    NotUtf8 {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// The first byte that is not UTF-8.
        byte: u8,
    },

    /// A gzip file is damaged, or holds too much.
    #[error("the gzip file cannot be unpacked: {reason}")]
    Gzip {
        /// The decompressor's error.
        reason: String,
    },

    /// The JSON ends in the middle.
    #[error("the JSON ends in the middle, at line {line}, column {column}; was the file cut off?")]
    CutOff {
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
    },

    /// The text is not JSON.
    #[error("not JSON: {reason}, at line {line}, column {column}, near '{near}'")]
    NotJson {
        /// The parser's error.
        reason: String,
        /// Line, from 1.
        line: usize,
        /// Column in bytes, from 1.
        column: usize,
        /// The text at that place.
        near: String,
    },

    /// The JSON is not a COCO data set.
    #[error("not a COCO data set (images, annotations, categories): {reason}")]
    NotADataset {
        /// What is wrong, and where.
        reason: String,
    },

    /// The file is of a COCO kind that holds no objects to ingest.
    #[error("this is a COCO {kind} file: {lack}; the instances file of the same images has them")]
    OtherKind {
        /// The kind: `captions` or `panoptic`.
        kind: &'static str,
        /// What it lacks.
        lack: &'static str,
    },

    /// A required key is missing.
    #[error("{place}{key} is missing, expected {expected}")]
    Missing {
        /// The item, `images[3]: `; empty where the item is reported anyway.
        place: String,
        /// The key, or the keys.
        key: &'static str,
        /// What should be there.
        expected: &'static str,
    },

    /// A value is not one that its key can have.
    #[error("{place}{key} is {found}, expected {expected}")]
    Value {
        /// The item, `images[3]: `; empty where the item is reported anyway.
        place: String,
        /// The key.
        key: String,
        /// The value, shortened.
        found: String,
        /// What should be there.
        expected: &'static str,
    },

    /// A mask has a form that COCO does not have.
    #[error("{reason}")]
    Segmentation {
        /// What the segmentation is or has, and what was expected.
        reason: String,
    },

    /// The text of an item cannot be parsed.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// The parser's error.
        reason: String,
    },

    /// Two categories have the same id.
    #[error("two categories have id {id}: '{one}' and '{other}'")]
    CategoryIds {
        /// The id.
        id: i64,
        /// Name of the first.
        one: String,
        /// Name of the second.
        other: String,
    },

    /// Two categories with annotations have the same name.
    #[error(
        "categories {one} and {other} are both named '{name}', and both have annotations; rename one, or give their annotations one category_id"
    )]
    CategoryNames {
        /// The name.
        name: String,
        /// Id of the first.
        one: i64,
        /// Id of the second.
        other: i64,
    },
}

impl CocoError {
    /// The same error, with the item that it is about.
    pub(crate) fn at(mut self, item: &str) -> Self {
        match &mut self {
            Self::Missing { place, .. } | Self::Value { place, .. } => {
                *place = format!("{item}: ");
                self
            }
            _ => Self::NotADataset {
                reason: format!("{item}: {self}"),
            },
        }
    }
}
