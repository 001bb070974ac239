//! Saves a model as safetensors.

use std::collections::HashMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{FloatDType, Tensor, TensorData};
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde::Serialize;

use super::load::{Names, Recipe};
use super::place::Place;
use crate::models::checkpoint::CONFIG_KEY;
use crate::models::error::{ModelError, Result};

/// Precision of saved weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightPrecision {
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
}

/// Saves a model as safetensors, with official names and with its sizes.
///
/// # Errors
/// [`ModelError::SaveCheckpoint`] if the file cannot be written.
pub(in crate::models) fn save<M: Module>(
    model: &M,
    config: &impl Serialize,
    names: &dyn Names,
    path: &Path,
    precision: WeightPrecision,
) -> Result<()> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ModelError::SaveCheckpoint {
        path: path.to_owned(),
        source,
    };
    let mut saver = Saver {
        place: Place::default(),
        names,
        precision,
        tensors: Vec::new(),
    };
    model.visit(&mut saver);
    let dtype = match precision {
        WeightPrecision::F16 => Dtype::F16,
        WeightPrecision::F32 => Dtype::F32,
    };
    let mut views = Vec::with_capacity(saver.tensors.len());
    for (name, data) in &saver.tensors {
        let view = TensorView::new(dtype, data.shape().as_slice().to_vec(), data.as_bytes());
        views.push((name.as_str(), view.map_err(|source| failed(source.into()))?));
    }
    let config = serde_json::to_string(config).map_err(|source| failed(source.into()))?;
    let metadata = HashMap::from([(CONFIG_KEY.to_owned(), config)]);
    serialize_to_file(views, Some(metadata), path).map_err(|source| failed(source.into()))
}

struct Saver<'a> {
    place: Place,
    names: &'a dyn Names,
    precision: WeightPrecision,
    tensors: Vec<(String, TensorData)>,
}

impl ModuleVisitor for Saver<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _: &str, container_type: &str) {
        self.place.exit(container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let tensor = if self.place.is_transposed() {
            tensor.transpose()
        } else {
            tensor
        };
        let dtype = match self.precision {
            WeightPrecision::F16 => FloatDType::F16,
            WeightPrecision::F32 => FloatDType::F32,
        };
        if let Recipe::One(name) = self.names.recipe(&self.place) {
            self.tensors.push((name, tensor.cast(dtype).into_data()));
        }
    }
}
