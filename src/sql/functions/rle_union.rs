//! `rle_union(mask)`: aggregate; every pixel that any mask of the group has, as a mask.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Accumulator, AggregateUDF, Volatility, create_udaf};

use super::rle_column::{RleBuilder, RleColumn, in_row, rle_type};
use crate::geometry::Rle;

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

pub(super) fn function() -> AggregateUDF {
    create_udaf(
        "rle_union",
        vec![rle_type()],
        Arc::new(rle_type()),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::new(Union::default()))),
        Arc::new(vec![rle_type()]),
    )
}

/// The union so far; none before the first mask, and null for a group without any.
#[derive(Debug, Default)]
struct Union {
    mask: Option<Rle>,
}

impl Accumulator for Union {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else {
            return Ok(());
        };
        let column = RleColumn::new(values)?;
        for row in 0..values.len() {
            let Some(mask) = column.get(row)? else {
                continue;
            };
            self.mask = Some(match self.mask.take() {
                None => mask,
                Some(union) => union
                    .union(&mask)
                    .map_err(|err| in_row(row, &format!("rle_union: {err}")))?,
            });
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut result = RleBuilder::with_capacity(1);
        result.append(self.mask.as_ref());
        ScalarValue::try_from_array(&result.finish(), 0)
    }

    fn size(&self) -> usize {
        let runs = self.mask.as_ref().map_or(0, |mask| mask.runs().len());
        size_of_val(self) + runs * size_of::<u32>()
    }
}
