//! The orientation in a block of EXIF, which JPEG, PNG and WebP files carry.

use exif::{In, Reader, Tag};
use image::metadata::Orientation;

/// Reads the orientation of the main picture; its type may be SHORT, as EXIF has it, or LONG, as
/// some writers have it.
///
/// Blocks that are damaged elsewhere still give it; those without one, or with a bad one, give
/// [`Orientation::NoTransforms`].
pub(super) fn orientation(block: &[u8]) -> Orientation {
    // WebP and PNG writers often keep the prefix that EXIF has in JPEG.
    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
    let read = Reader::new()
        .continue_on_error(true)
        .read_raw(block.to_vec());
    let read = read.or_else(|err| err.distill_partial_result(|_| ()));
    let read = read.ok().and_then(|exif| {
        let field = exif.get_field(Tag::Orientation, In::PRIMARY)?;
        let value = u8::try_from(field.value.get_uint(0)?).ok()?;
        Orientation::from_exif(value)
    });
    read.unwrap_or(Orientation::NoTransforms)
}
