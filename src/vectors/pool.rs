//! Vectors of patches become vectors of masks: the mean over patches, each weighted by the share of it that the mask
//! covers.

use burn::tensor::{Tensor, TensorData};

use crate::geometry::{CellGrid, Rle};
use crate::{Error, Result};

/// Masks whose weights are held at a time.
const MASKS_AT_ONCE: usize = 256;

/// The mean of the cells' vectors under each mask; `None` for a mask that covers nothing of the grid.
///
/// # Shapes
/// - cells: `[rows * columns, dim]`, row-major over the grid
/// - output: one vector of `dim` numbers per mask
///
/// # Errors
/// [`Error::ModelOutput`] if the model gives numbers that are not finite.
pub(crate) fn pooled(
    cells: &Tensor<2>,
    grid: &CellGrid,
    masks: &[&Rle],
) -> Result<Vec<Option<Vec<f32>>>> {
    let [count, dim] = cells.dims();
    let mut found = Vec::with_capacity(masks.len());
    for some in masks.chunks(MASKS_AT_ONCE) {
        let mut weights = Vec::with_capacity(some.len() * count);
        let mut covers = Vec::with_capacity(some.len());
        for mask in some {
            let mut shares = grid.coverage(mask);
            shares.resize(count, 0.0);
            let total: f32 = shares.iter().sum();
            covers.push(total > 0.0);
            let scale = if total > 0.0 { total.recip() } else { 0.0 };
            weights.extend(shares.into_iter().map(|share| share * scale));
        }
        let weights = TensorData::new(weights, [some.len(), count]);
        let weights = Tensor::<2>::from_data(weights, &cells.device()).cast(cells.dtype());
        let means = weights.matmul(cells.clone()).into_data();
        let means: Vec<f32> = means.iter::<f32>().collect();
        check_finite(&means)?;
        let rows = means.chunks_exact(dim.max(1)).zip(covers);
        found.extend(rows.map(|(row, covers)| covers.then(|| row.to_vec())));
    }
    Ok(found)
}

/// Checks that numbers are finite in 16 bits, in which vectors are kept.
///
/// # Errors
/// [`Error::ModelOutput`] if one is not.
pub(crate) fn check_finite(numbers: &[f32]) -> Result<()> {
    let limit = half::f16::MAX.to_f32();
    if numbers.iter().all(|x| x.abs() <= limit) {
        Ok(())
    } else {
        Err(Error::ModelOutput { what: "vectors" })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::geometry::Size;

    #[test]
    fn a_mask_is_the_mean_of_its_patches_by_share() {
        let size = Size {
            height: 4,
            width: 4,
        };
        let cells: [f32; 8] = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 4.0, 40.0];
        let cells = TensorData::new(cells.to_vec(), [4, 2]);
        let cells = Tensor::<2>::from_data(cells, &Device::flex());
        let grid = CellGrid::over(size, [2, 2]);
        let rows = [1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let mask = Rle::from_row_major(size, &rows).unwrap();
        let empty = Rle::empty(size).unwrap();
        let full = Rle::full(size).unwrap();
        let found = pooled(&cells, &grid, &[&mask, &empty, &full]).unwrap();
        // (1 * 1.0 + 0.5 * 2.0) / 1.5
        let first = found[0].as_ref().unwrap();
        assert!((first[0] - 4.0 / 3.0).abs() < 1e-5 && (first[1] - 40.0 / 3.0).abs() < 1e-4);
        assert_eq!(found[1], None);
        assert_eq!(found[2].as_deref(), Some(&[2.5, 25.0][..]));
    }
}
