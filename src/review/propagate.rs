//! Spreads labels of masks to their neighbours: a mask gets the label of the most similar labelled mask, if it is similar
//! enough and no mask of another label is nearly as similar.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use chrono::{DateTime, Utc};
use datafusion::logical_expr::Expr;
use futures::StreamExt;
use serde::Serialize;

use super::answer::Answer;
use super::label::mask_labels;
use super::statement::{MaskKey, Origin, Verdict};
use super::vectors::{MaskVectors, UnitVectors};
use crate::catalogue::find_masks_of;
use crate::error::ReviewError;
use crate::ids::{ExtractorId, ImageId, MaskLabelId};
use crate::neighbours::SearchedTable;
use crate::progress::Progress;
use crate::query::Query;
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::sql::Sql;
use crate::store::rows::{MaskLabelRow, Row, decode};
use crate::store::{Changes, Snapshot, Store, is_of_images};
use crate::task::blocking;
use crate::{Error, Result};

/// Name of masks that show nothing of any class, in a summary.
const NONE: &str = "none of any class";

/// Similarities that are computed at once.
const AT_ONCE: usize = 16 << 20;

/// What to spread.
#[derive(Debug, Clone)]
pub struct PropagateRequest {
    /// The vectors by which masks are compared.
    pub table: SearchedTable,
    /// First digits of the extractor's id; `None` for the only one.
    pub extractor: Option<String>,
    /// Filter for the images whose masks may get a label.
    pub images: ImageFilter,
    /// Minimum cosine similarity with the most similar labelled mask, from -1 to 1.
    pub min_score: f64,
    /// Minimum lead of this similarity over that with the most similar mask of another label.
    pub min_margin: f64,
    /// Only count, and store nothing.
    pub dry_run: bool,
}

impl PropagateRequest {
    /// Spreads by the vectors of a table, at the default thresholds.
    pub fn new(table: SearchedTable) -> Self {
        Self {
            table,
            extractor: None,
            images: ImageFilter::default(),
            min_score: 0.9,
            min_margin: 0.05,
            dry_run: false,
        }
    }

    fn check(&self) -> Result<()> {
        for (what, value, range) in [
            ("minimum score", self.min_score, -1.0..=1.0),
            ("minimum margin", self.min_margin, 0.0..=2.0),
        ] {
            if !range.contains(&value) {
                return Err(Error::InvalidOption {
                    what,
                    value: value.to_string(),
                    expected: format!("a number from {} to {}", range.start(), range.end()),
                });
            }
        }
        Ok(())
    }
}

/// Result of spreading labels.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PropagateSummary {
    /// Extractor of the masks.
    pub extractor_id: String,
    /// Labelled masks whose labels are spread.
    pub labelled: u64,
    /// Other masks that were compared with them.
    pub compared: u64,
    /// Masks without a vector.
    pub without_vector: u64,
    /// Masks that have a spread label now, by label.
    pub labels: BTreeMap<String, u64>,
    /// Labels that were added; a spread label that stays as it was is not added again.
    pub added: u64,
    /// Spread labels of earlier that no longer hold, and were taken back.
    pub taken_back: u64,
}

/// A labelled mask.
pub(super) struct Source {
    pub mask: MaskKey,
    pub label: Option<String>,
    pub mask_label_id: MaskLabelId,
}

/// A spread label.
struct Spread {
    mask: MaskKey,
    label: Option<String>,
    proof: MaskLabelId,
    score: f32,
    margin: f32,
}

