//! Bytes of RGB become normalised channels.

use rayon::prelude::*;

/// What is taken off each channel, and what it is divided by; both in units of [0, 255].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::models) struct Normalisation {
    /// Mean of R, G and B.
    pub mean: [f32; 3],
    /// Standard deviation of R, G and B.
    pub std: [f32; 3],
}

/// The statistics of ImageNet, as torchvision gives them: 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225.
pub(in crate::models) const IMAGENET: Normalisation = Normalisation {
    mean: [123.675, 116.28, 103.53],
    std: [58.395, 57.12, 57.375],
};

impl Normalisation {
    /// Normalises row-major RGB bytes, channel by channel, into `channels` of `3 * pixels` numbers.
    #[allow(
        clippy::indexing_slicing,
        reason = "a table of 256 has an entry for every byte"
    )]
    pub(in crate::models) fn channels_into(&self, rgb: &[u8], channels: &mut [f32]) {
        let pixels = rgb.len() / 3;
        if pixels == 0 {
            return;
        }
        let planes = channels.par_chunks_exact_mut(pixels).enumerate();
        let statistics = self.mean.into_par_iter().zip(self.std);
        planes
            .zip(statistics)
            .for_each(|((channel, plane), (mean, std))| {
                // Upstream divides bytes by 255 and normalises in [0, 1]; in f32 the results agree to a unit in the last place.
                let table: [f32; 256] = std::array::from_fn(|level| (level as f32 - mean) / std);
                let levels = rgb.iter().skip(channel).step_by(3);
                for (value, level) in plane.iter_mut().zip(levels) {
                    *value = table[usize::from(*level)];
                }
            });
    }

    /// The colour that becomes 0, rounded to bytes.
    pub(in crate::models) fn mean_colour(&self) -> [u8; 3] {
        self.mean.map(|mean| mean.round().clamp(0.0, 255.0) as u8)
    }
}
