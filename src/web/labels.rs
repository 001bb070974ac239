//! Answers: what a key says of a mask, and how many were given.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use grainstore::ids::{ExtractorId, HeadId, ImageId, MaskLabelId};
use grainstore::review::{Answer, MaskKey, Origin, Verdict, statements_of_images};
use grainstore::store::rows::MaskLabelRow;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::failure::{Answered, Failure};
use super::sql::named;

/// Maximum number of answers in a request.
const AT_ONCE: usize = 1000;
/// Maximum length of a label, in bytes.
const LABEL_BYTES: usize = 200;

/// An answer as the page sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    extractor_id: ExtractorId,
    image_id: ImageId,
    mask_index: i32,
    /// 'is', 'is not', 'bad mask' or 'undone'.
    verdict: String,
    label: Option<String>,
    proof: Option<MaskLabelId>,
    score: Option<f32>,
    queue: Option<String>,
    head_id: Option<HeadId>,
    seconds: Option<f64>,
}

/// The answers of one key, or of a grid.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    answers: Vec<Said>,
}

/// What was saved.
#[derive(Debug, Serialize)]
pub struct Saved {
    saved: usize,
    /// Ids of the labels, in the order of the answers.
    mask_label_ids: Vec<MaskLabelId>,
}

/// `POST /api/labels`: saves answers. They are on the disk when it answers.
pub async fn add(
    State(app): State<Arc<App>>,
    Json(request): Json<Request>,
) -> Answered<Json<Saved>> {
    app.check_writable()?;
    if request.answers.len() > AT_ONCE {
        return Err(Failure::bad(format!(
            "{} answers at once; at most {AT_ONCE} can be saved",
            request.answers.len()
        )));
    }
    let answers: Vec<Answer> = request
        .answers
        .into_iter()
        .map(answer)
        .collect::<Answered<_>>()?;
    check_masks(&app, &answers).await?;
    let rows = app.answer(answers).await?;
    Ok(Json(Saved {
        saved: rows.len(),
        mask_label_ids: rows.into_iter().map(|row| row.mask_label_id).collect(),
    }))
}

fn answer(said: Said) -> Answered<Answer> {
    let verdict = Verdict::from_str(&said.verdict)?;
    let label = said.label.map(|label| label.trim().to_owned());
    let is_word =
        |label: &String| !label.is_empty() && label.len() <= LABEL_BYTES && !label.contains('\0');
    if label.as_ref().is_some_and(|label| !is_word(label)) {
        return Err(Failure::bad(format!(
            "a label has 1 to {LABEL_BYTES} letters"
        )));
    }
    let needs_label = verdict == Verdict::IsNot;
    let takes_label = [Verdict::Is, Verdict::IsNot].contains(&verdict);
    if label.is_none() && needs_label || label.is_some() && !takes_label {
        return Err(Failure::bad(format!(
            "'{}' {}",
            verdict.word(),
            if needs_label {
                "needs a label"
            } else {
                "takes no label"
            }
        )));
    }
    let is_time = |seconds: &f64| seconds.is_finite() && *seconds >= 0.0;
    Ok(Answer {
        mask: MaskKey {
            extractor_id: said.extractor_id,
            image_id: said.image_id,
            mask_index: said.mask_index,
        },
        label,
        verdict,
        // A person saw each of them. What 'propagate' spreads, nobody saw, and it may take it back.
        origin: Origin::Review,
        proof: said.proof,
        score: said.score,
        margin: None,
        queue: said.queue,
        head_id: said.head_id,
        seconds: said.seconds.filter(is_time),
    })
}

/// Checks that the masks are in the store.
async fn check_masks(app: &App, answers: &[Answer]) -> Answered<()> {
    app.photos
        .read_ahead(answers.iter().map(|it| &it.mask))
        .await?;
    for Answer { mask, .. } in answers {
        if app.photos.mask(mask).await?.is_none() {
            return Err(Failure::missing(format!(
                "image '{}' has no mask {} of extractor '{}'",
                mask.image_id, mask.mask_index, mask.extractor_id
            )));
        }
    }
    Ok(())
}

