//! Rows on their way to a file: read by the runtime, written by a worker thread, image by image.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use crate::progress::{Progress, ProgressSender, progress_channel};
use crate::store::{Scan, send_batches};
use crate::{Error, Result};

/// Batches that may wait for the worker.
const QUEUED: usize = 2;

/// The batches of a scan. They must be read on a worker thread.
#[derive(Debug)]
pub(super) struct Batches {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    progress: ProgressSender,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.blocking_recv()?;
        if self.progress.is_given_up() {
            return Some(Err(Error::GivenUp));
        }
        Some(batch)
    }
}

/// Passes the batches of a scan to `work` on a worker thread.
///
/// # Errors
/// Errors of `work`; store errors.
pub(super) async fn on_worker<T: Send + 'static>(
    scan: Scan,
    progress: &dyn Progress,
    work: impl FnOnce(Batches, &dyn Progress) -> Result<T> + Send + 'static,
) -> Result<T> {
    let (to_worker, batches) = mpsc::channel(QUEUED);
    let (sender, events) = progress_channel();
    let reading = tokio::spawn(send_batches(scan.stream().await?, to_worker));
    let batches = Batches {
        batches,
        progress: sender.clone(),
    };
    let worker = tokio::task::spawn_blocking(move || {
        let sender: ProgressSender = sender;
        work(batches, &sender)
    });
    events.forward(progress).await;
    let done = worker.await.map_err(|source| Error::Worker {
        task: "writing the export",
        source,
    })?;
    reading.abort();
    done
}

/// What an export writes, image by image.
pub(crate) trait OfImages {
    /// What an image has any number of.
    type Item: Send;

    /// Calls `each` with every image's position and all its items. Images without items come last.
    ///
    /// # Errors
    /// Errors of `each`; store errors; [`Error::StoreDamaged`] if an image does not have all its items, or more.
    fn by_image(self, each: impl FnMut(usize, Vec<Self::Item>) -> Result<()>) -> Result<()>;
}

/// [`OfImages::by_image`], from batches of pairs of an image's position and an item. `counts` are the numbers of items of the images.
pub(super) fn by_image<T>(
    batches: impl Iterator<Item = Result<Vec<(usize, T)>>>,
    counts: &[usize],
    mut each: impl FnMut(usize, Vec<T>) -> Result<()>,
) -> Result<()> {
    let mut open: HashMap<usize, Vec<T>> = HashMap::new();
    let mut found = vec![0; counts.len()];
    for batch in batches {
        for (image, item) in batch? {
            let (Some(found), Some(count)) = (found.get_mut(image), counts.get(image)) else {
                continue;
            };
            *found += 1;
            if *found > *count {
                return Err(missing(*count, *found));
            }
            open.entry(image).or_default().push(item);
            if found == count {
                each(image, open.remove(&image).unwrap_or_default())?;
            }
        }
    }
    for (found, count) in found.iter().zip(counts) {
        if found != count {
            return Err(missing(*count, *found));
        }
    }
    for (image, count) in counts.iter().enumerate() {
        if *count == 0 {
            each(image, Vec::new())?;
        }
    }
    Ok(())
}

/// The error of a store that does not have what other tables name.
pub(super) fn missing(expected: usize, found: usize) -> Error {
    Error::StoreDamaged {
        path: "masks".to_owned(),
        reason: format!("{found} of {expected} objects are there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_image_by_image() {
        let batches = [vec![(2, 'a'), (0, 'b')], vec![(2, 'c')]];
        let of = |counts: &[usize]| {
            let mut found = Vec::new();
            let batches = batches.clone().into_iter().map(Ok);
            by_image(batches, counts, |image, items| {
                found.push((image, items));
                Ok(())
            })
            .map(|()| found)
        };
        let expected = vec![(0, vec!['b']), (2, vec!['a', 'c']), (1, vec![])];
        assert_eq!(of(&[1, 0, 2]).unwrap(), expected);
        for (counts, part) in [
            ([1, 0, 3], "2 of 3 objects"),
            ([1, 1, 2], "0 of 1 objects"),
            ([1, 0, 1], "2 of 1 objects"),
        ] {
            let damaged = of(&counts).unwrap_err().to_string();
            assert!(damaged.contains(part), "{damaged}");
        }
    }
}
