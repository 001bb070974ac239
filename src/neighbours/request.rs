//! What is searched, for what and how, and what was found.

use std::fmt;
use std::str::FromStr;

use datafusion::logical_expr::Expr;
use serde::Serialize;

use crate::catalogue::find_embedder;
use crate::ids::{ExtractorId, ImageId};
use crate::schema::{StoreTable, Table, VectorTable};
use crate::selection::ImageFilter;
use crate::store::Snapshot;
use crate::store::rows::EmbedderRow;
use crate::{Error, Result};

/// Number of neighbours unless another is given.
pub const DEFAULT_COUNT: usize = 20;
/// Number of partitions of an index that are searched, unless another is given.
pub const DEFAULT_NPROBES: usize = 20;
/// Candidates that an index yields per neighbour, unless another number is given; the best of them are chosen by their
/// own vectors.
pub const DEFAULT_REFINE: u32 = 10;

/// A table whose vectors are searched. It is parsed from its name in SQL, and shown as that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SearchedTable {
    /// `masks`: the embeddings that extractors gave their masks.
    Masks,
    /// `vectors.NAME`: the vectors that an embedder gave masks.
    Vectors(String),
    /// `image_vectors.NAME`: the vectors that an embedder gave whole images.
    ImageVectors(String),
}

impl SearchedTable {
    /// The table of an embedder: that of its masks, or if there is none, that of its images.
    pub fn of_embedder(snapshot: &Snapshot, embedder: &EmbedderRow) -> Self {
        let of_masks = StoreTable::Vectors(VectorTable::Masks, embedder.embedder_id.clone());
        let name = embedder.embedder.clone();
        if snapshot.has_table(&of_masks) {
            Self::Vectors(name)
        } else {
            Self::ImageVectors(name)
        }
    }

    /// The embedder's name, or the first digits of its id; `None` for the embeddings of extractors.
    pub fn embedder(&self) -> Option<&str> {
        match self {
            Self::Masks => None,
            Self::Vectors(name) | Self::ImageVectors(name) => Some(name),
        }
    }

    /// Whether its rows are masks, and not images.
    pub fn is_of_masks(&self) -> bool {
        !matches!(self, Self::ImageVectors(_))
    }

    /// The table in a store.
    ///
    /// # Errors
    /// [`crate::error::CatalogueError`] if there is no such embedder; [`Error::InvalidOption`] if it makes no such
    /// vectors; errors from the store.
    pub async fn store_table(&self, snapshot: &Snapshot) -> Result<StoreTable> {
        let (kind, name) = match self {
            Self::Masks => return Ok(Table::Masks.into()),
            Self::Vectors(name) => (VectorTable::Masks, name),
            Self::ImageVectors(name) => (VectorTable::Images, name),
        };
        let embedder = find_embedder(snapshot, name).await?;
        let table = StoreTable::Vectors(kind, embedder.embedder_id.clone());
        if snapshot.has_table(&table) {
            return Ok(table);
        }
        Err(Error::InvalidOption {
            what: "table with vectors",
            value: self.to_string(),
            expected: format!("'{}'", Self::of_embedder(snapshot, &embedder)),
        })
    }
}

impl fmt::Display for SearchedTable {
    /// Writes the name as it is parsed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Masks => f.write_str(Table::Masks.name()),
            Self::Vectors(name) => write!(f, "{}.{name}", VectorTable::Masks.name()),
            Self::ImageVectors(name) => write!(f, "{}.{name}", VectorTable::Images.name()),
        }
    }
}

impl FromStr for SearchedTable {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == Table::Masks.name() {
            return Ok(Self::Masks);
        }
        match text.split_once('.') {
            Some((folder, name)) if folder == VectorTable::Masks.name() && !name.is_empty() => {
                Ok(Self::Vectors(name.to_owned()))
            }
            Some((folder, name)) if folder == VectorTable::Images.name() && !name.is_empty() => {
                Ok(Self::ImageVectors(name.to_owned()))
            }
            _ => Err(Error::InvalidOption {
                what: "table with vectors",
                value: text.to_owned(),
                expected: "'masks', 'vectors.NAME' or 'image_vectors.NAME'".to_owned(),
            }),
        }
    }
}

/// What the neighbours are compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum SearchQuery {
    /// The vector of a mask, in the searched table.
    Mask {
        /// Its image.
        image: ImageId,
        /// Its extractor. If `None`, the newest one that has such a mask with a vector.
        extractor: Option<ExtractorId>,
        /// `masks.mask_index`.
        mask_index: i32,
    },
    /// The vector of an image, in the searched table.
    Image {
        /// The image.
        image: ImageId,
    },
    /// A vector, which need not be of length 1.
    Vector(Vec<f32>),
}

/// How to search. It is parsed from words: `auto`, `exact`, `index`, or settings of the index, as in
/// `nprobes=20 refine=10`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Search {
    /// By the index, if the table has one; otherwise exactly.
    #[default]
    Auto,
    /// Compares every vector.
    Exact,
    /// By the table's index.
    Index {
        /// Number of partitions that are searched.
        nprobes: usize,
        /// Candidates per neighbour, of which the best are chosen by their own vectors.
        refine: u32,
    },
}

