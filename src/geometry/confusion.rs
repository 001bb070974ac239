//! Confusion of two maps of an image: how many pixels of each annotated class are predicted as each class.

use super::bbox::Size;
use super::rle::Rle;
use crate::error::Result;

/// Pixels of an annotated class that are predicted as a class; `None` is the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConfusedPixels<C> {
    /// The annotated class.
    pub truth: Option<C>,
    /// The predicted class.
    pub predicted: Option<C>,
    /// Their number.
    pub pixels: u64,
}

/// Compares the annotated regions of an image with the predicted ones, pixel by pixel, without those that are ignored. Masks of
/// different classes must not share pixels that count. There is one result for each class beside the background, even if
/// this has no pixel, one for the background itself, and one for each two classes that share a pixel.
///
/// # Errors
/// [`crate::Error::SizeMismatch`] unless all masks are of `size`.
pub(crate) fn confusion<C: Copy>(
    size: Size,
    truth: &[(C, Rle)],
    predicted: &[(C, Rle)],
    ignored: &[Rle],
) -> Result<Vec<ConfusedPixels<C>>> {
    let ignored = Rle::union_all(size, ignored)?;
    let clear = |regions: &[(C, Rle)]| -> Result<Vec<(C, Rle)>> {
        let regions = regions.iter();
        regions
            .map(|(class, mask)| Ok((*class, mask.difference(&ignored)?)))
            .collect()
    };
    let (truth, predicted) = (clear(truth)?, clear(predicted)?);
    let mut found = Vec::new();
    let mut claimed: Vec<u64> = predicted.iter().map(|(_, mask)| mask.area()).collect();
    let mut background = u64::from(size.pixels()?) - ignored.area();
    for (class, mask) in &truth {
        let mut missed = mask.area();
        background = background.saturating_sub(missed);
        for ((other, region), left) in predicted.iter().zip(&mut claimed) {
            let pixels = mask.intersection_area(region)?;
            if pixels > 0 {
                missed = missed.saturating_sub(pixels);
                *left = left.saturating_sub(pixels);
                found.push(ConfusedPixels {
                    truth: Some(*class),
                    predicted: Some(*other),
                    pixels,
                });
            }
        }
        found.push(ConfusedPixels {
            truth: Some(*class),
            predicted: None,
            pixels: missed,
        });
    }
    for ((class, _), pixels) in predicted.iter().zip(claimed) {
        background = background.saturating_sub(pixels);
        found.push(ConfusedPixels {
            truth: None,
            predicted: Some(*class),
            pixels,
        });
    }
    found.push(ConfusedPixels {
        truth: None,
        predicted: None,
        pixels: background,
    });
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    /// The class of each pixel, of regions that may overlap: `None` where there is none.
    fn classes(size: Size, regions: &[(u8, Rle)]) -> Vec<Option<u8>> {
        let mut found = vec![None; size.pixels().unwrap() as usize];
        for (class, mask) in regions {
            for (pixel, covered) in found.iter_mut().zip(mask.to_bitmap()) {
                if covered > 0 {
                    *pixel = Some(*class);
                }
            }
        }
        found
    }

    #[test]
    fn pixels_are_counted_as_one_by_one() {
        let size = Size {
            height: 9,
            width: 13,
        };
        let mut random = Random::new(7);
        let mut mask = |percent: u32| {
            let pixels = (0..117).map(|_| u8::from(random.below(100) < percent));
            let pixels: Vec<u8> = pixels.collect();
            Rle::from_bitmap(size, &pixels).unwrap()
        };
        for _ in 0..20 {
            let ignored = [mask(10), mask(10)];
            let first = mask(40);
            let second = mask(40).difference(&first).unwrap();
            let truth = [(3, first), (1, second), (5, Rle::empty(size).unwrap())];
            let first = mask(50);
            let second = mask(50).difference(&first).unwrap();
            let predicted = [(1, first), (2, second)];
            let found = confusion(size, &truth, &predicted, &ignored).unwrap();

            let ignored = classes(size, &ignored.map(|mask| (0, mask)));
            let both = classes(size, &truth)
                .into_iter()
                .zip(classes(size, &predicted));
            let both: Vec<_> = both
                .zip(ignored)
                .filter(|(_, ignored)| ignored.is_none())
                .map(|(classes, _)| classes)
                .collect();
            for pair in &found {
                let expected = both
                    .iter()
                    .filter(|it| **it == (pair.truth, pair.predicted));
                assert_eq!(pair.pixels, expected.count() as u64, "{pair:?}");
            }
            let sum: u64 = found.iter().map(|pair| pair.pixels).sum();
            assert_eq!(sum, both.len() as u64);
        }
    }

    #[test]
    fn an_image_without_regions_is_background() {
        let size = Size {
            height: 2,
            width: 3,
        };
        let found = confusion::<u8>(size, &[], &[], &[]).unwrap();
        let all = ConfusedPixels {
            truth: None,
            predicted: None,
            pixels: 6,
        };
        assert_eq!(found, [all]);
    }
}