/// Spreads labels, in one commit. Only masks of which nobody says anything get one, and none of which a reviewer has taken
/// back what was said. Where a mask of the chosen images had a spread label before and would get none now, it is taken
/// back.
///
/// # Errors
/// [`ReviewError::NothingToPropagate`] if no mask with a vector is labelled; [`Error::InvalidOption`];
/// [`crate::error::CatalogueError`] for names that do not exist; errors of the store. After an error nothing is stored.
pub async fn propagate(
    store: &Store,
    request: &PropagateRequest,
    progress: &dyn Progress,
) -> Result<PropagateSummary> {
    request.check()?;
    let snapshot = store.snapshot().await?;
    let extractor = find_masks_of(&snapshot, request.extractor.as_deref()).await?;
    let extractor_id = extractor.extractor_id;
    let images = request.images.chosen_ids(&snapshot).await?;
    let vectors = MaskVectors::open(&snapshot, &request.table, &extractor_id).await?;
    let known = Known::read(&snapshot).await?;
    let sources = known.sources(vectors.extractors());
    let of_images: HashSet<&ImageId> = sources.iter().map(|it| &it.mask.image_id).collect();
    let read = vectors.all(Some(is_of_images(of_images))).await?;
    let may_have = |mask: &MaskKey| {
        vectors.extractors().contains(&mask.extractor_id)
            && images
                .as_ref()
                .is_none_or(|images| images.contains(&mask.image_id))
    };
    let nearest = Nearest::new(sources, &read).map(Arc::new);
    // Without a labelled mask there is nothing to spread, but what was spread before may have to go.
    if nearest.is_none() && !known.spread.keys().any(may_have) {
        return Err(Error::Review(ReviewError::NothingToPropagate {
            table: request.table.to_string(),
        }));
    }
    let mut summary = PropagateSummary {
        extractor_id: extractor_id.to_string(),
        labelled: nearest.as_ref().map_or(0, |it| it.sources.len() as u64),
        ..PropagateSummary::default()
    };
    let mut spread = Vec::new();
    if let Some(nearest) = nearest {
        let filter = images.as_ref().map(is_of_images);
        let mut compared = 0;
        let without = each_free(
            &vectors,
            filter,
            &nearest,
            &known,
            progress,
            |mask, found| {
                compared += 1;
                let holds = f64::from(found.score) >= request.min_score
                    && f64::from(found.margin) >= request.min_margin;
                if let Some(source) = nearest.source(found.source).filter(|_| holds) {
                    spread.push(Spread {
                        mask,
                        label: source.label.clone(),
                        proof: source.mask_label_id.clone(),
                        score: found.score,
                        margin: found.margin,
                    });
                }
            },
        );
        summary.without_vector = without.await?;
        summary.compared = compared;
    }
    for it in &spread {
        let label = it.label.as_deref().unwrap_or(NONE);
        *summary.labels.entry(label.to_owned()).or_default() += 1;
    }
    if request.dry_run {
        let rows = known.changes(&spread, may_have, snapshot.now());
        (summary.added, summary.taken_back) = counts(&rows);
        return Ok(summary);
    }
    let (spread, may_have) = (&spread, &may_have);
    let (_, (added, taken_back)) = store
        .commit_with("propagate", |snapshot| async move {
            // Somebody may have said something meanwhile.
            let known = Known::read(&snapshot).await?;
            let rows = known.changes(spread, may_have, snapshot.now());
            let mut changes = Changes::new();
            if !rows.is_empty() {
                changes.append(MaskLabelRow::TABLE, MaskLabelRow::to_batch(&rows)?);
            }
            Ok((changes, counts(&rows)))
        })
        .await?;
    (summary.added, summary.taken_back) = (added, taken_back);
    Ok(summary)
}

/// Compares all masks of which nobody says anything with the labelled ones; returns the number of masks without a vector.
pub(super) async fn each_free(
    vectors: &MaskVectors<'_>,
    filter: Option<Expr>,
    nearest: &Arc<Nearest>,
    known: &Known,
    progress: &dyn Progress,
    mut each: impl FnMut(MaskKey, Found),
) -> Result<u64> {
    let mut rows = vectors.stream(filter).await?;
    let mut without = 0;
    progress.start("masks", None);
    while let Some(part) = rows.next().await {
        let part = part?;
        progress.advance(part.masks.len() as u64);
        without += part.without;
        let its = nearest.clone();
        let (part, found) = blocking("comparing masks", move || {
            let found = its.of(&part)?;
            Ok((part, found))
        })
        .await?;
        for ((image_id, mask_index), found) in part.masks.into_iter().zip(found) {
            let mask = vectors.key(image_id, mask_index)?;
            if known.is_free(&mask) {
                each(mask, found);
            }
        }
    }
    progress.finish();
    Ok(without)
}

