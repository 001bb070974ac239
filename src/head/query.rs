//! The SELECT that a head is trained on.

use std::collections::HashSet;
use std::ops::ControlFlow;

use datafusion::functions_aggregate::expr_fn::count_distinct;
use datafusion::prelude::col;
use datafusion::sql::sqlparser::ast::{
    Expr, Query as Select, SetExpr, Statement, TableFactor, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use serde::Deserialize;

use crate::ids::{ExtractorId, ImageId};
use crate::query::Query;
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::sql::{Rows, Sql};
use crate::store::Snapshot;
use crate::store::rows::decode;
use crate::{Error, Result};

/// Default condition for the images that heads are trained on: SQL over `images`.
pub const DEFAULT_CONDITION: &str = "source IN ('web', 'synthetic')";

/// A SELECT that yields masks with their labels, as text that can be run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingQuery {
    text: String,
}

impl TrainingQuery {
    /// Creates a query from the user's own SQL; [`super::Bags::read`] says which columns it must yield.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.trim().trim_end_matches(';').to_owned(),
        }
    }

    /// Selects every mask that an extractor found in the labelled images that match a filter, or [`DEFAULT_CONDITION`]
    /// if there is none.
    ///
    /// # Errors
    /// [`Error::DataFusion`] for a condition that is no expression over `images`.
    pub async fn of_images(
        snapshot: &Snapshot,
        extractor_id: &ExtractorId,
        images: Option<&ImageFilter>,
    ) -> Result<Self> {
        let condition = match images {
            None => None,
            Some(images) => {
                images.check(snapshot).await?;
                let condition = images.to_sql()?;
                // Planned on its own first, so that only an expression can get into the query.
                let sql = Sql::new(snapshot).await?;
                sql.select(Table::Images, &["image_id"], condition.as_deref())
                    .await?;
                Some(condition.unwrap_or_else(|| "true".to_owned()))
            }
        };
        let text = filled(
            Query::named("train/bags")?.sql(),
            extractor_id,
            condition.as_deref(),
        )?;
        Ok(Self::new(&text))
    }

    /// The text of the SELECT.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Runs the query and returns its rows.
    ///
    /// # Errors
    /// As [`Sql::query`].
    pub async fn rows(&self, snapshot: &Snapshot) -> Result<Rows> {
        Sql::new(snapshot).await?.query(&self.text).await
    }

    /// The images that the query yields and the number of their masks, without reading the embeddings.
    ///
    /// # Errors
    /// As [`Sql::query`].
    pub async fn images(&self, snapshot: &Snapshot) -> Result<(HashSet<ImageId>, u64)> {
        #[derive(Deserialize)]
        struct Found {
            image_id: ImageId,
            masks: i64,
        }
        let sql = Sql::new(snapshot).await?;
        let masks = count_distinct(col("mask_index")).alias("masks");
        let frame = sql.frame(&self.text).await?;
        let mut rows = Rows::of(frame.aggregate(vec![col("image_id")], vec![masks])?).await?;
        let (mut images, mut masks) = (HashSet::new(), 0);
        while let Some(batch) = rows.next().await? {
            for found in decode::<Found>(Table::Masks, &batch)? {
                images.insert(found.image_id);
                masks += u64::try_from(found.masks).unwrap_or(0);
            }
        }
        Ok((images, masks))
    }
}

/// The query `train/bags` as text that can be run again: with the extractor's id in place of its parameter and, if one
/// is given, another condition on the images.
fn filled(template: &str, extractor_id: &ExtractorId, condition: Option<&str>) -> Result<String> {
    let parsed = |err: ParserError| Error::Query {
        query: "train/bags".to_owned(),
        reason: err.to_string(),
    };
    let dialect = GenericDialect {};
    let mut statements = Parser::parse_sql(&dialect, template).map_err(parsed)?;
    let condition = condition.map(|text| {
        let parser = Parser::new(&dialect).try_with_sql(text);
        parser.and_then(|mut parser| parser.parse_expr())
    });
    let mut filling = Filling {
        extractor_id: extractor_id.as_str(),
        condition: condition.transpose().map_err(parsed)?,
        extractors: 0,
        conditions: 0,
    };
    let Some(statement @ Statement::Query(_)) = statements.first_mut() else {
        return Err(Error::Internal {
            what: "train/bags is no SELECT",
        });
    };
    let _ = statement.visit(&mut filling);
    match (filling.extractors, filling.conditions) {
        (1, 1) => Ok(format!("{statement:#}")),
        _ => Err(Error::Internal {
            what: "train/bags has not one place for the extractor, and one for the condition on images",
        }),
    }
}

struct Filling<'a> {
    extractor_id: &'a str,
    condition: Option<Expr>,
    extractors: u32,
    conditions: u32,
}

impl VisitorMut for Filling<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Select) -> ControlFlow<()> {
        if let SetExpr::Select(select) = query.body.as_mut()
            && let [from] = &select.from[..]
            && let TableFactor::Table { name, .. } = &from.relation
            && name.to_string() == Table::Images.name()
        {
            self.conditions += 1;
            if let Some(condition) = &self.condition {
                select.selection = Some(condition.clone());
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::Value(value) = expr
            && matches!(&value.value, Value::Placeholder(name) if name == "$extractor")
        {
            self.extractors += 1;
            value.value = Value::SingleQuotedString(self.extractor_id.to_owned());
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_on_images_is_replaced_however_it_is_spelt() {
        let id = ExtractorId::of_bytes(b"extractor");
        let template = Query::named("train/bags").unwrap().sql().to_owned();
        for template in [
            template.clone(),
            template.replace("source IN", "source   IN\n"),
        ] {
            let plain = filled(&template, &id, None).unwrap();
            assert!(
                plain.contains(id.as_str()) && !plain.contains('$'),
                "{plain}"
            );
            assert!(plain.contains("source IN"), "{plain}");
            let other = filled(&template, &id, Some("split = 'train' -- mine")).unwrap();
            assert!(other.contains("split = 'train'"), "{other}");
            assert!(!other.contains("source IN"), "{other}");
        }
        assert!(filled("SELECT 1", &id, None).is_err());
    }
}
