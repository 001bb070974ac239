//! `ingest yolo`: a directory of Ultralytics' YOLO (data.yaml, images, labels), for segmentation or detection.
//!
//! ```text
//! data.yaml                  names of the classes; path, train, val, test: folders of images, or lists of files
//! .../images/.../NAME.jpg    photos
//! .../labels/.../NAME.txt    a line for each object: CLASS X Y X Y ... (its outline) or CLASS X Y WIDTH HEIGHT (its box,
//!                            by its centre), as shares of the image's width and height
//! ```
//!
//! A photo without a file of labels shows none of the classes. Outlines are filled by parity, as pycocotools does, or as OpenCV
//! fills outlines through pixels ([`Outlines`]).

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream;
use serde_json::{Map, Value};

use super::annotation::ground_truth_row;
use super::class_names::class_set;
use super::options::IngestOptions;
use super::outcome::{IngestSummary, Outcome, Record};
use super::photo_file::{Root, check_on_disk, read_file, read_photo, taken_otherwise};
use super::pipeline;
use super::walk::{io_error, walk};
use crate::classes::add_class_set;
use crate::coco::{Annotation, Counts, Segmentation};
use crate::error::FileAction;
use crate::geometry::rle_from_pixel_ring;
use crate::ids::check_name;
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::ImageRow;
use crate::{Error, Result};

/// Name of the file that describes a directory.
const DATA_FILE: &str = "data.yaml";
/// Keys of data.yaml that name splits, if nothing else is asked for.
const SPLITS: [&str; 3] = ["train", "val", "test"];
/// Endings of the names of photos that Ultralytics reads.
const ENDINGS: [&str; 11] = [
    "bmp", "dng", "heic", "jpeg", "jpg", "mpo", "pfm", "png", "tif", "tiff", "webp",
];
/// How far a coordinate may lie outside of 0 to 1, for outlines that were rounded.
const TOLERANCE: f64 = 0.01;

/// A request to ingest a YOLO directory.
#[derive(Debug, Clone, Default)]
pub struct YoloIngest {
    /// `data.yaml`, or the directory that holds it.
    pub data: PathBuf,
    /// Where outlines run.
    pub outlines: Outlines,
    /// Options of all readers. Without a split, every one is read that data.yaml names: train, val, test, and others.
    pub options: IngestOptions,
}

/// Where the outlines of objects run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Outlines {
    /// Between pixels, as COCO's polygons and grainstore's exports do.
    #[default]
    Edges,
    /// Through the outer pixels, which belong to the object: contours of OpenCV, which Ultralytics writes. There are no boxes then: two
    /// corners are an object one pixel high or wide.
    Pixels,
}

/// Ingests a YOLO directory: its photos, with their objects as ground truth and the classes of these as labels. The classes
/// become a class set with the data set's name.
///
/// # Errors
/// [`Error::Content`] and [`Error::InvalidOption`] if data.yaml cannot be used, and errors of the store. Photos and files of
/// labels that cannot be used become rows of `failures`.
pub async fn ingest_yolo(
    store: &Store,
    request: &YoloIngest,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    let options = &request.options;
    options.validate()?;
    check_on_disk("YOLO", &request.data)?;
    let data = Data::read(&request.data)?;
    let splits = data.splits(options.split.as_deref())?;
    for split in &splits {
        check_name("split", split)?;
    }
    let mut listed = Vec::new();
    for split in splits {
        for folder in data.folders(&split)? {
            listed.push((split.clone(), folder));
        }
    }
    if listed.iter().all(|(_, folder)| folder.photos.is_empty()) {
        let splits: Vec<&str> = listed.iter().map(|(split, _)| split.as_str()).collect();
        return Err(data.bad(format!("there is no photo in {}", splits.join(", "))));
    }
    let numbered = data.names.iter().map(|(id, name)| (*id, name));
    let set = class_set(&options.dataset, numbered);
    add_class_set(store, "ingest yolo", &set, "yolo").await?;
    let photos = listed.iter().map(|(_, folder)| folder.photos.len() as u64);
    progress.start("images", Some(photos.sum()));
    let mut summary = IngestSummary::default();
    for (split, folder) in listed {
        let context = Context {
            root: folder.root,
            names: data.names.clone(),
            outlines: request.outlines,
            options: IngestOptions {
                split: Some(split),
                ..options.clone()
            },
        };
        let options = context.options.clone();
        let context = Arc::new(context);
        let read = move |file_name: String| read_item(&context, &file_name);
        let items = stream::iter(folder.photos);
        let done = pipeline::run(store, "ingest yolo", &options, items, read, progress).await;
        match done {
            Ok(done) => summary.add(done),
            Err(err) => {
                progress.finish();
                return Err(err);
            }
        }
    }
    progress.finish();
    Ok(summary)
}

