//! Reads an export back, some thousand items at a time, and compares it with what was to be written.
//!
//! It looks for what breaks training code: broken JSON, ids that are duplicate or refer to nothing, masks whose size is
//! not that of their image, areas and boxes that are not those of the mask, and values that are not numbers. Memory
//! grows only with the number of ids.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::marker::PhantomData;
use std::path::Path;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use serde::Deserialize;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess,
    Visitor,
};
use serde_json::value::RawValue;

use super::categories::Category;
use super::coco::{CocoAnnotation, CocoDetection, Extra};
use crate::coco::{Segmentation, reason_of};
use crate::error::FileAction;
use crate::geometry::{Rle, Size};
use crate::progress::Progress;
use crate::selection::SelectedImage;
use crate::{Error, Result};

/// Entries that are checked at a time.
const AT_ONCE: usize = 4096;

/// What the file must contain.
pub(super) struct Expected<'a> {
    pub images: &'a [SelectedImage],
    pub categories: &'a [Category],
    pub annotations: u64,
}

impl Expected<'_> {
    fn check(&self, progress: &dyn Progress) -> Check {
        progress.start("annotations checked", Some(self.annotations));
        Check {
            sizes: self
                .images
                .iter()
                .map(|image| (image.id, image.size()))
                .collect(),
            categories: self.categories.iter().map(|category| category.id).collect(),
        }
    }
}

/// Checks a data set.
///
/// # Errors
/// [`Error::ExportInvalid`] with the first fault found; [`Error::File`].
pub(super) fn check_dataset(
    file: &Path,
    expected: &Expected<'_>,
    progress: &dyn Progress,
) -> Result<()> {
    let mut dataset = Dataset {
        check: expected.check(progress),
        images: expected.images.iter(),
        categories: expected.categories.iter(),
        found: 0,
        ids: HashSet::new(),
        fault: None,
        progress,
    };
    let done = read(file, |json| json.deserialize_map(&mut dataset));
    if let Some(reason) = dataset.fault {
        return Err(Error::ExportInvalid { reason });
    }
    done?;
    match (
        dataset.images.next(),
        dataset.categories.next(),
        dataset.found == expected.annotations,
    ) {
        (None, None, true) => Ok(()),
        _ => Err(incomplete(dataset.found, expected)),
    }
}

/// A data set that is being read.
struct Dataset<'a> {
    check: Check,
    /// Images that have not been read yet.
    images: std::slice::Iter<'a, SelectedImage>,
    categories: std::slice::Iter<'a, Category>,
    /// Number of annotations read so far, and their ids.
    found: u64,
    ids: HashSet<i64>,
    /// What is wrong with them.
    fault: Option<String>,
    progress: &'a dyn Progress,
}

#[derive(Deserialize)]
struct Image {
    id: i64,
    file_name: String,
    width: u32,
    height: u32,
}

impl Dataset<'_> {
    fn image(&mut self, image: &Image) -> Result<(), String> {
        let size = Size {
            height: image.height,
            width: image.width,
        };
        let same = self.images.next().is_some_and(|wanted| {
            (image.id, &image.file_name, size) == (wanted.id, &wanted.file_name, wanted.size())
        });
        if same && Path::new(&image.file_name).is_relative() {
            Ok(())
        } else {
            Err(format!(
                "image {} ('{}') is not the one chosen",
                image.id, image.file_name
            ))
        }
    }

    fn category(&mut self, category: &Category) -> Result<(), String> {
        if self.categories.next() == Some(category) {
            Ok(())
        } else {
            Err(format!(
                "category {} is not the class in its place",
                category.id
            ))
        }
    }

    /// Checks annotations. What is wrong is kept: the parser would add where it is by now, which is further on.
    fn checked(&mut self, entries: Vec<Box<RawValue>>) -> Result<(), String> {
        let done = self.annotations(entries);
        self.fault = done.clone().err();
        done
    }

    fn annotations(&mut self, entries: Vec<Box<RawValue>>) -> Result<(), String> {
        let check = &self.check;
        let ids = on_all_cores(self.found, "annotations", &entries, |it: CocoAnnotation| {
            check.annotation(&it).map(|()| it.id)
        })?;
        for (id, at) in ids.into_iter().zip(self.found..) {
            if !self.ids.insert(id) {
                return Err(format!("annotations[{at}]: its id, {id}, is there twice"));
            }
        }
        self.found += entries.len() as u64;
        self.progress.advance(entries.len() as u64);
        Ok(())
    }
}

