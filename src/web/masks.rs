//! Masks as the page shows them: their pixels, what a head says, and what was answered.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query as Parameters, State};
use grainstore::catalogue::{find_head, find_image, find_masks_of};
use grainstore::head::{ClassScores, class_scores};
use grainstore::ids::{ExtractorId, ImageId};
use grainstore::query::{Query, QuerySession};
use grainstore::review::{ShownMask, Verdict};
use grainstore::store::Snapshot;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::failure::{Answered, Failure};

/// Maximum number of masks in a request.
const AT_ONCE: usize = 200;
/// Classes of which a mask's probability is told.
const BEST: usize = 5;

/// A mask in a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
pub struct Key {
    extractor_id: ExtractorId,
    image_id: ImageId,
    mask_index: i32,
}

/// Which masks are asked for, and which head is asked about them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    masks: Vec<Key>,
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
    /// Whether only neighbours say so.
    is_propagated: bool,
}

/// `POST /api/masks`: details of masks.
pub async fn masks(
    State(app): State<Arc<App>>,
    Json(request): Json<Request>,
) -> Answered<Json<Vec<Detailed>>> {
    if request.masks.len() > AT_ONCE {
        return Err(Failure::bad(format!(
            "{} masks at once; at most {AT_ONCE} can be asked for",
            request.masks.len()
        )));
    }
    let mut of_extractor: HashMap<ExtractorId, HashSet<ImageId>> = HashMap::new();
    for mask in &request.masks {
        let images = of_extractor.entry(mask.extractor_id.clone()).or_default();
        images.insert(mask.image_id.clone());
    }
    let mut images: HashSet<ImageId> = HashSet::new();
    for (extractor_id, of_extractor) in of_extractor {
        let some: Vec<ImageId> = of_extractor.into_iter().collect();
        app.photos.read_ahead(&extractor_id, &some).await?;
        images.extend(some);
    }
    let images: Vec<ImageId> = images.into_iter().collect();
    // Scores and masks do not depend on answers, so these may wait in the journal.
    let snapshot = app.store.snapshot().await?;
    let scores = scores(&snapshot, request.head.as_deref(), &images).await?;
    let mut found = Vec::with_capacity(request.masks.len());
    for key in &request.masks {
        let masks = app
            .photos
            .masks_of(&key.extractor_id, &key.image_id)
            .await?;
        let mask = masks.iter().find(|it| it.mask_index == key.mask_index);
        let mask = mask.ok_or_else(|| {
            Failure::missing(format!(
                "image '{}' has no mask {} of extractor '{}'",
                key.image_id, key.mask_index, key.extractor_id
            ))
        })?;
        let row = app.photos.image_row(&key.image_id).await?;
        found.push(Detailed {
            best: best(scores.as_ref(), mask),
            said: app.answered(&mask.key()).and_then(|row| {
                let undone = row.verdict == Verdict::Undone.word();
                (!undone).then_some(Answer {
                    verdict: row.verdict,
                    label: row.label,
                    is_propagated: false,
                })
            }),
            mask: mask.clone(),
            file_name: row.file_name.clone(),
        });
    }
    Ok(Json(found))
}

async fn scores(
    snapshot: &Snapshot,
    head: Option<&str>,
    images: &[ImageId],
) -> Answered<Option<ClassScores>> {
    match head.filter(|head| !head.is_empty()) {
        Some(head) => Ok(Some(class_scores(snapshot, head, images).await?)),
        None => Ok(None),
    }
}

/// The most likely classes of a mask.
fn best(scores: Option<&ClassScores>, mask: &ShownMask) -> Vec<Likely> {
    let of_mask = scores.and_then(|scores| {
        let is_own = scores.extractor_id == mask.extractor_id;
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
    image_id: ImageId,
    file_name: String,
    width: i32,
    height: i32,
    extractor_id: ExtractorId,
    masks: Vec<Detailed>,
}

/// A row of `review/labels_of_image`.
#[derive(Debug, Deserialize)]
struct SaidOfMask {
    mask_index: i32,
    mask_is: Option<Vec<String>>,
    mask_is_not: Option<Vec<String>>,
    mask_is_none: bool,
    mask_is_bad: bool,
    is_propagated: bool,
}

impl SaidOfMask {
    /// What is said of it in one answer; reviewers who contradict each other are told in one label.
    fn answer(self) -> Option<Answer> {
        let joined = |labels: Option<Vec<String>>| {
            let labels = labels.filter(|labels| !labels.is_empty());
            labels.map(|labels| labels.join(" / "))
        };
        let (verdict, label) = match (self.mask_is_bad, joined(self.mask_is)) {
            (true, _) => ("bad mask", None),
            (false, Some(label)) => ("is", Some(label)),
            (false, None) if self.mask_is_none => ("is", None),
            (false, None) => ("is not", Some(joined(self.mask_is_not)?)),
        };
        Some(Answer {
            verdict: verdict.to_owned(),
            label,
            is_propagated: self.is_propagated,
        })
    }
}

/// `GET /api/image?image=a.jpg`: an image with its masks.
pub async fn image(
    State(app): State<Arc<App>>,
    Parameters(request): Parameters<ImageRequest>,
) -> Answered<Json<ImageWithMasks>> {
    let snapshot = app.snapshot().await?;
    let image_id = find_image(&snapshot, &request.image).await?;
    let row = app.photos.image_row(&image_id).await?;
    let word = request.extractor.as_deref().filter(|word| !word.is_empty());
    let extractor_id = match (word, request.head.as_deref()) {
        (None, Some(head)) if !head.is_empty() => find_head(&snapshot, head).await?.extractor_id,
        (word, _) => find_masks_of(&snapshot, word).await?.extractor_id,
    };
    let of_image = std::slice::from_ref(&image_id);
    let scores = scores(&snapshot, request.head.as_deref(), of_image).await?;
    let session = QuerySession::new(&snapshot).await?;
    let words = HashMap::from([
        ("image".to_owned(), image_id.to_string()),
        ("extractor".to_owned(), extractor_id.to_string()),
    ]);
    let query = Query::named("review/labels_of_image")?;
    let said: Vec<SaidOfMask> = super::sql::all(session.run(&query, &words).await?).await?;
    let said: HashMap<i32, Answer> = said
        .into_iter()
        .filter_map(|row| Some((row.mask_index, row.answer()?)))
        .collect();
    let masks = app.photos.masks_of(&extractor_id, &image_id).await?;
    let masks = masks.iter().map(|mask| Detailed {
        best: best(scores.as_ref(), mask),
        said: said.get(&mask.mask_index).cloned(),
        mask: mask.clone(),
        file_name: row.file_name.clone(),
    });
    Ok(Json(ImageWithMasks {
        image_id,
        file_name: row.file_name.clone(),
        width: row.width,
        height: row.height,
        extractor_id,
        masks: masks.collect(),
    }))
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
    let session = QuerySession::new(&snapshot).await?;
    let mut words = HashMap::new();
    if let Some(name) = request.name.filter(|name| !name.is_empty()) {
        words.insert("name".to_owned(), name);
    }
    if let Some(offset) = request.offset {
        words.insert("offset".to_owned(), offset.to_string());
    }
    let query = Query::named("review/image_list")?;
    let rows = session.run(&query, &words).await?;
    Ok(Json(super::sql::all(rows).await?))
}
