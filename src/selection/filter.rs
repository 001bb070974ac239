//! The filter of images that every verb takes.

use std::collections::HashSet;

use datafusion::error::DataFusionError;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use datafusion::sql::unparser::expr_to_sql;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::catalogue::{find_dataset, find_split};
use crate::ids::ImageId;
use crate::schema::Table;
use crate::sql::Sql;
use crate::store::Snapshot;
use crate::store::is_of_images;
use crate::store::rows::decode;

/// Selects the images that satisfy everything that is given. By default, it selects all images.
///
/// ```
/// use grainstore::selection::ImageFilter;
///
/// let test = ImageFilter::split("test").and_where("width >= 640");
/// assert_eq!(test.condition.as_deref(), Some("width >= 640"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImageFilter {
    /// Only images of this data set.
    pub dataset: Option<String>,
    /// Only images of this split.
    pub split: Option<String>,
    /// Only images that satisfy this condition, SQL over the columns of `images`.
    pub condition: Option<String>,
    /// Only these images.
    pub ids: Option<Vec<ImageId>>,
}

impl ImageFilter {
    /// Every image.
    pub fn all() -> Self {
        Self::default()
    }

    /// The images of a data set.
    pub fn dataset(name: impl Into<String>) -> Self {
        Self {
            dataset: Some(name.into()),
            ..Self::default()
        }
    }

    /// The images of a split.
    pub fn split(name: impl Into<String>) -> Self {
        Self {
            split: Some(name.into()),
            ..Self::default()
        }
    }

    /// The images for which a condition in SQL holds.
    pub fn matching(condition: impl Into<String>) -> Self {
        Self::default().and_where(condition)
    }

    /// Adds a condition in SQL that the images must satisfy. It replaces an earlier condition.
    #[must_use]
    pub fn and_where(self, condition: impl Into<String>) -> Self {
        Self {
            condition: Some(condition.into()),
            ..self
        }
    }

    /// Checks that the data set and the split exist.
    ///
    /// # Errors
    /// [`crate::error::CatalogueError`] if one does not; errors from the store.
    pub async fn check(&self, snapshot: &Snapshot) -> Result<()> {
        if let Some(dataset) = &self.dataset {
            find_dataset(snapshot, dataset).await?;
        }
        if let Some(split) = &self.split {
            find_split(snapshot, split).await?;
        }
        Ok(())
    }

    /// The filter as one condition in SQL over the columns of `images`; `None` if it selects all images.
    ///
    /// # Errors
    /// [`crate::Error::DataFusion`] if the condition is not one expression, or a value cannot be written in SQL.
    pub fn to_sql(&self) -> Result<Option<String>> {
        let mut parts = Vec::new();
        let text = |expr: Expr| Ok::<_, crate::Error>(expr_to_sql(&expr)?.to_string());
        for (column, value) in [("dataset", &self.dataset), ("split", &self.split)] {
            if let Some(value) = value {
                parts.push(text(col(column).eq(lit(value.as_str())))?);
            }
        }
        if let Some(ids) = &self.ids {
            parts.push(text(is_of_images(ids))?);
        }
        if let Some(condition) = &self.condition {
            check_expression(condition)?;
            // The line break ends a comment at the end of the condition.
            parts.push(format!("({condition}\n)"));
        }
        Ok((!parts.is_empty()).then(|| parts.join(" AND ")))
    }

    /// The ids of the selected images; `None` for a filter that selects every image.
    ///
    /// # Errors
    /// As [`ImageFilter::image_ids`].
    pub(crate) async fn chosen_ids(&self, snapshot: &Snapshot) -> Result<Option<HashSet<ImageId>>> {
        if *self == Self::default() {
            return Ok(None);
        }
        self.image_ids(snapshot).await.map(Some)
    }

    /// The ids of the selected images.
    ///
    /// # Errors
    /// As [`ImageFilter::check`]; [`crate::Error::DataFusion`] for a condition that cannot be planned.
    pub async fn image_ids(&self, snapshot: &Snapshot) -> Result<HashSet<ImageId>> {
        #[derive(Deserialize)]
        struct Found {
            image_id: ImageId,
            dataset: String,
            split: Option<String>,
        }
        self.check(snapshot).await?;
        let columns = ["image_id", "dataset", "split"];
        let condition = self.condition.as_deref();
        let sql = Sql::new(snapshot).await?;
        let mut rows = sql.select(Table::Images, &columns, condition).await?;
        let mut found = HashSet::new();
        while let Some(batch) = rows.next().await? {
            let rows = decode::<Found>(Table::Images, &batch)?.into_iter();
            let rows =
                rows.filter(|row| self.holds(&row.image_id, &row.dataset, row.split.as_deref()));
            found.extend(rows.map(|row| row.image_id));
        }
        Ok(found)
    }

    /// Whether an image that satisfies the condition is selected.
    pub(super) fn holds(&self, id: &ImageId, dataset: &str, split: Option<&str>) -> bool {
        let is_wanted = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        is_wanted(&self.dataset, Some(dataset))
            && is_wanted(&self.split, split)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(id))
    }
}

/// Checks that a condition is one expression, so that it cannot end the brackets around it.
fn check_expression(condition: &str) -> Result<()> {
    let parse = || {
        let mut parser = Parser::new(&GenericDialect {}).try_with_sql(condition)?;
        parser.parse_expr()?;
        parser.expect_token(&Token::EOF).map(drop)
    };
    parse().map_err(|err| crate::Error::from(DataFusionError::from(err)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_stays_within_its_brackets() {
        let sql = |condition| ImageFilter::split("x").and_where(condition).to_sql();
        assert_eq!(
            sql("width > 3 -- wide").unwrap().unwrap(),
            "(split = 'x') AND (width > 3 -- wide\n)"
        );
        for condition in ["1=1) OR (true", "true; DROP TABLE images", "", "width >"] {
            assert!(sql(condition).is_err(), "{condition}");
        }
    }
}
