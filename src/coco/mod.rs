//! COCO's data-set JSON, as its many exporters write it: bytes of a file come in, images, categories and annotations
//! that still hold their own text go out. Nothing here knows of the store.
//!
//! Annotation files reach hundreds of megabytes, nearly all of it polygons. So a file is read in two
//! steps: [`DatasetIndex`] finds every annotation and whose it is, and keeps the rest as text;
//! [`Annotation`] is parsed from that text when its image's turn comes, on a worker thread.
//! Format: <https://cocodataset.org/#format-data>.
//!
//! Whole numbers may be written as `1.0`, flags as `true`, and `null` is the same as nothing. What else does not fit
//! is told in words: which key, what stands there, what was expected.

mod annotation;
mod index;
mod items;
mod mask;
mod text;
mod value;

pub use annotation::{Annotation, Detection};
pub use index::{AnnotationIndex, DatasetIndex, Unusable};
pub use items::{Category, Image, License};
pub use mask::{Counts, OUTLINE, Segmentation, StrayRing};
pub use text::open;
