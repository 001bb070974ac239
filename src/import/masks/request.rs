//! Which masks to import, and what came of it.

use std::path::PathBuf;

use serde::Serialize;

use crate::extract::DEFAULT_COMMIT_MASKS;
use crate::ids::ExtractorId;
use crate::selection::ImageFilter;

/// Where masks come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskSource {
    /// A COCO data-set file, of which every annotation with a segmentation is a mask, crowds included. Categories do
    /// not count.
    Coco(PathBuf),
    /// A JSON file as in SA-1B, one per image, or a directory of such files. Predicted IoUs, stability scores, points
    /// and crop boxes are kept.
    Sa1b(PathBuf),
    /// A PNG or TIFF in which each value but 0 is a mask, or a directory of such files. A photo of the same name, but
    /// for the extension, is the image: `sub/a.png` for `sub/a.jpg`.
    LabelMaps {
        /// The file or directory.
        path: PathBuf,
        /// Values that are no masks, besides 0.
        ignore: Vec<u32>,
    },
    /// The annotated objects of a data set in the store that have masks, without crowds and ignored regions.
    GroundTruth {
        /// Name of the data set.
        dataset: String,
    },
}

/// The input of [`import_masks`](super::import_masks).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportMasksRequest {
    /// The masks.
    pub source: MaskSource,
    /// Images of the store that get masks. If it names a data set, images of a COCO file whose names are not found are
    /// looked for by that data set's ids.
    pub images: ImageFilter,
    /// Commit after this many masks, or after 20 seconds.
    pub commit_masks: usize,
}

impl Default for ImportMasksRequest {
    /// An empty path to a COCO file, all images, [`DEFAULT_COMMIT_MASKS`].
    fn default() -> Self {
        Self {
            source: MaskSource::Coco(PathBuf::new()),
            images: ImageFilter::default(),
            commit_masks: DEFAULT_COMMIT_MASKS,
        }
    }
}

/// Result of an import of masks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ImportMasksSummary {
    /// Id of the extractor that the masks are stored under; `None` before an import.
    pub extractor_id: Option<ExtractorId>,
    /// Images whose masks were added.
    pub images: u64,
    /// Masks added.
    pub masks: u64,
    /// Images whose masks were already there.
    pub done: u64,
    /// Images of the source that are in the store, but that the request leaves out.
    pub left_out: u64,
    /// Annotations without a mask, such as boxes.
    pub without_mask: u64,
    /// Items that could not be used, or not as they are; each has a row in `failures`.
    pub failed: u64,
}
