//! `collect mosaic`: images of 2 x 2 images of the store, with all their labels.
//!
//! Training images show one object in the middle, and images to annotate show several. A mosaic shows four, each cut to a
//! square around its middle. The manifest is written first; a run that goes on makes what is missing.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Cursor;
use std::path::PathBuf;

use futures::{StreamExt, stream};
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{ImageFormat, RgbImage};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::folder::{Folder, short_hash};
use super::keep::keep_made;
use crate::error::{CollectError, FileAction};
use crate::ids::ImageId;
use crate::ingest::{IngestOptions, read_manifest};
use crate::photo::{self, DecodeLimits};
use crate::progress::Progress;
use crate::schema::Table;
use crate::selection::{ImageFilter, SelectedImage, find_images};
use crate::store::rows::decode;
use crate::store::{Snapshot, Store};
use crate::task::blocking;
use crate::{Error, Result};

/// Images of a mosaic.
const TILES: usize = 4;
/// JPEG quality of the files.
const QUALITY: u8 = 95;
/// Images among which one is looked for whose labels are not in the mosaic yet.
const LOOKED_AT: usize = 32;

/// What to make.
#[derive(Debug, Clone)]
pub struct MosaicRequest {
    /// Which images to take; those without a label are left out.
    pub filter: ImageFilter,
    /// Number of mosaics.
    pub count: usize,
    /// Side of each of the four images in a mosaic, in pixels.
    pub side: u32,
    /// Seed of their choice.
    pub seed: u64,
    /// Directory of the mosaics.
    pub directory: PathBuf,
    /// Data set, purpose and split of the mosaics.
    pub options: IngestOptions,
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct MosaicSummary {
    /// Labelled images to choose from.
    pub tiles: u64,
    /// Mosaics that this run made.
    pub made: u64,
    /// Mosaics that were there before.
    pub there: u64,
    /// Mosaics that could not be made; each has a row in `failures`.
    pub failed: u64,
    /// Mosaics that were added to the store.
    pub images_added: u64,
}

/// An image with its labels.
#[derive(Debug, Clone)]
struct Tile {
    image: SelectedImage,
    labels: BTreeSet<String>,
}

/// A mosaic to make.
#[derive(Debug, Clone)]
struct Mosaic {
    file: String,
    tiles: Vec<Tile>,
}

impl Mosaic {
    fn of(number: usize, side: u32, tiles: Vec<Tile>) -> Self {
        let ids: Vec<&str> = tiles.iter().map(|it| it.image.image_id.as_str()).collect();
        let name = short_hash(&format!("{side} {}", ids.join(" ")));
        Self {
            file: format!("mosaic/{:05}-{name}.jpg", number + 1),
            tiles,
        }
    }

    fn line(&self) -> serde_json::Value {
        let labels: BTreeSet<&String> = self.tiles.iter().flat_map(|it| &it.labels).collect();
        let ids: Vec<&str> = self
            .tiles
            .iter()
            .map(|it| it.image.image_id.as_str())
            .collect();
        json!({"file": self.file, "labels": labels, "mosaic_of": ids})
    }
}

/// Chooses the images of mosaics: each as often as any other, and different labels in one mosaic where that is possible.
fn plan_mosaics(tiles: &[Tile], count: usize, side: u32, seed: u64) -> Vec<Mosaic> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut deck: Vec<&Tile> = Vec::new();
    let mut draw = |chosen: &[Tile]| {
        while deck.len() < LOOKED_AT {
            let mut next: Vec<&Tile> = tiles.iter().collect();
            random.shuffle(&mut next);
            // What is left of the pass before comes first: the deck is drawn from its end.
            next.append(&mut deck);
            deck = next;
        }
        let at = |fits: &dyn Fn(&Tile, &Tile) -> bool| {
            let near = deck.iter().rev().take(LOOKED_AT);
            let mut near = near.map(|tile| chosen.iter().all(|other| fits(tile, other)));
            near.position(|fits| fits)
        };
        let found = at(&|tile, other| tile.labels.is_disjoint(&other.labels))
            .or_else(|| at(&|tile, other| tile.image.image_id != other.image.image_id));
        deck.remove(deck.len() - 1 - found.unwrap_or(0)).clone()
    };
    (0..count)
        .map(|number| {
            let mut chosen = Vec::with_capacity(TILES);
            for _ in 0..TILES {
                let tile = draw(&chosen);
                chosen.push(tile);
            }
            Mosaic::of(number, side, chosen)
        })
        .collect()
}

