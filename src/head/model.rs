//! The head itself: an MLP over embeddings, its forward pass and its gradients.
//!
//! Gradients are written out instead of recorded: in training, every mask goes forward once, but only the few that the
//! loss depends on go backward, through the activations that are already there.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::optim::{Adam, AdamConfig, Optimizer};
use burn::tensor::activation::relu;
use burn::tensor::{Int, Tensor, TensorData};

use super::train_options::Pick;

/// An MLP with ReLU between its layers.
#[derive(Module, Debug)]
pub struct Head {
    /// The layers, from the embedding to the classes.
    pub layers: Vec<Linear>,
}

/// Values of a forward pass that the backward pass needs.
pub(super) struct Activations {
    /// Input of each layer, `[masks, width]`: the embeddings, then the outputs of ReLU and dropout.
    inputs: Vec<Tensor<2>>,
    /// Dropout factors of the last hidden layer, `[masks, width]`.
    dropout: Option<Tensor<2>>,
    /// `[masks, classes]`.
    pub logits: Tensor<2>,
    /// The logits without dropout, `[masks, classes]`.
    pub clean: Tensor<2>,
}

/// Gradients of a layer: of its weight, `[inputs, outputs]`, and of its bias, `[outputs]`.
pub(super) struct LayerGradient {
    weight: Tensor<2>,
    bias: Tensor<1>,
}

/// Adam over the layers of one head.
pub(super) struct HeadOptimizer {
    adam: Adam,
    states: Vec<LayerState>,
}

#[derive(Clone)]
struct LayerState {
    weight: Option<<Adam as Optimizer>::State<2>>,
    bias: Option<<Adam as Optimizer>::State<1>>,
}

impl HeadOptimizer {
    /// Creates an optimizer that has seen no gradient yet.
    pub fn new(head: &Head) -> Self {
        let state = LayerState {
            weight: None,
            bias: None,
        };
        Self {
            // PyTorch's default; burn's is 1e-5.
            adam: AdamConfig::new().with_epsilon(1e-8).build(),
            states: vec![state; head.layers.len()],
        }
    }

    /// Moves the head one step against its gradients, of which there is one per layer.
    pub fn step(&mut self, rate: f64, head: &mut Head, gradients: Vec<LayerGradient>) {
        let layers = head.layers.iter_mut().zip(&mut self.states);
        for ((layer, state), gradient) in layers.zip(gradients) {
            let weight = layer.weight.val();
            let stepped = self
                .adam
                .step(rate, weight, gradient.weight, state.weight.take());
            layer.weight = Param::from_tensor(stepped.0);
            state.weight = stepped.1;
            if let Some(bias) = &layer.bias {
                let stepped = self
                    .adam
                    .step(rate, bias.val(), gradient.bias, state.bias.take());
                layer.bias = Some(Param::from_tensor(stepped.0));
                state.bias = stepped.1;
            }
        }
    }
}

