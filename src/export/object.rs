//! An object of an export, and the conversion of rows of `masks` and `ground_truth` to objects.

use std::collections::{HashMap, HashSet};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Int32Type;
use serde::Deserialize;

use super::request::Ids;
use crate::Result;
use crate::annotate::ScoreRule;
use crate::classes::ClassSet;
use crate::geometry::Rle;
use crate::ids::ImageId;
use crate::schema::Table;
use crate::store::columns::{numbers, texts};
use crate::store::rows::{RleRow, decode};

/// A predicted or annotated object.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Position of its image in the list of images.
    pub image: usize,
    /// Position of its category. `None` for a class that is not exported, and for a void region.
    pub class: Option<usize>,
    /// Its pixels. `None` if only a box was annotated.
    pub mask: Option<Rle>,
    /// Bounding box, XYWH in pixels of the original image: that of a predicted mask, or the box as annotated.
    pub bbox: [f64; 4],
    /// Area in square pixels: that of a predicted mask, or the area as annotated.
    pub area: f64,
    /// Whether it was predicted or annotated.
    pub kind: ObjectKind,
}

impl Object {
    /// Whether it is a void region: one that the annotator excluded, so it is not an object.
    pub fn is_void(&self) -> bool {
        matches!(&self.kind, ObjectKind::Annotated(it) if it.is_void)
    }
}

/// Where an object comes from, with the values that only this source has.
#[derive(Debug, Clone, PartialEq)]
pub enum ObjectKind {
    /// A mask that a head keeps or, in a semantic map, one that votes.
    Predicted(Predicted),
    /// An annotated object, crowd or void region.
    Annotated(Annotated),
}

/// Values that the head and the extractor computed for a kept mask.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    /// Whether the policy keeps it; if not, it is there because it votes for the semantic map.
    pub kept: bool,
    /// `masks.extractor_id`.
    pub extractor_id: String,
    /// `masks.mask_index`.
    pub mask_index: i32,
    /// Probability of the class.
    pub score: f64,
    /// Entropy of the class probabilities in nats. `None` for an imported prediction.
    pub entropy: Option<f32>,
    /// SAM's estimate of the mask's quality. `None` for an imported mask.
    pub predicted_iou: Option<f32>,
    /// IoU between the mask's binarizations at two thresholds. `None` for an imported mask.
    pub stability_score: Option<f32>,
}

/// Values that a data set gives for an annotated object.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotated {
    /// The id in the data set. `None` if new ids were requested, or if the ids of the export are not all positive and
    /// distinct.
    pub id: Option<i64>,
    /// Whether it is a crowd.
    pub iscrowd: bool,
    /// Whether it is a void region and so not an object.
    pub is_void: bool,
    /// How it was annotated: 'polygon', 'rle', 'label_map' or 'none'.
    pub spelling: String,
    /// All other keys that the data set gives for it, as a JSON object.
    pub attributes: Option<String>,
}

/// A wanted mask as stored in `predictions`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kept {
    pub kept: bool,
    pub mask_index: i32,
    pub class_index: i32,
    pub score: f64,
    pub entropy: Option<f32>,
}

/// Converts rows to objects.
#[derive(Debug)]
pub(super) struct Decoder {
    /// Position of each image, by its id.
    positions: HashMap<String, usize>,
    /// Number of objects of each image.
    pub counts: Vec<usize>,
    rows: Rows,
}

/// Data of other tables that is needed to decode the rows of one table.
#[derive(Debug)]
pub(super) enum Rows {
    Masks {
        /// Position of the exported category for each class of the head, if it has one.
        places: Vec<Option<usize>>,
        /// Wanted masks by image, ordered by `mask_index`.
        kept: HashMap<String, Vec<Kept>>,
        /// What the score of a mask is.
        score: ScoreRule,
    },
    GroundTruth {
        /// Position of the category for each label of the data set.
        places: HashMap<String, usize>,
        keep_ids: bool,
    },
}

#[derive(Deserialize)]
struct MaskPart {
    extractor_id: String,
    image_id: String,
    mask_index: i32,
    rle: RleRow,
    bbox: [f64; 4],
    predicted_iou: Option<f32>,
    stability_score: Option<f32>,
}

#[derive(Deserialize)]
struct GroundTruthPart {
    image_id: String,
    external_id: Option<i64>,
    category: Option<String>,
    rle: Option<RleRow>,
    bbox: [f64; 4],
    area: f64,
    iscrowd: bool,
    is_ignored: bool,
    segmentation: String,
    attributes: Option<String>,
}

