//! `rle_intersection_area(mask, mask) -> BIGINT`: shared pixels.

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
        "Number of pixels that two masks of one image share.",
        "rle_intersection_area(mask, mask)",
    )
    .with_argument("first", "A mask: {height, width, counts}.")
    .with_argument("second", "A mask of the same size.")
    .build();
    RleFunction {
        name: "rle_intersection_area",
        masks: 2,
        takes_flag: false,
        return_type: DataType::Int64,
        kernel,
        documentation,
        signature: RleFunction::any_masks(),
    }
    .into()
}

fn kernel(arguments: &MaskArguments) -> Result<ArrayRef, DataFusionError> {
    let areas = arguments.map_pairs(|_, left, right| {
        left.intersection_area(right)
            .map(|area| i64::try_from(area).unwrap_or(i64::MAX))
    });
    Ok(Arc::new(areas.collect::<Result<Int64Array, _>>()?))
}
