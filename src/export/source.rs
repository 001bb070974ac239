//! The source of exported objects: a request resolved against a store, and its objects in the store's order.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::Deserialize;

use super::categories::{Category, plan_categories};
use super::images::{ImageList, plan_images};
use super::object::{Decoder, Object};
use super::request::{Annotations, ExportRequest};
use super::resolve::{of_ground_truth, of_head};
use super::stream::{Batches, OfImages, by_image, missing, on_worker};
use crate::catalogue::StoredPolicy;
use crate::classes::ClassSet;
use crate::ids::{ExtractorId, ImageId};
use crate::progress::Progress;
use crate::schema::Table;
use crate::store::rows::{HeadRow, decode};
use crate::store::{Scan, Snapshot, is_of_extractors};
use crate::{Error, Result};

/// A request that is resolved except for the objects themselves.
///
/// Holds an id and a few numbers per image and per kept mask. Masks are read only on demand.
#[derive(Debug, Clone)]
pub struct Source {
    /// The images.
    pub images: ImageList,
    /// The classes of `classes` as categories, in the same order.
    pub categories: Vec<Category>,
    /// The class set that the objects are exported in.
    pub classes: ClassSet,
    /// Whose annotations these are.
    pub origin: Origin,
    /// Images left out because the head has no predictions for them, although they match the request.
    pub images_left_out: u64,
    snapshot: Snapshot,
    decoder: Arc<Decoder>,
}

/// The source of the annotations of an export.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A head under a policy.
    Head {
        /// The head.
        head: Box<HeadRow>,
        /// The policy.
        policy: StoredPolicy,
        /// The extractors whose masks it predicts: its own, and that of masks which people added beside them.
        extractors: Vec<ExtractorId>,
    },
    /// A data set.
    GroundTruth {
        /// The name of the data set.
        dataset: String,
    },
}

/// Which predicted masks of a head are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Those that the policy keeps.
    Kept,
    /// Those that make up its semantic maps: also those that vote, if the policy has them vote.
    Mapped,
}

/// The classes that labels of whole images say of each image.
#[derive(Debug, Default)]
pub(super) struct ImageClasses(HashMap<ImageId, BTreeSet<usize>>);

impl ImageClasses {
    /// Those of an image that none of its objects has.
    pub fn beyond(&self, image: &ImageId, objects: &[Object]) -> Vec<usize> {
        let classes = self.0.get(image).into_iter().flatten().copied();
        let is_shown = |class| objects.iter().any(|object| object.class == Some(class));
        classes.filter(|class| !is_shown(*class)).collect()
    }
}

impl Source {
    /// Resolves a request.
    ///
    /// # Errors
    /// [`crate::error::CatalogueError`] for names that do not exist; [`crate::error::HeadError::ClassSet`] if class
    /// sets do not fit together; [`Error::Ids`]; [`Error::DataFusion`] for a condition that cannot be planned;
    /// [`Error::NothingToExport`] if no image is chosen; store errors.
    pub async fn open(snapshot: &Snapshot, request: &ExportRequest) -> Result<Self> {
        Self::open_with(snapshot, request, Wanted::Kept).await
    }

    /// Like [`Self::open`], with a choice of predicted masks.
    pub(super) async fn open_with(
        snapshot: &Snapshot,
        request: &ExportRequest,
        wanted: Wanted,
    ) -> Result<Self> {
        let coarser = match &request.supercategories {
            Some(name) => Some(ClassSet::load(snapshot, name).await?),
            None => None,
        };
        let found = match &request.annotations {
            Annotations::Head { head, policy } => {
                of_head(snapshot, request, head, policy.as_deref(), wanted).await?
            }
            Annotations::GroundTruth => of_ground_truth(snapshot, request).await?,
        };
        if found.images.is_empty() {
            return Err(Error::NothingToExport {
                of: match &found.origin {
                    Origin::Head { head, .. } => format!("annotated by head '{}'", head.head),
                    Origin::GroundTruth { dataset } => format!("of data set '{dataset}'"),
                },
            });
        }
        let images = plan_images(found.images, request.ids)?;
        let decoder = Decoder::new(found.rows, images.positions(), &found.counts);
        Ok(Self {
            categories: plan_categories(&found.classes, coarser.as_ref())?,
            images,
            classes: found.classes,
            origin: found.origin,
            images_left_out: found.images_left_out,
            snapshot: snapshot.clone(),
            decoder: Arc::new(decoder),
        })
    }

