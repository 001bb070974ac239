//! COCO's data-set JSON as serde types: what comes in is text, what goes out are images, categories
//! and annotations that still hold their own text.
//!
//! Annotation files reach hundreds of megabytes, nearly all of it polygons. So a file is read in two
//! steps: [`DatasetIndex`] finds every annotation and whose it is, and keeps the rest as text;
//! [`Annotation`] is parsed from that text when its image's turn comes, on a worker thread.
//! Format: <https://cocodataset.org/#format-data>.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::geometry::{Rle, Size, rle_from_polygons};
use crate::{Error, Result};

/// A COCO data set whose annotations are not parsed yet.
#[derive(Debug)]
pub struct DatasetIndex {
    /// `images`, in file order.
    pub images: Vec<Image>,
    /// `categories`, in file order.
    pub categories: Vec<Category>,
    /// `licenses`.
    pub licenses: Vec<License>,
    /// Where each annotation stands in the text, and what it must say to be placed.
    pub annotations: Vec<AnnotationIndex>,
}

/// One of `images`.
#[derive(Debug, Clone, Deserialize)]
pub struct Image {
    /// Id that annotations refer to.
    pub id: i64,
    /// Path relative to the image directory.
    pub file_name: String,
    /// Pixels; missing in some hand-made files.
    pub width: Option<u32>,
    /// Pixels; missing in some hand-made files.
    pub height: Option<u32>,
    /// Every other key.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// One of `categories`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Category {
    /// Id that annotations refer to; not always consecutive.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Coarser word, if any.
    pub supercategory: Option<String>,
}

/// One of `licenses`.
#[derive(Debug, Clone, Deserialize)]
pub struct License {
    /// Id that images refer to.
    pub id: i64,
    /// The whole object, `id` included.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An annotation that was found, not parsed.
#[derive(Debug, Clone)]
pub struct AnnotationIndex {
    /// `id`, if it has one.
    pub id: Option<i64>,
    /// `image_id`.
    pub image_id: i64,
    /// Its bytes in the file.
    pub text: Range<usize>,
}

/// One of `annotations`.
#[derive(Debug, Clone, Deserialize)]
pub struct Annotation {
    /// Id of its own, unique in the file.
    pub id: Option<i64>,
    /// One of `categories`.
    pub category_id: i64,
    /// The mask, if there is more than a box.
    #[serde(default)]
    pub segmentation: Segmentation,
    /// Square pixels, as the annotator's polygons enclose.
    pub area: Option<f64>,
    /// x, y, width, height in pixels.
    pub bbox: Option<[f64; 4]>,
    /// 1: the region holds many objects that were not told apart.
    #[serde(default)]
    pub iscrowd: u8,
    /// Every other key.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// An annotation's mask, in any of COCO's spellings.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "segmentation is neither a list of polygons, each a flat list of numbers, nor an RLE of size and counts"
)]
pub enum Segmentation {
    /// Flat rings x0, y0, x1, y1, ... in pixels; several are parts of one object.
    Polygons(Vec<Vec<f64>>),
    /// Run lengths.
    Rle {
        /// Height and width in pixels.
        size: [u32; 2],
        /// The runs.
        counts: Counts,
    },
    /// Only a box.
    #[default]
    None,
}

/// Run lengths: column-major, first run background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Counts {
    /// pycocotools' compressed text.
    Compressed(String),
    /// Plain numbers.
    Runs(Vec<u32>),
}

/// One detection of a results file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Detection {
    /// One of the data set's images.
    pub image_id: i64,
    /// One of its categories.
    pub category_id: i64,
    /// Greater is surer.
    pub score: f64,
    /// The mask, if there is more than a box.
    #[serde(default)]
    pub segmentation: Segmentation,
    /// x, y, width, height in pixels.
    #[serde(default)]
    pub bbox: Vec<f64>,
}

