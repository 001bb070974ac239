//! An image of any size becomes a model's input.

use serde::{Deserialize, Serialize};

use super::pillow::{Filter, resize, resize_part};
use crate::geometry::Size;
use crate::options::one_of;

/// How an image of any aspect becomes an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// The short side is resized and the ends of the long side are cut off, as CLIP's own transform does.
    Official,
    /// The long side is resized and the rest is filled with the mean colour.
    Pad,
    /// Both sides are resized to a square; the aspect is lost.
    Squash,
    /// The aspect is kept, and the input is not square: only for photos, and networks that take any size.
    Keep,
}

impl Fit {
    const WORDS: [(&'static str, Self); 4] = [
        ("official", Self::Official),
        ("pad", Self::Pad),
        ("squash", Self::Squash),
        ("keep", Self::Keep),
    ];
}

impl std::str::FromStr for Fit {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        one_of("fit", text, &Self::WORDS)
    }
}

impl std::fmt::Display for Fit {
    /// Writes the word, such as `squash`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut words = Self::WORDS.iter();
        let word = words.find(|(_, fit)| fit == self);
        f.write_str(word.map_or("", |(word, _)| word))
    }
}

/// Row-major RGB bytes.
#[derive(Clone, Copy, Debug)]
pub struct Rgb<'a> {
    /// Three bytes per pixel.
    pub bytes: &'a [u8],
    /// Height and width; at least one pixel each.
    pub size: Size,
}

impl Rgb<'_> {
    /// A square of `side` pixels; `colour` fills what the image leaves empty. To keep the aspect is to squash here.
    pub(in crate::models) fn square(&self, side: u32, fit: Fit, colour: [u8; 3]) -> Vec<u8> {
        let square = Size {
            height: side,
            width: side,
        };
        match fit {
            Fit::Squash | Fit::Keep => resize(self.bytes, self.size, square, Filter::Bicubic),
            Fit::Official => self.centre(side),
            Fit::Pad => self.padded(side, colour),
        }
    }

    /// torchvision's `Resize(side)` and `CenterCrop(side)`.
    fn centre(&self, side: u32) -> Vec<u8> {
        let Size { height, width } = self.size;
        let short = u64::from(height.min(width)).max(1);
        let scaled = |length: u32| {
            let scaled = u64::from(side) * u64::from(length) / short;
            u32::try_from(scaled).unwrap_or(u32::MAX)
        };
        let to = Size {
            height: scaled(height),
            width: scaled(width),
        };
        let part = [to.height, to.width].map(|length| {
            let start = half_to_even(length - side);
            start..start + side as usize
        });
        resize_part(self.bytes, self.size, to, part, Filter::Bicubic)
    }

    fn padded(&self, side: u32, colour: [u8; 3]) -> Vec<u8> {
        let to = within(self.size, side, 1);
        let resized = resize(self.bytes, self.size, to, Filter::Bicubic);
        let (side, width) = (side as usize, to.width as usize);
        let top = (side - to.height as usize) / 2;
        let left = (side - width) / 2;
        let mut square = colour.repeat(side * side);
        let lines = square.chunks_exact_mut(3 * side).skip(top);
        for (line, row) in lines.zip(resized.chunks_exact(3 * width)) {
            if let Some(place) = line.get_mut(3 * left..3 * (left + width)) {
                place.copy_from_slice(row);
            }
        }
        square
    }

    /// The image at another size.
    pub(in crate::models) fn resized(&self, to: Size) -> Vec<u8> {
        resize(self.bytes, self.size, to, Filter::Bicubic)
    }
}

/// Half a number, rounded as Python's `round` does: a half to the even neighbour.
fn half_to_even(number: u32) -> usize {
    let half = number as usize / 2;
    half + usize::from(number % 4 == 3)
}

/// The size of an image whose long side has `longest` pixels: the aspect is kept as far as both sides are multiples of
/// `step`.
pub(in crate::models) fn within(size: Size, longest: u32, step: u32) -> Size {
    let scale = f64::from(longest) / f64::from(size.height.max(size.width).max(1));
    let steps = f64::from(step.max(1));
    let most = (longest / step.max(1)).max(1);
    let scaled = |side: u32| {
        let count = (f64::from(side) * scale / steps).round() as u32;
        count.clamp(1, most) * step.max(1)
    };
    Size {
        height: scaled(size.height),
        width: scaled(size.width),
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn the_official_fit_is_open_clips_byte_for_byte() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/embed/");
        let bytes = std::fs::read(format!("{folder}pixels_reference.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let mut compared = 0;
        for photo in ["photo_a", "photo_b"] {
            let image = image::open(format!("{folder}{photo}.png"))
                .unwrap()
                .to_rgb8();
            let rgb = Rgb {
                bytes: image.as_raw(),
                size: Size {
                    height: image.height(),
                    width: image.width(),
                },
            };
            for (name, side) in [("", 32), (".33", 33), (".45", 45), (".64", 64)] {
                let expected = tensors.tensor(&format!("clip.{photo}{name}"));
                let Ok(expected) = expected else { continue };
                let found = rgb.square(side, Fit::Official, [0; 3]);
                assert_eq!(found, expected.data(), "{photo} {side}");
                compared += 1;
            }
        }
        assert!(compared >= 6, "{compared}");
    }

    #[test]
    fn a_thin_image_costs_no_more_than_its_square() {
        let bytes = vec![9; 3 * 100_000];
        let size = Size {
            height: 1,
            width: 100_000,
        };
        let rgb = Rgb {
            bytes: &bytes,
            size,
        };
        for fit in [Fit::Official, Fit::Squash] {
            assert_eq!(rgb.square(224, fit, [1; 3]), vec![9; 3 * 224 * 224]);
        }
        let padded = rgb.square(224, Fit::Pad, [1; 3]);
        assert_eq!(padded.iter().filter(|byte| **byte == 9).count(), 3 * 224);
    }

    #[test]
    fn sides_are_multiples_of_the_patch() {
        let size = |height, width| Size { height, width };
        assert_eq!(within(size(480, 640), 518, 14), size(392, 518));
        assert_eq!(within(size(640, 480), 518, 14), size(518, 392));
        assert_eq!(within(size(1, 5000), 518, 14), size(14, 518));
        assert_eq!(within(size(7, 7), 224, 32), size(224, 224));
        assert_eq!([0, 1, 2, 3, 5, 7].map(half_to_even), [0, 0, 1, 2, 2, 4]);
    }
}
