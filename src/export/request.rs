//! The request of an export.

use serde::{Deserialize, Serialize};

use crate::selection::ImageFilter;

/// Which annotations of which images to export, and in which classes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ExportRequest {
    /// Whose annotations to export.
    pub annotations: Annotations,
    /// The images to export.
    pub images: ImageFilter,
    /// Class set whose classes become the categories, as NAME or NAME@VERSION. If `None`: the head's own class set, or
    /// for annotated objects the one named like the data set.
    pub classes: Option<String>,
    /// A coarser class set whose classes become the supercategories.
    pub supercategories: Option<String>,
    /// Where the ids of images and annotated objects come from.
    pub ids: Ids,
}

/// The source of annotations that are exported or drawn.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Annotations {
    /// The masks that a head keeps.
    Head {
        /// The head's name or id.
        head: String,
        /// First digits of the annotation policy's id. If `None`, the policy that was used last.
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
    /// The data set's own ids. Images without one get ids above the greatest.
    #[default]
    Original,
    /// New ids for all, counted from 1.
    New,
    /// For files that hold no ids: as with [`Ids::Original`], or new ones for all if two images share one.
    Any,
}

impl ExportRequest {
    /// The same for a format whose files hold no ids.
    pub(super) fn without_ids(&self) -> Self {
        Self {
            ids: Ids::Any,
            ..self.clone()
        }
    }
}

/// How masks are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaskStyle {
    /// Compressed run lengths, as text.
    Rle,
    /// Polygons, whose holes are connected to the outline.
    Polygon,
}
