//! The counts of an extraction.

use serde::Serialize;

/// Result of an extraction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ExtractSummary {
    /// Images whose masks were added.
    pub images: u64,
    /// Masks added.
    pub masks: u64,
    /// Images whose masks were there, and got vectors or features.
    pub revisited: u64,
    /// Images that another process had done before they could be written.
    pub done_elsewhere: u64,
    /// Images that could not be extracted; each has a row in `failures`.
    pub failed: u64,
}
