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
