//! The shape of a head.

use serde::{Deserialize, Serialize};

use super::train_options::TrainOptions;
use crate::options::is_default;

/// The shape of a head: an MLP from a mask's embedding to one number per class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeadSpec {
    /// Numbers that the head reads of a mask: those of all inputs.
    pub embedding_dim: usize,
    /// Numbers of each input, in order; empty for a single one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<usize>,
    /// Widths of the hidden layers, each followed by ReLU (paper: 512, 256, 128).
    pub hidden: Vec<usize>,
    /// Probability that a unit of the last hidden layer is dropped while training (paper: 0.9).
    pub dropout: f64,
    /// Whether the head has one output more than classes, the last, for masks that show none of them.
    #[serde(default, skip_serializing_if = "is_default")]
    pub background: bool,
    /// Names of the classes, in the order of the outputs.
    pub classes: Vec<String>,
}

impl HeadSpec {
    /// The paper's head for embeddings of a given length and the given classes.
    pub fn new(embedding_dim: usize, classes: Vec<String>) -> Self {
        Self {
            embedding_dim,
            blocks: Vec::new(),
            hidden: vec![512, 256, 128],
            dropout: 0.9,
            background: false,
            classes,
        }
    }

    /// A head for several inputs of the given lengths, with the hidden layers of some options.
    pub fn of_inputs(dims: &[usize], classes: Vec<String>, options: &TrainOptions) -> Self {
        let blocks = match dims {
            [_] => Vec::new(),
            several => several.to_vec(),
        };
        Self {
            blocks,
            hidden: options.hidden.clone(),
            dropout: options.dropout,
            ..Self::new(dims.iter().sum(), classes)
        }
    }

    /// Numbers of each input, in order.
    pub fn input_dims(&self) -> &[usize] {
        match &self.blocks[..] {
            [] => std::slice::from_ref(&self.embedding_dim),
            several => several,
        }
    }

    /// Whether the head has an implicit second class whose logit is always 0: a head of a single class has one, because
    /// a softmax over one class has no gradient.
    pub fn has_none_class(&self) -> bool {
        self.classes.len() == 1 && !self.background
    }

    /// Whether the head can say that a mask shows none of its classes.
    pub fn knows_background(&self) -> bool {
        self.background || self.has_none_class()
    }

    /// Number of outputs: one per class and, if there is one, that of the background.
    pub fn outputs(&self) -> usize {
        self.classes.len() + usize::from(self.background)
    }

    /// The same head with an output for the background.
    #[must_use]
    pub fn with_background(&self, dropout: f64) -> Self {
        Self {
            background: true,
            dropout,
            ..self.clone()
        }
    }

    /// Widths of all layers, from the embedding to the outputs.
    pub fn widths(&self) -> Vec<usize> {
        let mut widths = vec![self.embedding_dim];
        widths.extend(&self.hidden);
        widths.push(self.outputs());
        widths
    }
}
