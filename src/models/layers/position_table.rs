//! Tables of absolute positions at other sizes than those that a model was trained at.
//!
//! Bicubic as in torch's `interpolate` with `align_corners=False`, in plain Rust: it runs once per size of image.

/// How a table is brought to another size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::models) enum Resampling {
    /// Cubic convolution with a = -0.75, by a scale factor of `(cells + offset) / table's cells`.
    ByScale {
        /// Added to the number of cells; official DINOv2 without registers has 0.1.
        offset: f64,
    },
    /// Cubic convolution with a = -0.5 and support for shrinking, by size.
    Antialiased,
}

/// Positions of a grid of tokens: a vector per cell.
#[derive(Clone, Debug)]
pub(in crate::models) struct PositionTable {
    /// Row-major, `[rows, columns, channels]`.
    pub values: Vec<f32>,
    /// Rows and columns.
    pub grid: [usize; 2],
}

/// The cells of a table that contribute to one cell of another.
struct Window {
    cells: Vec<(usize, f32)>,
}

impl PositionTable {
    /// The table for another grid.
    pub(in crate::models) fn resampled(&self, to: [usize; 2], resampling: Resampling) -> Self {
        if to == self.grid {
            return self.clone();
        }
        let [rows, columns] = self.grid;
        let channels = self.values.len() / (rows * columns).max(1);
        let by_column = windows(columns, to[1], resampling);
        let by_row = windows(rows, to[0], resampling);
        let mut widened = Vec::with_capacity(rows * to[1] * channels);
        for row in self.values.chunks_exact(columns * channels) {
            for window in &by_column {
                widened.extend(mixed(row, window, channels));
            }
        }
        let line = to[1] * channels;
        let mut values = Vec::with_capacity(to[0] * line);
        for window in &by_row {
            values.extend(mixed(&widened, window, line));
        }
        Self { values, grid: to }
    }
}

/// The weighted sum of some of the `length`-sized parts of `parts`.
fn mixed(parts: &[f32], window: &Window, length: usize) -> Vec<f32> {
    let mut sum = vec![0f32; length];
    for (cell, weight) in &window.cells {
        let part = parts.chunks_exact(length).nth(*cell).unwrap_or_default();
        for (sum, value) in sum.iter_mut().zip(part) {
            *sum += value * weight;
        }
    }
    sum
}

fn windows(from: usize, to: usize, resampling: Resampling) -> Vec<Window> {
    let last = from.saturating_sub(1);
    let by_scale = |index: usize, offset: f64| {
        let scale = from as f64 / (to as f64 + offset);
        let at = (index as f64 + 0.5) * scale - 0.5;
        let first = at.floor();
        let cells = (-1i32..3).map(|step| {
            let cell = first + f64::from(step);
            let weight = cubic(at - cell, -0.75);
            ((cell.max(0.0) as usize).min(last), weight as f32)
        });
        Window {
            cells: cells.collect(),
        }
    };
    let antialiased = |index: usize| {
        let scale = from as f64 / to as f64;
        let stretch = scale.max(1.0);
        let centre = (index as f64 + 0.5) * scale;
        let start = (centre - 2.0 * stretch + 0.5).max(0.0) as usize;
        let end = ((centre + 2.0 * stretch + 0.5) as usize).min(from);
        let weight = |cell: usize| cubic((cell as f64 - centre + 0.5) / stretch, -0.5);
        let total: f64 = (start..end).map(weight).sum();
        let cells = (start..end).map(|cell| (cell, (weight(cell) / total) as f32));
        Window {
            cells: cells.collect(),
        }
    };
    (0..to)
        .map(|index| match resampling {
            Resampling::ByScale { offset } => by_scale(index, offset),
            Resampling::Antialiased => antialiased(index),
        })
        .collect()
}

/// Keys' cubic convolution kernel at a distance in cells.
fn cubic(distance: f64, a: f64) -> f64 {
    let x = distance.abs();
    if x < 1.0 {
        ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * a
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn tables_are_resampled_as_torch_does() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/embed/dinov2_reference.safetensors"
        );
        let bytes = std::fs::read(file).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let values = |name: &str| -> Vec<f32> {
            let data = tensors.tensor(name).unwrap().data();
            let numbers = data.as_chunks::<4>().0.iter();
            numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let table = PositionTable {
            values: values("positions.table"),
            grid: [4, 4],
        };
        for (rows, columns) in [(4, 6), (5, 3), (9, 9), (2, 3)] {
            for (rule, resampling) in [
                ("plain", Resampling::ByScale { offset: 0.1 }),
                ("antialiased", Resampling::Antialiased),
            ] {
                let expected = values(&format!("positions.{rule}.{rows}x{columns}"));
                let found = table.resampled([rows, columns], resampling).values;
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-5, "{rule} {rows}x{columns}");
                }
            }
        }
    }
}
