//! Where exported objects come from: a request resolved against a store, and its objects in the store's order.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::Deserialize;
use tokio::sync::mpsc;

use super::categories::{Category, plan_categories};
use super::images::{ExportImage, ImageList, find_images, plan_images};
use super::object::{Decoder, Kept, Object, Rows};
use super::request::{Annotations, ExportRequest, ImageChoice};
use crate::annotate::{StoredPolicy, find_policy, judged};
use crate::classes::ClassSet;
use crate::error::HeadError;
use crate::eval::{annotated_categories, choose_dataset};
use crate::head::find_head;
use crate::names::ContentId;
use crate::progress::{Progress, ProgressSender, progress_channel};
use crate::schema::Table;
use crate::store::rows::{HeadRow, decode};
use crate::store::{Scan, Snapshot};
use crate::{Error, Result};

/// Batches that wait for the worker.
const AHEAD: usize = 2;
/// Up to so many images are looked up; of more, whole tables are read.
const LOOK_UP: usize = 2000;

/// A request of which nothing is left to look up but the objects themselves.
///
/// Holds an id and a few numbers for each image and each kept mask; masks are read as they are asked for.
#[derive(Debug, Clone)]
pub struct Source {
    /// The images.
    pub images: ImageList,
    /// The classes of `classes` as categories, in order.
    pub categories: Vec<Category>,
    /// The class set that objects are told in.
    pub classes: ClassSet,
    /// Whose annotations.
    pub origin: Origin,
    snapshot: Snapshot,
    decoder: Arc<Decoder>,
}

/// Whose annotations an export holds.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A head's, under a policy.
    Head {
        /// The head.
        head: Box<HeadRow>,
        /// The policy.
        policy: StoredPolicy,
    },
    /// A data set's.
    GroundTruth {
        /// Its name.
        dataset: String,
    },
}

impl Source {
    /// Resolves a request.
    ///
    /// # Errors
    /// [`HeadError::NoSuchHead`], [`crate::error::EvalError::NoPredictions`], [`HeadError::NoSuchClassSet`],
    /// [`HeadError::ClassSet`] if class sets do not fit together, [`Error::Ids`], [`Error::DataFusion`] for a condition
    /// that cannot be planned, [`Error::NothingToExport`] if no image is chosen; what the store says.
    pub async fn open(snapshot: &Snapshot, request: &ExportRequest) -> Result<Self> {
        let coarser = match &request.supercategories {
            Some(name) => Some(ClassSet::load(snapshot, name).await?),
            None => None,
        };
        let (found, classes, origin, rows, counts) = match &request.annotations {
            Annotations::Head { head, policy } => {
                of_head(snapshot, request, head, policy.as_deref()).await?
            }
            Annotations::GroundTruth => of_ground_truth(snapshot, request).await?,
        };
        if found.is_empty() {
            return Err(Error::NothingToExport {
                of: match &origin {
                    Origin::Head { head, .. } => format!("annotated by head '{}'", head.head),
                    Origin::GroundTruth { dataset } => format!("of data set '{dataset}'"),
                },
            });
        }
        let images = plan_images(found, request.ids)?;
        let decoder = Decoder::new(rows, images.positions(), &counts);
        Ok(Self {
            categories: plan_categories(&classes, coarser.as_ref())?,
            images,
            classes,
            origin,
            snapshot: snapshot.clone(),
            decoder: Arc::new(decoder),
        })
    }

