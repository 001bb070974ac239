//! Contact sheets: a crop around each of some masks, in a grid, with a caption each.
//!
//! In: masks, or whole images, of a store. Out: one picture. A mask keeps its colours and gets an outline; the rest of
//! its crop is dimmed.

use std::collections::{BTreeMap, HashMap};

use datafusion::prelude::{col, lit};
use futures::StreamExt;
use image::{Rgb, RgbImage, imageops};
use rayon::prelude::*;
use serde::Deserialize;

use super::color::mix;
use super::overlay::scaled;
use super::panels::{Panel, in_grid, sheet};
use super::turn_of;
use crate::Result;
use crate::catalogue::decoding_of;
use crate::geometry::{Pixel, Rle, Size};
use crate::ids::{ExtractorId, ImageId};
use crate::photo::{self, Decoding};
use crate::progress::Progress;
use crate::schema::Table;
use crate::selection::{ImageFilter, SelectedImage, find_images};
use crate::store::rows::{RleRow, decode};
use crate::store::{PhotoFiles, Snapshot, is_of_images};
use crate::task::blocking;

/// Factor on the sides of a mask's box.
const CONTEXT: f64 = 1.3;
/// Minimum side of a crop in pixels of the photo, so that small masks are seen with what is around them.
const MIN_SIDE: f64 = 24.0;
/// Weight of black over what is not the mask, 0 to 1.
const DIM: f32 = 0.6;
const BLACK: Rgb<u8> = Rgb([0; 3]);
const OUTLINE: Rgb<u8> = Rgb([255, 220, 0]);
/// What is shown in place of a photo that cannot be read.
const NOTHING: Rgb<u8> = Rgb([225; 3]);

/// A mask, or a whole image, on a contact sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// The image.
    pub image_id: ImageId,
    /// The mask's extractor and index; `None` for the whole image.
    pub mask: Option<(ExtractorId, i32)>,
    /// The line of text above it.
    pub caption: String,
}

/// What to draw on a contact sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetRequest {
    /// The tiles, in order.
    pub tiles: Vec<Tile>,
    /// Longer side of each tile's picture in pixels.
    pub side: u32,
}

/// A contact sheet.
#[derive(Debug, Clone)]
pub struct ContactSheet {
    /// The picture.
    pub picture: RgbImage,
    /// Number of tiles whose photo could not be read; they are grey.
    pub failed: u64,
}

/// Masks of a store, by image, extractor and index.
type Masks = HashMap<(ImageId, ExtractorId, i32), Rle>;

/// Draws a contact sheet. A photo that cannot be read is reported to `progress`.
///
/// # Examples
/// ```
/// use grainstore::neighbours::Neighbours;
/// use grainstore::picture::{SheetRequest, Tile, contact_sheet};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(
/// #     snapshot: &grainstore::store::Snapshot,
/// #     found: Neighbours,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let tiles = found.rows.into_iter().map(|row| Tile {
///     caption: format!("{:.3}", row.similarity),
///     mask: row.extractor_id.zip(row.mask_index),
///     image_id: row.image_id,
/// });
/// let request = SheetRequest { tiles: tiles.collect(), side: 200 };
/// contact_sheet(snapshot, &request, &NoProgress).await?.picture.save("alike.png")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`crate::Error::EncodeImage`] if the built-in font cannot be read; errors from the store.
pub async fn contact_sheet(
    snapshot: &Snapshot,
    request: &SheetRequest,
    progress: &dyn Progress,
) -> Result<ContactSheet> {
    let SheetRequest { tiles, side } = request;
    let side = *side;
    let images = ImageFilter {
        ids: Some(tiles.iter().map(|tile| tile.image_id.clone()).collect()),
        ..ImageFilter::default()
    };
    let images = find_images(snapshot, &images, |_| true).await?;
    let masks = masks_of(snapshot, tiles).await?;
    let mut decodings = HashMap::new();
    for (extractor_id, _) in tiles.iter().filter_map(|tile| tile.mask.as_ref()) {
        if !decodings.contains_key(extractor_id) {
            let decoding = decoding_of(snapshot, extractor_id).await?;
            decodings.insert(extractor_id.clone(), decoding);
        }
    }
    // The tiles of an image are drawn together, so that its photo is read once.
    let mut of_image: BTreeMap<ImageId, Vec<(usize, Tile)>> = BTreeMap::new();
    for (at, tile) in tiles.iter().enumerate() {
        let of_image = of_image.entry(tile.image_id.clone()).or_default();
        of_image.push((at, tile.clone()));
    }
    progress.start("pictures", Some(of_image.len() as u64));
    let files = snapshot.store().photos();
    let drawn = blocking("drawing a contact sheet", move || {
        let drawn = of_image.into_par_iter().map(|(image_id, tiles)| {
            let image = images.iter().find(|image| image.image_id == image_id);
            let _turn = image.and_then(turn_of);
            // The photo as the extractor of the first of its masks saw it.
            let extractor = tiles.iter().find_map(|(_, tile)| tile.mask.as_ref());
            let decoding = extractor.and_then(|(id, _)| decodings.get(id));
            let decoding = decoding.copied().unwrap_or_default();
            let photo = image
                .map(|image| photo_of(&files, image, &decoding))
                .transpose();
            let failed = photo.as_ref().err().map(|err| {
                let name = image.map_or("", |image| image.file_name.as_str());
                format!("{name}: {err}")
            });
            let photo = photo.ok().flatten();
            let panels: Vec<(usize, Panel)> = tiles
                .into_iter()
                .map(|(at, tile)| (at, panel(tile, photo.as_ref(), &masks, side)))
                .collect();
            (panels, failed, photo.is_none())
        });
        Ok(drawn.collect::<Vec<_>>())
    })
    .await?;
    let (mut panels, mut failed) = (Vec::with_capacity(tiles.len()), 0);
    for (of_image, reason, is_missing) in drawn {
        progress.advance(1);
        if let Some(reason) = reason {
            progress.note(&reason);
        }
        if is_missing {
            failed += of_image.len() as u64;
        }
        panels.extend(of_image);
    }
    progress.finish();
    panels.sort_by_key(|(at, _)| *at);
    let panels = panels.into_iter().map(|(_, panel)| panel).collect();
    let picture = blocking("drawing a contact sheet", move || sheet(&in_grid(panels))).await?;
    Ok(ContactSheet { picture, failed })
}