impl<'de> Visitor<'de> for &mut Dataset<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a COCO data set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "images" => map.next_value_seed(Each::new(|image: Image| self.image(&image)))?,
                "categories" => {
                    map.next_value_seed(Each::new(|it: Category| self.category(&it)))?
                }
                "annotations" => {
                    let mut entries = Entries::default();
                    map.next_value_seed(Each::new(|it| match entries.push(it) {
                        Some(full) => self.checked(full),
                        None => Ok(()),
                    }))?;
                    self.checked(entries.0).map_err(A::Error::custom)?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Checks a list of results.
///
/// # Errors
/// Those of [`check_dataset`].
pub(super) fn check_results(
    file: &Path,
    expected: &Expected<'_>,
    progress: &dyn Progress,
) -> Result<()> {
    let check = expected.check(progress);
    let mut found = 0;
    let mut fault = None;
    let mut detections = |entries: Vec<Box<RawValue>>| {
        let checked = on_all_cores(
            found,
            "detections",
            &entries,
            |it: CocoDetection| match check.mask(it.image_id, it.category_id, &it.segmentation)? {
                Some(mask) if mask.is_empty() => Err("it has no pixel".to_owned()),
                None => Err("it has no mask".to_owned()),
                Some(_) if !it.score.is_finite() => Err("its score is no number".to_owned()),
                Some(_) => Ok(()),
            },
        );
        fault = checked.as_ref().err().cloned();
        found += entries.len() as u64;
        progress.advance(entries.len() as u64);
        checked.map(|_| ())
    };
    let done = read(file, |json| {
        let mut entries = Entries::default();
        let each = Each::new(|it| match entries.push(it) {
            Some(full) => detections(full),
            None => Ok(()),
        });
        each.deserialize(json)?;
        detections(entries.0).map_err(serde_json::Error::custom)
    });
    if let Some(reason) = fault {
        return Err(Error::ExportInvalid { reason });
    }
    done?;
    if found == expected.annotations {
        Ok(())
    } else {
        Err(incomplete(found, expected))
    }
}

/// Reads a file that holds exactly one JSON value.
fn read(file: &Path, read: impl FnOnce(&mut Json) -> Result<(), serde_json::Error>) -> Result<()> {
    let opened = File::open(file).map_err(Error::file(FileAction::Read, file))?;
    let mut json = serde_json::Deserializer::from_reader(BufReader::new(opened));
    let done = read(&mut json).and_then(|()| json.end());
    done.map_err(|err| Error::ExportInvalid {
        reason: err.to_string(),
    })
}

/// Entries that are not parsed yet, some thousand at a time.
#[derive(Default)]
struct Entries(Vec<Box<RawValue>>);

impl Entries {
    /// Adds an entry. Returns all of them when there are enough to check.
    fn push(&mut self, entry: Box<RawValue>) -> Option<Vec<Box<RawValue>>> {
        self.0.push(entry);
        (self.0.len() >= AT_ONCE).then(|| std::mem::take(&mut self.0))
    }
}

/// Parses and checks entries, of which `before` others came before, on all cores.
fn on_all_cores<T: DeserializeOwned, U: Send>(
    before: u64,
    what: &str,
    entries: &[Box<RawValue>],
    check: impl Fn(T) -> Result<U, String> + Sync,
) -> Result<Vec<U>, String> {
    let checked = entries.par_iter().enumerate().map(|(at, entry)| {
        let parsed = serde_json::from_str(entry.get()).map_err(|err| reason_of(&err));
        let checked = parsed.and_then(&check);
        checked.map_err(|err| format!("{what}[{}]: {err}", before + at as u64))
    });
    // The first fault of the file is reported, not the first that was found.
    checked.collect::<Vec<_>>().into_iter().collect()
}

type Json = serde_json::Deserializer<serde_json::de::IoRead<BufReader<File>>>;

/// Passes the items of a list to a closure, one by one.
struct Each<T, F> {
    each: F,
    item: PhantomData<T>,
}

impl<T, F: FnMut(T) -> Result<(), String>> Each<T, F> {
    fn new(each: F) -> Self {
        Self {
            each,
            item: PhantomData,
        }
    }
}

impl<'de, T: DeserializeOwned, F: FnMut(T) -> Result<(), String>> DeserializeSeed<'de>
    for Each<T, F>
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, T: DeserializeOwned, F: FnMut(T) -> Result<(), String>> Visitor<'de> for Each<T, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.each)(item).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

fn incomplete(found: u64, expected: &Expected<'_>) -> Error {
    Error::ExportInvalid {
        reason: format!(
            "it has {found} annotations, {} were written, or lacks an image or category",
            expected.annotations
        ),
    }
}

/// What entries may refer to.
struct Check {
    sizes: HashMap<i64, Size>,
    categories: HashSet<i64>,
}

impl Check {
    fn annotation(&self, it: &CocoAnnotation) -> Result<(), String> {
        if it.id < 1 {
            return Err("its id is not positive".to_owned());
        }
        if it.iscrowd > 1 || !it.area.is_finite() || it.bbox.iter().any(|side| !side.is_finite()) {
            return Err("its iscrowd, area or bbox is no number that COCO allows".to_owned());
        }
        let mask = self.mask(it.image_id, it.category_id, &it.segmentation)?;
        let of_mask = mask.map(|mask| (mask.area() as f64, mask.bbox().to_xywh()));
        // Areas and boxes of annotated objects come from the annotator, so they need not be those of the mask.
        match (&it.extra, of_mask) {
            (Extra::Predicted { .. }, Some((area, bbox)))
                if area != it.area || bbox != it.bbox || area < 1.0 =>
            {
                Err(format!(
                    "its area and box are {} and {:?}, those of its mask {area} and {bbox:?}",
                    it.area, it.bbox
                ))
            }
            (Extra::Predicted { .. }, None) => Err("it has no mask".to_owned()),
            _ => Ok(()),
        }
    }

    fn mask(&self, image: i64, category: i64, mask: &Segmentation) -> Result<Option<Rle>, String> {
        let size = self
            .sizes
            .get(&image)
            .ok_or(format!("no image has its image_id, {image}"))?;
        if !self.categories.contains(&category) {
            return Err(format!("no category has its category_id, {category}"));
        }
        mask.to_rle(*size).map_err(|err| err.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ImageId;
    use crate::progress::NoProgress;
    use serde_json::{Value, json};

    /// A correct data set with one image and one mask.
    fn right() -> Value {
        json!({
            "info": {}, "licenses": [],
            "images": [{"id": 5, "file_name": "a/b.jpg", "width": 3, "height": 2, "license": 1}],
            "categories": [{"id": 9, "name": "cat", "supercategory": "animal"}],
            "annotations": [{
                "id": 1, "image_id": 5, "category_id": 9, "iscrowd": 0, "area": 2.0, "bbox": [0.0, 0.0, 1.0, 2.0],
                "segmentation": {"size": [2, 3], "counts": "024"},
                "score": 0.5, "entropy": 0.1, "predicted_iou": 0.9, "stability_score": 0.9, "mask_index": 0,
                "extractor_id": "e"}],
        })
    }

    fn check(text: &str, results: bool) -> Result<(), String> {
        let image = SelectedImage {
            image_id: ImageId::of_bytes(b"x"),
            id: 5,
            external_id: Some(5),
            file_name: "a/b.jpg".to_owned(),
            root: "/".to_owned(),
            width: 3,
            height: 2,
            orientation: 1,
            format: "jpeg".to_owned(),
            dataset: "d".to_owned(),
            split: None,
            attributes: None,
        };
        let category = Category {
            id: 9,
            name: "cat".to_owned(),
            supercategory: "animal".to_owned(),
        };
        let expected = Expected {
            images: &[image],
            categories: &[category],
            annotations: 1,
        };
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.json");
        std::fs::write(&file, text).unwrap();
        let checked = if results {
            check_results(&file, &expected, &NoProgress)
        } else {
            check_dataset(&file, &expected, &NoProgress)
        };
        checked.map_err(|err| err.to_string())
    }

    #[test]
    fn what_a_trainer_stumbles_over_is_found() {
        assert_eq!(check(&right().to_string(), false), Ok(()));
        let changes: [(&str, Value, &str); 12] = [
            ("/annotations/0/id", json!(0), "not positive"),
            (
                "/annotations/0/image_id",
                json!(6),
                "no image has its image_id, 6",
            ),
            (
                "/annotations/0/category_id",
                json!(1),
                "no category has its category_id, 1",
            ),
            ("/annotations/0/area", json!(3.0), "those of its mask 2"),
            ("/annotations/0/bbox/0", json!(1.0), "its area and box"),
            (
                "/annotations/0/segmentation/size",
                json!([3, 2]),
                "differ in size",
            ),
            (
                "/annotations/0/segmentation/counts",
                json!("0"),
                "its area and box",
            ),
            ("/annotations/0/segmentation", json!([]), "it has no mask"),
            ("/annotations/0/iscrowd", json!(2), "iscrowd"),
            (
                "/images/0/width",
                json!(4),
                "image 5 ('a/b.jpg') is not the one chosen",
            ),
            (
                "/categories/0/name",
                json!("dog"),
                "category 9 is not the class in its place",
            ),
            (
                "/annotations",
                json!([]),
                "it has 0 annotations, 1 were written",
            ),
        ];
        for (place, value, part) in changes {
            let mut wrong = right();
            *wrong.pointer_mut(place).unwrap() = value;
            let message = check(&wrong.to_string(), false).unwrap_err();
            assert!(message.contains(part), "{place}: {message}");
            assert!(message.contains("nothing was replaced"), "{message}");
        }
        let text = right().to_string();
        assert!(check(&text[..text.len() - 20], false).is_err(), "cut off");
        assert!(
            check(&format!("{text} x"), false)
                .unwrap_err()
                .contains("trailing")
        );
    }

    #[test]
    fn the_first_fault_is_reported_however_far_it_is() {
        let mut many = right();
        let one = many["annotations"][0].clone();
        let numbered = (1..).take(AT_ONCE + 2).map(|id| {
            let mut one = one.clone();
            one["id"] = json!(id);
            one
        });
        many["annotations"] = numbered.collect();
        let last = AT_ONCE + 1;
        many["annotations"][last]["id"] = json!(7);
        let message = check(&many.to_string(), false).unwrap_err();
        let part = format!("annotations[{last}]: its id, 7, is there twice;");
        assert!(message.contains(&part), "{message}");
        for at in [AT_ONCE - 3, AT_ONCE - 1] {
            many["annotations"][at]["area"] = json!("x");
        }
        let message = check(&many.to_string(), false).unwrap_err();
        let part = format!("annotations[{}]: invalid type", AT_ONCE - 3);
        assert!(message.contains(&part), "{message}");
        assert!(!message.contains("at line"), "{message}");
    }

    #[test]
    fn results_are_held_to_the_same() {
        let right = json!([{"image_id": 5, "category_id": 9, "score": 0.5,
            "segmentation": {"size": [2, 3], "counts": "024"}}]);
        assert_eq!(check(&right.to_string(), true), Ok(()));
        for (place, value, part) in [
            ("/0/image_id", json!(6), "detections[0]: no image"),
            ("/0/score", Value::Null, "invalid type"),
            ("/0/segmentation/counts", json!("6"), "it has no pixel"),
            ("", json!([]), "it has 0 annotations"),
        ] {
            let mut wrong = right.clone();
            *wrong.pointer_mut(place).unwrap() = value;
            let message = check(&wrong.to_string(), true).unwrap_err();
            assert!(message.contains(part), "{place}: {message}");
        }
    }
}
