//! Thresholds of classes, from labels of images.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::policy::{Policy, ScoreRule};
use crate::Result;
use crate::query::{Query, QuerySession};
use crate::schema::Table;
use crate::store::Snapshot;
use crate::store::rows::decode;

/// The score from which on each class of a head is seldom wrong, by the query `annotate/class_thresholds` over the
/// predictions that are stored: in all but a share of the labelled images of one other class, no mask is called so. Classes
/// of which too few images tell are left out. Scores and masks are those of a policy.
///
/// # Errors
/// [`crate::error::CatalogueError`] for a head that does not exist or has not annotated; errors of the store.
pub async fn thresholds_from_labels(
    snapshot: &Snapshot,
    head: &str,
    policy: &Policy,
    share: f64,
) -> Result<BTreeMap<String, f64>> {
    #[derive(Deserialize)]
    struct Found {
        class: String,
        score_threshold: Option<f64>,
    }
    let session = QuerySession::new(snapshot).await?;
    let words = HashMap::from([
        ("head".to_owned(), head.to_owned()),
        ("share".to_owned(), share.to_string()),
        (
            "by_iou".to_owned(),
            (policy.score == ScoreRule::TimesPredictedIou).to_string(),
        ),
        (
            "min_predicted_iou".to_owned(),
            policy.min_predicted_iou.to_string(),
        ),
        (
            "min_stability".to_owned(),
            policy.min_stability_score.to_string(),
        ),
    ]);
    let query = Query::named("annotate/class_thresholds")?;
    let mut rows = session.run(&query, &words).await?;
    let mut thresholds = BTreeMap::new();
    while let Some(batch) = rows.next().await? {
        for row in decode::<Found>(Table::Predictions, &batch)? {
            if let Some(threshold) = row.score_threshold {
                thresholds.insert(row.class, threshold);
            }
        }
    }
    Ok(thresholds)
}
