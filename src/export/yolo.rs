//! `export yolo`: a directory that Ultralytics' YOLO trains segmentation on.
//!
//! ```text
//! data.yaml              names of the classes, and where the images of each split are
//! images/SPLIT/NAME.jpg  the photos, unless they are left where they are
//! labels/SPLIT/NAME.txt  a line for each object: CLASS X Y X Y ..., as shares of the image's width and height
//! ```
//!
//! The format has one ring for an object. Holes and further parts are joined to it by bridges of zero width, traversed once in
//! each direction, so that filling by parity (pycocotools, `ingest yolo`) restores the mask exactly. Ultralytics fills with
//! OpenCV, which also paints the pixels under a ring. Outlines lie inside of the mask's outer pixels, and bridges to holes lie in the
//! mask, so only bridges between parts are gained there, and single pixels where two outlines touch at a corner.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::coco::ExportSummary;
use super::file::Unfinished;
use super::object::Object;
use super::photos::{FORMATS, Photos, copy, plan_names, write_images};
use super::request::ExportRequest;
use super::source::{Objects, Source};
use crate::error::FileAction;
use crate::geometry::{Polygon, Rle, polygons_from_rle};
use crate::ids::check_name;
use crate::progress::Progress;
use crate::selection::SelectedImage;
use crate::store::Snapshot;
use crate::{Error, Result};

/// Name of the file that describes the directory.
const DATA_FILE: &str = "data.yaml";
/// Split of images that have none.
const NO_SPLIT: &str = "train";
/// Keys of the file that are no splits.
const KEYS: [&str; 8] = [
    "channels",
    "download",
    "flip_idx",
    "kpt_shape",
    "names",
    "nc",
    "path",
    "yaml_file",
];
/// Splits without which Ultralytics does not open a directory.
const REQUIRED: [&str; 2] = ["train", "val"];
/// Pixels by which outlines are drawn in. Ultralytics cuts decimals off and paints the pixels that it gets, too: from 3.05 to 9.95, those of
/// 3 to 9. Filling by parity rounds to fifths of a pixel, 3 to 10, and leaves the pixel at the end out. More than 0.1 would
/// move the mask there; less is lost in [`share`]'s decimals.
const INSIDE: f64 = 0.05;

/// A request for a YOLO directory.
#[derive(Debug, Clone, Default)]
pub struct YoloExport {
    /// What is exported.
    pub export: ExportRequest,
    /// Whether photos are copied.
    pub photos: Photos,
    /// The directory to write. It must be empty or new.
    pub directory: PathBuf,
}

/// Writes a YOLO directory. It appears when it is complete.
///
/// Crowds and regions that are void are left out, and objects without a mask or without pixels. An image without objects has
/// an empty file of labels, so it is an example of background.
///
/// # Errors
/// [`Error::Ids`] and errors of the catalogue and the store, as of [`export_coco`](super::export_coco); [`Error::File`] if files
/// cannot be written. Photos that cannot be read are counted as failed.
pub async fn export_yolo(
    snapshot: &Snapshot,
    request: &YoloExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let (photos, directory) = (request.photos, &request.directory);
    let source = Source::open(snapshot, &request.export.without_ids()).await?;
    let names: Vec<String> = source.categories.iter().map(|it| it.name.clone()).collect();
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
        let stems = plan_names(&images);
        let folders = Folders::create(new.path(), &images, photos)?;
        write_images(
            objects,
            &images,
            &mut summary,
            progress,
            |at, image, objects, counted| {
                let Some(stem) = stems.get(at) else {
                    return Ok(());
                };
                let text = lines(image, &objects, counted);
                if photos == Photos::Copy {
                    let (bytes, ending) = copy(&files, image, &FORMATS)?;
                    folders.write("images", image, &format!("{stem}.{ending}"), &bytes)?;
                }
                folders.write("labels", image, &format!("{stem}.txt"), text.as_bytes())
            },
            |_, ()| Ok(()),
        )?;
        let file = new.path().join(DATA_FILE);
        let text = data_yaml(&names, folders.splits.iter())?;
        fs::write(&file, text).map_err(Error::file(FileAction::Write, &file))?;
        summary.bytes = new.finish()?;
        Ok(summary)
    };
    let done = source.with_objects(progress, work).await;
    progress.finish();
    done
}

/// The split of an image in the directory.
fn split_of(image: &SelectedImage) -> &str {
    image.split.as_deref().unwrap_or(NO_SPLIT)
}

/// # Errors
/// [`Error::InvalidName`]; [`Error::SplitName`] for a key that means something else in the file.
fn check_split(split: &str) -> Result<()> {
    check_name("split", split)?;
    if KEYS.contains(&split) {
        return Err(Error::SplitName {
            split: split.to_owned(),
            reason: format!("is a key of {DATA_FILE} with another meaning"),
        });
    }
    Ok(())
}

