//! The indexes that tables have, from metadata.

use lance::dataset::Dataset;
use lance::index::DatasetIndexExt;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::schema::{StoreTable, Table};
use crate::store::Snapshot;

/// Name of the distance in [`IndexStats::metric`] that indexes of the store are made for.
pub(crate) const COSINE: &str = "COSINE";

/// An index of a table, and how much of the table is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IndexStats {
    /// The table's name; for vectors, with the embedder's id.
    pub table: String,
    /// Name of the index.
    pub name: String,
    /// The column that it is of.
    pub column: String,
    /// Its kind, as Lance calls it: `IVF_PQ`.
    pub kind: String,
    /// The distance that it was made for, if it is of vectors: `COSINE`.
    pub metric: Option<String>,
    /// Number of rows of the table.
    pub rows: u64,
    /// Number of rows that are not in the index.
    pub unindexed_rows: u64,
    /// Number of its parts: one, and one more for each time that it was brought up to date.
    pub segments: usize,
    /// Size of its files in bytes.
    pub bytes: Option<u64>,
}

/// The column of vectors of a table, if it has one.
pub(crate) fn vector_column(table: &StoreTable) -> Option<&'static str> {
    match table {
        StoreTable::Fixed(Table::Masks) => Some("embedding"),
        StoreTable::Fixed(_) => None,
        StoreTable::Vectors(..) => Some("vector"),
    }
}

/// The column of images of a table, if it has one.
pub(crate) fn image_column(table: &StoreTable) -> Option<&'static str> {
    const COLUMN: &str = "image_id";
    match table {
        StoreTable::Fixed(table) => {
            let schema = table.schema();
            schema.field_with_name(COLUMN).is_ok().then_some(COLUMN)
        }
        StoreTable::Vectors(..) => Some(COLUMN),
    }
}

/// The indexes of a dataset, from its metadata. `table` is what they call the table.
///
/// # Errors
/// Any error from Lance.
pub(crate) async fn indexes_of(dataset: &Dataset, table: &str) -> Result<Vec<IndexStats>> {
    /// What Lance tells of an index of vectors.
    #[derive(Deserialize)]
    struct Details {
        metric_type: Option<String>,
    }
    let mut stats = Vec::new();
    for index in dataset.describe_indices(None).await? {
        let field = index.field_ids().first();
        let field = field.and_then(|id| i32::try_from(*id).ok());
        let field = field.and_then(|id| dataset.schema().field_by_id(id));
        let details = index.details().ok();
        let details = details.and_then(|text| serde_json::from_str::<Details>(&text).ok());
        let Some(field) = field else {
            continue;
        };
        let (mut rows, mut unindexed_rows) = (0, 0);
        for fragment in dataset.fragments().iter() {
            let count = fragment.num_rows().unwrap_or(0) as u64;
            let is_indexed = u32::try_from(fragment.id).is_ok_and(|id| {
                let mut segments = index.segments().iter();
                segments.any(|segment| {
                    let covered = segment.fragment_bitmap.as_ref();
                    covered.is_some_and(|covered| covered.contains(id))
                })
            });
            rows += count;
            unindexed_rows += if is_indexed { 0 } else { count };
        }
        stats.push(IndexStats {
            table: table.to_owned(),
            name: index.name().to_owned(),
            column: field.name.clone(),
            kind: index.index_type().to_owned(),
            metric: details.and_then(|details| details.metric_type),
            rows,
            unindexed_rows,
            segments: index.segments().len(),
            bytes: index.total_size_bytes(),
        });
    }
    Ok(stats)
}

impl Snapshot {
    /// The indexes of every table.
    ///
    /// # Errors
    /// Any error from Lance.
    pub async fn indexes(&self) -> Result<Vec<IndexStats>> {
        let mut stats = Vec::new();
        for table in self.stored_tables() {
            let dataset = self.stored(&table).await?;
            stats.extend(indexes_of(&dataset, &table.path()).await?);
        }
        Ok(stats)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_tables_have_vectors_and_images() {
        for table in Table::ALL {
            let column = vector_column(&table.into());
            assert_eq!(column.is_some(), table == Table::Masks, "{table:?}");
        }
        for (table, has_images) in [(Table::Predictions, true), (Table::Heads, false)] {
            assert_eq!(image_column(&table.into()).is_some(), has_images);
        }
        let schema = Table::Masks.schema();
        let column = vector_column(&Table::Masks.into()).unwrap();
        assert!(schema.field_with_name(column).is_ok());
    }
}
