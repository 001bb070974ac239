//! `export label-maps`: a PNG for each image, whose gray levels are classes, or classes and objects.
//!
//! ```text
//! classes.csv            VALUE,NAME: the gray level of each class
//! maps/NAME.png          8 bits, or 16 if there are more values
//! images/NAME.jpg        the photos, if asked for
//! ```
//!
//! 0 is background. Void is the greatest level, 255 or 65535. Which mask is drawn where several overlap, [`PixelMaps`] says.

use std::fs;
use std::path::PathBuf;

use super::coco::ExportSummary;
use super::file::Unfinished;
use super::photos::{Photos, copy, plan_names, write_images};
use super::pixel_maps::{PixelMaps, VOID};
use super::request::ExportRequest;
use super::source::{Objects, Origin, Source, Wanted};
use crate::annotate::MapRule;
use crate::error::FileAction;
use crate::formats::OBJECTS_PER_CLASS;
use crate::geometry::Size;
use crate::progress::Progress;
use crate::store::Snapshot;
use crate::{Error, Result};

/// The file of the classes.
const CLASSES_FILE: &str = "classes.csv";
/// Greatest value of a class with objects: its last object must be below void.
const MAX_OBJECT_CLASS: i64 = 64;
/// Greatest number of an object of an image.
const MAX_OBJECTS: usize = 999;
/// Formats of photos that are copied as they are, and the endings of their names.
const FORMATS: [(&str, &str); 3] = [("jpeg", "jpg"), ("png", "png"), ("webp", "webp")];

/// A request for label maps.
#[derive(Debug, Clone, Default)]
pub struct LabelMapExport {
    /// What is exported.
    pub export: ExportRequest,
    /// Whether the values are class x 1000 + object, rather than classes.
    pub objects: bool,
    /// Whether photos are copied.
    pub photos: Photos,
    /// The directory to write. It must be empty or new.
    pub directory: PathBuf,
}

/// Writes label maps. The directory appears when it is complete.
///
/// The value of a class is its own id if those of all classes are different and fit, else its place, from 1 on.
///
/// # Errors
/// Errors of the catalogue and the store, as of [`export_coco`](super::export_coco); [`Error::InvalidOption`] for more classes than there
/// are values; [`Error::File`] if files cannot be written. An image with more than 999 objects, where they are asked for, or whose photo cannot
/// be read, is counted as failed.
pub async fn export_label_maps(
    snapshot: &Snapshot,
    request: &LabelMapExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let LabelMapExport {
        export,
        objects: with_objects,
        photos,
        directory,
    } = request.clone();
    let source = Source::open_with(snapshot, &export, Wanted::Mapped).await?;
    let rule = match &source.origin {
        Origin::Head { policy, .. } => MapRule::of_policy(&policy.policy)?,
        Origin::GroundTruth { .. } => MapRule::Paint,
    };
    let ids: Vec<i64> = source.categories.iter().map(|it| it.id).collect();
    let values = Values::of(&ids, with_objects)?;
    let names: Vec<String> = source.categories.iter().map(|it| it.name.clone()).collect();
    let classes = values.file(&names)?;
    let new = Unfinished::new(&directory)?;
    new.create_directory()?;
    source.verify(progress).await?;
    let mut summary = ExportSummary {
        new_image_ids: 0,
        ..ExportSummary::of(&source, &directory)
    };
    let images = source.images.images.clone();
    let files = snapshot.store().photos();
    let work = move |objects: Objects, progress: &dyn Progress| {
        progress.start("images", Some(images.len() as u64));
        let (maps, copies) = (new.path().join("maps"), new.path().join("images"));
        let folders = [Some(&maps), (photos == Photos::Copy).then_some(&copies)];
        for folder in folders.into_iter().flatten() {
            fs::create_dir_all(folder).map_err(Error::file(FileAction::Create, folder))?;
        }
        let stems = plan_names(&images);
        write_images(
            objects,
            &images,
            &mut summary,
            progress,
            |at, image, objects, counted| {
                let stem = stems.get(at).map_or("", String::as_str);
                let most = if with_objects {
                    MAX_OBJECTS
                } else {
                    usize::from(VOID) - 1
                };
                let drawn = PixelMaps::of(image.size(), objects, rule, most, counted)?;
                if photos == Photos::Copy {
                    let (bytes, ending) = copy(&files, image, &FORMATS)?;
                    let file = copies.join(format!("{stem}.{ending}"));
                    fs::write(&file, bytes).map_err(Error::file(FileAction::Write, &file))?;
                }
                let file = maps.join(format!("{stem}.png"));
                let bytes = png(image.size(), &values.levels(&drawn), values.is_wide())?;
                fs::write(&file, bytes).map_err(Error::file(FileAction::Write, &file))
            },
            |_, ()| Ok(()),
        )?;
        let file = new.path().join(CLASSES_FILE);
        fs::write(&file, classes).map_err(Error::file(FileAction::Write, &file))?;
        new.finish()?;
        Ok(summary)
    };
    let done = source.with_objects(progress, work).await;
    progress.finish();
    done
}

