//! A data set of scenes on disk: photos of one object each in a folder per kind, and photos of several objects with
//! COCO JSON.

use std::fs;
use std::path::Path;

use image::RgbImage;
use serde_json::{Value, json};

use super::{Kind, Scene, SceneGenerator};
use crate::error::FileAction;
use crate::geometry::Rle;
use crate::{Error, Result};

/// Length of a photo's longer side, in pixels.
const LONGEST: std::ops::RangeInclusive<u32> = 160..=224;
/// Number of objects in a test photo.
const OBJECTS: std::ops::RangeInclusive<usize> = 2..=4;

/// Which scenes a data set has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataSet {
    /// Seed of the scenes.
    pub seed: u64,
    /// Photos of one object each, labelled by their folder.
    pub train: usize,
    /// Photos of two to four objects that may hide one another, annotated.
    pub test: usize,
}

impl Default for DataSet {
    fn default() -> Self {
        Self {
            seed: 2024,
            train: 200,
            test: 60,
        }
    }
}

/// Writes `train/KIND/NNN.png`, `test/NNN.png` and `test.json` into a directory; the same seed and
/// numbers give the same files every time.
///
/// # Errors
/// [`Error::File`], [`Error::EncodeImage`].
pub fn write_data_set(directory: &Path, set: DataSet) -> Result<()> {
    let mut generator = SceneGenerator::new(set.seed);
    for n in 0..set.train {
        let Some(kind) = Kind::ALL.get(n % Kind::ALL.len()) else {
            continue;
        };
        let photo_size = generator.size(LONGEST);
        let scene = generator.scene(photo_size, &[*kind]);
        save(
            &scene.photo,
            &directory.join("train").join(kind.name()),
            &format!("{n:03}.png"),
        )?;
    }
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for n in 1..=set.test {
        let photo_size = generator.size(LONGEST);
        let count = generator.count(OBJECTS);
        let kinds = generator.kinds(count);
        let scene = generator.scene(photo_size, &kinds);
        let file_name = format!("{n:03}.png");
        save(&scene.photo, &directory.join("test"), &file_name)?;
        let (width, height) = scene.photo.dimensions();
        images.push(json!({"id": n, "file_name": file_name, "width": width, "height": height}));
        annotate(&scene, n, &mut annotations)?;
    }
    let categories: Vec<Value> = Kind::ALL
        .iter()
        .zip(1..)
        .map(|(kind, id)| json!({"id": id, "name": kind.name(), "supercategory": kind.group()}))
        .collect();
    let data_set = json!({
        "info": {"description": "generated scenes"}, "licenses": [],
        "images": images, "annotations": annotations, "categories": categories,
    });
    let file = directory.join("test.json");
    fs::write(&file, data_set.to_string()).map_err(Error::file(FileAction::Write, &file))
}

fn save(photo: &RgbImage, folder: &Path, name: &str) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::file(FileAction::Create, folder))?;
    let file = folder.join(name);
    photo.save(&file).map_err(|err| match err {
        image::ImageError::IoError(err) => Error::file(FileAction::Write, &file)(err),
        err => Error::EncodeImage {
            reason: err.to_string(),
        },
    })
}

/// Adds a COCO annotation for each object of a scene.
fn annotate(scene: &Scene, image: usize, annotations: &mut Vec<Value>) -> Result<()> {
    let size = scene.size();
    for object in &scene.objects {
        let mask = Rle::from_row_major(size, &object.mask)?;
        annotations.push(json!({
            "id": annotations.len() + 1, "image_id": image, "iscrowd": 0,
            "category_id": Kind::ALL.iter().position(|kind| *kind == object.kind).map(|n| n + 1),
            "segmentation": {"size": [size.height, size.width], "counts": mask.to_counts_string()},
            "area": mask.area(), "bbox": mask.bbox().to_xywh(),
        }));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_has_the_photos_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let set = DataSet {
            train: 7,
            test: 3,
            ..DataSet::default()
        };
        write_data_set(dir.path(), set).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("train")).unwrap().count(), 6);
        assert_eq!(
            fs::read_dir(dir.path().join("train/ball")).unwrap().count(),
            2
        );
        let text = fs::read_to_string(dir.path().join("test.json")).unwrap();
        let index = crate::coco::DatasetIndex::parse(&text).unwrap();
        assert_eq!((index.images.len(), index.categories.len()), (3, 6));
        assert!((4..=12).contains(&index.annotations.len()));
        for image in &index.images {
            let photo = image::open(dir.path().join("test").join(&image.file_name)).unwrap();
            assert_eq!(
                (Some(photo.width()), Some(photo.height())),
                (image.width, image.height)
            );
        }
    }
}
