//! How long work tells how far it is.
//!
//! The library never prints: it calls a [`Progress`]. The binary draws bars on stderr; tests and
//! embedding programs pass [`NoProgress`] or their own.

/// Receives the progress of one long piece of work.
pub trait Progress: Send + Sync {
    /// Work begins: `total` items of `what` (plural: "images"), if the number is known.
    fn start(&self, what: &str, total: Option<u64>);
    /// `n` more items are done.
    fn advance(&self, n: u64);
    /// Something a person should see at once, without ending the work: one line.
    fn note(&self, line: &str);
    /// How the work stands, in place of what was said before: a loss, a figure.
    fn status(&self, _line: &str) {}
    /// Work is over, or given up.
    fn finish(&self);
}

/// Reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _n: u64) {}
    fn note(&self, _line: &str) {}
    fn finish(&self) {}
}

/// Progress told from another thread: what is said to it waits for [`ProgressEvents::forward`].
#[derive(Debug)]
pub struct ProgressSender(tokio::sync::mpsc::UnboundedSender<Event>);

/// The other end of a [`ProgressSender`].
#[derive(Debug)]
pub struct ProgressEvents(tokio::sync::mpsc::UnboundedReceiver<Event>);

#[derive(Debug)]
enum Event {
    Start(String, Option<u64>),
    Advance(u64),
    Note(String),
    Status(String),
    Finish,
}

/// A progress for a worker thread, and the end that tells it to another.
pub fn progress_channel() -> (ProgressSender, ProgressEvents) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    (ProgressSender(sender), ProgressEvents(receiver))
}

impl ProgressSender {
    fn send(&self, event: Event) {
        // Without a listener there is nobody to tell.
        let _ = self.0.send(event);
    }
}

impl Progress for ProgressSender {
    fn start(&self, what: &str, total: Option<u64>) {
        self.send(Event::Start(what.to_owned(), total));
    }

    fn advance(&self, n: u64) {
        self.send(Event::Advance(n));
    }

    fn note(&self, line: &str) {
        self.send(Event::Note(line.to_owned()));
    }

    fn status(&self, line: &str) {
        self.send(Event::Status(line.to_owned()));
    }

    fn finish(&self) {
        self.send(Event::Finish);
    }
}

impl ProgressEvents {
    /// Tells everything to `progress`, until the sender is gone.
    pub async fn forward(mut self, progress: &dyn Progress) {
        while let Some(event) = self.0.recv().await {
            match event {
                Event::Start(what, total) => progress.start(&what, total),
                Event::Advance(n) => progress.advance(n),
                Event::Note(line) => progress.note(&line),
                Event::Status(line) => progress.status(&line),
                Event::Finish => progress.finish(),
            }
        }
    }
}
