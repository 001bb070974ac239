//! Adds statements to `mask_labels`, and reads those that count.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::answer::{Answer, with_id};
use super::statement::{MaskKey, Origin, Statement, Verdict};
use crate::error::ReviewError;
use crate::ids::{ImageId, check_name};
use crate::query::Query;
use crate::schema::Table;
use crate::sql::Sql;
use crate::store::rows::{MaskLabelRow, Row, decode};
use crate::store::{Changes, Snapshot, Store, is_of_images};
use crate::{Error, Result};

/// Statements to add.
#[derive(Debug, Clone)]
pub struct LabelRequest {
    /// The statements, at most one per mask.
    pub statements: Vec<Statement>,
    /// Where they come from.
    pub origin: Origin,
    /// Who says so; `None` for nobody in person.
    pub reviewer: Option<String>,
    /// The file that they were read from.
    pub file: Option<PathBuf>,
}

/// Result of adding statements.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LabelSummary {
    /// Statements that were added.
    pub added: u64,
    /// Statements that the reviewer had made before, word for word; they were not added again.
    pub unchanged: u64,
    /// Among those added, statements that replace another one of the reviewer about the mask.
    pub replaced: u64,
    /// Among those added, statements about masks of which another reviewer says something else; both are kept.
    pub contradicting: u64,
}

/// The statements that count, of every mask and reviewer, oldest first; those of one commit by image and mask.
///
/// # Errors
/// Errors of the store.
pub async fn mask_labels(snapshot: &Snapshot) -> Result<Vec<MaskLabelRow>> {
    let sql = Sql::new(snapshot).await?;
    let mut rows = sql.query(Query::named("review/mask_labels")?.sql()).await?;
    let mut found: Vec<MaskLabelRow> = Vec::new();
    while let Some(batch) = rows.next().await? {
        found.extend(decode::<MaskLabelRow>(Table::MaskLabels, &batch)?);
    }
    // Statements of one command have one time.
    let order = |row: &MaskLabelRow| (row.created_at, row.image_id.clone(), row.mask_index);
    found.sort_by_cached_key(order);
    Ok(found)
}

/// Adds statements about masks, in one commit: all of them or, after an error, none.
///
/// # Errors
/// [`ReviewError::NoSuchMask`] for a mask that the store does not have; [`ReviewError::Twice`] for two statements about
/// one mask; [`Error::InvalidName`] for a reviewer's name that is none; errors of the store.
pub async fn label_masks(store: &Store, request: &LabelRequest) -> Result<LabelSummary> {
    if let Some(reviewer) = &request.reviewer {
        check_name("reviewer", reviewer)?;
    }
    check_once(request)?;
    let (_, summary) = store
        .commit_with("label", |snapshot| async move {
            check_masks(&snapshot, request).await?;
            let known = mask_labels(&snapshot).await?;
            plan(request, &known, snapshot.now())
        })
        .await?;
    Ok(summary)
}

/// What is added to the statements that count.
fn plan(
    request: &LabelRequest,
    known: &[MaskLabelRow],
    created_at: chrono::DateTime<chrono::Utc>,
) -> Result<(Changes, LabelSummary)> {
    let mut by_mask: HashMap<MaskKey, Vec<&MaskLabelRow>> = HashMap::new();
    // What was propagated is nobody's word: it neither spares a statement nor contradicts it.
    let propagated = Origin::Propagated.word();
    for row in known.iter().filter(|row| row.origin != propagated) {
        by_mask.entry(MaskKey::of(row)).or_default().push(row);
    }
    let mut summary = LabelSummary::default();
    let mut rows = Vec::new();
    for statement in &request.statements {
        let of_mask = by_mask.get(&statement.mask).map_or(&[][..], Vec::as_slice);
        let says_so = |row: &MaskLabelRow| {
            row.label == statement.label && row.verdict == statement.verdict.word()
        };
        let own = of_mask.iter().find(|row| row.reviewer == request.reviewer);
        if own.is_some_and(|row| says_so(row)) {
            summary.unchanged += 1;
            continue;
        }
        let mut others = of_mask
            .iter()
            .filter(|row| row.reviewer != request.reviewer);
        summary.added += 1;
        summary.replaced += u64::from(own.is_some());
        summary.contradicting += u64::from(others.any(|row| !says_so(row)));
        let answer = Answer {
            label: statement.label.clone(),
            ..Answer::new(statement.mask.clone(), statement.verdict, request.origin)
        };
        rows.push(answer.into_row(request.reviewer.clone(), created_at));
    }
    let mut changes = Changes::new();
    if !rows.is_empty() {
        changes.append(MaskLabelRow::TABLE, MaskLabelRow::to_batch(&rows)?);
    }
    Ok((changes, summary))
}

/// Takes statements back: for each, a newer one of the same reviewer says nothing. Returns what was taken back.
///
/// # Errors
/// [`ReviewError::NoSuchLabel`] for an id of no statement that counts; errors of the store.
pub async fn undo_labels(store: &Store, ids: &[String]) -> Result<Vec<MaskLabelRow>> {
    answer(store, "labels undo", ids, |row| MaskLabelRow {
        label: None,
        verdict: Verdict::Undone.word().to_owned(),
        proof: None,
        ..row
    })
    .await
}

