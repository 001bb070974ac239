//! SAM 2's names for its weights, replaced with those of Segment Anything, and of upstream for what only SAM 2 has (upstream:
//! sam2; transformers, `convert_sam2_to_hf.py`, in reverse).

/// Parts of names: SAM 2's, then Segment Anything's.
pub(super) const OFFICIAL: [(&str, &str); 4] = [
    ("sam_prompt_encoder.", "prompt_encoder."),
    ("sam_mask_decoder.", "mask_decoder."),
    (".mlp.layers.0.", ".mlp.lin1."),
    (".mlp.layers.1.", ".mlp.lin2."),
];

/// Parts of names: Hugging Face's where they differ from those of its `SamModel`, then the official ones.
pub(super) const HUGGING_FACE: [(&str, &str); 7] = [
    (
        "vision_encoder.backbone.patch_embed.projection.",
        "image_encoder.trunk.patch_embed.proj.",
    ),
    ("vision_encoder.backbone.", "image_encoder.trunk."),
    ("vision_encoder.neck.", "image_encoder.neck."),
    ("no_memory_embedding", "no_mem_embed"),
    (".o_proj.", ".out_proj."),
    (".mlp.proj_in.", ".mlp.lin1."),
    (".mlp.proj_out.", ".mlp.lin2."),
];

/// First parts of the names of tensors that only videos need, official and Hugging Face's.
const OF_VIDEOS: [&str; 12] = [
    "memory_",
    "maskmem_tpos_enc",
    "mask_downsample.",
    "no_mem_pos_enc",
    "no_memory_positional_encoding",
    "no_obj_ptr",
    "no_obj_embed_spatial",
    "no_object_pointer",
    "obj_ptr_",
    "object_pointer_proj.",
    "occlusion_spatial_embedding_parameter",
    "temporal_positional_encoding_projection_layer.",
];

/// Whether only videos need a tensor.
pub(super) fn is_of_videos(name: &str) -> bool {
    OF_VIDEOS.iter().any(|first| name.starts_with(first))
}

/// The name of a convolution of Hugging Face's neck with upstream's part between its number and its tensor.
pub(super) fn neck_conv(name: String) -> String {
    let parts = name
        .strip_prefix("image_encoder.neck.convs.")
        .and_then(|rest| rest.split_once('.'))
        .filter(|(_, tensor)| !tensor.contains('.'));
    match parts {
        Some((number, tensor)) => format!("image_encoder.neck.convs.{number}.conv.{tensor}"),
        None => name,
    }
}