    /// The state of the store it reads.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Hands all objects, in the store's order, to `work` on a worker thread.
    ///
    /// # Errors
    /// What `work` returns; what the store says, [`Error::StoreDamaged`] if a kept mask is not there.
    pub async fn with_objects<T: Send + 'static>(
        &self,
        progress: &dyn Progress,
        work: impl FnOnce(Objects, &dyn Progress) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (to_worker, batches) = mpsc::channel(AHEAD);
        let (sender, events) = progress_channel();
        let mut rows = self.scan().await?.stream().await?;
        let reading = tokio::spawn(async move {
            while let Some(batch) = rows.next().await {
                let failed = batch.is_err();
                if to_worker.send(batch).await.is_err() || failed {
                    return; // the worker has ended
                }
            }
        });
        let objects = Objects {
            batches,
            decoder: self.decoder.clone(),
        };
        let worker = tokio::task::spawn_blocking(move || {
            let sender: ProgressSender = sender;
            work(objects, &sender)
        });
        events.forward(progress).await;
        let done = worker.await.map_err(|source| Error::Worker {
            task: "writing the export",
            source,
        })?;
        reading.abort();
        done
    }

    async fn scan(&self) -> Result<Scan> {
        let images = (self.images.images.len() <= LOOK_UP).then(|| {
            let ids = self.images.images.iter().map(|image| lit(image.image_id.as_str()));
            col("image_id").in_list(ids.collect(), false)
        });
        let (table, wanted) = match &self.origin {
            Origin::Head { head, .. } => {
                (Table::Masks, col("extractor_id").eq(lit(head.extractor_id.as_str())))
            }
            Origin::GroundTruth { dataset } => {
                (Table::GroundTruth, col("dataset").eq(lit(dataset.as_str())))
            }
        };
        let wanted: Expr = match images {
            Some(images) => wanted.and(images),
            None => wanted,
        };
        let scan = self.snapshot.scan(table).await?.project(self.decoder.columns())?;
        Ok(scan.filter(wanted))
    }
}

/// The objects of a [`Source`], batch by batch; to be read on a worker thread.
#[derive(Debug)]
pub struct Objects {
    batches: mpsc::Receiver<Result<RecordBatch>>,
    decoder: Arc<Decoder>,
}

impl Iterator for Objects {
    type Item = Result<Vec<Object>>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.blocking_recv()?;
        Some(batch.and_then(|batch| self.decoder.decode(&batch)))
    }
}

impl Objects {
    /// Hands over each image's position with all its objects, images without any last.
    ///
    /// # Errors
    /// What `each` returns; what the store says, [`Error::StoreDamaged`] if an object is missing.
    pub fn by_image(self, mut each: impl FnMut(usize, Vec<Object>) -> Result<()>) -> Result<()> {
        let decoder = self.decoder.clone();
        let mut open: HashMap<usize, Vec<Object>> = HashMap::new();
        for batch in self {
            for object in batch? {
                let image = object.image;
                let of_image = open.entry(image).or_default();
                of_image.push(object);
                if decoder.counts.get(image) == Some(&of_image.len()) {
                    each(image, open.remove(&image).unwrap_or_default())?;
                }
            }
        }
        if let Some((image, found)) = open.iter().next() {
            let expected = decoder.counts.get(*image).copied().unwrap_or(0);
            return Err(missing(expected, found.len()));
        }
        for (image, count) in decoder.counts.iter().enumerate() {
            if *count == 0 {
                each(image, Vec::new())?;
            }
        }
        Ok(())
    }

    /// Hands over all objects in the store's order.
    ///
    /// # Errors
    /// As [`Objects::by_image`].
    pub fn each(self, mut each: impl FnMut(Object) -> Result<()>) -> Result<()> {
        let expected: usize = self.decoder.counts.iter().sum();
        let mut found = 0;
        for batch in self {
            for object in batch? {
                found += 1;
                each(object)?;
            }
        }
        match found == expected {
            true => Ok(()),
            false => Err(missing(expected, found)),
        }
    }
}

fn missing(expected: usize, found: usize) -> Error {
    Error::StoreDamaged {
        path: "masks".to_owned(),
        reason: format!("{found} of {expected} objects are there; run 'grainstore check'"),
    }
}

type Found = (Vec<ExportImage>, ClassSet, Origin, Rows, HashMap<ContentId, usize>);

async fn of_head(
    snapshot: &Snapshot,
    request: &ExportRequest,
    name: &str,
    policy: Option<&str>,
) -> Result<Found> {
    let head = find_head(snapshot, name).await?;
    let policy = find_policy(snapshot, &head, policy).await?;
    let own = ClassSet::load(snapshot, &format!("{}@{}", head.class_set, head.class_set_version)).await?;
    let classes = match &request.classes {
        Some(name) => ClassSet::load(snapshot, name).await?,
        None => own.clone(),
    };
    let mut kept = kept_masks(snapshot, &head, &policy).await?;
    let images = find_images(snapshot, &request.images, |image| kept.contains_key(&image.image_id)).await?;
    let chosen: HashMap<String, Vec<Kept>> = images
        .iter()
        .filter_map(|image| Some((image.image_id.to_string(), kept.remove(&image.image_id)?)))
        .collect();
    let counts = images.iter().map(|image| {
        let masks = chosen.get(image.image_id.as_str());
        (image.image_id.clone(), masks.map_or(0, Vec::len))
    });
    let counts = counts.collect();
    let rows = Rows::Masks {
        places: class_places(&own, &classes)?,
        kept: chosen,
    };
    let head = Box::new(head);
    Ok((images, classes, Origin::Head { head, policy }, rows, counts))
}

