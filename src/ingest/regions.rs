//! Converts label maps to regions. In: class and object indices of every pixel. Out: one region per row of
//! `ground_truth`.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// Index of pixels that no metric counts.
pub(super) const VOID: u8 = 255;

/// A region of a label map, which becomes one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Region {
    /// Pixels with an index of the object map, and the class of the object.
    Object { index: u8, class: u8 },
    /// Pixels of a class that belong to no object, or all pixels of the class if there is no object map.
    Class { class: u8 },
    /// Void pixels.
    Void,
}

/// Lists the regions in the maps: objects by index, then classes by index, then void.
///
/// An object gets the class that most of its pixels have.
#[allow(
    clippy::indexing_slicing,
    reason = "a table of 256 has an entry for every byte"
)]
pub(super) fn plan_regions(classes: &[u8], objects: Option<&[u8]>) -> Result<Vec<Region>> {
    let mut votes: BTreeMap<u8, [u32; 256]> = BTreeMap::new();
    let mut apart = [false; 256];
    for (at, class) in classes.iter().enumerate() {
        match objects.and_then(|objects| objects.get(at)) {
            Some(object) if *object != 0 && *object != VOID => {
                votes.entry(*object).or_insert([0; 256])[usize::from(*class)] += 1;
            }
            _ => apart[usize::from(*class)] = true,
        }
    }
    let mut regions = Vec::new();
    for (index, votes) in votes {
        let most = (1..VOID).max_by_key(|class| (votes[usize::from(*class)], VOID - class));
        let class = most.filter(|class| votes[usize::from(*class)] > 0);
        let class = class.ok_or_else(|| Error::Annotation {
            reason: format!(
                "object {index} of SegmentationObject has no class in SegmentationClass"
            ),
        })?;
        regions.push(Region::Object { index, class });
    }
    let apart = (1..VOID).filter(|class| apart[usize::from(*class)]);
    regions.extend(apart.map(|class| Region::Class { class }));
    if classes.contains(&VOID) {
        regions.push(Region::Void);
    }
    Ok(regions)
}

impl Region {
    /// Its pixels, row-major: 1 inside the region, 0 elsewhere.
    pub fn pixels(self, classes: &[u8], objects: Option<&[u8]>) -> Vec<u8> {
        let object_at = |at: usize| objects.and_then(|objects| objects.get(at).copied());
        let is_apart = |at: usize| matches!(object_at(at), None | Some(0 | VOID));
        let belongs = |at: usize, pixel: u8| match self {
            Self::Object { index, .. } => object_at(at) == Some(index),
            Self::Class { class } => pixel == class && is_apart(at),
            Self::Void => pixel == VOID,
        };
        let pixels = classes.iter().enumerate();
        pixels
            .map(|(at, pixel)| u8::from(belongs(at, *pixel)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_take_the_class_most_of_their_pixels_have() {
        let classes = [0, 7, 7, 9, VOID, 7, 0, 0];
        let objects = [0, 1, 1, 1, VOID, 2, 0, 0];
        assert_eq!(
            plan_regions(&classes, Some(&objects)).unwrap(),
            [
                Region::Object { index: 1, class: 7 },
                Region::Object { index: 2, class: 7 },
                Region::Void
            ]
        );
        assert_eq!(
            plan_regions(&classes, None).unwrap(),
            [
                Region::Class { class: 7 },
                Region::Class { class: 9 },
                Region::Void
            ]
        );
        assert_eq!(plan_regions(&[0, 0], Some(&[0, 0])).unwrap(), []);
        assert_eq!(
            plan_regions(&[7, 7, 9], Some(&[1, 0, 0])).unwrap(),
            [
                Region::Object { index: 1, class: 7 },
                Region::Class { class: 7 },
                Region::Class { class: 9 }
            ]
        );
        let no_class = plan_regions(&[0, VOID], Some(&[1, 1])).unwrap_err();
        assert!(no_class.to_string().contains("object 1"), "{no_class}");
    }
}
