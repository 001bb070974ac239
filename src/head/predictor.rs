//! Prediction with a head: embeddings in, probabilities of the classes out.

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use burn::tensor::{Device, Tensor, TensorData};

use super::mil::{entropy, most_probable, softmax};
use super::model::Head;
use super::weights::LoadedHead;
use crate::store::columns::EmbeddingColumn;

/// Masks predicted at once, enough to keep the processor busy.
const CHUNK: usize = 4096;

/// A head that is ready to predict masks, on the CPU.
#[derive(Debug)]
pub struct MaskPredictor {
    loaded: LoadedHead,
    head: Head,
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
    pub fn new(loaded: LoadedHead) -> Self {
        let head = loaded.weights.on(&Device::flex());
        Self { loaded, head }
    }

    /// The head.
    pub fn head(&self) -> &LoadedHead {
        &self.loaded
    }

    /// Predicts the masks of a column of embeddings.
    ///
    /// # Errors
    /// A description of what is wrong with the column.
    pub fn predict(&self, column: &ArrayRef) -> Result<PredictedMasks, String> {
        let spec = &self.loaded.spec.head;
        let (none, classes) = (spec.has_none_class(), spec.classes.len());
        let expected = format!("an embedding of {} numbers", spec.embedding_dim);
        let embeddings = EmbeddingColumn::new(column)
            .map_err(|_| format!("expected {expected}, found {}", column.data_type()))?;
        let (dim, rows) = (embeddings.dim(), embeddings.rows());
        if dim != spec.embedding_dim {
            return Err(format!("expected {expected}, found one of {dim}"));
        }
        let mut predicted = PredictedMasks {
            scores: Vec::with_capacity(rows * classes),
            entropy: Vec::with_capacity(rows),
            classes,
            nulls: embeddings.nulls().cloned(),
        };
        let device = Device::flex();
        for first in (0..rows).step_by(CHUNK) {
            let count = CHUNK.min(rows - first);
            // Null rows are predicted too; `nulls` hides the results.
            let data = TensorData::new(embeddings.to_f32(first..first + count), [count, dim]);
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

impl PredictedMasks {
    /// The most probable class of each mask, and its probability; of equally probable classes, the first.
    pub fn best(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.scores.chunks_exact(self.classes.max(1)).map(|row| {
            let class = most_probable(row.iter().map(|p| f64::from(*p))).unwrap_or(0);
            (class, row.get(class).copied().unwrap_or(f32::NAN))
        })
    }
}