/// How many rows add a label, and how many take one back.
fn counts(rows: &[MaskLabelRow]) -> (u64, u64) {
    let undone = rows
        .iter()
        .filter(|row| row.verdict == Verdict::Undone.word());
    let undone = undone.count() as u64;
    (rows.len() as u64 - undone, undone)
}

/// What is said of masks.
pub(super) struct Known {
    /// What people, files and annotations say.
    said: HashMap<MaskKey, Vec<MaskLabelRow>>,
    /// What was spread before.
    spread: HashMap<MaskKey, MaskLabelRow>,
    taken_back: HashSet<MaskKey>,
}

impl Known {
    pub async fn read(snapshot: &Snapshot) -> Result<Self> {
        let mut known = Self {
            said: HashMap::new(),
            spread: HashMap::new(),
            taken_back: HashSet::new(),
        };
        for row in mask_labels(snapshot).await? {
            if row.origin == Origin::Propagated.word() {
                known.spread.insert(MaskKey::of(&row), row);
            } else {
                known.said.entry(MaskKey::of(&row)).or_default().push(row);
            }
        }
        let query = Query::named("review/masks_taken_back")?;
        let mut rows = Sql::new(snapshot).await?.query(query.sql()).await?;
        while let Some(batch) = rows.next().await? {
            let some = decode::<MaskKey>(Table::MaskLabels, &batch)?;
            known.taken_back.extend(some);
        }
        Ok(known)
    }

    /// Whether a mask may get a label.
    fn is_free(&self, mask: &MaskKey) -> bool {
        !self.said.contains_key(mask) && !self.taken_back.contains(mask)
    }

    /// The masks of some extractors of which everybody says the same, and what they show.
    pub fn sources(&self, extractors: &[ExtractorId]) -> Vec<Source> {
        let is = Verdict::Is.word();
        let mut sources: Vec<Source> = self
            .said
            .iter()
            .filter(|(mask, _)| extractors.contains(&mask.extractor_id))
            .filter_map(|(mask, rows)| {
                let first = rows.first()?;
                let agree = |row: &MaskLabelRow| row.verdict == is && row.label == first.label;
                rows.iter().all(agree).then(|| Source {
                    mask: mask.clone(),
                    label: first.label.clone(),
                    mask_label_id: first.mask_label_id.clone(),
                })
            })
            .collect();
        sources.sort_by(|a, b| a.mask.cmp(&b.mask));
        sources
    }

    /// The rows that make these spread labels the only ones among the masks that may have one.
    fn changes(
        &self,
        spread: &[Spread],
        may_have: impl Fn(&MaskKey) -> bool,
        created_at: DateTime<Utc>,
    ) -> Vec<MaskLabelRow> {
        // A label whose own one was taken back or changed meanwhile has no proof any more.
        let proofs: HashSet<&MaskLabelId> = self
            .said
            .values()
            .flatten()
            .map(|row| &row.mask_label_id)
            .collect();
        let free = spread
            .iter()
            .filter(|it| self.is_free(&it.mask) && proofs.contains(&it.proof));
        let wanted: HashMap<&MaskKey, &Spread> = free.map(|it| (&it.mask, it)).collect();
        let mut rows = Vec::new();
        for it in wanted.values() {
            let before = self.spread.get(&it.mask);
            let same = |row: &&MaskLabelRow| {
                row.label == it.label && row.proof.as_ref() == Some(&it.proof)
            };
            if before.filter(same).is_none() {
                rows.push(row(&it.mask, created_at, Some(it)));
            }
        }
        let old = self.spread.keys().filter(|mask| may_have(mask));
        for mask in old.filter(|mask| !wanted.contains_key(mask)) {
            // What somebody has said something of since is not theirs to take back, and counts no more.
            if self.is_free(mask) {
                rows.push(row(mask, created_at, None));
            }
        }
        rows.sort_by(|a, b| (&a.image_id, a.mask_index).cmp(&(&b.image_id, b.mask_index)));
        rows
    }
}

