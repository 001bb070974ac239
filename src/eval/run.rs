//! The evaluation: runs the queries in turn, gathers their metrics and stores them.

use std::collections::HashMap;

use chrono::Utc;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::check::evaluated_classes;
use super::request::{EvalRequest, PARAMETERS};
use super::session::EvalSession;
use crate::catalogue::{
    StoredPolicy, annotated_categories, find_annotated_dataset, find_head, find_policy, find_split,
};
use crate::error::EvalError;
use crate::ids::{EvaluationId, HeadId, PolicyId, hex};
use crate::progress::Progress;
use crate::query::{Chosen, Query, QuerySession};
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::store::rows::{EvaluationRow, HeadRow, Row, decode};
use crate::store::{Changes, Snapshot, Store};
use crate::{Error, Result};

/// The value of one metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// Query that it comes from, such as `eval/coco`.
    pub query: String,
    /// Value of the slicing expression; `None` for all images.
    pub slice: Option<String>,
    /// Class that it belongs to; `None` for all classes.
    pub class: Option<String>,
    /// Name of the metric.
    pub metric: String,
    /// The value; `None` where it is undefined.
    pub value: Option<f64>,
}

/// Result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Id of the evaluation.
    pub evaluation_id: EvaluationId,
    /// Name of the head.
    pub head: String,
    /// Id of the head.
    pub head_id: HeadId,
    /// Id of the annotation policy.
    pub policy_id: PolicyId,
    /// The annotation policy as JSON.
    pub policy: String,
    /// Data set that the predictions were compared with.
    pub dataset: String,
    /// Class set that it was evaluated in, with its version.
    pub classes: String,
    /// Images that were evaluated.
    pub images: u64,
    /// Images among these without a prediction, kept or not; what is on them counts as missed.
    pub images_without_predictions: u64,
    /// Annotated objects.
    pub objects: u64,
    /// Objects among these with a box and no mask; they count only in the metrics of boxes. If all objects are such,
    /// metrics of masks and pixels are undefined.
    pub objects_without_mask: u64,
    /// Version of the store that was read.
    pub store_version: u64,
    /// The metrics, query by query.
    pub metrics: Vec<Metric>,
    /// The request as JSON, with every name resolved.
    pub request: String,
}

/// Queries that yield metrics, and whether the IoU in them is that of masks or of boxes.
const METRICS: [(&str, Option<&str>); 8] = [
    ("eval/miou", None),
    ("eval/iou_by_class", None),
    ("eval/boundary_iou", None),
    ("eval/coco", Some("mask")),
    ("eval/coco_by_class", Some("mask")),
    ("eval/calibration_error", Some("mask")),
    ("eval/coco", Some("box")),
    ("eval/coco_by_class", Some("box")),
];

/// Compares a head's predictions with annotated objects.
///
/// # Examples
/// ```
/// use grainstore::eval::{EvalRequest, evaluate};
/// use grainstore::progress::NoProgress;
/// use grainstore::selection::ImageFilter;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = EvalRequest {
///     head: "pets".to_owned(),
///     images: ImageFilter::split("test"),
///     ..EvalRequest::default()
/// };
/// let evaluation = evaluate(&store.snapshot().await?, &request, &NoProgress).await?;
/// println!("mIoU {:?}, AP50 {:?}", evaluation.metric("miou"), evaluation.metric("ap50"));
/// evaluation.save(store).await?; // into the table 'evaluations'
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`crate::Error::Eval`] if there is nothing to compare; [`crate::error::CatalogueError`] for names that do not exist;
/// [`crate::Error::DataFusion`] for a condition or slice that cannot be planned.
pub async fn evaluate(
    snapshot: &Snapshot,
    request: &EvalRequest,
    progress: &dyn Progress,
) -> Result<Evaluation> {
    Ok(evaluate_in_session(snapshot, request, progress).await?.0)
}

