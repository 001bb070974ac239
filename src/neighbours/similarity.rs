//! Cosine similarities of one vector with many, and the best of them.
//!
//! In: a vector, and columns of others. Out: the ids of the most similar rows. This module does no I/O and knows no
//! tables.
//!
//! 16-bit numbers are widened as they are read, by integer operations that the compiler can vectorise, so that a vector
//! goes through the processor once: with AVX-512, 768 numbers take 0.06 microseconds.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use half::f16;
use pulp::{Arch, Simd, WithSimd};

use crate::store::columns::{EmbeddingColumn, EmbeddingRow};

/// Sums that are kept side by side, because the compiler may not reorder the additions of a single one.
const LANES: usize = 16;

/// A vector that others are compared with.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    numbers: Vec<f32>,
    length: f32,
}

impl Wanted {
    /// `None` for numbers that have no direction: all zeros, or not finite.
    pub fn new(numbers: Vec<f32>) -> Option<Self> {
        let squares = numbers.iter().map(|x| f64::from(*x).powi(2));
        let length = squares.sum::<f64>().sqrt() as f32;
        let has_direction = length > 0.0 && length.is_finite();
        has_direction.then_some(Self { numbers, length })
    }

    /// The numbers.
    pub fn numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// The most similar rows of a column, whose ids are given. Rows without a vector, or with one that has no
    /// direction, are left out.
    pub fn best_of(&self, column: &EmbeddingColumn, ids: &[u64], count: usize) -> Best {
        Arch::new().dispatch(Compare {
            wanted: self,
            column,
            ids,
            best: Best::new(count),
        })
    }

    /// The cosine of the angle between two vectors, from -1 to 1; `None` if the other one has no direction.
    #[inline(always)]
    pub fn similarity(&self, vector: EmbeddingRow<'_>) -> Option<f32> {
        let [both, own] = match vector {
            EmbeddingRow::Half(other) => sums(&self.numbers, other),
            EmbeddingRow::Single(other) => sums(&self.numbers, other),
        };
        let similarity = both / (self.length * own.sqrt());
        if own > 0.0 && similarity.is_finite() {
            Some(similarity.clamp(-1.0, 1.0))
        } else {
            None
        }
    }
}

/// A comparison with many rows, compiled for each set of instructions that `pulp` knows. It is no closure, because
/// `pulp` calls closures by way of a function that is not always inlined, and what is not inlined gets only the
/// instructions that every processor has: that takes five times as long.
struct Compare<'a> {
    wanted: &'a Wanted,
    column: &'a EmbeddingColumn,
    ids: &'a [u64],
    best: Best,
}

impl WithSimd for Compare<'_> {
    type Output = Best;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Best {
        let mut best = self.best;
        for (row, id) in self.ids.iter().enumerate() {
            let Some(vector) = self.column.get(row) else {
                continue;
            };
            if let Some(similarity) = self.wanted.similarity(vector) {
                best.push(Found {
                    similarity,
                    id: *id,
                });
            }
        }
        best
    }
}

/// A number that can be widened to 32 bits.
trait Widen: Copy {
    fn widen(self) -> f32;
}

impl Widen for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }
}

impl Widen for f16 {
    /// Exact for finite numbers, and only these are stored. `f16::to_f32` looks up the processor's features for each
    /// number.
    #[inline(always)]
    fn widen(self) -> f32 {
        // The exponent's bias is 15 in 16 bits, and 127 in 32; the fraction has 13 bits less.
        const BIAS: u32 = (127 - 15) << 23;
        const SMALLEST_NORMAL: u32 = BIAS + (1 << 23);
        let bits = u32::from(self.to_bits());
        let magnitude = (bits & 0x7fff) << 13;
        let normal = f32::from_bits(magnitude + BIAS);
        let subnormal =
            f32::from_bits(magnitude + SMALLEST_NORMAL) - f32::from_bits(SMALLEST_NORMAL);
        let value = if bits & 0x7c00 == 0 {
            subnormal
        } else {
            normal
        };
        f32::from_bits(value.to_bits() | ((bits & 0x8000) << 16))
    }
}

/// The dot product of two vectors, and that of the second with itself.
#[inline(always)]
fn sums<T: Widen>(wanted: &[f32], other: &[T]) -> [f32; 2] {
    let (mut both, mut own) = ([0f32; LANES], [0f32; LANES]);
    let (wanted_blocks, wanted_rest) = wanted.as_chunks::<LANES>();
    let (other_blocks, other_rest) = other.as_chunks::<LANES>();
    for (wanted, other) in wanted_blocks.iter().zip(other_blocks) {
        let lanes = both.iter_mut().zip(&mut own).zip(wanted).zip(other);
        for (((both, own), wanted), other) in lanes {
            let other = other.widen();
            *both += wanted * other;
            *own += other * other;
        }
    }
    let mut sums = [both.iter().sum::<f32>(), own.iter().sum::<f32>()];
    let [both, own] = &mut sums;
    for (wanted, other) in wanted_rest.iter().zip(other_rest) {
        let other = other.widen();
        *both += wanted * other;
        *own += other * other;
    }
    sums
}

/// A row and its similarity. Greater is better: more similar, and among equals of a lower id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub similarity: f32,
    pub id: u64,
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_similarity = self.similarity.total_cmp(&other.similarity);
        by_similarity.then_with(|| other.id.cmp(&self.id))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Found {}

