//! What tasks have staged becomes commits, many chunks each.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::task::{Staged, Task};
use crate::Result;
use crate::ids::ImageId;
use crate::progress::Progress;
use crate::store::rows::{FailureRow, Row, unrecorded_failures};
use crate::store::{Changes, ImageSet, STAGED_KEPT, Snapshot, Store};

/// Collects staged chunks and commits them.
pub(crate) struct Committer<'a, T: Task> {
    store: &'a Store,
    task: T,
    operation: &'static str,
    /// Images that have rows, by what rows a chunk can have.
    sets: Vec<ImageSet>,
    /// Chunks that were read.
    seen: HashSet<String>,
    waiting: Vec<Staged<T::Counts>>,
    committed_at: Instant,
    /// Images that cannot be used.
    pub failed: HashSet<ImageId>,
    pub failures: u64,
    /// The counts of the chunks whose rows were committed.
    pub taken: Vec<T::Counts>,
    /// Images of chunks of which one was done by another process meanwhile.
    pub done_elsewhere: u64,
    /// Chunks that were read, and those of them that were left out.
    pub collected: u64,
    pub dropped: u64,
}

impl<'a, T: Task> Committer<'a, T> {
    /// `sets` are the images that have rows already, in the order in which tasks name those that they add.
    pub fn new(store: &'a Store, task: T, operation: &'static str, sets: Vec<ImageSet>) -> Self {
        Self {
            store,
            task,
            operation,
            sets,
            seen: HashSet::new(),
            waiting: Vec::new(),
            committed_at: Instant::now(),
            failed: HashSet::new(),
            failures: 0,
            taken: Vec::new(),
            done_elsewhere: 0,
            collected: 0,
            dropped: 0,
        }
    }

    /// Reads what was staged since it was last asked, and commits what waits once the last commit is `age` old.
    pub async fn collect(&mut self, age: Duration, progress: &dyn Progress) -> Result<()> {
        let oldest = Utc::now() - STAGED_KEPT;
        let queue = &self.task.job().queue;
        let staged = self.store.staged(queue).await?;
        let new = staged.into_iter().filter(|it| !self.seen.contains(&it.key));
        let (new, old): (Vec<_>, Vec<_>) = new.partition(|it| it.staged_at >= oldest);
        let old = old.into_iter().map(|it| it.key);
        self.store.remove_staged(queue, old).await?;
        let keys: Vec<String> = new.into_iter().map(|it| it.key).collect();
        let read = self.store.read_staged(queue, keys.clone()).await?;
        self.seen.extend(keys);
        for (_, chunk) in read {
            let chunk: Staged<T::Counts> = chunk;
            for failure in &chunk.failures {
                progress.note(&format!("{}: {}", failure.item, failure.reason));
                self.failed.extend(failure.image_id.clone());
            }
            progress.advance(chunk.images);
            self.collected += 1;
            self.waiting.push(chunk);
        }
        if self.committed_at.elapsed() >= age {
            self.commit().await?;
        }
        Ok(())
    }

    /// Commits what waits, in one commit. A chunk with an image that another process has done meanwhile, or of a table that was
    /// removed, is left out whole.
    async fn commit(&mut self) -> Result<()> {
        self.committed_at = Instant::now();
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let (this, chunks) = (&*self, &waiting);
        let committed = self
            .store
            .commit_with(self.operation, |head| async move {
                this.task.check(&head).await?;
                let mut changes = Changes::new();
                let mut failures = Vec::new();
                let (mut taken, mut in_this) = (HashSet::new(), HashSet::new());
                for (at, chunk) in chunks.iter().enumerate() {
                    failures.extend(chunk.failures.iter().cloned());
                    let is_new = chunk.rows.have_tables(&head)
                        && this.are_new(&head, &chunk.new).await?
                        && this.task.is_current(&head, &chunk.counts).await?;
                    if is_new && !overlaps(&chunk.new, &mut in_this) {
                        changes.append_staged(&chunk.rows)?;
                        taken.insert(at);
                    }
                }
                let failures = unrecorded_failures(&head, &failures).await?;
                changes.append(FailureRow::TABLE, FailureRow::to_batch(&failures)?);
                Ok((changes, taken))
            })
            .await;
        let (commit, taken) = match committed {
            Ok(committed) => committed,
            Err(err) => {
                // What was not committed waits for the next attempt.
                self.waiting = waiting;
                return Err(err);
            }
        };
        for (at, chunk) in waiting.into_iter().enumerate() {
            self.failures += chunk.failures.len() as u64;
            if !taken.contains(&at) {
                self.dropped += 1;
                self.done_elsewhere += chunk.new.first().map_or(0, |images| images.len() as u64);
                continue;
            }
            if commit.changed {
                for (set, images) in self.sets.iter().zip(&chunk.new) {
                    if !images.is_empty() {
                        set.add(&commit.snapshot, images).await?;
                    }
                }
            }
            self.taken.push(chunk.counts);
        }
        Ok(())
    }

    async fn are_new(&self, head: &Snapshot, new: &[Vec<ImageId>]) -> Result<bool> {
        for (set, images) in self.sets.iter().zip(new) {
            if !images.is_empty() && !set.among(head, images).await?.is_empty() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes what was read and committed. A task that is run again after that would do its work again, so this comes when no
    /// task can be.
    pub async fn clear(&mut self) -> Result<()> {
        let keys: Vec<String> = self.seen.drain().collect();
        self.store.remove_staged(&self.task.job().queue, keys).await
    }
}

/// Whether rows of an image were added before in the same commit; notes the images.
fn overlaps<'a>(new: &'a [Vec<ImageId>], noted: &mut HashSet<(usize, &'a ImageId)>) -> bool {
    let images = || {
        let sets = new.iter().enumerate();
        sets.flat_map(|(set, images)| images.iter().map(move |image| (set, image)))
    };
    if images().any(|image| noted.contains(&image)) {
        return true;
    }
    noted.extend(images());
    false
}
