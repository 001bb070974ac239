//! The data of a report on a head, read with SQL.

use std::collections::HashSet;

use serde::Deserialize;

use super::ReportRequest;
use crate::Result;
use crate::catalogue::{StoredPolicy, find_head, find_policy, heads_stored};
use crate::classes::ClassSet;
use crate::eval::{Ceiling, CeilingRequest, EvalRequest, Evaluation, ceiling, evaluate_in_session};
use crate::head::{Curve, StoredSpec};
use crate::ids::ImageId;
use crate::progress::Progress;
use crate::query::{Query, QuerySession};
use crate::schema::Table;
use crate::selection::find_images;
use crate::store::Snapshot;
use crate::store::rows::{ExtractorRow, HeadRow, Row, collect, decode};

/// The data of a report, except the pictures.
pub(super) struct ReportData {
    pub head: HeadRow,
    pub spec: StoredSpec,
    pub curves: Vec<Curve>,
    /// Name of the head that its training continued from.
    pub parent: Option<String>,
    pub extractor: Option<ExtractorRow>,
    pub policy: StoredPolicy,
    /// The classes that it is evaluated in; by default its own.
    pub classes: ClassSet,
    pub store_version: u64,
    pub evaluated: Option<Evaluated>,
    /// Images by uncertainty, the least sure first.
    pub uncertain: Vec<UncertainImage>,
}

/// The results of comparing it with annotated objects.
pub(super) struct Evaluated {
    pub evaluation: Evaluation,
    pub precision_recall: Vec<CurvePoint>,
    pub confusion: Vec<Confusion>,
    pub calibration: Vec<CalibrationBin>,
    /// Images by IoU, the best first.
    pub images: Vec<ImageIou>,
    /// What the best head could reach that there could be.
    pub ceiling: Ceiling,
}

/// A row of `eval/precision_recall`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CurvePoint {
    pub class: String,
    pub precision: f64,
    pub recall: f64,
}

/// A row of `eval/confusion`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Confusion {
    pub truth: String,
    pub predicted: String,
    pub pixels: i64,
}

/// A row of `eval/calibration`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct CalibrationBin {
    pub bin: i64,
    pub detections: i64,
    pub mean_score: f64,
    pub correct: f64,
}

/// A row of `eval/image_iou`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ImageIou {
    pub image_id: ImageId,
    pub file_name: String,
    pub iou: f64,
}

/// A row of `review/uncertain_images`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct UncertainImage {
    pub image_id: ImageId,
    pub file_name: String,
    pub entropy: f64,
}

impl ReportData {
    pub async fn read(
        snapshot: &Snapshot,
        request: &ReportRequest,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let asked = &request.evaluation;
        let head = find_head(snapshot, &asked.head).await?;
        let policy = find_policy(snapshot, &head, asked.policy.as_deref()).await?;
        let extractors: Vec<ExtractorRow> =
            collect(snapshot.scan(ExtractorRow::TABLE).await?).await?;
        let parent = match &head.parent_head_id {
            Some(id) => heads_stored(snapshot)
                .await?
                .into_iter()
                .find(|it| it.head_id == *id),
            None => None,
        };
        let own = head.class_set_at_version();
        let classes = ClassSet::load(snapshot, asked.classes.as_deref().unwrap_or(&own)).await?;
        let evaluated = evaluated(snapshot, asked, progress).await?;
        let mut uncertain = uncertain_images(snapshot, &head, &policy).await?;
        let chosen = find_images(snapshot, &asked.images, |_| true).await?;
        let chosen: HashSet<ImageId> = chosen.into_iter().map(|image| image.image_id).collect();
        uncertain.retain(|image| chosen.contains(&image.image_id));
        Ok(Self {
            spec: StoredSpec::of_row(&head)?,
            curves: serde_json::from_str(&head.curves)?,
            parent: parent.map(|it| it.head),
            extractor: extractors
                .into_iter()
                .find(|it| it.extractor_id == head.extractor_id),
            policy,
            classes,
            store_version: snapshot.version(),
            evaluated,
            uncertain,
            head,
        })
    }
}

/// Evaluates the head; returns `None` if the store has no annotations.
async fn evaluated(
    snapshot: &Snapshot,
    request: &EvalRequest,
    progress: &dyn Progress,
) -> Result<Option<Evaluated>> {
    if snapshot.count(Table::GroundTruth).await? == 0 {
        return Ok(None);
    }
    let (evaluation, session) = evaluate_in_session(snapshot, request, progress).await?;
    let best = CeilingRequest {
        classes: request.classes.clone(),
        extractor: None,
        head: Some(evaluation.head_id.to_string()),
        images: request.images.clone(),
    };
    let best = ceiling(snapshot, &best, progress).await?;
    Ok(Some(Evaluated {
        evaluation,
        precision_recall: session.rows("eval/precision_recall").await?,
        confusion: session.rows("eval/confusion").await?,
        calibration: session.rows("eval/calibration").await?,
        images: session.rows("eval/image_iou").await?,
        ceiling: best,
    }))
}

async fn uncertain_images(
    snapshot: &Snapshot,
    head: &HeadRow,
    policy: &StoredPolicy,
) -> Result<Vec<UncertainImage>> {
    let session = QuerySession::new(snapshot).await?;
    let parameters = [
        ("head", head.head_id.as_str()),
        ("policy", policy.policy_id.as_str()),
        ("count", &*i64::MAX.to_string()), // all, because they are filtered afterwards
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let query = Query::named("review/uncertain_images")?;
    let mut rows = session.run(&query, &parameters.into()).await?;
    let mut found = Vec::new();
    while let Some(batch) = rows.next().await? {
        found.extend(decode::<UncertainImage>(Table::Predictions, &batch)?);
    }
    Ok(found)
}
