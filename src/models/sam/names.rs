//! Hugging Face's names for the weights of Segment Anything in `SamModel` (upstream: transformers,
//! `convert_sam_to_hf.py`, in reverse), and SAM 2's.
//!
//! Shapes are the same, and in both, queries, keys and values are fused in the encoder and separate in the decoder.
//! Only names differ, and in MLPs the first and last layers are named separately from those between them.

use std::collections::BTreeMap;

use super::{sam2_names, sam3_names};

/// Parts of names: theirs, then upstream's. Each is replaced at most once.
const PARTS: [(&str, &str); 36] = [
    ("shared_image_embedding.positional_embedding", POSITION),
    (
        "prompt_encoder.shared_embedding.positional_embedding",
        POSITION,
    ),
    (
        "vision_encoder.patch_embed.projection.",
        "image_encoder.patch_embed.proj.",
    ),
    ("vision_encoder.neck.conv1.", "image_encoder.neck.0."),
    ("vision_encoder.neck.layer_norm1.", "image_encoder.neck.1."),
    ("vision_encoder.neck.conv2.", "image_encoder.neck.2."),
    ("vision_encoder.neck.layer_norm2.", "image_encoder.neck.3."),
    ("vision_encoder.layers.", "image_encoder.blocks."),
    ("vision_encoder.", "image_encoder."),
    (
        "prompt_encoder.mask_embed.conv1.",
        "prompt_encoder.mask_downscaling.0.",
    ),
    (
        "prompt_encoder.mask_embed.layer_norm1.",
        "prompt_encoder.mask_downscaling.1.",
    ),
    (
        "prompt_encoder.mask_embed.conv2.",
        "prompt_encoder.mask_downscaling.3.",
    ),
    (
        "prompt_encoder.mask_embed.layer_norm2.",
        "prompt_encoder.mask_downscaling.4.",
    ),
    (
        "prompt_encoder.mask_embed.conv3.",
        "prompt_encoder.mask_downscaling.6.",
    ),
    (
        "prompt_encoder.point_embed.",
        "prompt_encoder.point_embeddings.",
    ),
    (
        "mask_decoder.upscale_conv1.",
        "mask_decoder.output_upscaling.0.",
    ),
    (
        "mask_decoder.upscale_layer_norm.",
        "mask_decoder.output_upscaling.1.",
    ),
    (
        "mask_decoder.upscale_conv2.",
        "mask_decoder.output_upscaling.3.",
    ),
    // HQ-SAM's.
    ("mask_decoder.hq_token.", "mask_decoder.hf_token."),
    ("mask_decoder.hq_mask_mlp.", "mask_decoder.hf_mlp."),
    (".compress_vit_conv1.", ".compress_vit_feat.0."),
    (".compress_vit_norm.", ".compress_vit_feat.1."),
    (".compress_vit_conv2.", ".compress_vit_feat.3."),
    (
        "mask_decoder.encoder_conv1.",
        "mask_decoder.embedding_encoder.0.",
    ),
    (
        "mask_decoder.encoder_norm.",
        "mask_decoder.embedding_encoder.1.",
    ),
    (
        "mask_decoder.encoder_conv2.",
        "mask_decoder.embedding_encoder.3.",
    ),
    (
        "mask_decoder.mask_conv1.",
        "mask_decoder.embedding_maskfeature.0.",
    ),
    (
        "mask_decoder.mask_norm.",
        "mask_decoder.embedding_maskfeature.1.",
    ),
    (
        "mask_decoder.mask_conv2.",
        "mask_decoder.embedding_maskfeature.3.",
    ),
    (".layer_norm_final_attn.", ".norm_final_attn."),
    (".layer_norm1.", ".norm1."),
    (".layer_norm2.", ".norm2."),
    (".layer_norm3.", ".norm3."),
    (".layer_norm4.", ".norm4."),
    // Layers between the first and the last are counted from 0 there; see `mlp_layer`.
    (".proj_in.", ".layers.first."),
    (".proj_out.", ".layers.last."),
];

const POSITION: &str = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix";

/// Replaces SAM 2's and Hugging Face's names with those of Segment Anything. Tensors of other checkpoints keep theirs.
pub(super) fn official_names<T>(tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
    let has = |first: &str| tensors.keys().any(|name| name.starts_with(first));
    if has("detector.backbone.") {
        let named = tensors.into_iter().map(|(name, it)| {
            let name = replace_parts(name, &sam3_names::OFFICIAL);
            (replace_parts(name, &sam2_names::OFFICIAL), it)
        });
        return named.collect();
    }
    if has("image_encoder.trunk.") {
        let names = tensors.into_iter();
        let named = names.map(|(name, it)| (replace_parts(name, &sam2_names::OFFICIAL), it));
        return named.collect();
    }
    let is_sam3 = has("detector_model.vision_encoder.backbone.");
    if !has("vision_encoder.") && !is_sam3 {
        return tensors;
    }
    let is_sam2 = has("vision_encoder.backbone.");
    let replace = |name: &String| {
        let mut name = name.clone();
        if is_sam3 {
            name = replace_parts(name, &sam3_names::HUGGING_FACE);
        }
        if is_sam2 || is_sam3 {
            name = sam2_names::neck_conv(replace_parts(name, &sam2_names::HUGGING_FACE));
        }
        replace_parts(name, &PARTS)
    };
    let names: Vec<String> = tensors.keys().map(replace).collect();
    let renamed = names.iter().map(|name| mlp_layer(name, &names));
    renamed.zip(tensors.into_values()).collect()
}

fn replace_parts(name: String, parts: &[(&str, &str)]) -> String {
    parts.iter().fold(name, |name, (theirs, official)| {
        name.replacen(theirs, official, 1)
    })
}

/// The official name of an MLP's layer. `names` are all names with their parts replaced.
fn mlp_layer(name: &str, names: &[String]) -> String {
    let heads = [
        "mask_decoder.output_hypernetworks_mlps.",
        "mask_decoder.iou_prediction_head.",
        "mask_decoder.pred_obj_score_head.",
        "mask_decoder.hf_mlp.",
    ];
    let is_of_head = heads.iter().any(|head| name.starts_with(head));
    let Some((mlp, layer)) = name.split_once(".layers.").filter(|_| is_of_head) else {
        return name.to_owned();
    };
    let Some((layer, rest)) = layer.split_once('.') else {
        return name.to_owned();
    };
    let index = match layer {
        "first" => Some(0),
        "last" => {
            let between = format!("{mlp}.layers.");
            let is_between = |name: &&String| {
                let layer = name
                    .strip_prefix(&between)
                    .and_then(|rest| rest.split_once('.'));
                layer.is_some_and(|(layer, it)| it == rest && layer.parse::<usize>().is_ok())
            };
            Some(1 + names.iter().filter(is_between).count())
        }
        number => number.parse::<usize>().ok().map(|number| number + 1),
    };
    match index {
        Some(index) => format!("{mlp}.layers.{index}.{rest}"),
        None => name.to_owned(),
    }
}
