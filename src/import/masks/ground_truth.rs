//! Masks of annotated objects that the store has already.
//!
//! The objects of a data set are read twice: their ids first, which identify the import, then their masks, of the
//! images that need them. Rows of an image stand together as they were ingested, so few images are open at once.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::images::StoredImage;
use super::item::{ImageMasks, ImportedMask};
use crate::geometry::{Rle, Size};
use crate::ids::{GroundTruthId, ImageId, hex};
use crate::schema::Table;
use crate::store::rows::{RleRow, decode};
use crate::store::{Snapshot, is_of_images};
use crate::{Error, Result};

/// For more images than this, all objects are read instead of those of some images.
const FEW_IMAGES: usize = 1000;

/// The objects of a data set that have masks, without crowds and ignored regions.
#[derive(Debug)]
pub(super) struct Objects {
    /// SHA-256 of a text with the id of each object on a line, sorted.
    pub sha256: String,
    /// Number of objects of each image.
    pub of_image: HashMap<ImageId, usize>,
    /// Objects without a mask.
    pub without_mask: u64,
}

impl Objects {
    /// Counts the objects of a data set.
    ///
    /// # Errors
    /// Any error from the store.
    pub async fn count(snapshot: &Snapshot, dataset: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Counted {
            ground_truth_id: GroundTruthId,
            image_id: ImageId,
            segmentation: String,
        }
        let columns = ["ground_truth_id", "image_id", "segmentation"];
        let scan = snapshot.scan(Table::GroundTruth).await?.project(&columns)?;
        let mut rows = scan.filter(are_objects_of(dataset)).stream().await?;
        let mut ids = Vec::new();
        let mut of_image: HashMap<ImageId, usize> = HashMap::new();
        let mut without_mask = 0;
        while let Some(batch) = rows.next().await {
            for row in decode::<Counted>(Table::GroundTruth, &batch?)? {
                if row.segmentation == "none" {
                    without_mask += 1;
                    continue;
                }
                ids.push(row.ground_truth_id);
                *of_image.entry(row.image_id).or_default() += 1;
            }
        }
        ids.sort_unstable();
        let mut hash = Sha256::new();
        for id in ids {
            hash.update(format!("{id}\n"));
        }
        Ok(Self {
            sha256: hex(&hash.finalize()),
            of_image,
            without_mask,
        })
    }
}

fn are_objects_of(dataset: &str) -> Expr {
    let is_not = |column: &str| col(column).eq(lit(false));
    let of_dataset = col("dataset").eq(lit(dataset));
    of_dataset.and(is_not("iscrowd")).and(is_not("is_ignored"))
}

/// An object with its mask.
#[derive(Deserialize)]
struct Object {
    ground_truth_id: GroundTruthId,
    image_id: ImageId,
    segmentation: String,
    rle: Option<RleRow>,
}

/// An image whose objects are being read.
struct Open {
    image: StoredImage,
    /// Objects that are still to come.
    missing: usize,
    objects: Vec<(GroundTruthId, Option<RleRow>)>,
}

/// Reads the objects of some images.
pub(super) struct Gathering {
    rows: BoxStream<'static, Result<RecordBatch>>,
    open: HashMap<ImageId, Open>,
}

impl Gathering {
    /// Starts to read the objects of images, each with the number of its objects.
    ///
    /// # Errors
    /// Any error from the store.
    pub async fn start(
        snapshot: &Snapshot,
        dataset: &str,
        images: Vec<(StoredImage, usize)>,
    ) -> Result<Self> {
        let open = images.into_iter().map(|(image, missing)| {
            let id = image.image_id.clone();
            let objects = Vec::new();
            let open = Open {
                image,
                missing,
                objects,
            };
            (id, open)
        });
        let open: HashMap<ImageId, Open> = open.collect();
        if open.is_empty() {
            let rows = stream::empty().boxed();
            return Ok(Self { rows, open });
        }
        let mut wanted = are_objects_of(dataset);
        if open.len() <= FEW_IMAGES {
            wanted = wanted.and(is_of_images(open.keys()));
        }
        let columns = ["ground_truth_id", "image_id", "segmentation", "rle"];
        let scan = snapshot.scan(Table::GroundTruth).await?.project(&columns)?;
        let rows = scan.filter(wanted).stream().await?;
        Ok(Self { rows, open })
    }

    /// The next images whose objects were read completely; `None` after the last. Masks of an image are in the order of
    /// the ids of its objects.
    ///
    /// # Errors
    /// Any error from the store.
    pub async fn next(&mut self) -> Result<Option<Vec<(StoredImage, ImageMasks)>>> {
        if self.open.is_empty() {
            return Ok(None);
        }
        let batch = self.rows.next().await.ok_or(Error::Internal {
            what: "objects of ground_truth were counted, but not found",
        })?;
        let mut complete = Vec::new();
        for object in decode::<Object>(Table::GroundTruth, &batch?)? {
            if object.segmentation == "none" {
                continue;
            }
            let Some(open) = self.open.get_mut(&object.image_id) else {
                continue;
            };
            open.objects.push((object.ground_truth_id, object.rle));
            open.missing = open.missing.saturating_sub(1);
            if open.missing == 0
                && let Some(done) = self.open.remove(&object.image_id)
            {
                complete.push(done.masks());
            }
        }
        Ok(Some(complete))
    }
}

impl Open {
    fn masks(mut self) -> (StoredImage, ImageMasks) {
        self.objects.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut read = ImageMasks::default();
        let size = self.image.size();
        for (id, rle) in self.objects {
            let mask = rle.map(|rle| mask(&rle, size)).transpose();
            read.take(|| format!("object {id}"), mask);
        }
        (self.image, read)
    }
}

fn mask(rle: &RleRow, size: Size) -> Result<ImportedMask> {
    let mask = Rle::try_from(rle)?;
    if mask.size() != size {
        return Err(Error::SizeMismatch {
            expected: size,
            found: mask.size(),
        });
    }
    ImportedMask::new(mask)
}
