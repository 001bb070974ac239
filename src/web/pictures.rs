//! Photos and crops of masks as JPEG files, which browsers may keep for good.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use grainstore::geometry::Rle;
use grainstore::ids::{ExtractorId, ImageId};
use grainstore::picture::{mask_tile, scaled};
use grainstore::review::MaskKey;
use image::RgbImage;
use serde::Deserialize;

use super::app::App;
use super::failure::{Answered, Failure};

/// Longer sides that photos are scaled to; every size that is made is kept.
const SIDES: [u32; 4] = [320, 640, 1280, 2560];
/// Shortest and longest side of a crop.
const CROP_SIDES: std::ops::RangeInclusive<u32> = 48..=512;
/// Photos and masks never change, so browsers may keep them.
const FOREVER: &str = "private, max-age=31536000, immutable";

/// How large a picture is asked for.
#[derive(Debug, Deserialize)]
pub struct Size {
    /// Longer side in pixels.
    side: Option<u32>,
    /// Whose masks are shown on it.
    extractor: Option<String>,
}

/// `GET /photos/IMAGE?side=1280&extractor=ID`: the photo, upright, no larger than it is, as the extractor saw it.
pub async fn photo(
    State(app): State<Arc<App>>,
    Path(image): Path<String>,
    Query(size): Query<Size>,
    headers: HeaderMap,
) -> Answered<Response> {
    let image_id = image_id(image)?;
    let asked = size.side.unwrap_or(1280);
    let side = SIDES.into_iter().find(|side| *side >= asked);
    let side = side.unwrap_or(2560);
    let extractor_id = size.extractor.filter(|it| !it.is_empty());
    let extractor_id = extractor_id.map(self::extractor_id).transpose()?;
    let seen_by = extractor_id.as_ref().map_or("", ExtractorId::as_str);
    let key = format!("{image_id}-{seen_by}-{side}");
    if is_known(&headers, &key) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let draw = move |photo: &RgbImage| {
        if photo.width().max(photo.height()) > side {
            scaled(photo, side)
        } else {
            photo.clone()
        }
    };
    let of = (&image_id, extractor_id.as_ref());
    let bytes = app.photos.encoded(key.clone(), of, draw).await?;
    Ok(jpeg(&key, &bytes))
}

/// `GET /crops/EXTRACTOR/IMAGE/MASK?side=160`: the photo around a mask, with everything else dimmed.
pub async fn crop(
    State(app): State<Arc<App>>,
    Path((extractor, image, mask_index)): Path<(String, String, i32)>,
    Query(size): Query<Size>,
    headers: HeaderMap,
) -> Answered<Response> {
    let image_id = image_id(image)?;
    let extractor_id = extractor_id(extractor)?;
    let side = size.side.unwrap_or(160);
    let side = side.clamp(*CROP_SIDES.start(), *CROP_SIDES.end());
    let key = format!("{extractor_id}-{image_id}-{mask_index}-{side}");
    if is_known(&headers, &key) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let wanted = MaskKey {
        extractor_id,
        image_id,
        mask_index,
    };
    let image_id = &wanted.image_id;
    let mask = app.photos.mask(&wanted).await?;
    let mask = mask
        .ok_or_else(|| Failure::missing(format!("image '{image_id}' has no mask {mask_index}")))?;
    let rle = Rle::try_from(&mask.rle)?;
    let draw = move |photo: &RgbImage| mask_tile(photo, &rle, side);
    let of = (image_id, Some(&wanted.extractor_id));
    let bytes = app.photos.encoded(key.clone(), of, draw).await?;
    Ok(jpeg(&key, &bytes))
}

/// An image's id in a request.
pub fn image_id(text: String) -> Answered<ImageId> {
    ImageId::try_from(text).map_err(Failure::from)
}

/// An extractor's id in a request.
pub fn extractor_id(text: String) -> Answered<ExtractorId> {
    ExtractorId::try_from(text).map_err(Failure::from)
}

fn is_known(headers: &HeaderMap, key: &str) -> bool {
    let tag = headers.get(header::IF_NONE_MATCH);
    tag.is_some_and(|tag| tag.as_bytes() == tagged(key).as_bytes())
}

fn tagged(key: &str) -> String {
    format!("\"{key}\"")
}

fn jpeg(key: &str, bytes: &[u8]) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "image/jpeg".to_owned()),
        (header::CACHE_CONTROL, FOREVER.to_owned()),
        (header::ETAG, tagged(key)),
    ];
    (headers, bytes.to_vec()).into_response()
}
