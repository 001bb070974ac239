//! Loops over what a head is trained on: every mask of every epoch passes through them.

use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

/// Appends the values of 16-bit floating-point numbers, given by their bits.
///
/// # Examples
/// ```
/// let mut values = vec![0.5];
/// grainstore_kernels::append_halves(&[0x3c00, 0xc000], &mut values);
/// assert_eq!(values, [0.5, 1.0, -2.0]);
/// ```
pub fn append_halves(bits: &[u16], into: &mut Vec<f32>) {
    let start = into.len();
    into.resize(start + bits.len(), 0.0);
    let halves: &[half::f16] = bits.reinterpret_cast();
    halves.convert_to_f32_slice(into.get_mut(start..).unwrap_or(&mut []));
}

/// `(value - mean) * factor` of each value, in place; a mean to a value.
///
/// # Examples
/// ```
/// let mut values = [3.0, 1.0];
/// grainstore_kernels::standardise(&mut values, &[1.0, 2.0], 0.5);
/// assert_eq!(values, [1.0, -0.5]);
/// ```
pub fn standardise(values: &mut [f32], means: &[f32], factor: f32) {
    for (value, mean) in values.iter_mut().zip(means) {
        *value = (*value - mean) * factor;
    }
}

/// Turns random bits into `count` factors of dropout, four to a word, the lowest 16 bits first: `scale` where 16 bits are less
/// than `threshold`, else 0.
///
/// # Examples
/// ```
/// let factors = grainstore_kernels::dropout_factors(&[0x0005_0000_ffff_0001], 3, 5, 2.0);
/// assert_eq!(factors, [2.0, 0.0, 2.0]);
/// ```
pub fn dropout_factors(bits: &[u64], count: usize, threshold: u32, scale: f32) -> Vec<f32> {
    let factor = |part: u64| {
        if (part & 0xffff) < u64::from(threshold) {
            scale
        } else {
            0.0
        }
    };
    let of_word = |word: &u64| [0, 16, 32, 48].map(|shift| factor(word >> shift));
    let mut factors: Vec<f32> = bits.iter().flat_map(of_word).collect();
    factors.truncate(count);
    factors
}
