//! Arranges panels side by side under their captions, in rows on a sheet.

use image::{Rgb, RgbImage, imageops};

use super::text::Pen;
use crate::Result;

/// Pixels between panels and around them.
const GAP: u32 = 8;
const PAPER: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([30; 3]);

/// A picture with a line of text above it.
#[derive(Debug, Clone)]
pub struct Panel {
    /// The line of text.
    pub caption: String,
    /// The picture.
    pub picture: RgbImage,
}

/// Draws rows of panels. A row that has a title gets it on a line above its panels.
///
/// # Errors
/// [`crate::Error::EncodeImage`] if the built-in font cannot be read.
pub fn sheet(rows: &[(Option<String>, Vec<Panel>)]) -> Result<RgbImage> {
    let widest = rows
        .iter()
        .flat_map(|(_, panels)| panels)
        .map(|panel| panel.picture.width())
        .max();
    let height = (widest.unwrap_or(0) as f32 / 20.0).clamp(14.0, 22.0);
    let (caption, title) = (Pen::new(height)?, Pen::new(height * 1.1)?);
    // All panels of a column start at the same x.
    let mut columns: Vec<u32> = Vec::new();
    for (_, panels) in rows {
        for (at, panel) in panels.iter().enumerate() {
            match columns.get_mut(at) {
                Some(width) => *width = (*width).max(panel.picture.width()),
                None => columns.push(panel.picture.width()),
            }
        }
    }
    let row_height = |title_line: &Option<String>, panels: &[Panel]| {
        let tallest = panels
            .iter()
            .map(|it| it.picture.height())
            .max()
            .unwrap_or(0);
        let of_title = title_line.as_ref().map_or(0, |_| title.height() + GAP / 2);
        of_title + caption.height() + tallest + GAP
    };
    let width = columns.iter().map(|width| width + GAP).sum::<u32>() + GAP;
    let height = rows
        .iter()
        .map(|(line, panels)| row_height(line, panels))
        .sum::<u32>()
        + GAP;
    let mut canvas = RgbImage::from_pixel(width.max(1), height.max(1), PAPER);
    let mut y = GAP;
    for (line, panels) in rows {
        let mut top = y;
        if let Some(line) = line {
            let fitting = title.fit(line, width.saturating_sub(2 * GAP));
            title.write(&mut canvas, [i64::from(GAP), i64::from(top)], INK, &fitting);
            top += title.height() + GAP / 2;
        }
        let mut x = GAP;
        for (panel, column) in panels.iter().zip(&columns) {
            let fitting = caption.fit(&panel.caption, *column);
            caption.write(&mut canvas, [i64::from(x), i64::from(top)], INK, &fitting);
            let below = i64::from(top + caption.height());
            imageops::replace(&mut canvas, &panel.picture, i64::from(x), below);
            x += column + GAP;
        }
        y += row_height(line, panels);
    }
    Ok(canvas)
}

/// Arranges single panels in a grid with about as many columns as rows.
pub fn in_grid(panels: Vec<Panel>) -> Vec<(Option<String>, Vec<Panel>)> {
    let columns = ((panels.len() as f64).sqrt().ceil() as usize).max(1);
    let mut rows = Vec::new();
    let mut panels = panels.into_iter().peekable();
    while panels.peek().is_some() {
        rows.push((None, panels.by_ref().take(columns).collect()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(width: u32, height: u32, level: u8) -> Panel {
        Panel {
            caption: "photo".to_owned(),
            picture: RgbImage::from_pixel(width, height, Rgb([level, 0, 0])),
        }
    }

    #[test]
    fn every_pixel_of_every_panel_is_on_the_sheet() {
        let rows = vec![
            (
                Some("one.jpg".to_owned()),
                vec![panel(60, 40, 100), panel(50, 45, 150)],
            ),
            (None, vec![panel(30, 90, 200)]),
        ];
        let sheet = sheet(&rows).unwrap();
        for (level, pixels) in [(100, 60 * 40), (150, 50 * 45), (200, 30 * 90)] {
            assert_eq!(
                sheet.pixels().filter(|p| p.0 == [level, 0, 0]).count(),
                pixels
            );
        }
        assert_eq!(sheet.width(), 60 + 50 + 3 * GAP);
    }

    #[test]
    fn a_grid_is_about_square() {
        let lengths = |n: usize| -> Vec<usize> {
            let rows = in_grid((0..n).map(|_| panel(2, 2, 0)).collect());
            rows.iter().map(|(_, panels)| panels.len()).collect()
        };
        assert_eq!(lengths(7), [3, 3, 1]);
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(0), [0; 0]);
    }
}
