//! Vectors of one photo's masks: pixels and masks in, vectors out. This module does no I/O.

use burn::tensor::Device;
use image::RgbImage;
use rayon::prelude::*;

use super::crops::{Crops, cut};
use super::options::{Background, Pool, Resolved};
use crate::extract::{Batches, within_memory};
use crate::geometry::{CellGrid, Rle, Size};
use crate::models::{EmbeddingModel, Rgb};
use crate::store::rows::EmbedderRow;
use crate::vectors::{check_finite, pooled};
use crate::{Error, Result};

/// A mask that gets a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskToEmbed {
    /// `masks.mask_index`.
    pub mask_index: i32,
    /// The mask, at the size of the photo.
    pub rle: Rle,
}

/// A network with its options, ready to embed, and the row that identifies it.
#[derive(Debug)]
pub struct Embedder {
    pub(super) model: EmbeddingModel,
    pub(super) device: Device,
    pub(super) options: Resolved,
    pub(super) row: EmbedderRow,
    pub(super) batches: Batches,
}

impl Embedder {
    /// The row of `embedders` that identifies it.
    pub fn row(&self) -> &EmbedderRow {
        &self.row
    }

    /// Whether it makes vectors of whole images, not of masks.
    pub fn is_of_images(&self) -> bool {
        self.options.pool == Pool::Image
    }

    /// The vectors of masks of a photo, by mask index. Masks without a pixel have none.
    ///
    /// # Errors
    /// [`Error::ModelOutput`] if the network gives numbers that are not finite; [`Error::DeviceMemory`] if a single crop
    /// or the photo does not fit the device; [`Error::InvalidOption`] for an embedder of whole images.
    pub fn mask_vectors(
        &self,
        photo: &RgbImage,
        masks: &[MaskToEmbed],
    ) -> Result<Vec<(i32, Vec<f32>)>> {
        let masks: Vec<&MaskToEmbed> = masks.iter().filter(|it| !it.rle.is_empty()).collect();
        let rles: Vec<&Rle> = masks.iter().map(|mask| &mask.rle).collect();
        if rles.is_empty() {
            return Ok(Vec::new());
        }
        let vectors = match self.options.pool {
            Pool::Crop => self.of_crops(photo, &rles)?,
            Pool::Dense => self.under_masks(photo, &rles)?,
            Pool::Image => {
                return Err(Error::InvalidOption {
                    what: "pool",
                    value: "image".to_owned(),
                    expected: "crop or dense, for masks".to_owned(),
                });
            }
        };
        let indices = masks.into_iter().map(|mask| mask.mask_index);
        let pairs = indices.zip(vectors);
        Ok(pairs
            .filter_map(|(index, vector)| Some((index, vector?)))
            .collect())
    }

    /// The vector of a whole photo.
    ///
    /// # Errors
    /// As [`mask_vectors`](Self::mask_vectors).
    pub fn image_vector(&self, photo: &RgbImage) -> Result<Vec<f32>> {
        let Resolved {
            image_size, fit, ..
        } = self.options;
        let vector = within_memory(0, || {
            let vector = self
                .model
                .photo_vector(rgb(photo), image_size, fit, &self.device);
            Ok(vector.into_data().iter::<f32>().collect::<Vec<f32>>())
        })?;
        check_finite(&vector)?;
        Ok(vector)
    }

    fn of_crops(&self, photo: &RgbImage, masks: &[&Rle]) -> Result<Vec<Option<Vec<f32>>>> {
        let Resolved {
            image_size, fit, ..
        } = self.options;
        let background = self.options.background.unwrap_or_default();
        let colour = (background == Background::Mean).then(|| self.model.mean_colour());
        let plan = Crops::plan(masks, self.options.context.unwrap_or(1.0), background);
        let vectors = self.batches.decode(
            &plan.crops,
            |crops| {
                let pixels: Vec<Vec<f32>> = crops
                    .par_iter()
                    .map(|(crop, mask)| {
                        let bytes = cut(photo, *crop, mask, colour);
                        let rgb = Rgb {
                            bytes: &bytes,
                            size: crop.size,
                        };
                        self.model.crop_pixels(rgb, image_size, fit)
                    })
                    .collect();
                let pixels = pixels.concat();
                let vectors = self.model.crop_vectors(pixels, image_size, &self.device);
                let [_, dim] = vectors.dims();
                let vectors: Vec<f32> = vectors.into_data().iter::<f32>().collect();
                check_finite(&vectors)?;
                let rows = vectors.chunks_exact(dim.max(1));
                Ok(rows.map(<[f32]>::to_vec).collect())
            },
            || self.device.memory_cleanup(),
        )?;
        let of_masks = plan.of_mask.into_iter();
        Ok(of_masks.map(|crop| vectors.get(crop).cloned()).collect())
    }

    fn under_masks(&self, photo: &RgbImage, masks: &[&Rle]) -> Result<Vec<Option<Vec<f32>>>> {
        let Resolved {
            image_size, fit, ..
        } = self.options;
        let rgb = rgb(photo);
        within_memory(0, || {
            let dense = self.model.dense(rgb, image_size, fit, &self.device);
            let dense = dense.ok_or(Error::Internal {
                what: "a network without patches was asked for their vectors",
            })?;
            pooled(&dense.vectors, &CellGrid::over(rgb.size, dense.grid), masks)
        })
    }
}

fn rgb(photo: &RgbImage) -> Rgb<'_> {
    Rgb {
        bytes: photo.as_raw(),
        size: Size {
            height: photo.height(),
            width: photo.width(),
        },
    }
}
