//! Draws masks over a photo: tinted, with outlines and labels.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::color::{mix, text_on};
use super::text::Pen;
use crate::Result;
use crate::geometry::Rle;

/// Weight of a mask's colour in the pixels inside its outline, 0 to 1.
const TINT: f32 = 0.45;

/// A mask to draw.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The mask, at the size of the original photo.
    pub mask: Rle,
    /// Colour of its tint, outline and label.
    pub color: Rgb<u8>,
    /// Text to write at the mask, if any.
    pub label: Option<String>,
}

/// Scales a photo so that its longer side is `side` pixels.
pub fn scaled(photo: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = photo.dimensions();
    let scale = f64::from(side) / f64::from(width.max(height).max(1));
    let length = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
    let filter = if scale < 1.0 {
        FilterType::Triangle
    } else {
        FilterType::CatmullRom
    };
    imageops::resize(photo, length(width), length(height), filter)
}

/// Draws masks on a photo, which may have been scaled. Larger masks are drawn first, each with its outline. Labels
/// follow, those of earlier layers first, where there is room for them.
///
/// # Errors
/// Those of [`Pen::new`].
pub fn draw(canvas: &mut RgbImage, layers: &[Layer]) -> Result<()> {
    let mut order: Vec<&Layer> = layers.iter().collect();
    order.sort_by_key(|layer| std::cmp::Reverse(layer.mask.area()));
    for layer in order {
        let shown = Shown::of(&layer.mask, canvas);
        for (x, y, pixel) in canvas.enumerate_pixels_mut() {
            if shown.at(x, y) {
                let is_rim = shown.is_rim(x, y);
                *pixel = mix(*pixel, layer.color, if is_rim { 1.0 } else { TINT });
            }
        }
    }
    let pen = Pen::new((canvas.width() as f32 / 24.0).clamp(13.0, 20.0))?;
    let mut taken: Vec<Spot> = Vec::new();
    for layer in layers {
        if let Some(label) = &layer.label {
            let spot = Spot::choose(&pen, label, &layer.mask, canvas, &taken);
            spot.fill(canvas, layer.color);
            pen.write(canvas, [spot.x + 3, spot.y], text_on(layer.color), label);
            taken.push(spot);
        }
    }
    Ok(())
}

/// A mask scaled to the size of a canvas.
struct Shown {
    /// Row-major, `true` inside the mask.
    pixels: Vec<bool>,
    width: usize,
    height: usize,
}

impl Shown {
    fn of(mask: &Rle, canvas: &RgbImage) -> Self {
        let bitmap = mask.to_row_major();
        let size = mask.size();
        let columns = nearest(canvas.width(), size.width);
        let mut pixels = Vec::with_capacity(columns.len() * canvas.height() as usize);
        for row in nearest(canvas.height(), size.height) {
            let start = row * size.width as usize;
            let row = bitmap.get(start..).unwrap_or_default();
            pixels.extend(columns.iter().map(|column| row.get(*column) == Some(&1)));
        }
        Self {
            pixels,
            width: canvas.width() as usize,
            height: canvas.height() as usize,
        }
    }

    fn at(&self, x: u32, y: u32) -> bool {
        let at = y as usize * self.width + x as usize;
        self.pixels.get(at).copied().unwrap_or(false)
    }

    /// Whether one of six neighbouring pixels is outside the mask: left, right, above, below and on one diagonal.
    fn is_rim(&self, x: u32, y: u32) -> bool {
        let outside = |dx: i64, dy: i64| {
            let (x, y) = (i64::from(x) + dx, i64::from(y) + dy);
            match (u32::try_from(x), u32::try_from(y)) {
                (Ok(x), Ok(y)) if (x as usize) < self.width && (y as usize) < self.height => {
                    !self.at(x, y)
                }
                _ => false, // the photo's edge is not an outline
            }
        };
        [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1)]
            .into_iter()
            .any(|(dx, dy)| outside(dx, dy))
    }
}

