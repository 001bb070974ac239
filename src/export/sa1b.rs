//! `export sa1b`: all masks of an extractor, as in SA-1B, the data set of Segment Anything.
//!
//! ```text
//! NAME.json   {"image": {"image_id", "width", "height", "file_name"},
//!              "annotations": [{"id", "segmentation": {"size": [h, w], "counts"}, "bbox": [x, y, w, h], "area",
//!                               "predicted_iou", "stability_score", "point_coords": [[x, y]], "crop_box": [x, y, w, h]}]}
//! NAME.jpg    the photo, if photos are copied
//! ```
//!
//! `import masks --sa1b` reads it. What an extractor does not know (an import's predicted IoU, the one point of a mask of several
//! prompts) is not written.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use datafusion::prelude::{col, lit};
use serde::{Deserialize, Serialize};

use super::coco::ExportSummary;
use super::file::{JsonFile, Unfinished};
use super::images::{ImageList, plan_images};
use super::photos::{FORMATS, Photos, copy, plan_names, write_images};
use super::request::Ids;
use super::stream::{Batches, OfImages, by_image, on_worker};
use crate::catalogue::find_masks_of;
use crate::coco::{Counts, Segmentation};
use crate::error::FileAction;
use crate::extract::masks_of_images;
use crate::ids::{ExtractorId, ImageId};
use crate::progress::Progress;
use crate::schema::Table;
use crate::selection::{ImageFilter, SelectedImage, find_images};
use crate::store::rows::{RleRow, decode};
use crate::store::{Scan, Snapshot};
use crate::{Error, Result};

/// A request for the masks of an extractor.
#[derive(Debug, Clone, Default)]
pub struct Sa1bExport {
    /// First digits of the extractor's id. If `None`, the only one, as of [`find_masks_of`].
    pub extractor: Option<String>,
    /// Chooses among the images that the extractor has seen.
    pub images: ImageFilter,
    /// Where the ids of images come from.
    pub ids: Ids,
    /// Whether photos are copied beside the masks.
    pub photos: Photos,
    /// The directory to write. It must be empty or new.
    pub directory: PathBuf,
}

/// Writes all masks of an extractor, a file per image. The directory appears when it is complete. Masks that people added beside
/// an extractor's are of an extractor of their own.
///
/// Ids of masks are counted from 1 over all files, in the order of the images.
///
/// # Errors
/// [`crate::error::CatalogueError`] if the extractor is not clear or not there; [`Error::NothingToExport`] if it has seen no
/// image that is chosen; [`Error::Ids`]; [`Error::StoreDamaged`] if a file of the store has changed; [`Error::File`] if files cannot be
/// written. Photos that cannot be read are counted as failed.
pub async fn export_sa1b(
    snapshot: &Snapshot,
    request: &Sa1bExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let directory = &request.directory;
    let extractor = find_masks_of(snapshot, request.extractor.as_deref()).await?;
    let mut seen = masks_of_images(snapshot, &extractor.extractor_id, None).await?;
    let images = find_images(snapshot, &request.images, |image| {
        seen.contains_key(&image.image_id)
    })
    .await?;
    if images.is_empty() {
        let digits = extractor.extractor_id.as_str().get(..8).unwrap_or_default();
        return Err(Error::NothingToExport {
            of: format!("with masks of extractor {digits}"),
        });
    }
    let images = plan_images(images, request.ids)?;
    let counts = images.images.iter();
    let counts: Vec<usize> = counts
        .map(|image| seen.remove(&image.image_id).unwrap_or(0))
        .map(|count| usize::try_from(count).unwrap_or(usize::MAX))
        .collect();
    let mut summary = ExportSummary {
        file: directory.clone(),
        images_root: match request.photos {
            Photos::Leave => images.root.clone(),
            Photos::Copy => directory.clone(),
        },
        new_image_ids: images.new_ids,
        ..ExportSummary::default()
    };
    let new = Unfinished::new(directory)?;
    new.create_directory()?;
    let tables = [
        Table::Images,
        Table::Extractors,
        Table::Extractions,
        Table::Masks,
    ];
    snapshot.verify(&tables, progress).await?;
    let scan = scan(snapshot, &extractor.extractor_id, &images).await?;
    let photos = request.photos;
    let files = snapshot.store().photos();
    let work = move |batches: Batches, progress: &dyn Progress| {
        let first_ids = first_ids(&counts);
        let masks = Masks {
            positions: images.positions(),
            counts,
            batches,
        };
        let ImageList { images, .. } = &images;
        progress.start("images", Some(images.len() as u64));
        let stems = plan_names(images);
        let write = |at: usize,
                     image: &SelectedImage,
                     mut masks: Vec<StoredMask>,
                     counted: &mut ExportSummary| {
            let (Some(stem), Some(first_id)) = (stems.get(at), first_ids.get(at)) else {
                return Ok(());
            };
            masks.sort_unstable_by_key(|mask| mask.mask_index);
            let mut file_name = image.file_name.clone();
            if photos == Photos::Copy {
                let (bytes, ending) = copy(&files, image, &FORMATS)?;
                file_name = format!("{stem}.{ending}");
                let path = new.path().join(&file_name);
                fs::write(&path, bytes).map_err(Error::file(FileAction::Write, &path))?;
            }
            counted.annotations += masks.len() as u64;
            let header = ImageHeader {
                image_id: image.id,
                width: image.width,
                height: image.height,
                file_name,
            };
            let path = new.path().join(format!("{stem}.json"));
            write_file(&path, &header, masks, *first_id)
        };
        write_images(masks, images, &mut summary, progress, write, |_, ()| Ok(()))?;
        summary.bytes = new.finish()?;
        Ok(summary)
    };
    let done = on_worker(scan, progress, work).await;
    progress.finish();
    done
}