/// For each class of a head the class it counts as.
fn class_places(own: &ClassSet, classes: &ClassSet) -> Result<Vec<Option<usize>>> {
    let mut places = Vec::with_capacity(own.classes.len());
    for (class, found) in own.classes.iter().zip(own.places_in(classes)) {
        if found.len() > 1 {
            return Err(Error::Head(HeadError::ClassSet {
                class_set: classes.name.clone(),
                reason: format!(
                    "class '{}' of '{}' would be {} classes at once; take a set that is as coarse",
                    class.name,
                    own.name,
                    found.len()
                ),
            }));
        }
        places.push(found.first().copied());
    }
    if places.iter().all(Option::is_none) {
        return Err(Error::Head(HeadError::ClassSet {
            class_set: classes.name.clone(),
            reason: format!("none of its classes holds a label of '{}'", own.name),
        }));
    }
    Ok(places)
}

/// What a head keeps under a policy, for each image it was asked about.
async fn kept_masks(
    snapshot: &Snapshot,
    head: &HeadRow,
    policy: &StoredPolicy,
) -> Result<HashMap<ContentId, Vec<Kept>>> {
    #[derive(Deserialize)]
    struct Judged {
        image_id: ContentId,
        mask_index: i32,
        class_index: i32,
        score: f64,
        entropy: f32,
        kept: bool,
    }
    let scan = snapshot.scan(Table::Predictions).await?;
    let scan = scan.project(&["image_id", "mask_index", "class_index", "score", "entropy", "kept"])?;
    let mut rows = scan.filter(judged(&head.head_id, &policy.policy_id)).stream().await?;
    let mut found: HashMap<ContentId, Vec<Kept>> = HashMap::new();
    while let Some(batch) = rows.next().await {
        for row in decode::<Judged>(Table::Predictions, &batch?)? {
            let of_image = found.entry(row.image_id).or_default();
            if row.kept {
                of_image.push(Kept {
                    mask_index: row.mask_index,
                    class_index: row.class_index,
                    score: row.score,
                    entropy: row.entropy,
                });
            }
        }
    }
    for of_image in found.values_mut() {
        of_image.sort_by_key(|mask| mask.mask_index);
    }
    Ok(found)
}

async fn of_ground_truth(snapshot: &Snapshot, request: &ExportRequest) -> Result<Found> {
    #[derive(Deserialize)]
    struct Annotated {
        image_id: ContentId,
        external_id: Option<i64>,
    }
    let annotated = annotated_categories(snapshot).await?;
    let dataset = choose_dataset(request.images.dataset.as_deref(), &annotated)?;
    let classes = request.classes.as_deref().unwrap_or(&dataset);
    let classes = ClassSet::load(snapshot, classes).await?;
    let scan = snapshot.scan(Table::GroundTruth).await?;
    let scan = scan.project(&["image_id", "external_id"])?;
    let of_dataset = col("dataset").eq(lit(dataset.as_str()));
    let mut rows = scan.filter(of_dataset).stream().await?;
    let mut ids: HashMap<ContentId, Vec<Option<i64>>> = HashMap::new();
    while let Some(batch) = rows.next().await {
        for row in decode::<Annotated>(Table::GroundTruth, &batch?)? {
            ids.entry(row.image_id).or_default().push(row.external_id);
        }
    }
    // Also those of the data set that show nothing.
    let choice = ImageChoice {
        dataset: None,
        ..request.images.clone()
    };
    let images = find_images(snapshot, &choice, |image| {
        image.dataset == dataset || ids.contains_key(&image.image_id)
    })
    .await?;
    let chosen: HashSet<&ContentId> = images.iter().map(|image| &image.image_id).collect();
    ids.retain(|image, _| chosen.contains(image));
    let counts = ids.iter().map(|(image, ids)| (image.clone(), ids.len())).collect();
    let rows = Rows::of_ground_truth(&classes, ids.into_values().flatten(), request.ids);
    Ok((images, classes, Origin::GroundTruth { dataset }, rows, counts))
}
