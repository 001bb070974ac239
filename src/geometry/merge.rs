//! Set algebra on masks. Two lists of runs are walked side by side, without decoding.

use super::bbox::Size;
use super::rle::Rle;
use crate::error::{Error, Result};

impl Rle {
    /// Pixels in either mask.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] if the sizes differ.
    pub fn union(&self, other: &Self) -> Result<Self> {
        check_same_size(self.size(), other.size())?;
        Ok(self.combine(other, |a, b| a | b))
    }

    /// Pixels in both masks.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] if the sizes differ.
    pub fn intersection(&self, other: &Self) -> Result<Self> {
        check_same_size(self.size(), other.size())?;
        Ok(self.combine(other, |a, b| a & b))
    }

    /// Pixels in this mask that are not in the other.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] if the sizes differ.
    pub fn difference(&self, other: &Self) -> Result<Self> {
        check_same_size(self.size(), other.size())?;
        Ok(self.combine(other, |a, b| a & !b))
    }

    /// Pixels that are not in this mask.
    pub fn complement(&self) -> Self {
        let runs = match self.runs() {
            [0] => vec![0],
            [0, rest @ ..] => rest.to_vec(),
            runs => [&[0], runs].concat(),
        };
        Self::from_canonical(self.size(), runs)
    }

    /// Pixels in any of the masks; empty if there are none.
    ///
    /// Masks are combined as in a merge sort, so the work is the total number of runs times the logarithm of the number
    /// of masks.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] if a mask is not of `size`; [`Error::MaskTooLarge`].
    pub fn union_all<'a>(size: Size, masks: impl IntoIterator<Item = &'a Self>) -> Result<Self> {
        // Unions of 2, 4, 8, ... masks, with larger ones further down the stack.
        let mut pending: Vec<(usize, Self)> = Vec::new();
        let mut waiting: Option<&Self> = None;
        for mask in masks {
            check_same_size(size, mask.size())?;
            let Some(first) = waiting.take() else {
                waiting = Some(mask);
                continue;
            };
            let (mut count, mut union) = (2, first.combine(mask, |a, b| a | b));
            while let Some((_, equal)) = pending.pop_if(|(other, _)| *other == count) {
                union = union.combine(&equal, |a, b| a | b);
                count *= 2;
            }
            pending.push((count, union));
        }
        let mut union = match waiting {
            Some(mask) => mask.clone(),
            None => Self::empty(size)?,
        };
        while let Some((_, other)) = pending.pop() {
            union = union.combine(&other, |a, b| a | b);
        }
        Ok(union)
    }

    /// Pixels for which `keep(in this mask, in the other)` is true. The sizes must be equal.
    fn combine(&self, other: &Self, keep: impl Fn(bool, bool) -> bool) -> Self {
        let pixels = self.pixels();
        let mut runs = Vec::with_capacity(self.runs().len() + other.runs().len());
        let (mut left, mut right) = (Cursor::new(self.runs()), Cursor::new(other.runs()));
        let (mut run_start, mut foreground) = (0, false);
        loop {
            let position = left.run_end.min(right.run_end);
            if position == pixels {
                break;
            }
            if left.run_end == position {
                left.advance();
            }
            if right.run_end == position {
                right.advance();
            }
            if keep(left.foreground, right.foreground) != foreground {
                runs.push(position - run_start);
                run_start = position;
                foreground = !foreground;
            }
        }
        runs.push(pixels - run_start);
        Self::from_canonical(self.size(), runs)
    }
}

/// A position in a list of runs.
struct Cursor<'a> {
    rest: std::slice::Iter<'a, u32>,
    run_end: u32,
    foreground: bool,
}

impl<'a> Cursor<'a> {
    fn new(runs: &'a [u32]) -> Self {
        let mut rest = runs.iter();
        let run_end = rest.next().copied().unwrap_or_default();
        Self {
            rest,
            run_end,
            foreground: false,
        }
    }

    #[inline]
    fn advance(&mut self) {
        self.run_end += self.rest.next().copied().unwrap_or_default();
        self.foreground = !self.foreground;
    }
}

pub(super) fn check_same_size(expected: Size, found: Size) -> Result<()> {
    if expected != found {
        return Err(Error::SizeMismatch { expected, found });
    }
    Ok(())
}
