//! What the image encoder gives of an image, and what prompts are decoded with.

use burn::tensor::Tensor;

use super::config::SamConfig;

/// An encoded image.
#[derive(Clone, Debug)]
pub struct ImageEmbedding {
    /// One vector per cell of 16x16 pixels, `[1, prompt_dim, grid, grid]`.
    pub cells: Tensor<4>,
    /// What SAM 2's decoder adds while it upscales.
    pub(super) details: Option<Details>,
    /// What HQ-SAM's decoder adds to the features of masks, `[1, prompt_dim / 8, 4 * grid, 4 * grid]`.
    pub(super) hq: Option<Tensor<4>>,
}

/// Features of parts of cells, in the order in which the decoder upscales: cell by cell, in a cell its four quarters, left to
/// right and then down, in each of these its own four.
#[derive(Clone, Debug)]
pub(super) struct Details {
    /// Per 8x8 pixels, `[4 * grid * grid, prompt_dim / 4]`.
    pub eighths: Tensor<2>,
    /// Per 4x4 pixels, `[16 * grid * grid, prompt_dim / 8]`.
    pub quarters: Tensor<2>,
}

impl ImageEmbedding {
    /// How many numbers it has.
    pub(super) fn numbers(&self) -> usize {
        let details = self.details.iter();
        let details =
            details.map(|it| [&it.eighths, &it.quarters].map(|part| part.shape().num_elements()));
        let hq = self.hq.iter().map(|it| it.shape().num_elements());
        self.cells.shape().num_elements() + details.flatten().sum::<usize>() + hq.sum::<usize>()
    }

    /// Its numbers as channels of the grid's cells, to be kept: those of the embedding, then those of the details.
    ///
    /// # Shapes
    /// - output: `[1, channels, grid, grid]`, see [`SamConfig::kept_channels`]
    pub fn into_channels(self) -> Tensor<4> {
        let [batch, _, rows, columns] = self.cells.dims();
        let mut parts = vec![self.cells];
        if let Some(Details { eighths, quarters }) = self.details {
            for part in [eighths, quarters] {
                let [count, width] = part.dims();
                let channels = count * width / (rows * columns);
                let by_cell = part.reshape([rows * columns, channels]).transpose();
                parts.push(by_cell.reshape([batch, channels, rows, columns]));
            }
        }
        if let Some(features) = self.hq {
            let [_, width, ..] = features.dims();
            parts.push(
                features
                    .reshape([batch, width, rows, 4, columns, 4])
                    .permute([0, 1, 3, 5, 2, 4])
                    .reshape([batch, 16 * width, rows, columns]),
            );
        }
        match parts.len() {
            1 => parts.swap_remove(0),
            _ => Tensor::cat(parts, 1),
        }
    }

    /// Undoes [`ImageEmbedding::into_channels`] for a model of the given sizes.
    pub(super) fn from_channels(channels: Tensor<4>, config: &SamConfig) -> Self {
        let dim = config.prompt_dim;
        let [_, _, rows, columns] = channels.dims();
        let part = |first: usize, parts: usize, width: usize| {
            channels
                .clone()
                .narrow(1, first, parts * width)
                .reshape([parts * width, rows * columns])
                .transpose()
                .reshape([rows * columns * parts, width])
        };
        Self {
            cells: channels.clone().narrow(1, 0, dim),
            details: config.is_sam2_or_3().then(|| Details {
                eighths: part(dim, 4, dim / 4),
                quarters: part(2 * dim, 16, dim / 8),
            }),
            hq: config.decoder.hq_channels.map(|_| {
                let width = dim / 8;
                channels
                    .clone()
                    .narrow(1, dim, 16 * width)
                    .reshape([1, width, 4, 4, rows, columns])
                    .permute([0, 1, 4, 2, 5, 3])
                    .reshape([1, width, 4 * rows, 4 * columns])
            }),
        }
    }
}

impl SamConfig {
    /// Numbers per cell of the image embedding that are kept of an image, to decode prompts later: those of the embedding,
    /// for SAM 2 three times as many of details, and for HQ-SAM twice as many.
    pub const fn kept_channels(&self) -> usize {
        if self.is_sam2_or_3() {
            4 * self.prompt_dim
        } else if self.decoder.hq_channels.is_some() {
            3 * self.prompt_dim
        } else {
            self.prompt_dim
        }
    }
}

/// Brings features of a grid to the order of [`Details`].
///
/// # Shapes
/// - input: `[1, parts * rows, parts * columns, channels]` for cells of `parts` x `parts`, which is 2 or 4
/// - output: `[parts * parts * rows * columns, channels]`
pub(super) fn by_cell(input: Tensor<4>, parts: usize) -> Tensor<2> {
    let [_, height, width, channels] = input.dims();
    let (rows, columns) = (height / parts, width / parts);
    let count = height * width;
    if parts == 2 {
        return input
            .reshape([rows, 2, columns, 2 * channels])
            .swap_dims(1, 2)
            .reshape([count, channels]);
    }
    input
        .reshape([rows, 2, 2, columns, 2, 2 * channels])
        .permute([0, 3, 1, 4, 2, 5])
        .reshape([count, channels])
}
