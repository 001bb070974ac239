//! `rle_area(mask) -> BIGINT`: foreground pixels, 0 for an empty mask.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{DocSection, Documentation, ScalarUDF};

use super::rle_function::{MaskArguments, RleFunction};

pub(super) fn function() -> ScalarUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Number of foreground pixels of a mask.",
        "rle_area(mask)",
    )
    .with_argument("mask", "A mask: {height, width, counts}.")
    .build();
    RleFunction {
        name: "rle_area",
        masks: 1,
        takes_flag: false,
        return_type: DataType::Int64,
        kernel,
        documentation,
        signature: RleFunction::any_masks(),
    }
    .into()
}

fn kernel(arguments: &MaskArguments) -> Result<ArrayRef, DataFusionError> {
    let areas = arguments.map(|mask| i64::try_from(mask.area()).unwrap_or(i64::MAX));
    Ok(Arc::new(areas.collect::<Result<Int64Array, _>>()?))
}