/// The folders of each split.
struct Folders {
    root: PathBuf,
    splits: BTreeSet<String>,
}

impl Folders {
    fn create(root: &Path, images: &[SelectedImage], photos: Photos) -> Result<Self> {
        let splits = images.iter().map(|image| split_of(image).to_owned());
        // They become folders, and keys of the file.
        splits.clone().try_for_each(|split| check_split(&split))?;
        let folders = Self {
            root: root.to_owned(),
            splits: splits.collect(),
        };
        let kinds: &[&str] = match photos {
            Photos::Leave => &["labels"],
            Photos::Copy => &["labels", "images"],
        };
        for split in &folders.splits {
            for kind in kinds {
                let path = root.join(kind).join(split);
                fs::create_dir_all(&path).map_err(Error::file(FileAction::Write, &path))?;
            }
        }
        Ok(folders)
    }

    fn write(&self, kind: &str, image: &SelectedImage, name: &str, bytes: &[u8]) -> Result<()> {
        let file = self.root.join(kind).join(split_of(image)).join(name);
        fs::write(&file, bytes).map_err(Error::file(FileAction::Write, &file))
    }
}

/// The lines of an image's objects; what is left out is counted.
fn lines(image: &SelectedImage, objects: &[Object], summary: &mut ExportSummary) -> String {
    let (width, height) = (f64::from(image.width), f64::from(image.height));
    let mut text = String::new();
    for object in objects {
        let Some((class, Some(mask))) = summary.take_single(object, false) else {
            continue;
        };
        let _ = write!(text, "{class}");
        for [x, y] in one_ring(mask) {
            let _ = write!(text, " {} {}", share(x / width), share(y / height));
        }
        text.push('\n');
    }
    text
}

