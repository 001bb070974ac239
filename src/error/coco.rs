//! What can be wrong with a COCO file.

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
        /// What it is, with its article.
        kind: &'static str,
        /// What the user can do.
        advice: &'static str,
    },

    /// The text is in an encoding that JSON is never in.
    #[error(
        "the text is not UTF-8: line {line}, column {column} holds byte 0x{byte:02X}, as Latin-1 and Windows-1252 have it; save the file as UTF-8"
    )]
    NotUtf8 {
        /// From 1.
        line: usize,
        /// In characters, from 1.
        column: usize,
        /// The first byte that is no UTF-8.
        byte: u8,
    },

    /// A gzip file is damaged, or holds too much.
    #[error("the gzip file cannot be unpacked: {reason}")]
    Gzip {
        /// What the unpacker says.
        reason: String,
    },

    /// The text ends in the middle.
    #[error("the JSON ends in the middle, at line {line}, column {column}; was the file cut off?")]
    CutOff {
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
    },

    /// The text is not JSON.
    #[error("not JSON: {reason}, at line {line}, column {column}, near '{near}'")]
    NotJson {
        /// What the parser says.
        reason: String,
        /// From 1.
        line: usize,
        /// In bytes, from 1.
        column: usize,
        /// The text there.
        near: String,
    },

    /// The JSON is not that of a COCO data set.
    #[error("not a COCO data set (images, annotations, categories): {reason}")]
    NotADataset {
        /// What is wrong, and where.
        reason: String,
    },

    /// A COCO file of a kind that holds no objects to ingest.
    #[error("this is a COCO {kind} file: {lack}; the instances file of the same images has them")]
    OtherKind {
        /// `captions`, `panoptic`.
        kind: &'static str,
        /// What it lacks.
        lack: &'static str,
    },

    /// A key that must be there is not.
    #[error("{place}{key} is missing, expected {expected}")]
    Missing {
        /// The item, `images[3]: `; empty where the reader is told of the item anyway.
        place: String,
        /// The key, or the keys.
        key: &'static str,
        /// What should stand there.
        expected: &'static str,
    },

    /// A value is none that its key may have.
    #[error("{place}{key} is {found}, expected {expected}")]
    Value {
        /// The item, `images[3]: `; empty where the reader is told of the item anyway.
        place: String,
        /// The key.
        key: String,
        /// The value, shortened.
        found: String,
        /// What should stand there.
        expected: &'static str,
    },

    /// A mask is spelt in a way that COCO has not.
    #[error("{reason}")]
    Segmentation {
        /// What the segmentation is or has, and what was expected.
        reason: String,
    },

    /// The text of an item is not sound in itself.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// What the parser says.
        reason: String,
    },

    /// Two categories have one id.
    #[error("two categories have id {id}: '{one}' and '{other}'")]
    CategoryIds {
        /// The id.
        id: i64,
        /// Name of the first.
        one: String,
        /// Name of the second.
        other: String,
    },

    /// Two categories that objects have are named alike.
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
    /// The same fact, with the item it is told of.
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
