//! Blocking work, kept off the threads on which Tokio runs futures.

use crate::{Error, Result};

/// Runs blocking I/O or long arithmetic on Tokio's blocking pool. `task` names the work in errors.
///
/// # Errors
/// The error that `work` returns; [`Error::Worker`] if it panics.
pub(crate) async fn blocking<T: Send + 'static>(
    task: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|source| Error::Worker { task, source })?
}
