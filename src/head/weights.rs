//! Heads as rows and as files: the weights in safetensors, everything else beside them.
//!
//! Tensors are named and laid out as in PyTorch's `Linear`: `layers.0.weight` is `[outputs, inputs]`, so
//! `torch.nn.Linear` takes them as they are. Those of a head's further members are `members.1.layers.0.weight` and so on.

use std::collections::HashMap;

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::bags::Skipped;
use super::inputs::{HeadInputs, Normalisation};
use super::mask_labels::MaskLabelCounts;
use super::model::Head;
use super::normaliser::{Normaliser, Standard};
use super::spec::HeadSpec;
use super::train_options::TrainOptions;
use super::unusable::{IN_TRAINING, unusable};
use crate::catalogue::whole_head;
use crate::error::HeadError;
use crate::store::Snapshot;
use crate::store::rows::HeadRow;
use crate::{Error, Result};

/// Weight, `[inputs, outputs]` row-major, and bias of a layer.
type LayerWeights = (Vec<f32>, Vec<f32>);

/// Weights of a head in host memory, independent of any device.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadWeights {
    /// The layers of the only member, or of the first.
    layers: Vec<LayerWeights>,
    /// The layers of the other members, whose probabilities are averaged with those of the first.
    others: Vec<Vec<LayerWeights>>,
    widths: Vec<usize>,
    /// Statistics of the inputs, for those that are normalised by them.
    standards: Vec<Option<Standard>>,
}

/// `heads.spec`: the head, how it was trained, and what was left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredSpec {
    /// Shape and classes of the head.
    pub head: HeadSpec,
    /// Training options.
    pub options: TrainOptions,
    /// Counts of what was left out of the training set.
    pub skipped: Skipped,
    /// Labels of masks that it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask_labels: Option<MaskLabelCounts>,
    /// Masks that a refined head was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refined: Option<RefinedCounts>,
    /// Number by which the logits of each member were divided, so that a score is the share of masks that are right;
    /// the weights of the last layer are those after the division. Empty for heads that were not calibrated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub temperatures: Vec<f64>,
}

/// Masks that a refined head was trained on; of all members.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefinedCounts {
    /// Masks of a class.
    pub objects: u64,
    /// Masks of the background.
    pub background: u64,
    /// Masks of neither, which were not used.
    pub ignored: u64,
}

impl RefinedCounts {
    /// Adds the masks of another member.
    pub(super) fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.background += other.background;
        self.ignored += other.ignored;
    }
}

impl StoredSpec {
    /// The spec of a head that was not trained.
    pub fn untrained(head: HeadSpec) -> Self {
        Self {
            head,
            options: TrainOptions::default(),
            skipped: Skipped::default(),
            mask_labels: None,
            refined: None,
            temperatures: Vec::new(),
        }
    }

    /// Reads the spec of a row.
    ///
    /// # Errors
    /// [`HeadError::Unusable`] if it cannot be read.
    pub fn of_row(row: &HeadRow) -> Result<Self> {
        serde_json::from_str(&row.spec).map_err(|err| unusable(&row.head, err.to_string()))
    }
}

/// A stored head, ready to predict masks.
#[derive(Debug, Clone)]
pub struct LoadedHead {
    /// The head's row.
    pub row: HeadRow,
    /// The head's shape and how it was trained.
    pub spec: StoredSpec,
    /// The head's weights.
    pub weights: HeadWeights,
}

impl HeadWeights {
    /// Reads the weights of a head from its device.
    ///
    /// # Errors
    /// [`HeadError::Diverged`] if they are not finite; [`HeadError::Unusable`] if they are not 32-bit numbers.
    pub fn of(head: &Head) -> Result<Self> {
        let mut layers = Vec::new();
        let mut widths = Vec::new();
        for layer in &head.layers {
            let [inputs, outputs] = layer.weight.dims();
            if widths.is_empty() {
                widths.push(inputs);
            }
            widths.push(outputs);
            let weight = layer.weight.val().into_data().try_to_vec::<f32>();
            let bias = layer.bias.as_ref().map(|bias| bias.val().into_data());
            let bias = bias.map_or(Ok(vec![0.0; outputs]), |bias| bias.try_to_vec::<f32>());
            let (Ok(weight), Ok(bias)) = (weight, bias) else {
                return Err(unusable(IN_TRAINING, "its weights are no 32-bit numbers"));
            };
            if !weight.iter().chain(&bias).all(|x| x.is_finite()) {
                return Err(Error::Head(HeadError::Diverged { what: "weights" }));
            }
            layers.push((weight, bias));
        }
        Ok(Self {
            layers,
            others: Vec::new(),
            widths,
            standards: Vec::new(),
        })
    }

