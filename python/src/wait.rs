//! Waits for work on other threads, so that Ctrl-C ends it.

use std::future::Future;
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

/// Time between two looks at whether Ctrl-C was pressed.
const TICK: Duration = Duration::from_millis(50);

/// As that of a program's first thread: models and plans are deep.
const STACK: usize = 8 << 20;

/// The runtime of this process, and the process. After a fork, the threads of the parent's runtime are not there.
static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

/// The runtime in which all work of this process runs.
pub fn runtime() -> PyResult<&'static Runtime> {
    let mut known = RUNTIME.lock().unwrap_or_else(|err| err.into_inner());
    let process = std::process::id();
    match *known {
        Some((of, runtime)) if of == process => Ok(runtime),
        _ => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .map_err(|err| PyOSError::new_err(format!("cannot start worker threads: {err}")))?;
            // It serves to the end of the process.
            let runtime: &'static Runtime = Box::leak(Box::new(runtime));
            *known = Some((process, runtime));
            Ok(runtime)
        }
    }
}

/// Runs work and waits for its result. Other Python threads run meanwhile. If a signal handler raises an exception, as that
/// of Ctrl-C does, the work is dropped and the exception returned.
pub fn wait<F, T>(py: Python<'_>, work: impl FnOnce() -> F + Send + 'static) -> PyResult<T>
where
    F: Future<Output = T>,
    T: Send + 'static,
{
    let runtime = runtime()?;
    let (stop, stopped) = oneshot::channel::<()>();
    let (sender, receiver) = mpsc::channel();
    std::thread::Builder::new()
        .name("grainstore".to_owned())
        .stack_size(STACK)
        .spawn(move || {
            let done = runtime.block_on(async {
                tokio::select! {
                    done = work() => Some(done),
                    _ = stopped => None,
                }
            });
            // Nobody waits any more only if the interpreter has ended.
            let _ = sender.send(done);
        })
        .map_err(|err| PyOSError::new_err(format!("cannot start a thread: {err}")))?;
    let receiver = Mutex::new(receiver);
    let mut stop = Some(stop);
    let mut raised = None;
    loop {
        let done = py.detach(|| {
            let receiver = receiver.lock().unwrap_or_else(|err| err.into_inner());
            receiver.recv_timeout(TICK)
        });
        match (done, raised.take()) {
            (Ok(_) | Err(RecvTimeoutError::Disconnected), Some(err)) => return Err(err),
            (Ok(Some(done)), None) => return Ok(done),
            (Ok(None) | Err(RecvTimeoutError::Disconnected), None) => {
                return Err(PyRuntimeError::new_err(
                    "grainstore failed in an unexpected way; its message is on stderr",
                ));
            }
            (Err(RecvTimeoutError::Timeout), err) => match (err, py.check_signals().err()) {
                // Whoever insists does not wait for the work to end.
                (Some(_), Some(again)) => return Err(again),
                (err, signalled) => {
                    raised = err.or(signalled);
                    if raised.is_some() {
                        drop(stop.take());
                    }
                }
            },
        }
    }
}