/// What data.yaml says.
#[derive(Debug)]
struct Data {
    file: PathBuf,
    /// What places of splits are relative to.
    root: PathBuf,
    names: BTreeMap<i64, String>,
    all: Map<String, Value>,
}

/// Photos below one directory.
struct Folder {
    root: Root,
    photos: Vec<String>,
}

impl Data {
    fn read(path: &Path) -> Result<Self> {
        let file = if path.is_dir() {
            path.join(DATA_FILE)
        } else {
            path.to_owned()
        };
        let text = std::fs::read_to_string(&file).map_err(Error::file(FileAction::Read, &file))?;
        let bad = |reason: String| Error::Content {
            path: file.clone(),
            place: String::new(),
            reason,
        };
        let all: Value = serde_saphyr::from_str(&text).map_err(|err| bad(err.to_string()))?;
        let Value::Object(all) = all else {
            return Err(bad("expected keys, 'names' among them".to_owned()));
        };
        let names = names(&all).map_err(&bad)?;
        let beside = file.parent().unwrap_or(Path::new("")).to_owned();
        // Many files have a path of their author's machine.
        let root = match all.get("path").and_then(Value::as_str) {
            Some(path) if beside.join(path).is_dir() => beside.join(path),
            _ => beside,
        };
        Ok(Self {
            names,
            root,
            all,
            file,
        })
    }

    fn bad(&self, reason: String) -> Error {
        Error::Content {
            path: self.file.clone(),
            place: String::new(),
            reason,
        }
    }

    /// The places of a key, if any of them is there.
    fn places(&self, key: &str) -> Option<Vec<PathBuf>> {
        let texts: Vec<&str> = match self.all.get(key)? {
            Value::String(place) => vec![place],
            Value::Array(places) => places.iter().map(Value::as_str).collect::<Option<_>>()?,
            _ => return None,
        };
        let places: Vec<PathBuf> = texts.iter().map(|place| self.root.join(place)).collect();
        places.iter().any(|place| place.exists()).then_some(places)
    }

    /// The splits to read: the given one, or all that are there. Of two that are the same folder, that of its name is read.
    fn splits(&self, asked: Option<&str>) -> Result<Vec<String>> {
        let known = |key: &&String| {
            !matches!(key.as_str(), "path" | "names" | "download") && self.places(key).is_some()
        };
        let mut found: Vec<String> = self.all.keys().filter(known).cloned().collect();
        if let Some(asked) = asked {
            if found.iter().any(|split| split == asked) {
                return Ok(vec![asked.to_owned()]);
            }
            let given = self.all.get(asked).map(Value::to_string);
            return Err(Error::InvalidOption {
                what: "split",
                value: asked.to_owned(),
                expected: match given {
                    Some(place) => format!(
                        "one whose images are there; '{}' has {place}, which is not below '{}'",
                        self.file.display(),
                        self.root.display()
                    ),
                    None => format!("one of '{}': {}", self.file.display(), found.join(", ")),
                },
            });
        }
        let rank = |split: &String| {
            let mut places = self.places(split).into_iter().flatten();
            let is_named = places.any(|it| it.file_name().is_some_and(|it| it == split.as_str()));
            let place = SPLITS.iter().position(|it| it == split);
            (!is_named, place.unwrap_or(SPLITS.len()), split.clone())
        };
        let is_first = |split: &String| {
            let places = self.places(split);
            let mut same = found.iter().filter(|it| self.places(it) == places);
            same.all(|other| rank(split) <= rank(other))
        };
        let first: Vec<String> = found.iter().filter(|it| is_first(it)).cloned().collect();
        found = first;
        if found.is_empty() {
            return Err(self.bad(format!(
                "none of its splits (train, val, test) is a folder or a list of images below '{}'",
                self.root.display()
            )));
        }
        Ok(found)
    }

    /// The photos of a split, by the directory that their names are relative to.
    fn folders(&self, split: &str) -> Result<Vec<Folder>> {
        let places = self.places(split).unwrap_or_default();
        if let Some(missing) = places.iter().find(|place| !place.exists()) {
            return Err(self.bad(format!(
                "'{split}' names '{}', which is not there",
                missing.display()
            )));
        }
        let folders = places.iter().map(|place| {
            if place.is_dir() {
                return Folder::of_directory(place);
            }
            Folder::of_list(place)
        });
        folders.collect()
    }
}

impl Folder {
    fn of_directory(directory: &Path) -> Result<Self> {
        let root = Root::new(directory)?;
        let mut photos = Vec::new();
        for found in walk(root.path()) {
            let entry =
                found.map_err(|err| Error::file(FileAction::List, directory)(io_error(err)))?;
            if is_photo(entry.path()) {
                photos.push(root.file_name(entry.path())?);
            }
        }
        Ok(Self { root, photos })
    }