/// Like [`evaluate`], but also returns the session, in which further queries are quick because they can use what the
/// metrics were computed from.
///
/// # Errors
/// As [`evaluate`].
pub async fn evaluate_in_session(
    snapshot: &Snapshot,
    request: &EvalRequest,
    progress: &dyn Progress,
) -> Result<(Evaluation, EvalSession)> {
    let Resolved {
        head,
        policy,
        dataset,
        classes,
        request,
    } = resolve(snapshot, request).await?;
    let mut evaluator = Evaluator {
        session: QuerySession::new(snapshot).await?,
        request: &request,
    };
    let slices = evaluator.slices().await?;
    progress.start("queries", Some((slices.len() * METRICS.len()) as u64));
    let mut metrics = Vec::new();
    let mut counts = ImageCounts::default();
    let mut objects = ObjectCounts::default();
    for slice in &slices {
        let found = evaluator.choose_images(slice.as_deref()).await?;
        if slice.is_none() || request.slice.is_some() {
            counts.images += found.images;
            counts.without_predictions += found.without_predictions;
            let found = evaluator.object_counts().await?;
            objects.objects += found.objects;
            objects.without_mask += found.without_mask;
        }
        metrics.extend(evaluator.metrics(slice.as_deref(), progress).await?);
    }
    progress.finish();
    some_images(counts)?;
    if request.slice.is_some() {
        evaluator.choose_images(None).await?;
    }
    let session = EvalSession::new(evaluator);
    let request = serde_json::to_string(&request)?;
    let now = Utc::now();
    let id = [
        request.as_str(),
        &now.to_rfc3339(),
        &snapshot.version().to_string(),
    ];
    let evaluation = Evaluation {
        evaluation_id: EvaluationId::of_parts(id),
        head: head.head,
        head_id: head.head_id,
        policy_id: policy.policy_id,
        policy: policy.policy,
        dataset,
        classes,
        images: counts.images.unsigned_abs(),
        images_without_predictions: counts.without_predictions.unsigned_abs(),
        objects: objects.objects.unsigned_abs(),
        objects_without_mask: objects.without_mask.unsigned_abs(),
        store_version: snapshot.version(),
        metrics,
        request,
    };
    Ok((evaluation, session))
}

/// # Errors
/// [`EvalError::NoImages`] if there are none.
pub(super) fn some_images(counts: ImageCounts) -> Result<()> {
    if counts.images > 0 {
        return Ok(());
    }
    Err(Error::Eval(EvalError::NoImages))
}

/// A request in which every name is resolved.
pub(super) struct Resolved {
    pub head: HeadRow,
    pub policy: StoredPolicy,
    pub dataset: String,
    /// Class set to evaluate in, with its version.
    pub classes: String,
    pub request: EvalRequest,
}

/// Resolves the names in a request, and checks that they fit together.
///
/// # Errors
/// As [`evaluate`].
pub(super) async fn resolve(snapshot: &Snapshot, request: &EvalRequest) -> Result<Resolved> {
    let head = find_head(snapshot, &request.head).await?;
    let annotated = annotated_categories(snapshot).await?;
    let dataset = find_annotated_dataset(&annotated, request.images.dataset.as_deref())?;
    let nothing = Default::default();
    let categories = annotated.get(&dataset).unwrap_or(&nothing);
    let evaluated = evaluated_classes(snapshot, &head, request, categories).await?;
    let policy = find_policy(snapshot, &head, request.policy.as_deref()).await?;
    if let Some(split) = &request.images.split {
        find_split(snapshot, split).await?;
    }
    let classes = format!("{}@{}", evaluated.name, evaluated.version);
    Ok(Resolved {
        request: EvalRequest {
            head: head.head_id.to_string(),
            images: ImageFilter {
                dataset: Some(dataset.clone()),
                ..request.images.clone()
            },
            policy: Some(policy.policy_id.to_string()),
            classes: Some(classes.clone()),
            ..request.clone()
        },
        classes,
        head,
        policy,
        dataset,
    })
}

impl Evaluation {
    /// The value of a metric over all images and classes, by its name: `miou`, `ap50`, `box_ap`, ...; `None` if it is
    /// undefined or there is no metric of that name.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let overall = |it: &&Metric| it.slice.is_none() && it.class.is_none();
        let mut metrics = self.metrics.iter().filter(overall);
        metrics.find(|it| it.metric == name)?.value
    }

    /// Adds the metrics to the table `evaluations`.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn save(&self, store: &Store) -> Result<()> {
        let evaluation = self;
        let created_at = Utc::now();
        let mut texts: HashMap<&str, String> = HashMap::new();
        for (name, _) in METRICS {
            texts.insert(name, sha256_of(&[name])?);
        }
        let rows: Vec<EvaluationRow> = evaluation
            .metrics
            .iter()
            .map(|metric| EvaluationRow {
                evaluation_id: evaluation.evaluation_id.clone(),
                query: metric.query.clone(),
                head_id: evaluation.head_id.clone(),
                policy_id: evaluation.policy_id.clone(),
                dataset: evaluation.dataset.clone(),
                slice: metric.slice.clone(),
                class: metric.class.clone(),
                metric: metric.metric.clone(),
                value: metric.value,
                ci_low: None,
                ci_high: None,
                request: evaluation.request.clone(),
                store_version: i64::try_from(evaluation.store_version).unwrap_or(i64::MAX),
                created_at,
                query_sha256: texts.get(metric.query.as_str()).cloned(),
            })
            .collect();
        append(store, "eval", &rows).await
    }
}