impl Segmentation {
    /// How it is spelt: `polygon`, `rle` or `none`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Polygons(polygons) if polygons.is_empty() => "none",
            Self::Polygons(_) => "polygon",
            Self::Rle { .. } => "rle",
        }
    }

    /// The mask, in an image of that size; polygons are rasterised as pycocotools does it.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] for runs of another size; what is wrong with runs or polygons.
    pub fn to_rle(&self, size: Size) -> Result<Option<Rle>> {
        match self {
            Self::None => Ok(None),
            Self::Polygons(polygons) if polygons.is_empty() => Ok(None),
            Self::Polygons(polygons) => Ok(Some(rle_from_polygons(polygons, size)?)),
            Self::Rle {
                size: [height, width],
                counts,
            } => {
                let annotated = Size {
                    height: *height,
                    width: *width,
                };
                if annotated != size {
                    return Err(Error::SizeMismatch {
                        expected: size,
                        found: annotated,
                    });
                }
                let mask = match counts {
                    Counts::Compressed(counts) => Rle::from_counts_str(size, counts)?,
                    Counts::Runs(runs) => Rle::from_runs(size, runs.clone())?,
                };
                Ok(Some(mask))
            }
        }
    }
}

impl DatasetIndex {
    /// Finds everything in the text of a data-set file.
    ///
    /// # Errors
    /// Broken JSON, or a part that is not what COCO says, with line and column.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct File<'a> {
            images: Vec<Image>,
            categories: Vec<Category>,
            #[serde(default)]
            licenses: Vec<License>,
            #[serde(borrow, default)]
            annotations: Vec<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Head {
            id: Option<i64>,
            image_id: i64,
        }

        let file: File<'_> = serde_json::from_str(text)?;
        let mut annotations = Vec::with_capacity(file.annotations.len());
        for (position, raw) in file.annotations.iter().enumerate() {
            let head: Head = serde_json::from_str(raw.get()).map_err(|err| {
                serde::de::Error::custom(format!("annotations[{position}]: {err}"))
            })?;
            let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
            annotations.push(AnnotationIndex {
                id: head.id,
                image_id: head.image_id,
                text: start..start + raw.get().len(),
            });
        }
        Ok(Self {
            images: file.images,
            categories: file.categories,
            licenses: file.licenses,
            annotations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_mask_is_read() {
        let parse = |json: &str| serde_json::from_str::<Segmentation>(json).unwrap();
        assert_eq!(
            parse("[[1, 2, 3, 4.5, 5, 6]]"),
            Segmentation::Polygons(vec![vec![1.0, 2.0, 3.0, 4.5, 5.0, 6.0]])
        );
        assert_eq!(
            parse(r#"{"size": [2, 3], "counts": [1, 5]}"#),
            Segmentation::Rle {
                size: [2, 3],
                counts: Counts::Runs(vec![1, 5])
            }
        );
        assert_eq!(
            parse(r#"{"counts": "15", "size": [2, 3]}"#),
            Segmentation::Rle {
                size: [2, 3],
                counts: Counts::Compressed("15".to_owned())
            }
        );
        assert_eq!(parse("null"), Segmentation::None);
    }

    #[test]
    fn annotations_are_found_where_they_stand() {
        let text = r#"{"annotations": [ {"image_id": 7, "category_id": 1, "note": "é"} ,
            {"id": 3, "image_id": 8, "category_id": 2}],
            "images": [], "categories": [{"id": 1, "name": "cat", "keypoints": []}]}"#;
        let index = DatasetIndex::parse(text).unwrap();
        assert_eq!(index.annotations.len(), 2);
        let second = &index.annotations[1];
        assert_eq!((second.id, second.image_id), (Some(3), 8));
        let annotation: Annotation = serde_json::from_str(&text[second.text.clone()]).unwrap();
        assert_eq!(annotation.category_id, 2);
        let first: Annotation =
            serde_json::from_str(&text[index.annotations[0].text.clone()]).unwrap();
        assert_eq!(first.extra["note"], "é");
    }

    #[test]
    fn broken_files_say_where() {
        for (text, part) in [
            ("{", "EOF"),
            (r#"{"images": []}"#, "categories"),
            (
                r#"{"images": [], "categories": [], "annotations": [{}]}"#,
                "annotations[0]",
            ),
            (r#"[]"#, "line 1"),
        ] {
            let message = DatasetIndex::parse(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
