//! `rle_union(mask)`: aggregate; every pixel that is in any mask of the group, as a mask.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Fields};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{AggregateUDF, DocSection, Documentation};

use super::aggregate::Aggregate;
use super::arguments::{error_in_row, mask_of};
use super::kept_rows::{Groups, OfRows};
use crate::geometry::Rle;
use crate::store::columns::{RleBuilder, RleColumn, rle_type};

type Result<T, E = DataFusionError> = std::result::Result<T, E>;

pub(super) fn function() -> AggregateUDF {
    let documentation = Documentation::builder(
        DocSection::default(),
        "Every pixel that any mask of the group has, as a mask; null for a group without masks.",
        "rle_union(mask)",
    )
    .with_argument("mask", "A mask; all of a group are of one size.")
    .build();
    Aggregate::of_rows::<Union>(mask_of, documentation).into()
}

#[derive(Debug)]
struct Union;

impl OfRows for Union {
    const NAME: &'static str = "rle_union";
    const FOLDS: bool = true;

    fn fields() -> Fields {
        Fields::from(vec![Field::new("mask", rle_type(), true)])
    }

    fn kept(given: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        let masks = given.iter().map(RleColumn::new);
        let masks = masks.map(|masks| Ok(Arc::new(masks?.into_array()) as ArrayRef));
        masks.collect()
    }

    fn values(groups: &Groups) -> Result<ArrayRef> {
        let [masks] = groups.columns()?;
        let masks = RleColumn::new(masks)?;
        let mut unions = RleBuilder::with_capacity(groups.iter().len());
        for rows in groups.iter() {
            let first = rows.start;
            let mut of_group = Vec::with_capacity(rows.len());
            for row in rows {
                of_group.extend(masks.get(row)?);
            }
            let union = of_group.first().map(|one| {
                let union = Rle::union_all(one.size(), &of_group);
                union.map_err(|err| error_in_row(first, &err))
            });
            unions.append(union.transpose()?.as_ref());
        }
        Ok(Arc::new(unions.finish()))
    }

    fn folded(groups: &Groups) -> Result<Vec<ArrayRef>> {
        Ok(vec![Self::values(groups)?])
    }
}
