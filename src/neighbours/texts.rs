//! Texts as vectors to search for.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::Result;
use crate::embed::TextEncoder;
use crate::ids::EmbedderId;
use crate::store::rows::EmbedderRow;

/// Makes vectors of texts in the space of an embedder's vectors.
pub trait TextVectors: std::fmt::Debug + Send + Sync {
    /// The vector of a text. This may take seconds; it is called on a thread for such work.
    ///
    /// # Errors
    /// If the text has no vector in the space of this embedder.
    fn vector(&self, embedder: &EmbedderRow, text: &str) -> Result<Vec<f32>>;
}

/// The texts of the CLIP in a checkpoint, for embedders that were made with it. It is loaded when the first text comes,
/// and kept.
#[derive(Debug)]
pub struct ClipTexts {
    checkpoint: PathBuf,
    open: Mutex<Option<(EmbedderId, TextEncoder)>>,
}

impl ClipTexts {
    /// The CLIP in a file or a Hugging Face folder. Nothing is read yet.
    pub fn new(checkpoint: impl Into<PathBuf>) -> Self {
        Self {
            checkpoint: checkpoint.into(),
            open: Mutex::default(),
        }
    }
}

impl TextVectors for ClipTexts {
    /// # Errors
    /// As [`TextEncoder::open`] and [`TextEncoder::vector`].
    fn vector(&self, embedder: &EmbedderRow, text: &str) -> Result<Vec<f32>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((embedder_id, encoder)) = open.as_ref()
            && *embedder_id == embedder.embedder_id
        {
            return encoder.vector(text);
        }
        let encoder = TextEncoder::open(&self.checkpoint, embedder)?;
        let vector = encoder.vector(text)?;
        *open = Some((embedder.embedder_id.clone(), encoder));
        Ok(vector)
    }
}
