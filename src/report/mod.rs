//! A report on a head: one HTML page with its lineage, metrics, charts and images, which needs nothing else to be read.
//!
//! ```text
//! heads, predictions, ground_truth --SQL reports--> figures --plotters--> charts -+--> page
//!                                  best, worst, least sure images --show--> pictures -+
//! ```

mod charts;
mod data;
mod page;
mod pictures;

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::eval::EvalRequest;
use crate::export::Unfinished;
use crate::progress::Progress;
use crate::store::Snapshot;
use crate::{Error, Result};
use data::ReportData;

/// What to report on.
#[derive(Debug, Clone, Default)]
pub struct ReportRequest {
    /// The head, and what it is held against.
    pub evaluation: EvalRequest,
    /// Images under each heading: best, worst, least sure.
    pub images: usize,
    /// The file to write.
    pub file: PathBuf,
}

/// What a report tells, in short.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportSummary {
    /// Name of the head.
    pub head: String,
    /// Images it was held against; 0 where the store has no annotations.
    pub images: u64,
    /// Images that are shown.
    pub images_shown: u64,
    /// Photos that could not be read.
    pub failed: u64,
    /// Size of the page, bytes.
    pub bytes: u64,
}

/// Writes a page about a head. What lay at `file` stays until the page is whole.
///
/// # Errors
/// As [`crate::eval::evaluate`], unless the store has no annotations at all: then the page goes without figures;
/// [`Error::File`].
pub async fn write_report(
    snapshot: &Snapshot,
    request: &ReportRequest,
    progress: &dyn Progress,
) -> Result<ReportSummary> {
    let new = Unfinished::new(&request.file)?;
    let data = ReportData::read(snapshot, request, progress).await?;
    let (galleries, failed) = pictures::galleries(snapshot, request, &data, progress).await?;
    let page = page::page(&data, &galleries)?;
    let written = new.create()?.write_all(page.as_bytes());
    written.map_err(Error::file("write", new.path()))?;
    Ok(ReportSummary {
        head: data.head.head,
        images: data
            .evaluated
            .map_or(0, |evaluated| evaluated.evaluation.images),
        images_shown: galleries
            .iter()
            .map(|gallery| gallery.cards.len() as u64)
            .sum(),
        failed,
        bytes: new.finish()?,
    })
}
