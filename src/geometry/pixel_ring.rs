//! The mask of an outline that runs through pixels, as OpenCV's `findContours` gives it and `fillPoly` paints it.

use super::bbox::Size;
use super::polygon::rle_from_polygon;
use super::rle::Rle;
use super::spans::RunBuilder;
use crate::error::Result;

/// The pixels of a ring, x and y of pixels, and all that lie inside of it.
///
/// The ring's pixels belong to the mask, so one pixel of width is more than with [`rle_from_polygon`] of the same numbers. Rings of steps
/// to neighbours, or straight and diagonal lines, which contours consist of, give exactly OpenCV's mask; other lines may differ from
/// OpenCV's by single pixels. What lies outside the image is cut off.
///
/// # Errors
/// [`crate::Error::MaskTooLarge`].
pub fn rle_from_pixel_ring(ring: &[[i32; 2]], size: Size) -> Result<Rle> {
    let centres: Vec<f64> = ring
        .iter()
        .flatten()
        .map(|at| f64::from(*at) + 0.5)
        .collect();
    let inside = match ring.len() {
        0..3 => Rle::empty(size)?,
        _ => rle_from_polygon(&centres, size)?,
    };
    let (width, height) = (i64::from(size.width), i64::from(size.height));
    let next = ring.iter().skip(1).chain(ring.first());
    let mut places: Vec<u32> = Vec::new();
    for (from, to) in ring.iter().zip(next) {
        for [x, y] in line(*from, *to) {
            if (0..width).contains(&x) && (0..height).contains(&y) {
                // Below the number of pixels, which fits: the polygon's mask was made.
                places.push((x * height + y) as u32);
            }
        }
    }
    places.sort_unstable();
    places.dedup();
    let mut runs = RunBuilder::default();
    for place in places {
        runs.push(place, place + 1);
    }
    inside.union(&Rle::from_runs(size, runs.finish(size.pixels()?))?)
}

/// The pixels of a line, both ends among them: one for each step along its longer side.
fn line(from: [i32; 2], to: [i32; 2]) -> impl Iterator<Item = [i64; 2]> {
    let [x, y] = from.map(i64::from);
    let [across, down] = [i64::from(to[0]) - x, i64::from(to[1]) - y];
    let steps = across.abs().max(down.abs());
    (0..=steps).map(move |step| {
        let part = |side: i64| match steps {
            0 => 0,
            // Rounded to the nearest, halves up.
            _ => (2 * side * step + steps).div_euclid(2 * steps),
        };
        [x + part(across), y + part(down)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        height: 5,
        width: 6,
    };

    fn painted(ring: &[[i32; 2]]) -> Vec<String> {
        let mask = rle_from_pixel_ring(ring, SIZE).unwrap().to_row_major();
        let rows = mask.chunks(6);
        rows.map(|row| {
            row.iter()
                .map(|it| if *it == 1 { '#' } else { '.' })
                .collect()
        })
        .collect()
    }

    #[test]
    fn rings_belong_to_their_masks() {
        // As cv2.fillPoly paints them.
        let square = ["......", ".###..", ".###..", ".###..", "......"];
        assert_eq!(painted(&[[1, 1], [3, 1], [3, 3], [1, 3]]), square);
        let diamond = ["..#...", ".###..", "#####.", ".###..", "..#..."];
        assert_eq!(painted(&[[2, 0], [4, 2], [2, 4], [0, 2]]), diamond);
        let line = ["......", ".####.", "......", "......", "......"];
        assert_eq!(painted(&[[1, 1], [4, 1], [2, 1]]), line);
        let cut = [".....#", "....##", "...###", "....##", ".....#"];
        assert_eq!(painted(&[[7, -2], [3, 2], [7, 6]]), cut);
        let two = ["......", ".#....", "..#...", "......", "......"];
        assert_eq!(painted(&[[1, 1], [2, 2]]), two);
        assert_eq!(rle_from_pixel_ring(&[[1, 1]], SIZE).unwrap().area(), 1);
        assert!(rle_from_pixel_ring(&[], SIZE).unwrap().is_empty());
    }
}
