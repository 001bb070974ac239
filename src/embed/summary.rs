//! The counts of an embedding.

use serde::Serialize;

/// Result of an embedding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct EmbedSummary {
    /// Name of the embedder: its vectors are the table `vectors.NAME`, or `image_vectors.NAME`, in SQL.
    pub embedder: String,
    /// Images that were done.
    pub images: u64,
    /// Vectors added.
    pub vectors: u64,
    /// Images that another process had done before they could be written.
    pub done_elsewhere: u64,
    /// Images that could not be embedded; each has a row in `failures`.
    pub failed: u64,
}
