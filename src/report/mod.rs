//! A report on a head: one self-contained HTML page with its lineage, metrics, charts and images.
//!
//! ```text
//! heads, predictions, ground_truth --SQL queries--> metrics --plotters--> charts -+--> page
//!                                  best, worst, least sure images --show--> pictures -+
//! ```

mod charts;
mod data;
mod page;
mod pictures;

use std::io::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::error::FileAction;
use crate::eval::EvalRequest;
use crate::export::Unfinished;
use crate::progress::Progress;
use crate::store::Snapshot;
use crate::{Error, Result};
use data::ReportData;

/// What to report on.
#[derive(Debug, Clone, Default)]
pub struct ReportRequest {
    /// The head, and what it is compared with.
    pub evaluation: EvalRequest,
    /// Number of images under each heading: best, worst, least sure.
    pub images: usize,
    /// The file to write.
    pub file: PathBuf,
}

/// Summary of a report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportSummary {
    /// Name of the head.
    pub head: String,
    /// Images that it was compared with; 0 if the store has no annotations.
    pub images: u64,
    /// Images that are shown.
    pub images_shown: u64,
    /// Photos that could not be read.
    pub failed: u64,
    /// Size of the page, in bytes.
    pub bytes: u64,
}

/// Writes a page about a head. An existing file at `file` stays until the page is complete.
///
/// # Examples
/// ```
/// use grainstore::eval::EvalRequest;
/// use grainstore::progress::NoProgress;
/// use grainstore::report::{ReportRequest, write_report};
/// use grainstore::selection::ImageFilter;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = ReportRequest {
///     evaluation: EvalRequest {
///         head: "pets".to_owned(),
///         images: ImageFilter::split("test"),
///         ..EvalRequest::default()
///     },
///     images: 6,
///     file: "pets.html".into(),
/// };
/// let summary = write_report(&store.snapshot().await?, &request, &NoProgress).await?;
/// println!("{} images evaluated, {} shown", summary.images, summary.images_shown);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`crate::eval::evaluate`], unless the store has no annotations at all: then the page has no evaluation metrics;
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
    written.map_err(Error::file(FileAction::Write, new.path()))?;
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
