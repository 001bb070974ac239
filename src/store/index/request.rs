//! What index is to be made, and the numbers that it gets.

use std::fmt;
use std::str::FromStr;

use arrow::datatypes::{DataType, Schema};
use lance::dataset::Dataset;
use lance::index::vector::VectorIndexParams;
use lance_index::scalar::{BuiltinIndexType, ScalarIndexParams};
use lance_index::vector::ivf::IvfBuildParams;
use lance_index::vector::sq::builder::SQBuildParams;
use lance_index::{IndexParams, IndexType};
use serde::Serialize;

use super::stats::{image_column, vector_column};
use crate::options::one_of;
use crate::schema::StoreTable;
use crate::{Error, Result};

/// Rows per partition, unless their number is given.
const PARTITION_ROWS: u64 = 4096;
/// Numbers per sub-vector of a quantised vector, unless their number is given; the largest that divides the vector's
/// length counts.
const SUB_VECTOR_NUMBERS: [u32; 5] = [16, 8, 4, 2, 1];
/// Bits per sub-vector of a quantised vector, and so a code of as many centroids as this has values.
const SUB_VECTOR_BITS: u8 = 8;
/// Iterations of k-means for the codes of sub-vectors; Lance's default.
const MAX_ITERATIONS: usize = 50;

/// What an index is of, and how it is kept.
///
/// Indexes of vectors put similar ones into partitions, of which a search looks at a few.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexKind {
    /// Of vectors, quantised to about one byte per 16 numbers: small, but it misses many neighbours.
    IvfPq,
    /// Of vectors, each number of which is quantised to one byte: half as large as the table.
    #[default]
    IvfSq,
    /// Of vectors, as they are: as large as the table.
    IvfFlat,
    /// Of images: a Bloom filter per 8192 rows says whether they may have rows of an image, so that reading the rows of
    /// some images skips the others. Exact, and about five bytes a row.
    Bloom,
}

impl IndexKind {
    const WORDS: [(&'static str, Self); 4] = [
        ("ivf_pq", Self::IvfPq),
        ("ivf_sq", Self::IvfSq),
        ("ivf_flat", Self::IvfFlat),
        ("bloom", Self::Bloom),
    ];

    /// Minimum number of rows that an index is made from.
    const fn min_rows(self) -> u64 {
        match self {
            Self::IvfPq => 1 << SUB_VECTOR_BITS,
            Self::IvfSq | Self::IvfFlat | Self::Bloom => 1,
        }
    }

    /// Minimum number of vectors that an index is made from.
    pub(super) fn min_vectors(self) -> usize {
        usize::try_from(self.min_rows()).unwrap_or(usize::MAX)
    }

    /// What of a table an index of this kind is of, in words.
    pub(super) const fn of(self) -> &'static str {
        match self {
            Self::IvfPq | Self::IvfSq | Self::IvfFlat => "vectors",
            Self::Bloom => "images",
        }
    }

    /// The column of a table that an index of this kind is of.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for a table that has no such column.
    pub(super) fn column(self, table: &StoreTable) -> Result<&'static str> {
        let (column, what, expected) = match self {
            Self::IvfPq | Self::IvfSq | Self::IvfFlat => (
                vector_column(table),
                "table with vectors",
                "'masks', or vectors of an embedder that has some",
            ),
            Self::Bloom => (
                image_column(table),
                "table with images",
                "a table with a column image_id, such as 'masks' or 'predictions'",
            ),
        };
        column.ok_or_else(|| Error::InvalidOption {
            what,
            value: table.path(),
            expected: expected.to_owned(),
        })
    }
}

impl FromStr for IndexKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of("kind of index", text, &Self::WORDS)
    }
}