/// Maps each pixel along a side of the canvas to the photo's pixel under its centre.
fn nearest(canvas: u32, photo: u32) -> Vec<usize> {
    let (canvas, photo) = (u64::from(canvas.max(1)), u64::from(photo.max(1)));
    let under = |at: u64| ((2 * at + 1) * photo / (2 * canvas)).min(photo - 1) as usize;
    (0..canvas).map(under).collect()
}

/// A rectangle for a label.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spot {
    x: i64,
    y: i64,
    width: i64,
    height: i64,
}

impl Spot {
    /// Chooses a place near the mask and within the canvas that overlaps no other label, if there is one.
    fn choose(pen: &Pen, label: &str, mask: &Rle, canvas: &RgbImage, taken: &[Self]) -> Self {
        let (width, height) = (i64::from(pen.width(label)) + 6, i64::from(pen.height()));
        let scale = f64::from(canvas.width()) / f64::from(mask.size().width.max(1));
        let [left, top, across, down] = mask.bbox().to_xywh().map(|length| (length * scale) as i64);
        let most = [
            i64::from(canvas.width()) - width,
            i64::from(canvas.height()) - height,
        ];
        let within = |x: i64, y: i64| Self {
            x: x.clamp(0, most[0].max(0)),
            y: y.clamp(0, most[1].max(0)),
            width,
            height,
        };
        let middle = [left + (across - width) / 2, top + (down - height) / 2];
        let mut spots = vec![
            within(left, top - height),
            within(middle[0], top - height),
            within(left, top + down),
            within(middle[0], middle[1]),
            within(left, top),
        ];
        spots.extend((0..down / height.max(1)).map(|line| within(middle[0], top + line * height)));
        let free = spots
            .iter()
            .find(|spot| taken.iter().all(|other| !spot.meets(other)));
        free.or(spots.first())
            .copied()
            .unwrap_or_else(|| within(left, top))
    }

    fn meets(&self, other: &Self) -> bool {
        self.x < other.x + other.width
            && other.x < self.x + self.width
            && self.y < other.y + other.height
            && other.y < self.y + self.height
    }

    fn fill(&self, canvas: &mut RgbImage, color: Rgb<u8>) {
        for y in self.y..self.y + self.height {
            for x in self.x..self.x + self.width {
                let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
                    continue;
                };
                if let Some(pixel) = canvas.get_pixel_mut_checked(x, y) {
                    *pixel = color;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Size;

    const SIZE: Size = Size {
        height: 20,
        width: 40,
    };

    fn rectangle(columns: std::ops::Range<u32>) -> Rle {
        let mut bitmap = Vec::new();
        for x in 0..SIZE.width {
            bitmap.extend(
                (0..SIZE.height).map(|y| u8::from(columns.contains(&x) && (5..15).contains(&y))),
            );
        }
        Rle::from_bitmap(SIZE, &bitmap).unwrap()
    }

    #[test]
    fn masks_are_drawn_where_they_lie_at_any_scale() {
        for side in [40, 120, 400] {
            let mut canvas = scaled(&RgbImage::new(40, 20), side);
            let layer = Layer {
                mask: rectangle(10..20),
                color: Rgb([200, 0, 0]),
                label: None,
            };
            draw(&mut canvas, &[layer]).unwrap();
            let unit = side / 40;
            let level =
                |x: u32, y: u32| canvas.get_pixel(x * unit + unit / 2, y * unit + unit / 2).0[0];
            assert_eq!(level(14, 9), 90, "tinted inside");
            assert_eq!(
                canvas.get_pixel(10 * unit, 9 * unit).0[0],
                200,
                "an outline"
            );
            assert_eq!((level(8, 9), level(22, 9), level(14, 2)), (0, 0, 0));
        }
    }

    #[test]
    fn labels_keep_off_each_other() {
        let pen = Pen::new(13.0).unwrap();
        let canvas = RgbImage::new(400, 200);
        let mut taken = Vec::new();
        for _ in 0..4 {
            let spot = Spot::choose(&pen, "ball 0.9", &rectangle(10..20), &canvas, &taken);
            assert!(
                taken.iter().all(|other| !spot.meets(other)),
                "{taken:?} {spot:?}"
            );
            assert!(spot.x >= 0 && spot.x + spot.width <= 400 && spot.y >= 0);
            taken.push(spot);
        }
    }
}
