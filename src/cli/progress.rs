//! Progress as a bar on stderr.

use std::time::{Duration, Instant};

use grainstore::progress::{NoProgress, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Global;

/// Maximum number of notes that are shown, unless more are requested.
const NOTES: u64 = 20;

/// Minimum time between two statuses in a log.
const STATUS_PAUSE: Duration = Duration::from_secs(5);

/// A progress bar with rate and ETA. If stderr is not a terminal, it prints the notes and an occasional status.
pub struct Bar {
    bar: ProgressBar,
    /// Name of the things that are counted.
    what: std::sync::Mutex<String>,
    /// Time of the last status, if stderr is not a terminal.
    printed: std::sync::Mutex<Option<Instant>>,
    notes: std::sync::atomic::AtomicU64,
    all_notes: bool,
}

/// The progress reporter of the host program, or else the one that the global options request.
pub fn progress(global: &Global) -> Box<dyn Progress> {
    if let Some(of_host) = super::call::progress() {
        return of_host;
    }
    if global.quiet {
        return Box::new(NoProgress);
    }
    Box::new(Bar {
        bar: ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
        what: std::sync::Mutex::default(),
        printed: std::sync::Mutex::default(),
        notes: 0.into(),
        all_notes: global.verbose > 0,
    })
}

impl Bar {
    fn print(&self, line: &str) {
        if self.bar.is_hidden() {
            errln!("{line}");
        } else {
            self.bar.println(line);
        }
    }
}

impl Progress for Bar {
    fn start(&self, what: &str, total: Option<u64>) {
        let template = match total {
            Some(_) => "{wide_bar} {pos}/{len} {msg} {per_sec} ETA {eta}",
            None => "{spinner} {pos} {msg} {per_sec}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_position(0);
        self.bar.set_message(what.to_owned());
        *self.what.lock().unwrap_or_else(|err| err.into_inner()) = what.to_owned();
        match total {
            Some(total) => self.bar.set_length(total),
            None => self.bar.unset_length(),
        }
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn advance(&self, n: u64) {
        self.bar.inc(n);
    }

    fn note(&self, line: &str) {
        let before = self
            .notes
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        match before {
            0..NOTES => self.print(line),
            _ if self.all_notes => self.print(line),
            NOTES => self.print("... more; '--verbose' shows them all"),
            _ => {}
        }
    }

    fn status(&self, line: &str) {
        if self.bar.is_hidden() {
            let mut printed = self.printed.lock().unwrap_or_else(|err| err.into_inner());
            if printed.is_none_or(|at| at.elapsed() >= STATUS_PAUSE) {
                *printed = Some(Instant::now());
                errln!("{line}");
            }
            return;
        }
        let what = self.what.lock().unwrap_or_else(|err| err.into_inner());
        self.bar.set_message(format!("{what} ({line})"));
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
