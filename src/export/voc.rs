//! `export voc`: a PASCAL VOC directory of label maps.
//!
//! ```text
//! SegmentationClass/NAME.png    each pixel's class: 0 background, 1, 2, ... the classes in order, 255 void
//! SegmentationObject/NAME.png   each pixel's object: 1, 2, ...
//! ImageSets/Segmentation/SPLIT.txt
//! JPEGImages/NAME.jpg           if asked for
//! classes.txt                   names of the classes, in order
//! ```
//!
//! Which mask is drawn where several overlap, [`PixelMaps`] says.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::coco::ExportSummary;
use super::file::Unfinished;
use super::photos::{Photos, jpeg, plan_names, write_images};
use super::pixel_maps::PixelMaps;
use super::request::ExportRequest;
use super::source::{Objects, Origin, Source, Wanted};
use crate::annotate::MapRule;
use crate::error::FileAction;
use crate::geometry::Size;
use crate::ids::check_name;
use crate::ingest::parse_class_names;
use crate::photo::voc_colormap;
use crate::progress::Progress;
use crate::selection::SelectedImage;
use crate::store::{PhotoFiles, Snapshot};
use crate::{Error, Result};

/// Limit on classes, and on objects per image, of a label map: indices 0 and 255 have other meanings.
const MAX_VALUE: usize = 254;
/// The index of void pixels.
const VOID: u8 = 255;
/// The file with the names of the classes, in order.
const CLASSES_FILE: &str = "classes.txt";

/// What to export as VOC label maps.
#[derive(Debug, Clone, Default)]
pub struct VocExport {
    /// Which annotations of which images to export.
    pub export: ExportRequest,
    /// Whether photos are copied beside the label maps.
    pub photos: Photos,
    /// The directory to write. It must be new or empty.
    pub directory: PathBuf,
}

/// Writes label maps of the requested objects into a new directory. An image whose photo cannot be read, or that has
/// more than 254 objects, is counted as failed.
///
/// # Examples
/// ```
/// use grainstore::export::{Annotations, ExportRequest, Photos, VocExport, export_voc};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = VocExport {
///     export: ExportRequest {
///         annotations: Annotations::Head {
///             head: "pets".to_owned(),
///             policy: None,
///         },
///         ..ExportRequest::default()
///     },
///     photos: Photos::Copy,
///     directory: "pets_voc".into(),
/// };
/// let summary = export_voc(&store.snapshot().await?, &request, &NoProgress).await?;
/// println!("{} label maps, {} failed", summary.images, summary.failed);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`crate::error::CatalogueError`] for names that do not exist; [`crate::error::HeadError::ClassSet`] if class sets do not
/// fit together; [`Error::NothingToExport`] if no image is chosen; [`Error::StoreDamaged`] if a file of the store has
/// changed; [`Error::InvalidOption`] for more than 254 classes, for a class
/// name that [`crate::ingest::read_class_names`] would read differently, and for a directory that is not empty;
/// [`Error::File`].
pub async fn export_voc(
    snapshot: &Snapshot,
    request: &VocExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let (photos, directory) = (request.photos, &request.directory);
    let source = Source::open_with(snapshot, &request.export.without_ids(), Wanted::Mapped).await?;
    let rule = match &source.origin {
        Origin::Head { policy, .. } => MapRule::of_policy(&policy.policy)?,
        Origin::GroundTruth { .. } => MapRule::Paint,
    };
    if source.categories.len() > MAX_VALUE {
        return Err(Error::InvalidOption {
            what: "class set of a label map",
            value: format!("{} classes", source.categories.len()),
            expected: format!("at most {MAX_VALUE}"),
        });
    }
    let classes: Vec<String> = source.categories.iter().map(|it| it.name.clone()).collect();
    check_class_names(&classes)?;
    let new = Unfinished::new(directory)?;
    new.create_directory()?;
    source.verify(progress).await?;
    let mut summary = ExportSummary {
        new_image_ids: 0,
        ..ExportSummary::of(&source, directory)
    };
    let images = source.images.images.clone();
    let files = snapshot.store().photos();
    let work = move |objects: Objects, progress: &dyn Progress| {
        progress.start("images", Some(images.len() as u64));
        let directories = Directories::create(new.path(), photos)?;
        let names = plan_names(&images);
        let mut written: HashSet<usize> = HashSet::new();
        write_images(
            objects,
            &images,
            &mut summary,
            progress,
            |at, image, objects, counted| {
                let Some(name) = names.get(at) else {
                    return Ok(());
                };
                let maps = PixelMaps::of(image.size(), objects, rule, MAX_VALUE, counted)?;
                directories.write(&files, name, image, &maps)
            },
            |at, ()| {
                written.insert(at);
                Ok(())
            },
        )?;
        let of_split = plan_image_sets(&images, &names, &written);
        // They become names of files.
        of_split
            .keys()
            .try_for_each(|split| check_name("split", split))?;
        let mut lines = vec![(PathBuf::from(CLASSES_FILE), classes)];
        for (split, names) in of_split {
            lines.push((
                Path::new("ImageSets/Segmentation").join(format!("{split}.txt")),
                names,
            ));
        }
        for (file, lines) in lines {
            let file = new.path().join(file);
            fs::write(&file, lines.join("\n") + "\n")
                .map_err(Error::file(FileAction::Write, &file))?;
        }
        summary.bytes = new.finish()?;
        Ok(summary)
    };
    let done = source.with_objects(progress, work).await;
    progress.finish();
    done
}

