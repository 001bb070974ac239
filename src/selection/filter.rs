//! The filter that every verb takes.

use std::collections::HashSet;

use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
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

/// Which images: those for which all that is given holds. By default all.
///
/// ```
/// use grainstore::selection::ImageFilter;
///
/// let test = ImageFilter::split("test").and_where("width >= 640");
/// assert_eq!(test.condition.as_deref(), Some("width >= 640"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImageFilter {
    /// Images of this data set.
    pub dataset: Option<String>,
    /// Images of this split.
    pub split: Option<String>,
    /// SQL over the columns of `images`.
    pub condition: Option<String>,
    /// Only these.
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

    /// Of these images the ones for which a condition in SQL holds. It replaces a condition that was there.
    #[must_use]
    pub fn and_where(self, condition: impl Into<String>) -> Self {
        Self {
            condition: Some(condition.into()),
            ..self
        }
    }

    /// Checks that the data set and the split are there.
    ///
    /// # Errors
    /// [`crate::error::CatalogueError`] if one is not; what the store says.
    pub async fn check(&self, snapshot: &Snapshot) -> Result<()> {
        if let Some(dataset) = &self.dataset {
            find_dataset(snapshot, dataset).await?;
        }
        if let Some(split) = &self.split {
            find_split(snapshot, split).await?;
        }
        Ok(())
    }

    /// The filter as one condition in SQL over the columns of `images`; none if it chooses all.
    ///
    /// # Errors
    /// [`crate::Error::DataFusion`] if a value cannot be written in SQL.
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
            // A comment at its end goes no further than its own line.
            parts.push(format!("({condition}\n)"));
        }
        Ok((!parts.is_empty()).then(|| parts.join(" AND ")))
    }

    /// The ids of the images.
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

    /// Whether an image for which the condition holds is chosen.
    pub(super) fn holds(&self, id: &ImageId, dataset: &str, split: Option<&str>) -> bool {
        let is_wanted = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        is_wanted(&self.dataset, Some(dataset))
            && is_wanted(&self.split, split)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(id))
    }
}
