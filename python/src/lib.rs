//! The native half of the Python package `grainstore`: its module `grainstore._lib`.
//!
//! Every command of the program can be called with its arguments; what it would print as JSON comes back as JSON, the rows of
//! queries through the Arrow C stream interface. Beside them there is only what the command line cannot do: a head on
//! numbers of the caller's own, and pixels of photos and masks. The Python half (`python/grainstore`) gives all of it names,
//! types and documentation.

#![recursion_limit = "256"]

#[path = "../../src/cli/mod.rs"]
mod cli;
#[path = "../../src/hints.rs"]
mod hints;
#[path = "../../src/web/mod.rs"]
mod web;

mod answer;
mod callback;
mod failure;
mod head;
mod pixels;
mod wait;

use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: grainstore_allocator::MiMalloc = grainstore_allocator::MiMalloc;

/// The native half of grainstore.
#[pymodule]
mod _lib {
    use std::ffi::OsString;
    use std::sync::Arc;

    use pyo3::exceptions::PyRuntimeError;
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::answer::Answer;
    use crate::callback::Callback;
    use crate::cli;
    use crate::failure::raise;
    #[pymodule_export]
    use crate::head::Head;
    #[pymodule_export]
    use crate::pixels::{Photos, mask_decode, mask_encode};
    use crate::wait::wait;

    /// Runs a command. `args` begin with the name of the program; `progress` gets the calls of the class `Progress` of
    /// `grainstore._progress`.
    #[pyfunction]
    fn call(py: Python<'_>, args: Vec<OsString>, progress: Py<PyAny>) -> PyResult<Answer> {
        let progress = Arc::new(Callback::new(progress));
        let of_call = progress.clone();
        let done = wait(py, move || cli::call::call(args, of_call));
        progress.flush();
        match done? {
            Ok(answer) => Answer::new(answer),
            Err(failure) => Err(raise(py, &failure)),
        }
    }

    /// Runs the program with its arguments, of which the first is its name, and returns its exit code.
    #[pyfunction]
    fn main(py: Python<'_>, args: Vec<OsString>) -> u8 {
        py.detach(|| cli::main(args))
    }

    /// Says how the program is started in another process.
    #[pyfunction]
    fn set_program(words: Vec<OsString>) {
        // It stays as it was first set: it does not change while a process runs.
        let _ = cli::PROGRAM.set(words);
    }

    /// Every command with its arguments, as JSON.
    #[pyfunction]
    fn commands() -> PyResult<String> {
        serde_json::to_string(&cli::command_list::commands())
            .map_err(|err| PyRuntimeError::new_err(err.to_string()))
    }

    /// The version of the package.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        grainstore_allocator::keep_freed_memory();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
