//! Rows of `extractors` and `extractions`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::ids::{EmbeddingSpaceId, ExtractorId, ImageId};
use crate::schema::Table;

/// One way of making masks; see `schemas/2_extractors.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct ExtractorRow {
    pub extractor_id: ExtractorId,
    pub kind: ExtractorKind,
    pub model_type: Option<String>,
    pub checkpoint: String,
    pub checkpoint_sha256: String,
    pub embedding_dim: Option<i32>,
    pub embedding_space: Option<EmbeddingSpaceId>,
    pub options: String,
    pub grainstore_version: String,
    pub created_at: DateTime<Utc>,
}

/// What made the masks of an extractor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExtractorKind {
    /// Segment Anything over a grid of points.
    #[serde(rename = "sam")]
    Sam,
    /// Segment Anything 2 over a grid of points.
    #[serde(rename = "sam2")]
    Sam2,
    /// The tracker of Segment Anything 3 over a grid of points.
    #[serde(rename = "sam3")]
    Sam3,
    /// Segment Anything with points and boxes that people gave.
    #[serde(rename = "prompted")]
    Prompted,
    /// Another program that gave masks.
    #[serde(rename = "imported masks")]
    ImportedMasks,
    /// Another program that gave boxes.
    #[serde(rename = "imported boxes")]
    ImportedBoxes,
}

impl ExtractorKind {
    /// The value in `extractors.kind`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sam => "sam",
            Self::Sam2 => "sam2",
            Self::Sam3 => "sam3",
            Self::Prompted => "prompted",
            Self::ImportedMasks => "imported masks",
            Self::ImportedBoxes => "imported boxes",
        }
    }

    /// Whether another program made the masks, so that they have no embeddings.
    pub const fn is_imported(self) -> bool {
        matches!(self, Self::ImportedMasks | Self::ImportedBoxes)
    }
}

/// The value of `extractors.embedding_space`: what embeds masks, whatever the grid, the crops and the filters.
/// `options` is `extractors.options`, of which the precision counts, and how photos become the model's input unless that is Segment
/// Anything's own.
pub fn embedding_space(
    checkpoint_sha256: &str,
    options: &str,
    embedding_dim: i32,
) -> EmbeddingSpaceId {
    #[derive(Deserialize)]
    struct Options {
        precision: Option<String>,
        pixels: Option<String>,
    }
    let options: Option<Options> = serde_json::from_str(options).ok();
    let (precision, pixels) = options.map_or((None, None), |it| (it.precision, it.pixels));
    let precision = precision.as_deref().unwrap_or("f32");
    let dim = embedding_dim.to_string();
    let parts = [checkpoint_sha256, precision, &dim];
    EmbeddingSpaceId::of_parts(parts.into_iter().chain(pixels.as_deref()))
}

impl ExtractorRow {
    /// The extractor's model type, or its kind if it has no model.
    pub fn model(&self) -> &str {
        self.model_type.as_deref().unwrap_or(self.kind.as_str())
    }
}

impl Row for ExtractorRow {
    const TABLE: Table = Table::Extractors;
}

/// One image that an extractor is done with; see `schemas/11_extractions.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct ExtractionRow {
    pub extractor_id: ExtractorId,
    pub image_id: ImageId,
    pub masks: i32,
    pub seconds: f64,
    pub extracted_at: DateTime<Utc>,
}

impl Row for ExtractionRow {
    const TABLE: Table = Table::Extractions;
}
