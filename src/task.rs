//! Work on other threads than those that Tokio runs futures on.

use crate::{Error, Result};

/// Runs blocking I/O or long arithmetic on Tokio's blocking pool. `task` says what it does, for the error.
///
/// # Errors
/// What `work` returns; [`Error::Worker`] if it panics.
pub(crate) async fn blocking<T: Send + 'static>(
    task: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|source| Error::Worker { task, source })?
}
