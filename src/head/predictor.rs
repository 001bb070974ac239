//! Prediction with a head: embeddings, or other inputs, in; probabilities of the classes out.

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use burn::tensor::{Device, Tensor, TensorData};

use super::mil::{entropy, most_probable, softmax};
use super::model::Head;
use super::normaliser::Normaliser;
use super::weights::LoadedHead;
use crate::Result;
use crate::store::columns::EmbeddingColumn;

/// Masks predicted at once, enough to keep the processor busy.
const CHUNK: usize = 4096;

/// A head that is ready to predict masks, on the CPU.
#[derive(Debug)]
pub struct MaskPredictor {
    loaded: LoadedHead,
    head: Head,
    normaliser: Normaliser,
}

/// Predicted probabilities of a batch of masks.
#[derive(Debug, Clone)]
pub struct PredictedMasks {
    /// `[masks, classes]`, row-major.
    pub scores: Vec<f32>,
    /// Entropy of each mask's probabilities over all classes, in nats.
    pub entropy: Vec<f32>,
    /// Number of classes.
    pub classes: usize,
    /// Which embeddings are null; the scores and entropies of these have no meaning.
    pub nulls: Option<NullBuffer>,
}

impl MaskPredictor {
    /// Prepares a head for prediction.
    ///
    /// # Errors
    /// As [`LoadedHead::normaliser`].
    pub fn new(loaded: LoadedHead) -> Result<Self> {
        let head = loaded.weights.on(&Device::flex());
        let normaliser = loaded.normaliser()?;
        Ok(Self {
            loaded,
            head,
            normaliser,
        })
    }

    /// The head.
    pub fn head(&self) -> &LoadedHead {
        &self.loaded
    }

    /// Predicts masks from a column per input of the head, in the head's order. A mask of which an input is null has no
    /// prediction.
    ///
    /// # Errors
    /// A description of what is wrong with the columns.
    pub fn predict(&self, columns: &[ArrayRef]) -> std::result::Result<PredictedMasks, String> {
        let spec = &self.loaded.spec.head;
        let (none, classes) = (spec.has_none_class(), spec.classes.len());
        let dims = spec.input_dims();
        if columns.len() != dims.len() {
            return Err(format!(
                "expected {} of {}, found {}",
                match dims.len() {
                    1 => "one embedding".to_owned(),
                    count => format!("{count} embeddings, in the head's order,"),
                },
                numbers(dims),
                columns.len()
            ));
        }
        let mut inputs = Vec::with_capacity(columns.len());
        for (column, dim) in columns.iter().zip(dims) {
            let input = EmbeddingColumn::new(column).map_err(|_| {
                format!(
                    "expected an embedding of {dim} numbers, found {}",
                    column.data_type()
                )
            })?;
            if input.dim() != *dim {
                let found = input.dim();
                return Err(format!(
                    "expected an embedding of {dim} numbers, found one of {found}"
                ));
            }
            inputs.push(input);
        }
        let rows = inputs.first().map_or(0, EmbeddingColumn::rows);
        let nulls = inputs.iter().fold(None, |nulls, input| {
            NullBuffer::union(nulls.as_ref(), input.nulls())
        });
        let mut predicted = PredictedMasks {
            scores: Vec::with_capacity(rows * classes),
            entropy: Vec::with_capacity(rows),
            classes,
            nulls,
        };
        let device = Device::flex();
        for first in (0..rows).step_by(CHUNK) {
            let count = CHUNK.min(rows - first);
            // Null rows are predicted too; `nulls` hides the results.
            let mut values = side_by_side(&inputs, first..first + count);
            self.normaliser.apply(&mut values);
            let data = TensorData::new(values, [count, spec.embedding_dim]);
            let logits = self.head.forward(Tensor::<2>::from_data(data, &device));
            let logits = logits
                .into_data()
                .try_to_vec::<f32>()
                .map_err(|err| format!("{err:?}"))?;
            for row in logits.chunks_exact(classes) {
                let probabilities = softmax(row.iter().map(|x| f64::from(*x)).collect(), none);
                predicted.entropy.push(entropy(&probabilities) as f32);
                let own = probabilities.iter().take(classes);
                predicted.scores.extend(own.map(|p| *p as f32));
            }
        }
        Ok(predicted)
    }
}

fn numbers(dims: &[usize]) -> String {
    let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
    format!("{} numbers", dims.join(", "))
}

/// The numbers of all inputs of some rows, `[rows, numbers of all inputs]` row-major.
fn side_by_side(inputs: &[EmbeddingColumn], rows: std::ops::Range<usize>) -> Vec<f32> {
    let [first, others @ ..] = inputs else {
        return Vec::new();
    };
    if others.is_empty() {
        return first.to_f32(rows);
    }
    let parts: Vec<(Vec<f32>, usize)> = inputs
        .iter()
        .map(|input| (input.to_f32(rows.clone()), input.dim()))
        .collect();
    let width: usize = inputs.iter().map(EmbeddingColumn::dim).sum();
    let mut values = Vec::with_capacity(rows.len() * width);
    for row in 0..rows.len() {
        for (part, dim) in &parts {
            values.extend_from_slice(part.get(row * dim..(row + 1) * dim).unwrap_or_default());
        }
    }
    values
}

impl PredictedMasks {
    /// The most probable class of each mask, and its probability; of equally probable classes, the first.
    pub fn best(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.scores.chunks_exact(self.classes.max(1)).map(|row| {
            let class = most_probable(row.iter().map(|p| f64::from(*p))).unwrap_or(0);
            (class, row.get(class).copied().unwrap_or(f32::NAN))
        })
    }
}
