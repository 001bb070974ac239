//! Arguments of table functions. DataFusion hands them over as expressions; those that are not literals by then are no
//! arguments.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float32Type};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Expr;

fn literal(argument: &Expr) -> Option<&ScalarValue> {
    match argument {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

/// Whether it is `NULL`.
pub(super) fn is_null(argument: &Expr) -> bool {
    literal(argument).is_some_and(ScalarValue::is_null)
}

/// A text.
pub(super) fn text(argument: &Expr) -> Option<String> {
    match literal(argument)? {
        ScalarValue::Utf8(text) | ScalarValue::LargeUtf8(text) | ScalarValue::Utf8View(text) => {
            text.clone()
        }
        _ => None,
    }
}

/// A whole number.
pub(super) fn whole(argument: &Expr) -> Option<i64> {
    let value = literal(argument)?;
    if !value.data_type().is_integer() {
        return None;
    }
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(number)) => number,
        _ => None,
    }
}

/// A list of numbers, none of them null.
pub(super) fn numbers(argument: &Expr) -> Option<Vec<f32>> {
    let first = |list: &dyn Array, value: &dyn Fn() -> ArrayRef| {
        (list.len() == 1 && !list.is_null(0)).then(value)
    };
    let values = match literal(argument)? {
        ScalarValue::List(list) => first(list.as_ref(), &|| list.value(0)),
        ScalarValue::LargeList(list) => first(list.as_ref(), &|| list.value(0)),
        ScalarValue::FixedSizeList(list) => first(list.as_ref(), &|| list.value(0)),
        _ => None,
    }?;
    if !values.data_type().is_numeric() || values.null_count() > 0 {
        return None;
    }
    let values = cast(&values, &DataType::Float32).ok()?;
    Some(values.as_primitive::<Float32Type>().values().to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{FixedSizeListArray, Float64Array, ListArray};
    use arrow::datatypes::{Float64Type, Int64Type};
    use datafusion::prelude::{col, lit};

    use super::*;
    use crate::schema::list_item;

    #[test]
    fn literals_are_read_and_other_expressions_are_not() {
        let null = Expr::Literal(ScalarValue::Null, None);
        assert_eq!(text(&lit("a")).as_deref(), Some("a"));
        assert_eq!(whole(&lit(7_i64)), Some(7));
        assert_eq!(whole(&lit(7_u8)), Some(7));
        assert!(is_null(&null));
        for other in [col("a"), lit(1.5), null] {
            assert_eq!((text(&other), whole(&other)), (None, None), "{other}");
            assert_eq!(numbers(&other), None, "{other}");
        }
        assert!(!is_null(&col("a")) && !is_null(&lit("a")));
    }

    #[test]
    fn lists_of_any_numbers_are_vectors() {
        let list = |array: ListArray| Expr::Literal(ScalarValue::List(Arc::new(array)), None);
        let doubles =
            ListArray::from_iter_primitive::<Float64Type, _, _>([Some([Some(0.5), Some(-1.0)])]);
        assert_eq!(numbers(&list(doubles)), Some(vec![0.5, -1.0]));
        let whole = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(3), Some(4)])]);
        assert_eq!(numbers(&list(whole)), Some(vec![3.0, 4.0]));
        let null = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(3), None])]);
        assert_eq!(numbers(&list(null)), None);
        let fixed = FixedSizeListArray::new(
            list_item(DataType::Float64),
            2,
            Arc::new(Float64Array::from(vec![1.0, 2.0])),
            None,
        );
        let fixed = Expr::Literal(ScalarValue::FixedSizeList(Arc::new(fixed)), None);
        assert_eq!(numbers(&fixed), Some(vec![1.0, 2.0]));
    }
}
