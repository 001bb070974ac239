//! Layers that several models share.

mod activation;
mod attention;
mod batch_norm;
mod kernels;
mod layer_norm_2d;
mod mlp;
mod patch_embed;
mod position_table;
mod relative_position;
mod resample;
mod vit_block;

pub use activation::Activation;
pub(super) use attention::{ScoreBias, attention};
pub(super) use batch_norm::FixedBatchNorm;
pub(super) use kernels::{gelu, update_values, works_on_slices};
pub(super) use layer_norm_2d::{LAYER_NORM_EPSILON, LayerNorm2d};
pub(super) use mlp::MlpBlock;
pub(super) use patch_embed::{PatchEmbed, PatchEmbedSizes};
pub(super) use position_table::{PositionTable, Resampling};
pub(super) use relative_position::{RelativePosition, RelativePositionTables};
pub(super) use resample::{Tap, linear_taps};
pub(super) use vit_block::{VitBlock, VitBlockConfig};