impl fmt::Display for IndexKind {
    /// Writes the word, such as `ivf_pq`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Self::WORDS.iter();
        let word = words.find(|(_, kind)| kind == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

/// An index to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRequest {
    /// A table with vectors or, for [`IndexKind::Bloom`], with images.
    pub table: StoreTable,
    /// What the index is of, and how it is kept.
    pub kind: IndexKind,
    /// Number of partitions; `None` for one per 4096 rows. Only for indexes of vectors.
    pub partitions: Option<u64>,
    /// Number of parts that each vector is quantised in, one byte each; `None` for a part per 16 numbers. It divides
    /// the length of the vectors. Only for [`IndexKind::IvfPq`].
    pub sub_vectors: Option<u32>,
}

impl IndexRequest {
    /// The default index of a table.
    pub fn new(table: impl Into<StoreTable>) -> Self {
        Self {
            table: table.into(),
            kind: IndexKind::default(),
            partitions: None,
            sub_vectors: None,
        }
    }

    /// Lance's parameters for a dataset.
    pub(super) async fn params(
        &self,
        dataset: &Dataset,
        column: &str,
    ) -> Result<Box<dyn IndexParams>> {
        let rows = dataset.count_rows(None).await? as u64;
        Ok(match self.vector_params(dataset, column, rows)? {
            Some(params) => Box::new(params),
            None => Box::new(ScalarIndexParams::for_builtin(
                BuiltinIndexType::BloomFilter,
            )),
        })
    }

    /// Lance's parameters for an index of a number of vectors; `None` for one of images.
    pub(super) fn vector_params(
        &self,
        dataset: &Dataset,
        column: &str,
        rows: u64,
    ) -> Result<Option<VectorIndexParams>> {
        let schema = Schema::from(dataset.schema());
        let dim = match schema.field_with_name(column)?.data_type() {
            DataType::FixedSizeList(_, dim) => u32::try_from(*dim).unwrap_or(0),
            _ => 0,
        };
        let plan = self.plan(rows, dim)?;
        let partitions = usize::try_from(plan.partitions).unwrap_or(usize::MAX);
        Ok(match self.kind {
            IndexKind::IvfPq => Some(VectorIndexParams::ivf_pq(
                partitions,
                SUB_VECTOR_BITS,
                plan.sub_vectors as usize,
                cosine()?,
                MAX_ITERATIONS,
            )),
            IndexKind::IvfSq => Some(VectorIndexParams::with_ivf_sq_params(
                cosine()?,
                IvfBuildParams::new(partitions),
                SQBuildParams::default(),
            )),
            IndexKind::IvfFlat => Some(VectorIndexParams::ivf_flat(partitions, cosine()?)),
            IndexKind::Bloom => None,
        })
    }

    /// Lance's name for the type of the index.
    pub(super) fn index_type(&self) -> IndexType {
        match self.kind {
            IndexKind::IvfPq | IndexKind::IvfSq | IndexKind::IvfFlat => IndexType::Vector,
            IndexKind::Bloom => IndexType::BloomFilter,
        }
    }

    /// Resolves the numbers for a table of so many rows with vectors of so many numbers.
    fn plan(&self, rows: u64, dim: u32) -> Result<Plan> {
        if rows < self.kind.min_rows() {
            return Err(too_few(self.kind, &self.table));
        }
        if self.kind == IndexKind::Bloom {
            return match self.partitions.or(self.sub_vectors.map(u64::from)) {
                None => Ok(Plan {
                    partitions: 0,
                    sub_vectors: 0,
                }),
                Some(given) => Err(Error::InvalidOption {
                    what: "number of partitions or sub-vectors",
                    value: given.to_string(),
                    expected: "none for an index of images".to_owned(),
                }),
            };
        }
        if let Some(given) = self.sub_vectors.filter(|_| self.kind != IndexKind::IvfPq) {
            return Err(Error::InvalidOption {
                what: "number of sub-vectors",
                value: given.to_string(),
                expected: "none but for an index of the kind ivf_pq".to_owned(),
            });
        }
        let partitions = self.partitions.unwrap_or((rows / PARTITION_ROWS).max(1));
        if !(1..=rows).contains(&partitions) {
            return Err(Error::InvalidOption {
                what: "number of partitions",
                value: partitions.to_string(),
                expected: format!("1 to {rows}, the number of rows"),
            });
        }
        let divides = |width: &u32| dim.is_multiple_of(*width);
        let width = SUB_VECTOR_NUMBERS.into_iter().find(divides).unwrap_or(1);
        let sub_vectors = self.sub_vectors.unwrap_or(dim / width);
        if sub_vectors == 0 || !dim.is_multiple_of(sub_vectors) {
            return Err(Error::InvalidOption {
                what: "number of sub-vectors",
                value: sub_vectors.to_string(),
                expected: format!("a divisor of {dim}, the length of the vectors"),
            });
        }
        Ok(Plan {
            partitions,
            sub_vectors,
        })
    }
}

/// Lance's value for the cosine distance. Its type is in a crate that this one does not depend on.
///
/// # Errors
/// [`Error::Internal`] if Lance has no such distance.
pub(crate) fn cosine<D: TryFrom<&'static str>>() -> Result<D> {
    D::try_from("cosine").map_err(|_| Error::Internal {
        what: "Lance does not know the cosine distance",
    })
}

