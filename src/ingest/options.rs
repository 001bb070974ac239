//! Options shared by all readers.

use std::str::FromStr;

use serde::Serialize;

use crate::ids::check_name;
use crate::options::one_of;
use crate::{Error, Result};

/// The purpose of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Collected images with image-level labels, for training heads.
    Web,
    /// Generated images with image-level labels, for training heads.
    Synthetic,
    /// Images to annotate, or annotated images to evaluate on.
    Target,
}

impl Source {
    /// The value in `images.source`.
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

/// Options that apply to every image of a run.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Name of the data set. Labels and annotations of different data sets are kept separately.
    pub dataset: String,
    /// The purpose of the images.
    pub source: Source,
    /// Value of `images.split` for every image.
    pub split: Option<String>,
    /// Decode every image instead of only its header. This is slower and finds damage in the pixel data.
    pub verify_pixels: bool,
    /// Commit after this many rows of images and annotations, at least 1, or after 5 seconds.
    pub commit_rows: usize,
}

impl Default for IngestOptions {
    /// Images to annotate, in a data set named `images`.
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
    /// The default options for images of the given data set.
    pub fn of_dataset(dataset: impl Into<String>) -> Self {
        Self {
            dataset: dataset.into(),
            ..Self::default()
        }
    }

    /// Checks the names of the data set and the split.
    ///
    /// # Errors
    /// [`Error::InvalidName`] if one of them is not a valid name.
    pub fn validate(&self) -> Result<()> {
        check_name("data set", &self.dataset)?;
        match &self.split {
            Some(split) => check_name("split", split),
            None => Ok(()),
        }
    }
}
