//! `rle_iou(detection, ground_truth[, iscrowd]) -> DOUBLE`: the same as `pycocotools.mask.iou`.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::Float64Array;
use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{DocSection, Documentation, ScalarUDF};

use super::rle_function::{MaskArguments, RleFunction};

pub(super) fn function() -> ScalarUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Intersection over union of two masks of one image, in [0, 1]; with a third argument true, over the area of the first alone (COCO's rule for crowds).",
        "rle_iou(detection, ground_truth[, iscrowd])",
    )
    .with_argument("first", "A mask: {height, width, counts}.")
        .with_argument("second", "A mask of the same size.")
    .build();
    RleFunction {
        name: "rle_iou",
        masks: 2,
        takes_flag: true,
        return_type: DataType::Float64,
        kernel,
        documentation,
        signature: RleFunction::any_masks(),
    }
    .into()
}

fn kernel(arguments: &MaskArguments) -> Result<ArrayRef, DataFusionError> {
    let ious = arguments.map_pairs(|row, detection, ground_truth| {
        if arguments.flag(row) {
            detection.crowd_iou(ground_truth)
        } else {
            detection.iou(ground_truth)
        }
    });
    Ok(Arc::new(ious.collect::<Result<Float64Array, _>>()?))
}
