//! The ceiling: the metrics of the best head that there could be, with the masks that an extractor found.

use std::collections::HashMap;

use datafusion::common::ScalarValue;
use serde::{Deserialize, Serialize};

use super::check::{annotated_classes, evaluated_classes};
use super::request::EvalRequest;
use super::run::some_images;
use super::run::{ImageCounts, Metric};
use crate::Result;
use crate::catalogue::{
    annotated_categories, find_annotated_dataset, find_head, find_masks_of, find_split,
};
use crate::classes::ClassSet;
use crate::ids::ExtractorId;
use crate::progress::Progress;
use crate::query::{Bound, Chosen, Query, QuerySession};
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::store::Snapshot;
use crate::store::rows::decode;

/// Whose masks are compared with which annotations.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CeilingRequest {
    /// Class set, NAME or NAME@VERSION; `None` for that of `head`.
    pub classes: Option<String>,
    /// First digits of the extractor's id; `None` for that of `head`, or for the only one.
    pub extractor: Option<String>,
    /// A head whose classes and masks are meant.
    pub head: Option<String>,
    /// Filter for the images. The data set is the one whose annotations count; `None` for the only one that has any.
    pub images: ImageFilter,
}

/// How well any head could do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ceiling {
    /// Extractor of the masks.
    pub extractor_id: ExtractorId,
    /// The class set, with its version.
    pub classes: String,
    /// Data set with the annotations.
    pub dataset: String,
    /// Images with annotations.
    pub images: u64,
    /// Mean IoU of the classes and the background, each pixel being of the class of the best-fitting mask over it.
    pub miou: Option<f64>,
    /// IoU of each class, and of the background.
    pub iou: Vec<Metric>,
    /// All classes and each class, by size.
    pub rows: Vec<CeilingRow>,
}

/// A row of the query `eval/ceiling`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CeilingRow {
    /// The class; `None` for all.
    pub class: Option<String>,
    /// COCO's area range: all, small, medium or large.
    pub area: String,
    /// Objects.
    pub objects: i64,
    /// Objects with which no mask has an IoU of at least 0.5.
    pub uncovered: i64,
    /// Mean IoU of objects with their best masks.
    pub mean_iou: Option<f64>,
    /// COCO's average recall with 100 detections an image.
    pub ar_100: Option<f64>,
    /// COCO's average precision at an IoU of 0.5.
    pub ap50: Option<f64>,
}

impl Ceiling {
    /// The row over all classes and sizes; `None` if there are no objects.
    pub fn overall(&self) -> Option<&CeilingRow> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.class.is_none() && row.area == "all")
    }
}