impl Head {
    /// Number of outputs.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.weight.dims()[1])
    }

    /// Computes the logits, without dropout.
    ///
    /// # Shapes
    /// - embeddings: `[masks, embedding_dim]`
    /// - output: `[masks, classes]`
    pub fn forward(&self, embeddings: Tensor<2>) -> Tensor<2> {
        self.run(embeddings, None, Pick::Noisy).logits
    }

    /// Computes the logits, with dropout applied to the last hidden layer, and what the backward pass needs; those
    /// without dropout are computed too if masks are picked by them.
    ///
    /// # Shapes
    /// - embeddings: `[masks, embedding_dim]`
    /// - dropout: `[masks, width of the last hidden layer]`, 0 or 1 / (1 - p)
    pub(super) fn run(
        &self,
        embeddings: Tensor<2>,
        dropout: Option<Tensor<2>>,
        pick: Pick,
    ) -> Activations {
        let output = self.layers.len().saturating_sub(1);
        let (mut inputs, mut flowing, mut clean) = (Vec::new(), embeddings, None);
        for (at, layer) in self.layers.iter().enumerate() {
            let found = layer.forward(flowing.clone());
            inputs.push(flowing);
            flowing = match (&dropout, at) {
                (_, at) if at == output => found,
                (Some(dropout), at) if at + 1 == output => {
                    let hidden = relu(found);
                    if let Some(last) = self.layers.last().filter(|_| pick == Pick::Clean) {
                        clean = Some(last.forward(hidden.clone()));
                    }
                    hidden * dropout.clone()
                }
                _ => relu(found),
            };
        }
        Activations {
            inputs,
            dropout,
            clean: clean.unwrap_or_else(|| flowing.clone()),
            logits: flowing,
        }
    }

    /// Computes the gradients of each layer, for a loss whose gradient with respect to the logits is 0 except for some
    /// masks.
    ///
    /// # Shapes
    /// - rows: indices of those masks, ascending
    /// - logit_gradients: `[rows, classes]`, row-major
    pub(super) fn gradients(
        &self,
        activations: Activations,
        rows: &[i32],
        logit_gradients: Vec<f32>,
    ) -> Vec<LayerGradient> {
        let mut gradients = Vec::new();
        let device = activations.logits.device();
        let [masks, classes] = activations.logits.dims();
        let some = (rows.len() < masks).then(|| {
            Tensor::<1, Int>::from_data(TensorData::new(rows.to_vec(), [rows.len()]), &device)
        });
        let pick = |tensor: Tensor<2>| match &some {
            Some(rows) => tensor.select(0, rows.clone()),
            None => tensor,
        };
        let dropout = activations.dropout.map(pick);
        let data = TensorData::new(logit_gradients, [rows.len(), classes]);
        let mut delta = Tensor::<2>::from_data(data, &device);
        for (at, (layer, input)) in self.layers.iter().zip(activations.inputs).enumerate().rev() {
            let input = pick(input);
            gradients.push(LayerGradient {
                weight: input.clone().transpose().matmul(delta.clone()),
                bias: delta.clone().sum_dim(0).squeeze_dim::<1>(0),
            });
            if at == 0 {
                break;
            }
            delta = delta.matmul(layer.weight.val().transpose());
            if at + 1 == self.layers.len()
                && let Some(dropout) = &dropout
            {
                delta = delta * dropout.clone();
            }
            // Where the output of ReLU (and dropout) is 0, no gradient flows back.
            delta = delta.mask_fill(input.lower_equal_elem(0.0), 0.0);
        }
        gradients.reverse();
        gradients
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;
    use burn::tensor::{Device, Distribution};

    use super::super::spec::HeadSpec;
    use super::super::weights::HeadWeights;
    use super::*;

    #[test]
    fn gradients_are_those_that_recording_gives() {
        let spec = HeadSpec {
            hidden: vec![7, 6, 5],
            ..HeadSpec::new(8, vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])
        };
        let plain = Device::flex();
        let recording = plain.clone().autodiff();
        let recorded = HeadWeights::random(&spec, 1).on(&recording);
        let head = recorded.clone().valid();
        let embeddings = Tensor::<2>::random([9, 8], Distribution::Normal(0.0, 1.0), &plain);
        let kept = Tensor::<2>::random([9, 5], Distribution::Bernoulli(0.5), &plain) * 2.0;
        let rows = [1, 4, 8];
        let chosen: Vec<f32> = (0..9).map(|n| 0.3 * n as f32 - 1.0).collect();
        let mut wanted = vec![0f32; 27];
        for (n, row) in rows.iter().enumerate() {
            wanted[row * 3..row * 3 + 3].copy_from_slice(&chosen[n * 3..n * 3 + 3]);
        }

        let as_recording =
            |tensor: &Tensor<2>| Tensor::<2>::from_data(tensor.to_data(), &recording);
        let kept_there = Some(as_recording(&kept));
        let output = recorded.run(as_recording(&embeddings), kept_there, Pick::Clean);
        let wanted = Tensor::<2>::from_data(TensorData::new(wanted, [9, 3]), &recording);
        let found = (output.logits * wanted).sum().backward();
        let mut expected = GradientsParams::from_grads(found, &recorded);

        let without = head.forward(embeddings.clone());
        let activations = head.run(embeddings, Some(kept), Pick::Clean);
        let difference = (activations.clean.clone() - without).abs().max();
        assert_eq!(difference.into_scalar::<f32>(), 0.0);
        let ours = head.gradients(activations, &[1, 4, 8], chosen);
        assert_eq!(ours.len(), 4);
        for (layer, ours) in recorded.layers.iter().zip(ours) {
            let weight = expected.remove::<2>(layer.weight.id).unwrap();
            let difference = (ours.weight - weight).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-6, "weight {difference}");
            let bias = expected.remove::<1>(layer.bias.as_ref().unwrap().id);
            let difference = (ours.bias - bias.unwrap()).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-6, "bias {difference}");
        }
    }
}
