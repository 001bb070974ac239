//! The regions of Label Studio as masks and boxes.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::drawn::{Drawn, ellipse, turn};
use super::label_studio_file::Item;
use crate::formats::brush;
use crate::geometry::{Rle, Size};
use crate::{Error, Result};

/// Begin of the address of a PNG that holds its data.
const PNG_DATA: &str = "data:image/png;base64,";

/// What a region covers of an image of a size; `None` for an item without a shape. Which shape it is, its values say: the type
/// may be that of the labels.
///
/// # Errors
/// [`Error::Annotation`] for values that are missing or do not fit, and for regions that cover nothing, such as points.
pub(super) fn drawn(item: &Item, size: Size) -> Result<Option<Drawn>> {
    let (across, down) = (
        f64::from(size.width) / 100.0,
        f64::from(size.height) / 100.0,
    );
    let value = &item.value;
    let degrees = value.rotation.unwrap_or(0.0);
    let filled = |ring: Vec<f64>| Drawn::filled(ring, size).map(Some);
    if item.original_width.is_none()
        && value.rle.is_none()
        && value.image_data_url.is_none()
        && value.points.is_none()
        && value.x.is_none()
    {
        return Ok(None); // it is of the image
    }
    check_image(item, size)?;
    if let Some(rle) = &value.rle {
        return Ok(Some(Drawn::Mask(brush::decode(&rle.0, size)?, None)));
    }
    if let Some(address) = &value.image_data_url {
        return Ok(Some(Drawn::Mask(bitmask(address, size)?, None)));
    }
    if let Some(points) = &value.points {
        let points = points.iter();
        return filled(points.flat_map(|[x, y]| [x * across, y * down]).collect());
    }
    match (
        value.x,
        value.y,
        value.width,
        value.height,
        value.radius_x,
        value.radius_y,
    ) {
        (Some(x), Some(y), _, _, Some(horizontal), Some(vertical)) => {
            let radii = [horizontal * across, vertical * down];
            filled(ellipse([x * across, y * down], radii, degrees))
        }
        (Some(x), Some(y), Some(width), Some(height), ..) => {
            let (x, y) = (x * across, y * down);
            let (width, height) = (width * across, height * down);
            if degrees == 0.0 {
                return Ok(Some(Drawn::Box([x, y, width, height])));
            }
            // It is turned about its first corner.
            let corners = [
                [x, y],
                [x + width, y],
                [x + width, y + height],
                [x, y + height],
            ];
            filled(corners.map(|corner| turn(corner, [x, y], degrees)).concat())
        }
        _ => Err(bad(format!(
            "a region of type '{}' is not kept: only brush masks, polygons, rectangles and ellipses are",
            item.kind
        ))),
    }
}

fn bad(reason: String) -> Error {
    Error::Annotation { reason }
}

/// Checks that a region is of the photo as it is.
fn check_image(item: &Item, size: Size) -> Result<()> {
    let sides = [
        (item.original_width, size.width),
        (item.original_height, size.height),
    ];
    if sides
        .iter()
        .any(|(said, own)| said.is_some_and(|it| it != f64::from(*own)))
    {
        return Err(bad(format!(
            "it is of an image of {} x {} pixels, and the photo has {} x {}",
            item.original_width.unwrap_or(0.0),
            item.original_height.unwrap_or(0.0),
            size.width,
            size.height
        )));
    }
    Ok(())
}

/// The pixels of a PNG that are not transparent.
fn bitmask(address: &str, size: Size) -> Result<Rle> {
    let data = address.strip_prefix(PNG_DATA);
    let data =
        data.ok_or_else(|| bad(format!("its imageDataURL does not begin with '{PNG_DATA}'")))?;
    let png = BASE64_STANDARD.decode(data.trim());
    let png = png.map_err(|err| bad(format!("its imageDataURL is no base64: {err}")))?;
    let picture = image::load_from_memory_with_format(&png, image::ImageFormat::Png);
    let picture = picture
        .map_err(|err| bad(format!("its imageDataURL: {err}")))?
        .to_rgba8();
    if picture.dimensions() != (size.width, size.height) {
        return Err(bad(format!(
            "its mask has {} x {} pixels, and the photo {} x {}",
            picture.width(),
            picture.height(),
            size.width,
            size.height
        )));
    }
    let bits: Vec<u8> = picture
        .pixels()
        .map(|pixel| u8::from(pixel.0[3] > 0))
        .collect();
    Rle::from_row_major(size, &bits)
}
