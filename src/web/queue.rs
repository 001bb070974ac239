//! Queues: which masks come next, and which classes they can get.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query as Parameters, State};
use grainstore::catalogue::find_head;
use grainstore::classes::{ClassSet, classes_of_labels};
use grainstore::ids::{ExtractorId, HeadId, ImageId};
use grainstore::picture::class_color;
use grainstore::progress::NoProgress;
use grainstore::review::{QueueKind, QueueRequest, QueuedMask};
use grainstore::selection::ImageFilter;
use grainstore::store::Snapshot;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::failure::{Answered, Failure, in_time};
use super::sql::named;

/// Masks of a queue that are asked for, by default and at most.
const COUNT: usize = 500;
const MOST: usize = 5000;
/// Maximum time of a queue.
const TIME: Duration = Duration::from_secs(60);
/// The queue of a person's own SELECT.
pub const OWN: &str = "sql";

/// Which queue is asked for.
#[derive(Debug, Deserialize)]
pub struct Request {
    /// A kind of queue, or 'sql'.
    kind: Option<String>,
    head: Option<String>,
    extractor: Option<String>,
    /// Condition on images, SQL.
    #[serde(rename = "where")]
    condition: Option<String>,
    /// For 'sql', a SELECT that yields extractor_id, image_id and mask_index.
    sql: Option<String>,
    /// Class set whose classes are offered; that of the head by default.
    classes: Option<String>,
    count: Option<usize>,
    seed: Option<u64>,
}

/// A class that a mask can get.
#[derive(Debug, Serialize)]
pub struct Offered {
    pub name: String,
    /// `#rrggbb`.
    color: String,
    pub labels: Vec<String>,
}

/// What the page needs of a head: its id, and its classes.
#[derive(Debug, Serialize)]
pub struct Context {
    pub head: Option<String>,
    pub head_id: Option<HeadId>,
    /// `NAME@VERSION`; none if the classes are the labels of the store.
    pub class_set: Option<String>,
    pub classes: Vec<Offered>,
}

/// A queue.
#[derive(Debug, Serialize)]
pub struct Queue {
    kind: String,
    #[serde(flatten)]
    context: Context,
    masks: Vec<QueuedMask>,
}

/// `GET /api/queue?kind=uncertain&head=fine`.
pub async fn queue(
    State(app): State<Arc<App>>,
    Parameters(request): Parameters<Request>,
) -> Answered<Json<Queue>> {
    let snapshot = app.snapshot().await?;
    let head = app.head(&snapshot, request.head.as_deref()).await?;
    let context = context(&snapshot, head.as_deref(), given(&request.classes)).await?;
    let default = match head {
        Some(_) => QueueKind::Uncertain.word(),
        None => QueueKind::Unlabelled.word(),
    };
    let kind = given(&request.kind).unwrap_or(default).to_owned();
    let masks = listed(&snapshot, &request, &kind, head);
    let masks = in_time(TIME, ("the queue", ""), masks).await?;
    Ok(Json(Queue {
        kind,
        context,
        masks,
    }))
}

async fn listed(
    snapshot: &Snapshot,
    request: &Request,
    kind: &str,
    head: Option<String>,
) -> Answered<Vec<QueuedMask>> {
    let count = request.count.unwrap_or(COUNT).min(MOST);
    Ok(match (kind, given(&request.sql)) {
        (OWN, Some(text)) => of_select(snapshot, text, count).await?,
        (OWN, None) => {
            return Err(Failure::bad(
                "the queue 'sql' needs a SELECT that yields extractor_id, image_id and mask_index",
            ));
        }
        (word, _) => {
            let kind: QueueKind = word.parse()?;
            let request = QueueRequest {
                kind,
                head: head.filter(|_| kind.needs_head()),
                extractor: given(&request.extractor).map(str::to_owned),
                policy: None,
                images: ImageFilter {
                    condition: given(&request.condition).map(str::to_owned),
                    ..ImageFilter::default()
                },
                count,
                vectors: None,
                seed: request.seed.unwrap_or(0),
            };
            grainstore::review::queue(snapshot, &request, &NoProgress).await?
        }
    })
}

/// A parameter that is not empty.
pub fn given(parameter: &Option<String>) -> Option<&str> {
    parameter.as_deref().filter(|text| !text.trim().is_empty())
}

/// Masks that a SELECT yields, in its order.
async fn of_select(snapshot: &Snapshot, text: &str, count: usize) -> Answered<Vec<QueuedMask>> {
    #[derive(Deserialize)]
    struct Mask {
        extractor_id: ExtractorId,
        image_id: ImageId,
        mask_index: i32,
        #[serde(default)]
        class: Option<String>,
        #[serde(default)]
        why: Option<String>,
    }
    let sql = super::sql::session(snapshot, text).await?;
    let rows = sql.query(text).await?;
    for column in ["extractor_id", "image_id", "mask_index"] {
        if rows.schema().field_with_name(column).is_err() {
            return Err(Failure::bad(format!(
                "the SELECT yields no column '{column}'; a queue needs extractor_id, image_id and mask_index"
            )));
        }
    }
    let masks: Vec<Mask> = super::sql::first(rows, count).await?;
    let places = 0..masks.len();
    Ok(masks
        .into_iter()
        .zip(places)
        .map(|(mask, place)| QueuedMask {
            image_id: mask.image_id,
            extractor_id: mask.extractor_id,
            mask_index: mask.mask_index,
            class: mask.class,
            priority: -(place as f64),
            why: mask
                .why
                .unwrap_or_else(|| "the SELECT yields it".to_owned()),
        })
        .collect())
}

/// The classes of a class set, or of the head's, or the labels of the store.
pub async fn context(
    snapshot: &Snapshot,
    head: Option<&str>,
    classes: Option<&str>,
) -> Answered<Context> {
    let head = match head {
        Some(word) => Some(find_head(snapshot, word).await?),
        None => None,
    };
    let set = match (classes, &head) {
        (Some(word), _) => Some(ClassSet::load(snapshot, word).await?),
        (None, Some(head)) => Some(ClassSet::load(snapshot, &head.class_set_at_version()).await?),
        (None, None) => None,
    };
    let (class_set, classes) = match set {
        Some(set) => (Some(format!("{}@{}", set.name, set.version)), set.classes),
        None => (None, words_of(snapshot).await?),
    };
    let classes = classes.into_iter().enumerate().map(|(index, class)| {
        let [red, green, blue] = class_color(index).0;
        Offered {
            name: class.name,
            color: format!("#{red:02x}{green:02x}{blue:02x}"),
            labels: class.labels,
        }
    });
    Ok(Context {
        head: head.as_ref().map(|head| head.head.clone()),
        head_id: head.map(|head| head.head_id),
        class_set,
        classes: classes.collect(),
    })
}

/// A class for every label that images or masks have.
async fn words_of(snapshot: &Snapshot) -> Answered<Vec<grainstore::classes::Class>> {
    #[derive(Deserialize)]
    struct Word {
        label: String,
    }
    let mut classes = classes_of_labels(snapshot, None).await.unwrap_or_default();
    let words: Vec<Word> = named(snapshot, "review/label_words", &HashMap::new()).await?;
    for Word { label } in words {
        if !classes.iter().any(|class| class.labels.contains(&label)) {
            classes.push(grainstore::classes::Class {
                name: label.clone(),
                supercategory: None,
                external_id: None,
                labels: vec![label],
                search: Vec::new(),
            });
        }
    }
    Ok(classes)
}
