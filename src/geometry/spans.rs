//! Foreground spans of a mask in column-major pixel numbers: reading them from runs and writing them back.

/// Foreground spans `(first, past the last)` of runs that start with background.
pub(super) fn spans(runs: &[u32]) -> impl Iterator<Item = (u32, u32)> {
    let mut position = 0;
    runs.chunks(2).filter_map(move |pair| {
        let start = position + pair.first()?;
        position = start + pair.get(1)?;
        Some((start, position))
    })
}

/// Builds canonical runs from spans given in ascending order.
#[derive(Default)]
pub(super) struct RunBuilder {
    runs: Vec<u32>,
    /// Position after the last foreground pixel so far.
    end: u32,
}

impl RunBuilder {
    /// Appends the foreground pixels `start..end`. A span that adjoins the last one extends it.
    pub(super) fn push(&mut self, start: u32, end: u32) {
        debug_assert!(self.end <= start && start < end, "spans must ascend");
        match self.runs.last_mut() {
            Some(last) if start == self.end => *last += end - start,
            _ => self.runs.extend([start - self.end, end - start]),
        }
        self.end = end;
    }

    /// The runs of a mask of `pixels` pixels. Everything that no span covers is background.
    pub(super) fn finish(mut self, pixels: u32) -> Vec<u32> {
        if self.end < pixels || self.runs.is_empty() {
            self.runs.push(pixels - self.end);
        }
        self.runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(ranges: &[(u32, u32)], pixels: u32) -> Vec<u32> {
        let mut builder = RunBuilder::default();
        for &(start, end) in ranges {
            builder.push(start, end);
        }
        builder.finish(pixels)
    }

    #[test]
    fn builder_is_canonical_and_inverse_of_spans() {
        assert_eq!(build(&[], 0), [0]);
        assert_eq!(build(&[], 9), [9]);
        assert_eq!(build(&[(0, 9)], 9), [0, 9]);
        assert_eq!(build(&[(0, 2), (2, 3), (5, 6)], 9), [0, 3, 2, 1, 3]);
        let runs = [3, 1, 4, 1, 5];
        assert_eq!(spans(&runs).collect::<Vec<_>>(), [(3, 4), (8, 9)]);
        assert_eq!(build(&spans(&runs).collect::<Vec<_>>(), 14), runs);
    }
}
