//! COCO results: a list of detections becomes a head without weights, its masks and its predictions.
//!
//! Boxes and areas are those that pycocotools' `loadRes` computes: if the first detection has a box, boxes and their
//! areas count; otherwise those of the masks.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::commit::Rows;
use crate::catalogue::{find_dataset, find_split};
use crate::classes::ClassSet;
use crate::coco::{Detection, Segmentation};
use crate::error::FileAction;
use crate::geometry::{Rle, Size};
use crate::ids::{HeadId, ImageId, check_name, hex};
use crate::progress::Progress;
use crate::schema::Table;
use crate::store::rows::{FailureRow, decode};
use crate::store::{Snapshot, Store};
use crate::{Error, Result};

/// Masks that are committed together.
const COMMIT_MASKS: usize = 8192;

/// What to import.
#[derive(Debug, Clone)]
pub struct ImportRequest {
    /// The results file: a JSON list of detections.
    pub file: PathBuf,
    /// Name of the head that the predictions are stored under.
    pub head: String,
    /// Data set whose image ids the file uses.
    pub dataset: String,
    /// Only images of this split; `None` for all images.
    pub split: Option<String>,
    /// Class set whose ids are the file's category ids: NAME or NAME@VERSION; `None` for the one named like the data
    /// set.
    pub classes: Option<String>,
}

/// Result of an import.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ImportSummary {
    /// Name of the head.
    pub head: String,
    /// Id of the head.
    pub head_id: Option<HeadId>,
    /// Images whose detections were added.
    pub images: u64,
    /// Detections added.
    pub detections: u64,
    /// Images whose detections were already there.
    pub done: u64,
    /// Detections that could not be used; each has a row in `failures`.
    pub failed: u64,
}

/// An image of the data set.
#[derive(Debug, Deserialize)]
struct ImageIds {
    image_id: ImageId,
    external_id: Option<i64>,
    width: i32,
    height: i32,
}

/// A detection whose image, class and mask have been found.
pub(super) struct Placed {
    pub class: usize,
    pub score: f64,
    pub rle: Rle,
    /// XYWH in pixels of the image.
    pub bbox: [f64; 4],
}

/// All detections, by image.
pub(super) struct Plan {
    pub images: BTreeMap<ImageId, Vec<Placed>>,
    pub failures: Vec<FailureRow>,
    /// Whether the given boxes count, not those of the masks.
    pub boxes: bool,
}

/// Imports detections. A repeated import adds nothing; an interrupted one continues where it stopped.
///
/// # Examples
/// ```
/// use grainstore::import::{ImportRequest, import_coco_results};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = ImportRequest {
///     file: "mask_rcnn_val.json".into(),
///     head: "mask-rcnn".to_owned(),
///     dataset: "coco".to_owned(),
///     split: Some("val".to_owned()),
///     classes: None,
/// };
/// let summary = import_coco_results(store, &request, &NoProgress).await?;
/// println!("{} detections on {} images", summary.detections, summary.images);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::File`]; [`Error::Content`] if the file is not a list of detections, or if images of the data set share an
/// id; [`crate::error::CatalogueError`]; errors of the store. A detection that cannot be used is recorded in `failures`
/// instead.
pub async fn import_coco_results(
    store: &Store,
    request: &ImportRequest,
    progress: &dyn Progress,
) -> Result<ImportSummary> {
    check_name("head", &request.head)?;
    let snapshot = store.snapshot().await?;
    find_dataset(&snapshot, &request.dataset).await?;
    if let Some(split) = &request.split {
        find_split(&snapshot, split).await?;
    }
    let set_name = request.classes.as_ref().unwrap_or(&request.dataset);
    let class_set = ClassSet::load(&snapshot, set_name).await?;
    let images = images_of(&snapshot, request).await?;
    let (file, dataset) = (request.file.clone(), request.dataset.clone());
    let set = class_set.clone();
    let read = tokio::task::spawn_blocking(move || {
        let bytes = std::fs::read(&file).map_err(Error::file(FileAction::Read, &file))?;
        let sha256 = hex(&Sha256::digest(&bytes));
        Ok::<_, Error>((plan(&file, &bytes, &dataset, &images, &set)?, sha256))
    });
    let (plan, sha256) = read.await.map_err(|source| Error::Worker {
        task: "reading the results",
        source,
    })??;

    let rows = Rows::new(request, &class_set, &plan, sha256, &snapshot)?;
    let mut summary = ImportSummary {
        head: request.head.clone(),
        head_id: Some(rows.head.head_id.clone()),
        failed: plan.failures.len() as u64,
        ..ImportSummary::default()
    };
    progress.start("images", Some(plan.images.len() as u64));
    let done = rows.images_done(&snapshot, plan.images.keys()).await?;
    let mut waiting: Vec<(&ImageId, &Vec<Placed>)> = Vec::new();
    let mut masks = 0;
    for (image, detections) in &plan.images {
        progress.advance(1);
        if done.contains(image) {
            summary.done += 1;
            continue;
        }
        summary.images += 1;
        summary.detections += detections.len() as u64;
        masks += detections.len();
        waiting.push((image, detections));
        if masks >= COMMIT_MASKS {
            rows.commit(store, &waiting, &[]).await?;
            waiting.clear();
            masks = 0;
        }
    }
    rows.commit(store, &waiting, &plan.failures).await?;
    progress.finish();
    Ok(summary)
}

