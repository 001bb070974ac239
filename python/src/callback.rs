//! Progress that is reported to a Python object.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use grainstore::progress::Progress;
use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

/// Minimum time between two reports of advance.
const PAUSE: Duration = Duration::from_millis(50);

/// Calls the methods `start`, `advance`, `note`, `status` and `finish` of an object.
pub struct Callback {
    object: Py<PyAny>,
    advance: Mutex<Advance>,
}

/// Items that are done and not reported yet.
#[derive(Default)]
struct Advance {
    items: u64,
    reported: Option<Instant>,
}

impl Callback {
    /// Reports to `object`.
    pub fn new(object: Py<PyAny>) -> Self {
        Self {
            object,
            advance: Mutex::default(),
        }
    }

    /// Reports what is done and not reported yet.
    pub fn flush(&self) {
        let items = std::mem::take(&mut self.lock().items);
        if items > 0 {
            self.report("advance", (items,));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Advance> {
        self.advance.lock().unwrap_or_else(|err| err.into_inner())
    }

    fn report(&self, method: &str, args: impl for<'py> PyCallArgs<'py>) {
        Python::attach(|py| {
            let object = self.object.bind(py);
            let done = object.getattr(method).and_then(|it| it.call1(args));
            // A bar that cannot be drawn does not end the work.
            if let Err(err) = done {
                err.write_unraisable(py, Some(object));
            }
        });
    }
}

impl Progress for Callback {
    fn start(&self, what: &str, total: Option<u64>) {
        self.flush();
        self.report("start", (what, total));
    }

    fn advance(&self, n: u64) {
        let items = {
            let mut advance = self.lock();
            advance.items += n;
            if advance.reported.is_some_and(|at| at.elapsed() < PAUSE) {
                return;
            }
            advance.reported = Some(Instant::now());
            std::mem::take(&mut advance.items)
        };
        self.report("advance", (items,));
    }

    fn note(&self, line: &str) {
        self.report("note", (line,));
    }

    fn status(&self, line: &str) {
        self.report("status", (line,));
    }

    fn finish(&self) {
        self.flush();
        self.report("finish", ());
    }
}
