//! Turns a list of items into commits. Worker threads read ahead, in order and within bounds.

use std::fmt;
use std::sync::Arc;
use std::thread::available_parallelism;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::options::IngestOptions;
use super::outcome::{IngestSummary, Outcome};
use super::writer::Writer;
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::FailureRow;
use crate::{Error, Result};

/// Items that wait for a worker.
const READ_AHEAD: usize = 64;

/// Like [`run`], for items that a thread lists: it calls the function that it is given with each, until that returns false.
pub(super) async fn run_listed<Item, List, Read>(
    store: &Store,
    operation: &str,
    options: &IngestOptions,
    list: List,
    read: Read,
    progress: &dyn Progress,
) -> Result<IngestSummary>
where
    Item: fmt::Display + Send + 'static,
    List: FnOnce(&mut dyn FnMut(Item) -> bool) -> Result<()> + Send + 'static,
    Read: Fn(Item) -> Result<Outcome> + Send + Sync + 'static,
{
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    let lister =
        tokio::task::spawn_blocking(move || list(&mut |item| sender.blocking_send(item).is_ok()));
    let items = futures::stream::unfold(receiver, |mut receiver| async move {
        Some((receiver.recv().await?, receiver))
    });
    let done = run(store, operation, options, items, read, progress).await?;
    lister.await.map_err(|source| Error::Worker {
        task: "reading a list of images",
        source,
    })??;
    Ok(done)
}

/// Reads every item on worker threads and writes the results.
///
/// An item's `Display` text is the name under which a person would look it up. `read` runs on a worker thread.
pub(super) async fn run<Item, Read>(
    store: &Store,
    operation: &str,
    options: &IngestOptions,
    items: impl Stream<Item = Item>,
    read: Read,
    progress: &dyn Progress,
) -> Result<IngestSummary>
where
    Item: fmt::Display + Send + 'static,
    Read: Fn(Item) -> Result<Outcome> + Send + Sync + 'static,
{
    let read = Arc::new(read);
    let dataset: Arc<str> = options.dataset.as_str().into();
    let workers = available_parallelism().map_or(1, |n| n.get());
    let mut outcomes = items
        .map(|item| {
            let (read, dataset) = (read.clone(), dataset.clone());
            tokio::task::spawn_blocking(move || {
                let name = item.to_string();
                read(item).unwrap_or_else(|err| {
                    Outcome::failed(FailureRow::of_error("ingest", Some(&dataset), &name, &err))
                })
            })
        })
        .buffered(workers * 4)
        .boxed_local();

    let mut writer = Writer::new(store, operation, options, progress);
    while let Some(outcome) = outcomes.next().await {
        let outcome = outcome.map_err(|source| Error::Worker {
            task: "reading an image",
            source,
        })?;
        writer.push(outcome).await?;
        progress.advance(1);
    }
    writer.finish().await
}
