//! `rle_overlap(mask)`: aggregate; every pixel that is in more than one mask of the group, as a mask.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::datatypes::{Field, Fields};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{AggregateUDF, DocSection, Documentation};

use super::aggregate::Aggregate;
use super::arguments::{error_in_row, mask_of, missing_columns};
use super::kept_rows::{Groups, OfRows};
use crate::geometry::Rle;
use crate::store::columns::{RleBuilder, RleColumn, rle_type};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

pub(super) fn function() -> AggregateUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Every pixel that more than one mask of the group has, as a mask; null for a group without masks.",
        "rle_overlap(mask)",
    )
    .with_argument("mask", "A mask; all of a group are of one size.")
    .build();
    Aggregate::of_rows::<Overlap>(mask_of, documentation).into()
}

/// Pixels that are in one mask or more, and pixels that are in two or more.
#[derive(Debug)]
struct Overlap;

/// What some masks cover, and what they cover twice.
struct Covered {
    once: Rle,
    twice: Rle,
}

impl Covered {
    fn and(self, other: &Self) -> crate::Result<Self> {
        let both = self.once.intersection(&other.once)?;
        Ok(Self {
            once: self.once.union(&other.once)?,
            twice: self.twice.union(&other.twice)?.union(&both)?,
        })
    }
}

impl OfRows for Overlap {
    const NAME: &'static str = "rle_overlap";
    const FOLDS: bool = true;

    /// `twice` is null in the row of a mask.
    fn fields() -> Fields {
        let field = |name| Field::new(name, rle_type(), true);
        Fields::from(vec![field("once"), field("twice")])
    }

    fn kept(given: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        for masks in given {
            columns.push(Arc::new(RleColumn::new(masks)?.into_array()));
            columns.push(new_null_array(&rle_type(), masks.len()));
        }
        Ok(columns)
    }

    fn values(groups: &Groups) -> Result<ArrayRef> {
        let mut folded = Self::folded(groups)?;
        folded.pop().ok_or_else(missing_columns)
    }

    fn folded(groups: &Groups) -> Result<Vec<ArrayRef>> {
        let [once, twice] = groups.columns()?;
        let (once, twice) = (RleColumn::new(once)?, RleColumn::new(twice)?);
        let count = groups.iter().len();
        let (mut all, mut shared) = (
            RleBuilder::with_capacity(count),
            RleBuilder::with_capacity(count),
        );
        for rows in groups.iter() {
            let mut covered: Option<Covered> = None;
            for row in rows {
                let Some(mask) = once.get(row)? else {
                    continue;
                };
                let twice = match twice.get(row)? {
                    Some(twice) => twice,
                    None => Rle::empty(mask.size()).map_err(|err| error_in_row(row, &err))?,
                };
                let new = Covered { once: mask, twice };
                covered = Some(match covered {
                    None => new,
                    Some(covered) => covered.and(&new).map_err(|err| error_in_row(row, &err))?,
                });
            }
            all.append(covered.as_ref().map(|it| &it.once));
            shared.append(covered.as_ref().map(|it| &it.twice));
        }
        Ok(vec![Arc::new(all.finish()), Arc::new(shared.finish())])
    }
}
