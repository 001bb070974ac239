//! Why a tensor of a file does not fit a model.

use std::fmt;

/// Why one tensor of a checkpoint does not fit a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::models) enum TensorProblem {
    /// The model needs the tensor, but the checkpoint does not have it.
    Missing {
        /// Official name.
        tensor: String,
        /// Shape in the model, if known.
        expected: Option<Vec<usize>>,
    },
    /// The checkpoint has the tensor, but the model does not.
    Extra {
        /// Official name.
        tensor: String,
        /// Shape in the checkpoint.
        found: Vec<usize>,
    },
    /// The shapes differ.
    Shape {
        /// Official name.
        tensor: String,
        /// Shape in the model.
        expected: Vec<usize>,
        /// Shape in the checkpoint.
        found: Vec<usize>,
    },
    /// A tensor that determines a size of the model has another number of dimensions.
    Rank {
        /// Official name.
        tensor: String,
        /// Dimensions it should have.
        expected: usize,
        /// Shape in the checkpoint.
        found: Vec<usize>,
    },
}

impl fmt::Display for TensorProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing {
                tensor,
                expected: None,
            } => write!(f, "'{tensor}' is missing"),
            Self::Missing {
                tensor,
                expected: Some(expected),
            } => {
                write!(f, "'{tensor}' is missing: expected {expected:?}")
            }
            Self::Extra { tensor, found } => {
                write!(f, "'{tensor}' has no place in the model: found {found:?}")
            }
            Self::Shape {
                tensor,
                expected,
                found,
            } => {
                write!(f, "'{tensor}': expected {expected:?}, found {found:?}")
            }
            Self::Rank {
                tensor,
                expected,
                found,
            } => {
                write!(
                    f,
                    "'{tensor}': expected {expected} dimensions, found {found:?}"
                )
            }
        }
    }
}