    /// Random weights that are determined by a seed, whatever the device: uniform within 1 / sqrt(inputs), as PyTorch
    /// initialises a `Linear`.
    pub fn random(spec: &HeadSpec, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let widths = spec.widths();
        let mut layers = Vec::new();
        for &[inputs, outputs] in widths.array_windows() {
            let bound = (inputs as f32).sqrt().recip();
            let mut draw = |count: usize| -> Vec<f32> {
                let numbers = (0..count).map(|_| (random.f32() * 2.0 - 1.0) * bound);
                numbers.collect()
            };
            layers.push((draw(inputs * outputs), draw(outputs)));
        }
        Self {
            layers,
            others: Vec::new(),
            widths,
            standards: Vec::new(),
        }
    }

    /// The same weights, each multiplied by a random number within `noise` of 1, which a seed determines.
    #[must_use]
    pub(super) fn jittered(mut self, noise: f64, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        for (weight, bias) in &mut self.layers {
            for value in weight.iter_mut().chain(bias) {
                let factor = 1.0 + noise * (random.f64() * 2.0 - 1.0);
                *value = (f64::from(*value) * factor) as f32;
            }
        }
        self
    }

    /// One head of the members of several, all of one shape; `None` if there are none.
    pub(super) fn joined(heads: Vec<Self>) -> Option<Self> {
        let mut heads = heads.into_iter();
        let mut first = heads.next()?;
        for head in heads {
            first.others.push(head.layers);
            first.others.extend(head.others);
        }
        Some(first)
    }

    /// Number of members.
    pub fn members(&self) -> usize {
        1 + self.others.len()
    }

    /// A head of one member: of the `at`-th or, where there are fewer, beginning with the first again.
    #[must_use]
    pub(super) fn member(&self, at: usize) -> Self {
        let at = at % self.members();
        let of_others = at.checked_sub(1).and_then(|at| self.others.get(at));
        Self {
            layers: of_others.unwrap_or(&self.layers).clone(),
            others: Vec::new(),
            widths: self.widths.clone(),
            standards: self.standards.clone(),
        }
    }

    /// The same weights with logits divided by a temperature.
    #[must_use]
    pub(super) fn at_temperature(mut self, temperature: f64) -> Self {
        let factor = (1.0 / temperature) as f32;
        for layers in std::iter::once(&mut self.layers).chain(&mut self.others) {
            if let Some((weight, bias)) = layers.last_mut() {
                weight.iter_mut().chain(bias).for_each(|x| *x *= factor);
            }
        }
        self
    }

    /// Creates every member on a device.
    pub(super) fn all_on(&self, device: &Device) -> Vec<Head> {
        (0..self.members())
            .map(|at| self.member(at).on(device))
            .collect()
    }

    /// Creates the head, or its first member, on a device.
    pub fn on(&self, device: &Device) -> Head {
        let layer = |((weight, bias), widths): (&(Vec<f32>, Vec<f32>), &[usize; 2])| {
            let [_, outputs] = *widths;
            let weight = TensorData::new(weight.clone(), *widths);
            let bias = TensorData::new(bias.clone(), [outputs]);
            Linear {
                weight: Param::from_tensor(Tensor::from_data(weight, device)),
                bias: Some(Param::from_tensor(Tensor::from_data(bias, device))),
            }
        };
        let layers = self.layers.iter().zip(self.widths.array_windows());
        Head {
            layers: layers.map(layer).collect(),
        }
    }

