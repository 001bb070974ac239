//! Checks of sizes.

use crate::models::error::{ModelError, Result};

/// Limit on the number of layers in any part of a model. Published models have at most 48.
pub(super) const MOST_LAYERS: usize = 1024;
/// Limit on the side of an attention window in tokens, where the grid is smaller. Published models have at most 16.
pub(super) const LARGEST_WINDOW: usize = 64;

/// # Errors
/// [`ModelError::ModelConfig`] with `reason` unless `holds` is true.
pub(super) fn require(holds: bool, reason: impl FnOnce() -> String) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(ModelError::ModelConfig { reason: reason() })
    }
}