/// Draws a mosaic of four photos.
fn draw_mosaic(photos: &[RgbImage], side: u32) -> RgbImage {
    let mut canvas = RgbImage::new(2 * side, 2 * side);
    let places = [(0, 0), (side, 0), (0, side), (side, side)];
    for (photo, (x, y)) in photos.iter().zip(places) {
        let short = photo.width().min(photo.height());
        let left = (photo.width() - short) / 2;
        let top = (photo.height() - short) / 2;
        let square = imageops::crop_imm(photo, left, top, short, short).to_image();
        let tile = imageops::resize(&square, side, side, FilterType::Triangle);
        imageops::replace(&mut canvas, &tile, i64::from(x), i64::from(y));
    }
    canvas
}

/// Makes mosaics and adds them to the store.
///
/// # Errors
/// [`CollectError::TooFewImages`]; [`CollectError::OtherManifest`] for a directory that was filled with other options; errors of
/// the store. A mosaic that cannot be made is a row of `failures` instead.
pub async fn collect_mosaics(
    store: &Store,
    request: &MosaicRequest,
    progress: &dyn Progress,
) -> Result<MosaicSummary> {
    request.options.validate()?;
    let tiles = tiles(&store.snapshot().await?, &request.filter).await?;
    if tiles.len() < TILES {
        return Err(CollectError::TooFewImages { found: tiles.len() }.into());
    }
    let folder = Folder::open(&request.directory)?;
    let planned = plan_mosaics(&tiles, request.count, request.side, request.seed);
    write_manifest(&folder, &planned)?;
    let mut summary = MosaicSummary {
        tiles: tiles.len() as u64,
        ..MosaicSummary::default()
    };
    let (there, missing): (Vec<Mosaic>, Vec<Mosaic>) = planned
        .into_iter()
        .partition(|it| folder.at(&it.file).is_file());
    summary.there = there.len() as u64;
    progress.start("mosaics", Some(request.count as u64));
    progress.advance(summary.there);
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get());
    let side = request.side;
    let mut made = stream::iter(missing)
        .map(|mosaic| async move {
            let file = mosaic.file.clone();
            let drawn = blocking("drawing a mosaic", move || encode(&mosaic, side));
            (file, drawn.await)
        })
        .buffered(workers);
    let mut failures = Vec::new();
    while let Some((file, drawn)) = made.next().await {
        match drawn {
            Ok(bytes) => {
                folder.write(&file, &bytes)?;
                summary.made += 1;
            }
            Err(err) => {
                progress.note(&format!("{file}: {err}"));
                failures.push((file, err.to_string()));
            }
        }
        progress.advance(1);
    }
    progress.finish();
    summary.failed = failures.len() as u64;
    let added = keep_made(store, &folder, &request.options, &failures, progress).await?;
    summary.images_added = added.images_added;
    summary.failed += added.failed;
    Ok(summary)
}

/// The labelled images that a filter selects, ordered by id. Mosaics are none of them.
async fn tiles(snapshot: &Snapshot, filter: &ImageFilter) -> Result<Vec<Tile>> {
    #[derive(Deserialize)]
    struct Label {
        image_id: ImageId,
        label: String,
    }
    let mut labels: HashMap<ImageId, BTreeSet<String>> = HashMap::new();
    let columns = ["image_id", "label"];
    let batches = snapshot.scan(Table::Labels).await?.project(&columns)?;
    for batch in batches.collect().await? {
        for row in decode::<Label>(Table::Labels, &batch)? {
            labels.entry(row.image_id).or_default().insert(row.label);
        }
    }
    let is_mosaic = |image: &SelectedImage| {
        let attributes = image.attributes.as_deref().unwrap_or_default();
        attributes.contains("\"mosaic_of\"")
    };
    let images = find_images(snapshot, filter, |image| !is_mosaic(image)).await?;
    let mut tiles: Vec<Tile> = images
        .into_iter()
        .filter_map(|image| {
            let labels = labels.remove(&image.image_id)?;
            Some(Tile { image, labels })
        })
        .collect();
    tiles.sort_by(|one, other| one.image.image_id.cmp(&other.image.image_id));
    Ok(tiles)
}

