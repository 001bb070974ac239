//! `rle_boundary(mask) -> mask`: the part of a mask near its outline, as Boundary IoU defines it.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{DocSection, Documentation, ScalarUDF};

use super::rle_function::{MaskArguments, RleFunction};
use crate::geometry::BOUNDARY_RATIO;
use crate::store::columns::{RleBuilder, rle_type};

pub(super) fn function() -> ScalarUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "The pixels of a mask that are within 2 % of the image's diagonal (at least 1 pixel) of its outline, as a mask: \
         what Boundary IoU compares.",
        "rle_boundary(mask)",
    )
    .with_argument("mask", "A mask: {height, width, counts}.")
    .build();
    RleFunction {
        name: "rle_boundary",
        masks: 1,
        takes_flag: false,
        return_type: rle_type(),
        kernel,
        documentation,
        signature: RleFunction::any_masks(),
    }
    .into()
}

fn kernel(arguments: &MaskArguments) -> Result<ArrayRef, DataFusionError> {
    let mut result = RleBuilder::with_capacity(arguments.rows());
    for mask in arguments.map(|mask| {
        let distance = mask.size().boundary_distance(BOUNDARY_RATIO);
        mask.boundary(distance)
    }) {
        result.append(mask?.as_ref());
    }
    Ok(Arc::new(result.finish()))
}