    /// Encodes the weights as safetensors, with the given metadata.
    ///
    /// # Errors
    /// [`HeadError::Unusable`] if the format rejects them.
    pub fn to_safetensors(&self, metadata: HashMap<String, String>) -> Result<Vec<u8>> {
        let mut tensors = Vec::new();
        for (member, layers) in std::iter::once(&self.layers)
            .chain(&self.others)
            .enumerate()
        {
            let prefix = prefix_of(member);
            let layers = layers.iter().zip(self.widths.array_windows());
            for (at, ((weight, bias), &[inputs, outputs])) in layers.enumerate() {
                let transposed =
                    (0..outputs).flat_map(|o| (0..inputs).map(move |i| i * outputs + o));
                let weight = transposed.filter_map(|at| weight.get(at).copied());
                let bytes: Vec<u8> = weight.flat_map(f32::to_le_bytes).collect();
                let name = format!("{prefix}layers.{at}.weight");
                tensors.push((name, vec![outputs, inputs], bytes));
                let bytes: Vec<u8> = bias.iter().copied().flat_map(f32::to_le_bytes).collect();
                tensors.push((format!("{prefix}layers.{at}.bias"), vec![outputs], bytes));
            }
        }
        for (at, standard) in self.standards.iter().enumerate() {
            let Some(Standard { mean, scale }) = standard else {
                continue;
            };
            let bytes: Vec<u8> = mean.iter().copied().flat_map(f32::to_le_bytes).collect();
            tensors.push((format!("inputs.{at}.mean"), vec![mean.len()], bytes));
            let bytes = scale.to_le_bytes().to_vec();
            tensors.push((format!("inputs.{at}.scale"), vec![1], bytes));
        }
        let views: Result<Vec<_>, _> = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytes)?;
                Ok((name.clone(), view))
            })
            .collect();
        views
            .and_then(|views| safetensors::serialize(views, Some(metadata)))
            .map_err(|err| unusable(IN_TRAINING, err.to_string()))
    }

    /// Decodes weights from safetensors, and returns them with the metadata.
    ///
    /// # Errors
    /// [`HeadError::Unusable`] naming `head` if the file is not that of a head, or holds numbers that are not finite.
    pub fn of_safetensors(head: &str, bytes: &[u8]) -> Result<(Self, HashMap<String, String>)> {
        let fail = |reason: String| unusable(head, reason);
        let (_, metadata) =
            SafeTensors::read_metadata(bytes).map_err(|err| fail(err.to_string()))?;
        let metadata = metadata.metadata().clone().unwrap_or_default();
        let tensors = SafeTensors::deserialize(bytes).map_err(|err| fail(err.to_string()))?;
        let numbers = |name: &str, shape: &[usize]| -> Result<Vec<f32>> {
            let tensor = tensors
                .tensor(name)
                .map_err(|_| fail(format!("it has no tensor '{name}'")))?;
            if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
                return Err(fail(format!(
                    "tensor '{name}': expected F32 {shape:?}, found {:?} {:?}",
                    tensor.dtype(),
                    tensor.shape()
                )));
            }
            let values = tensor.data().chunks_exact(4);
            let values: Vec<f32> = values
                .filter_map(|bytes| bytes.try_into().ok().map(f32::from_le_bytes))
                .collect();
            match values.iter().enumerate().find(|(_, x)| !x.is_finite()) {
                None => Ok(values),
                Some((at, x)) => Err(fail(format!("tensor '{name}' holds {x} at {at}"))),
            }
        };
        let layers_of = |member: usize| -> Result<(Vec<LayerWeights>, Vec<usize>)> {
            let prefix = prefix_of(member);
            let (mut layers, mut widths) = (Vec::new(), Vec::new());
            for at in 0.. {
                let name = format!("{prefix}layers.{at}.weight");
                let Ok(tensor) = tensors.tensor(&name) else {
                    break;
                };
                let [outputs, inputs] = *tensor.shape() else {
                    return Err(fail(format!(
                        "tensor '{name}': expected 2 dimensions, found {:?}",
                        tensor.shape()
                    )));
                };
                if widths.last().is_some_and(|last| *last != inputs) {
                    return Err(fail(format!(
                        "tensor '{name}' takes {inputs} numbers, the layer before gives others"
                    )));
                }
                if widths.is_empty() {
                    widths.push(inputs);
                }
                widths.push(outputs);
                let stored = numbers(&name, &[outputs, inputs])?;
                let order = (0..inputs).flat_map(|i| (0..outputs).map(move |o| o * inputs + i));
                let weight = order.filter_map(|at| stored.get(at).copied()).collect();
                let bias = numbers(&format!("{prefix}layers.{at}.bias"), &[outputs])?;
                layers.push((weight, bias));
            }
            Ok((layers, widths))
        };
        let (layers, widths) = layers_of(0)?;
        if layers.is_empty() {
            return Err(fail("it has no tensor 'layers.0.weight'".to_owned()));
        }
        let mut others = Vec::new();
        for member in 1.. {
            let (of_member, its_widths) = layers_of(member)?;
            if of_member.is_empty() {
                break;
            }
            if its_widths != widths {
                return Err(fail(format!(
                    "its first member has layers of {widths:?}, member {member} of {its_widths:?}"
                )));
            }
            others.push(of_member);
        }
        let mut standards = Vec::new();
        // At most as many inputs as numbers.
        for at in 0..widths.first().copied().unwrap_or(0) {
            let (mean, scale) = (format!("inputs.{at}.mean"), format!("inputs.{at}.scale"));
            let Ok(tensor) = tensors.tensor(&mean) else {
                standards.push(None);
                continue;
            };
            let shape = tensor.shape().to_vec();
            let scales = numbers(&scale, &[1])?;
            let found = scales.first().copied().filter(|scale| *scale > 0.0);
            let scale = found.ok_or_else(|| fail(format!("tensor '{scale}' is not above 0")))?;
            standards.push(Some(Standard {
                mean: numbers(&mean, &shape)?,
                scale,
            }));
        }
        let used = standards.iter().rposition(Option::is_some);
        standards.truncate(used.map_or(0, |at| at + 1));
        let weights = Self {
            layers,
            others,
            widths,
            standards,
        };
        Ok((weights, metadata))
    }

    /// The weights with the statistics of a normaliser.
    #[must_use]
    pub(super) fn with_standards(self, normaliser: &Normaliser) -> Self {
        let mut standards = normaliser.standards();
        let used = standards.iter().rposition(Option::is_some);
        standards.truncate(used.map_or(0, |at| at + 1));
        Self { standards, ..self }
    }

    /// Weights of a single layer, `[inputs, outputs]` row-major, and its biases, `[outputs]`.
    pub(super) fn of_layer(
        weight: Vec<f32>,
        bias: Vec<f32>,
        [inputs, outputs]: [usize; 2],
    ) -> Self {
        Self {
            layers: vec![(weight, bias)],
            others: Vec::new(),
            widths: vec![inputs, outputs],
            standards: Vec::new(),
        }
    }

    /// Widths of all layers, from the embedding to the outputs.
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// Weights, `[inputs, outputs]` row-major, and biases, `[outputs]`, layer by layer, of the first member.
    pub(super) fn layers_mut(&mut self) -> &mut [LayerWeights] {
        &mut self.layers
    }

    pub(super) fn layers(&self) -> &[LayerWeights] {
        &self.layers
    }
}

