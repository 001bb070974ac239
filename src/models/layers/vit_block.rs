//! The transformer block of plain vision transformers and of CLIP's text tower.

use burn::module::{Initializer, Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use super::activation::Activation;
use super::attention::{ScoreBias, attention};

/// Sizes of a [`VitBlock`].
#[derive(Clone, Copy, Debug)]
pub(in crate::models) struct VitBlockConfig {
    /// Channels of a token.
    pub dim: usize,
    /// Attention heads. Must divide `dim`.
    pub heads: usize,
    /// Hidden channels of the MLP.
    pub hidden: usize,
    /// Value that layer normalisation adds to the variance.
    pub epsilon: f64,
    /// The activation inside the MLP.
    pub activation: Activation,
    /// Whether the outputs of attention and MLP are scaled per channel before they are added.
    pub has_layer_scale: bool,
}

/// One block: `x + ls1(attn(norm1(x)))`, then `x + ls2(mlp(norm2(x)))`.
#[derive(Module, Debug)]
pub struct VitBlock {
    /// Normalisation before attention.
    pub norm1: LayerNorm,
    /// Self-attention.
    pub attn: SelfAttention,
    /// Factors on the output of attention.
    pub ls1: Option<LayerScale>,
    /// Normalisation before the MLP.
    pub norm2: LayerNorm,
    /// Two layers with an activation between them.
    pub mlp: Mlp,
    /// Factors on the output of the MLP.
    pub ls2: Option<LayerScale>,
}

impl VitBlock {
    pub(in crate::models) fn new(config: &VitBlockConfig, device: &Device) -> Self {
        let norm = LayerNormConfig::new(config.dim).with_epsilon(config.epsilon);
        let scale = || {
            let new = || LayerScale::new(config.dim, device);
            config.has_layer_scale.then(new)
        };
        Self {
            norm1: norm.init(device),
            attn: SelfAttention::new(config.dim, config.heads, device),
            ls1: scale(),
            norm2: norm.init(device),
            mlp: Mlp {
                fc1: LinearConfig::new(config.dim, config.hidden).init(device),
                fc2: LinearConfig::new(config.hidden, config.dim).init(device),
                activation: config.activation,
            },
            ls2: scale(),
        }
    }

    /// # Shapes
    /// - tokens and output: `[batch, tokens, dim]`
    /// - bias, added to the scores: `[heads or 1, tokens, tokens]`
    pub(in crate::models) fn forward(
        &self,
        tokens: Tensor<3>,
        bias: Option<Tensor<3>>,
    ) -> Tensor<3> {
        let attended = self.attn.forward(self.norm1.forward(tokens.clone()), bias);
        self.mixed(tokens + scaled(&self.ls1, attended))
    }

    /// The block with each token attending to itself alone, so that its output is about its own place (MaskCLIP: Zhou,
    /// Loy and Dai, "Extract Free Dense Labels from CLIP", ECCV 2022, section 3.2; upstream: `v` in
    /// `mmseg/models/backbones/vit.py`).
    ///
    /// # Shapes
    /// - tokens and output: `[batch, tokens, dim]`
    pub(in crate::models) fn forward_apart(&self, tokens: Tensor<3>) -> Tensor<3> {
        let values = self.attn.values(self.norm1.forward(tokens.clone()));
        self.mixed(tokens + scaled(&self.ls1, values))
    }

    fn mixed(&self, tokens: Tensor<3>) -> Tensor<3> {
        let mixed = self.mlp.forward(self.norm2.forward(tokens.clone()));
        tokens + scaled(&self.ls2, mixed)
    }
}

fn scaled(scale: &Option<LayerScale>, tokens: Tensor<3>) -> Tensor<3> {
    match scale {
        Some(scale) => tokens * scale.gamma.val().unsqueeze(),
        None => tokens,
    }
}

/// A factor per channel.
#[derive(Module, Debug)]
pub struct LayerScale {
    /// The factors, `[dim]`.
    pub gamma: Param<Tensor<1>>,
}

impl LayerScale {
    fn new(dim: usize, device: &Device) -> Self {
        Self {
            gamma: Initializer::Ones.init([dim], device),
        }
    }
}

/// Multi-head self-attention.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// Joint projection to queries, keys and values.
    pub qkv: Linear,
    /// Projection of the joined heads.
    pub proj: Linear,
    heads: usize,
}

impl SelfAttention {
    fn new(dim: usize, heads: usize, device: &Device) -> Self {
        Self {
            qkv: LinearConfig::new(dim, 3 * dim).init(device),
            proj: LinearConfig::new(dim, dim).init(device),
            heads,
        }
    }

    /// # Shapes
    /// - tokens and output: `[batch, tokens, dim]`
    fn forward(&self, tokens: Tensor<3>, bias: Option<Tensor<3>>) -> Tensor<3> {
        let [batch, count, dim] = tokens.dims();
        let head_dim = dim / self.heads;
        let qkv = self
            .qkv
            .forward(tokens)
            .reshape([batch, count, 3, self.heads, head_dim])
            .permute([2, 0, 3, 1, 4]);
        let [q, k, v] = [0, 1, 2].map(|i| qkv.clone().narrow(0, i, 1).squeeze_dim::<4>(0));
        drop(qkv);
        let scale = (head_dim as f64).powf(-0.5);
        let attended = attention(q, k, v, scale, bias.map(ScoreBias::PerHead));
        let joined = attended.swap_dims(1, 2).reshape([batch, count, dim]);
        self.proj.forward(joined)
    }

    /// # Shapes
    /// - tokens and output: `[batch, tokens, dim]`
    fn values(&self, tokens: Tensor<3>) -> Tensor<3> {
        let [.., dim] = tokens.dims();
        let weight = self.qkv.weight.val().narrow(1, 2 * dim, dim);
        let mut values = tokens.matmul(weight.unsqueeze());
        if let Some(bias) = &self.qkv.bias {
            values = values + bias.val().narrow(0, 2 * dim, dim).unsqueeze();
        }
        self.proj.forward(values)
    }
}

/// Two linear layers with an activation between them.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Maps to the hidden channels.
    pub fc1: Linear,
    /// Maps back.
    pub fc2: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    /// # Shapes
    /// - input and output: `[batch, tokens, dim]`
    fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let hidden = self.fc1.forward(input);
        self.fc2.forward(self.activation.forward(hidden))
    }
}
