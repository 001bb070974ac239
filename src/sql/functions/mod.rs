//! SQL functions over masks, embeddings and detections, one per file.
//!
//! A mask is the struct `{height INT, width INT, counts TEXT}` of `schemas/README.md`; a function of a null mask is
//! null. Except for `rle_decode_png`, all functions of masks work on run lengths without decoding them to pixels.

mod accumulate_matches;
mod aggregate;
mod arguments;
mod bootstrap_weight;
mod cosine_similarity;
mod embedding_mean;
mod kept_rows;
mod mask_shape;
mod match_detections;
mod pixel_confusion;
mod rle_area;
mod rle_bbox;
mod rle_boundary;
mod rle_decode_png;
mod rle_difference;
mod rle_from_bbox;
mod rle_function;
mod rle_intersection;
mod rle_intersection_area;
mod rle_iou;
mod rle_is_valid;
mod rle_overlap;
mod rle_union;
mod semantic_map;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};
use datafusion::prelude::SessionContext;

pub(crate) use mask_shape::mask_shapes;

/// Registers every function with a session.
pub fn register(context: &SessionContext) {
    for function in scalars() {
        context.register_udf(function);
    }
    for function in aggregates() {
        context.register_udaf(function);
    }
}

/// The functions of a row.
pub(crate) fn scalars() -> Vec<ScalarUDF> {
    vec![
        bootstrap_weight::function(),
        cosine_similarity::function(),
        mask_shape::function(),
        match_detections::function(),
        rle_area::function(),
        rle_bbox::function(),
        rle_boundary::function(),
        rle_decode_png::function(),
        rle_difference::function(),
        rle_from_bbox::function(),
        rle_intersection::function(),
        rle_intersection_area::function(),
        rle_iou::function(),
        rle_is_valid::function(),
    ]
}

/// The functions of many rows.
pub(crate) fn aggregates() -> Vec<AggregateUDF> {
    vec![
        accumulate_matches::function(),
        embedding_mean::function(),
        pixel_confusion::function(),
        rle_overlap::function(),
        rle_union::function(),
        semantic_map::function(),
    ]
}
