//! Masks of a COCO data-set file: polygons and run lengths, of any category.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::images::{Found, Images};
use super::item::{ImageMasks, ImportedMask, Item, Meant, Plan, reason_of};
use crate::coco::{AnnotationIndex, DatasetIndex, Image, Segmentation, Text};
use crate::error::FileAction;
use crate::extract::file_name;
use crate::geometry::Size;
use crate::ids::hex;
use crate::{Error, Result};

/// A file whose annotations are not parsed yet.
pub(super) struct CocoFile {
    /// The file's name.
    pub name: String,
    pub sha256: String,
    pub text: Text,
    pub index: DatasetIndex,
}

impl CocoFile {
    /// Reads a file; for a worker thread.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Content`] if it is not a COCO data set.
    pub fn read(path: &Path) -> Result<Self> {
        let reading = |err| Error::file(FileAction::Read, path)(err);
        let mut sha256 = Sha256::new();
        let mut file = File::open(path).map_err(reading)?;
        // A pipe can be read only once.
        let (text, index) = if file.metadata().map_err(reading)?.is_file() {
            let hashed = io::copy(&mut file, &mut sha256).and_then(|_| file.rewind());
            hashed.map_err(reading)?;
            Text::open(file, path)?
        } else {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(reading)?;
            sha256.update(&bytes);
            Text::of(bytes, path)?
        };
        Ok(Self {
            name: file_name(path),
            sha256: hex(&sha256.finalize()),
            text,
            index,
        })
    }
}

/// Finds the images of a file in the store, and the annotations of each in the order of the file.
pub(super) fn plan(
    index: DatasetIndex,
    file_name: &str,
    images: &Images,
) -> Plan<Vec<AnnotationIndex>> {
    let mut plan = Plan::default();
    let mut lost = HashSet::new();
    for it in index.unusable {
        lost.extend(it.image_id);
        let item = format!("{file_name}: {}", it.item);
        plan.fail(item, None, it.reason.into());
    }
    let mut of_image: HashMap<i64, Vec<AnnotationIndex>> = HashMap::new();
    for image in &index.images {
        of_image.entry(image.id).or_default();
    }
    for annotation in index.annotations {
        let id = annotation.image_id;
        match of_image.get_mut(&id) {
            Some(annotations) => annotations.push(annotation),
            None if lost.contains(&id) => {} // the image's failure is told
            None => {
                let item = format!("{file_name}: {}", name_of(&annotation));
                let reason = format!("no image has its image_id, {id}");
                plan.fail(item, None, Error::Annotation { reason });
            }
        }
    }
    for image in &index.images {
        let name = format!("{file_name}: image {} '{}'", image.id, image.file_name);
        match of_image.remove(&image.id) {
            Some(annotations) => plan.add(name, find(images, image), annotations),
            None => {
                let reason = format!("another image has id {} too", image.id);
                plan.fail(name, None, Error::Annotation { reason });
            }
        }
    }
    plan.with_one_place_per_image()
}

/// Finds an image by its name, by its name without LVIS's split, or by its id.
fn find<'a>(images: &'a Images, image: &Image) -> Meant<'a> {
    let by_name = images.by_name(&image.file_name);
    let other_name = image.other_name.iter().map(|name| images.by_name(name));
    let mut others = other_name.chain([images.by_external_id(image.id)]);
    let found = match by_name {
        Found::One(_) => by_name,
        _ => others.find(Found::is_one).unwrap_or(by_name),
    };
    let size = image.width.zip(image.height);
    Meant {
        found,
        size: size.map(|(width, height)| Size { height, width }),
    }
}

fn name_of(annotation: &AnnotationIndex) -> String {
    match annotation.id {
        Some(id) => format!("annotations[{}], id {id}", annotation.position),
        None => format!("annotations[{}]", annotation.position),
    }
}

/// Reads the masks of an image. `text` is that of the file.
///
/// # Errors
/// Those of [`Text::get`].
pub(super) fn read(text: &Text, item: &Item<Vec<AnnotationIndex>>) -> Result<ImageMasks> {
    let mut read = ImageMasks::default();
    let size = item.image.size();
    for annotation in &item.place {
        let of_annotation = text.get(annotation.text.clone())?;
        match segmentation(&of_annotation) {
            Ok((segmentation, left_out)) => {
                if let Some(why) = left_out {
                    read.unusable.push((name_of(annotation), why));
                }
                let mask = segmentation.to_rle(size);
                let mask = mask.and_then(|mask| mask.map(ImportedMask::new).transpose());
                read.take(|| name_of(annotation), mask);
            }
            Err(why) => read.unusable.push((name_of(annotation), why)),
        }
    }
    Ok(read)
}

/// The segmentation of an annotation, without rings that are no rings, and what is to be told of these.
fn segmentation(text: &str) -> Result<(Segmentation, Option<Error>)> {
    #[derive(Deserialize)]
    struct Annotation {
        #[serde(default)]
        segmentation: Segmentation,
    }
    let mut found = serde_json::from_str::<Annotation>(text)
        .map_err(|err| Error::Annotation {
            reason: reason_of(&err),
        })?
        .segmentation;
    let stray = found.take_stray_rings();
    let stray: Vec<String> = stray
        .iter()
        .filter(|ring| ring.numbers > 0)
        .map(|it| format!("segmentation[{}] has {} numbers", it.ring, it.numbers))
        .collect();
    let left_out = (!stray.is_empty()).then(|| Error::Annotation {
        reason: format!(
            "{}, expected at least 6 (three points); the mask is kept without that",
            stray.join(", ")
        ),
    });
    Ok((found, left_out))
}
