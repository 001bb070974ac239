//! The pixels of an image by class and object.
//!
//! Where masks overlap, the best-scoring one is drawn; of annotated objects, the smallest. Crowds are drawn as void. If the head's
//! policy has masks vote, the classes are those of the vote, and an object has only its pixels of its class.

use super::coco::ExportSummary;
use super::object::{Object, ObjectKind};
use crate::annotate::MapRule;
use crate::geometry::{Rle, Size, Vote, values_of_pixels, vote};
use crate::{Error, Result};

/// The class and the object of each pixel of an image, row-major: 0 for none, 1, 2, ... for the classes in order and for objects.
pub(super) struct PixelMaps {
    pub size: Size,
    pub classes: Vec<u16>,
    pub objects: Vec<u16>,
    /// The class of each object.
    pub class_of_object: Vec<u16>,
}

/// A pixel that is void.
pub(super) const VOID: u16 = u16::MAX;

impl PixelMaps {
    /// Draws objects; what is left out is counted.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] for more than `most` objects.
    pub fn of(
        size: Size,
        mut objects: Vec<Object>,
        rule: MapRule,
        most: usize,
        summary: &mut ExportSummary,
    ) -> Result<Self> {
        let classes = match rule {
            MapRule::Paint => None,
            MapRule::Vote(tau) => Some(voted_classes(size, &objects, tau)?),
        };
        let is_kept =
            |object: &Object| !matches!(&object.kind, ObjectKind::Predicted(it) if !it.kept);
        objects.retain(is_kept);
        let (mut shown, mut void): (Vec<(u16, Object)>, Vec<Rle>) = (Vec::new(), Vec::new());
        objects.sort_by(|a, b| rank(b).total_cmp(&rank(a)));
        for object in objects {
            let is_void =
                matches!(&object.kind, ObjectKind::Annotated(it) if it.iscrowd || it.is_void);
            match (&object.mask, object.class) {
                (None, _) => summary.without_mask += 1,
                (Some(mask), _) if is_void => void.push(mask.clone()),
                (Some(mask), _) if mask.is_empty() => summary.without_pixels += 1,
                (Some(_), None) => summary.of_other_classes += 1,
                (Some(_), Some(class)) => {
                    summary.annotations += 1;
                    shown.push((u16::try_from(class + 1).unwrap_or(VOID), object));
                }
            }
        }
        if shown.len() > most {
            return Err(Error::InvalidOption {
                what: "number of objects in a label map",
                value: shown.len().to_string(),
                expected: format!("at most {most}; annotate with a lower maximum per image"),
            });
        }
        // The last mask of a pixel counts: void is covered by objects, and they by those of a higher rank.
        let numbers = shown.iter().zip(1..=u16::MAX).rev();
        let masks =
            numbers.filter_map(|((_, object), number)| Some((number, object.mask.as_ref()?)));
        let void = void.iter().map(|mask| (VOID, mask));
        let objects = values_of_pixels(size, void.chain(masks))?;
        let class_of_object: Vec<u16> = shown.iter().map(|(class, _)| *class).collect();
        let class_of = |number: &u16| {
            let at = usize::from(*number).checked_sub(1);
            let class = at.map(|at| class_of_object.get(at).copied().unwrap_or(VOID));
            class.unwrap_or(0)
        };
        let mut maps = Self {
            size,
            classes: objects.iter().map(class_of).collect(),
            objects,
            class_of_object,
        };
        if let Some(voted) = classes {
            let pixels = maps.classes.iter().zip(&voted).zip(&mut maps.objects);
            for ((painted, voted), object) in pixels {
                // A pixel of an object has the object's class.
                if painted != voted {
                    *object = 0;
                }
            }
            maps.classes = voted;
        }
        Ok(maps)
    }
}

/// The class of each pixel, row-major, by a vote of all masks.
fn voted_classes(size: Size, objects: &[Object], tau: f64) -> Result<Vec<u16>> {
    let votes = objects.iter().filter_map(|object| {
        let ObjectKind::Predicted(predicted) = &object.kind else {
            return None;
        };
        Some(Vote {
            class: object.class,
            score: predicted.score,
            mask: object.mask.as_ref()?,
        })
    });
    let votes: Vec<Vote<'_, usize>> = votes.collect();
    let masks = vote(size, &votes, tau)?;
    let value = |class: &usize| u16::try_from(class + 1).unwrap_or(VOID);
    values_of_pixels(size, masks.iter().map(|(class, mask)| (value(class), mask)))
}

/// Drawing order: objects of a higher rank cover those of a lower one.
fn rank(object: &Object) -> f64 {
    match &object.kind {
        ObjectKind::Predicted(it) => it.score,
        ObjectKind::Annotated(_) => -object.area,
    }
}