/// The best of the rows that were seen so far, up to a number of them. Which these are does not depend on the order in
/// which the rows came.
#[derive(Debug)]
pub(super) struct Best {
    count: usize,
    heap: BinaryHeap<Reverse<Found>>,
}

impl Best {
    /// Keeps `count` rows at most.
    pub fn new(count: usize) -> Self {
        Self {
            count,
            heap: BinaryHeap::new(),
        }
    }

    /// Keeps a row if it is one of the best.
    pub fn push(&mut self, found: Found) {
        if self.heap.len() < self.count {
            self.heap.push(Reverse(found));
        } else if let Some(mut worst) = self.heap.peek_mut()
            && found > worst.0
        {
            *worst = Reverse(found);
        }
    }

    /// Takes over what another has kept.
    pub fn merge(&mut self, other: Self) {
        for Reverse(found) in other.heap {
            self.push(found);
        }
    }

    /// The ids of the rows, the best first.
    pub fn into_ids(self) -> Vec<u64> {
        let best_first = self.heap.into_sorted_vec().into_iter();
        best_first.map(|Reverse(found)| found.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{EmbeddingFloat, EmbeddingType};
    use crate::store::columns::embeddings_to_array;

    #[test]
    fn every_finite_half_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let half = f16::from_bits(bits);
            if half.is_finite() {
                assert_eq!(half.widen().to_bits(), half.to_f32().to_bits(), "{bits:#x}");
            }
        }
    }

    fn cosine(first: &[f32], second: &[f32]) -> f64 {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| f64::from(*a) * f64::from(*b))
                .sum()
        };
        dot(first, second) / (dot(first, first) * dot(second, second)).sqrt()
    }

    #[test]
    fn similarities_are_those_of_the_formula_at_every_length() {
        let mut random = fastrand::Rng::with_seed(3);
        for dim in [1, 2, 15, 16, 17, 64, 100, 768] {
            let mut vector = || -> Vec<f32> {
                // As they are stored.
                let numbers = (0..dim).map(|_| f16::from_f32(random.f32() * 4.0 - 2.0));
                numbers.map(f16::to_f32).collect()
            };
            let (first, second) = (vector(), vector());
            let wanted = Wanted::new(first.clone()).unwrap();
            let halves: Vec<f16> = second.iter().map(|x| f16::from_f32(*x)).collect();
            let expected = cosine(&first, &second);
            for row in [EmbeddingRow::Half(&halves), EmbeddingRow::Single(&second)] {
                let found = f64::from(wanted.similarity(row).unwrap());
                assert!((found - expected).abs() < 1e-6, "{dim}: {found} {expected}");
            }
            let own = wanted.similarity(EmbeddingRow::Single(&first)).unwrap();
            assert!((own - 1.0).abs() < 1e-6 && own <= 1.0);
        }
    }

    #[test]
    fn vectors_without_a_direction_are_like_nothing() {
        for numbers in [
            vec![0.0; 3],
            vec![1.0, f32::NAN],
            vec![f32::INFINITY],
            vec![],
        ] {
            assert!(Wanted::new(numbers.clone()).is_none(), "{numbers:?}");
        }
        let wanted = Wanted::new(vec![1.0, 2.0]).unwrap();
        assert_eq!(wanted.similarity(EmbeddingRow::Single(&[0.0, -0.0])), None);
        assert_eq!(wanted.similarity(EmbeddingRow::Half(&[f16::ZERO; 2])), None);
    }

    #[test]
    fn the_best_rows_of_a_column_leave_out_nulls_and_zeros() {
        let rows: [Option<&[f32]>; 6] = [
            Some(&[1.0, 0.0]),
            None,
            Some(&[0.0, 0.0]),
            Some(&[-1.0, 0.0]),
            Some(&[1.0, 1.0]),
            Some(&[2.0, 0.0]),
        ];
        for float in [EmbeddingFloat::F16, EmbeddingFloat::F32] {
            let embedding = EmbeddingType { float, dim: 2 };
            let array = embeddings_to_array(rows.into_iter(), embedding).unwrap();
            let column = EmbeddingColumn::new(&array).unwrap();
            let wanted = Wanted::new(vec![3.0, 0.0]).unwrap();
            let ids = [10, 11, 12, 13, 14, 15];
            let best = |count| wanted.best_of(&column, &ids, count).into_ids();
            assert_eq!(
                best(9),
                [10, 15, 14, 13],
                "equals in the order of their ids"
            );
            assert_eq!(best(2), [10, 15]);
            assert_eq!(best(0), [0u64; 0]);
        }
    }

    #[test]
    fn the_best_are_the_same_in_any_order_and_however_they_are_split() {
        let mut random = fastrand::Rng::with_seed(5);
        let mut found: Vec<Found> = (0..500)
            .map(|id| Found {
                similarity: f32::from(random.u8(..20)) / 20.0,
                id,
            })
            .collect();
        let mut sorted = found.clone();
        sorted.sort_by(|a, b| b.cmp(a));
        let expected: Vec<u64> = sorted.iter().take(30).map(|found| found.id).collect();
        for parts in [1, 3, 500] {
            random.shuffle(&mut found);
            let mut all = Best::new(30);
            for part in found.chunks(found.len().div_ceil(parts)) {
                let mut best = Best::new(30);
                part.iter().for_each(|found| best.push(*found));
                all.merge(best);
            }
            assert_eq!(all.into_ids(), expected);
        }
    }
}
