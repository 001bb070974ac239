//! What a command hands to Python: JSON, and rows through the Arrow C stream interface.

use std::sync::Mutex;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ffi_stream::FFI_ArrowArrayStream;
use grainstore::sql::Rows;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::cli::call;
use crate::failure::raise_error;
use crate::wait::{runtime, wait};

/// The outcome of a command.
#[pyclass]
pub struct Answer {
    /// What the command has to say, as JSON; None if it has nothing.
    #[pyo3(get)]
    value: Option<String>,
    /// Whether it yields rows.
    #[pyo3(get)]
    has_rows: bool,
    /// Whether some items could not be used.
    #[pyo3(get)]
    with_bad_items: bool,
    batches: Mutex<Option<Batches>>,
}

impl Answer {
    /// The outcome of a command that was called.
    pub fn new(answer: call::Answer) -> PyResult<Self> {
        let value = answer.value.map(|value| value.to_string());
        let batches = answer.rows.map(|rows| Batches {
            schema: rows.schema(),
            source: Source::Query(rows),
        });
        Ok(Self {
            value,
            has_rows: batches.is_some(),
            with_bad_items: answer.with_bad_items,
            batches: Mutex::new(batches),
        })
    }

    fn take(&self) -> PyResult<Batches> {
        let mut batches = self.batches.lock().unwrap_or_else(|err| err.into_inner());
        let taken = batches.take();
        taken.ok_or_else(|| PyValueError::new_err("there are no rows, or they were read before"))
    }
}

#[pymethods]
impl Answer {
    /// Reads every row into memory. Ctrl-C ends it.
    fn read_all(&self, py: Python<'_>) -> PyResult<()> {
        let batches = self.take()?;
        let Batches { schema, source } = batches;
        let read = match source {
            Source::Query(rows) => wait(py, move || rows.collect())?,
            Source::Memory(batches) => Ok(batches.collect()),
        };
        let read = read.map_err(|err| raise_error(py, err))?;
        let mut batches = self.batches.lock().unwrap_or_else(|err| err.into_inner());
        *batches = Some(Batches {
            schema,
            source: Source::Memory(read.into_iter()),
        });
        Ok(())
    }

    /// The rows, once, as in <https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // A producer that cannot cast may leave the request aside.
        drop(requested_schema);
        let stream = FFI_ArrowArrayStream::new(Box::new(self.take()?));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }
}

/// Rows as an iterator of batches.
struct Batches {
    schema: SchemaRef,
    source: Source,
}

enum Source {
    /// Each batch is made when it is asked for.
    Query(Rows),
    /// All of them are there.
    Memory(std::vec::IntoIter<RecordBatch>),
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.source {
            Source::Memory(batches) => batches.next().map(Ok),
            Source::Query(rows) => match runtime() {
                Ok(runtime) => runtime
                    .block_on(rows.next())
                    .map_err(|err| ArrowError::ExternalError(Box::new(err)))
                    .transpose(),
                Err(err) => Some(Err(ArrowError::ExternalError(Box::new(err)))),
            },
        }
    }
}

impl RecordBatchReader for Batches {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}