/// Checks that every class name is one line of `classes.txt` which is read back unchanged.
fn check_class_names(classes: &[String]) -> Result<()> {
    for name in classes {
        let read = parse_class_names(&format!("{name}\n"), Path::new(CLASSES_FILE));
        if !read.is_ok_and(|read| read == [name.as_str()]) {
            return Err(Error::InvalidOption {
                what: "class name that a line of classes.txt can hold",
                value: name.escape_debug().to_string(),
                expected:
                    "a name that is not empty and has no line break, and no blank at its ends"
                        .to_owned(),
            });
        }
    }
    Ok(())
}

/// Names of the images that were written, by split. Images without a split are listed under `all`.
fn plan_image_sets(
    images: &[SelectedImage],
    names: &[String],
    written: &HashSet<usize>,
) -> BTreeMap<String, Vec<String>> {
    let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (at, (image, name)) in images.iter().zip(names).enumerate() {
        if written.contains(&at) {
            let split = image.split.clone().unwrap_or_else(|| "all".to_owned());
            sets.entry(split).or_default().push(name.clone());
        }
    }
    sets
}

struct Directories {
    classes: PathBuf,
    objects: PathBuf,
    photos: Option<PathBuf>,
    palette: Vec<u8>,
}

impl Directories {
    fn create(root: &Path, photos: Photos) -> Result<Self> {
        let create = |name: &str| {
            let path = root.join(name);
            fs::create_dir_all(&path).map_err(Error::file(FileAction::Write, &path))?;
            Ok::<_, Error>(path)
        };
        create("ImageSets/Segmentation")?;
        Ok(Self {
            classes: create("SegmentationClass")?,
            objects: create("SegmentationObject")?,
            photos: (photos == Photos::Copy)
                .then(|| create("JPEGImages"))
                .transpose()?,
            palette: voc_colormap().into_iter().flatten().collect(),
        })
    }

    fn write(
        &self,
        files: &PhotoFiles,
        name: &str,
        image: &SelectedImage,
        maps: &PixelMaps,
    ) -> Result<()> {
        if let Some(directory) = &self.photos {
            let bytes = jpeg(files, image)?;
            let file = directory.join(format!("{name}.jpg"));
            fs::write(&file, bytes).map_err(Error::file(FileAction::Write, &file))?;
        }
        for (directory, indices) in [
            (&self.classes, &maps.classes),
            (&self.objects, &maps.objects),
        ] {
            let file = directory.join(format!("{name}.png"));
            let bytes = self.png(maps.size, indices)?;
            fs::write(&file, bytes).map_err(Error::file(FileAction::Write, &file))?;
        }
        Ok(())
    }

    fn png(&self, size: Size, indices: &[u16]) -> Result<Vec<u8>> {
        let byte = |index: &u16| u8::try_from(*index).unwrap_or(VOID);
        let indices: Vec<u8> = indices.iter().map(byte).collect();
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, size.width, size.height);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(self.palette.as_slice());
        let written = encoder
            .write_header()
            .and_then(|mut writer| writer.write_image_data(&indices));
        written.map_err(|source| Error::EncodeImage {
            reason: source.to_string(),
        })?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_names_are_those_that_are_read_back() {
        let check = |name: &str| check_class_names(&["dog".to_owned(), name.to_owned()]);
        for name in ["cat", "traffic light", "\u{732b}", "a\u{a0}b", "-1"] {
            check(name).unwrap();
        }
        for name in [
            "",
            " ",
            "cat ",
            "\tcat",
            "new\nline",
            "cat\r",
            "\u{feff}cat",
        ] {
            assert!(check(name).is_err(), "{name:?}");
        }
        let message = check("new\nline").unwrap_err().to_string();
        assert!(
            message.starts_with("'new\\nline' is not a class name"),
            "{message}"
        );
    }
}
