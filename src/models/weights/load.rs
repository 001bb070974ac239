//! Fills a model from a file of weights.

use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor, TensorData};

use super::place::Place;
use crate::device::Precision;
use crate::models::checkpoint::Weights;
use crate::models::error::{ModelError, Result};
use crate::models::tensor_problem::TensorProblem;

/// How a parameter is made from the tensors of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::models) enum Recipe {
    /// A tensor as it is.
    One(String),
    /// Three tensors, one after the other along dimension 0: queries, keys and values that are kept in one here.
    Stacked([String; 3]),
    /// A matrix whose rows are columns in the file.
    Transposed(String),
    /// A row of a matrix: which, of how many.
    Row(String, [usize; 2]),
    /// A list of vectors, `[1, count, dim]`, whose first is left out.
    WithoutFirst(String),
}

impl Recipe {
    fn sources(&self) -> &[String] {
        match self {
            Self::One(name)
            | Self::Transposed(name)
            | Self::Row(name, _)
            | Self::WithoutFirst(name) => std::slice::from_ref(name),
            Self::Stacked(names) => names,
        }
    }
}

/// The names of a family's tensors in one layout of file.
pub(in crate::models) trait Names {
    /// How the parameter at a place is made.
    fn recipe(&self, place: &Place) -> Recipe;

    /// Whether a parameter stays in f32 whatever the precision of the model.
    fn stays_f32(&self, _name: &str) -> bool {
        false
    }
}

/// Fills a model from a file, with weights rounded to `precision`.
///
/// # Errors
/// [`ModelError::CheckpointTensors`] with a list of all missing, extra and mis-shaped tensors;
/// [`ModelError::WeightNotFinite`], [`ModelError::WeightType`] and [`ModelError::ReadCheckpoint`].
pub(in crate::models) fn load<M: Module>(
    weights: &Weights,
    model: M,
    precision: Precision,
    names: &dyn Names,
) -> Result<M> {
    let mut loader = Loader {
        weights,
        precision,
        names,
        place: Place::default(),
        unused: weights.names().collect(),
        problems: Vec::new(),
        failed: None,
    };
    let model = model.map(&mut loader);
    let Loader {
        unused,
        mut problems,
        failed,
        ..
    } = loader;
    problems.extend(unused.into_iter().map(|name| TensorProblem::Extra {
        tensor: name.to_owned(),
        found: weights.shape(name).unwrap_or_default().to_vec(),
    }));
    if !problems.is_empty() {
        return Err(ModelError::CheckpointTensors {
            path: weights.path().to_owned(),
            problems: problems.iter().map(TensorProblem::to_string).collect(),
        });
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(model),
    }
}

struct Loader<'a> {
    weights: &'a Weights,
    precision: Precision,
    names: &'a dyn Names,
    place: Place,
    unused: BTreeSet<&'a str>,
    problems: Vec<TensorProblem>,
    failed: Option<ModelError>,
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.place.enter(name, container_type);
    }

    fn exit_module(&mut self, _: &str, container_type: &str) {
        self.place.exit(container_type);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let recipe = self.names.recipe(&self.place);
        let is_transposed = self.place.is_transposed() != matches!(recipe, Recipe::Transposed(_));
        let mut stored = param.lazy_shape().as_slice().to_vec();
        if is_transposed {
            stored.reverse();
        }
        if !self.all_fit(&recipe, &stored) || self.failed.is_some() || !self.problems.is_empty() {
            return param;
        }
        let mut values = Vec::with_capacity(stored.iter().product());
        for name in recipe.sources() {
            match self.weights.values(name) {
                Ok(part) => values.extend(part),
                Err(error) => {
                    self.failed = Some(error);
                    return param;
                }
            }
        }
        if let Recipe::Row(_, [row, _]) = recipe {
            let length = stored.iter().product::<usize>();
            values = values.into_iter().skip(row * length).take(length).collect();
        }
        if let (Recipe::WithoutFirst(_), Some(length)) = (&recipe, stored.last()) {
            values.drain(..(*length).min(values.len()));
        }
        let device = param.lazy_device();
        let tensor = Tensor::<D>::from_data(TensorData::new(values, stored), (&device, DType::F32));
        // Copied, so that the weight's rows are contiguous for matrix products.
        let tensor = if is_transposed {
            contiguous(tensor.transpose())
        } else {
            tensor
        };
        let tensor = tensor.cast(self.dtype_of(&recipe));
        let id = param.id;
        param.transform_for_load(tensor, id)
    }
}

impl Loader<'_> {
    /// Whether a recipe's tensors are there with the shape that a parameter needs, `stored` as it lies in the file;
    /// records what is wrong.
    fn all_fit(&mut self, recipe: &Recipe, stored: &[usize]) -> bool {
        let mut expected = stored.to_vec();
        if let (Recipe::Stacked(parts), Some(first)) = (recipe, expected.first_mut()) {
            *first /= parts.len();
        }
        if let (Recipe::Row(_, [_, rows]), Some(first)) = (recipe, expected.first_mut()) {
            *first *= rows;
        }
        if let (Recipe::WithoutFirst(_), Some(count)) = (recipe, expected.get_mut(1)) {
            *count += 1;
        }
        let mut fit = true;
        for name in recipe.sources() {
            let tensor = name.clone();
            let expected = expected.clone();
            let problem = match self.weights.tensors().get_key_value(name) {
                None => TensorProblem::Missing {
                    tensor,
                    expected: Some(expected),
                },
                Some((key, found)) => {
                    self.unused.remove(key.as_str());
                    if found.shape.as_slice() == expected {
                        continue;
                    }
                    TensorProblem::Shape {
                        tensor,
                        expected,
                        found: found.shape.as_slice().to_vec(),
                    }
                }
            };
            self.problems.push(problem);
            fit = false;
        }
        fit
    }

    fn dtype_of(&self, recipe: &Recipe) -> DType {
        let stays = |name: &String| self.names.stays_f32(name);
        if recipe.sources().iter().any(stays) {
            DType::F32
        } else {
            self.precision.dtype()
        }
    }
}

fn contiguous<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    let device = tensor.device();
    Tensor::from_data(tensor.into_data(), &device)
}
