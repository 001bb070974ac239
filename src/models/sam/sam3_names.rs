//! SAM 3's names for the weights of its tracker, replaced with those of Segment Anything (upstream: transformers,
//! `conversion_mapping.py`; sam3, `model_builder.py`).

/// Parts of names: Hugging Face's where they differ from those of its `Sam2Model`, then ours.
pub(super) const HUGGING_FACE: [(&str, &str); 16] = [
    ("tracker_model.", ""),
    ("detector_model.vision_encoder.backbone.", TRUNK),
    ("tracker_neck.fpn_layers.", "image_encoder.neck.convs."),
    (
        ".embeddings.patch_embeddings.projection.",
        ".patch_embed.proj.",
    ),
    (".embeddings.position_embeddings", ".pos_embed"),
    ("trunk.layer_norm.", "trunk.ln_pre."),
    ("trunk.layers.", "trunk.blocks."),
    (".attention.o_proj.", ".attn.proj."),
    (".attention.", ".attn."),
    (".mlp.fc1.", ".mlp.lin1."),
    (".mlp.fc2.", ".mlp.lin2."),
    (".scale_layers.0.", ".up.0."),
    (".scale_layers.2.", ".up.1."),
    (".proj1.", ".conv_1x1."),
    (".proj2.", ".conv_3x3."),
    ("no_memory_embedding", "no_mem_embed"),
];

/// Parts of names: the official ones, then ours.
pub(super) const OFFICIAL: [(&str, &str); 8] = [
    ("detector.backbone.vision_backbone.trunk.", TRUNK),
    (
        "detector.backbone.vision_backbone.sam2_convs.",
        "image_encoder.neck.convs.",
    ),
    ("tracker.", ""),
    (".mlp.fc1.", ".mlp.lin1."),
    (".mlp.fc2.", ".mlp.lin2."),
    (".dconv_2x2_0.", ".up.0."),
    (".dconv_2x2_1.", ".up.1."),
    (".dconv_2x2.", ".up.0."),
];

const TRUNK: &str = "image_encoder.trunk.";

/// First parts of the names of tensors that the tracker does not need for images: those of the detector, of videos, the neck's
/// level of half the rows and columns, and the angles of positions.
const UNUSED: [&str; 6] = [
    "detector_model.",
    "detector.",
    "image_encoder.neck.convs.3.",
    "maskmem_backbone.",
    "transformer.",
    "text_encoder.",
];

/// Whether the tracker does without a tensor of SAM 3.
pub(super) fn is_unused(name: &str) -> bool {
    UNUSED.iter().any(|first| name.starts_with(first)) || name.ends_with(".attn.freqs_cis")
}
