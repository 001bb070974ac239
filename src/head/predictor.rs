//! Prediction with a head: embeddings, or other inputs, in; probabilities of the classes out.

use arrow::array::ArrayRef;
use arrow::buffer::NullBuffer;
use burn::tensor::{Device, Tensor, TensorData};

use super::batches::Dropout;
use super::mil::{entropy, most_probable, softmax};
use super::model::Head;
use super::normaliser::Normaliser;
use super::train_options::Pick;
use super::weights::LoadedHead;
use crate::Result;
use crate::store::columns::EmbeddingColumn;

/// Masks predicted at once, enough to keep the processor busy.
const CHUNK: usize = 4096;

/// Several passes with dropout, whose disagreement takes the place of that of members (DropQuery: Gupte et al., Revisiting
/// Active Learning in the Era of Vision Foundation Models, TMLR 2024).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DropoutPasses {
    /// Number of passes.
    pub passes: usize,
    /// Probability that a unit of the last hidden layer is dropped, in (0, 1).
    pub probability: f64,
    /// Seed of the random choice.
    pub seed: u64,
}

impl DropoutPasses {
    /// The seed of a mask, so that its passes do not depend on the masks that are predicted with it.
    pub(super) fn seed_of(&self, image_id: &str, mask_index: i32) -> u64 {
        let place = mask_index.unsigned_abs().into();
        let seed = self
            .seed
            .wrapping_add(u64::wrapping_mul(place, 0x9e37_79b9_7f4a_7c15));
        xxhash_rust::xxh3::xxh3_64_with_seed(image_id.as_bytes(), seed)
    }
}

impl Default for DropoutPasses {
    fn default() -> Self {
        Self {
            passes: 5,
            probability: 0.5,
            seed: 0,
        }
    }
}

/// A head that is ready to predict masks, on the CPU.
#[derive(Debug)]
pub struct MaskPredictor {
    loaded: LoadedHead,
    members: Vec<Head>,
    normaliser: Normaliser,
}

/// Predicted probabilities of a batch of masks.
#[derive(Debug, Clone)]
pub struct PredictedMasks {
    /// `[masks, classes]`, row-major; the mean over the head's members. Where the head knows the background, its
    /// probability is what is missing to 1.
    pub scores: Vec<f32>,
    /// Entropy of each mask's probabilities over all outputs, in nats.
    pub entropy: Vec<f32>,
    /// How far the head's members disagree on each mask: the entropy of the mean of their probabilities minus the mean
    /// of their entropies, in nats; 0 for a head of one member.
    pub disagreement: Vec<f32>,
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
        let members = loaded.weights.all_on(&Device::flex());
        let normaliser = loaded.normaliser()?;
        Ok(Self {
            loaded,
            members,
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
        self.predict_by(columns, |inputs| {
            let members = self.members.iter();
            members
                .map(|member| member.forward(inputs.clone()))
                .collect()
        })
    }

    /// Like [`MaskPredictor::predict`], but in several passes of the first member, each of which drops other units of the last
    /// hidden layer; these take the place of the members. There is a seed for each mask.
    ///
    /// # Errors
    /// As [`MaskPredictor::predict`].
    pub fn predict_with_dropout(
        &self,
        columns: &[ArrayRef],
        passes: DropoutPasses,
        seeds: &[u64],
    ) -> std::result::Result<PredictedMasks, String> {
        let dropout = Dropout {
            width: self.loaded.spec.head.hidden.last().copied().unwrap_or(0),
            probability: passes.probability,
            seed: passes.seed,
        };
        let mut next = 0;
        self.predict_by(columns, |inputs| {
            let Some(head) = self.members.first() else {
                return Vec::new();
            };
            let rows = inputs.dims()[0];
            let seeds = seeds.get(next..next + rows).unwrap_or_default();
            next += rows;
            let mut random: Vec<fastrand::Rng> = seeds
                .iter()
                .map(|seed| fastrand::Rng::with_seed(*seed))
                .collect();
            let one = |_| {
                let factors = random.iter_mut().map(|random| dropout.draw(1, random));
                let factors: Option<Vec<Vec<f32>>> = factors.collect();
                let factors = factors.map(|values| {
                    let data = TensorData::new(values.concat(), [rows, dropout.width]);
                    Tensor::<2>::from_data(data, &Device::flex())
                });
                head.run(inputs.clone(), factors, Pick::Noisy).logits
            };
            (0..passes.passes).map(one).collect()
        })
    }

    /// Predicts masks with the logits, `[masks, outputs]`, of several heads or passes.
    fn predict_by(
        &self,
        columns: &[ArrayRef],
        mut logits_of: impl FnMut(&Tensor<2>) -> Vec<Tensor<2>>,
    ) -> std::result::Result<PredictedMasks, String> {
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
            disagreement: Vec::with_capacity(rows),
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
            let inputs = Tensor::<2>::from_data(data, &device);
            let mut of_members = Vec::with_capacity(self.members.len());
            for logits in logits_of(&inputs) {
                let logits = logits.into_data().try_to_vec::<f32>();
                of_members.push(logits.map_err(|err| format!("{err:?}"))?);
            }
            for row in 0..count {
                predicted.push(&of_members, row, spec.outputs(), none);
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
    /// Adds the prediction of a mask from each member's logits, `[masks, outputs]`.
    fn push(&mut self, members: &[Vec<f32>], row: usize, outputs: usize, none_class: bool) {
        let count = members.len().max(1) as f64;
        let (mut mean, mut entropies) = (Vec::new(), 0.0);
        for logits in members {
            let logits = logits.get(row * outputs..(row + 1) * outputs);
            let logits = logits.unwrap_or_default().iter().map(|x| f64::from(*x));
            let probabilities = softmax(logits.collect(), none_class);
            entropies += entropy(&probabilities) / count;
            mean.resize(probabilities.len(), 0.0);
            for (mean, probability) in mean.iter_mut().zip(probabilities) {
                *mean += probability / count;
            }
        }
        let of_mean = entropy(&mean);
        self.entropy.push(of_mean as f32);
        self.disagreement
            .push(f64::max(of_mean - entropies, 0.0) as f32);
        let own = mean.iter().take(self.classes);
        self.scores.extend(own.map(|p| *p as f32));
    }

    /// The most probable class of each mask, and its probability; of equally probable classes, the first.
    pub fn best(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.scores.chunks_exact(self.classes.max(1)).map(|row| {
            let class = most_probable(row.iter().map(|p| f64::from(*p))).unwrap_or(0);
            (class, row.get(class).copied().unwrap_or(f32::NAN))
        })
    }
}