impl Rows {
    /// Rows of annotated objects. `ids` are the ids of the chosen objects.
    pub fn of_ground_truth(
        classes: &ClassSet,
        mut ids: impl Iterator<Item = Option<i64>>,
        wanted: Ids,
    ) -> Self {
        let places = classes.index_by_label().into_iter();
        let mut seen = HashSet::new();
        // pycocotools takes an id of 0 for "no match".
        let distinct = ids.all(|id| id.is_some_and(|id| id > 0 && seen.insert(id)));
        Self::GroundTruth {
            places: places.map(|(label, at)| (label.to_owned(), at)).collect(),
            keep_ids: wanted == Ids::Original && distinct,
        }
    }
}

impl Decoder {
    /// A decoder for the images at the given positions, each with the given number of objects.
    pub fn new(
        rows: Rows,
        positions: HashMap<ImageId, usize>,
        counts: &HashMap<ImageId, usize>,
    ) -> Self {
        let mut of_position = vec![0; positions.len()];
        for (image, at) in &positions {
            if let Some(slot) = of_position.get_mut(*at) {
                *slot = counts.get(image).copied().unwrap_or(0);
            }
        }
        Self {
            positions: positions
                .into_iter()
                .map(|(image, at)| (String::from(image), at))
                .collect(),
            counts: of_position,
            rows,
        }
    }

    pub fn columns(&self) -> &'static [&'static str] {
        match self.rows {
            Rows::Masks { .. } => &[
                "extractor_id",
                "image_id",
                "mask_index",
                "rle",
                "bbox",
                "predicted_iou",
                "stability_score",
            ],
            Rows::GroundTruth { .. } => &[
                "image_id",
                "external_id",
                "category",
                "rle",
                "bbox",
                "area",
                "iscrowd",
                "is_ignored",
                "segmentation",
                "attributes",
            ],
        }
    }

    /// Decodes the objects of a batch.
    pub fn decode(&self, batch: &RecordBatch) -> Result<Vec<Object>> {
        match &self.rows {
            Rows::Masks {
                places,
                kept,
                score,
            } => self.masks(batch, places, kept, *score),
            Rows::GroundTruth { places, keep_ids } => {
                let rows = decode::<GroundTruthPart>(Table::GroundTruth, batch)?.into_iter();
                let chosen =
                    rows.filter_map(|row| Some((*self.positions.get(&row.image_id)?, row)));
                chosen
                    .map(|(image, row)| annotated(image, row, places, *keep_ids))
                    .collect()
            }
        }
    }

    fn masks(
        &self,
        batch: &RecordBatch,
        places: &[Option<usize>],
        kept: &HashMap<String, Vec<Kept>>,
        score: ScoreRule,
    ) -> Result<Vec<Object>> {
        let find = |image: &str, mask_index: i32| {
            let of_image = kept.get(image)?;
            let at = of_image
                .binary_search_by_key(&mask_index, |mask| mask.mask_index)
                .ok()?;
            of_image.get(at)
        };
        // Most masks are not kept, so rows are filtered before they are decoded.
        let images = texts(batch, "image_id")?;
        let indices = numbers::<Int32Type>(batch, "mask_index")?;
        let pairs = images.iter().zip(indices.iter());
        let wanted: BooleanArray = pairs
            .map(|(image, index)| Some(find(image?, index?).is_some()))
            .map(|is| is.or(Some(false)))
            .collect();
        let mut objects = Vec::new();
        for row in decode::<MaskPart>(Table::Masks, &filter_record_batch(batch, &wanted)?)? {
            let (Some(mask), Some(image)) = (
                find(&row.image_id, row.mask_index),
                self.positions.get(&row.image_id),
            ) else {
                continue;
            };
            let rle = Rle::try_from(&row.rle)?;
            let class = usize::try_from(mask.class_index).ok();
            objects.push(Object {
                image: *image,
                class: class.and_then(|class| places.get(class).copied().flatten()),
                bbox: row.bbox,
                area: rle.area() as f64,
                mask: Some(rle),
                kind: ObjectKind::Predicted(Predicted {
                    kept: mask.kept,
                    extractor_id: row.extractor_id,
                    mask_index: mask.mask_index,
                    score: score.score(mask.score, row.predicted_iou),
                    entropy: mask.entropy,
                    predicted_iou: row.predicted_iou,
                    stability_score: row.stability_score,
                }),
            });
        }
        Ok(objects)
    }
}

fn annotated(
    image: usize,
    row: GroundTruthPart,
    places: &HashMap<String, usize>,
    keep_ids: bool,
) -> Result<Object> {
    let mask = row.rle.as_ref().map(Rle::try_from).transpose()?;
    Ok(Object {
        image,
        class: row
            .category
            .as_ref()
            .and_then(|word| places.get(word).copied()),
        mask,
        bbox: row.bbox,
        area: row.area,
        kind: ObjectKind::Annotated(Annotated {
            id: row.external_id.filter(|_| keep_ids),
            iscrowd: row.iscrowd,
            is_void: row.is_ignored,
            spelling: row.segmentation,
            attributes: row.attributes,
        }),
    })
}