async fn scan(snapshot: &Snapshot, extractor: &ExtractorId, images: &ImageList) -> Result<Scan> {
    let of_extractor = col("extractor_id").eq(lit(extractor.as_str()));
    let scan = snapshot.scan(Table::Masks).await?.project(&[
        "image_id",
        "mask_index",
        "rle",
        "bbox",
        "area",
        "predicted_iou",
        "stability_score",
        "point",
        "crop_box",
    ])?;
    Ok(scan.filter(images.rows_of(of_extractor)))
}

/// The id of the first mask of each image.
fn first_ids(counts: &[usize]) -> Vec<u64> {
    let mut next = 1;
    let mut first = |count: &usize| {
        let first = next;
        next += *count as u64;
        first
    };
    counts.iter().map(&mut first).collect()
}

/// The part of a row of `masks` that is written.
#[derive(Debug, Deserialize)]
struct StoredMask {
    image_id: ImageId,
    mask_index: i32,
    rle: RleRow,
    bbox: [f64; 4],
    area: i64,
    predicted_iou: Option<f32>,
    stability_score: Option<f32>,
    point: Option<[f64; 2]>,
    crop_box: [f64; 4],
}

/// The masks of the chosen images.
struct Masks {
    positions: HashMap<ImageId, usize>,
    counts: Vec<usize>,
    batches: Batches,
}

impl OfImages for Masks {
    type Item = StoredMask;

    fn by_image(self, each: impl FnMut(usize, Vec<StoredMask>) -> Result<()>) -> Result<()> {
        let positions = &self.positions;
        let chosen = |batch: RecordBatch| {
            let masks = decode::<StoredMask>(Table::Masks, &batch)?.into_iter();
            let chosen = masks.filter_map(|mask| Some((*positions.get(&mask.image_id)?, mask)));
            Ok(chosen.collect())
        };
        let batches = self.batches.map(|batch| batch.and_then(chosen));
        by_image(batches, &self.counts, each)
    }
}

#[derive(Serialize)]
struct ImageHeader {
    image_id: i64,
    width: i32,
    height: i32,
    file_name: String,
}

#[derive(Serialize)]
struct Annotation {
    id: u64,
    segmentation: Segmentation,
    bbox: [f64; 4],
    area: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    predicted_iou: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stability_score: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    point_coords: Option<[[f64; 2]; 1]>,
    crop_box: [f64; 4],
}

fn write_file(
    path: &Path,
    header: &ImageHeader,
    masks: Vec<StoredMask>,
    first_id: u64,
) -> Result<()> {
    let mut out = JsonFile::create(path)?;
    out.text("{\"image\": ")?;
    out.json(header)?;
    out.text(",\n\"annotations\": ")?;
    let annotations = masks.into_iter().zip(first_id..);
    let annotations = annotations.map(|(mask, id)| Annotation {
        id,
        segmentation: Segmentation::Rle {
            size: [mask.rle.height, mask.rle.width].map(i32::unsigned_abs),
            counts: Counts::Compressed(mask.rle.counts),
        },
        bbox: mask.bbox,
        area: mask.area,
        predicted_iou: mask.predicted_iou,
        stability_score: mask.stability_score,
        point_coords: mask.point.map(|point| [point]),
        crop_box: mask.crop_box,
    });
    out.list(annotations)?;
    out.text("}\n")?;
    out.flush()
}
