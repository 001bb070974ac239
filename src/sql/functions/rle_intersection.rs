//! `rle_intersection(mask, mask)`: shared pixels, as a mask.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{DocSection, Documentation, ScalarUDF};

use super::rle_function::{MaskArguments, RleFunction};
use crate::store::columns::{RleBuilder, rle_type};

pub(super) fn function() -> ScalarUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "The pixels that two masks of one image share, as a mask.",
        "rle_intersection(mask, mask)",
    )
    .with_argument("first", "A mask: {height, width, counts}.")
    .with_argument("second", "A mask of the same size.")
    .build();
    RleFunction {
        name: "rle_intersection",
        masks: 2,
        takes_flag: false,
        return_type: rle_type(),
        kernel,
        documentation,
        signature: RleFunction::any_masks(),
    }
    .into()
}

fn kernel(arguments: &MaskArguments) -> Result<ArrayRef, DataFusionError> {
    let mut masks = RleBuilder::with_capacity(arguments.rows());
    for mask in arguments.map_pairs(|_, left, right| left.intersection(right)) {
        masks.append(mask?.as_ref());
    }
    Ok(Arc::new(masks.finish()))
}
