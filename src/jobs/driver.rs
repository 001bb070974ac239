//! The run of a job: it hands out chunks, wave after wave, and commits what comes back.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::committer::Committer;
use super::plan::TaskExec;
use super::run_plan::{JobOptions, RunPlan};
use super::task::Task;
use crate::ids::ImageId;
use crate::progress::Progress;
use crate::store::Store;
use crate::{Error, Result};

/// Waves in a row of which no chunk came back, after which a job is given up.
const MAX_STUCK: u32 = 2;

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
    pub workers: &'a dyn RunPlan,
    pub options: &'a JobOptions,
    pub progress: &'a dyn Progress,
    /// Number of the next task, which no other has.
    pub next_task: u32,
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
        let (mut ended, mut stuck) = (Ok(()), 0);
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
            // A pass that failed is followed by another as long as the job gets on.
            stuck = if left < before { 0 } else { stuck + 1 };
            if stuck == MAX_STUCK {
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
        for wave in chunks.chunks(self.options.wave.max(1) as usize) {
            let (first, count) = (self.next_task, wave.len() as u32);
            self.next_task += count;
            let job = &self.task.job().job;
            self.store.put_tasks(job, first, wave).await?;
            let plan = Arc::new(TaskExec::new(self.task.clone(), first, count));
            let ended = self.watch(plan).await;
            // What was staged is kept, however the wave ended.
            self.committer
                .collect(Duration::ZERO, self.progress)
                .await?;
            self.committer.clear().await?;
            ended?;
        }
        Ok(())
    }

    /// Runs a plan, and meanwhile commits what it stages.
    async fn watch(&mut self, plan: Arc<TaskExec>) -> Result<()> {
        let mut running = self.workers.run(plan);
        let age = self.options.commit_every;
        loop {
            tokio::select! {
                ended = &mut running => {
                    let tasks = ended?;
                    tracing::info!(tasks, "a wave has ended");
                    return Ok(());
                }
                () = tokio::time::sleep(self.options.poll) => {
                    let collected = self.committer.collect(age, self.progress).await;
                    if collected.is_err() {
                        // The next pass would run beside it.
                        self.workers.cancel().await?;
                        return collected;
                    }
                }
            }
        }
    }
}
