//! Two heads side by side, on the same images.

use std::collections::HashMap;

use chrono::Utc;
use serde::{Deserialize, Serialize};

use super::request::{EvalRequest, PARAMETERS};
use super::run::{Evaluator, append, resolve, sha256_of, some_images};
use crate::Result;
use crate::ids::{EvaluationId, HeadId, PolicyId};
use crate::progress::Progress;
use crate::query::{Query, QuerySession};
use crate::schema::Table;
use crate::store::rows::{EvaluationRow, decode};
use crate::store::{Snapshot, Store};

/// Which heads to compare, and how surely.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompareRequest {
    /// The first head, and what both are held against. Both are judged in the same classes: by default those of the
    /// first.
    pub first: EvalRequest,
    /// Name or id of the other head.
    pub other: String,
    /// Id of its annotation policy; none: the one annotated with last.
    pub other_policy: Option<String>,
    /// Bootstrap samples for mean IoU.
    pub replicates: u32,
    /// Bootstrap samples for average precision, each of which is a sorting of all detections.
    pub ap_replicates: u32,
    /// Seed of the samples.
    pub seed: u32,
}

/// One figure of both heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparedMetric {
    /// Its name.
    pub metric: String,
    /// Of the first head.
    pub value: Option<f64>,
    /// Of the other.
    pub other_value: Option<f64>,
    /// The first minus the other.
    pub difference: Option<f64>,
    /// Of the difference: 2.5 % of the samples are below.
    pub ci_low: Option<f64>,
    /// Of the difference: 2.5 % of the samples are above.
    pub ci_high: Option<f64>,
}

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the first head.
    pub head: String,
    /// Its id.
    pub head_id: HeadId,
    /// Its policy.
    pub policy_id: PolicyId,
    /// Name of the other.
    pub other: String,
    /// Data set they were held against.
    pub dataset: String,
    /// Class set they were judged in, with its version.
    pub classes: String,
    /// Version of the store it was read at.
    pub store_version: u64,
    /// What was compared and how, as JSON.
    pub request: String,
    /// SHA-256 of the queries' texts.
    pub query_sha256: String,
    /// Images that were evaluated.
    pub images: u64,
    /// The figures.
    pub metrics: Vec<ComparedMetric>,
}

/// Compares two heads on the same images, with paired bootstrap intervals over images.
///
/// # Errors
/// As [`super::evaluate`], for either head.
pub async fn compare(
    snapshot: &Snapshot,
    request: &CompareRequest,
    progress: &dyn Progress,
) -> Result<Comparison> {
    let first = resolve(snapshot, &request.first).await?;
    // In the classes of the first head, unless others are asked for.
    let of_other = EvalRequest {
        head: request.other.clone(),
        policy: request.other_policy.clone(),
        classes: first.request.classes.clone(),
        ..request.first.clone()
    };
    let other = resolve(snapshot, &of_other).await?;
    let judged = first.request;
    let mut evaluator = Evaluator {
        session: QuerySession::new(snapshot).await?,
        request: &judged,
    };
    let counts = evaluator.choose_images(None).await?;
    some_images(counts)?;
    let others: HashMap<&str, String> = HashMap::from([
        ("other", other.request.head.clone()),
        (
            "other_policy",
            other.request.policy.clone().unwrap_or_default(),
        ),
        ("seed", request.seed.to_string()),
    ]);
    let samples = [
        ("eval/compare_miou", request.replicates),
        ("eval/compare_ap", request.ap_replicates),
    ];
    progress.start("reports", Some(samples.len() as u64));
    let mut metrics = Vec::new();
    for (name, replicates) in samples {
        let mut parameters = judged.parameters(&PARAMETERS);
        parameters.extend(others.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
        parameters.insert("replicates".to_owned(), replicates.to_string());
        let query = Query::named(name)?;
        let mut rows = evaluator.session.run(&query, &parameters).await?;
        while let Some(batch) = rows.next().await? {
            metrics.extend(decode::<ComparedMetric>(Table::Evaluations, &batch)?);
        }
        progress.advance(1);
    }
    progress.finish();

    let request = serde_json::to_string(&serde_json::json!({
        "first": judged, "other": other.request, "replicates": request.replicates,
        "ap_replicates": request.ap_replicates, "seed": request.seed,
    }))?;
    Ok(Comparison {
        head: first.head.head,
        head_id: first.head.head_id,
        policy_id: first.policy.policy_id,
        other: other.head.head,
        dataset: first.dataset,
        store_version: snapshot.version(),
        request,
        query_sha256: sha256_of(&samples.map(|(name, _)| name))?,
        classes: other.classes,
        images: counts.images.unsigned_abs(),
        metrics,
    })
}

impl Comparison {
    /// Adds the differences to the table `evaluations`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn save(&self, store: &Store) -> Result<()> {
        let now = Utc::now();
        let evaluation_id = EvaluationId::of_parts([self.request.as_str(), &now.to_rfc3339()]);
        let rows: Vec<EvaluationRow> = self
            .metrics
            .iter()
            .map(|metric| EvaluationRow {
                evaluation_id: evaluation_id.clone(),
                query: "eval/compare".to_owned(),
                head_id: self.head_id.clone(),
                policy_id: self.policy_id.clone(),
                dataset: self.dataset.clone(),
                slice: None,
                class: None,
                metric: format!("{}_difference", metric.metric),
                value: metric.difference,
                ci_low: metric.ci_low,
                ci_high: metric.ci_high,
                request: self.request.clone(),
                store_version: self.store_version as i64,
                created_at: now,
                query_sha256: Some(self.query_sha256.clone()),
            })
            .collect();
        append(store, "compare", &rows).await
    }
}
