//! What a source holds: images with their masks, and what cannot be used.

use std::collections::HashMap;
use std::mem;

use super::images::{Found, StoredImage};
use crate::geometry::{Rle, Size};
use crate::ids::ImageId;
use crate::{Error, Result};

/// A mask, with what the source says about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ImportedMask {
    pub rle: Rle,
    pub predicted_iou: Option<f32>,
    pub stability_score: Option<f32>,
    /// x, y in pixels of the image.
    pub point: Option<[f64; 2]>,
    /// XYWH in pixels of the image; `None` for the whole image.
    pub crop_box: Option<[f64; 4]>,
}

impl ImportedMask {
    /// A mask of which nothing else is known.
    ///
    /// # Errors
    /// [`Error::Annotation`] if it has no pixel.
    pub fn new(rle: Rle) -> Result<Self> {
        if rle.is_empty() {
            return Err(Error::Annotation {
                reason: "its mask covers no pixel".to_owned(),
            });
        }
        Ok(Self {
            rle,
            predicted_iou: None,
            stability_score: None,
            point: None,
            crop_box: None,
        })
    }
}

/// The masks of an image, in the order of the source.
#[derive(Debug, Default)]
pub(super) struct ImageMasks {
    pub masks: Vec<ImportedMask>,
    /// Annotations that cannot be used, or not as they are, by their names.
    pub unusable: Vec<(String, Error)>,
    /// Annotations without a mask.
    pub without_mask: u64,
}

impl ImageMasks {
    /// Takes an annotation, which may have no mask, or be unusable.
    pub fn take(&mut self, name: impl FnOnce() -> String, mask: Result<Option<ImportedMask>>) {
        match mask {
            Ok(Some(mask)) => self.masks.push(mask),
            Ok(None) => self.without_mask += 1,
            Err(why) => self.unusable.push((name(), why)),
        }
    }
}

/// Something that cannot be used, or not as it is.
#[derive(Debug)]
pub(super) struct Unusable {
    /// Its name, as a person would look it up.
    pub item: String,
    pub image_id: Option<ImageId>,
    pub why: Error,
}

/// An image of the store whose masks a source holds at a place `P`.
#[derive(Debug)]
pub(super) struct Item<P> {
    /// The name that the source gives it, as a person would look it up.
    pub name: String,
    pub image: StoredImage,
    pub place: P,
}

/// The image that a source means.
pub(super) struct Meant<'a> {
    /// What the store has.
    pub found: Found<'a>,
    /// Its size, if the source says so.
    pub size: Option<Size>,
}

/// All images that a source holds masks of.
#[derive(Debug)]
pub(super) struct Plan<P> {
    pub items: Vec<Item<P>>,
    pub unusable: Vec<Unusable>,
    /// Images that the request leaves out.
    pub left_out: u64,
}

impl<P> Default for Plan<P> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            unusable: Vec::new(),
            left_out: 0,
        }
    }
}

impl<P> Plan<P> {
    /// Adds an image of the source, if the store has it in the size of the masks.
    pub fn add(&mut self, name: String, image: Meant<'_>, place: P) {
        let Meant { found, size } = image;
        match found.image() {
            Ok(Some(image)) => match size.map_or(Ok(()), |size| image.check_size(size)) {
                Ok(()) => self.items.push(Item {
                    name,
                    image: image.clone(),
                    place,
                }),
                Err(why) => self.fail(name, Some(image.image_id.clone()), why),
            },
            Ok(None) => self.left_out += 1,
            Err(why) => self.fail(name, None, why),
        }
    }

    /// Adds something that cannot be used.
    pub fn fail(&mut self, item: String, image_id: Option<ImageId>, why: Error) {
        self.unusable.push(Unusable {
            item,
            image_id,
            why,
        });
    }

    /// Leaves out images for which the source has masks in several places, because one of these may be out of date.
    #[must_use]
    pub fn with_one_place_per_image(mut self) -> Self {
        let mut names: HashMap<ImageId, Vec<String>> = HashMap::new();
        for item in &self.items {
            let of_image = names.entry(item.image.image_id.clone()).or_default();
            of_image.push(item.name.clone());
        }
        names.retain(|_, names| names.len() > 1);
        for item in mem::take(&mut self.items) {
            let id = &item.image.image_id;
            match names.get_mut(id).map(mem::take) {
                None => self.items.push(item),
                Some(places) if places.is_empty() => {} // told with the first
                Some(places) => {
                    let reason = format!(
                        "{} hold masks of '{}'; leave one of them",
                        in_words(&places),
                        item.image.file_name
                    );
                    let id = Some(id.clone());
                    self.fail(item.name, id, Error::Annotation { reason });
                }
            }
        }
        self
    }
}

/// Two or more names: `a, b and c`.
fn in_words(names: &[String]) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

/// The text of an error with those of its causes.
pub(super) fn with_causes(err: &Error) -> String {
    let mut text = err.to_string();
    let mut source = std::error::Error::source(err);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The parser's message without its position, which would be wrong for a piece of a file.
pub(super) fn reason_of(err: &serde_json::Error) -> String {
    let text = err.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text.get(..end).unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_has_pixels() {
        let size = Size {
            height: 2,
            width: 3,
        };
        let empty = ImportedMask::new(Rle::empty(size).unwrap());
        assert_eq!(empty.unwrap_err().to_string(), "its mask covers no pixel");
        ImportedMask::new(Rle::full(size).unwrap()).unwrap();
    }

    #[test]
    fn names_are_listed_in_words() {
        let names = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(in_words(&names[..2]), "a and b");
        assert_eq!(in_words(&names), "a, b and c");
    }
}
