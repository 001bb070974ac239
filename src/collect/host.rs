//! One host's patience: how many requests at once, how fast, and what its robots.txt allows.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use texting_robots::Robot;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

/// Name under which robots.txt may speak of this program.
pub(super) const AGENT: &str = "grainstore";
/// Longest pause between requests that a robots.txt may ask for.
const MAX_CRAWL_DELAY: Duration = Duration::from_secs(60);

/// What a robots.txt allows.
pub(super) enum Robots {
    /// There is none.
    Absent,
    /// Its rules.
    Rules(Box<Robot>),
    /// The host is in a private network. The reason.
    Private(String),
    /// It could not be read; nothing is allowed then (RFC 9309, 2.3.1.4). The reason.
    Unknown(String),
}

impl Robots {
    /// Reads the file's text. A file that is none allows everything.
    pub fn parse(text: &[u8]) -> Self {
        match Robot::new(AGENT, text) {
            Ok(robot) => Self::Rules(Box::new(robot)),
            Err(_) => Self::Absent,
        }
    }

    fn delay(&self) -> Option<Duration> {
        let Self::Rules(robot) = self else {
            return None;
        };
        let seconds = robot.delay.filter(|it| it.is_finite() && *it > 0.0)?;
        Some(Duration::from_secs_f32(seconds).min(MAX_CRAWL_DELAY))
    }
}

/// A host, and when it may be asked again.
pub(super) struct Host {
    slots: Semaphore,
    /// When the next request may begin.
    next: Mutex<Instant>,
    pause: Duration,
    /// Why it is not asked any more.
    closed: Mutex<Option<String>>,
    /// Its robots.txt, once it was asked for.
    pub robots: OnceCell<Robots>,
}

impl Host {
    /// A host of which `at_once` requests run at a time, and begin at least `pause` apart.
    pub fn new(at_once: usize, pause: Duration) -> Self {
        Self {
            slots: Semaphore::new(at_once),
            next: Mutex::new(Instant::now()),
            pause,
            closed: Mutex::default(),
            robots: OnceCell::new(),
        }
    }

    /// Waits until a request may begin. It may run until the guard is dropped.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let permit = self.slots.acquire().await.ok();
        let pause = match self.robots.get().and_then(Robots::delay) {
            Some(delay) => delay.max(self.pause),
            None => self.pause,
        };
        let begins = {
            let mut next = self.next.lock().unwrap_or_else(|err| err.into_inner());
            let begins = (*next).max(Instant::now());
            *next = begins + pause;
            begins
        };
        tokio::time::sleep_until(begins.into()).await;
        permit
    }

    /// Why the host is not asked any more in this run; `None` if it is.
    pub fn closed(&self) -> Option<String> {
        let closed = self.closed.lock().unwrap_or_else(|err| err.into_inner());
        closed.clone()
    }

    /// Asks the host no more in this run.
    pub fn close(&self, reason: &str) {
        let mut closed = self.closed.lock().unwrap_or_else(|err| err.into_inner());
        closed.get_or_insert_with(|| reason.to_owned());
    }

    /// Leaves the host alone for a while.
    pub fn hold(&self, wait: Duration) {
        let mut next = self.next.lock().unwrap_or_else(|err| err.into_inner());
        *next = (*next).max(Instant::now() + wait);
    }
}
