//! Handing out tasks, wave after wave.

use std::sync::Arc;

use serde::Serialize;

use super::plan::TaskExec;
use super::run_plan::{JobOptions, RunPlan};
use super::task::Task;
use crate::Result;
use crate::store::Store;

/// Passes in a row in which nothing was done, after which a job is given up.
const MAX_STUCK: u32 = 2;

/// Looks at what tasks stage while they run.
#[async_trait::async_trait]
pub(crate) trait Watch: Send {
    async fn look(&mut self) -> Result<()>;
}

/// Tasks of a job that are handed out.
pub(crate) struct Waves<'a> {
    store: &'a Store,
    workers: &'a dyn RunPlan,
    options: &'a JobOptions,
    /// Number of the next task, which no other has.
    next_task: u32,
    /// Passes in a row in which nothing was done.
    stuck: u32,
}

impl<'a> Waves<'a> {
    pub fn new(store: &'a Store, workers: &'a dyn RunPlan, options: &'a JobOptions) -> Self {
        Self {
            store,
            workers,
            options,
            next_task: 0,
            stuck: 0,
        }
    }

    /// Chunks that are handed out at the same time.
    pub const fn size(&self) -> usize {
        let wave = self.options.wave;
        if wave == 0 { 1 } else { wave as usize }
    }

    /// Has the chunks of a wave done, and looks at what they stage meanwhile. After an error of the look, none of them runs.
    ///
    /// # Errors
    /// As [`RunPlan::run`]; errors of the store and of the look.
    pub async fn run<T: Task, C: Serialize + Sync>(
        &mut self,
        task: &T,
        wave: &[C],
        watch: &mut impl Watch,
    ) -> Result<()> {
        let (first, count) = (self.next_task, wave.len() as u32);
        self.next_task += count;
        self.store.put_tasks(&task.job().job, first, wave).await?;
        let plan = Arc::new(TaskExec::new(task.clone(), first, count));
        let mut running = self.workers.run(plan);
        loop {
            tokio::select! {
                ended = &mut running => {
                    let tasks = ended?;
                    tracing::info!(tasks, "a wave has ended");
                    return Ok(());
                }
                () = tokio::time::sleep(self.options.poll) => {
                    let looked = watch.look().await;
                    if looked.is_err() {
                        // The next pass would run beside it.
                        self.workers.cancel().await?;
                        return looked;
                    }
                }
            }
        }
    }

    /// Whether to give up after a pass; one that failed is followed by another as long as the job gets on.
    pub const fn is_stuck(&mut self, got_on: bool) -> bool {
        self.stuck = if got_on { 0 } else { self.stuck + 1 };
        self.stuck == MAX_STUCK
    }
}
