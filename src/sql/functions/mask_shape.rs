//! `mask_shape(mask, predicted_iou, stability_score) -> FLOAT[6]`: six numbers about a mask that heads can read.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, DocSection, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};

use super::arguments::named;
use super::rle_function::wrong_arguments;
use crate::geometry::Rle;
use crate::schema::list_item;
use crate::store::columns::{RleColumn, is_rle};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

const NAME: &str = "mask_shape";
/// Numbers per mask.
const NUMBERS: usize = 6;

static DOCUMENTATION: std::sync::LazyLock<Documentation> = std::sync::LazyLock::new(|| {
    Documentation::builder(
        DocSection::default(),
        "Six numbers about a mask: the logarithm of its share of the image (-20 if it is empty), the width and the height \
         of its box as shares of the image's, 1 if the box touches the image's edge and else 0, the predicted IoU and the \
         stability score, each 0 if it is null.",
        "mask_shape(mask, predicted_iou, stability_score)",
    )
    .with_argument("mask", "A mask: {height, width, counts}.")
    .with_argument("predicted_iou", "masks.predicted_iou.")
    .with_argument("stability_score", "masks.stability_score.")
    .build()
});

pub(super) fn function() -> ScalarUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    MaskShape { signature }.into()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MaskShape {
    signature: Signature,
}

fn shape_type() -> DataType {
    DataType::FixedSizeList(list_item(DataType::Float32), NUMBERS as i32)
}

impl ScalarUDFImpl for MaskShape {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        Ok(given.to_vec())
    }

    fn return_type(&self, given: &[DataType]) -> Result<DataType> {
        let number = |t: &DataType| t.is_numeric() || t == &DataType::Null;
        match given {
            [mask, iou, stability] if is_rle(mask) && number(iou) && number(stability) => {
                Ok(shape_type())
            }
            _ => Err(wrong_arguments(NAME, &DOCUMENTATION, given)),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let columns: Result<Vec<ArrayRef>> =
            args.args.iter().map(|value| value.to_array(rows)).collect();
        let found = match &columns?[..] {
            [masks, iou, stability] => {
                mask_shapes(&[masks.clone(), iou.clone(), stability.clone()])
            }
            _ => Err(DataFusionError::Execution(
                "expected three arguments".to_owned(),
            )),
        };
        Ok(ColumnarValue::Array(found.map_err(|err| named(NAME, err))?))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(&DOCUMENTATION)
    }
}

/// The six numbers of each row of a column of masks, with their predicted IoUs and stability scores.
pub(crate) fn mask_shapes([masks, iou, stability]: &[ArrayRef; 3]) -> Result<ArrayRef> {
    let rows = masks.len();
    let masks = RleColumn::new(masks)?;
    let quality = |column: &ArrayRef| -> Result<Float32Array> {
        let values = cast(column, &DataType::Float32)?;
        Ok(values.as_primitive::<Float32Type>().clone())
    };
    let (iou, stability) = (quality(iou)?, quality(stability)?);
    let value = |column: &Float32Array, row: usize| {
        let value = column.is_valid(row).then(|| column.value(row));
        value.unwrap_or(0.0)
    };
    let (mut numbers, mut valid) = (Vec::with_capacity(rows * NUMBERS), Vec::new());
    for row in 0..rows {
        let mask = masks.get(row)?;
        valid.push(mask.is_some());
        let [area, width, height, edge] = mask.as_ref().map_or([0.0; 4], shape);
        let quality = [value(&iou, row), value(&stability, row)];
        numbers.extend([area, width, height, edge].into_iter().chain(quality));
    }
    Ok(Arc::new(FixedSizeListArray::try_new(
        list_item(DataType::Float32),
        NUMBERS as i32,
        Arc::new(Float32Array::from(numbers)),
        Some(NullBuffer::from(valid)),
    )?))
}

/// Logarithm of the share of the image, width and height of the box as shares, and whether it touches the edge.
fn shape(mask: &Rle) -> [f32; 4] {
    /// The logarithm of nothing.
    const EMPTY: f64 = -20.0;
    let (size, bbox) = (mask.size(), mask.bbox());
    let (width, height) = (
        f64::from(size.width).max(1.0),
        f64::from(size.height).max(1.0),
    );
    let share = mask.area() as f64 / (width * height);
    let log = if share > 0.0 { share.ln() } else { EMPTY };
    let touches = bbox.x <= 0.0
        || bbox.y <= 0.0
        || bbox.x + bbox.width >= width
        || bbox.y + bbox.height >= height;
    let touches = f64::from(u8::from(touches && !mask.is_empty()));
    [log, bbox.width / width, bbox.height / height, touches].map(|number| number as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    #[test]
    fn a_shape_is_told_by_its_numbers() {
        let size = Size {
            height: 4,
            width: 8,
        };
        let mut bitmap = vec![0; 32];
        for at in [10, 11, 18, 19] {
            bitmap[at] = 1;
        }
        let square = Rle::from_row_major(size, &bitmap).unwrap();
        assert_eq!(shape(&square), [(4.0f32 / 32.0).ln(), 0.25, 0.5, 0.0]);
        assert_eq!(shape(&Rle::full(size).unwrap()), [0.0, 1.0, 1.0, 1.0]);
        assert_eq!(shape(&Rle::empty(size).unwrap())[0], -20.0);
    }
}