async fn images_of(snapshot: &Snapshot, request: &ImportRequest) -> Result<HashMap<i64, ImageIds>> {
    let scan = snapshot.scan(Table::Images).await?;
    let scan = scan.project(&["image_id", "external_id", "width", "height"])?;
    let mut wanted = col("dataset").eq(lit(request.dataset.as_str()));
    if let Some(split) = &request.split {
        wanted = wanted.and(col("split").eq(lit(split.as_str())));
    }
    let mut rows = scan.filter(wanted).stream().await?;
    let mut images = HashMap::new();
    while let Some(batch) = rows.next().await {
        for row in decode::<ImageIds>(Table::Images, &batch?)? {
            let Some(id) = row.external_id else {
                continue;
            };
            if images.insert(id, row).is_some() {
                return Err(Error::Content {
                    path: request.file.clone(),
                    place: String::new(),
                    reason: format!(
                        "image id {id} is that of two images of data set '{}'; choose one split",
                        request.dataset
                    ),
                });
            }
        }
    }
    Ok(images)
}

/// Finds the image, the class and the mask of each detection.
fn plan(
    file: &Path,
    bytes: &[u8],
    dataset: &str,
    images: &HashMap<i64, ImageIds>,
    set: &ClassSet,
) -> Result<Plan> {
    let bad = |reason: String| Error::Content {
        path: file.to_owned(),
        place: String::new(),
        reason: format!("not a list of COCO results: {reason}"),
    };
    let text = std::str::from_utf8(bytes).map_err(|err| bad(err.to_string()))?;
    let list: Vec<&RawValue> = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|err| bad(err.to_string()))?;
    let ids = set.classes.iter().enumerate();
    let classes: HashMap<i64, usize> = ids
        .filter_map(|(at, class)| Some((class.external_id?, at)))
        .collect();
    if classes.is_empty() {
        return Err(bad(format!(
            "class set '{}' has no category ids to read it by; name another class set",
            set.name
        )));
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let mut found = Plan {
        images: BTreeMap::new(),
        failures: Vec::new(),
        boxes: false,
    };
    for (position, raw) in list.iter().enumerate() {
        let placed = serde_json::from_str::<Detection>(raw.get())
            .map_err(|err| Error::Annotation {
                reason: format!("not as COCO has it: {err}"),
            })
            .and_then(|detection| {
                if position == 0 {
                    found.boxes = !detection.bbox.is_empty();
                }
                place(detection, images, &classes, found.boxes)
            });
        match placed {
            Ok((image, placed)) => found.images.entry(image).or_default().push(placed),
            Err(err) => {
                let item = format!("{name}: [{position}]");
                let row = FailureRow::of_error("import", Some(dataset), &item, &err);
                found.failures.push(row);
            }
        }
    }
    Ok(found)
}

fn place(
    detection: Detection,
    images: &HashMap<i64, ImageIds>,
    classes: &HashMap<i64, usize>,
    boxes: bool,
) -> Result<(ImageId, Placed)> {
    let bad = |reason: String| Error::Annotation { reason };
    let image = images.get(&detection.image_id);
    let image = image.ok_or_else(|| {
        bad(format!(
            "no image of the data set has its image_id, {}",
            detection.image_id
        ))
    })?;
    let class = classes.get(&detection.category_id).copied();
    let class = class.ok_or_else(|| {
        bad(format!(
            "no class has its category_id, {}",
            detection.category_id
        ))
    })?;
    if !detection.score.is_finite() {
        return Err(bad(format!("its score is {}", detection.score)));
    }
    let size = Size {
        height: image.height.unsigned_abs(),
        width: image.width.unsigned_abs(),
    };
    let given = match detection.bbox[..] {
        [] => None,
        [x, y, width, height] if width >= 0.0 && height >= 0.0 => Some([x, y, width, height]),
        _ => {
            return Err(bad(format!(
                "bbox {:?} is no x, y, width, height",
                detection.bbox
            )));
        }
    };
    let mask = detection.segmentation.to_rle(size)?;
    let rle = match (mask, given) {
        (Some(mask), _) => mask,
        (None, Some([x, y, width, height])) => {
            let (right, bottom) = (x + width, y + height);
            let outline = vec![x, y, x, bottom, right, bottom, right, y];
            let mask = Segmentation::Polygons(vec![outline]).to_rle(size)?;
            mask.map_or_else(|| Rle::empty(size), Ok)?
        }
        (None, None) => {
            return Err(bad("it has neither a segmentation nor a bbox".to_owned()));
        }
    };
    let bbox = match given.filter(|_| boxes) {
        Some(bbox) => bbox,
        None => rle.bbox().to_xywh(),
    };
    let placed = Placed {
        class,
        score: detection.score,
        rle,
        bbox,
    };
    Ok((image.image_id.clone(), placed))
}