/// Reads the masks of some tiles. A mask that is not there is left out.
async fn masks_of(snapshot: &Snapshot, tiles: &[Tile]) -> Result<Masks> {
    #[derive(Deserialize)]
    struct Mask {
        extractor_id: ExtractorId,
        image_id: ImageId,
        mask_index: i32,
        rle: RleRow,
    }
    let wanted = tiles.iter().filter_map(|tile| {
        tile.mask
            .as_ref()
            .map(|(_, index)| (&tile.image_id, *index))
    });
    let (images, mut indices): (Vec<&ImageId>, Vec<i32>) = wanted.unzip();
    if images.is_empty() {
        return Ok(Masks::new());
    }
    indices.sort_unstable();
    indices.dedup();
    let indices = indices.into_iter().map(lit).collect();
    let condition = is_of_images(images).and(col("mask_index").in_list(indices, false));
    let columns = ["extractor_id", "image_id", "mask_index", "rle"];
    let scan = snapshot.scan(Table::Masks).await?.project(&columns)?;
    let mut rows = scan.filter(condition).stream().await?;
    let mut masks = Masks::new();
    while let Some(batch) = rows.next().await {
        for row in decode::<Mask>(Table::Masks, &batch?)? {
            let key = (row.image_id, row.extractor_id, row.mask_index);
            masks.insert(key, Rle::try_from(&row.rle)?);
        }
    }
    Ok(masks)
}

fn photo_of(files: &PhotoFiles, image: &SelectedImage, decoding: &Decoding) -> Result<RgbImage> {
    let bytes = files.read_ingested(&image.root, &image.file_name, &image.image_id)?;
    Ok(photo::render(&bytes, decoding)?)
}

fn panel(tile: Tile, photo: Option<&RgbImage>, masks: &Masks, side: u32) -> Panel {
    let mask = tile
        .mask
        .and_then(|(extractor, index)| masks.get(&(tile.image_id, extractor, index)));
    let picture = match (photo, mask) {
        (Some(photo), Some(mask)) => mask_tile(photo, mask, side),
        (Some(photo), None) => scaled(photo, side),
        (None, _) => RgbImage::from_pixel(side, side, NOTHING),
    };
    Panel {
        caption: tile.caption,
        picture,
    }
}

/// The crop of a photo around a mask, scaled so that its longer side is `side` pixels, with everything but the mask
/// dimmed.
pub fn mask_tile(photo: &RgbImage, mask: &Rle, side: u32) -> RgbImage {
    let (origin, size) = crop_around(mask, photo);
    let crop = imageops::crop_imm(photo, origin.x, origin.y, size.width, size.height).to_image();
    let mut picture = scaled(&crop, side);
    let inside = mask.window(origin, size);
    let (width, height) = picture.dimensions();
    // The pixel of the crop under the centre of one of the picture.
    let under = |at: u32, pixels: u32, of: u32| {
        let middle = (2 * u64::from(at) + 1) * u64::from(of);
        (middle / (2 * u64::from(pixels.max(1)))).min(u64::from(of.max(1)) - 1) as usize
    };
    let is_inside = |x: u32, y: u32| {
        let (x, y) = (under(x, width, size.width), under(y, height, size.height));
        inside.get(y * size.width as usize + x) == Some(&1)
    };
    // Beyond the picture there is no outline.
    let is_outside = |x: Option<u32>, y: Option<u32>| match (x, y) {
        (Some(x), Some(y)) if x < width && y < height => !is_inside(x, y),
        _ => false,
    };
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        if !is_inside(x, y) {
            *pixel = mix(*pixel, BLACK, DIM);
        } else if is_outside(x.checked_sub(1), Some(y))
            || is_outside(Some(x + 1), Some(y))
            || is_outside(Some(x), y.checked_sub(1))
            || is_outside(Some(x), Some(y + 1))
        {
            *pixel = OUTLINE;
        }
    }
    picture
}

