//! Semantic maps: masks painted over each other so that each pixel has one class.

use std::collections::BTreeMap;

use super::bbox::Size;
use super::merge::check_same_size;
use super::rle::Rle;
use super::spans::spans;
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

/// The value of the mask at each pixel, row-major, and 0 where there is no mask. Where masks overlap, the last one counts.
///
/// # Errors
/// [`crate::Error::SizeMismatch`] unless all masks are of `size`.
pub fn values_of_pixels<'a>(
    size: Size,
    masks: impl IntoIterator<Item = (u16, &'a Rle)>,
) -> Result<Vec<u16>> {
    let mut columns = vec![0; size.height as usize * size.width as usize];
    for (value, mask) in masks {
        check_same_size(size, mask.size())?;
        for (start, end) in spans(mask.runs()) {
            if let Some(span) = columns.get_mut(start as usize..end as usize) {
                span.fill(value);
            }
        }
    }
    let mut rows = vec![0; columns.len()];
    transpose::transpose(
        &columns,
        &mut rows,
        size.height as usize,
        size.width as usize,
    );
    Ok(rows)
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

    #[test]
    fn pixels_have_the_value_of_their_last_mask() {
        let mut random = Random::new(4);
        for _ in 0..200 {
            let size = random.size(12);
            let masks: Vec<(u16, Rle)> = (1..6).map(|n| (n, random.mask(size))).collect();
            let mut expected = vec![0; (size.height * size.width) as usize];
            for (value, mask) in &masks {
                for (slot, pixel) in expected.iter_mut().zip(mask.to_row_major()) {
                    if pixel == 1 {
                        *slot = *value;
                    }
                }
            }
            let masks = masks.iter().map(|(value, mask)| (*value, mask));
            assert_eq!(values_of_pixels(size, masks).unwrap(), expected);
        }
        let (one, other) = (random.size(4), random.size(4));
        let other = Size {
            width: other.width + one.width,
            ..other
        };
        let mask = Rle::empty(one).unwrap();
        assert!(values_of_pixels(other, [(1, &mask)]).is_err());
    }
}