/// Writes the manifest, unless the directory has one of other mosaics.
fn write_manifest(folder: &Folder, planned: &[Mosaic]) -> Result<()> {
    if folder.manifest().exists() {
        let files: HashSet<&str> = planned.iter().map(|it| it.file.as_str()).collect();
        for image in read_manifest(&folder.manifest())? {
            if !files.contains(image.file.as_str()) {
                let ids = image.attributes.get("mosaic_of").cloned();
                return Err(CollectError::OtherManifest {
                    path: folder.manifest(),
                    line: image.line,
                    file: image.file,
                    what: format!("mosaic of {}", ids.unwrap_or_default()),
                }
                .into());
            }
        }
    }
    let lines: Vec<String> = planned
        .iter()
        .map(|it| format!("{}\n", it.line()))
        .collect();
    folder.write(super::MANIFEST, lines.concat().as_bytes())
}

fn encode(mosaic: &Mosaic, side: u32) -> Result<Vec<u8>> {
    let photos = mosaic.tiles.iter().map(|tile| {
        let path = tile.image.path();
        let bytes = std::fs::read(&path).map_err(Error::file(FileAction::Read, &path))?;
        Ok(photo::decode(&bytes, &DecodeLimits::default())?)
    });
    let photos: Vec<RgbImage> = photos.collect::<Result<_>>()?;
    let canvas = draw_mosaic(&photos, side);
    let mut bytes = Cursor::new(Vec::new());
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    canvas
        .write_with_encoder(encoder)
        .map_err(|err| Error::EncodeImage {
            reason: format!("{}: {err}", ImageFormat::Jpeg.to_mime_type()),
        })?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tile(number: usize, label: &str) -> Tile {
        Tile {
            image: SelectedImage {
                image_id: ImageId::of_bytes(&number.to_le_bytes()),
                id: 0,
                external_id: None,
                file_name: format!("{number}.png"),
                root: String::new(),
                width: 4,
                height: 2,
                orientation: 1,
                format: "png".to_owned(),
                dataset: "d".to_owned(),
                split: None,
                attributes: None,
            },
            labels: BTreeSet::from([label.to_owned()]),
        }
    }

    #[test]
    fn every_image_is_used_as_often_and_labels_differ_in_a_mosaic() {
        let labels = ["a", "b", "c", "d", "e"];
        let tiles: Vec<Tile> = (0..40).map(|n| tile(n, labels[n % 5])).collect();
        let mosaics = plan_mosaics(&tiles, 20, 8, 3);
        let mut used: HashMap<String, usize> = HashMap::new();
        for mosaic in &mosaics {
            let labels: BTreeSet<&String> = mosaic.tiles.iter().flat_map(|it| &it.labels).collect();
            assert_eq!(labels.len(), 4, "{}", mosaic.file);
            for tile in &mosaic.tiles {
                *used.entry(tile.image.file_name.clone()).or_default() += 1;
            }
        }
        assert_eq!(used.len(), 40);
        assert!(
            used.values().all(|times| (1..=3).contains(times)),
            "{used:?}"
        );
        let again = plan_mosaics(&tiles, 20, 8, 3);
        let files = |all: &[Mosaic]| all.iter().map(|it| it.file.clone()).collect::<Vec<_>>();
        assert_eq!(files(&again), files(&mosaics));
    }

    #[test]
    fn a_mosaic_shows_the_middles_of_four_photos() {
        let colors = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]];
        let photos: Vec<RgbImage> = colors
            .iter()
            .map(|color| {
                RgbImage::from_fn(8, 4, |x, _| {
                    image::Rgb(if (2..6).contains(&x) { *color } else { [77; 3] })
                })
            })
            .collect();
        let canvas = draw_mosaic(&photos, 6);
        assert_eq!(canvas.dimensions(), (12, 12));
        for (color, (x, y)) in colors.iter().zip([(0, 0), (11, 0), (0, 11), (11, 11)]) {
            assert_eq!(canvas.get_pixel(x, y).0, *color);
        }
    }
}