/// Commits metrics, all with the time of the commit.
pub(super) async fn append(store: &Store, operation: &str, rows: &[EvaluationRow]) -> Result<()> {
    store
        .commit(operation, |head| async move {
            let created_at = head.now();
            let rows = rows.iter().cloned();
            let rows: Vec<_> = rows
                .map(|row| EvaluationRow { created_at, ..row })
                .collect();
            let mut changes = Changes::new();
            changes.append(EvaluationRow::TABLE, EvaluationRow::to_batch(&rows)?);
            Ok(changes)
        })
        .await?;
    Ok(())
}

/// The value of `evaluations.query_sha256` for metrics that some queries yield together.
pub(super) fn sha256_of(queries: &[&str]) -> Result<String> {
    let mut hash = Sha256::new();
    for name in queries {
        Query::named(name)?.hash_texts(&mut hash)?;
    }
    Ok(hex(&hash.finalize()))
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
pub(super) struct ImageCounts {
    pub images: i64,
    pub without_predictions: i64,
}

#[derive(Debug, Default, Clone, Copy, Deserialize)]
struct ObjectCounts {
    objects: i64,
    without_mask: i64,
}

/// A session in which the queries know the images that are evaluated.
pub(super) struct Evaluator<'a> {
    pub session: QuerySession,
    pub request: &'a EvalRequest,
}

impl Evaluator<'_> {
    /// Values of the slicing expression; only `None` where nothing is sliced.
    async fn slices(&mut self) -> Result<Vec<Option<String>>> {
        let Some(slice) = &self.request.slice else {
            return Ok(vec![None]);
        };
        self.choose_images(None).await?;
        let values = self
            .session
            .values(Table::Images, slice, ("evaluated_images", "image_id"));
        Ok(values.await?.into_iter().map(Some).collect())
    }

    /// Makes the images that are evaluated known to the queries, and counts them.
    pub async fn choose_images(&mut self, slice: Option<&str>) -> Result<ImageCounts> {
        let query = Query::named("eval/evaluated_images")?;
        let parameters = self.request.parameters(&["dataset", "split"]);
        let chosen = Chosen {
            table: Table::Images,
            key: "image_id",
            condition: self.request.images.condition.as_deref(),
            equals: self.request.slice.as_deref().zip(slice),
        };
        self.session.pin(&query, &parameters, Some(chosen)).await?;
        let parameters = self
            .request
            .parameters(&["head", "policy", "dataset", "split"]);
        let query = Query::named("eval/image_counts")?;
        let mut rows = self.session.run(&query, &parameters).await?;
        let mut counts = ImageCounts::default();
        while let Some(batch) = rows.next().await? {
            if let Some(found) = decode::<ImageCounts>(Table::Images, &batch)?.pop() {
                counts = found;
            }
        }
        Ok(counts)
    }

    async fn object_counts(&self) -> Result<ObjectCounts> {
        let names = ["head", "dataset", "split", "classes"];
        let query = Query::named("eval/objects_without_mask")?;
        let words = self.request.parameters(&names);
        let rows = self.session.run(&query, &words).await?;
        let mut counts = ObjectCounts::default();
        for batch in rows.collect().await? {
            if let Some(found) = decode::<ObjectCounts>(Table::GroundTruth, &batch)?.pop() {
                counts = found;
            }
        }
        Ok(counts)
    }

    async fn metrics(
        &mut self,
        slice: Option<&str>,
        progress: &dyn Progress,
    ) -> Result<Vec<Metric>> {
        #[derive(Deserialize)]
        struct Found {
            class: Option<String>,
            metric: String,
            value: Option<f64>,
        }
        let mut metrics = Vec::new();
        for (name, iou) in METRICS {
            let mut parameters = self.request.parameters(&PARAMETERS);
            if let Some(iou) = iou {
                parameters.insert("iou".to_owned(), iou.to_owned());
            }
            let query = Query::named(name)?;
            let mut rows = self.session.run(&query, &parameters).await?;
            while let Some(batch) = rows.next().await? {
                let found = decode::<Found>(Table::Evaluations, &batch)?;
                metrics.extend(found.into_iter().map(|it| Metric {
                    query: name.to_owned(),
                    slice: slice.map(str::to_owned),
                    class: it.class,
                    metric: it.metric,
                    value: it.value,
                }));
            }
            progress.advance(1);
        }
        Ok(metrics)
    }
}
