//! `rle_is_valid(mask) -> BOOLEAN`: whether the mask can be read; the other functions fail if not.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::BooleanArray;
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{DocSection, Documentation, ScalarUDF};

use super::rle_function::{MaskArguments, RleFunction};

pub(super) fn function() -> ScalarUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Whether the counts of a mask can be read and fit its size; the other functions fail where not.",
        "rle_is_valid(mask)",
    )
    .with_argument("mask", "A mask: {height, width, counts}.")
    .build();
    RleFunction {
        name: "rle_is_valid",
        masks: 1,
        takes_flag: false,
        return_type: DataType::Boolean,
        kernel,
        documentation,
        signature: RleFunction::any_masks(),
    }
    .into()
}

fn kernel(arguments: &MaskArguments) -> Result<ArrayRef, DataFusionError> {
    Ok(Arc::new(arguments.validity().collect::<BooleanArray>()))
}
