//! `rle_difference(mask, mask)`: pixels of the first mask that are not in the second, as a mask.

use std::sync::Arc;

use arrow::array::ArrayRef;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{DocSection, Documentation, ScalarUDF};

use super::rle_function::{MaskArguments, RleFunction};
use crate::store::columns::{RleBuilder, rle_type};

pub(super) fn function() -> ScalarUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "The pixels of the first mask that are not in the second, as a mask.",
        "rle_difference(mask, mask)",
    )
    .with_argument("first", "A mask: {height, width, counts}.")
    .with_argument("second", "A mask of the same size.")
    .build();
    RleFunction {
        name: "rle_difference",
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
    for mask in arguments.map_pairs(|_, left, right| left.difference(right)) {
        masks.append(mask?.as_ref());
    }
    Ok(Arc::new(masks.finish()))
}
