//! Rows of stores that benches make.

use grainstore::ids::{EmbeddingSpaceId, ExtractorId};
use grainstore::store::rows::{ExtractorKind, ExtractorRow};

/// An extractor whose masks have made-up embeddings of `dim` numbers.
pub fn extractor_row(extractor: &ExtractorId, dim: i32) -> ExtractorRow {
    ExtractorRow {
        extractor_id: extractor.clone(),
        kind: ExtractorKind::Sam,
        model_type: Some("custom".to_owned()),
        checkpoint: "bench.safetensors".to_owned(),
        checkpoint_sha256: "0".repeat(64),
        embedding_dim: Some(dim),
        embedding_space: Some(EmbeddingSpaceId::of_bytes(b"bench")),
        options: "{}".to_owned(),
        grainstore_version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: chrono::DateTime::UNIX_EPOCH,
    }
}
