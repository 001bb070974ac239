//! Masks as the page shows them: their pixels, what a head says, and what was answered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query as Parameters, State};
use grainstore::Error;
use grainstore::catalogue::{
    extractors_stored, find_head, find_image, find_masks_of, sees_alike, with_prompted,
};
use grainstore::error::HeadError;
use grainstore::head::{ClassScores, class_scores};
use grainstore::ids::{ExtractorId, ImageId};
use grainstore::review::{MaskKey, Origin, ShownMask, Verdict, statements_of_images};
use grainstore::store::Snapshot;
use grainstore::store::rows::{ExtractorKind, ExtractorRow, MaskLabelRow};
use serde::{Deserialize, Serialize};

use super::app::App;
use super::failure::{Answered, Failure};
use super::queue::{Context, context};
use super::sql::named;

/// Maximum number of masks in a request.
const AT_ONCE: usize = 200;
/// Number of classes, the most likely ones, whose probabilities go to the page.
const BEST: usize = 5;

/// Which masks are asked for, and which head is asked about them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    masks: Vec<MaskKey>,
    head: Option<String>,
}

/// A class, and how likely a mask shows it.
#[derive(Debug, Serialize)]
pub struct Likely {
    class: String,
    /// [0, 1].
    probability: f32,
}

/// A mask with everything that is shown of it.
#[derive(Debug, Serialize)]
pub struct Detailed {
    #[serde(flatten)]
    mask: ShownMask,
    file_name: String,
    /// The head's classes, the most likely first.
    best: Vec<Likely>,
    /// What was answered of it.
    said: Option<Answer>,
}

/// What is said of a mask.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    verdict: String,
    label: Option<String>,
    /// Who says so, if not the reviewer of the page: another reviewer, 'a file', 'annotations', or 'neighbours'.
    by: Option<String>,
}

impl Answer {
    /// What counts of a mask: what the reviewer said last, else what anybody else did; `None` if nobody says anything.
    fn of(said: &[&MaskLabelRow], reviewer: Option<&str>) -> Option<Self> {
        let newest = |of: &dyn Fn(&MaskLabelRow) -> bool| {
            let found = said.iter().rev().find(|row| of(row)).copied();
            found.filter(|row| row.verdict != Verdict::Undone.word())
        };
        let own = newest(&|row| row.reviewer.as_deref() == reviewer && is_review(row));
        let other = || newest(&|row| row.reviewer.as_deref() != reviewer || !is_review(row));
        let row = own.or_else(other)?;
        let by = match (own.is_some(), &row.reviewer) {
            (true, _) => None,
            (false, Some(name)) => Some(name.clone()),
            (false, None) => Some(
                match row.origin.as_str() {
                    "propagated" => "neighbours",
                    "ground-truth" => "annotations",
                    "import" => "a file",
                    _ => "nobody in person",
                }
                .to_owned(),
            ),
        };
        Some(Self {
            verdict: row.verdict.clone(),
            label: row.label.clone(),
            by,
        })
    }
}

fn is_review(row: &MaskLabelRow) -> bool {
    row.origin == Origin::Review.word()
}

/// `POST /api/masks`: details of masks, in their order; null for one that is not there.
pub async fn masks(
    State(app): State<Arc<App>>,
    Json(request): Json<Request>,
) -> Answered<Json<Vec<Option<Detailed>>>> {
    if request.masks.len() > AT_ONCE {
        return Err(Failure::bad(format!(
            "{} masks at once; at most {AT_ONCE} can be asked for",
            request.masks.len()
        )));
    }
    let found = detailed(&app, &request.masks, request.head.as_deref()).await?;
    Ok(Json(found))
}

