//! `rle_union(mask)`: aggregate; every pixel that is in any mask of the group, as a mask.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::Field;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Accumulator, AggregateUDF, DocSection, Documentation};

use super::aggregate::Aggregate;
use super::arguments::{error_in_row, mask_of, named};
use crate::geometry::Rle;
use crate::store::columns::{RleBuilder, RleColumn, rle_type};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

const NAME: &str = "rle_union";

pub(super) fn function() -> AggregateUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Every pixel that any mask of the group has, as a mask; null for a group without masks.",
        "rle_union(mask)",
    )
    .with_argument("mask", "A mask; all of a group are of one size.")
    .build();
    Aggregate {
        name: NAME,
        result: mask_of,
        accumulator: |_| Box::new(Union::default()),
        state: |_| vec![Arc::new(Field::new("union", rle_type(), true))],
        documentation,
    }
    .into()
}

/// The union so far; `None` before the first mask, so that a group without masks gives null.
#[derive(Debug, Default)]
struct Union {
    mask: Option<Rle>,
}

impl Union {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let column = RleColumn::new(values)?;
        for row in 0..values.len() {
            let Some(mask) = column.get(row)? else {
                continue;
            };
            self.mask = Some(match self.mask.take() {
                None => mask,
                Some(union) => union.union(&mask).map_err(|err| error_in_row(row, &err))?,
            });
        }
        Ok(())
    }
}

impl Accumulator for Union {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else {
            return Ok(());
        };
        self.add(values).map_err(|err| named(NAME, err))
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
