//! Activations between two linear layers.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};

use super::kernels::{gelu, quick_gelu};
use crate::options::one_of;

/// The activation between two linear layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// The exact GELU, with the error function.
    Gelu,
    /// `x * sigmoid(1.702 x)`: what OpenAI's CLIP was trained with.
    QuickGelu,
    /// ReLU.
    Relu,
}

impl Activation {
    const WORDS: [(&'static str, Self); 3] = [
        ("gelu", Self::Gelu),
        ("quick-gelu", Self::QuickGelu),
        ("relu", Self::Relu),
    ];

    /// # Shapes
    /// - input and output: any
    pub(in crate::models) fn forward<const D: usize>(self, input: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Gelu => gelu(input),
            Self::QuickGelu => quick_gelu(input),
            Self::Relu => relu(input),
        }
    }
}

impl FromStr for Activation {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        one_of("activation", text, &Self::WORDS)
    }
}

impl fmt::Display for Activation {
    /// Writes the word, such as `quick-gelu`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Self::WORDS.iter();
        let word = words.find(|(_, activation)| activation == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}