/// Details of masks, in their order; `None` for one that is not there.
pub async fn detailed(
    app: &App,
    masks: &[MaskKey],
    head: Option<&str>,
) -> Answered<Vec<Option<Detailed>>> {
    app.photos.read_ahead(masks).await?;
    let images: HashSet<&ImageId> = masks.iter().map(|it| &it.image_id).collect();
    let images: Vec<ImageId> = images.into_iter().cloned().collect();
    // Answers that are only in the journal yet are in memory, too.
    let snapshot = app.store.snapshot().await?;
    let scores = scores(&snapshot, head, &images).await?;
    let said = Said::read(&snapshot, &images).await?;
    let mut found = Vec::with_capacity(masks.len());
    for key in masks {
        found.push(match app.photos.mask(key).await? {
            Some(mask) => Some(Detailed {
                best: best(scores.as_ref(), &mask),
                said: said.of(app, &mask),
                file_name: app.photos.image_row(&key.image_id).await?.file_name.clone(),
                mask,
            }),
            None => None,
        });
    }
    Ok(found)
}

/// What was said of the masks of some images.
struct Said(HashMap<MaskKey, Vec<MaskLabelRow>>);

impl Said {
    async fn read(snapshot: &Snapshot, images: &[ImageId]) -> Answered<Self> {
        let mut of_masks: HashMap<MaskKey, Vec<MaskLabelRow>> = HashMap::new();
        for row in statements_of_images(snapshot, images).await? {
            let key = MaskKey::of(&row);
            of_masks.entry(key).or_default().push(row);
        }
        Ok(Self(of_masks))
    }

    fn of(&self, app: &App, mask: &ShownMask) -> Option<Answer> {
        let key = mask.key();
        let answered = app.answered(&key);
        let rows = self.0.get(&key).into_iter().flatten();
        let rows: Vec<&MaskLabelRow> = rows.chain(&answered).collect();
        Answer::of(&rows, app.reviewer.as_deref())
    }
}

async fn scores(
    snapshot: &Snapshot,
    head: Option<&str>,
    images: &[ImageId],
) -> Answered<Option<ClassScores>> {
    match head.filter(|head| !head.is_empty()) {
        Some(head) => match class_scores(snapshot, head, images).await {
            Ok(scores) => Ok(Some(scores)),
            // Imported predictions have no weights: there is nothing to ask about a single mask.
            Err(Error::Head(HeadError::Unusable { .. })) => Ok(None),
            Err(err) => Err(err.into()),
        },
        None => Ok(None),
    }
}

/// The most likely classes of a mask.
fn best(scores: Option<&ClassScores>, mask: &ShownMask) -> Vec<Likely> {
    let of_mask = scores.and_then(|scores| {
        let is_own = scores.extractors.contains(&mask.extractor_id);
        let found = scores
            .of_masks
            .get(&(mask.image_id.clone(), mask.mask_index));
        found.filter(|_| is_own).map(|found| (scores, found))
    });
    let Some((scores, probabilities)) = of_mask else {
        return Vec::new();
    };
    let mut all: Vec<Likely> = scores
        .classes
        .iter()
        .zip(probabilities)
        .map(|(class, probability)| Likely {
            class: class.clone(),
            probability: *probability,
        })
        .collect();
    all.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    all.truncate(BEST);
    all
}

/// Which image is asked for.
#[derive(Debug, Deserialize)]
pub struct ImageRequest {
    /// Its file name, or the first digits of its id.
    image: String,
    extractor: Option<String>,
    head: Option<String>,
}

/// An image with all masks of an extractor.
#[derive(Debug, Serialize)]
pub struct ImageWithMasks {
    #[serde(flatten)]
    context: Context,
    image_id: ImageId,
    file_name: String,
    width: i32,
    height: i32,
    extractor_id: ExtractorId,
    masks: Vec<Detailed>,
}