/// Confirms statements: for each, a reviewer says the same, and the statement is the proof. Returns what was confirmed.
///
/// # Errors
/// As [`undo_labels`]; [`Error::InvalidName`] for a reviewer's name that is none.
pub async fn confirm_labels(
    store: &Store,
    ids: &[String],
    reviewer: Option<&str>,
) -> Result<Vec<MaskLabelRow>> {
    if let Some(reviewer) = reviewer {
        check_name("reviewer", reviewer)?;
    }
    answer(store, "labels confirm", ids, |row| MaskLabelRow {
        proof: Some(row.mask_label_id.clone()),
        reviewer: reviewer.map(str::to_owned),
        ..row
    })
    .await
}

/// Adds a statement for each of some that count, which are given by the first digits of their ids.
async fn answer(
    store: &Store,
    operation: &str,
    ids: &[String],
    answered: impl Fn(MaskLabelRow) -> MaskLabelRow,
) -> Result<Vec<MaskLabelRow>> {
    let answered = &answered;
    let (_, found) = store
        .commit_with(operation, |snapshot| async move {
            let known = mask_labels(&snapshot).await?;
            let whole: HashMap<&str, &MaskLabelRow> = known
                .iter()
                .map(|row| (row.mask_label_id.as_str(), row))
                .collect();
            let mut found: BTreeMap<&str, &MaskLabelRow> = BTreeMap::new();
            for id in ids {
                let row = match whole.get(id.as_str()) {
                    Some(row) => Some(*row),
                    None => only_one(&known, id)?,
                };
                let row =
                    row.ok_or_else(|| Error::Review(ReviewError::NoSuchLabel { id: id.clone() }))?;
                found.insert(row.mask_label_id.as_str(), row);
            }
            let found: Vec<MaskLabelRow> = found.into_values().cloned().collect();
            let rows = found.iter().map(|row| {
                with_id(MaskLabelRow {
                    origin: Origin::Review.word().to_owned(),
                    score: None,
                    margin: None,
                    queue: None,
                    head_id: None,
                    seconds: None,
                    created_at: snapshot.now(),
                    ..answered(row.clone())
                })
            });
            let rows: Vec<MaskLabelRow> = rows.collect();
            let mut changes = Changes::new();
            if !rows.is_empty() {
                changes.append(MaskLabelRow::TABLE, MaskLabelRow::to_batch(&rows)?);
            }
            Ok((changes, found))
        })
        .await?;
    Ok(found)
}

/// The only row whose id begins so, if there is one.
fn only_one<'k>(known: &'k [MaskLabelRow], id: &str) -> Result<Option<&'k MaskLabelRow>> {
    let mut of_id = known
        .iter()
        .filter(|row| row.mask_label_id.as_str().starts_with(id));
    match (of_id.next(), of_id.next()) {
        (Some(one), Some(other)) => Err(Error::Review(ReviewError::AmbiguousLabel {
            id: id.to_owned(),
            one: one.mask_label_id.to_string(),
            other: other.mask_label_id.to_string(),
        })),
        (found, _) => Ok(found),
    }
}

/// Checks that no mask is in a request twice.
fn check_once(request: &LabelRequest) -> Result<()> {
    let mut seen: HashMap<&MaskKey, u64> = HashMap::new();
    for statement in &request.statements {
        let line = statement.line.unwrap_or(0);
        if let Some(other) = seen.insert(&statement.mask, line) {
            return Err(Error::Review(ReviewError::Twice {
                place: place(request, statement),
                image: statement.mask.image_id.to_string(),
                mask_index: statement.mask.mask_index,
                other,
            }));
        }
    }
    Ok(())
}

/// Checks that every mask of a request is in the store.
async fn check_masks(snapshot: &Snapshot, request: &LabelRequest) -> Result<()> {
    #[derive(Deserialize)]
    struct Found {
        image_id: ImageId,
        mask_index: i32,
    }
    let masks = request.statements.iter().map(|it| &it.mask);
    let extractors: HashSet<&str> = masks
        .clone()
        .map(|mask| mask.extractor_id.as_str())
        .collect();
    for extractor_id in extractors {
        let of_extractor = masks
            .clone()
            .filter(|mask| mask.extractor_id.as_str() == extractor_id);
        let images: HashSet<&ImageId> = of_extractor.map(|mask| &mask.image_id).collect();
        let wanted = col("extractor_id")
            .eq(lit(extractor_id))
            .and(is_of_images(images));
        let scan = snapshot.scan(Table::Masks).await?;
        let scan = scan.project(&["image_id", "mask_index"])?;
        let mut rows = scan.filter(wanted).stream().await?;
        let mut found: HashSet<(ImageId, i32)> = HashSet::new();
        while let Some(batch) = rows.next().await {
            let rows = decode::<Found>(Table::Masks, &batch?)?.into_iter();
            found.extend(rows.map(|row| (row.image_id, row.mask_index)));
        }
        for statement in &request.statements {
            let mask = &statement.mask;
            if mask.extractor_id.as_str() == extractor_id
                && !found.contains(&(mask.image_id.clone(), mask.mask_index))
            {
                return Err(Error::Review(ReviewError::NoSuchMask {
                    place: place(request, statement),
                    image: mask.image_id.to_string(),
                    mask_index: mask.mask_index,
                    extractor_id: extractor_id.to_owned(),
                }));
            }
        }
    }
    Ok(())
}

/// Where a statement was read from, for an error's text.
fn place(request: &LabelRequest, statement: &Statement) -> String {
    match (&request.file, statement.line) {
        (Some(file), Some(line)) => format!("'{}' line {line}: ", file.display()),
        _ => String::new(),
    }
}