    /// A text file with a path a line, relative to the file.
    fn of_list(file: &Path) -> Result<Self> {
        let beside = file.parent().unwrap_or(Path::new(""));
        let root = Root::new(beside)?;
        let text = std::fs::read_to_string(file).map_err(Error::file(FileAction::Read, file))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let photos = lines.map(|line| {
            let path = Path::new(line.strip_prefix("./").unwrap_or(line));
            root.file_name(path)
        });
        let photos = photos.collect::<Result<_>>()?;
        Ok(Self { photos, root })
    }
}

fn is_photo(path: &Path) -> bool {
    let ending = path.extension().and_then(|it| it.to_str());
    ending.is_some_and(|it| ENDINGS.contains(&it.to_lowercase().as_str()))
}

/// `names`: a list, or a name for each number.
fn names(all: &Map<String, Value>) -> std::result::Result<BTreeMap<i64, String>, String> {
    let text = |value: &Value| match value {
        Value::String(name) if !name.trim().is_empty() => Ok(name.clone()),
        // A class may be called 1, true or null.
        Value::Number(_) | Value::Bool(_) | Value::Null => Ok(value.to_string()),
        _ => Err("a name of 'names' is empty or no text".to_owned()),
    };
    let mut named = BTreeMap::new();
    match all.get("names") {
        Some(Value::Array(names)) => {
            for (at, name) in (0..).zip(names) {
                named.insert(at, text(name)?);
            }
        }
        Some(Value::Object(names)) => {
            for (key, name) in names {
                let number = key.parse().ok().filter(|number| *number >= 0);
                let number = number.ok_or_else(|| {
                    format!("a key of 'names' is '{key}', expected numbers from 0 on")
                })?;
                named.insert(number, text(name)?);
            }
        }
        None => return Err("it has no 'names' of the classes".to_owned()),
        Some(other) => {
            return Err(format!(
                "'names' is {other}, expected a list of names, or a name for each number"
            ));
        }
    }
    if named.is_empty() {
        return Err("'names' is empty".to_owned());
    }
    let mut numbers: HashMap<&str, i64> = HashMap::new();
    for (number, name) in &named {
        if let Some(other) = numbers.insert(name, *number) {
            return Err(format!(
                "classes {other} and {number} of 'names' are both called '{name}'"
            ));
        }
    }
    Ok(named)
}

struct Context {
    root: Root,
    names: BTreeMap<i64, String>,
    outlines: Outlines,
    options: IngestOptions,
}

/// Reads a photo and its labels.
fn read_item(context: &Context, file_name: &str) -> Result<Outcome> {
    let photo = context.root.join(file_name)?;
    let (image, info) = read_photo(&context.root, file_name, &context.options)?;
    let labels = labels_of(&photo);
    let mut text = String::new();
    if labels.exists() {
        let read = String::from_utf8(read_file(&labels)?);
        text = read.map_err(|_| Error::Content {
            path: labels.clone(),
            place: String::new(),
            reason: "it is no UTF-8 text".to_owned(),
        })?;
    }
    let mut record = Record {
        image,
        labels: Vec::new(),
        ground_truth: None,
    };
    let mut rows = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let bad = |reason: String| Error::Content {
            path: labels.clone(),
            place: format!(" line {number}"),
            reason,
        };
        let annotation = annotation(line, &record.image, context.outlines).map_err(bad)?;
        let id = annotation.category_id;
        let class = context.names.get(&id);
        let class = class.ok_or_else(|| bad(format!("there is no class {id} in data.yaml")))?;
        let row = ground_truth_row(&record.image, annotation, class, rows.len());
        rows.push(row.map_err(|err| bad(err.to_string()))?);
        record.add_label(class, "yolo");
    }
    record.ground_truth = Some(rows);
    let failures = taken_otherwise(&record.image, &info).into_iter().collect();
    Ok(Outcome::read(record, failures))
}

/// Where the labels of a photo are: `labels` in place of the last folder `images` of its path, as Ultralytics has it.
fn labels_of(photo: &Path) -> PathBuf {
    let parts: Vec<_> = photo.components().collect();
    let folders = parts.len().saturating_sub(1);
    let mut images = parts.iter().take(folders);
    let images = images.rposition(|part| part.as_os_str() == "images");
    let renamed = parts.iter().enumerate().map(|(at, part)| match images {
        Some(images) if images == at => Path::new("labels").as_os_str(),
        _ => part.as_os_str(),
    });
    renamed.collect::<PathBuf>().with_extension("txt")
}

