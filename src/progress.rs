//! Progress of long work.
//!
//! The library never prints; it calls a [`Progress`]. The binary draws bars on stderr. Tests, and programs that use the
//! library, pass [`NoProgress`] or their own.

use std::sync::Arc;

/// Receives the progress of one long piece of work.
pub trait Progress: Send + Sync {
    /// Called when work on `total` items begins; `None` if their number is not known. `what` names them ("images").
    fn start(&self, what: &str, total: Option<u64>);
    /// Called when `n` more items are done.
    fn advance(&self, n: u64);
    /// Called with one line that a person should see at once; the work goes on.
    fn note(&self, line: &str);
    /// Called with the current state of the work, such as a loss, which replaces the previous one. Ignored by default.
    fn status(&self, _line: &str) {}
    /// Called when the work has ended or was given up.
    fn finish(&self);
    /// Whether nobody waits for the work any more. Long loops of worker threads ask it, and end. False by default.
    fn is_given_up(&self) -> bool {
        false
    }
}

impl<P: Progress + ?Sized> Progress for Arc<P> {
    fn start(&self, what: &str, total: Option<u64>) {
        self.as_ref().start(what, total);
    }

    fn advance(&self, n: u64) {
        self.as_ref().advance(n);
    }

    fn note(&self, line: &str) {
        self.as_ref().note(line);
    }

    fn status(&self, line: &str) {
        self.as_ref().status(line);
    }

    fn finish(&self) {
        self.as_ref().finish();
    }

    fn is_given_up(&self) -> bool {
        self.as_ref().is_given_up()
    }
}

/// A [`Progress`] that reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn start(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _n: u64) {}
    fn note(&self, _line: &str) {}
    fn finish(&self) {}
}

/// A [`Progress`] for a worker thread. Its calls are queued until [`ProgressEvents::forward`] passes them on; the work is given
/// up when that is dropped.
#[derive(Debug, Clone)]
pub struct ProgressSender(tokio::sync::mpsc::UnboundedSender<Event>);

/// The receiving end of a [`ProgressSender`].
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

/// Returns a progress for a worker thread, and the receiver that passes its calls on in another.
pub fn progress_channel() -> (ProgressSender, ProgressEvents) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    (ProgressSender(sender), ProgressEvents(receiver))
}

impl ProgressSender {
    fn send(&self, event: Event) {
        // A send fails only if the receiver is gone; then nobody needs the event.
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

    fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }
}

impl ProgressEvents {
    /// Passes every event on to `progress` until the sender is dropped.
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
