//! Writes text on pictures, in DejaVu Sans Condensed Bold.

use ab_glyph::{Font, FontRef, PxScaleFont, ScaleFont};
use image::{Rgb, RgbImage};

use crate::{Error, Result};

/// Writes lines of text at one height.
#[derive(Debug, Clone)]
pub struct Pen {
    font: PxScaleFont<FontRef<'static>>,
}

impl Pen {
    /// Creates a pen whose lines are `height` pixels high.
    ///
    /// # Errors
    /// [`Error::EncodeImage`] if the built-in font cannot be read.
    pub fn new(height: f32) -> Result<Self> {
        let font = FontRef::try_from_slice(dejavu::sans_condensed::bold());
        let font = font.map_err(|err| Error::EncodeImage {
            reason: err.to_string(),
        })?;
        Ok(Self {
            font: font.into_scaled(height),
        })
    }

    /// Height of a line in pixels.
    pub fn height(&self) -> u32 {
        self.font.height().ceil() as u32
    }

    /// Width of a line in pixels.
    pub fn width(&self, text: &str) -> u32 {
        let glyphs = text.chars().map(|c| self.font.scaled_glyph(c).id);
        glyphs.map(|id| self.font.h_advance(id)).sum::<f32>().ceil() as u32
    }

    /// Cuts the text to a width in pixels.
    pub fn fit(&self, text: &str, width: u32) -> String {
        if self.width(text) <= width {
            return text.to_owned();
        }
        let cut = |(end, _): (usize, char)| format!("{}…", text.get(..end).unwrap_or_default());
        let mut shorter = text.char_indices().rev().map(cut);
        shorter
            .find(|cut| self.width(cut) <= width)
            .unwrap_or_default()
    }

    /// Writes a line whose top left corner is at x, y, in pixels of the canvas. What lies outside the canvas is cut
    /// off.
    pub fn write(&self, canvas: &mut RgbImage, [x, y]: [i64; 2], color: Rgb<u8>, text: &str) {
        let mut left = x as f32;
        let base = y as f32 + self.font.ascent();
        for c in text.chars() {
            let mut glyph = self.font.scaled_glyph(c);
            let advance = self.font.h_advance(glyph.id);
            glyph.position = ab_glyph::point(left, base);
            left += advance;
            let Some(outline) = self.font.outline_glyph(glyph) else {
                continue;
            };
            let corner = outline.px_bounds().min;
            outline.draw(|dx, dy, coverage| {
                let at = (
                    corner.x as i64 + i64::from(dx),
                    corner.y as i64 + i64::from(dy),
                );
                let (Ok(x), Ok(y)) = (u32::try_from(at.0), u32::try_from(at.1)) else {
                    return;
                };
                if let Some(pixel) = canvas.get_pixel_mut_checked(x, y) {
                    *pixel = super::color::mix(*pixel, color, coverage.min(1.0));
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_marks_the_pixels_it_measures() {
        let pen = Pen::new(16.0).unwrap();
        let width = pen.width("starfish 0.93");
        assert!((60..110).contains(&width), "{width}");
        let mut canvas = RgbImage::from_pixel(width + 20, pen.height() + 10, Rgb([255; 3]));
        pen.write(&mut canvas, [10, 5], Rgb([0; 3]), "starfish 0.93");
        let dark: Vec<u32> = canvas
            .enumerate_pixels()
            .filter(|(.., p)| p.0[0] < 128)
            .map(|(x, ..)| x)
            .collect();
        assert!(
            dark.len() > 200 && dark.iter().all(|x| (8..width + 12).contains(x)),
            "{}",
            dark.len()
        );
        // Writing outside the canvas does nothing.
        pen.write(&mut canvas, [-500, 900], Rgb([0; 3]), "x");
    }

    #[test]
    fn long_text_is_cut() {
        let pen = Pen::new(16.0).unwrap();
        assert_eq!(pen.fit("short", 200), "short");
        let cut = pen.fit("a/very/long/path/of/a/photo.jpg", 80);
        assert!(cut.ends_with('…') && pen.width(&cut) <= 80, "{cut}");
    }
}