/// Labels to take back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UndoRequest {
    labels: Vec<Undone>,
}

/// A label, and its mask.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undone {
    mask_label_id: MaskLabelId,
    extractor_id: ExtractorId,
    image_id: ImageId,
    mask_index: i32,
}

/// What counts now.
#[derive(Debug, Serialize)]
pub struct Counting {
    verdict: String,
    label: Option<String>,
}

/// `POST /api/undo`: takes labels back; what the reviewer said before counts again. Tells what counts now, in the order of
/// the labels. A label that no longer counts stays as it is.
pub async fn undo(
    State(app): State<Arc<App>>,
    Json(request): Json<UndoRequest>,
) -> Answered<Json<Vec<Option<Counting>>>> {
    app.check_writable()?;
    if request.labels.len() > AT_ONCE {
        return Err(Failure::bad(format!(
            "at most {AT_ONCE} labels are taken back at once"
        )));
    }
    let snapshot = app.snapshot().await?;
    let mut images: Vec<ImageId> = request
        .labels
        .iter()
        .map(|it| it.image_id.clone())
        .collect();
    images.sort();
    images.dedup();
    let said = statements_of_images(&snapshot, &images).await?;
    let (mut answers, mut counting) = (Vec::new(), Vec::new());
    for undone in request.labels {
        let mask = MaskKey {
            extractor_id: undone.extractor_id,
            image_id: undone.image_id,
            mask_index: undone.mask_index,
        };
        let own = said.iter().filter(|row| {
            row.reviewer == app.reviewer
                && row.extractor_id == mask.extractor_id
                && row.image_id == mask.image_id
                && row.mask_index == mask.mask_index
        });
        let own: Vec<&MaskLabelRow> = own.collect();
        let place = own
            .iter()
            .position(|row| row.mask_label_id == undone.mask_label_id);
        let Some(place) = place else {
            return Err(Failure::missing(format!(
                "mask {} of image '{}' has no such label of yours",
                mask.mask_index, mask.image_id
            )));
        };
        if place + 1 < own.len() {
            counting.push(own.last().and_then(|row| counts(row)));
            continue;
        }
        let before = place.checked_sub(1).and_then(|at| own.get(at).copied());
        let before = before.filter(|row| row.verdict != Verdict::Undone.word());
        counting.push(before.and_then(counts));
        answers.push(again(mask, before)?);
    }
    app.answer(answers).await?;
    Ok(Json(counting))
}

/// What a row says, unless it takes something back.
fn counts(row: &MaskLabelRow) -> Option<Counting> {
    (row.verdict != Verdict::Undone.word()).then(|| Counting {
        verdict: row.verdict.clone(),
        label: row.label.clone(),
    })
}

/// An answer that says what a row said, or takes back what was said.
fn again(mask: MaskKey, before: Option<&MaskLabelRow>) -> Answered<Answer> {
    let Some(row) = before else {
        return Ok(Answer::new(mask, Verdict::Undone, Origin::Review));
    };
    Ok(Answer {
        label: row.label.clone(),
        proof: row.proof.clone(),
        score: row.score,
        queue: row.queue.clone(),
        head_id: row.head_id.clone(),
        ..Answer::new(mask, Verdict::from_str(&row.verdict)?, Origin::Review)
    })
}

/// How much was done.
#[derive(Debug, Serialize, Deserialize)]
pub struct Counts {
    /// Masks that the reviewer labelled since midnight, UTC.
    today: i64,
}

/// `GET /api/progress`: how many masks are labelled.
pub async fn progress(State(app): State<Arc<App>>) -> Answered<Json<Counts>> {
    let snapshot = app.snapshot().await?;
    let reviewer = app.reviewer.clone();
    let words = reviewer.map(|name| ("reviewer".to_owned(), name));
    let words: HashMap<String, String> = words.into_iter().collect();
    let counts: Vec<Counts> = named(&snapshot, "review/label_counts", &words).await?;
    let first = counts.into_iter().next();
    first
        .map(Json)
        .ok_or_else(|| Failure::bad("nothing is counted"))
}
