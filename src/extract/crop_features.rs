//! What the image encoder gives of a photo or a crop, besides masks: features that are kept, and vectors of masks.

use burn::tensor::{Tensor, TensorData};
use half::f16;

use super::generated::GeneratedMask;
use super::grid::Crop;
use crate::geometry::{CellGrid, Pixel, Rle};
use crate::models::sam::{ImageEmbedding, ImageFrame};
use crate::vectors::pooled;
use crate::{Error, Result};

/// The features of a photo in the form in which they are kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeptFeatures {
    /// Channels, rows and columns.
    pub sizes: [usize; 3],
    pub values: Vec<f16>,
}

/// The image embedding of a crop: its cells, and where they lie in the photo.
pub(super) struct CropFeatures {
    pub crop: Crop,
    /// `[rows * columns, channels]`.
    cells: Tensor<2>,
    grid: CellGrid,
}

/// The image embedding of a crop.
pub(super) fn features_of(embedding: &Tensor<4>, frame: &ImageFrame, crop: Crop) -> CropFeatures {
    let [_, channels, rows, columns] = embedding.dims();
    let cells = embedding
        .clone()
        .permute([0, 2, 3, 1])
        .reshape([rows * columns, channels]);
    // A cell is as many pixels of the input as of the resized crop, whose rest is padding.
    let cell = |cells: usize, original: u32, resized: u32| {
        f64::from(frame.image_size) / cells as f64 * f64::from(original) / f64::from(resized)
    };
    CropFeatures {
        crop,
        cells,
        grid: CellGrid {
            rows,
            columns,
            cell_height: cell(rows, frame.original.height, frame.resized.height),
            cell_width: cell(columns, frame.original.width, frame.resized.width),
            origin: Pixel {
                x: crop.left,
                y: crop.top,
            },
        },
    }
}

/// The features of a photo, to be kept.
///
/// # Errors
/// [`Error::ModelOutput`] for numbers that 16 bits cannot hold.
pub(super) fn kept_features(embedding: &ImageEmbedding) -> Result<KeptFeatures> {
    let what = "image features";
    let channels = embedding.clone().into_channels();
    let [_, count, rows, columns] = channels.dims();
    let values = numbers(channels.into_data(), what)?;
    let values: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
    // The greatest number in 16 bits is 65,504.
    if !values.iter().all(|x| x.is_finite()) {
        return Err(Error::ModelOutput { what });
    }
    Ok(KeptFeatures {
        sizes: [count, rows, columns],
        values,
    })
}

/// Averages the image embedding of a crop under the masks that were found in it.
pub(super) fn add_neck(masks: &mut [GeneratedMask], features: &CropFeatures) -> Result<()> {
    let of_crop: Vec<usize> = masks
        .iter()
        .enumerate()
        .filter(|(_, mask)| mask.crop == features.crop)
        .map(|(at, _)| at)
        .collect();
    let rles: Vec<&Rle> = of_crop
        .iter()
        .filter_map(|at| masks.get(*at).map(|mask| &mask.rle))
        .collect();
    let vectors = pooled(&features.cells, &features.grid, &rles)?;
    for (at, vector) in of_crop.into_iter().zip(vectors) {
        if let Some(mask) = masks.get_mut(at) {
            mask.neck = vector;
        }
    }
    Ok(())
}

/// Tensor data as finite f32 numbers.
pub(super) fn numbers(data: TensorData, what: &'static str) -> Result<Vec<f32>> {
    let numbers = data.convert::<f32>().try_into_vec::<f32>();
    match numbers {
        Ok(numbers) if numbers.iter().all(|x| x.is_finite()) => Ok(numbers),
        _ => Err(Error::ModelOutput { what }),
    }
}
