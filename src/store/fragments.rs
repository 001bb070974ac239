//! Rows in files that no version of their table names yet, written ahead of the commit that brings them.
//!
//! Data is slow to write and a commit is not: it names files. So rows are written before the lock is taken, a commit that lost
//! a race names the same files again, and rows that another process wrote can be committed. Files that no commit names in the
//! end are in nobody's way, and `store cleanup` removes them a week later.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use lance::dataset::transaction::{Operation, TransactionBuilder};
use lance::dataset::{CommitBuilder, Dataset, InsertBuilder, WriteMode, WriteParams};
use lance_table::format::Fragment;
use serde::{Deserialize, Serialize};

use super::Store;
use super::sums::Checksum;
use crate::{Error, Result};

/// Rows of a table in files that no version of it names yet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WrittenRows {
    pub rows: u64,
    /// Without numbers; the commit gives them.
    pub(super) fragments: Vec<Fragment>,
    /// Of the files, by their paths within the store.
    pub(super) checksums: BTreeMap<String, Checksum>,
}

impl Store {
    /// Writes rows to files of a table, which no version of it names yet.
    pub(super) async fn write_fragments(
        &self,
        dataset: &Arc<Dataset>,
        batches: Vec<RecordBatch>,
    ) -> Result<Vec<Fragment>> {
        let params = WriteParams {
            mode: WriteMode::Append,
            session: Some(self.inner.session.clone()),
            store_params: Some(self.inner.files.params()),
            ..Default::default()
        };
        let written = InsertBuilder::new(dataset.clone())
            .with_params(&params)
            .execute_uncommitted(batches)
            .await?;
        match written.operation {
            Operation::Append { fragments } => Ok(fragments),
            _ => Err(Error::Internal {
                what: "rows that are appended are not an append",
            }),
        }
    }

    /// Makes a version of a table that names files beside those that it has; `None` if another writer interfered.
    pub(super) async fn append_fragments(
        &self,
        dataset: Arc<Dataset>,
        fragments: Vec<Fragment>,
    ) -> Result<Option<Dataset>> {
        let before = dataset.version_id();
        let append = TransactionBuilder::new(before, Operation::Append { fragments });
        let after = CommitBuilder::new(dataset)
            .with_session(self.inner.session.clone())
            .with_store_params(self.inner.files.params())
            .execute(append.build())
            .await?;
        Ok((after.version_id() == before + 1).then_some(after))
    }
}