/// Computes the metrics that a head would have if it knew the class of every mask and scored it by its IoU.
///
/// # Examples
/// ```
/// use grainstore::eval::{CeilingRequest, ceiling};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = CeilingRequest {
///     classes: Some("pets".to_owned()),
///     ..CeilingRequest::default()
/// };
/// let ceiling = ceiling(&store.snapshot().await?, &request, &NoProgress).await?;
/// println!("with these masks, mIoU {:?} at the best", ceiling.miou);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`crate::Error::Eval`] if there is nothing to compare; [`crate::error::CatalogueError`] for names that do not exist;
/// [`crate::Error::DataFusion`] for a condition that cannot be planned.
pub async fn ceiling(
    snapshot: &Snapshot,
    request: &CeilingRequest,
    progress: &dyn Progress,
) -> Result<Ceiling> {
    let annotated = annotated_categories(snapshot).await?;
    let dataset = find_annotated_dataset(&annotated, request.images.dataset.as_deref())?;
    let nothing = Default::default();
    let categories = annotated.get(&dataset).unwrap_or(&nothing);
    if let Some(split) = &request.images.split {
        find_split(snapshot, split).await?;
    }
    let head = match &request.head {
        Some(head) => Some(find_head(snapshot, head).await?),
        None => None,
    };
    let set = match (&head, &request.classes) {
        (Some(head), _) => {
            let request = EvalRequest {
                classes: request.classes.clone(),
                ..EvalRequest::default()
            };
            evaluated_classes(snapshot, head, &request, categories).await?
        }
        (None, Some(classes)) => {
            let set = ClassSet::load(snapshot, classes).await?;
            annotated_classes(&set, categories)?;
            set
        }
        (None, None) => {
            return Err(crate::Error::Internal {
                what: "a ceiling is asked for without a head and without classes",
            });
        }
    };
    let extractor_id = match (&head, &request.extractor) {
        (Some(head), None) => head.extractor_id.clone(),
        (_, word) => find_masks_of(snapshot, word.as_deref()).await?.extractor_id,
    };
    let classes = format!("{}@{}", set.name, set.version);

    let text = |value: &str| ScalarValue::Utf8(Some(value.to_owned()));
    let values = HashMap::from([
        // The queries name a head for its classes and masks, which are given here.
        ("head", text("")),
        ("policy", text("")),
        ("dataset", text(&dataset)),
        ("split", ScalarValue::Utf8(request.images.split.clone())),
        ("classes", text(&classes)),
        ("extractor", text(extractor_id.as_str())),
        ("iou", text("mask")),
    ]);
    let mut queries = Queries {
        session: QuerySession::new(snapshot).await?,
        values,
    };
    progress.start("queries", Some(4));
    let chosen = Chosen {
        table: Table::Images,
        key: "image_id",
        condition: request.images.condition.as_deref(),
        equals: None,
    };
    queries
        .pin("eval/evaluated_images", "evaluated_images", Some(chosen))
        .await?;
    let images = queries.count("eval/evaluated_images").await?;
    some_images(ImageCounts {
        images,
        ..ImageCounts::default()
    })?;
    for (query, in_place_of) in [
        ("eval/best_masks", "best_masks"),
        ("eval/ceiling_detections", "detections"),
        ("eval/ceiling_mapped_masks", "mapped_masks"),
    ] {
        queries.pin(query, in_place_of, None).await?;
        progress.advance(1);
    }
    #[derive(Deserialize)]
    struct Found {
        class: Option<String>,
        metric: String,
        value: Option<f64>,
    }
    let pixels: Vec<Found> = queries.rows("eval/miou").await?;
    let iou: Vec<Found> = queries.rows("eval/iou_by_class").await?;
    let rows = queries.rows("eval/ceiling").await?;
    progress.advance(1);
    progress.finish();
    let iou = iou.into_iter().map(|it| Metric {
        query: "eval/iou_by_class".to_owned(),
        slice: None,
        class: it.class,
        metric: it.metric,
        value: it.value,
    });
    Ok(Ceiling {
        extractor_id,
        classes,
        dataset,
        images: images.unsigned_abs(),
        miou: pixels
            .into_iter()
            .find(|it| it.metric == "miou")
            .and_then(|it| it.value),
        iou: iou.collect(),
        rows,
    })
}

/// Queries with values for their parameters.
struct Queries {
    session: QuerySession,
    values: HashMap<&'static str, ScalarValue>,
}

impl Queries {
    fn bound(&self, query: &Query) -> Bound {
        let taken = query.parameters().iter();
        let taken = taken.filter_map(|parameter| {
            let value = self.values.get(parameter.name.as_str())?;
            Some((parameter.name.clone(), value.clone()))
        });
        taken.collect()
    }

    /// Puts the rows of a query in the place of another's.
    async fn pin(
        &mut self,
        query: &str,
        in_place_of: &str,
        chosen: Option<Chosen<'_>>,
    ) -> Result<()> {
        let query = Query::named(query)?;
        let bound = self.bound(&query);
        self.session
            .pin_bound(&query, bound, in_place_of, chosen)
            .await
    }

    async fn rows<T: serde::de::DeserializeOwned>(&self, query: &str) -> Result<Vec<T>> {
        let query = Query::named(query)?;
        let mut rows = self.session.run_bound(&query, self.bound(&query)).await?;
        let mut found = Vec::new();
        while let Some(batch) = rows.next().await? {
            found.extend(decode::<T>(Table::Evaluations, &batch)?);
        }
        Ok(found)
    }

    /// Number of rows of a pinned query.
    async fn count(&self, query: &str) -> Result<i64> {
        let query = Query::named(query)?;
        let rows = self.session.pinned_rows(query.short_name()).await?;
        Ok(i64::try_from(rows).unwrap_or(i64::MAX))
    }
}
