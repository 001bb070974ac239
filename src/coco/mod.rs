//! COCO's data set JSON, as its many exporters write it. In: the bytes of a file. Out: images, categories, and
//! annotations that are still text. Nothing here depends on the store.
//!
//! Annotation files reach hundreds of megabytes, nearly all of it polygons. Therefore a file is read in two steps.
//! [`DatasetIndex`] finds every annotation and its image, and leaves the rest where it is, in the [`Text`]. [`Annotation`] is parsed
//! from that text on a worker thread when its image is processed. Format: <https://cocodataset.org/#format-data>.
//!
//! Whole numbers may be written as `1.0`, flags as `true`, and `null` means that a value is missing. For anything else
//! that does not fit, the error says which key, what it holds and what was expected.

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
pub use text::{Text, open};
pub(crate) use text::{archive, reason_of};
