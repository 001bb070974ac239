//! Comparison of two heads on the same images.

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

/// Which heads to compare, and with how many bootstrap samples.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompareRequest {
    /// The first head, and what both heads are compared with. Both are evaluated in the same classes, by default those
    /// of the first.
    pub first: EvalRequest,
    /// Name or id of the other head.
    pub other: String,
    /// Id of the other head's annotation policy; `None` for the one that was used last.
    pub other_policy: Option<String>,
    /// Bootstrap samples for mean IoU.
    pub replicates: u32,
    /// Bootstrap samples for average precision; each of them sorts all detections.
    pub ap_replicates: u32,
    /// Seed of the samples.
    pub seed: u32,
}

/// One metric of both heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparedMetric {
    /// Name of the metric.
    pub metric: String,
    /// Value of the first head.
    pub value: Option<f64>,
    /// Value of the other head.
    pub other_value: Option<f64>,
    /// The first value minus the other.
    pub difference: Option<f64>,
    /// Lower bound of the difference: 2.5 % of the samples are below it.
    pub ci_low: Option<f64>,
    /// Upper bound of the difference: 2.5 % of the samples are above it.
    pub ci_high: Option<f64>,
}

/// Result of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Name of the first head.
    pub head: String,
    /// Id of the first head.
    pub head_id: HeadId,
    /// Id of the first head's annotation policy.
    pub policy_id: PolicyId,
    /// Name of the other head.
    pub other: String,
    /// Data set that both were compared with.
    pub dataset: String,
    /// Class set that both were evaluated in, with its version.
    pub classes: String,
    /// Version of the store that was read.
    pub store_version: u64,
    /// What was compared and how, as JSON.
    pub request: String,
    /// SHA-256 of the queries' texts.
    pub query_sha256: String,
    /// Images that were evaluated.
    pub images: u64,
    /// The metrics.
    pub metrics: Vec<ComparedMetric>,
}

/// Compares two heads on the same images, with paired bootstrap intervals over images.
///
/// # Examples
/// ```
/// use grainstore::eval::{CompareRequest, EvalRequest, compare};
/// use grainstore::progress::NoProgress;
/// use grainstore::selection::ImageFilter;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = CompareRequest {
///     first: EvalRequest {
///         head: "pets".to_owned(),
///         images: ImageFilter::split("test"),
///         ..EvalRequest::default()
///     },
///     other: "baseline".to_owned(),
///     other_policy: None,
///     replicates: 1000,
///     ap_replicates: 200,
///     seed: 0,
/// };
/// let comparison = compare(&store.snapshot().await?, &request, &NoProgress).await?;
/// for found in &comparison.metrics {
///     println!("{}: {:?} [{:?}, {:?}]", found.metric, found.difference, found.ci_low, found.ci_high);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`super::evaluate`], for either head.
pub async fn compare(
    snapshot: &Snapshot,
    request: &CompareRequest,
    progress: &dyn Progress,
) -> Result<Comparison> {
    let first = resolve(snapshot, &request.first).await?;
    // The other head is evaluated in the classes of the first, unless the request names others.
    let of_other = EvalRequest {
        head: request.other.clone(),
        policy: request.other_policy.clone(),
        classes: first.request.classes.clone(),
        ..request.first.clone()
    };
    let other = resolve(snapshot, &of_other).await?;
    let evaluated = first.request;
    let mut evaluator = Evaluator {
        session: QuerySession::new(snapshot).await?,
        request: &evaluated,
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
    progress.start("queries", Some(samples.len() as u64));
    let mut metrics = Vec::new();
    for (name, replicates) in samples {
        let mut parameters = evaluated.parameters(&PARAMETERS);
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
        "first": evaluated, "other": other.request, "replicates": request.replicates,
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
    /// Errors of the store.
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