/// `GET /api/image?image=a.jpg`: an image with its masks.
pub async fn image(
    State(app): State<Arc<App>>,
    Parameters(request): Parameters<ImageRequest>,
) -> Answered<Json<ImageWithMasks>> {
    let snapshot = app.store.snapshot().await?;
    let image_id = find_image(&snapshot, &request.image).await?;
    let row = app.photos.image_row(&image_id).await?;
    let word = request.extractor.as_deref().filter(|word| !word.is_empty());
    let extractor_id = match (word, request.head.as_deref()) {
        (None, Some(head)) if !head.is_empty() => find_head(&snapshot, head).await?.extractor_id,
        (word, _) => find_masks_of(&snapshot, word).await?.extractor_id,
    };
    let of_image = std::slice::from_ref(&image_id);
    let scores = scores(&snapshot, request.head.as_deref(), of_image).await?;
    let said = Said::read(&snapshot, of_image).await?;
    let extractor_id = beside_prompted(&snapshot, extractor_id).await?;
    let mut extractors = with_prompted(&snapshot, &extractor_id).await?;
    // Those that were added on this page are shown whatever the model.
    let added = app.model.as_ref().map(|it| it.prompter().extractor());
    if let Some(added) = added
        && !extractors.contains(&added.extractor_id)
    {
        extractors.push(added.extractor_id.clone());
    }
    let mut masks = Vec::new();
    for of_extractor in &extractors {
        let found = app.photos.masks_of(of_extractor, &image_id).await?;
        masks.extend(found.iter().map(|mask| Detailed {
            best: best(scores.as_ref(), mask),
            said: said.of(&app, mask),
            mask: mask.clone(),
            file_name: row.file_name.clone(),
        }));
    }
    let head = request.head.as_deref().filter(|head| !head.is_empty());
    Ok(Json(ImageWithMasks {
        context: context(&snapshot, head, None).await?,
        image_id,
        file_name: row.file_name.clone(),
        width: row.width,
        height: row.height,
        extractor_id,
        masks,
    }))
}

/// An extractor, or in place of that of added masks, the one beside whose masks they were added, if it is in the store.
async fn beside_prompted(snapshot: &Snapshot, extractor_id: ExtractorId) -> Answered<ExtractorId> {
    let stored = extractors_stored(snapshot).await?;
    let is_prompted = |row: &&ExtractorRow| row.kind == ExtractorKind::Prompted;
    let own = stored.iter().find(|row| row.extractor_id == extractor_id);
    let Some(own) = own.filter(is_prompted) else {
        return Ok(extractor_id);
    };
    let is_beside = |row: &&ExtractorRow| !is_prompted(row) && sees_alike(row, own);
    let beside = stored.iter().find(is_beside);
    Ok(beside.map_or(extractor_id, |row| row.extractor_id.clone()))
}

/// Which images are asked for.
#[derive(Debug, Deserialize)]
pub struct ImagesRequest {
    name: Option<String>,
    offset: Option<u64>,
}

/// A row of `review/image_list`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListedImage {
    image_id: ImageId,
    file_name: String,
    dataset: String,
    split: Option<String>,
}

/// `GET /api/images?name=cat&offset=60`: images by name.
pub async fn images(
    State(app): State<Arc<App>>,
    Parameters(request): Parameters<ImagesRequest>,
) -> Answered<Json<Vec<ListedImage>>> {
    let snapshot = app.store.snapshot().await?;
    let mut words = HashMap::new();
    if let Some(name) = request.name.filter(|name| !name.is_empty()) {
        words.insert("name".to_owned(), name);
    }
    if let Some(offset) = request.offset {
        words.insert("offset".to_owned(), offset.to_string());
    }
    Ok(Json(named(&snapshot, "review/image_list", &words).await?))
}

/// The images before and after one, in the order of their names.
#[derive(Debug, Serialize, Deserialize)]
pub struct Beside {
    before: Option<ImageId>,
    after: Option<ImageId>,
}

/// `GET /api/beside?image=ID`.
pub async fn beside(
    State(app): State<Arc<App>>,
    Parameters(request): Parameters<ImageRequest>,
) -> Answered<Json<Beside>> {
    let snapshot = app.store.snapshot().await?;
    let words = HashMap::from([("image".to_owned(), request.image)]);
    let found: Vec<Beside> = named(&snapshot, "review/image_beside", &words).await?;
    let first = found.into_iter().next();
    first
        .map(Json)
        .ok_or_else(|| Failure::missing("there is no such image"))
}
