//! Semantic maps: masks painted over each other so that each pixel has one class.

use std::collections::BTreeMap;

use super::bbox::Size;
use super::rle::Rle;
use crate::error::Result;

/// Paints masks, best first: each pixel gets the class of the first mask that contains it. Returns one mask per visible
/// class.
///
/// # Errors
/// [`crate::Error::SizeMismatch`] unless all masks are of `size`.
pub fn paint<'a, C: Ord + Copy>(
    size: Size,
    masks: impl IntoIterator<Item = (C, &'a Rle)>,
) -> Result<BTreeMap<C, Rle>> {
    let mut painted = Rle::empty(size)?;
    let mut seen: BTreeMap<C, Vec<Rle>> = BTreeMap::new();
    for (class, mask) in masks {
        let free = mask.difference(&painted)?;
        if free.is_empty() {
            continue;
        }
        painted = painted.union(&free)?;
        seen.entry(class).or_default().push(free);
    }
    seen.into_iter()
        .map(|(class, parts)| Ok((class, Rle::union_all(size, &parts)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn each_pixel_has_the_class_of_its_first_mask() {
        let mut random = Random::new(3);
        for _ in 0..200 {
            let size = random.size(12);
            let masks: Vec<(usize, Rle)> = (0..6).map(|n| (n % 3, random.mask(size))).collect();
            let map = paint(size, masks.iter().map(|(class, mask)| (*class, mask))).unwrap();
            let pixels = (size.height * size.width) as usize;
            let mut expected = vec![None; pixels];
            for (class, mask) in masks.iter().rev() {
                for (slot, pixel) in expected.iter_mut().zip(mask.to_row_major()) {
                    if pixel == 1 {
                        *slot = Some(*class);
                    }
                }
            }
            let mut found = vec![None; pixels];
            for (class, mask) in &map {
                for (slot, pixel) in found.iter_mut().zip(mask.to_row_major()) {
                    if pixel == 1 {
                        assert_eq!(slot.replace(*class), None);
                    }
                }
            }
            assert_eq!(found, expected);
        }
    }
}