/// What the names of a member's tensors begin with.
fn prefix_of(member: usize) -> String {
    match member {
        0 => String::new(),
        other => format!("members.{other}."),
    }
}

impl LoadedHead {
    /// Loads a head from its row.
    ///
    /// # Errors
    /// [`HeadError::Unusable`] if the row has no weights, its weights or spec cannot be read, or they do not fit each
    /// other.
    pub fn of_row(row: HeadRow) -> Result<Self> {
        let spec = StoredSpec::of_row(&row)?;
        let weights = row.weights.as_ref().ok_or_else(|| {
            unusable(
                &row.head,
                "it has no weights: it only names predictions that were imported",
            )
        })?;
        let (weights, _) = HeadWeights::of_safetensors(&row.head, weights)?;
        if weights.widths().contains(&0) {
            return Err(unusable(&row.head, "it has a layer without outputs"));
        }
        if weights.widths() != spec.head.widths() {
            return Err(unusable(
                &row.head,
                format!(
                    "its weights are for layers of {:?}, its spec says {:?}",
                    weights.widths(),
                    spec.head.widths()
                ),
            ));
        }
        Ok(Self { row, spec, weights })
    }

    /// How the head's inputs are normalised.
    ///
    /// # Errors
    /// [`HeadError::Unusable`] if the row does not say, or the weights lack the statistics.
    pub fn normaliser(&self) -> Result<Normaliser> {
        let kinds = self.normalisations()?;
        let dims = self.spec.head.input_dims();
        Normaliser::new(dims, &kinds, &self.weights.standards).ok_or_else(|| {
            unusable(
                &self.row.head,
                "the means and scales of its inputs are missing, or of other lengths",
            )
        })
    }

