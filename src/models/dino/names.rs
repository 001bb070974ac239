//! Names of DINOv2's weights: official ones, and Hugging Face's.

use crate::models::checkpoint::Weights;
use crate::models::weights::{self, Place, Recipe};

/// Who named the tensors of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// facebookresearch/dinov2.
    Official,
    /// transformers, as `save_pretrained` writes it.
    HuggingFace,
}

/// Parts of names: official, then Hugging Face's.
const PARTS: [(&str, &str); 10] = [
    ("pos_embed", "embeddings.position_embeddings"),
    ("cls_token", "embeddings.cls_token"),
    ("register_tokens", "embeddings.register_tokens"),
    (
        "patch_embed.proj.",
        "embeddings.patch_embeddings.projection.",
    ),
    ("blocks.", "encoder.layer."),
    (".attn.qkv.", ".attention.attention.qkv."),
    (".attn.proj.", ".attention.output.dense."),
    (".ls1.gamma", ".layer_scale1.lambda1"),
    (".ls2.gamma", ".layer_scale2.lambda1"),
    (".mlp.w12.", ".mlp.weights_in."),
];

/// A tensor that is there for training alone, or a head for classes.
pub(super) fn is_unused(name: &str) -> bool {
    name == "mask_token"
        || name == "embeddings.mask_token"
        || name.starts_with("classifier.")
        || name.starts_with("head.")
}

impl Layout {
    pub(super) fn of(weights: &Weights) -> Self {
        match weights.shape("pos_embed") {
            Some(_) => Self::Official,
            None => Self::HuggingFace,
        }
    }

    /// What stands before the number of a block.
    pub(super) fn blocks(self) -> &'static str {
        match self {
            Self::Official => "blocks.",
            Self::HuggingFace => "encoder.layer.",
        }
    }

    /// The name in the file of a tensor whose official name is given.
    pub(super) fn name(self, official: &str) -> String {
        if self == Self::Official {
            return official.to_owned();
        }
        if let Some(rest) = official.strip_prefix("norm.") {
            return format!("layernorm.{rest}");
        }
        let replaced =
            |name: String, (official, theirs): &(&str, &str)| name.replacen(official, theirs, 1);
        PARTS.iter().fold(official.to_owned(), replaced)
    }
}

/// The recipes of DINOv2's parameters, whose fields have official names.
pub(super) struct Names(pub Layout);

impl weights::Names for Names {
    fn recipe(&self, place: &Place) -> Recipe {
        let name = self.0.name(&place.path());
        match (self.0, name.split_once(".qkv.")) {
            (Layout::HuggingFace, Some((block, last))) => {
                let part = |part| format!("{block}.{part}.{last}");
                Recipe::Stacked([part("query"), part("key"), part("value")])
            }
            _ => Recipe::One(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hugging_faces_names() {
        for (official, theirs) in [
            ("pos_embed", "embeddings.position_embeddings"),
            ("blocks.3.norm1.weight", "encoder.layer.3.norm1.weight"),
            (
                "blocks.0.attn.proj.bias",
                "encoder.layer.0.attention.output.dense.bias",
            ),
            (
                "blocks.11.ls2.gamma",
                "encoder.layer.11.layer_scale2.lambda1",
            ),
            ("norm.bias", "layernorm.bias"),
            (
                "patch_embed.proj.weight",
                "embeddings.patch_embeddings.projection.weight",
            ),
        ] {
            assert_eq!(Layout::HuggingFace.name(official), theirs);
            assert_eq!(Layout::Official.name(official), official);
        }
    }
}
