//! `rle_from_bbox(bbox, height, width) -> mask`: the pixels of a box.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::arguments::{error_in_row, named};
use super::rle_function::wrong_arguments;
use crate::geometry::{Size, rle_from_polygon};
use crate::schema::list_item;
use crate::store::columns::{RleBuilder, rle_type};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

const NAME: &str = "rle_from_bbox";

static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
    Documentation::builder(
        DocSection::default(),
        "The pixels of a box, as pycocotools' frPyObjects draws it; null if an argument is null.",
        "rle_from_bbox(bbox, height, width)",
    )
    .with_argument("bbox", "x, y, width and height in pixels.")
    .with_argument("height", "Height of the image, pixels.")
    .with_argument("width", "Width of the image, pixels.")
    .build()
});

pub(super) fn function() -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    RleFromBbox { signature }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RleFromBbox {
    signature: Signature,
}

fn bbox_type() -> DataType {
    DataType::FixedSizeList(list_item(DataType::Float64), 4)
}

impl ScalarUDFImpl for RleFromBbox {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let is_list = |t: &DataType| {
            matches!(
                t,
                DataType::FixedSizeList(..)
                    | DataType::List(_)
                    | DataType::LargeList(_)
                    | DataType::Null
            )
        };
        let is_side = |t: &DataType| t.is_integer() || t == &DataType::Null;
        match given {
            [bbox, height, width] if is_list(bbox) && is_side(height) && is_side(width) => {
                Ok(vec![bbox_type(), DataType::Int32, DataType::Int32])
            }
            _ => Err(wrong_arguments(NAME, &DOCUMENTATION, given)),
        }
    }

    fn return_type(&self, _given: &[DataType]) -> Result<DataType> {
        Ok(rle_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let masks = masks(&args).map_err(|err| named(NAME, err))?;
        Ok(ColumnarValue::Array(masks))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

fn masks(args: &ScalarFunctionArgs) -> Result<ArrayRef> {
    let column = |at: usize, data_type: &DataType| -> Result<ArrayRef> {
        let value = args.args.get(at);
        let value = value.ok_or_else(|| DataFusionError::Execution("expected three".to_owned()))?;
        Ok(cast(&value.to_array(args.number_rows)?, data_type)?)
    };
    let boxes = column(0, &bbox_type())?;
    let boxes: &FixedSizeListArray = boxes.as_fixed_size_list();
    let (heights, widths) = (column(1, &DataType::Int32)?, column(2, &DataType::Int32)?);
    let heights = heights.as_primitive::<Int32Type>();
    let widths = widths.as_primitive::<Int32Type>();
    let mut masks = RleBuilder::with_capacity(args.number_rows);
    for row in 0..args.number_rows {
        if boxes.is_null(row) || heights.is_null(row) || widths.is_null(row) {
            masks.append(None);
            continue;
        }
        let numbers = boxes.value(row);
        let numbers = numbers.as_primitive::<Float64Type>();
        let sides = (
            u32::try_from(heights.value(row)),
            u32::try_from(widths.value(row)),
        );
        let ([x, y, width, height], (Ok(rows), Ok(columns))) = (
            <[f64; 4]>::try_from(numbers.values().as_ref()).unwrap_or([f64::NAN; 4]),
            sides,
        ) else {
            return Err(DataFusionError::Execution(format!(
                "row {row}: an image of {} x {} pixels",
                heights.value(row),
                widths.value(row)
            )));
        };
        let size = Size {
            height: rows,
            width: columns,
        };
        let (right, bottom) = (x + width, y + height);
        let outline = [x, y, x, bottom, right, bottom, right, y];
        let mask = rle_from_polygon(&outline, size).map_err(|err| error_in_row(row, &err))?;
        masks.append(Some(&mask));
    }
    Ok(Arc::new(masks.finish()))
}
