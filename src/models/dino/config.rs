//! The sizes of a DINOv2 model, from the shapes of its weights.

use serde::{Deserialize, Serialize};

use super::names::Layout;
use crate::models::checkpoint::Weights;
use crate::models::error::{ModelError, Result};

/// Channels of an attention head in every published model.
const HEAD_WIDTH: usize = 64;

/// The sizes of a DINOv2 model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DinoConfig {
    /// Channels of a token, and numbers of a vector.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Hidden channels of a block's MLP.
    pub mlp_dim: usize,
    /// Register tokens: 4, or 0 for models without them.
    pub registers: usize,
    /// Side of the table of positions in patches: 37 for every published model, at 518 pixels.
    pub grid: usize,
}

#[derive(Deserialize)]
struct Sidecar {
    model_type: Option<String>,
    num_attention_heads: Option<usize>,
}

impl DinoConfig {
    /// The sizes of the model in a file. Attention heads have 64 channels, unless a `config.json` beside the weights
    /// says otherwise.
    ///
    /// # Errors
    /// [`ModelError::CheckpointTensors`] if a tensor that determines a size is missing or has another rank;
    /// [`ModelError::ModelConfig`] if sizes do not fit together.
    pub fn of(weights: &Weights) -> Result<Self> {
        if let Some(saved) = weights.saved_config()? {
            return Ok(saved);
        }
        let layout = Layout::of(weights);
        let name = |path: &str| layout.name(path);
        let [_, positions, width]: [usize; 3] = weights.shape_of(&name("pos_embed"))?;
        let [_, _, patch, _]: [usize; 4] = weights.shape_of(&name("patch_embed.proj.weight"))?;
        if weights.shape(&name("blocks.0.mlp.w12.weight")).is_some() {
            return Err(ModelError::ModelConfig {
                reason: "its MLPs are SwiGLU, as in DINOv2 ViT-g/14, which is not supported; use ViT-S, B or L"
                    .to_owned(),
            });
        }
        let [mlp_dim, _]: [usize; 2] = weights.shape_of(&name("blocks.0.mlp.fc1.weight"))?;
        let registers = match weights.shape(&name("register_tokens")) {
            None => 0,
            Some(_) => {
                let [_, registers, _]: [usize; 3] = weights.shape_of(&name("register_tokens"))?;
                registers
            }
        };
        let sidecar = match layout {
            Layout::HuggingFace => weights.beside::<Sidecar>("config.json")?,
            Layout::Official => None,
        };
        // A config of another model may lie beside a single file.
        let is_dinos = |sidecar: &Sidecar| {
            let kind = sidecar.model_type.as_deref();
            kind.is_some_and(|kind| kind.starts_with("dinov2"))
        };
        let sidecar = sidecar.filter(|(_, sidecar)| is_dinos(sidecar));
        let heads = sidecar.and_then(|(_, sidecar)| sidecar.num_attention_heads);
        let config = Self {
            width,
            layers: weights.children(layout.blocks()),
            heads: heads.unwrap_or(width / HEAD_WIDTH),
            patch,
            mlp_dim,
            registers,
            grid: positions.saturating_sub(1).isqrt(),
        };
        config.check(positions)?;
        Ok(config)
    }

    fn check(&self, positions: usize) -> Result<()> {
        let fail = |reason: String| Err(ModelError::ModelConfig { reason });
        if self.grid == 0 || self.grid * self.grid + 1 != positions {
            return fail(format!(
                "the table of positions has {positions} rows; expected 1 + a square"
            ));
        }
        if self.heads == 0 || !self.width.is_multiple_of(self.heads) || self.patch == 0 {
            return fail(format!(
                "a width of {} cannot have {} attention heads",
                self.width, self.heads
            ));
        }
        Ok(())
    }

    /// The published name of a model of these sizes, such as `dinov2_vitb14_reg`.
    pub fn name(&self) -> Option<&'static str> {
        let names = match (self.width, self.layers) {
            (384, 12) => ["dinov2_vits14", "dinov2_vits14_reg"],
            (768, 12) => ["dinov2_vitb14", "dinov2_vitb14_reg"],
            (1024, 24) => ["dinov2_vitl14", "dinov2_vitl14_reg"],
            _ => return None,
        };
        let [plain, with_registers] = names;
        match (self.patch, self.registers) {
            (14, 0) => Some(plain),
            (14, 4) => Some(with_registers),
            _ => None,
        }
    }
}