/// The gray levels of classes.
struct Values {
    /// Of each class, in order.
    of_class: Vec<u16>,
    objects: bool,
}

impl Values {
    fn of(ids: &[i64], objects: bool) -> Result<Self> {
        let greatest = if objects {
            MAX_OBJECT_CLASS
        } else {
            i64::from(VOID) - 1
        };
        let mut different = ids.to_vec();
        different.sort_unstable();
        different.dedup();
        let fit = different.len() == ids.len() && ids.iter().all(|id| (1..=greatest).contains(id));
        if i64::try_from(ids.len()).is_ok_and(|count| count > greatest) {
            return Err(Error::InvalidOption {
                what: "class set of a label map",
                value: format!("{} classes", ids.len()),
                expected: format!("at most {greatest}"),
            });
        }
        let places = 1..=ids.len();
        let of_class: Vec<u16> = if fit {
            ids.iter()
                .filter_map(|id| u16::try_from(*id).ok())
                .collect()
        } else {
            places
                .filter_map(|place| u16::try_from(place).ok())
                .collect()
        };
        Ok(Self { of_class, objects })
    }

    /// Whether levels need 16 bits: 255 is void, where there are 8.
    fn is_wide(&self) -> bool {
        self.objects
            || self
                .of_class
                .iter()
                .any(|value| *value >= u16::from(u8::MAX))
    }

    /// The level of each pixel.
    fn levels(&self, drawn: &PixelMaps) -> Vec<u16> {
        // In 8 bits, too, the lower byte of void is the greatest level.
        let class = |place: u16| match place {
            0 => 0,
            VOID => VOID,
            place => self
                .of_class
                .get(usize::from(place) - 1)
                .copied()
                .unwrap_or(VOID),
        };
        // Objects are numbered anew in each class, as in Cityscapes.
        let mut counts = vec![0u16; self.of_class.len() + 1];
        let numbers: Vec<u16> = drawn
            .class_of_object
            .iter()
            .map(|place| {
                let count = counts.get_mut(usize::from(*place));
                count.map_or(0, |count| {
                    *count += 1;
                    *count - 1
                })
            })
            .collect();
        let pixels = drawn.classes.iter().zip(&drawn.objects);
        let level = |(place, object): (&u16, &u16)| {
            let number = object
                .checked_sub(1)
                .and_then(|at| numbers.get(usize::from(at)));
            match (self.objects, number) {
                (true, Some(number)) if *place != VOID => {
                    class(*place) * OBJECTS_PER_CLASS as u16 + number
                }
                _ => class(*place),
            }
        };
        pixels.map(level).collect()
    }

    /// The text of the file of the classes.
    fn file(&self, names: &[String]) -> Result<String> {
        let mut text = String::from("value,name\n");
        for (value, name) in self.of_class.iter().zip(names) {
            if name.trim() != name || name.is_empty() || name.contains(['\n', '\r', '\t']) {
                return Err(Error::InvalidOption {
                    what: "class name that a line of classes.csv can hold",
                    value: name.escape_debug().to_string(),
                    expected: "a name that is not empty and has no tab or line break, and no blank at its ends".to_owned(),
                });
            }
            text.push_str(&format!("{value},{name}\n"));
        }
        Ok(text)
    }
}

fn png(size: Size, levels: &[u16], is_wide: bool) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, size.width, size.height);
    encoder.set_color(png::ColorType::Grayscale);
    let data: Vec<u8> = if is_wide {
        encoder.set_depth(png::BitDepth::Sixteen);
        levels
            .iter()
            .flat_map(|level| level.to_be_bytes())
            .collect()
    } else {
        encoder.set_depth(png::BitDepth::Eight);
        levels.iter().map(|level| level.to_be_bytes()[1]).collect()
    };
    let written = encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&data));
    written.map_err(|source| Error::EncodeImage {
        reason: source.to_string(),
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_their_ids_if_these_fit() {
        let of = |ids: &[i64], objects| Values::of(ids, objects).unwrap().of_class;
        assert_eq!(of(&[7, 24], false), [7, 24]);
        assert_eq!(of(&[0, 24], false), [1, 2]);
        assert_eq!(of(&[7, 7], false), [1, 2]);
        assert_eq!(of(&[7, 90], true), [1, 2]);
        assert!(Values::of(&(1..66).collect::<Vec<_>>(), true).is_err());
        assert!(!Values::of(&[254], false).unwrap().is_wide());
        assert!(Values::of(&[255], false).unwrap().is_wide());
    }
}
