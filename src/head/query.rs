//! The SELECT a head is trained on.

use std::collections::HashSet;

use serde::Deserialize;

use crate::error::HeadError;
use crate::names::ContentId;
use crate::schema::Table;
use crate::sql::{Report, Rows, Sql};
use crate::store::Snapshot;
use crate::store::rows::{ExtractorRow, Row, collect, decode};
use crate::{Error, Result};

/// Images that heads are trained on unless told otherwise: SQL over `images`.
pub const DEFAULT_CONDITION: &str = "source IN ('web', 'synthetic')";

/// A SELECT that yields masks with their labels, in words that can be run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingQuery {
    text: String,
}

impl TrainingQuery {
    /// A query of the user's own; [`super::Bags::read`] says which columns it must yield.
    pub fn new(text: &str) -> Self {
        Self {
            text: text.trim().trim_end_matches(';').to_owned(),
        }
    }

    /// Every mask that an extractor found in the labelled images for which `condition` holds: SQL over the
    /// columns of `images`, by default [`DEFAULT_CONDITION`].
    ///
    /// # Errors
    /// [`Error::DataFusion`] for a condition that is no expression over `images`.
    pub async fn of_images(
        snapshot: &Snapshot,
        extractor_id: &ContentId,
        condition: Option<&str>,
    ) -> Result<Self> {
        let report = Report::named("train/bags")?;
        let select = report.sql().lines().filter(|line| !line.starts_with("--"));
        let select = select.collect::<Vec<_>>().join("\n");
        let text = select.replace("$extractor", &format!("'{extractor_id}'"));
        let text = match condition {
            None => text,
            Some(condition) => {
                // Planned on its own first: what is no expression cannot be smuggled into the query.
                let sql = Sql::new(snapshot).await?;
                sql.select(Table::Images, &["image_id"], Some(condition))
                    .await?;
                text.replace(DEFAULT_CONDITION, &format!("({condition}\n)"))
            }
        };
        Ok(Self::new(&text))
    }

    /// The SELECT.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its rows.
    ///
    /// # Errors
    /// As [`Sql::query`].
    pub async fn rows(&self, snapshot: &Snapshot) -> Result<Rows> {
        Sql::new(snapshot).await?.query(&self.text).await
    }

    /// The images it yields, without reading their embeddings, and their masks' number.
    ///
    /// # Errors
    /// As [`Sql::query`].
    pub async fn images(&self, snapshot: &Snapshot) -> Result<(HashSet<ContentId>, u64)> {
        #[derive(Deserialize)]
        struct Found {
            image_id: ContentId,
            masks: i64,
        }
        let sql = Sql::new(snapshot).await?;
        let text = format!(
            "SELECT image_id, count(DISTINCT mask_index) AS masks FROM ({}\n) GROUP BY image_id",
            self.text
        );
        let mut rows = sql.query(&text).await?;
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

/// The extractors that ran here: those of imported masks, which have no embeddings, aside.
///
/// # Errors
/// What the store says.
pub async fn extractors_stored(snapshot: &Snapshot) -> Result<Vec<ExtractorRow>> {
    let mut stored: Vec<ExtractorRow> = collect(snapshot.scan(ExtractorRow::TABLE).await?).await?;
    stored.retain(|row| !row.model_type.starts_with("imported"));
    Ok(stored)
}

/// The extractor that a word names: the beginning of its id, or nothing where there is but one.
///
/// # Errors
/// [`HeadError::Extractor`] if there is none, or more than one it may be.
pub async fn find_extractor(snapshot: &Snapshot, word: Option<&str>) -> Result<ExtractorRow> {
    let stored = extractors_stored(snapshot).await?;
    let asked = word.unwrap_or_default();
    let mut fitting: Vec<ExtractorRow> = stored
        .iter()
        .filter(|row| row.extractor_id.as_str().starts_with(asked))
        .cloned()
        .collect();
    match (fitting.pop(), fitting.is_empty()) {
        (Some(found), true) => Ok(found),
        _ => {
            let list: Vec<String> = stored
                .iter()
                .map(|row| {
                    format!(
                        "{} ({}, {})",
                        row.extractor_id, row.model_type, row.checkpoint
                    )
                })
                .collect();
            Err(Error::Head(HeadError::Extractor {
                asked: match (word, stored.is_empty()) {
                    (Some(word), _) => format!("'{word}' names no one extractor"),
                    (None, true) => "there are no masks to go by".to_owned(),
                    (None, false) => "masks are of more than one extractor".to_owned(),
                },
                stored: match list.is_empty() {
                    true => "none; run 'grainstore extract' first".to_owned(),
                    false => list.join(", "),
                },
            }))
        }
    }
}
