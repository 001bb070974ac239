//! Images in exported directories: the way through them, and names and copies of their photos.

use std::collections::HashSet;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::coco::ExportSummary;
use super::stream::OfImages;
use crate::ids::cut_file_name;
use crate::photo::{self, DecodeLimits};
use crate::progress::Progress;
use crate::selection::SelectedImage;
use crate::store::PhotoFiles;
use crate::{Error, Result};

/// Room for what is put behind the name of a photo.
const NAME_ENDING: usize = "_-9223372036854775808.webp".len();
/// Formats of photos that Ultralytics, CVAT and Pillow read, and the endings of their names.
pub(super) const FORMATS: [(&str, &str); 5] = [
    ("jpeg", "jpg"),
    ("png", "png"),
    ("webp", "webp"),
    ("bmp", "bmp"),
    ("tiff", "tif"),
];
/// Quality of photos that are encoded as JPEG, of 100.
const JPEG_QUALITY: u8 = 95;

/// Images that each core makes before they are taken: few, because what is made may hold photos, but enough that cores do not wait
/// for the slowest.
const IMAGES_PER_CORE: usize = 4;

/// Whether photos are part of an exported directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Photos {
    /// Photos stay where they are.
    #[default]
    Leave,
    /// Copy files that are upright and that the format allows, and encode all other photos as JPEG.
    Copy,
}

/// Makes what is written of each image with `make`, on all cores, and takes it with `keep`, image after image. What `make` counts
/// is counted for the images that are taken. Of the others a note is made, unless the next image would fail in the same way.
pub(super) fn write_images<O: OfImages, T: Send>(
    objects: O,
    images: &[SelectedImage],
    summary: &mut ExportSummary,
    progress: &dyn Progress,
    make: impl Fn(usize, &SelectedImage, Vec<O::Item>, &mut ExportSummary) -> Result<T> + Sync,
    mut keep: impl FnMut(usize, T) -> Result<()>,
) -> Result<()> {
    summary.images = 0;
    let mut write = |waiting: Vec<(usize, &SelectedImage, Vec<O::Item>)>| {
        let made = waiting.into_par_iter().map(|(at, image, objects)| {
            let mut counted = ExportSummary::default();
            let made = make(at, image, objects, &mut counted);
            (at, image, counted, made)
        });
        for (at, image, counted, made) in made.collect::<Vec<_>>() {
            progress.advance(1);
            match made.and_then(|made| keep(at, made)) {
                Ok(()) => {
                    summary.images += 1;
                    summary.add(&counted);
                }
                Err(err @ Error::File { action, .. }) if action.is_change() => return Err(err),
                Err(err) => {
                    summary.failed += 1;
                    progress.note(&format!("{}: {err}", image.file_name));
                }
            }
        }
        Ok(())
    };
    let at_once = IMAGES_PER_CORE * rayon::current_num_threads();
    let mut waiting = Vec::with_capacity(at_once);
    objects.by_image(|at, objects| {
        if let Some(image) = images.get(at) {
            waiting.push((at, image, objects));
        }
        if waiting.len() < at_once {
            return Ok(());
        }
        write(std::mem::take(&mut waiting))
    })?;
    write(waiting)
}

/// File names without extension: those of the photos if they are all different, otherwise their complete paths. Blanks
/// become '_', because lists of names are read word by word, and so do characters that Windows has in no name. Names that are too
/// long for a file are cut.
pub(super) fn plan_names(images: &[SelectedImage]) -> Vec<String> {
    let word = |name: &str| {
        let apart = |c: char| c.is_whitespace() || "/\\:?*\"<>|".contains(c);
        let name = name.replace(apart, "_");
        cut_file_name(&name, NAME_ENDING).to_owned()
    };
    let stem = |image: &SelectedImage| {
        let name = Path::new(&image.file_name).file_stem();
        word(&name.unwrap_or_default().to_string_lossy())
    };
    let whole = |image: &SelectedImage| {
        let name = Path::new(&image.file_name).with_extension("");
        word(&name.to_string_lossy())
    };
    let numbered = |image: &SelectedImage| format!("{}_{}", whole(image), image.id);
    let kinds: [&dyn Fn(&SelectedImage) -> String; 3] = [&stem, &whole, &numbered];
    for kind in kinds {
        let names: Vec<String> = images.iter().map(kind).collect();
        // On some disks, names that differ in case alone are one.
        let different: HashSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
        if different.len() == names.len() {
            return names;
        }
    }
    images
        .iter()
        .map(|image| image.image_id.to_string())
        .collect()
}

/// The photo as an upright JPEG file. An upright JPEG file is returned as it is.
pub(super) fn jpeg(files: &PhotoFiles, image: &SelectedImage) -> Result<Vec<u8>> {
    Ok(copy(files, image, &[("jpeg", "jpg")])?.0)
}

/// The photo as a file that is upright, and the ending of its name. Files of the given formats are copied if they are.
pub(super) fn copy(
    files: &PhotoFiles,
    image: &SelectedImage,
    formats: &[(&str, &'static str)],
) -> Result<(Vec<u8>, &'static str)> {
    // Masks belong to the photo that was ingested, so the file must not have changed since.
    let bytes = files.read_ingested(&image.root, &image.file_name, &image.image_id)?;
    let known = formats.iter().find(|(format, _)| *format == image.format);
    match known {
        Some((_, ending)) if image.orientation == 1 => Ok((bytes, ending)),
        _ => Ok((encode(&bytes)?, "jpg")),
    }
}

fn encode(bytes: &[u8]) -> Result<Vec<u8>> {
    let photo = photo::decode(bytes, &DecodeLimits::default())?;
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY);
    photo
        .write_with_encoder(encoder)
        .map_err(|source| Error::EncodeImage {
            reason: source.to_string(),
        })?;
    Ok(jpeg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(names: &[&str]) -> Vec<String> {
        let image = |(name, n): (&&str, i64)| SelectedImage {
            image_id: crate::ids::ImageId::of_bytes(name.as_bytes()),
            id: n,
            external_id: Some(n),
            file_name: (*name).to_owned(),
            root: "/".to_owned(),
            width: 1,
            height: 1,
            orientation: 1,
            format: "jpeg".to_owned(),
            dataset: "d".to_owned(),
            split: None,
            attributes: None,
        };
        plan_names(&names.iter().zip(1..).map(image).collect::<Vec<_>>())
    }

    #[test]
    fn names_are_distinct() {
        assert_eq!(images(&["a/1.jpg", "b/2.png"]), ["1", "2"]);
        assert_eq!(images(&["a/1.jpg", "b/1.jpg"]), ["a_1", "b_1"]);
        assert_eq!(images(&["a/1.jpg", "a/1.png"]), ["a_1_1", "a_1_2"]);
        assert_eq!(images(&["my cat.jpg", "b/a\t1.png"]), ["my_cat", "a_1"]);
        assert_eq!(images(&["a b.jpg", "c/a_b.jpg"]), ["a_b", "c_a_b"]);
        assert_eq!(images(&["x/A.jpg", "y/a.png"]), ["x_A", "y_a"]);
        assert_eq!(images(&["10:30?.jpg"]), ["10_30_"]);
        let long = "x".repeat(240);
        let cut = &long[..229];
        let names = images(&[&format!("{long}1.jpg"), &format!("{long}2.jpg")]);
        assert_eq!(names, [format!("{cut}_1"), format!("{cut}_2")]);
    }
}
