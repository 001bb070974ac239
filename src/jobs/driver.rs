//! The run of a job: it hands out chunks, wave after wave, and commits what comes back.

use std::collections::HashSet;
use std::time::Duration;

use super::committer::Committer;
use super::task::Task;
use super::waves::{Watch, Waves};
use crate::ids::ImageId;
use crate::progress::Progress;
use crate::store::Store;
use crate::{Error, Result};

/// What is left of some work.
#[async_trait::async_trait]
pub(crate) trait Work: Sync {
    /// What the work consists of.
    type Task: Task;

    /// The chunks that are left, without images that have failed.
    async fn left(&self, failed: &HashSet<ImageId>) -> Result<Vec<<Self::Task as Task>::Chunk>>;

    /// Whether only a part of it is to be done, so that what is left after a pass stays.
    fn is_limited(&self) -> bool;
}

/// A job that is under way.
pub(crate) struct Job<'a, T: Task> {
    pub store: &'a Store,
    pub task: T,
    pub committer: Committer<'a, T>,
    pub waves: Waves<'a>,
    /// Time between two commits.
    pub commit_every: Duration,
    pub progress: &'a dyn Progress,
}

impl<T: Task> Job<'_, T> {
    /// Has all that is left done.
    ///
    /// # Errors
    /// [`Error::Cluster`] if tasks failed for good, or none is making progress; errors of the store.
    pub async fn run(&mut self, work: &dyn Work<Task = T>) -> Result<()> {
        // What an earlier run left.
        self.committer
            .collect(Duration::ZERO, self.progress)
            .await?;
        self.committer.clear().await?;
        let mut chunks = work.left(&self.committer.failed).await?;
        let mut left = self.images(&chunks);
        self.progress.start("images", Some(left));
        let mut ended = Ok(());
        while left > 0 {
            let (collected, dropped) = (self.committer.collected, self.committer.dropped);
            ended = self.pass(&chunks).await;
            let came_back = self.committer.collected - collected;
            let is_whole = came_back == chunks.len() as u64 && self.committer.dropped == dropped;
            if work.is_limited() || ended.is_ok() && is_whole {
                left = 0;
                break;
            }
            let before = left;
            chunks = work.left(&self.committer.failed).await?;
            left = self.images(&chunks);
            if self.waves.is_stuck(left < before) {
                break;
            }
        }
        self.store.remove_tasks(&self.task.job().job).await?;
        self.progress.finish();
        if work.is_limited() {
            return ended;
        }
        match left {
            0 => Ok(()),
            left => Err(ended.err().unwrap_or_else(|| Error::Cluster {
                reason: format!("{left} images were handed out, and not done"),
            })),
        }
    }

    fn images(&self, chunks: &[T::Chunk]) -> u64 {
        let images = chunks.iter().map(|chunk| self.task.images(chunk).len());
        images.sum::<usize>() as u64
    }

    /// Has chunks done and commits them, wave after wave.
    async fn pass(&mut self, chunks: &[T::Chunk]) -> Result<()> {
        for wave in chunks.chunks(self.waves.size()) {
            let mut committing = Committing {
                committer: &mut self.committer,
                age: self.commit_every,
                progress: self.progress,
            };
            let ended = self.waves.run(&self.task, wave, &mut committing).await;
            // What was staged is kept, however the wave ended.
            self.committer
                .collect(Duration::ZERO, self.progress)
                .await?;
            self.committer.clear().await?;
            ended?;
        }
        Ok(())
    }
}

/// Commits what tasks have staged, once the last commit has some age.
struct Committing<'a, 'b, T: Task> {
    committer: &'a mut Committer<'b, T>,
    age: Duration,
    progress: &'a dyn Progress,
}

#[async_trait::async_trait]
impl<T: Task> Watch for Committing<'_, '_, T> {
    async fn look(&mut self) -> Result<()> {
        self.committer.collect(self.age, self.progress).await
    }
}