/// The box of a mask, grown about its centre and cut off at the photo's edge; whole pixels, at least one.
fn crop_around(mask: &Rle, photo: &RgbImage) -> (Pixel, Size) {
    let bbox = mask.bbox();
    let range = |start: f64, length: f64, limit: u32| {
        let grown = (length * CONTEXT).max(MIN_SIDE);
        let first = start + (length - grown) / 2.0;
        let last = limit.saturating_sub(1);
        let from = (first.floor().max(0.0) as u32).min(last);
        let to = ((first + grown).ceil() as u32).clamp(from + 1, limit.max(from + 1));
        (from, to - from)
    };
    let (x, width) = range(bbox.x, bbox.width, photo.width());
    let (y, height) = range(bbox.y, bbox.height, photo.height());
    (Pixel { x, y }, Size { height, width })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        height: 60,
        width: 100,
    };

    /// Columns 30 to 69 and rows 20 to 39.
    fn rectangle() -> Rle {
        let inside = |x: u32, y: u32| (30..70).contains(&x) && (20..40).contains(&y);
        let rows = (0..SIZE.height).flat_map(|y| (0..SIZE.width).map(move |x| (x, y)));
        let bitmap: Vec<u8> = rows.map(|(x, y)| u8::from(inside(x, y))).collect();
        Rle::from_row_major(SIZE, &bitmap).unwrap()
    }

    fn photo() -> RgbImage {
        RgbImage::from_pixel(SIZE.width, SIZE.height, Rgb([100, 150, 200]))
    }

    #[test]
    fn crops_show_what_is_around_the_mask() {
        let (origin, size) = crop_around(&rectangle(), &photo());
        // 40 x 1.3 = 52 wide, 20 x 1.3 = 26 high, about the middle at 50, 30.
        assert_eq!((origin.x, size.width), (24, 52));
        assert_eq!((origin.y, size.height), (17, 26));
        let dot = {
            let mut bitmap = vec![0; 6000];
            bitmap[0] = 1;
            Rle::from_row_major(SIZE, &bitmap).unwrap()
        };
        let (origin, size) = crop_around(&dot, &photo());
        assert_eq!((origin.x, origin.y), (0, 0), "cut off at the corner");
        assert_eq!((size.width, size.height), (13, 13));
        let empty = Rle::empty(SIZE).unwrap();
        let (_, size) = crop_around(&empty, &RgbImage::new(1, 1));
        assert_eq!((size.width, size.height), (1, 1));
    }

    #[test]
    fn the_mask_keeps_its_colours_and_the_rest_is_dimmed() {
        for side in [26, 52, 208] {
            let picture = mask_tile(&photo(), &rectangle(), side);
            assert_eq!(picture.width(), side);
            assert_eq!(picture.height(), side / 2);
            let scale = f64::from(side) / 52.0;
            // In pixels of the photo.
            let at = |x: f64, y: f64| {
                let (x, y) = ((x - 24.0) * scale, (y - 17.0) * scale);
                picture.get_pixel(x as u32, y as u32).0
            };
            assert_eq!(at(50.0, 30.0), [100, 150, 200], "inside, {side}");
            assert_eq!(at(26.0, 30.0), [40, 60, 80], "outside, {side}");
            let outline = picture.pixels().filter(|pixel| **pixel == OUTLINE).count();
            let expected = f64::from(2 * (40 + 20)) * scale - 4.0;
            assert!(
                (outline as f64 - expected).abs() <= 6.0,
                "{outline} {expected}"
            );
        }
    }

    #[test]
    fn a_mask_that_reaches_the_edge_has_no_outline_there() {
        let full = Rle::full(SIZE).unwrap();
        let picture = mask_tile(&photo(), &full, 100);
        assert_eq!(picture.dimensions(), (100, 60));
        assert!(picture.pixels().all(|pixel| pixel.0 == [100, 150, 200]));
    }

    #[test]
    fn what_cannot_be_read_is_a_grey_tile() {
        let tile = Tile {
            image_id: ImageId::of_bytes(b"photo"),
            mask: Some((ExtractorId::of_bytes(b"model"), 3)),
            caption: "0.93 a.jpg".to_owned(),
        };
        let none = panel(tile.clone(), None, &Masks::new(), 40);
        assert_eq!(none.caption, "0.93 a.jpg");
        assert!(none.picture.pixels().all(|pixel| *pixel == NOTHING));
        let whole = panel(tile, Some(&photo()), &Masks::new(), 50);
        assert_eq!(whole.picture.dimensions(), (50, 30), "without its mask");
    }
}
