//! Reads the orientation from an EXIF block, as found in JPEG, PNG and WebP files.

use exif::{In, Reader, Tag};
use image::metadata::Orientation;

/// Reads the orientation of the main picture. Its type may be SHORT, as EXIF specifies, or LONG, as some writers use.
///
/// Blocks that are damaged elsewhere still give it. Blocks without one, or with an invalid one, give
/// [`Orientation::NoTransforms`].
pub(super) fn orientation(block: &[u8]) -> Orientation {
    // WebP and PNG writers often keep the prefix that EXIF has in JPEG files.
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
