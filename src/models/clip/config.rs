//! The sizes of a CLIP model, from the shapes of its weights and a config beside them.

use serde::{Deserialize, Serialize};

use super::names::Layout;
use crate::models::checkpoint::Weights;
use crate::models::error::{ModelError, Result};
use crate::models::layers::Activation;

/// Channels of an attention head, unless a config says otherwise.
const HEAD_WIDTH: usize = 64;

/// The sizes of a CLIP model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClipConfig {
    /// The image tower, if the file holds one.
    pub image: Option<ImageTowerConfig>,
    /// The text tower, if the file holds one.
    pub text: Option<TextTowerConfig>,
    /// Numbers of a vector.
    pub dim: usize,
    /// The activation inside the MLPs, which shapes do not tell.
    pub activation: Activation,
}

/// The sizes of an image tower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageTowerConfig {
    /// Channels of a token.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden channels of a block's MLP.
    pub mlp_dim: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Side of the square input in pixels.
    pub image_size: usize,
}

/// The sizes of a text tower.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextTowerConfig {
    /// Channels of a token.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Hidden channels of a block's MLP.
    pub mlp_dim: usize,
    /// Maximum number of tokens.
    pub context: usize,
    /// Number of different tokens.
    pub vocabulary: usize,
}

/// Hugging Face's `config.json`, of both towers or of one.
#[derive(Deserialize)]
struct HuggingFaceConfig {
    model_type: Option<String>,
    hidden_act: Option<String>,
    num_attention_heads: Option<usize>,
    vision_config: Option<TowerConfig>,
    text_config: Option<TowerConfig>,
}

#[derive(Deserialize, Default)]
struct TowerConfig {
    hidden_act: Option<String>,
    num_attention_heads: Option<usize>,
}

/// open_clip's `open_clip_config.json`.
#[derive(Deserialize)]
struct OpenClipConfig {
    model_cfg: ModelConfig,
}

#[derive(Deserialize)]
struct ModelConfig {
    #[serde(default)]
    quick_gelu: bool,
    vision_cfg: Option<VisionConfig>,
    text_cfg: Option<TextConfig>,
}

#[derive(Deserialize)]
struct VisionConfig {
    head_width: Option<usize>,
}

#[derive(Deserialize)]
struct TextConfig {
    heads: Option<usize>,
}

/// What a config beside the weights says.
#[derive(Default)]
struct Beside {
    activation: Option<Activation>,
    image_head_width: Option<usize>,
    image_heads: Option<usize>,
    text_heads: Option<usize>,
}

impl ClipConfig {
    /// The sizes of the model in a file. The activation is the given one, or that of a `config.json` or
    /// `open_clip_config.json` beside the weights; it is never guessed, because a wrong one gives vectors that are only
    /// slightly wrong.
    ///
    /// # Errors
    /// [`ModelError::ActivationUnknown`] if nothing says which activation it is; [`ModelError::CheckpointTensors`] if a
    /// tensor that determines a size is missing or has another rank; [`ModelError::CheckpointConfig`].
    pub fn of(weights: &Weights, activation: Option<Activation>) -> Result<Self> {
        if let Some(saved) = weights.saved_config()? {
            return Ok(saved);
        }
        let beside = beside(weights)?;
        let layout = Layout::of(weights);
        let (image, image_dim) = image_tower(weights, layout, &beside)?;
        let (text, text_dim) = text_tower(weights, layout, &beside)?;
        let dim = image_dim.or(text_dim).unwrap_or(0);
        let config = Self {
            image,
            text,
            dim,
            activation: activation.or(beside.activation).ok_or_else(|| {
                ModelError::ActivationUnknown {
                    path: weights.path().to_owned(),
                }
            })?,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let image = self.image.as_ref().map(|it| (it.width, it.heads));
        let text = self.text.as_ref().map(|it| (it.width, it.heads));
        for (width, heads) in image.into_iter().chain(text) {
            if heads == 0 || !width.is_multiple_of(heads) {
                return Err(ModelError::ModelConfig {
                    reason: format!("a width of {width} cannot have {heads} attention heads"),
                });
            }
        }
        Ok(())
    }

    /// The published name of a model of these sizes, such as `clip_vit_b_32`.
    pub fn name(&self) -> Option<&'static str> {
        let image = self.image.as_ref()?;
        match (image.width, image.layers, image.patch, image.image_size) {
            (768, 12, 32, 224) => Some("clip_vit_b_32"),
            (768, 12, 16, 224) => Some("clip_vit_b_16"),
            (1024, 24, 14, 224) => Some("clip_vit_l_14"),
            (1024, 24, 14, 336) => Some("clip_vit_l_14_336"),
            (1280, 32, 14, 224) => Some("clip_vit_h_14"),
            (256, 10, 16, 224) => Some("tinyclip_vit_8m_16"),
            (512, 12, 32, 224) => Some("tinyclip_vit_40m_32"),
            _ => None,
        }
    }
}