/// The row of a spread label, or one that takes it back.
fn row(mask: &MaskKey, created_at: DateTime<Utc>, spread: Option<&Spread>) -> MaskLabelRow {
    let verdict = if spread.is_some() {
        Verdict::Is
    } else {
        Verdict::Undone
    };
    let answer = Answer {
        label: spread.and_then(|it| it.label.clone()),
        proof: spread.map(|it| it.proof.clone()),
        score: spread.map(|it| it.score),
        margin: spread.map(|it| it.margin),
        ..Answer::new(mask.clone(), verdict, Origin::Propagated)
    };
    answer.into_row(None, created_at)
}

/// Labelled masks with their vectors.
pub(super) struct Nearest {
    sources: Vec<Source>,
    /// Number of the label of each, in the order of their first masks.
    labels: Vec<usize>,
    /// `[numbers, masks]`.
    vectors: Tensor<2>,
}

/// The most similar labelled mask.
pub(super) struct Found {
    /// Its place among the labelled masks.
    pub source: usize,
    /// Cosine similarity.
    pub score: f32,
    /// Lead over the most similar mask of another label.
    pub margin: f32,
}

impl Nearest {
    /// Pairs labelled masks with their vectors; `None` if there is none.
    pub fn new(sources: Vec<Source>, read: &UnitVectors) -> Option<Self> {
        let places: HashMap<(&ImageId, i32), usize> = read
            .masks
            .iter()
            .enumerate()
            .map(|(at, (image, index))| ((image, *index), at))
            .collect();
        let mut numbers = Vec::new();
        let mut used = Vec::new();
        for source in sources {
            let place = places.get(&(&source.mask.image_id, source.mask.mask_index));
            let vector = place.and_then(|at| read.numbers.get(at * read.dim..(at + 1) * read.dim));
            if let Some(vector) = vector {
                numbers.extend_from_slice(vector);
                used.push(source);
            }
        }
        if used.is_empty() {
            return None;
        }
        let mut numbering: HashMap<Option<&str>, usize> = HashMap::new();
        let labels = used.iter().map(|source| {
            let next = numbering.len();
            *numbering.entry(source.label.as_deref()).or_insert(next)
        });
        let labels = labels.collect();
        let data = TensorData::new(numbers, [used.len(), read.dim]);
        let vectors = Tensor::<2>::from_data(data, &Device::flex()).transpose();
        Some(Self {
            sources: used,
            labels,
            vectors,
        })
    }

    /// The labelled mask at a place.
    pub fn source(&self, place: usize) -> Option<&Source> {
        self.sources.get(place)
    }

    /// The most similar labelled mask of each mask.
    fn of(&self, part: &UnitVectors) -> Result<Vec<Found>> {
        let count = self.sources.len().max(1);
        let rows = (AT_ONCE / count).max(1);
        let mut found = Vec::with_capacity(part.masks.len());
        for some in part.numbers.chunks((rows * part.dim).max(1)) {
            let shape = [some.len() / part.dim.max(1), part.dim];
            let data = TensorData::new(some.to_vec(), shape);
            let numbers = Tensor::<2>::from_data(data, &Device::flex());
            let similarities = numbers.matmul(self.vectors.clone()).into_data();
            let similarities = similarities.try_to_vec::<f32>();
            let similarities = similarities.map_err(|_| Error::Internal {
                what: "similarities are no 32-bit numbers",
            })?;
            found.extend(similarities.chunks_exact(count).map(|row| self.best(row)));
        }
        Ok(found)
    }

    /// The best of a mask's similarities. Without another label, the margin is the distance to the least similar vector
    /// that there can be.
    fn best(&self, similarities: &[f32]) -> Found {
        let mut found = Found {
            source: 0,
            score: f32::NEG_INFINITY,
            margin: 0.0,
        };
        for (at, score) in similarities.iter().enumerate() {
            if *score > found.score {
                (found.source, found.score) = (at, *score);
            }
        }
        let own = self.labels.get(found.source);
        let others = similarities.iter().zip(&self.labels);
        let others = others.filter(|(_, label)| Some(*label) != own);
        let next = others.map(|(score, _)| *score).fold(-1.0, f32::max);
        found.margin = found.score - next;
        found
    }
}
