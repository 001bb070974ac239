//! What to export.

use serde::{Deserialize, Serialize};

use crate::selection::ImageFilter;

/// Whose annotations of which images, in which classes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ExportRequest {
    /// Whose annotations.
    pub annotations: Annotations,
    /// Of which images.
    pub images: ImageFilter,
    /// Class set whose classes are the categories: NAME or NAME@VERSION; none: the head's own, or for annotated objects
    /// the one named like the data set.
    pub classes: Option<String>,
    /// A coarser class set, whose classes are the supercategories.
    pub supercategories: Option<String>,
    /// Ids of images, and of annotated objects.
    pub ids: Ids,
}

/// Whose annotations are exported or drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Annotations {
    /// The masks that a head's annotation keeps.
    Head {
        /// Its name or id.
        head: String,
        /// First digits of the id of the annotation policy; none: the one annotated with last.
        policy: Option<String>,
    },
    /// The objects that a data set annotates.
    #[default]
    GroundTruth,
}

/// Where the ids of images and annotated objects come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ids {
    /// The data set's own; images without one are numbered on from the greatest.
    #[default]
    Original,
    /// 1, 2, ... for all.
    New,
}

/// How masks are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskStyle {
    /// Run lengths, compressed, as text.
    Rle,
    /// Outlines, holes bridged to them.
    Polygon,
}