type Tower<T> = (Option<T>, Option<usize>);

fn image_tower(
    weights: &Weights,
    layout: Layout,
    beside: &Beside,
) -> Result<Tower<ImageTowerConfig>> {
    let name = |path: &str| layout.name(&format!("visual.{path}"));
    let convolution = name("patch_embed.proj.weight");
    if weights.shape(&convolution).is_none() {
        return Ok((None, None));
    }
    let [width, _, patch, _]: [usize; 4] = weights.shape_of(&convolution)?;
    let [positions, _]: [usize; 2] = weights.shape_of(&name("positional_embedding"))?;
    let [mlp_dim, _]: [usize; 2] = weights.shape_of(&name("blocks.0.mlp.fc1.weight"))?;
    let dim = layout.dim(weights.shape_of(&name("proj"))?);
    let grid = positions.saturating_sub(1).isqrt();
    if grid * grid + 1 != positions {
        return Err(ModelError::ModelConfig {
            reason: format!("the table of positions has {positions} rows; expected 1 + a square"),
        });
    }
    let by_width = width / beside.image_head_width.unwrap_or(HEAD_WIDTH).max(1);
    let config = ImageTowerConfig {
        width,
        layers: weights.children(&layout.blocks("visual")),
        heads: beside.image_heads.unwrap_or(by_width),
        mlp_dim,
        patch,
        image_size: grid * patch,
    };
    Ok((Some(config), Some(dim)))
}

fn text_tower(
    weights: &Weights,
    layout: Layout,
    beside: &Beside,
) -> Result<Tower<TextTowerConfig>> {
    let name = |path: &str| layout.name(&format!("text.{path}"));
    let tokens = name("token_embedding");
    if weights.shape(&tokens).is_none() {
        return Ok((None, None));
    }
    let [vocabulary, width]: [usize; 2] = weights.shape_of(&tokens)?;
    let [context, _]: [usize; 2] = weights.shape_of(&name("positional_embedding"))?;
    let [mlp_dim, _]: [usize; 2] = weights.shape_of(&name("blocks.0.mlp.fc1.weight"))?;
    let dim = layout.dim(weights.shape_of(&name("text_projection"))?);
    let config = TextTowerConfig {
        width,
        layers: weights.children(&layout.blocks("text")),
        heads: beside.text_heads.unwrap_or(width / HEAD_WIDTH),
        mlp_dim,
        context,
        vocabulary,
    };
    Ok((Some(config), Some(dim)))
}

fn beside(weights: &Weights) -> Result<Beside> {
    let config = weights.beside::<HuggingFaceConfig>("config.json")?;
    let is_clips = |config: &HuggingFaceConfig| {
        let kind = config.model_type.as_deref();
        kind.is_some_and(|kind| kind == "clip" || kind.starts_with("clip_"))
    };
    // A config of another model may lie beside a single file.
    if let Some((path, config)) = config.filter(|(_, config)| is_clips(config)) {
        // transformers leaves out what has its default value, which is 'quick_gelu'.
        let vision = config.vision_config.unwrap_or_default();
        let text = config.text_config.unwrap_or_default();
        let word = config.hidden_act.or(vision.hidden_act).or(text.hidden_act);
        let activation = match word.as_deref() {
            None | Some("quick_gelu") => Activation::QuickGelu,
            Some("gelu") => Activation::Gelu,
            Some(other) => {
                return Err(ModelError::CheckpointConfig {
                    path,
                    reason: format!(
                        "its 'hidden_act' is '{other}'; expected 'quick_gelu' or 'gelu'"
                    ),
                });
            }
        };
        return Ok(Beside {
            activation: Some(activation),
            image_head_width: None,
            image_heads: vision.num_attention_heads.or(config.num_attention_heads),
            text_heads: text.num_attention_heads.or(config.num_attention_heads),
        });
    }
    let Some((_, config)) = weights.beside::<OpenClipConfig>("open_clip_config.json")? else {
        return Ok(Beside::default());
    };
    let activation = if config.model_cfg.quick_gelu {
        Activation::QuickGelu
    } else {
        Activation::Gelu
    };
    Ok(Beside {
        activation: Some(activation),
        image_head_width: config.model_cfg.vision_cfg.and_then(|it| it.head_width),
        image_heads: None,
        text_heads: config.model_cfg.text_cfg.and_then(|it| it.heads),
    })
}
