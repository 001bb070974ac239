//! Which family of models a file holds, told from the names of its tensors.

use std::fmt;

/// A family of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Segment Anything and MobileSAM.
    Sam,
    /// HQ-SAM: Segment Anything with one more output.
    SamHq,
    /// SAM 2 and 2.1.
    Sam2,
    /// SAM 3, of which the tracker is used.
    Sam3,
    /// CLIP, from OpenAI, open_clip or Hugging Face: an image tower, a text tower, or both.
    Clip,
    /// SigLIP and SigLIP 2.
    SigLip,
    /// DINOv2, with or without registers.
    DinoV2,
    /// DINOv3.
    DinoV3,
    /// EfficientNet-Lite.
    EfficientNetLite,
}

/// Names that tell a family: an official one, or one of Hugging Face's. The first that fits counts.
const TELLING: [(Family, &str); 17] = [
    (
        Family::Sam3,
        "detector_model.vision_encoder.backbone.embeddings.patch_embeddings.projection.weight",
    ),
    (
        Family::Sam3,
        "detector.backbone.vision_backbone.trunk.patch_embed.proj.weight",
    ),
    (Family::Sam3, "image_encoder.trunk.ln_pre.weight"),
    (Family::Sam, "mask_decoder.iou_token.weight"),
    (Family::Sam2, "sam_mask_decoder.iou_token.weight"),
    (Family::Sam2, "image_encoder.trunk.patch_embed.proj.weight"),
    (
        Family::Sam2,
        "vision_encoder.backbone.patch_embed.projection.weight",
    ),
    (Family::SigLip, "vision_model.head.probe"),
    (Family::Clip, "visual.class_embedding"),
    (Family::Clip, "vision_model.embeddings.class_embedding"),
    (Family::Clip, "text_model.embeddings.token_embedding.weight"),
    (Family::DinoV3, "rope_embed.periods"),
    (Family::DinoV2, "blocks.0.ls1.gamma"),
    (Family::DinoV2, "encoder.layer.0.layer_scale1.lambda1"),
    (Family::DinoV3, "layer.0.layer_scale1.lambda1"),
    (Family::EfficientNetLite, "_conv_stem.weight"),
    (Family::Clip, "visual.positional_embedding"),
];

/// Tensors of a model that is otherwise one of another family.
const EXTENDS: [(Family, Family, &str); 2] = [
    (Family::Sam, Family::SamHq, "mask_decoder.hf_token.weight"),
    (Family::Sam, Family::SamHq, "mask_decoder.hq_token.weight"),
];

impl Family {
    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sam => "Segment Anything",
            Self::SamHq => "HQ-SAM",
            Self::Sam2 => "SAM 2",
            Self::Sam3 => "SAM 3",
            Self::Clip => "CLIP",
            Self::SigLip => "SigLIP",
            Self::DinoV2 => "DINOv2",
            Self::DinoV3 => "DINOv3",
            Self::EfficientNetLite => "EfficientNet-Lite",
        }
    }

    /// Names of tensors by which the family is told, without prefixes.
    pub(super) fn telling(self) -> impl Iterator<Item = &'static str> {
        let own = TELLING.iter().filter(move |(family, _)| *family == self);
        own.map(|(_, name)| *name)
    }

    /// Every name that tells a family, in the order in which they are tried.
    pub(super) fn all_telling() -> impl Iterator<Item = (Self, &'static str)> {
        TELLING.into_iter()
    }

    /// The family that a tensor makes of a model that looks like one of this family.
    pub(super) fn extended_by(self, tensor: &str) -> Option<Self> {
        let mut extending = EXTENDS.iter();
        let found = extending.find(|(family, _, name)| *family == self && *name == tensor);
        found.map(|(_, extended, _)| *extended)
    }
}

impl fmt::Display for Family {
    /// Writes the name, such as `DINOv2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
