//! What tasks have staged becomes commits, many chunks each.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::task::StagedChunk;
use crate::Result;
use crate::extract::summary::ExtractSummary;
use crate::extract::target::{NewImages, Target, add_failures};
use crate::ids::ImageId;
use crate::progress::Progress;
use crate::store::{Changes, STAGED_KEPT, Store};

/// Collects staged chunks and commits them.
pub(super) struct Committer<'a> {
    store: &'a Store,
    target: Target,
    queue: String,
    /// Chunks that were read.
    seen: HashSet<String>,
    waiting: Vec<StagedChunk>,
    committed_at: Instant,
    /// Images that cannot be extracted.
    pub failed: HashSet<ImageId>,
    pub summary: ExtractSummary,
    /// Chunks whose rows were committed.
    pub chunks: u64,
}

impl<'a> Committer<'a> {
    pub fn new(store: &'a Store, target: Target, queue: String) -> Self {
        Self {
            store,
            target,
            queue,
            seen: HashSet::new(),
            waiting: Vec::new(),
            committed_at: Instant::now(),
            failed: HashSet::new(),
            summary: ExtractSummary::default(),
            chunks: 0,
        }
    }

    /// Reads what was staged since it was last asked, and commits what waits once the last commit is `age` old. Returns the
    /// number of chunks that were read.
    pub async fn collect(&mut self, age: Duration, progress: &dyn Progress) -> Result<u64> {
        let oldest = Utc::now() - STAGED_KEPT;
        let staged = self.store.staged(&self.queue).await?;
        let new = staged.into_iter().filter(|it| !self.seen.contains(&it.key));
        let (new, old): (Vec<_>, Vec<_>) = new.partition(|it| it.staged_at >= oldest);
        let old = old.into_iter().map(|it| it.key);
        self.store.remove_staged(&self.queue, old).await?;
        let keys: Vec<String> = new.into_iter().map(|it| it.key).collect();
        let read = self.store.read_staged(&self.queue, keys.clone()).await?;
        let count = read.len() as u64;
        self.seen.extend(keys);
        for (_, chunk) in read {
            let chunk: StagedChunk = chunk;
            for failure in &chunk.failures {
                progress.note(&format!("{}: {}", failure.item, failure.reason));
                self.failed.extend(failure.image_id.clone());
            }
            progress.advance(chunk.images);
            self.waiting.push(chunk);
        }
        if self.committed_at.elapsed() >= age {
            self.commit().await?;
        }
        Ok(count)
    }

    /// Commits what waits, in one commit. A chunk with an image that another process has done meanwhile is left out whole.
    async fn commit(&mut self) -> Result<()> {
        self.committed_at = Instant::now();
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let (target, waiting) = (&self.target, &waiting);
        let (commit, taken) = self
            .store
            .commit_with("extract", |head| async move {
                let mut changes = Changes::new();
                let mut failures = Vec::new();
                let (mut taken, mut in_this) = (Vec::new(), HashSet::new());
                for (at, chunk) in waiting.iter().enumerate() {
                    failures.extend(chunk.failures.iter().cloned());
                    let is_new = target.are_new(&head, &chunk.new).await?;
                    if is_new && !overlaps(&chunk.new, &mut in_this) {
                        changes.append_staged(&chunk.rows)?;
                        taken.push(at);
                    }
                }
                add_failures(&mut changes, &head, &failures).await?;
                Ok((changes, taken))
            })
            .await?;
        let taken: HashSet<usize> = taken.into_iter().collect();
        for (at, chunk) in waiting.iter().enumerate() {
            self.summary.failed += chunk.failures.len() as u64;
            let images = chunk.new.masks.len() as u64;
            if !taken.contains(&at) {
                self.summary.done_elsewhere += images;
                continue;
            }
            self.chunks += 1;
            self.summary.images += chunk.planned.images;
            self.summary.masks += chunk.planned.masks;
            self.summary.revisited += chunk.planned.revisited;
            if commit.changed {
                target.committed(&commit.snapshot, &chunk.new).await?;
            }
        }
        Ok(())
    }

    /// Removes what was read and committed. A task that is run again after that would do its work again, so this comes when no
    /// task can be.
    pub async fn clear(&mut self) -> Result<()> {
        let keys: Vec<String> = self.seen.iter().cloned().collect();
        self.store.remove_staged(&self.queue, keys).await
    }
}

/// Whether rows of an image were added before in the same commit; notes the images.
fn overlaps<'a>(new: &'a NewImages, noted: &mut HashSet<(usize, &'a ImageId)>) -> bool {
    let vectors = new.vectors.iter();
    let sets = [&new.masks, &new.features].into_iter().chain(vectors);
    let images = || {
        let sets = sets.clone().enumerate();
        sets.flat_map(|(set, images)| images.iter().map(move |image| (set, image)))
    };
    if images().any(|image| noted.contains(&image)) {
        return true;
    }
    noted.extend(images());
    false
}
