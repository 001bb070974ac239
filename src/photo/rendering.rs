//! How the samples of a photo become 8-bit RGB: which channels are red, green and blue, and which values are black and
//! white.

use std::collections::BTreeMap;
use std::str::FromStr;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::Result;
use super::samples::{Chunk, Samples};
use crate::error::PhotoError;

/// Values of a channel that percentiles are taken of, at most: all pixels of a photo of 2048 x 2048, and of larger photos
/// pixels at even distances.
const VALUES: u64 = 1 << 22;

/// Percentiles of samples that have no range of their own.
const DEFAULT_PERCENTILES: Percentiles = Percentiles {
    low: 2.0,
    high: 98.0,
};

/// How the samples of a photo become 8-bit RGB.
///
/// By default, the first three channels are red, green and blue, or the first is all three where there are fewer. Samples of 8 bits
/// are used as they are, and of 16-bit gray and RGB the high 8 bits. Other samples (floating-point, signed, 32-bit, and 16-bit of
/// other channels than gray and RGB) are scaled from percentile 2 to percentile 98.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rendering {
    /// The channels to use, if others than the first.
    pub channels: Option<Channels>,
    /// The values that become black and white, if samples are to be scaled.
    pub percentiles: Option<Percentiles>,
}

/// The channels of a photo that are red, green and blue, counted from 1 as GDAL's bands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "[u16; 3]", try_from = "[u16; 3]")]
pub struct Channels([u16; 3]);

/// What is expected of channels.
const CHANNELS: &str =
    "expected one channel for gray or three for red, green and blue, counted from 1, such as 4,3,2";

impl TryFrom<[u16; 3]> for Channels {
    type Error = &'static str;

    fn try_from(channels: [u16; 3]) -> std::result::Result<Self, Self::Error> {
        if channels.contains(&0) {
            return Err(CHANNELS);
        }
        Ok(Self(channels))
    }
}

impl From<Channels> for [u16; 3] {
    fn from(it: Channels) -> Self {
        it.0
    }
}

impl FromStr for Channels {
    type Err = &'static str;

    /// Reads `4,3,2`, or `1` for gray.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let numbers = text.split(',').map(|it| it.trim().parse::<u16>());
        let numbers: Vec<u16> = numbers.collect::<Result<_, _>>().map_err(|_| CHANNELS)?;
        match *numbers.as_slice() {
            [gray] => [gray; 3].try_into(),
            [red, green, blue] => [red, green, blue].try_into(),
            _ => Err(CHANNELS),
        }
    }
}

/// Percentiles of the values of a channel: the lower one becomes black, the upper one white.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "[f64; 2]", try_from = "[f64; 2]")]
pub struct Percentiles {
    low: f64,
    high: f64,
}

impl TryFrom<[f64; 2]> for Percentiles {
    type Error = &'static str;

    fn try_from([low, high]: [f64; 2]) -> std::result::Result<Self, Self::Error> {
        if 0.0 <= low && low < high && high <= 100.0 {
            Ok(Self { low, high })
        } else {
            Err("expected two percentiles from 0 to 100, the lower one first, such as 2,98")
        }
    }
}

impl From<Percentiles> for [f64; 2] {
    fn from(it: Percentiles) -> Self {
        [it.low, it.high]
    }
}

impl FromStr for Percentiles {
    type Err = &'static str;

    /// Reads `2,98`.
    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let numbers = text.split(',').map(|it| it.trim().parse::<f64>());
        let numbers: Vec<f64> = numbers.collect::<Result<_, _>>().unwrap_or_default();
        <[f64; 2]>::try_from(numbers)
            .unwrap_or([f64::NAN; 2])
            .try_into()
    }
}

impl Rendering {
    /// Makes the pixels of samples, in the orientation in which they are stored.
    ///
    /// # Errors
    /// [`PhotoError::NoSuchChannel`], [`PhotoError::CorruptImage`].
    pub(super) fn render(self, samples: &mut Samples<'_>) -> Result<RgbImage> {
        let channels = self.channels_of(samples)?;
        let needed = (!samples.has_own_range()).then_some(DEFAULT_PERCENTILES);
        let percentiles = self.percentiles.or(needed);
        let scales = match percentiles {
            Some(percentiles) => stretches(samples, channels, percentiles)?,
            None => {
                let unit = samples.unit();
                channels
                    .map(|it| {
                        (
                            it,
                            Scale {
                                low: 0.0,
                                unit,
                                rounds: 0.0,
                            },
                        )
                    })
                    .into()
            }
        };
        let (width, height) = samples.size();
        let mut rgb = RgbImage::new(width, height);
        let row_bytes = width as usize * 3;
        let (inverted, missing) = (samples.is_inverted(), samples.missing());
        let mut values = Vec::new();
        samples.for_each(&channels, |chunk| {
            let rows = rgb.chunks_exact_mut(row_bytes).skip(chunk.top);
            for (y, row) in rows.take(chunk.height).enumerate() {
                for (colour, channel) in channels.into_iter().enumerate() {
                    let Some(scale) = scales.get(&channel) else {
                        continue;
                    };
                    if !chunk.read_row(y, channel, &mut values) {
                        continue;
                    }
                    let pixels = row.chunks_exact_mut(3).skip(chunk.left);
                    for (pixel, value) in pixels.zip(&values) {
                        if let Some(byte) = pixel.get_mut(colour) {
                            *byte = match scale.byte(*value) {
                                _ if missing == Some(*value) || value.is_nan() => 0,
                                scaled if inverted => u8::MAX - scaled,
                                scaled => scaled,
                            };
                        }
                    }
                }
            }
        })?;
        Ok(rgb)
    }