impl FromStr for Search {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::InvalidOption {
            what: "search",
            value: text.to_owned(),
            expected: "'auto', 'exact', 'index', or 'nprobes=N refine=N' with numbers from 1"
                .to_owned(),
        };
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        let words: Vec<&str> = words.collect();
        match &words[..] {
            [] | ["auto"] => return Ok(Self::Auto),
            ["exact"] => return Ok(Self::Exact),
            _ => {}
        }
        let (mut nprobes, mut refine) = (DEFAULT_NPROBES, DEFAULT_REFINE);
        for word in words {
            match word.split_once('=') {
                Some(("nprobes", n)) => {
                    let n = n.parse().ok().filter(|n: &usize| *n > 0);
                    nprobes = n.ok_or_else(wrong)?;
                }
                Some(("refine", n)) => {
                    let n = n.parse().ok().filter(|n: &u32| *n > 0);
                    refine = n.ok_or_else(wrong)?;
                }
                None if word == "index" => {}
                _ => return Err(wrong()),
            }
        }
        Ok(Self::Index { nprobes, refine })
    }
}

/// A search for nearest neighbours.
#[derive(Debug, Clone)]
pub struct NearestRequest {
    /// The table whose vectors are searched.
    pub table: SearchedTable,
    /// What they are compared with.
    pub query: SearchQuery,
    /// Maximum number of neighbours, at least 1. A mask or an image that is searched for is its own nearest neighbour.
    pub count: usize,
    /// How to search.
    pub search: Search,
    /// Only rows of these images.
    pub images: ImageFilter,
    /// Only rows for which this condition on the table's columns holds.
    pub filter: Option<Expr>,
}

impl NearestRequest {
    /// A search among all rows of a table, for [`DEFAULT_COUNT`] neighbours.
    pub fn new(table: SearchedTable, query: SearchQuery) -> Self {
        Self {
            table,
            query,
            count: DEFAULT_COUNT,
            search: Search::Auto,
            images: ImageFilter::default(),
            filter: None,
        }
    }
}

/// A row that was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Neighbour {
    /// The mask's extractor; `None` for an image.
    pub extractor_id: Option<ExtractorId>,
    /// The image.
    pub image_id: ImageId,
    /// `masks.mask_index`; `None` for an image.
    pub mask_index: Option<i32>,
    /// Cosine of the angle between the two vectors, from -1 to 1.
    pub similarity: f32,
    /// 1 - similarity, from 0 to 2.
    pub distance: f32,
}

/// How a search was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "search", rename_all = "lowercase")]
pub enum SearchedWith {
    /// Every vector was compared.
    Exact {
        /// Number of rows of the table, before any filter.
        vectors: u64,
    },
    /// An index chose the candidates.
    Index {
        /// Name of the index.
        index: String,
        /// Number of partitions that were searched.
        nprobes: usize,
        /// Candidates per neighbour.
        refine: u32,
        /// Number of rows that are not in the index yet. They are compared one by one.
        unindexed_rows: u64,
    },
}

impl fmt::Display for SearchedWith {
    /// Writes what `EXPLAIN` shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact { vectors } => write!(f, "exact over {vectors} vectors"),
            Self::Index {
                index,
                nprobes,
                refine,
                unindexed_rows,
            } => write!(
                f,
                "index {index}, nprobes={nprobes}, refine={refine}, {unindexed_rows} rows not indexed"
            ),
        }
    }
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Neighbours {
    /// The rows, the most similar first; among equals, ordered by image and mask.
    pub rows: Vec<Neighbour>,
    /// How they were found.
    pub searched: SearchedWith,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_read_as_they_are_written() {
        for name in ["masks", "vectors.dinov2", "image_vectors.clip_b32"] {
            let table: SearchedTable = name.parse().unwrap();
            assert_eq!(table.to_string(), name);
        }
        let table: SearchedTable = "vectors.dinov2".parse().unwrap();
        assert_eq!(
            (table.embedder(), table.is_of_masks()),
            (Some("dinov2"), true)
        );
        for name in ["", "images", "vectors", "vectors.", "dinov2", "labels.x"] {
            let message = name.parse::<SearchedTable>().unwrap_err().to_string();
            assert!(message.contains("'vectors.NAME'"), "{message}");
        }
    }

    #[test]
    fn searches_are_read_from_words() {
        let index = |nprobes, refine| Search::Index { nprobes, refine };
        for (text, expected) in [
            ("", Search::Auto),
            ("auto", Search::Auto),
            ("exact", Search::Exact),
            ("index", index(DEFAULT_NPROBES, DEFAULT_REFINE)),
            ("nprobes=7", index(7, DEFAULT_REFINE)),
            ("refine=3, nprobes=40", index(40, 3)),
            ("index  refine=1", index(DEFAULT_NPROBES, 1)),
        ] {
            assert_eq!(text.parse::<Search>().unwrap(), expected, "{text}");
        }
        for text in [
            "fast",
            "nprobes",
            "nprobes=0",
            "nprobes=-1",
            "refine=x",
            "exact index",
        ] {
            let message = text.parse::<Search>().unwrap_err().to_string();
            assert!(message.contains("nprobes=N refine=N"), "{message}");
        }
    }

    #[test]
    fn a_search_is_told_as_explain_shows_it() {
        let exact = SearchedWith::Exact { vectors: 12 };
        assert_eq!(exact.to_string(), "exact over 12 vectors");
        let index = SearchedWith::Index {
            index: "vector_idx".to_owned(),
            nprobes: 20,
            refine: 10,
            unindexed_rows: 3,
        };
        assert_eq!(
            index.to_string(),
            "index vector_idx, nprobes=20, refine=10, 3 rows not indexed"
        );
    }
}
