//! Colours: one per class, the same in pictures and charts, and colours that only distinguish neighbours.

use image::Rgb;
use plotters::style::{Palette, Palette99};

use crate::scenes::color_from_hsv;

/// Number of palette colours in use: all but its grey and black, which are the last.
const NAMED: usize = 19;
/// Degrees between successive hues: the golden angle, so that near indices get distant hues.
const GOLDEN_ANGLE: f64 = 137.508;

/// Colour of objects whose class is not shown.
pub const OTHER: Rgb<u8> = Rgb([150, 150, 150]);

/// The colour of a class, by its index in the class set.
pub fn class_color(index: usize) -> Rgb<u8> {
    match Palette99::COLORS
        .get(..NAMED)
        .and_then(|colors| colors.get(index))
    {
        Some((red, green, blue)) => Rgb([*red, *green, *blue]),
        None => hue_color(index as f64 * GOLDEN_ANGLE, 0.65, 0.95),
    }
}

/// The n-th colour for things that only need to be distinguished.
pub fn any_color(n: usize) -> Rgb<u8> {
    // Three values and two saturations make similar hues differ as well.
    let value = [1.0, 0.8, 0.9].get(n % 3).copied().unwrap_or(1.0);
    hue_color(
        n as f64 * GOLDEN_ANGLE,
        if n.is_multiple_of(2) { 0.9 } else { 0.6 },
        value,
    )
}

/// Black or white, whichever is easier to read on a colour.
pub fn text_on(background: Rgb<u8>) -> Rgb<u8> {
    // Luma (ITU-R BT.601).
    let [red, green, blue] = background.0.map(f32::from);
    if 0.299 * red + 0.587 * green + 0.114 * blue > 140.0 {
        Rgb([0; 3])
    } else {
        Rgb([255; 3])
    }
}

/// Blends `above` into `below`; `share` is the weight of `above`, 0 to 1.
pub fn mix(below: Rgb<u8>, above: Rgb<u8>, share: f32) -> Rgb<u8> {
    let mut mixed = below;
    for (level, other) in mixed.0.iter_mut().zip(above.0) {
        *level = (f32::from(*level) * (1.0 - share) + f32::from(other) * share).round() as u8;
    }
    mixed
}

fn hue_color(hue: f64, saturation: f64, value: f64) -> Rgb<u8> {
    Rgb(color_from_hsv(hue, saturation, value).map(|level| level as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_classes_have_colours_of_their_own() {
        let colors: std::collections::HashSet<[u8; 3]> =
            (0..80).map(|n| class_color(n).0).collect();
        assert_eq!(colors.len(), 80);
        assert!(colors.iter().all(|color| *color != OTHER.0));
        assert_eq!(text_on(class_color(2)).0, [0; 3], "black on yellow");
        assert_eq!(text_on(class_color(5)).0, [255; 3], "white on purple");
        assert_eq!(mix(Rgb([0; 3]), Rgb([200; 3]), 0.5).0, [100; 3]);
    }
}