/// Six decimals: a hundredth of a pixel of photos of up to 10,000 pixels.
fn share(part: f64) -> String {
    let text = format!("{:.6}", part.clamp(0.0, 1.0));
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

/// The outlines of a mask as one ring, a little inside of its pixels' corners.
fn one_ring(mask: &Rle) -> Vec<[f64; 2]> {
    let mut joined: Vec<[f64; 2]> = Vec::new();
    for polygon in polygons_from_rle(mask) {
        let part = with_holes(&polygon);
        let Some(first) = part.first() else { continue };
        let distance = |it: &[f64; 2]| (it[0] - first[0]).powi(2) + (it[1] - first[1]).powi(2);
        let nearest = joined.iter().enumerate();
        let nearest = nearest.min_by(|(_, a), (_, b)| distance(a).total_cmp(&distance(b)));
        let Some((at, bridge)) = nearest.map(|(at, corner)| (at, *corner)) else {
            joined = part;
            continue;
        };
        let there_and_back = part.iter().chain([first, &bridge]).copied();
        joined.splice(at + 1..at + 1, there_and_back.collect::<Vec<_>>());
    }
    joined
}

/// A part of a mask as one ring. From each hole a bridge leads straight to the left, over pixels of the part, to the first outline
/// there.
fn with_holes(part: &Polygon) -> Vec<[f64; 2]> {
    let mut joined = drawn_in(&part.exterior);
    let mut holes: Vec<Vec<[f64; 2]>> = part.holes.iter().map(|hole| drawn_in(hole)).collect();
    // What is to the left of a hole is joined before it.
    let left = |hole: &Vec<[f64; 2]>| hole.first().map_or(0.0, |corner| corner[0]);
    holes.sort_by(|a, b| left(a).total_cmp(&left(b)));
    for hole in &holes {
        // Its leftmost corner, from which its left side leads down. The bridge begins in the middle of that side's first pixel.
        let Some([x, top]) = hole.first() else {
            continue;
        };
        let begin = [*x, top + INSIDE + 0.5];
        let lines = joined
            .iter()
            .zip(joined.iter().skip(1).chain(joined.first()));
        let to_the_left = lines.enumerate().filter(|(_, ([x0, y0], [x1, y1]))| {
            let [y, upper, lower] = [begin[1], y0.min(*y1), y0.max(*y1)];
            x0 == x1 && x0 < x && (upper..=lower).contains(&y)
        });
        let nearest = to_the_left.max_by(|(_, (a, _)), (_, (b, _))| a[0].total_cmp(&b[0]));
        let Some((at, end)) = nearest.map(|(at, (corner, _))| (at, [corner[0], begin[1]])) else {
            continue;
        };
        let round = hole.iter().skip(1).chain(hole.first()).copied();
        let there_and_back = [end, begin].into_iter().chain(round).chain([begin, end]);
        joined.splice(at + 1..at + 1, there_and_back.collect::<Vec<_>>());
    }
    joined
}

/// An outline moved by [`INSIDE`] into the mask, which lies to the right of its way.
fn drawn_in(outline: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let before = outline.last().into_iter().chain(outline);
    let after = outline.iter().skip(1).chain(outline.first());
    let corners = before.zip(outline).zip(after);
    // Lines are vertical and horizontal by turns; of the corner's two, one has its `x` and the other its `y`.
    let moved = corners.map(|((before, [x, y]), after)| {
        let (up, right) = if before[0] == *x {
            (before[1] > *y, after[0] > *x)
        } else {
            (after[1] < *y, before[0] < *x)
        };
        let inside = |is_begin: bool| if is_begin { INSIDE } else { -INSIDE };
        [x + inside(up), y + inside(right)]
    });
    moved.collect()
}

/// The text of `data.yaml`. Texts of JSON are texts of YAML.
fn data_yaml<'a>(
    names: &[String],
    splits: impl Iterator<Item = &'a String> + Clone,
) -> Result<String> {
    let mut text = String::from("# Written by grainstore. Paths are relative to this file.\n");
    let place = |split: &str| serde_json::to_string(&format!("images/{split}"));
    for split in splits.clone() {
        let _ = writeln!(text, "{}: {}", serde_json::to_string(split)?, place(split)?);
    }
    for required in REQUIRED {
        let is_there = splits.clone().any(|split| split == required);
        if let Some(other) = splits.clone().next().filter(|_| !is_there) {
            let place = place(other)?;
            let _ = writeln!(
                text,
                "{required}: {place} # there are no images of this split"
            );
        }
    }
    text.push_str("names:\n");
    for (at, name) in names.iter().enumerate() {
        let _ = writeln!(text, "  {at}: {}", serde_json::to_string(name)?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Size, rle_from_pixel_ring, rle_from_polygon};

    #[test]
    fn one_ring_restores_parts_and_holes() {
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..200 {
            let size = Size {
                height: random.u32(1..20),
                width: random.u32(1..20),
            };
            let pixels = size.height as usize * size.width as usize;
            let bitmap: Vec<u8> = (0..pixels).map(|_| u8::from(random.u8(..) < 120)).collect();
            let mask = Rle::from_row_major(size, &bitmap).unwrap();
            let (width, height) = (f64::from(size.width), f64::from(size.height));
            // As they are written and read.
            let read = |part: f64, side: f64| share(part / side).parse::<f64>().unwrap() * side;
            let ring = one_ring(&mask);
            let ring: Vec<f64> = ring
                .iter()
                .flat_map(|[x, y]| [read(*x, width), read(*y, height)])
                .collect();
            if mask.is_empty() {
                assert!(ring.is_empty());
                continue;
            }
            assert_eq!(rle_from_polygon(&ring, size).unwrap(), mask);
        }
    }

    #[test]
    fn ultralytics_paints_parts_with_holes_exactly() {
        let mut random = fastrand::Rng::with_seed(4);
        let size = Size {
            height: 40,
            width: 50,
        };
        let (mut painted, mut holes) = (0, 0);
        for _ in 0..1000 {
            let mut bitmap = vec![0; 2000];
            for value in [1, 1, 1, 0, 0, 0, 1] {
                let [left, top] = [random.usize(0..45), random.usize(0..35)];
                let [right, bottom] = [random.usize(left + 1..=50), random.usize(top + 1..=40)];
                for y in top..bottom {
                    bitmap[y * 50 + left..y * 50 + right].fill(value);
                }
            }
            let mask = Rle::from_row_major(size, &bitmap).unwrap();
            let polygons = polygons_from_rle(&mask);
            let [polygon] = &polygons[..] else { continue };
            let outlines = [&polygon.exterior].into_iter().chain(&polygon.holes);
            let corners: Vec<[u64; 2]> =
                outlines.flatten().map(|it| it.map(f64::to_bits)).collect();
            let different: std::collections::HashSet<_> = corners.iter().collect();
            if different.len() < corners.len() {
                continue; // outlines that touch at a corner
            }
            holes += polygon.holes.len();
            painted += 1;
            let ring = one_ring(&mask);
            let flat: Vec<f64> = ring.iter().flatten().copied().collect();
            assert_eq!(rle_from_polygon(&flat, size).unwrap(), mask);
            // As Ultralytics does: decimals are cut off, and OpenCV paints.
            let ring: Vec<[i32; 2]> = ring.iter().map(|it| it.map(|at| at as i32)).collect();
            assert_eq!(rle_from_pixel_ring(&ring, size).unwrap(), mask);
        }
        assert!(painted > 50 && holes > 30, "{painted} parts, {holes} holes");
    }

    #[test]
    fn names_and_splits_are_quoted() {
        let names = ["cat: \"big\"".to_owned(), "dog # small".to_owned()];
        let splits = ["my split".to_owned()];
        let text = data_yaml(&names, splits.iter()).unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "\"my split\": \"images/my split\"",
                "train: \"images/my split\" # there are no images of this split",
                "val: \"images/my split\" # there are no images of this split",
                "names:",
                "  0: \"cat: \\\"big\\\"\"",
                "  1: \"dog # small\"",
            ]
        );
    }
}