/// The object of a line.
fn annotation(
    line: &str,
    image: &ImageRow,
    outlines: Outlines,
) -> std::result::Result<Annotation, String> {
    let mut words = line.split_whitespace();
    let class = words.next().unwrap_or_default();
    // Some writers give the class as 3.0.
    let number = class
        .parse::<f64>()
        .ok()
        .filter(|it| *it >= 0.0 && it.fract() == 0.0);
    let number = number.ok_or_else(|| format!("the class is '{class}', expected a number"))?;
    let mut numbers = Vec::new();
    for word in words {
        let number = word.parse::<f64>().ok();
        let inside = number.filter(|it| (-TOLERANCE..=1.0 + TOLERANCE).contains(it));
        numbers.push(inside.ok_or_else(|| {
            format!("found '{word}', expected shares of width and height from 0 to 1")
        })?);
    }
    let (width, height) = (f64::from(image.width), f64::from(image.height));
    let is_outline = match outlines {
        Outlines::Edges => numbers.len() >= 6,
        // A contour of a flat object is two pixels, or one.
        Outlines::Pixels => numbers.len() >= 2,
    };
    let (segmentation, bbox) = match numbers[..] {
        [x, y, w, h] if outlines == Outlines::Edges => {
            let left = (x - w / 2.0) * width;
            let top = (y - h / 2.0) * height;
            (Segmentation::None, Some([left, top, w * width, h * height]))
        }
        _ if is_outline && numbers.len().is_multiple_of(2) => {
            let (corners, _) = numbers.as_chunks::<2>();
            let ring = corners.iter().map(|[x, y]| [x * width, y * height]);
            (segmentation(ring, image, outlines)?, None)
        }
        _ => {
            let hint = match numbers.len() {
                5 | 7.. => " (is the last a score? Ultralytics leaves it out without save_conf)",
                _ => "",
            };
            return Err(format!(
                "found {} numbers after the class, expected 4 of a box, or pairs of at least 3 corners{hint}",
                numbers.len()
            ));
        }
    };
    Ok(Annotation {
        id: None,
        category_id: number as i64,
        segmentation,
        area: None,
        bbox,
        iscrowd: false,
        extra: Map::new(),
    })
}

/// The segmentation of a ring in pixels.
fn segmentation(
    ring: impl Iterator<Item = [f64; 2]>,
    image: &ImageRow,
    outlines: Outlines,
) -> std::result::Result<Segmentation, String> {
    if outlines == Outlines::Edges {
        return Ok(Segmentation::Polygons(vec![ring.flatten().collect()]));
    }
    let size = image.size();
    // Shares are rounded, pixels are whole.
    let ring: Vec<[i32; 2]> = ring
        .map(|corner| corner.map(|at| at.round() as i32))
        .collect();
    let mask = rle_from_pixel_ring(&ring, size).map_err(|err| err.to_string())?;
    Ok(Segmentation::Rle {
        size: [size.height, size.width],
        counts: Counts::Runs(mask.runs().to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_beside_the_last_folder_of_images() {
        let of = |photo: &str| labels_of(Path::new(photo)).display().to_string();
        assert_eq!(of("/d/images/train/a.jpg"), "/d/labels/train/a.txt");
        assert_eq!(of("/images/x/images/a.b.png"), "/images/x/labels/a.b.txt");
        assert_eq!(of("/photos/images.jpg"), "/photos/images.txt");
    }

    fn read(text: &str) -> Result<Data> {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["images/train", "images/val2017"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        std::fs::write(dir.path().join("data.yaml"), text).unwrap();
        let data = Data::read(dir.path())?;
        data.splits(None).map(|splits| Data {
            all: splits.into_iter().map(|it| (it, Value::Null)).collect(),
            ..data
        })
    }

    #[test]
    fn data_files_of_many_hands_are_read() {
        let splits = |text: &str| {
            let data = read(text).unwrap();
            let splits: Vec<String> = data.all.keys().cloned().collect();
            (
                splits.join(" "),
                data.names.into_values().collect::<Vec<_>>().join(" "),
            )
        };
        let expected = ("train".to_owned(), "cat dog".to_owned());
        for text in [
            "train: images/train\nval: images/val\nnames: [cat, dog]\nnc: 2\n",
            "# made by hand\npath: /home/of/somebody\ntrain: images/train\ntest:\nnames:\n  0: cat\n  1: dog\n",
            "train: [images/train]\nval: images/train\nnames:\n  - cat\n  - 'dog'\ndownload: |\n  rm -rf /\n",
        ] {
            assert_eq!(splits(text), expected, "{text}");
        }
        let own = "names: {0: 1, 7: no}\ntrain: images/val2017\nval2017: images/val2017\n";
        assert_eq!(splits(own).0, "val2017");
        for (text, part) in [
            ("names: []\ntrain: images/train\n", "'names' is empty"),
            ("train: images/train\n", "it has no 'names'"),
            (
                "names: {a: cat}\ntrain: images/train\n",
                "expected numbers from 0 on",
            ),
            ("names: [cat]\ntrain: elsewhere\n", "none of its splits"),
            ("- 1\n", "expected keys"),
            ("names: [cat\n", "data.yaml"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
