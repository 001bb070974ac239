//! Linear resampling of one axis, as in torch with `align_corners=False`.

/// The two source samples on either side of a resampled one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::models) struct Tap {
    /// Index of the sample before it.
    pub low: usize,
    /// Index of the sample after it; equal to `low` at the end of the axis.
    pub high: usize,
    /// Weight of the sample after it, in [0, 1].
    pub fraction: f32,
}

/// The position of sample `index` of an axis that is resized from `from` to `to` samples.
pub(in crate::models) fn linear_tap(index: usize, from: usize, to: usize) -> Tap {
    let scale = from as f32 / to as f32;
    let position = ((index as f32 + 0.5) * scale - 0.5).max(0.0);
    let last = from.saturating_sub(1);
    let low = (position as usize).min(last);
    Tap {
        low,
        high: (low + 1).min(last),
        fraction: position - low as f32,
    }
}

/// The positions of the first `count` samples of an axis that is resized from `from` to `to` samples.
pub(in crate::models) fn linear_taps(from: usize, to: usize, count: usize) -> Vec<Tap> {
    (0..count).map(|i| linear_tap(i, from, to)).collect()
}
