//! The boundary region of a mask, for Boundary IoU (Cheng et al., "Boundary IoU", 2021; `boundary_iou_api`).

use super::bbox::Size;
use super::rle::Rle;
use super::spans::{RunBuilder, spans};

/// Distance of Boundary IoU as a share of the image's diagonal.
pub const BOUNDARY_RATIO: f64 = 0.02;

impl Size {
    /// Distance of Boundary IoU in pixels: `ratio` times the diagonal, at least 1.
    pub fn boundary_distance(self, ratio: f64) -> u32 {
        let diagonal = f64::from(self.height).hypot(f64::from(self.width));
        // As in Python, halves are rounded to even.
        let distance = (ratio * diagonal).round_ties_even();
        (distance as u32).max(1)
    }
}

impl Rle {
    /// Pixels of the mask with a pixel outside it at most `distance` pixels away, along rows, columns or diagonals.
    /// Pixels beyond the image count as outside.
    pub fn boundary(&self, distance: u32) -> Self {
        let eroded = self.eroded(distance);
        // Both masks have the same size by construction.
        self.difference(&eroded).unwrap_or_else(|_| self.clone())
    }

    /// Pixels around which a square of `2 * distance + 1` pixels per side lies in the mask.
    fn eroded(&self, distance: u32) -> Self {
        let columns = self.eroded_along_columns(distance);
        // `power` holds pixels from which `n` columns to the right are in the mask, for n = 1, 2, 4, ... The window's
        // width is a sum of such n.
        let width = u64::from(distance) * 2 + 1;
        if width > u64::from(self.size().width) {
            return self.without_pixels();
        }
        let (mut power, mut columns_of_power) = (columns, 1u64);
        let mut window: Option<Self> = None;
        let mut window_columns = 0u64;
        loop {
            if width & columns_of_power != 0 {
                window = Some(match window {
                    None => power.clone(),
                    Some(window) => window.and_shifted(&power, window_columns),
                });
                window_columns += columns_of_power;
            }
            if columns_of_power * 2 > width {
                break;
            }
            power = power.and_shifted(&power, columns_of_power);
            columns_of_power *= 2;
        }
        let from_first_column = window.unwrap_or_else(|| self.without_pixels());
        from_first_column.shifted_right(u64::from(distance))
    }

    /// Pixels with at least `distance` pixels of the mask both above and below.
    fn eroded_along_columns(&self, distance: u32) -> Self {
        let height = self.size().height;
        let mut builder = RunBuilder::default();
        for (start, end) in spans(self.runs()) {
            let mut from = start;
            while from < end {
                let column_end = (from / height + 1) * height;
                let to = end.min(column_end);
                let (first, past) = (from.saturating_add(distance), to.saturating_sub(distance));
                if first < past {
                    builder.push(first, past);
                }
                from = to;
            }
        }
        Self::from_canonical(self.size(), builder.finish(self.pixels()))
    }

    /// Pixels of this mask whose `columns`th neighbour to the right is in the other.
    fn and_shifted(&self, other: &Self, columns: u64) -> Self {
        let by = columns * u64::from(self.size().height);
        let mut builder = RunBuilder::default();
        for (start, end) in spans(other.runs()) {
            let left = |position: u32| u64::from(position).saturating_sub(by) as u32;
            let (start, end) = (left(start), left(end));
            if start < end {
                builder.push(start, end);
            }
        }
        let shifted = Self::from_canonical(self.size(), builder.finish(self.pixels()));
        self.intersection(&shifted).unwrap_or(shifted)
    }

    fn shifted_right(&self, columns: u64) -> Self {
        let (by, pixels) = (columns * u64::from(self.size().height), self.pixels());
        let mut builder = RunBuilder::default();
        for (start, end) in spans(self.runs()) {
            let right = |position: u32| {
                let position = u64::from(position).saturating_add(by);
                u32::try_from(position).unwrap_or(u32::MAX).min(pixels)
            };
            let (start, end) = (right(start), right(end));
            if start < end {
                builder.push(start, end);
            }
        }
        Self::from_canonical(self.size(), builder.finish(pixels))
    }

    fn without_pixels(&self) -> Self {
        Self::from_canonical(self.size(), vec![self.pixels()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    #[test]
    fn boundaries_are_those_of_the_bitmap() {
        let mut random = Random::new(5);
        for round in 0..300u32 {
            let size = random.size(17);
            let first = random.mask(size);
            // Fuller masks leave something after erosion.
            let mask = match round % 3 {
                0 => first,
                1 => first.union(&random.mask(size)).unwrap(),
                _ => Rle::full(size).unwrap(),
            };
            let distance = 1 + round % 4;
            let bitmap = mask.to_row_major();
            let (height, width) = (size.height as i64, size.width as i64);
            let inside = |x: i64, y: i64| {
                (0..width).contains(&x)
                    && (0..height).contains(&y)
                    && bitmap[(y * width + x) as usize] == 1
            };
            let reach = i64::from(distance);
            let mut expected = bitmap.clone();
            for y in 0..height {
                for x in 0..width {
                    let deep = (-reach..=reach)
                        .all(|dy| (-reach..=reach).all(|dx| inside(x + dx, y + dy)));
                    if deep {
                        expected[(y * width + x) as usize] = 0;
                    }
                }
            }
            assert_eq!(
                mask.boundary(distance).to_row_major(),
                expected,
                "{size:?} {distance} {:?}",
                mask.runs()
            );
        }
    }

    #[test]
    fn the_distance_is_a_share_of_the_diagonal() {
        let size = |height, width| Size { height, width };
        assert_eq!(size(300, 400).boundary_distance(BOUNDARY_RATIO), 10);
        assert_eq!(size(3, 4).boundary_distance(BOUNDARY_RATIO), 1);
    }
}
