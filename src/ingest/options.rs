//! What every reader is told.

use std::str::FromStr;

use serde::Serialize;

use crate::ids::check_name;
use crate::options::one_of;
use crate::{Error, Result};

/// What images are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Found images with image-level labels, to train heads on.
    Web,
    /// Generated images with image-level labels, to train heads on.
    Synthetic,
    /// Images to annotate, or annotated ones to evaluate on.
    Target,
}

impl Source {
    /// The word in `images.source`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Synthetic => "synthetic",
            Self::Target => "target",
        }
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let words = [
            ("web", Self::Web),
            ("synthetic", Self::Synthetic),
            ("target", Self::Target),
        ];
        one_of("source", text, &words)
    }
}

/// Default of [`IngestOptions::commit_rows`].
pub const DEFAULT_COMMIT_ROWS: usize = 8192;

/// What is said of every image of a run.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Name of the data set. Labels and annotations of different data sets stand side by side.
    pub dataset: String,
    /// What the images are for.
    pub source: Source,
    /// `images.split` of every image.
    pub split: Option<String>,
    /// Decode every image, not only its header: slower, and finds damage inside the pixel data.
    pub verify_pixels: bool,
    /// Commit once this many rows of images and annotations are read, 1 or more; or after 5 seconds.
    pub commit_rows: usize,
}

impl Default for IngestOptions {
    /// Images to annotate, of a data set named `images`.
    fn default() -> Self {
        Self {
            dataset: "images".to_owned(),
            source: Source::Target,
            split: None,
            verify_pixels: false,
            commit_rows: DEFAULT_COMMIT_ROWS,
        }
    }
}

impl IngestOptions {
    /// The default options for images of a data set.
    pub fn of_dataset(dataset: impl Into<String>) -> Self {
        Self {
            dataset: dataset.into(),
            ..Self::default()
        }
    }

    /// Checks the names.
    ///
    /// # Errors
    /// [`Error::InvalidName`].
    pub fn validate(&self) -> Result<()> {
        check_name("data set", &self.dataset)?;
        match &self.split {
            Some(split) => check_name("split", split),
            None => Ok(()),
        }
    }
}
