//! Points and crops go through a model in batches that fit the device: a batch that runs out of memory is halved and
//! tried again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::device::{is_out_of_memory, panic_text};
use crate::{Error, Result};

/// How many points or crops go through a model at once; the number never grows again.
#[derive(Debug)]
pub(crate) struct Batches {
    size: AtomicUsize,
}

impl Batches {
    /// Creates batches of at most `size` items.
    pub fn new(size: usize) -> Self {
        Self {
            size: AtomicUsize::new(size.max(1)),
        }
    }

    /// Runs all items, a batch at a time, and returns the results in the items' order; `free` is called between
    /// running out of memory and the next, smaller attempt.
    ///
    /// # Errors
    /// [`Error::DeviceMemory`] if a single item does not fit; errors of `decode`.
    pub fn decode<P, T>(
        &self,
        points: &[P],
        decode: impl Fn(&[P]) -> Result<Vec<T>>,
        free: impl Fn(),
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        let mut rest = points;
        while !rest.is_empty() {
            let size = self.size.load(Ordering::Relaxed).min(rest.len());
            let (batch, later) = rest.split_at(size);
            match within_memory(size, || decode(batch)) {
                Err(Error::DeviceMemory { reason, .. }) if size > 1 => {
                    let smaller = size.div_ceil(2);
                    self.size.store(smaller, Ordering::Relaxed);
                    tracing::warn!(
                        "out of device memory with {size} at once, going on with {smaller}: {reason}"
                    );
                    free();
                }
                result => {
                    found.extend(result?);
                    rest = later;
                }
            }
        }
        Ok(found)
    }
}

/// Runs `work` on `points` items; turns a backend's panic about exhausted memory into an error.
///
/// # Errors
/// [`Error::DeviceMemory`]; errors of `work`. Any other panic continues.
pub(crate) fn within_memory<T>(points: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic_text(panic.as_ref());
        if !is_out_of_memory(text) {
            resume_unwind(panic);
        }
        Err(Error::DeviceMemory {
            points,
            reason: text.lines().next().unwrap_or_default().to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// Decodes as a device that holds `fitting` points does, and records the size of every batch it gets.
    fn device(
        fitting: usize,
        batches: &RefCell<Vec<usize>>,
    ) -> impl Fn(&[u32]) -> Result<Vec<u32>> {
        move |points| {
            batches.borrow_mut().push(points.len());
            assert!(
                points.len() <= fitting,
                "CUDA out of memory. Tried to allocate 2 GiB"
            );
            Ok(points.to_vec())
        }
    }

    #[test]
    fn a_batch_too_large_is_halved_and_nothing_is_lost() {
        let (tried, freed) = (RefCell::new(Vec::new()), Cell::new(0));
        let points: Vec<u32> = (0..100).collect();
        let batches = Batches::new(64);
        let free = || freed.set(freed.get() + 1);
        let found = batches.decode(&points, device(20, &tried), free).unwrap();
        assert_eq!(found, points);
        assert_eq!(*tried.borrow(), [64, 32, 16, 16, 16, 16, 16, 16, 4]);
        assert_eq!(freed.get(), 2);

        // The next image starts with the size that fitted.
        tried.borrow_mut().clear();
        batches
            .decode(&points[..20], device(20, &tried), free)
            .unwrap();
        assert_eq!(*tried.borrow(), [16, 4]);
    }

    #[test]
    fn not_even_one_point_fits() {
        let tried = RefCell::new(Vec::new());
        let error = Batches::new(4).decode(&[1, 2, 3], device(0, &tried), || ());
        assert_eq!(*tried.borrow(), [3, 2, 1]);
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("a single point") && message.contains("2 GiB"),
            "{message}"
        );
    }

    #[test]
    #[should_panic(expected = "something else")]
    fn other_panics_go_on() {
        let _ = Batches::new(4).decode(
            &[1],
            |_| -> Result<Vec<()>> { panic!("something else") },
            || (),
        );
    }
}
