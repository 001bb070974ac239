//! Grids: masks that a head calls one class, or that are like a mask, to be confirmed at a glance.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query as Parameters, State};
use grainstore::Error;
use grainstore::catalogue::find_image;
use grainstore::error::ReviewError;
use grainstore::ids::{ExtractorId, ImageId, MaskLabelId};
use grainstore::neighbours::{NearestRequest, SearchQuery, SearchedTable, nearest};
use grainstore::progress::NoProgress;
use grainstore::review::{MaskKey, masks_like_labelled};
use grainstore::store::Snapshot;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::failure::{Answered, Failure};
use super::queue::{Context, context, given};
use super::sql::named;

/// Masks that are asked for, by default and at most.
const COUNT: usize = 60;
const MOST: usize = 5000;
/// Neighbours that are looked for beyond the number that is asked for, because labelled ones are left out.
const NEIGHBOURS: usize = 1000;

/// Which masks are asked for: those that a head calls a class, those like its labelled masks, or those like one mask.
#[derive(Debug, Deserialize)]
pub struct Request {
    head: Option<String>,
    class: Option<String>,
    /// 'head' or 'labels': what makes a mask one of the class.
    by: Option<String>,
    /// 'score', 'unsure' or 'area'.
    sort: Option<String>,
    /// File name or id of the image of the mask that others are to be like.
    image: Option<String>,
    mask: Option<i32>,
    extractor: Option<String>,
    /// Vectors by which masks are alike: an embedder; the tokens by default.
    vectors: Option<String>,
    count: Option<usize>,
}

impl Request {
    fn count(&self) -> usize {
        self.count.unwrap_or(COUNT).min(MOST)
    }
}

/// A mask in a grid.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell {
    extractor_id: ExtractorId,
    image_id: ImageId,
    mask_index: i32,
    class: Option<String>,
    /// The head's score, or the cosine similarity.
    score: f64,
    /// The label of the labelled mask that it is like.
    #[serde(default)]
    proof: Option<MaskLabelId>,
}

impl Cell {
    fn key(&self) -> MaskKey {
        MaskKey {
            extractor_id: self.extractor_id.clone(),
            image_id: self.image_id.clone(),
            mask_index: self.mask_index,
        }
    }
}

/// A page of a grid.
#[derive(Debug, Serialize)]
pub struct Grid {
    #[serde(flatten)]
    context: Context,
    masks: Vec<Cell>,
}

/// `GET /api/grid?head=fine&class=cat` or `GET /api/grid?image=a.jpg&mask=3`.
pub async fn grid(
    State(app): State<Arc<App>>,
    Parameters(request): Parameters<Request>,
) -> Answered<Json<Grid>> {
    let snapshot = app.snapshot().await?;
    let head = app.head(&snapshot, request.head.as_deref()).await?;
    let context = context(&snapshot, head.as_deref(), None).await?;
    let masks = match (given(&request.image), request.mask, given(&request.class)) {
        (Some(image), Some(mask), _) => alike(&snapshot, &request, image, mask).await?,
        (_, _, Some(class)) if given(&request.by) == Some("labels") => {
            let found = context.classes.iter().find(|it| it.name == class);
            let labels = found.map_or_else(|| vec![class.to_owned()], |it| it.labels.clone());
            of_labels(&snapshot, &request, head.as_deref(), &labels).await?
        }
        (_, _, Some(class)) => {
            let head = head.as_deref().ok_or_else(|| {
                Failure::bad("there is no head yet: train one, or look for masks that are like one")
            })?;
            let place = context.classes.iter().position(|it| it.name == class);
            let class_index = place.ok_or_else(|| {
                let set = context.class_set.as_deref().unwrap_or_default();
                Failure::missing(format!("there is no class '{class}' in {set}"))
            })?;
            of_class(&snapshot, &request, head, class_index).await?
        }
        _ => Vec::new(),
    };
    // Crops are asked for one by one, at once.
    let shown: Vec<MaskKey> = masks.iter().rev().take(COUNT).map(Cell::key).collect();
    app.photos.read_ahead(&shown).await?;
    Ok(Json(Grid { context, masks }))
}

async fn of_class(
    snapshot: &Snapshot,
    request: &Request,
    head: &str,
    class_index: usize,
) -> Answered<Vec<Cell>> {
    let mut words = HashMap::from([
        ("head".to_owned(), head.to_owned()),
        ("class_index".to_owned(), class_index.to_string()),
        ("count".to_owned(), request.count().to_string()),
    ]);
    if let Some(sort) = given(&request.sort) {
        words.insert("sort".to_owned(), sort.to_owned());
    }
    named(snapshot, "review/grid_of_class", &words).await
}

/// Masks that are like the labelled ones of a class.
async fn of_labels(
    snapshot: &Snapshot,
    request: &Request,
    head: Option<&str>,
    labels: &[String],
) -> Answered<Vec<Cell>> {
    let count = request.count();
    let found = masks_like_labelled(snapshot, head, labels, count, &NoProgress);
    let found = match found.await {
        // Nothing is labelled yet, so nothing is like it.
        Err(Error::Review(ReviewError::NothingToPropagate { .. })) => Vec::new(),
        found => found?,
    };
    let cells = found.into_iter().map(|it| Cell {
        extractor_id: it.mask.extractor_id,
        image_id: it.mask.image_id,
        mask_index: it.mask.mask_index,
        class: None,
        score: f64::from(it.score),
        proof: Some(it.proof),
    });
    Ok(cells.collect())
}

/// Masks that are like one, and of which nobody says anything.
async fn alike(
    snapshot: &Snapshot,
    request: &Request,
    image: &str,
    mask_index: i32,
) -> Answered<Vec<Cell>> {
    let table = match given(&request.vectors) {
        None | Some("tokens") => SearchedTable::Masks,
        Some(name) => SearchedTable::Vectors(name.to_owned()),
    };
    let query = SearchQuery::Mask {
        image: find_image(snapshot, image).await?,
        extractor: given(&request.extractor)
            .map(|id| ExtractorId::try_from(id.to_owned()))
            .transpose()?,
        mask_index,
    };
    let found = NearestRequest {
        count: NEIGHBOURS + request.count(),
        ..NearestRequest::new(table, query)
    };
    let found = nearest(snapshot, &found).await?;
    let said = said(snapshot).await?;
    let cells = found.rows.into_iter().filter_map(|row| {
        Some(Cell {
            extractor_id: row.extractor_id?,
            image_id: row.image_id,
            mask_index: row.mask_index?,
            class: None,
            score: f64::from(row.similarity),
            proof: None,
        })
    });
    let is_free = |cell: &Cell| !said.contains(&cell.key());
    Ok(cells.filter(is_free).take(request.count()).collect())
}

/// Masks of which a person, a file or an annotation says something.
async fn said(snapshot: &Snapshot) -> Answered<HashSet<MaskKey>> {
    #[derive(Deserialize)]
    struct Said {
        extractor_id: ExtractorId,
        image_id: ImageId,
        mask_index: i32,
        is_propagated: bool,
    }
    let said: Vec<Said> = named(snapshot, "review/said_of_masks", &HashMap::new()).await?;
    let said = said.into_iter().filter(|it| !it.is_propagated);
    Ok(said
        .map(|it| MaskKey {
            extractor_id: it.extractor_id,
            image_id: it.image_id,
            mask_index: it.mask_index,
        })
        .collect())
}