    /// The classes that labels of whole images say of each image; none for what a head keeps.
    ///
    /// # Errors
    /// Errors of the store.
    pub(super) async fn classes_of_images(&self) -> Result<ImageClasses> {
        #[derive(Deserialize)]
        struct Label {
            image_id: ImageId,
            label: String,
        }
        let mut found = ImageClasses::default();
        let Origin::GroundTruth { dataset } = &self.origin else {
            return Ok(found);
        };
        let classes = self.classes.classes.iter().enumerate();
        let class_of: HashMap<&str, usize> = classes
            .flat_map(|(at, class)| class.labels.iter().map(move |label| (label.as_str(), at)))
            .collect();
        let wanted = self.images.rows_of(col("dataset").eq(lit(dataset)));
        let scan = self.snapshot.scan(Table::Labels).await?;
        let scan = scan.project(&["image_id", "label"])?.filter(wanted);
        let mut rows = scan.stream().await?;
        while let Some(batch) = rows.next().await {
            for Label { image_id, label } in decode::<Label>(Table::Labels, &batch?)? {
                if let Some(class) = class_of.get(label.as_str()) {
                    found.0.entry(image_id).or_default().insert(*class);
                }
            }
        }
        Ok(found)
    }

    /// Checks that all files it reads are as they were written. Because it reads them completely, call it after all
    /// other checks.
    ///
    /// # Errors
    /// [`Error::StoreDamaged`] if a file has changed.
    pub async fn verify(&self, progress: &dyn Progress) -> Result<()> {
        use Table::{ClassSets, GroundTruth, Heads, Images, Masks, Predictions};
        let tables: &[Table] = match self.origin {
            Origin::Head { .. } => &[Images, ClassSets, Masks, Heads, Predictions],
            Origin::GroundTruth { .. } => &[Images, ClassSets, GroundTruth],
        };
        self.snapshot.verify(tables, progress).await
    }

    /// The snapshot of the store that it reads.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Passes all objects, in the store's order, to `work` on a worker thread.
    ///
    /// # Errors
    /// Errors of `work`; store errors; [`Error::StoreDamaged`] if a kept mask is missing.
    pub async fn with_objects<T: Send + 'static>(
        &self,
        progress: &dyn Progress,
        work: impl FnOnce(Objects, &dyn Progress) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let decoder = self.decoder.clone();
        let on_objects = move |batches: Batches, progress: &dyn Progress| {
            work(Objects { batches, decoder }, progress)
        };
        on_worker(self.scan().await?, progress, on_objects).await
    }

    async fn scan(&self) -> Result<Scan> {
        let (table, wanted) = match &self.origin {
            Origin::Head { extractors, .. } => (Table::Masks, is_of_extractors(extractors)),
            Origin::GroundTruth { dataset } => {
                (Table::GroundTruth, col("dataset").eq(lit(dataset.as_str())))
            }
        };
        let scan = self
            .snapshot
            .scan(table)
            .await?
            .project(self.decoder.columns())?;
        Ok(scan.filter(self.images.rows_of(wanted)))
    }
}

/// The objects of a [`Source`], batch by batch. They must be read on a worker thread.
#[derive(Debug)]
pub struct Objects {
    batches: Batches,
    decoder: Arc<Decoder>,
}

impl Iterator for Objects {
    type Item = Result<Vec<Object>>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.batches.next()?;
        Some(batch.and_then(|batch| self.decoder.decode(&batch)))
    }
}

impl OfImages for Objects {
    type Item = Object;

    fn by_image(self, each: impl FnMut(usize, Vec<Object>) -> Result<()>) -> Result<()> {
        let decoder = self.decoder.clone();
        let pairs = |objects: Vec<Object>| objects.into_iter().map(|it| (it.image, it)).collect();
        by_image(self.map(|batch| batch.map(pairs)), &decoder.counts, each)
    }
}

impl Objects {
    /// Calls `each` with every object, in the store's order.
    ///
    /// # Errors
    /// Those of [`OfImages::by_image`].
    pub fn each(self, mut each: impl FnMut(Object) -> Result<()>) -> Result<()> {
        self.each_batch(|objects| objects.into_iter().try_for_each(&mut each))
    }

    /// [`Objects::each`], for some thousand objects at a time.
    pub fn each_batch(self, mut each: impl FnMut(Vec<Object>) -> Result<()>) -> Result<()> {
        let expected: usize = self.decoder.counts.iter().sum();
        let mut found = 0;
        for batch in self {
            let batch = batch?;
            found += batch.len();
            each(batch)?;
        }
        if found == expected {
            Ok(())
        } else {
            Err(missing(expected, found))
        }
    }
}
