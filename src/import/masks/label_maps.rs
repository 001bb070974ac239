//! Masks of label maps: each value of a PNG or TIFF is a mask of the photo of the same name.

use std::path::PathBuf;

use super::files::{FileKind, Looked};
use super::images::Images;
use super::item::{ImageMasks, ImportedMask, Item, Meant, Plan};
use crate::error::FileAction;
use crate::photo::PhotoFormat;
use crate::photo::label_values::{masks_of_values, read_values};
use crate::{Error, Result};

pub(super) const FILES: FileKind = FileKind {
    extensions: &["png", "tif", "tiff"],
    what: "label maps",
};

/// Checks by its first bytes that a file is a PNG or a TIFF.
///
/// # Errors
/// [`Error::Photo`]; [`Error::Annotation`] for other formats.
pub(super) fn look(bytes: &[u8]) -> Result<()> {
    match PhotoFormat::guess(bytes)? {
        PhotoFormat::Png | PhotoFormat::Tiff => Ok(()),
        other => Err(Error::Annotation {
            reason: format!("a {other} file, expected a PNG or TIFF"),
        }),
    }
}

/// Finds the photos of label maps in the store.
pub(super) fn plan(looked: Looked<()>, images: &Images) -> Plan<PathBuf> {
    let mut plan = Plan {
        unusable: looked.unusable,
        ..Plan::default()
    };
    for (file, ()) in looked.files {
        let image = Meant {
            found: images.by_name(&file.name),
            size: None, // checked when it is read
        };
        plan.add(file.name, image, file.path);
    }
    plan.with_one_place_per_image()
}

/// Reads the masks of an image, in the order of their values. 0 and the values of `ignore` are no masks.
///
/// # Errors
/// [`Error::File`]; [`Error::Photo`] and [`Error::Annotation`] if it is no label map, or one of another size.
pub(super) fn read(item: &Item<PathBuf>, ignore: &[u32]) -> Result<ImageMasks> {
    let path = &item.place;
    let bytes = std::fs::read(path).map_err(Error::file(FileAction::Read, path))?;
    let size = item.image.size();
    let values = read_values(&bytes, |found| item.image.check_size(found))?;
    let mut read = ImageMasks::default();
    for (value, mask) in masks_of_values(&values, size)? {
        if value != 0 && !ignore.contains(&value) {
            read.masks.push(ImportedMask::new(mask)?);
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_named_as_what_they_are() {
        look(b"\x89PNG\r\n\x1a\n...").unwrap();
        look(b"II\x2a\0....").unwrap();
        for (bytes, part) in [
            (&b""[..], "the file is empty"),
            (
                &b"\xff\xd8\xff..."[..],
                "a jpeg file, expected a PNG or TIFF",
            ),
            (&b"hello"[..], "not an image: the file starts with 'hello'"),
        ] {
            let message = look(bytes).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
