//! A head on numbers of the caller's own.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow::datatypes::{DataType, Field};
use grainstore::Error;
use grainstore::head::{HeadInputs, MaskPredictor, load_head};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::failure::raise_error;
use crate::pixels::open;
use crate::wait::wait;

/// A head that is ready to predict.
#[pyclass(frozen)]
pub struct Head {
    predictor: Arc<MaskPredictor>,
    /// Its id.
    #[pyo3(get)]
    head_id: String,
    /// Its name.
    #[pyo3(get)]
    name: String,
    /// Its classes, in the order of the scores.
    #[pyo3(get)]
    classes: Vec<String>,
    /// What it reads of a mask, with the count of numbers, in order.
    #[pyo3(get)]
    inputs: Vec<(String, usize)>,
}

/// Little-endian 32-bit floats.
fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|it| it.to_le_bytes()).collect()
}

/// Rows of `dim` numbers, from little-endian 32-bit floats.
fn column(bytes: &[u8], dim: usize) -> PyResult<ArrayRef> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    if dim == 0 || !rest.is_empty() || numbers.len() % dim != 0 {
        return Err(PyValueError::new_err(format!(
            "expected rows of {dim} numbers"
        )));
    }
    let numbers: Vec<f32> = numbers.iter().map(|it| f32::from_le_bytes(*it)).collect();
    let wrong = |err: &dyn std::fmt::Display| PyValueError::new_err(err.to_string());
    let width = i32::try_from(dim).map_err(|err| wrong(&err))?;
    let field = Arc::new(Field::new("item", DataType::Float32, true));
    let values = Arc::new(Float32Array::from(numbers));
    let list = FixedSizeListArray::try_new(field, width, values, None);
    Ok(Arc::new(list.map_err(|err| wrong(&err))?))
}

#[pymethods]
impl Head {
    /// Loads a head from a store.
    #[staticmethod]
    fn load(py: Python<'_>, store: String, options: Vec<String>, name: String) -> PyResult<Self> {
        let loaded = wait(py, move || async move {
            let snapshot = open(store, options).await?.snapshot().await?;
            let head = load_head(&snapshot, &name).await?;
            let inputs = HeadInputs::of_row(&snapshot, &head.row).await?;
            Ok((head, inputs))
        })?;
        let (loaded, inputs) = loaded.map_err(|err: Error| raise_error(py, err))?;
        let words = inputs.iter().map(|input| input.word().to_owned());
        let dims = loaded.spec.head.input_dims().to_vec();
        Ok(Self {
            head_id: loaded.row.head_id.to_string(),
            name: loaded.row.head.clone(),
            classes: loaded.spec.head.classes.clone(),
            inputs: words.zip(dims).collect(),
            predictor: Arc::new(MaskPredictor::new(loaded).map_err(|err| raise_error(py, err))?),
        })
    }

    /// Predicts from an array per input, as bytes of little-endian 32-bit floats, row-major. Returns scores `[rows,
    /// classes]`, entropies `[rows]` and disagreements `[rows]` in the same form.
    fn predict<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Vec<u8>>,
    ) -> PyResult<(
        Bound<'py, PyBytes>,
        Bound<'py, PyBytes>,
        Bound<'py, PyBytes>,
    )> {
        if inputs.len() != self.inputs.len() {
            let expected: Vec<&str> = self.inputs.iter().map(|(name, _)| name.as_str()).collect();
            return Err(PyValueError::new_err(format!(
                "head '{}' reads {}: expected {} arrays, found {}",
                self.name,
                expected.join(", "),
                expected.len(),
                inputs.len()
            )));
        }
        let named = inputs.iter().zip(&self.inputs);
        let columns: Vec<ArrayRef> = named
            .map(|(bytes, (_, dim))| column(bytes, *dim))
            .collect::<PyResult<_>>()?;
        let predictor = self.predictor.clone();
        let predicted = wait(py, move || async move { predictor.predict(&columns) })?;
        let predicted = predicted.map_err(PyValueError::new_err)?;
        let bytes = |numbers: &[f32]| PyBytes::new(py, &bytes_of(numbers));
        Ok((
            bytes(&predicted.scores),
            bytes(&predicted.entropy),
            bytes(&predicted.disagreement),
        ))
    }
}
