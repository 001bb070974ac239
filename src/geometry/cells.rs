//! How much of each cell of a grid a mask covers, computed from run lengths.

use super::bbox::{Pixel, Size};
use super::rle::Rle;
use super::spans::spans;

/// A grid of equal cells over an image, from its top-left corner or from that of a part of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CellGrid {
    /// Rows of cells.
    pub rows: usize,
    /// Columns of cells.
    pub columns: usize,
    /// Height of a cell in pixels of the image; need not be whole.
    pub cell_height: f64,
    /// Width of a cell in pixels of the image; need not be whole.
    pub cell_width: f64,
    /// Top-left corner of the grid, in pixels of the image.
    pub origin: Pixel,
}

impl CellGrid {
    /// The grid of `rows` x `columns` cells that covers an image exactly.
    pub fn over(size: Size, [rows, columns]: [usize; 2]) -> Self {
        Self {
            rows,
            columns,
            cell_height: f64::from(size.height) / rows.max(1) as f64,
            cell_width: f64::from(size.width) / columns.max(1) as f64,
            origin: Pixel { x: 0, y: 0 },
        }
    }

    /// The share of each cell that a mask covers, in [0, 1], row by row. What lies outside of the grid counts nowhere.
    ///
    /// # Examples
    /// ```
    /// use grainstore::geometry::{CellGrid, Rle, Size};
    ///
    /// let size = Size { height: 4, width: 4 };
    /// let mask = Rle::from_row_major(size, &[1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0])?;
    /// assert_eq!(CellGrid::over(size, [2, 2]).coverage(&mask), [1.0, 0.5, 0.0, 0.0]);
    /// # Ok::<(), grainstore::Error>(())
    /// ```
    pub fn coverage(&self, mask: &Rle) -> Vec<f32> {
        let mut covered = vec![0f64; self.rows * self.columns];
        let height = mask.size().height;
        if height == 0 || covered.is_empty() {
            return Vec::new();
        }
        // What one column of pixels covers of each row of cells, in cells.
        let mut of_rows = vec![0f64; self.rows];
        let mut column = 0;
        for (start, end) in spans(mask.runs()) {
            let mut from = start;
            while from < end {
                let x = from / height;
                let to = end.min((x + 1).saturating_mul(height));
                if x != column {
                    self.add_column(column, &mut of_rows, &mut covered);
                    column = x;
                }
                let top = f64::from(from - x * height) - f64::from(self.origin.y);
                let bottom = f64::from(to - x * height) - f64::from(self.origin.y);
                for (row, share) in
                    shares(top / self.cell_height, bottom / self.cell_height, self.rows)
                {
                    if let Some(sum) = of_rows.get_mut(row) {
                        *sum += share;
                    }
                }
                from = to;
            }
        }
        self.add_column(column, &mut of_rows, &mut covered);
        covered.into_iter().map(|share| share as f32).collect()
    }

    /// Adds what column `x` of pixels covers, and clears it.
    fn add_column(&self, x: u32, of_rows: &mut [f64], covered: &mut [f64]) {
        let left = f64::from(x) - f64::from(self.origin.x);
        let (from, to) = (left / self.cell_width, (left + 1.0) / self.cell_width);
        for (column, share) in shares(from, to, self.columns) {
            let cells = covered.iter_mut().skip(column).step_by(self.columns);
            for (cell, row) in cells.zip(of_rows.iter()) {
                *cell += row * share;
            }
        }
        of_rows.fill(0.0);
    }
}

/// How much of each of `count` cells of length 1 lies in `from..to`, for the cells that do.
fn shares(from: f64, to: f64, count: usize) -> impl Iterator<Item = (usize, f64)> {
    let (from, to) = (from.max(0.0), to.min(count as f64));
    let cells = if from < to {
        from as usize..(to.ceil() as usize).min(count)
    } else {
        0..0
    };
    cells.map(move |cell| {
        let start = cell as f64;
        (cell, (to.min(start + 1.0) - from.max(start)).max(0.0))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same by looking at every pixel, at `fine` samples a side.
    fn by_samples(grid: &CellGrid, mask: &Rle, fine: usize) -> Vec<f32> {
        let size = mask.size();
        let bitmap = mask.to_row_major();
        let mut covered = vec![0f64; grid.rows * grid.columns];
        let step = 1.0 / fine as f64;
        for y in 0..size.height as usize * fine {
            for x in 0..size.width as usize * fine {
                if bitmap[(y / fine) * size.width as usize + x / fine] == 0 {
                    continue;
                }
                let at = |index: usize, origin: u32, cell: f64| {
                    ((index as f64 + 0.5) * step - f64::from(origin)) / cell
                };
                let (row, column) = (
                    at(y, grid.origin.y, grid.cell_height),
                    at(x, grid.origin.x, grid.cell_width),
                );
                let inside = row >= 0.0
                    && column >= 0.0
                    && row < grid.rows as f64
                    && column < grid.columns as f64;
                if inside {
                    covered[row as usize * grid.columns + column as usize] +=
                        step * step / (grid.cell_height * grid.cell_width);
                }
            }
        }
        covered.into_iter().map(|share| share as f32).collect()
    }

    #[test]
    fn coverage_is_that_of_the_pixels() {
        fastrand::seed(7);
        let cases = [
            ([9, 13], [3, 4], [3.0, 3.25], [0, 0]),
            ([9, 13], [2, 2], [4.0, 4.0], [0, 0]), // smaller than the image
            ([9, 13], [3, 3], [2.0, 2.0], [4, 3]), // a part of it
            ([5, 4], [16, 16], [0.5, 0.5], [0, 0]), // cells smaller than pixels
            ([1, 30], [4, 4], [8.0, 8.0], [0, 0]),
        ];
        for ([height, width], [rows, columns], [cell_height, cell_width], [x, y]) in cases {
            let size = Size { height, width };
            let pixels = (height * width) as usize;
            let bitmap: Vec<u8> = (0..pixels).map(|_| u8::from(fastrand::bool())).collect();
            for bitmap in [bitmap, vec![1; pixels], vec![0; pixels]] {
                let mask = Rle::from_row_major(size, &bitmap).unwrap();
                let grid = CellGrid {
                    rows,
                    columns,
                    cell_height,
                    cell_width,
                    origin: Pixel { x, y },
                };
                let (found, expected) = (grid.coverage(&mask), by_samples(&grid, &mask, 4));
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-5, "{found} {expected}");
                }
            }
        }
    }

    #[test]
    fn a_grid_over_an_image_counts_every_pixel_once() {
        let size = Size {
            height: 48,
            width: 64,
        };
        let grid = CellGrid::over(size, [37, 37]);
        let total: f32 = grid.coverage(&Rle::full(size).unwrap()).iter().sum();
        assert!((total - 37.0 * 37.0).abs() < 1e-2, "{total}");
    }
}
