//! Names of CLIP's weights: OpenAI's and open_clip's, and Hugging Face's.
//!
//! Fields of the model are `visual.*` and `text.*`, with blocks named as in a plain vision transformer.

use crate::models::checkpoint::Weights;
use crate::models::weights::{self, Place, Recipe};

/// Who named the tensors of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// OpenAI and open_clip: the text tower's names have no prefix.
    OpenAi,
    /// open_clip, with the text tower under `text.`.
    OpenClipText,
    /// transformers.
    HuggingFace,
}

/// Parts of paths in the model, and of OpenAI's names.
const OPENAI: [(&str, &str); 8] = [
    (".patch_embed.proj.", ".conv1."),
    (".blocks.", ".transformer.resblocks."),
    (".norm1.", ".ln_1."),
    (".norm2.", ".ln_2."),
    (".attn.qkv.", ".attn.in_proj_"),
    (".attn.proj.", ".attn.out_proj."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
];

/// Parts of paths in the model, and of Hugging Face's names. Names of whole tensors come first.
const HUGGING_FACE: [(&str, &str); 17] = [
    ("visual.proj", "visual_projection.weight"),
    ("text.text_projection", "text_projection.weight"),
    (
        "visual.class_embedding",
        "vision_model.embeddings.class_embedding",
    ),
    (
        "visual.positional_embedding",
        "vision_model.embeddings.position_embedding.weight",
    ),
    (
        "text.positional_embedding",
        "text_model.embeddings.position_embedding.weight",
    ),
    (
        "text.token_embedding",
        "text_model.embeddings.token_embedding.weight",
    ),
    (
        "visual.patch_embed.proj.",
        "vision_model.embeddings.patch_embedding.",
    ),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("text.ln_final.", "text_model.final_layer_norm."),
    ("visual.blocks.", "vision_model.encoder.layers."),
    ("text.blocks.", "text_model.encoder.layers."),
    (".norm1.", ".layer_norm1."),
    (".norm2.", ".layer_norm2."),
    (".attn.qkv.", ".self_attn.qkv_proj."),
    (".attn.proj.", ".self_attn.out_proj."),
    (".attn.", ".attn."),
];

/// A tensor that is no weight of a tower: counters and tables that files hold beside weights, and the factor on
/// similarities, which is read by itself.
pub(super) fn is_unused(name: &str) -> bool {
    const WHOLE: [&str; 5] = [
        "input_resolution",
        "context_length",
        "vocab_size",
        "logit_scale",
        "logit_bias",
    ];
    WHOLE.contains(&name) || name.ends_with(".position_ids") || name.ends_with("attn_mask")
}

impl Layout {
    pub(super) fn of(weights: &Weights) -> Self {
        let starts = |prefix: &str| weights.names().any(|name| name.starts_with(prefix));
        if starts("vision_model.") || starts("text_model.") {
            Self::HuggingFace
        } else if starts("text.") {
            Self::OpenClipText
        } else {
            Self::OpenAi
        }
    }

    /// What stands before the number of a block of a tower, `visual` or `text`.
    pub(super) fn blocks(self, tower: &str) -> String {
        let name = self.name(&format!("{tower}.blocks.0.norm1.weight"));
        let at = name.find(".0.").map_or(name.len(), |at| at + 1);
        name.get(..at).unwrap_or_default().to_owned()
    }

    /// Numbers of a vector, from the shape of a projection.
    pub(super) fn dim(self, [rows, columns]: [usize; 2]) -> usize {
        match self {
            Self::HuggingFace => rows,
            Self::OpenAi | Self::OpenClipText => columns,
        }
    }

    /// The name in the file of the parameter at a path in the model.
    pub(super) fn name(self, path: &str) -> String {
        let parts: &[(&str, &str)] = match self {
            Self::HuggingFace => &HUGGING_FACE,
            Self::OpenAi | Self::OpenClipText => &OPENAI,
        };
        let replaced = |name: String, (ours, theirs): &(&str, &str)| name.replacen(ours, theirs, 1);
        let name = parts.iter().fold(path.to_owned(), replaced);
        let name = match name.as_str() {
            "text.token_embedding" => "text.token_embedding.weight".to_owned(),
            _ => name,
        };
        match (self, name.strip_prefix("text.")) {
            (Self::OpenAi, Some(rest)) => rest.to_owned(),
            _ => name,
        }
    }
}

/// The recipes of CLIP's parameters.
pub(super) struct Names(pub Layout);

impl weights::Names for Names {
    fn recipe(&self, place: &Place) -> Recipe {
        let path = place.path();
        let name = self.0.name(&path);
        if self.0 != Layout::HuggingFace {
            return Recipe::One(name);
        }
        if path == "visual.proj" || path == "text.text_projection" {
            return Recipe::Transposed(name);
        }
        match name.split_once(".qkv_proj.") {
            Some((block, last)) => {
                let part = |part| format!("{block}.{part}_proj.{last}");
                Recipe::Stacked([part("q"), part("k"), part("v")])
            }
            None => Recipe::One(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_each_layout() {
        for (path, openai, theirs) in [
            (
                "visual.patch_embed.proj.weight",
                "visual.conv1.weight",
                "vision_model.embeddings.patch_embedding.weight",
            ),
            (
                "visual.blocks.3.attn.proj.bias",
                "visual.transformer.resblocks.3.attn.out_proj.bias",
                "vision_model.encoder.layers.3.self_attn.out_proj.bias",
            ),
            (
                "text.blocks.0.attn.qkv.weight",
                "transformer.resblocks.0.attn.in_proj_weight",
                "text_model.encoder.layers.0.self_attn.qkv_proj.weight",
            ),
            (
                "text.blocks.0.mlp.fc2.weight",
                "transformer.resblocks.0.mlp.c_proj.weight",
                "text_model.encoder.layers.0.mlp.fc2.weight",
            ),
            (
                "text.token_embedding",
                "token_embedding.weight",
                "text_model.embeddings.token_embedding.weight",
            ),
            (
                "text.ln_final.weight",
                "ln_final.weight",
                "text_model.final_layer_norm.weight",
            ),
            ("visual.proj", "visual.proj", "visual_projection.weight"),
            (
                "text.text_projection",
                "text_projection",
                "text_projection.weight",
            ),
        ] {
            assert_eq!(Layout::OpenAi.name(path), openai);
            assert_eq!(Layout::HuggingFace.name(path), theirs);
        }
        assert_eq!(
            Layout::OpenClipText.name("text.ln_final.bias"),
            "text.ln_final.bias"
        );
        assert_eq!(Layout::OpenAi.blocks("text"), "transformer.resblocks.");
        assert_eq!(
            Layout::HuggingFace.blocks("visual"),
            "vision_model.encoder.layers."
        );
    }
}
