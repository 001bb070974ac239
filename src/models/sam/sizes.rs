//! Checks of sizes.

use crate::models::error::{ModelError, Result};

/// Limit on the number of layers in any part of a model. Published models have at most 48.
pub(super) const MOST_LAYERS: usize = 1024;
/// Limit on the side of an attention window in tokens, where the grid is smaller. Published models have at most 16.
pub(super) const LARGEST_WINDOW: usize = 64;

/// Checks a plain transformer's windows over a grid, and its blocks that attend to the complete image.
///
/// # Errors
/// [`ModelError::ModelConfig`].
pub(super) fn require_windows(
    window_size: usize,
    grid: usize,
    global_blocks: &[usize],
    depth: usize,
) -> Result<()> {
    let windows = 1..=grid.max(LARGEST_WINDOW);
    require(windows.contains(&window_size), || {
        format!("window_size is {window_size}, of a grid of {grid}")
    })?;
    require(global_blocks.iter().all(|&i| i < depth), || {
        format!("global attention blocks {global_blocks:?} go past depth {depth}")
    })
}

/// # Errors
/// [`ModelError::ModelConfig`] with `reason` unless `holds` is true.
pub(super) fn require(holds: bool, reason: impl FnOnce() -> String) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(ModelError::ModelConfig { reason: reason() })
    }
}
