//! `rle_overlap(mask)`: aggregate; every pixel that is in more than one mask of the group, as a mask.

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

const NAME: &str = "rle_overlap";

pub(super) fn function() -> AggregateUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Every pixel that more than one mask of the group has, as a mask; null for a group without masks.",
        "rle_overlap(mask)",
    )
    .with_argument("mask", "A mask; all of a group are of one size.")
    .build();
    Aggregate {
        name: NAME,
        result: mask_of,
        accumulator: |_| Box::new(Overlap::default()),
        state: |_| {
            let field = |name| Arc::new(Field::new(name, rle_type(), true));
            vec![field("once"), field("twice")]
        },
        documentation,
    }
    .into()
}

/// Pixels that are in one mask or more, and pixels that are in two or more; `None` before the first mask.
#[derive(Debug, Default)]
struct Overlap {
    found: Option<[Rle; 2]>,
}

impl Overlap {
    fn add(&mut self, once: Rle, twice: Rle) -> crate::Result<()> {
        self.found = Some(match self.found.take() {
            None => [once, twice],
            Some([had_once, had_twice]) => {
                let both = had_once.intersection(&once)?;
                [
                    had_once.union(&once)?,
                    had_twice.union(&twice)?.union(&both)?,
                ]
            }
        });
        Ok(())
    }

    fn update(&mut self, masks: &ArrayRef) -> Result<()> {
        let column = RleColumn::new(masks)?;
        for row in 0..masks.len() {
            if let Some(mask) = column.get(row)? {
                let none = Rle::empty(mask.size()).map_err(|err| error_in_row(row, &err))?;
                self.add(mask, none)
                    .map_err(|err| error_in_row(row, &err))?;
            }
        }
        Ok(())
    }

    fn merge(&mut self, once: &ArrayRef, twice: &ArrayRef) -> Result<()> {
        let (first, second) = (RleColumn::new(once)?, RleColumn::new(twice)?);
        for row in 0..once.len() {
            if let (Some(once), Some(twice)) = (first.get(row)?, second.get(row)?) {
                self.add(once, twice)
                    .map_err(|err| error_in_row(row, &err))?;
            }
        }
        Ok(())
    }

    fn once(&self) -> Option<&Rle> {
        self.found.as_ref().map(|[once, _]| once)
    }

    fn twice(&self) -> Option<&Rle> {
        self.found.as_ref().map(|[_, twice]| twice)
    }
}

fn scalar(mask: Option<&Rle>) -> Result<ScalarValue> {
    let mut result = RleBuilder::with_capacity(1);
    result.append(mask);
    ScalarValue::try_from_array(&result.finish(), 0)
}

impl Accumulator for Overlap {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        match values {
            [masks, ..] => self.update(masks).map_err(|err| named(NAME, err)),
            [] => Ok(()),
        }
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        match states {
            [once, twice, ..] => self.merge(once, twice).map_err(|err| named(NAME, err)),
            _ => Ok(()),
        }
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![scalar(self.once())?, scalar(self.twice())?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        scalar(self.twice())
    }

    fn size(&self) -> usize {
        let masks = self.found.iter().flatten();
        size_of_val(self) + masks.map(|mask| mask.runs().len()).sum::<usize>() * size_of::<u32>()
    }
}
