//! The training that runs, or ran last, as the page shows it.

use serde::Serialize;
use tokio::sync::watch;

/// The job that runs, or ran last.
pub struct Jobs {
    /// Its state, for whoever listens.
    pub state: watch::Sender<Job>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            state: watch::Sender::new(Job::default()),
        }
    }
}

impl Jobs {
    /// Whether a head is being trained.
    pub fn is_running(&self) -> bool {
        self.state.borrow().state == Stage::Running
    }
}

/// A training.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Job {
    /// 0 if none has run.
    pub id: u64,
    pub state: Stage,
    pub head: String,
    /// What is done now: 'images', 'epochs', ...
    pub phase: String,
    pub done: u64,
    pub total: Option<u64>,
    pub status: String,
    pub notes: Vec<String>,
    pub seconds: f64,
    /// What changed, in a line.
    pub result: Option<String>,
    pub error: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    #[default]
    Idle,
    Running,
    Done,
    Failed,
}