/// The numbers of an index.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    partitions: u64,
    sub_vectors: u32,
}

pub(super) fn too_few(kind: IndexKind, table: &StoreTable) -> Error {
    Error::InvalidOption {
        what: "table to index",
        value: table.path(),
        expected: match kind {
            IndexKind::Bloom => "at least one row".to_owned(),
            _ => format!("at least {} vectors for {kind}", kind.min_rows()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Table;

    fn plan(rows: u64, dim: u32, numbers: (Option<u64>, Option<u32>)) -> Result<(u64, u32)> {
        let request = IndexRequest {
            kind: IndexKind::IvfPq,
            partitions: numbers.0,
            sub_vectors: numbers.1,
            ..IndexRequest::new(Table::Masks)
        };
        let plan = request.plan(rows, dim)?;
        Ok((plan.partitions, plan.sub_vectors))
    }

    #[test]
    fn numbers_follow_the_table_unless_they_are_given() {
        for (rows, dim, given, expected) in [
            (1_000_000, 768, (None, None), (244, 48)),
            (256, 1024, (None, None), (1, 64)),
            (10_000, 12, (None, None), (2, 3)),
            (10_000, 7, (None, None), (2, 7)),
            (10_000, 768, (Some(50), Some(96)), (50, 96)),
        ] {
            assert_eq!(plan(rows, dim, given).unwrap(), expected);
        }
        for (rows, given, part) in [
            (255, (None, None), "at least 256 vectors for ivf_pq"),
            (300, (Some(301), None), "1 to 300"),
            (300, (Some(0), None), "1 to 300"),
            (300, (None, Some(5)), "a divisor of 768"),
            (300, (None, Some(0)), "a divisor of 768"),
        ] {
            let message = plan(rows, 768, given).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let flat = IndexRequest {
            kind: IndexKind::IvfFlat,
            ..IndexRequest::new(Table::Masks)
        };
        assert!(flat.plan(1, 4).is_ok() && flat.plan(0, 4).is_err());
        let in_parts = IndexRequest {
            kind: IndexKind::IvfSq,
            sub_vectors: Some(2),
            ..flat.clone()
        };
        let message = in_parts.plan(300, 4).unwrap_err().to_string();
        assert!(message.contains("ivf_pq"), "{message}");
        let mut bloom = IndexRequest {
            kind: IndexKind::Bloom,
            ..flat
        };
        assert!(bloom.plan(1, 0).is_ok() && bloom.plan(0, 0).is_err());
        bloom.partitions = Some(3);
        assert!(bloom.plan(1, 0).is_err());
    }

    #[test]
    fn kinds_are_read_as_they_are_written() {
        for (_, kind) in IndexKind::WORDS {
            assert_eq!(kind.to_string().parse::<IndexKind>().unwrap(), kind);
        }
        assert!("hnsw".parse::<IndexKind>().is_err());
    }
}
