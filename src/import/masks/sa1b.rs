//! Masks as in SA-1B, the data set of Segment Anything: a JSON file per image.
//!
//! ```text
//! {"image": {"image_id", "width", "height", "file_name"},
//!  "annotations": [{"id", "segmentation": {"size": [h, w], "counts"}, "predicted_iou", "stability_score",
//!                   "point_coords": [[x, y]], "crop_box": [x, y, w, h], "bbox", "area"}]}
//! ```
//!
//! Boxes and areas are those of the masks; everything else is kept as it is given.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::files::{FileKind, Looked};
use super::images::Images;
use super::item::{ImageMasks, ImportedMask, Item, Meant, Plan, reason_of};
use crate::coco::Segmentation;
use crate::error::FileAction;
use crate::geometry::Size;
use crate::{Error, Result};

pub(super) const FILES: FileKind = FileKind {
    extensions: &["json"],
    what: "JSON files",
};

/// The part of a file that tells its image.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    image: HeadImage,
}

#[derive(Debug, Deserialize)]
struct HeadImage {
    file_name: String,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    annotations: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    segmentation: Segmentation,
    predicted_iou: Option<f32>,
    stability_score: Option<f32>,
    point_coords: Option<Vec<Vec<f64>>>,
    crop_box: Option<Vec<f64>>,
}

/// Reads which image a file is about.
///
/// # Errors
/// [`Error::Annotation`] if it is not JSON as in SA-1B.
pub(super) fn look(bytes: &[u8]) -> Result<Head> {
    parse(bytes)
}

/// Finds the images of files in the store.
pub(super) fn plan(looked: Looked<Head>, images: &Images) -> Plan<PathBuf> {
    let mut plan = Plan {
        unusable: looked.unusable,
        ..Plan::default()
    };
    for (file, Head { image }) in looked.files {
        let found = images.by_name(&image.file_name);
        let name = if found.is_one() {
            file.name
        } else {
            format!("{}: image '{}'", file.name, image.file_name)
        };
        let size = image.width.zip(image.height);
        let image = Meant {
            found,
            size: size.map(|(width, height)| Size { height, width }),
        };
        plan.add(name, image, file.path);
    }
    plan.with_one_place_per_image()
}

/// Reads the masks of an image.
///
/// # Errors
/// [`Error::File`]; [`Error::Annotation`] if the file has no list of annotations.
pub(super) fn read(item: &Item<PathBuf>) -> Result<ImageMasks> {
    let path = &item.place;
    let bytes = std::fs::read(path).map_err(Error::file(FileAction::Read, path))?;
    let body: Body<'_> = parse(&bytes)?;
    let mut read = ImageMasks::default();
    for (position, raw) in body.annotations.iter().enumerate() {
        let mask = mask(raw.get(), item.image.size());
        read.take(|| format!("annotations[{position}]"), mask);
    }
    Ok(read)
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|err| Error::Annotation {
        reason: format!("not JSON as in SA-1B (image, annotations): {err}"),
    })
}

/// The mask of an annotation; `None` if it has no segmentation.
fn mask(text: &str, size: Size) -> Result<Option<ImportedMask>> {
    let annotation: Annotation = serde_json::from_str(text).map_err(|err| Error::Annotation {
        reason: reason_of(&err),
    })?;
    let Some(rle) = annotation.segmentation.to_rle(size)? else {
        return Ok(None);
    };
    let points = annotation.point_coords.unwrap_or_default();
    let point = points.first().cloned().unwrap_or_default();
    Ok(Some(ImportedMask {
        predicted_iou: annotation.predicted_iou,
        stability_score: annotation.stability_score,
        point: numbers("point_coords[0]", &point)?,
        crop_box: numbers("crop_box", &annotation.crop_box.unwrap_or_default())?,
        ..ImportedMask::new(rle)?
    }))
}

/// The numbers of a key; none if they are not given, for which datumaro writes an empty list.
fn numbers<const N: usize>(key: &str, given: &[f64]) -> Result<Option<[f64; N]>> {
    if given.is_empty() {
        return Ok(None);
    }
    let numbers = given.try_into().map_err(|_| Error::Annotation {
        reason: format!("{key} has length {}, expected {N}", given.len()),
    })?;
    Ok(Some(numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        height: 2,
        width: 3,
    };

    #[test]
    fn what_is_not_given_is_none() {
        let found = mask(
            r#"{"segmentation": {"size": [2, 3], "counts": [1, 5]}}"#,
            SIZE,
        );
        let found = found.unwrap().unwrap();
        assert_eq!(
            (found.rle.area(), found.predicted_iou, found.point),
            (5, None, None)
        );
        let empty = r#"{"segmentation": {"size": [2, 3], "counts": "15"}, "point_coords": [[]], "crop_box": []}"#;
        let empty = mask(empty, SIZE).unwrap().unwrap();
        assert_eq!((empty.point, empty.crop_box), (None, None));
        let several = r#"{"segmentation": {"size": [2, 3], "counts": "15"}, "point_coords": [[1, 2.5], [3, 4]],
            "crop_box": null, "predicted_iou": 0.5, "id": "a"}"#;
        let several = mask(several, SIZE).unwrap().unwrap();
        assert_eq!(
            (several.point, several.predicted_iou),
            (Some([1.0, 2.5]), Some(0.5))
        );
        assert!(mask(r#"{"bbox": [0, 0, 1, 1]}"#, SIZE).unwrap().is_none());
    }

    #[test]
    fn faults_are_told() {
        for (text, part) in [
            ("[]", "invalid"),
            (
                r#"{"segmentation": {"size": [3, 2], "counts": [6]}}"#,
                "masks differ in size",
            ),
            (
                r#"{"segmentation": {"size": [2, 3], "counts": [6]}}"#,
                "covers no pixel",
            ),
            (
                r#"{"segmentation": {"size": [2, 3], "counts": "~"}}"#,
                "byte 126",
            ),
            (
                r#"{"segmentation": {"size": [2, 3], "counts": [1, 5]}, "crop_box": [1]}"#,
                "crop_box has length 1, expected 4",
            ),
        ] {
            let message = mask(text, SIZE).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        for (text, part) in [
            ("", "EOF while parsing"),
            (
                r#"{"images": [], "annotations": []}"#,
                "missing field `image`",
            ),
            (r#"{"image": {"file_name": "a.jpg"}"#, "EOF"),
        ] {
            let message = look(text.as_bytes()).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
