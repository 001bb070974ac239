//! `export label-maps`: a PNG or TIFF file for each image, whose gray levels are classes, or classes and objects.
//!
//! ```text
//! classes.csv            VALUE,NAME: the gray level of each class
//! maps/NAME.png          8 bits, or 16 if there are more values
//! images/NAME.jpg        the photos, if asked for
//! ```
//!
//! 0 is background, unless another value is asked for. Void is the greatest level, 255 or 65535. Which mask is drawn where several
//! overlap, [`PixelMaps`] says.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;

use ::tiff::encoder::colortype::{Gray8, Gray16};
use ::tiff::encoder::{Compression, TiffEncoder};

use super::coco::ExportSummary;
use super::file::Unfinished;
use super::label_values::{ClassOfMap, Values};
use super::photos::{Photos, copy, plan_names, write_images};
use super::pixel_maps::{PixelMaps, VOID};
use super::request::ExportRequest;
use super::source::{Objects, Origin, Source, Wanted};
use crate::annotate::MapRule;
use crate::error::FileAction;
use crate::geometry::Size;
use crate::progress::Progress;
use crate::store::Snapshot;
use crate::{Error, Result};

/// The file of the classes.
const CLASSES_FILE: &str = "classes.csv";
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
    /// Names of classes whose values are the class all the same, because they have no objects apart (road, sky).
    pub stuff: Vec<String>,
    /// Value of pixels of no class. If it is given, the values of classes are their ids, and a class with that id looks like
    /// background; if not, it is 0.
    pub background: Option<u16>,
    /// The kind of the maps' files.
    pub file: MapFile,
    /// What the names of photos have before their ending and those of maps have not, such as '_leftImg8bit'.
    pub image_suffix: String,
    /// What the names of maps have before their ending and those of photos have not, such as '_gtFine_labelIds'.
    pub map_suffix: String,
    /// Whether photos are copied.
    pub photos: Photos,
    /// The directory to write. It must be empty or new.
    pub directory: PathBuf,
}

/// The kind of a label map's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MapFile {
    /// PNG.
    #[default]
    Png,
    /// TIFF, packed.
    Tiff,
}

/// Writes label maps. The directory appears when it is complete.
///
/// The value of a class is its own id if those of all classes are different and fit, else its place, from 1 on.
///
/// # Errors
/// Errors of the catalogue and the store, as of [`export_coco`](super::export_coco); [`Error::InvalidOption`] for more classes than there
/// are values, ids that do not fit where they are asked for, and stuff that is no class; [`Error::File`] if files cannot be written. An
/// image with more than 999 objects, where they are asked for, or whose photo cannot be read, is counted as failed.
pub async fn export_label_maps(
    snapshot: &Snapshot,
    request: &LabelMapExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let LabelMapExport {
        export,
        objects: with_objects,
        stuff,
        background,
        file,
        image_suffix,
        map_suffix,
        photos,
        directory,
    } = request.clone();
    let source = Source::open_with(snapshot, &export.without_ids(), Wanted::Mapped).await?;
    let rule = match &source.origin {
        Origin::Head { policy, .. } => MapRule::of_policy(&policy.policy)?,
        Origin::GroundTruth { .. } => MapRule::Paint,
    };
    let names = source.categories.iter().map(|it| it.name.as_str());
    let names: Vec<&str> = names.collect();
    let stuff = stuff.into_iter().flat_map(|given| {
        // A name may have commas of its own.
        if names.contains(&given.as_str()) {
            return vec![given];
        }
        given.split(',').map(str::to_owned).collect()
    });
    let stuff: Vec<String> = stuff.collect();
    if let Some(unknown) = stuff.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(Error::InvalidOption {
            what: "class of stuff",
            value: unknown.clone(),
            expected: format!("classes of the set: {}", names.join(", ")),
        });
    }
    let classes = source.categories.iter().map(|it| ClassOfMap {
        id: it.id,
        name: &it.name,
        has_objects: with_objects && !stuff.contains(&it.name),
    });
    let classes: Vec<ClassOfMap<'_>> = classes.collect();
    let values = Values::of(&classes, background)?;
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
                let base = stem.strip_suffix(&image_suffix).unwrap_or(stem);
                let most = if with_objects {
                    MAX_OBJECTS
                } else {
                    usize::from(VOID) - 1
                };
                let drawn = PixelMaps::of(image.size(), objects, rule, most, counted)?;
                if photos == Photos::Copy {
                    let (bytes, ending) = copy(&files, image, &FORMATS)?;
                    let copied = copies.join(format!("{base}{image_suffix}.{ending}"));
                    fs::write(&copied, bytes).map_err(Error::file(FileAction::Write, &copied))?;
                }
                let map = maps.join(format!("{base}{map_suffix}.{}", file.ending()));
                let bytes = encoded(file, image.size(), &values.levels(&drawn), values.is_wide())?;
                fs::write(&map, bytes).map_err(Error::file(FileAction::Write, &map))
            },
            |_, ()| Ok(()),
        )?;
        let file = new.path().join(CLASSES_FILE);
        fs::write(&file, classes).map_err(Error::file(FileAction::Write, &file))?;
        summary.bytes = new.finish()?;
        Ok(summary)
    };
    let done = source.with_objects(progress, work).await;
    progress.finish();
    done
}

impl MapFile {
    const fn ending(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Tiff => "tif",
        }
    }
}

/// Writes gray levels as a file.
fn encoded(file: MapFile, size: Size, levels: &[u16], is_wide: bool) -> Result<Vec<u8>> {
    match file {
        MapFile::Png => png(size, levels, is_wide),
        MapFile::Tiff => tiff(size, levels, is_wide),
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
        low_bytes(levels)
    };
    let written = encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(&data));
    written.map_err(|source| Error::EncodeImage {
        reason: source.to_string(),
    })?;
    Ok(bytes)
}

/// Levels of 8 bits; of void the greatest.
fn low_bytes(levels: &[u16]) -> Vec<u8> {
    levels.iter().map(|level| level.to_be_bytes()[1]).collect()
}

fn tiff(size: Size, levels: &[u16], is_wide: bool) -> Result<Vec<u8>> {
    let mut file = Cursor::new(Vec::new());
    let Size { width, height } = size;
    // Every reader has it, and maps are long runs of one value.
    let encoder = TiffEncoder::new(&mut file).map(|it| it.with_compression(Compression::Packbits));
    let written = encoder.and_then(|mut encoder| {
        if is_wide {
            return encoder.write_image::<Gray16>(width, height, levels);
        }
        encoder.write_image::<Gray8>(width, height, &low_bytes(levels))
    });
    written.map_err(|source| Error::EncodeImage {
        reason: source.to_string(),
    })?;
    Ok(file.into_inner())
}
