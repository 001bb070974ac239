//! Chunks whose results one process waits for, and nobody else uses.

use std::collections::HashMap;

use super::run_plan::{JobOptions, RunPlan};
use super::task::{JobId, Staged, Task};
use super::waves::{Watch, Waves};
use crate::progress::Progress;
use crate::store::Store;
use crate::{Error, Result};

/// Who does the chunks of a job, for whom.
#[derive(Clone, Copy)]
pub(crate) struct OnWorkers<'a> {
    pub store: &'a Store,
    workers: &'a dyn RunPlan,
    options: &'a JobOptions,
    progress: &'a dyn Progress,
}

impl<'a> OnWorkers<'a> {
    pub const fn new(
        store: &'a Store,
        workers: &'a dyn RunPlan,
        options: &'a JobOptions,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            store,
            workers,
            options,
            progress,
        }
    }

    /// Has chunks done, and returns what is counted of each, in their order. `what` names them ("merges").
    ///
    /// The job's words must be in the keys of its chunks, so that no other job takes its results.
    ///
    /// # Errors
    /// [`Error::Cluster`] or [`Error::ClusterJob`] if tasks failed for good, or none is making progress; errors of the store.
    pub async fn results<T: Task>(
        &self,
        task: &T,
        chunks: &[T::Chunk],
        what: &'static str,
    ) -> Result<Vec<T::Counts>> {
        let keys: Vec<String> = chunks.iter().map(|chunk| task.key(chunk)).collect();
        self.progress.start(what, Some(chunks.len() as u64));
        let done = self.done(task, chunks, &keys, what).await;
        self.progress.finish();
        if let Err(err) = self.remove(task, keys, done.is_err()).await {
            tracing::warn!("what the workers were asked was not removed: {err}");
        }
        done
    }

    async fn done<T: Task>(
        &self,
        task: &T,
        chunks: &[T::Chunk],
        keys: &[String],
        what: &'static str,
    ) -> Result<Vec<T::Counts>> {
        let queue = &task.job().queue;
        let mut waves = Waves::new(self.store, self.workers, self.options);
        let mut undone = Undone {
            on: *self,
            queue,
            left: keys.iter().cloned().zip(chunks).collect(),
        };
        while !undone.left.is_empty() {
            let before = undone.left.len();
            let ended = pass(&mut waves, task, &mut undone).await;
            undone.look().await?;
            let left = undone.left.len();
            if waves.is_stuck(left < before) {
                return Err(ended.err().unwrap_or_else(|| Error::Cluster {
                    reason: format!("{left} {what} were handed out, and not done"),
                }));
            }
        }
        let staged = self.store.read_staged(queue, keys.to_vec()).await?;
        let done = staged
            .into_iter()
            .map(|(_, made): (_, Staged<T::Counts>)| made.counts)
            .collect::<Vec<_>>();
        if done.len() < chunks.len() {
            return Err(Error::Cluster {
                reason: format!("results of {what} have been removed meanwhile; start again"),
            });
        }
        Ok(done)
    }

    /// Removes tasks and results; after a failure, what the results name, too.
    async fn remove<T: Task>(&self, task: &T, keys: Vec<String>, has_failed: bool) -> Result<()> {
        let JobId { job, queue, .. } = task.job();
        self.store.remove_tasks(job).await?;
        if has_failed {
            let staged = self.store.read_staged(queue, keys.clone()).await?;
            for (_, made) in staged {
                let made: Staged<T::Counts> = made;
                task.discard(self.store, &made.counts, None).await?;
            }
        }
        self.store.remove_staged(queue, keys).await
    }
}

/// Hands out what is left.
async fn pass<T: Task>(
    waves: &mut Waves<'_>,
    task: &T,
    undone: &mut Undone<'_, T::Chunk>,
) -> Result<()> {
    let left: Vec<&T::Chunk> = undone.left.values().copied().collect();
    for wave in left.chunks(waves.size()) {
        waves.run(task, wave, undone).await?;
    }
    Ok(())
}

/// What is left to do.
struct Undone<'a, C> {
    on: OnWorkers<'a>,
    queue: &'a str,
    /// Chunks without a result, by its name.
    left: HashMap<String, &'a C>,
}

#[async_trait::async_trait]
impl<C: Send + Sync> Watch for Undone<'_, C> {
    /// Takes off what has been staged.
    async fn look(&mut self) -> Result<()> {
        let staged = self.on.store.staged(self.queue).await?.into_iter();
        let done = staged.filter(|it| self.left.remove(&it.key).is_some());
        self.on.progress.advance(done.count() as u64);
        Ok(())
    }
}
