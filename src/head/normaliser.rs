//! Normalises the inputs of a head, each by itself.

use super::embeddings::Embeddings;
use super::inputs::Normalisation;
use crate::Result;

/// Rows of embeddings that are read at a time.
const ROWS_AT_ONCE: usize = 4096;

/// The mean and the scale of an input over a training set.
#[derive(Debug, Clone, PartialEq)]
pub struct Standard {
    /// Mean of each number.
    pub mean: Vec<f32>,
    /// Root of the mean square of what is left when the mean is taken off; never 0.
    pub scale: f32,
}

/// Normalises rows of numbers in which the inputs follow each other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Normaliser {
    blocks: Vec<Block>,
}

#[derive(Debug, Clone, PartialEq)]
struct Block {
    dim: usize,
    how: How,
}

#[derive(Debug, Clone, PartialEq)]
enum How {
    AsItIs,
    Unit,
    Standard(Standard),
}

impl Normaliser {
    /// The normaliser of some inputs: `dims` are their lengths, and `standards` the statistics of those that need them.
    /// `None` if such statistics are missing or of another length.
    pub(super) fn new(
        dims: &[usize],
        kinds: &[Normalisation],
        standards: &[Option<Standard>],
    ) -> Option<Self> {
        if dims.len() != kinds.len() {
            return None;
        }
        let mut blocks = Vec::with_capacity(dims.len());
        for (at, (dim, kind)) in dims.iter().zip(kinds).enumerate() {
            let how = match kind {
                Normalisation::None => How::AsItIs,
                Normalisation::L2 => How::Unit,
                Normalisation::Standard => {
                    let standard = standards.get(at).and_then(Option::as_ref);
                    How::Standard(standard.filter(|it| it.mean.len() == *dim)?.clone())
                }
            };
            blocks.push(Block { dim: *dim, how });
        }
        Some(Self { blocks })
    }

    /// Computes the statistics over all embeddings. Those that are in the store must not be read in a runtime.
    ///
    /// # Errors
    /// [`crate::Error::File`] if embeddings kept in a file cannot be read.
    pub(super) fn fit(
        embeddings: &Embeddings,
        dims: &[usize],
        kinds: &[Normalisation],
    ) -> Result<Self> {
        let width: usize = dims.iter().sum();
        let rows = embeddings.rows();
        let mut means = vec![0f64; width];
        let mut squares = vec![0f64; width];
        if kinds.contains(&Normalisation::Standard) && rows > 0 && width > 0 {
            over_rows(embeddings, |row| {
                for (mean, number) in means.iter_mut().zip(row) {
                    *mean += f64::from(*number);
                }
            })?;
            means.iter_mut().for_each(|mean| *mean /= rows as f64);
            over_rows(embeddings, |row| {
                for ((square, mean), number) in squares.iter_mut().zip(&means).zip(row) {
                    *square += (f64::from(*number) - mean).powi(2);
                }
            })?;
        }
        let mut blocks = Vec::with_capacity(dims.len());
        let mut start = 0;
        for (dim, kind) in dims.iter().zip(kinds) {
            let range = start..start + dim;
            start += dim;
            let how = match kind {
                Normalisation::None => How::AsItIs,
                Normalisation::L2 => How::Unit,
                Normalisation::Standard => {
                    let mean = means.get(range.clone()).unwrap_or_default();
                    let squares: f64 = squares.get(range).unwrap_or_default().iter().sum();
                    let scale = (squares / (rows * dim).max(1) as f64).sqrt();
                    How::Standard(Standard {
                        mean: mean.iter().map(|mean| *mean as f32).collect(),
                        scale: if scale > 0.0 { scale as f32 } else { 1.0 },
                    })
                }
            };
            blocks.push(Block { dim: *dim, how });
        }
        Ok(Self { blocks })
    }

    /// The statistics of each input; `None` for inputs that need none.
    pub(super) fn standards(&self) -> Vec<Option<Standard>> {
        let standard = |block: &Block| match &block.how {
            How::Standard(standard) => Some(standard.clone()),
            How::AsItIs | How::Unit => None,
        };
        self.blocks.iter().map(standard).collect()
    }

    /// Normalises rows in place.
    ///
    /// # Shapes
    /// - rows: `[masks, numbers of all inputs]`, row-major
    pub fn apply(&self, rows: &mut [f32]) {
        if self.blocks.iter().all(|block| block.how == How::AsItIs) {
            return;
        }
        let width: usize = self.blocks.iter().map(|block| block.dim).sum();
        for row in rows.chunks_exact_mut(width.max(1)) {
            let mut rest = row;
            for block in &self.blocks {
                let (numbers, later) = rest.split_at_mut(block.dim.min(rest.len()));
                rest = later;
                match &block.how {
                    How::AsItIs => {}
                    How::Unit => {
                        let length = numbers.iter().map(|x| x * x).sum::<f32>().sqrt();
                        let factor = if length > 0.0 { length.recip() } else { 0.0 };
                        numbers.iter_mut().for_each(|x| *x *= factor);
                    }
                    How::Standard(Standard { mean, scale }) => {
                        grainstore_kernels::standardise(numbers, mean, scale.recip());
                    }
                }
            }
        }
    }
}

fn over_rows(embeddings: &Embeddings, mut work: impl FnMut(&[f32])) -> Result<()> {
    let rows = embeddings.rows();
    let mut read = Vec::new();
    for first in (0..rows).step_by(ROWS_AT_ONCE) {
        let some: Vec<u32> = (first..rows.min(first + ROWS_AT_ONCE))
            .filter_map(|row| u32::try_from(row).ok())
            .collect();
        read.clear();
        embeddings.read(&some, &mut read)?;
        let width = read.len() / some.len().max(1);
        read.chunks_exact(width.max(1)).for_each(&mut work);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::embeddings::Collected;
    use crate::store::columns::EmbeddingRow;

    #[test]
    fn each_input_gets_its_own_mean_and_scale() {
        let mut embeddings = Collected::new(5, 1 << 20, std::path::Path::new("/tmp"));
        for row in [[0.0f32, 10.0, 3.0, 4.0, 7.0], [2.0, 14.0, 6.0, 8.0, 7.0]] {
            embeddings.push(EmbeddingRow::Single(&row)).unwrap();
        }
        embeddings.finish().unwrap();
        let embeddings = Embeddings::Collected(embeddings);
        let kinds = [
            Normalisation::Standard,
            Normalisation::L2,
            Normalisation::Standard,
        ];
        let normaliser = Normaliser::fit(&embeddings, &[2, 2, 1], &kinds).unwrap();
        // The first input: means 1 and 12, deviations 1 and 2, so a scale of sqrt((1 + 4) / 2).
        let mut row = [0.0f32, 10.0, 3.0, 4.0, 9.0];
        normaliser.apply(&mut row);
        let scale = 2.5f32.sqrt();
        for (found, expected) in row.iter().zip([-1.0 / scale, -2.0 / scale, 0.6, 0.8, 2.0]) {
            assert!((found - expected).abs() < 1e-6, "{row:?}");
        }
        let again = Normaliser::new(&[2, 2, 1], &kinds, &normaliser.standards()).unwrap();
        assert_eq!(again, normaliser);
        assert!(Normaliser::new(&[2, 2, 2], &kinds, &normaliser.standards()).is_none());
        let mut same = [1.0, 2.0];
        let plain = Normaliser::new(&[2], &[Normalisation::None], &[]).unwrap();
        plain.apply(&mut same);
        assert_eq!(same, [1.0, 2.0]);
    }
}
