//! Heads: what they were trained on, how they did, how two compare, and the report of one.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query as Parameters, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use grainstore::catalogue::{embedders_stored, find_head, heads_stored};
use grainstore::eval::{CompareRequest, ComparedMetric, EvalRequest, compare as compare_heads};
use grainstore::export::{Annotations, CocoExport, ExportRequest, export_coco};
use grainstore::head::HeadInputs;
use grainstore::progress::NoProgress;
use grainstore::report::{ReportRequest, write_report};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::app::App;
use super::failure::{Answered, Failure};
use super::sql::named;

/// Bootstrap samples for mean IoU and for average precision, as 'grainstore compare' takes them.
const REPLICATES: u32 = 1000;
const AP_REPLICATES: u32 = 200;
/// Images under each heading of a report.
const REPORT_IMAGES: usize = 6;

/// A head.
#[derive(Debug, Serialize)]
pub struct Listed {
    head: String,
    head_id: String,
    class_set: String,
    loss: Option<String>,
    /// What it reads: 'tokens', 'shape' or embedders.
    vectors: Vec<String>,
    images: i64,
    /// Counts of labelled masks that it learnt from, if it did.
    mask_labels: Option<Value>,
    seconds: f64,
    created_at: String,
    metrics: Vec<Metrics>,
}

/// A row of `review/head_metrics`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Metrics {
    #[serde(skip_serializing)]
    head_id: String,
    dataset: String,
    miou: Option<f64>,
    ap50: Option<f64>,
}

/// All heads, and what new ones can read.
#[derive(Debug, Serialize)]
pub struct Heads {
    heads: Vec<Listed>,
    /// Names of embedders.
    embedders: Vec<String>,
}

/// `GET /api/heads`: every head, oldest first.
pub async fn list(State(app): State<Arc<App>>) -> Answered<Json<Heads>> {
    let snapshot = app.store.snapshot().await?;
    let metrics: Vec<Metrics> = named(&snapshot, "review/head_metrics", &HashMap::new()).await?;
    let mut listed = Vec::new();
    for row in heads_stored(&snapshot).await? {
        let spec: Value = serde_json::from_str(&row.spec)?;
        let id = row.head_id.to_string();
        let own = metrics.iter().filter(|it| it.head_id == id);
        // Of an embedder that was removed there is no name.
        let inputs = HeadInputs::of_row(&snapshot, &row).await.ok();
        let words = inputs.iter().flat_map(HeadInputs::iter);
        listed.push(Listed {
            class_set: row.class_set_at_version(),
            loss: spec
                .pointer("/options/loss")
                .and_then(Value::as_str)
                .map(str::to_owned),
            vectors: words.map(|input| input.word().to_owned()).collect(),
            images: row.images_read,
            mask_labels: spec.get("mask_labels").filter(|it| !it.is_null()).cloned(),
            seconds: row.seconds,
            created_at: row.created_at.format("%Y-%m-%d %H:%M").to_string(),
            metrics: own.cloned().collect(),
            head: row.head,
            head_id: id,
        });
    }
    let embedders = embedders_stored(&snapshot).await?;
    Ok(Json(Heads {
        heads: listed,
        embedders: embedders.into_iter().map(|row| row.embedder).collect(),
    }))
}

/// Which heads are compared.
#[derive(Debug, Deserialize)]
pub struct Pair {
    head: String,
    other: String,
}

/// Two heads on the same images, with intervals.
#[derive(Debug, Serialize)]
pub struct Compared {
    dataset: String,
    classes: String,
    metrics: Vec<ComparedMetric>,
}

/// `GET /api/compare?head=a&other=b`: differences with their 95 % intervals.
pub async fn compare(
    State(app): State<Arc<App>>,
    Parameters(pair): Parameters<Pair>,
) -> Answered<Json<Compared>> {
    let snapshot = app.store.snapshot().await?;
    let request = CompareRequest {
        first: EvalRequest {
            head: pair.head,
            ..EvalRequest::default()
        },
        other: pair.other,
        other_policy: None,
        replicates: REPLICATES,
        ap_replicates: AP_REPLICATES,
        seed: 0,
    };
    let found = compare_heads(&snapshot, &request, &NoProgress).await?;
    Ok(Json(Compared {
        dataset: found.dataset,
        classes: found.classes,
        metrics: found.metrics,
    }))
}

/// `GET /heads/HEAD/coco`: what a head keeps, under the policy that was used last, as a COCO data set to download.
pub async fn coco(State(app): State<Arc<App>>, Path(head): Path<String>) -> Answered<Response> {
    let ours =
        |err: std::io::Error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, err.to_string());
    let snapshot = app.store.snapshot().await?;
    let name = find_head(&snapshot, &head).await?.head;
    let folder = tempfile::tempdir().map_err(ours)?;
    let request = CocoExport {
        export: ExportRequest {
            annotations: Annotations::Head { head, policy: None },
            ..ExportRequest::default()
        },
        file: folder.path().join("coco.json"),
        ..CocoExport::default()
    };
    export_coco(&snapshot, &request, &NoProgress).await?;
    let file = tokio::fs::read(&request.file).await.map_err(ours)?;
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}.json\"", name.replace('"', "")),
        ),
    ];
    Ok((headers, file).into_response())
}

/// `GET /heads/HEAD/report`: the report on a head.
pub async fn report(State(app): State<Arc<App>>, Path(head): Path<String>) -> Answered<Response> {
    let ours =
        |err: std::io::Error| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, err.to_string());
    let snapshot = app.store.snapshot().await?;
    let folder = tempfile::tempdir().map_err(ours)?;
    let request = ReportRequest {
        evaluation: EvalRequest {
            head,
            ..EvalRequest::default()
        },
        images: REPORT_IMAGES,
        file: folder.path().join("report.html"),
    };
    write_report(&snapshot, &request, &NoProgress).await?;
    let page = tokio::fs::read(&request.file).await.map_err(ours)?;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        // A report has its styles and pictures inside, and no script.
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
        ),
    ];
    Ok((headers, page).into_response())
}
