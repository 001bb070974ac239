//! The shapes of "CVAT for images" as masks and boxes.

use super::cvat_file::Shape;
use super::drawn::{Drawn, ellipse, turn};
use crate::geometry::{Pixel, Rle, Size};
use crate::{Error, Result};

/// What a shape covers of an image of a size.
///
/// # Errors
/// [`Error::Annotation`] for values that are missing or do not fit, and for shapes that cover nothing, such as lines.
pub(super) fn drawn(shape: &Shape, size: Size) -> Result<Drawn> {
    match shape.kind.as_str() {
        "mask" => Ok(Drawn::Mask(mask(shape, size)?, None)),
        "polygon" => Drawn::filled(points(shape)?, size),
        "box" => {
            let [left, top] = [number(shape, "xtl")?, number(shape, "ytl")?];
            let [right, bottom] = [number(shape, "xbr")?, number(shape, "ybr")?];
            if right < left || bottom < top {
                return Err(bad(
                    "its right or lower side is before the left or upper one".to_owned(),
                ));
            }
            let turned = degrees(shape)?;
            if turned == 0.0 {
                return Ok(Drawn::Box([left, top, right - left, bottom - top]));
            }
            let corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
            let centre = [(left + right) / 2.0, (top + bottom) / 2.0];
            Drawn::filled(
                corners.map(|corner| turn(corner, centre, turned)).concat(),
                size,
            )
        }
        "ellipse" => {
            let centre = [number(shape, "cx")?, number(shape, "cy")?];
            let [across, down] = [number(shape, "rx")?, number(shape, "ry")?];
            Drawn::filled(ellipse(centre, [across, down], degrees(shape)?), size)
        }
        _ => Err(bad(
            "it is not kept: only masks, polygons, boxes, ellipses and tags are".to_owned(),
        )),
    }
}

fn bad(reason: String) -> Error {
    Error::Annotation { reason }
}

fn text<'a>(shape: &'a Shape, key: &str) -> Result<&'a str> {
    shape
        .get(key)
        .ok_or_else(|| bad(format!("it has no '{key}'")))
}

fn number(shape: &Shape, key: &str) -> Result<f64> {
    let text = text(shape, key)?;
    let number = text.trim().parse::<f64>().ok().filter(|it| it.is_finite());
    number.ok_or_else(|| bad(format!("{key} is '{text}', expected a number")))
}

fn degrees(shape: &Shape) -> Result<f64> {
    match shape.get("rotation") {
        Some(_) => number(shape, "rotation"),
        None => Ok(0.0),
    }
}

/// `x,y;x,y;...`, in pixels.
fn points(shape: &Shape) -> Result<Vec<f64>> {
    let text = text(shape, "points")?;
    let mut ring = Vec::new();
    for point in text.split(';') {
        let pair = point.split_once(',');
        let pair = pair.and_then(|(x, y)| {
            let number = |text: &str| text.trim().parse::<f64>().ok().filter(|it| it.is_finite());
            Some([number(x)?, number(y)?])
        });
        ring.extend(pair.ok_or_else(|| bad(format!("point '{point}', expected x,y in pixels")))?);
    }
    Ok(ring)
}

/// Runs over a box, row by row, beginning with background.
fn mask(shape: &Shape, size: Size) -> Result<Rle> {
    let whole = |key: &str| {
        let text = text(shape, key)?;
        let number = text.trim().parse::<u32>().ok();
        number.ok_or_else(|| bad(format!("{key} is '{text}', expected a number of pixels")))
    };
    let origin = Pixel {
        x: whole("left")?,
        y: whole("top")?,
    };
    let crop = Size {
        height: whole("height")?,
        width: whole("width")?,
    };
    let pixels = crop.pixels()? as usize;
    let fits =
        |start: u32, length: u32, all: u32| start.checked_add(length).is_some_and(|end| end <= all);
    if !fits(origin.x, crop.width, size.width) || !fits(origin.y, crop.height, size.height) {
        return Err(bad(format!(
            "its box of {} x {} pixels at {}, {} is not within the image of {} x {}",
            crop.width, crop.height, origin.x, origin.y, size.width, size.height
        )));
    }
    let mut bits = Vec::with_capacity(pixels);
    for (run, text) in text(shape, "rle")?.split(',').enumerate() {
        let length = text.trim().parse::<usize>().ok();
        let length = length.filter(|length| *length <= pixels - bits.len());
        let length = length.ok_or_else(|| {
            bad(format!(
                "run {} of its rle is '{}', expected runs that fill its box of {pixels} pixels",
                run + 1,
                text.trim()
            ))
        })?;
        bits.resize(bits.len() + length, u8::from(run % 2 == 1));
    }
    if bits.len() < pixels {
        return Err(bad(format!(
            "its rle covers {} pixels, and its box has {pixels}",
            bits.len()
        )));
    }
    Rle::from_row_major(crop, &bits)?.place_in(size, origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        height: 4,
        width: 5,
    };

    #[test]
    fn masks_lie_where_their_boxes_are() {
        let keys = [
            ("rle", "1, 2, 1"),
            ("left", "3"),
            ("top", "1"),
            ("width", "2"),
            ("height", "2"),
        ];
        let Drawn::Mask(mask, None) = drawn(&Shape::of("mask", &keys), SIZE).unwrap() else {
            panic!("no mask");
        };
        #[rustfmt::skip]
        let expected = [
            0, 0, 0, 0, 0,
            0, 0, 0, 0, 1,
            0, 0, 0, 1, 0,
            0, 0, 0, 0, 0,
        ];
        assert_eq!(mask.to_row_major(), expected);
    }

    #[test]
    fn values_that_do_not_fit_are_named() {
        let mask = |rle: &str, left: &str| {
            let keys = [
                ("rle", rle),
                ("left", left),
                ("top", "0"),
                ("width", "2"),
                ("height", "2"),
            ];
            drawn(&Shape::of("mask", &keys), SIZE)
                .unwrap_err()
                .to_string()
        };
        for (rle, left, said) in [
            ("1, 2", "0", "covers 3 pixels, and its box has 4"),
            ("1, 9", "0", "run 2 of its rle is '9'"),
            ("1, -1", "0", "run 2 of its rle is '-1'"),
            ("4", "4", "is not within the image of 5 x 4"),
            ("4", "-1", "left is '-1'"),
        ] {
            let found = mask(rle, left);
            assert!(found.contains(said), "{rle} {left}: {found}");
        }
        let line = Shape::of("polyline", &[("points", "1,1;2,2")]);
        let line = drawn(&line, SIZE).unwrap_err().to_string();
        assert!(line.contains("only masks, polygons"), "{line}");
    }

    #[test]
    fn a_box_that_is_turned_by_a_quarter_covers_the_same_square() {
        let keys = [
            ("xtl", "1"),
            ("ytl", "1"),
            ("xbr", "3"),
            ("ybr", "3"),
            ("rotation", "90"),
        ];
        let Drawn::Mask(mask, Some(_)) = drawn(&Shape::of("box", &keys), SIZE).unwrap() else {
            panic!("no mask");
        };
        assert_eq!(
            (mask.area(), mask.bbox().to_xywh()),
            (4, [1.0, 1.0, 2.0, 2.0])
        );
    }
}