    /// The channels to use, counted from 0.
    fn channels_of(self, samples: &Samples<'_>) -> Result<[u16; 3]> {
        let channels = samples.channels();
        let Some(Channels(wanted)) = self.channels else {
            return Ok(if channels < 3 { [0; 3] } else { [0, 1, 2] });
        };
        match wanted.into_iter().find(|it| *it > channels) {
            Some(channel) => Err(PhotoError::NoSuchChannel { channel, channels }),
            None => Ok(wanted.map(|it| it.saturating_sub(1))),
        }
    }
}

/// Which byte a value becomes.
struct Scale {
    /// What becomes 0.
    low: f64,
    /// Values to a level of 8 bits.
    unit: f64,
    /// What is added before a level is cut off to a whole number.
    rounds: f64,
}

impl Scale {
    /// From the values of a channel: between percentiles, as NumPy's `percentile` with its linear method.
    fn of_values(mut values: Vec<f64>, percentiles: Percentiles) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().saturating_sub(1);
        let at = |percent: f64| {
            let place = percent / 100.0 * last as f64;
            let value = |at: f64| values.get(at as usize).copied().unwrap_or(0.0);
            let (below, above) = (value(place.floor()), value(place.ceil()));
            below + (above - below) * place.fract()
        };
        let (low, high) = (at(percentiles.low), at(percentiles.high));
        Self {
            low,
            unit: (high - low) / 255.0,
            rounds: 0.5,
        }
    }

    fn byte(&self, value: f64) -> u8 {
        // A channel of one value is black; what is no number, too.
        if value <= self.low {
            return 0;
        }
        ((value - self.low) / self.unit + self.rounds) as u8
    }
}

/// The scale of each channel between percentiles of its values. Values that are missing do not count.
fn stretches(
    samples: &mut Samples<'_>,
    channels: [u16; 3],
    percentiles: Percentiles,
) -> Result<BTreeMap<u16, Scale>> {
    let mut found: BTreeMap<u16, Vec<f64>> = channels.map(|it| (it, Vec::new())).into();
    let (width, height) = samples.size();
    let step = (u64::from(width) * u64::from(height)).div_ceil(VALUES) as usize;
    let missing = samples.missing();
    let mut values = Vec::new();
    samples.for_each(&channels, |chunk: &Chunk| {
        for y in 0..chunk.height {
            // Each row begins a column further than the one above it, so that no column of a sensor is left out.
            let first = (step - (chunk.left + chunk.top + y) % step) % step;
            for (channel, found) in &mut found {
                if chunk.read_row(y, *channel, &mut values) {
                    let kept = values.iter().copied().skip(first).step_by(step);
                    found.extend(kept.filter(|it| it.is_finite() && missing != Some(*it)));
                }
            }
        }
    })?;
    let scales = found.into_iter();
    Ok(scales
        .map(|(channel, values)| (channel, Scale::of_values(values, percentiles)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_one_or_three_and_counted_from_1() {
        assert_eq!("4,3, 2".parse(), Ok(Channels([4, 3, 2])));
        assert_eq!("7".parse(), Ok(Channels([7; 3])));
        assert!(serde_json::from_str::<Channels>("[0,1,2]").is_err());
        for bad in ["", "0", "1,2", "1,2,0", "1,2,3,4", "a", "-1"] {
            assert!(bad.parse::<Channels>().is_err(), "{bad}");
        }
    }

    #[test]
    fn percentiles_are_two_in_order() {
        assert_eq!(
            "0.5,99.5".parse::<Percentiles>().map(<[f64; 2]>::from),
            Ok([0.5, 99.5])
        );
        for bad in ["", "2", "98,2", "5,5", "-1,50", "0,101", "nan,5", "1,2,3"] {
            assert!(bad.parse::<Percentiles>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Percentiles>("[98,2]").is_err());
    }
}
