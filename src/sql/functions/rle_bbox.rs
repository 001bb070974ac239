//! `rle_bbox(mask) -> DOUBLE[4]`: x, y, width, height in pixels; all 0 for an empty mask.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::{FixedSizeListBuilder, Float64Builder};
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{DocSection, Documentation, ScalarUDF};

use super::rle_function::{MaskArguments, RleFunction};
use crate::schema::list_item;

pub(super) fn function() -> ScalarUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Bounding box of a mask: x, y, width, height in pixels (COCO XYWH).",
        "rle_bbox(mask)",
    )
    .with_argument("mask", "A mask: {height, width, counts}.")
    .build();
    RleFunction {
        name: "rle_bbox",
        masks: 1,
        takes_flag: false,
        return_type: bbox_type(),
        kernel,
        documentation,
        signature: RleFunction::any_masks(),
    }
    .into()
}

fn bbox_type() -> DataType {
    DataType::FixedSizeList(list_item(DataType::Float64), 4)
}

fn kernel(arguments: &MaskArguments) -> Result<ArrayRef, DataFusionError> {
    let mut boxes = FixedSizeListBuilder::new(Float64Builder::new(), 4);
    for bbox in arguments.map(|mask| mask.bbox().to_xywh()) {
        let bbox = bbox?;
        match bbox {
            Some(bbox) => boxes.values().append_slice(&bbox),
            None => boxes.values().append_nulls(4),
        }
        boxes.append(bbox.is_some());
    }
    Ok(Arc::new(boxes.finish()))
}