    /// How each of the head's inputs is normalised.
    ///
    /// # Errors
    /// [`HeadError::Unusable`] if the row does not say.
    pub(super) fn normalisations(&self) -> Result<Vec<Normalisation>> {
        serde_json::from_str(&self.row.normalise)
            .map_err(|err| unusable(&self.row.head, format!("its normalisation: {err}")))
    }

    /// Checks that the head reads some inputs, in their order.
    ///
    /// # Errors
    /// [`HeadError::Unusable`] naming both.
    pub fn check_inputs(&self, inputs: &HeadInputs) -> Result<()> {
        let asked = inputs.to_json()?;
        if self.row.inputs == asked {
            return Ok(());
        }
        Err(unusable(
            &self.row.head,
            format!(
                "it reads {}, so it cannot be trained on with {asked}",
                self.row.inputs
            ),
        ))
    }

    /// Checks that the head can predict the masks of an extractor.
    ///
    /// # Errors
    /// [`HeadError::Unusable`] naming both extractors.
    pub fn check_extractor(&self, extractor_id: &str) -> Result<()> {
        if self.row.extractor_id.as_str() == extractor_id {
            return Ok(());
        }
        Err(unusable(
            &self.row.head,
            format!(
                "it was trained on masks of extractor '{}' and cannot be used on those of extractor '{extractor_id}'",
                self.row.extractor_id
            ),
        ))
    }
}

/// Loads the newest head of a name, or the head whose id begins with `name`.
///
/// # Errors
/// As [`find_head`](crate::catalogue::find_head); [`HeadError::Unusable`] if it cannot be read.
pub async fn load_head(snapshot: &Snapshot, name: &str) -> Result<LoadedHead> {
    LoadedHead::of_row(whole_head(snapshot, name).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_survive_a_file() {
        let spec = HeadSpec {
            hidden: vec![5, 4],
            ..HeadSpec::new(6, vec!["a".to_owned(), "b".to_owned()])
        };
        let device = Device::flex();
        let head = HeadWeights::random(&spec, 1).on(&device);
        let weights = HeadWeights::of(&head).unwrap();
        let metadata = HashMap::from([("spec".to_owned(), "{}".to_owned())]);
        let bytes = weights.to_safetensors(metadata.clone()).unwrap();
        let (read, found) = HeadWeights::of_safetensors("h", &bytes).unwrap();
        assert_eq!((&read, found), (&weights, metadata));
        assert_eq!(read.widths(), [6, 5, 4, 2]);
        let input = Tensor::<2>::ones([1, 6], &device);
        let same = |head: &Head| head.forward(input.clone()).into_data().try_to_vec::<f32>();
        assert_eq!(same(&read.on(&device)).unwrap(), same(&head).unwrap());

        let both = vec![weights.clone(), HeadWeights::random(&spec, 2)];
        let both = HeadWeights::joined(both).unwrap();
        let bytes_of_both = both.to_safetensors(HashMap::new()).unwrap();
        let (read, _) = HeadWeights::of_safetensors("h", &bytes_of_both).unwrap();
        assert_eq!((&read, read.members()), (&both, 2));
        assert_eq!(read.member(0), weights);
        assert_eq!(read.member(3), HeadWeights::random(&spec, 2));

        for (bytes, part) in [(&bytes[..40], "head 'h'"), (b"{}".as_slice(), "head 'h'")] {
            let message = HeadWeights::of_safetensors("h", bytes)
                .unwrap_err()
                .to_string();
            assert!(message.contains(part), "{message}");
        }
        let mut broken = weights;
        broken.layers[1].0[3] = f32::NAN;
        let bytes = broken.to_safetensors(HashMap::new()).unwrap();
        let message = HeadWeights::of_safetensors("h", &bytes)
            .unwrap_err()
            .to_string();
        assert!(message.contains("'layers.1.weight' holds NaN"), "{message}");
    }
}
