//! Adds what a run made to the store: rows of `failures`, and the images of the directory with their labels.

use super::folder::Folder;
use crate::Result;
use crate::ingest::{IngestOptions, IngestSummary, ManifestImage, ingest_listed, read_manifest};
use crate::progress::Progress;
use crate::store::rows::{FailureRow, Row, unrecorded_failures};
use crate::store::{Changes, Store};

const STAGE: &str = "collect";

/// Items that failed, with their reasons.
pub(super) type Failures = Vec<(String, String)>;

/// Adds what failed, and the images of the manifest whose files are there: also those that an earlier run made and did not
/// add.
pub(super) async fn keep_made(
    store: &Store,
    folder: &Folder,
    options: &IngestOptions,
    failures: &Failures,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    record_failures(store, &options.dataset, failures).await?;
    let listed = read_manifest(&folder.manifest())?.into_iter();
    let listed: Vec<ManifestImage> = listed
        .filter(|image| folder.at(&image.file).is_file())
        .collect();
    if listed.is_empty() {
        return Ok(IngestSummary::default());
    }
    ingest_listed(store, folder.path(), listed, options, progress).await
}

/// Adds rows of `failures`.
pub(super) async fn record_failures(
    store: &Store,
    dataset: &str,
    failures: &Failures,
) -> Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let rows: Vec<FailureRow> = failures
        .iter()
        .map(|(item, reason)| FailureRow::new(STAGE, Some(dataset), item, reason))
        .collect();
    let committed = store.commit("collect", |head| {
        let rows = &rows;
        async move {
            let new = unrecorded_failures(&head, rows).await?;
            let mut changes = Changes::new();
            changes.append(FailureRow::TABLE, FailureRow::to_batch(&new)?);
            Ok(changes)
        }
    });
    committed.await?;
    Ok(())
}
