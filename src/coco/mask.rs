//! The mask of an annotation, in any encoding of COCO.

use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::value::{describe, describe_text, whole};
use crate::geometry::{Rle, Size, rle_from_polygons};
use crate::{Error, Result};

/// Key of `ground_truth.attributes` that holds polygons which cover no pixel, as they were annotated. Every other mask
/// is kept as run lengths, which cannot hold these. The key cannot clash with one of the annotation, because
/// `segmentation` is parsed into a field of its own.
pub const OUTLINE: &str = "segmentation";

/// Number of coordinates in a ring of three points.
const SHORTEST_RING: usize = 6;

/// The mask of an annotation, in any encoding of COCO.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(untagged)]
pub enum Segmentation {
    /// Flat rings x0, y0, x1, y1, ... in pixels. Several rings are parts of one object.
    Polygons(Vec<Vec<f64>>),
    /// Run lengths.
    Rle {
        /// Height and width in pixels.
        size: [u32; 2],
        /// The runs.
        counts: Counts,
    },
    /// No mask, only a box.
    #[default]
    None,
}

/// Run lengths in column-major order, starting with background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Counts {
    /// pycocotools' compressed text.
    Compressed(String),
    /// Plain numbers.
    Runs(Vec<u32>),
}

/// A ring with too few points, such as an annotator's stray click beside the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrayRing {
    /// Its position in `segmentation`, counted from 0.
    pub ring: usize,
    /// The number of its coordinates, fewer than three points have.
    pub numbers: usize,
}

impl Segmentation {
    /// Its encoding: `polygon`, `rle` or `none`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Polygons(polygons) if polygons.is_empty() => "none",
            Self::Polygons(_) => "polygon",
            Self::Rle { .. } => "rle",
        }
    }

    /// Removes rings of fewer than three points if other rings remain, and returns the removed ones.
    ///
    /// Loaders such as Detectron's drop them, too.
    pub fn take_stray_rings(&mut self) -> Vec<StrayRing> {
        let Self::Polygons(rings) = self else {
            return Vec::new();
        };
        if rings.iter().all(|ring| ring.len() < SHORTEST_RING) {
            return Vec::new();
        }
        let mut stray = Vec::new();
        let mut place = 0;
        rings.retain(|ring| {
            let is_ring = ring.len() >= SHORTEST_RING;
            if !is_ring {
                stray.push(StrayRing {
                    ring: place,
                    numbers: ring.len(),
                });
            }
            place += 1;
            is_ring
        });
        stray
    }

    /// Converts the mask to run lengths in an image of `size`. Polygons are rasterised as in pycocotools.
    ///
    /// # Errors
    /// [`Error::SizeMismatch`] for runs of another size; errors of invalid runs or polygons.
    pub fn to_rle(&self, size: Size) -> Result<Option<Rle>> {
        match self {
            Self::None => Ok(None),
            Self::Polygons(polygons) if polygons.is_empty() => Ok(None),
            Self::Polygons(polygons) => Ok(Some(rle_from_polygons(polygons, size)?)),
            Self::Rle {
                size: [height, width],
                counts,
            } => {
                let annotated = Size {
                    height: *height,
                    width: *width,
                };
                if annotated != size {
                    return Err(Error::SizeMismatch {
                        expected: size,
                        found: annotated,
                    });
                }
                let mask = match counts {
                    Counts::Compressed(counts) => Rle::from_counts_str(size, counts)?,
                    Counts::Runs(runs) => Rle::from_runs(size, runs.clone())?,
                };
                Ok(Some(mask))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Segmentation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnySpelling)
    }
}

const SPELLINGS: &str =
    "a list of polygons, each a list of numbers x, y, x, y, ..., or an RLE of size and counts";

struct AnySpelling;

impl<'de> Visitor<'de> for AnySpelling {
    type Value = Segmentation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SPELLINGS)
    }

    fn visit_unit<E>(self) -> Result<Segmentation, E> {
        Ok(Segmentation::None)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Segmentation, E> {
        Err(E::custom(format!(
            "segmentation is {}, expected {SPELLINGS}",
            describe_text(text)
        )))
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Segmentation, E> {
        Err(E::custom(format!(
            "segmentation is {flag}, expected {SPELLINGS}"
        )))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Segmentation, E> {
        Err(E::custom(format!(
            "segmentation is {number}, expected {SPELLINGS}"
        )))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Segmentation, E> {
        Err(E::custom(format!(
            "segmentation is {number}, expected {SPELLINGS}"
        )))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Segmentation, E> {
        Err(E::custom(format!(
            "segmentation is {number}, expected {SPELLINGS}"
        )))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Segmentation, A::Error> {
        let mut rings = Vec::new();
        while let Some(Ring(ring)) = items.next_element()? {
            rings.push(ring);
        }
        // Exporters write [[]] for a box without a mask.
        if rings.iter().all(Vec::is_empty) {
            Ok(Segmentation::None)
        } else {
            Ok(Segmentation::Polygons(rings))
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Segmentation, A::Error> {
        let (mut size, mut counts) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "size" => size = Some(map.next_value::<Value>()?).filter(|it| !it.is_null()),
                "counts" => counts = Some(map.next_value::<Value>()?).filter(|it| !it.is_null()),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match (size, counts) {
            (None, None) => Ok(Segmentation::None),
            (None, Some(_)) => Err(A::Error::custom(
                "segmentation has no size, expected height and width",
            )),
            (Some(_), None) => Err(A::Error::custom(
                "segmentation has no counts, expected run lengths",
            )),
            (Some(size), Some(counts)) => Ok(Segmentation::Rle {
                size: image_size(&size).map_err(A::Error::custom)?,
                counts: run_lengths(counts).map_err(A::Error::custom)?,
            }),
        }
    }
}

fn image_size(value: &Value) -> Result<[u32; 2], String> {
    let sides: Option<Vec<u32>> = value.as_array().and_then(|sides| {
        let sides = sides.iter();
        sides.map(|side| u32::try_from(whole(side)?).ok()).collect()
    });
    let sides = sides.and_then(|sides| <[u32; 2]>::try_from(sides).ok());
    sides.ok_or_else(|| {
        let found = describe(value);
        format!("segmentation has size {found}, expected height and width, two whole numbers")
    })
}

fn run_lengths(value: Value) -> Result<Counts, String> {
    let items = match value {
        Value::String(text) => return Ok(Counts::Compressed(text)),
        Value::Array(items) => items,
        other => {
            let found = describe(&other);
            return Err(format!(
                "segmentation has counts {found}, expected a text or a list of whole numbers"
            ));
        }
    };
    let mut runs = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let run = whole(item).and_then(|run| u32::try_from(run).ok());
        runs.push(run.ok_or_else(|| {
            format!(
                "segmentation has counts[{at}] {}, expected a whole number from 0 on",
                describe(item)
            )
        })?);
    }
    Ok(Counts::Runs(runs))
}

/// A polygon.
struct Ring(Vec<f64>);

impl<'de> Deserialize<'de> for Ring {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneRing)
    }
}

struct OneRing;

const FLAT: &str =
    "segmentation is one list of numbers, expected a list of such lists, one for each polygon";

impl<'de> Visitor<'de> for OneRing {
    type Value = Ring;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of numbers x, y, x, y, ...")
    }

    fn visit_unit<E>(self) -> Result<Ring, E> {
        Ok(Ring(Vec::new()))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Ring, E> {
        Err(E::custom(FLAT))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Ring, E> {
        Err(E::custom(FLAT))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Ring, E> {
        Err(E::custom(FLAT))
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Ring, E> {
        Err(E::custom(format!(
            "segmentation holds {flag}, expected {SPELLINGS}"
        )))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Ring, E> {
        let found = describe_text(text);
        Err(E::custom(format!(
            "segmentation holds {found}, expected {SPELLINGS}"
        )))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Ring, A::Error> {
        Err(A::Error::custom(format!(
            "segmentation is a list of objects, expected {SPELLINGS}"
        )))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Ring, A::Error> {
        let mut ring = Vec::new();
        while let Some(Coordinate(number)) = items.next_element()? {
            ring.push(number);
        }
        Ok(Ring(ring))
    }
}

/// A coordinate of a polygon.
struct Coordinate(f64);

impl<'de> Deserialize<'de> for Coordinate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneNumber)
    }
}

struct OneNumber;

impl<'de> Visitor<'de> for OneNumber {
    type Value = Coordinate;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Coordinate, E> {
        Ok(Coordinate(number))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Coordinate, E> {
        Ok(Coordinate(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Coordinate, E> {
        Ok(Coordinate(number as f64))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Coordinate, E> {
        Err(E::custom(
            "segmentation has a coordinate null, expected a number",
        ))
    }

    fn visit_bool<E: serde::de::Error>(self, flag: bool) -> Result<Coordinate, E> {
        Err(E::custom(format!(
            "segmentation has a coordinate {flag}, expected a number"
        )))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Coordinate, E> {
        let found = describe_text(text);
        Err(E::custom(format!(
            "segmentation has a coordinate {found}, expected a number"
        )))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Coordinate, A::Error> {
        Err(A::Error::custom(
            "segmentation has polygons of lists, expected a flat list x, y, x, y, ... for each polygon",
        ))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Coordinate, A::Error> {
        Err(A::Error::custom(
            "segmentation has polygons of objects, expected a flat list x, y, x, y, ... for each polygon",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Segmentation {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_spelling_of_a_mask_is_read() {
        assert_eq!(
            parse("[[1, 2, 3, 4.5, 5, 6]]"),
            Segmentation::Polygons(vec![vec![1.0, 2.0, 3.0, 4.5, 5.0, 6.0]])
        );
        let runs = Segmentation::Rle {
            size: [2, 3],
            counts: Counts::Runs(vec![1, 5]),
        };
        assert_eq!(parse(r#"{"size": [2, 3], "counts": [1, 5]}"#), runs);
        assert_eq!(parse(r#"{"size": [2.0, 3.0], "counts": [1.0, 5]}"#), runs);
        assert_eq!(
            parse(r#"{"counts": "15", "size": [2, 3]}"#),
            Segmentation::Rle {
                size: [2, 3],
                counts: Counts::Compressed("15".to_owned())
            }
        );
    }

    #[test]
    fn a_box_has_many_spellings() {
        for text in [
            "null",
            "[]",
            "[[]]",
            "[[], []]",
            "{}",
            "[null]",
            r#"{"size": null, "counts": null}"#,
        ] {
            assert_eq!(parse(text), Segmentation::None, "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_told_in_words() {
        for (text, part) in [
            ("[1, 2, 3, 4, 5, 6]", "is one list of numbers"),
            ("[[[1, 2], [3, 4]]]", "has polygons of lists"),
            (r#"[[{"x": 1}]]"#, "has polygons of objects"),
            (r#"[[1, "NaN"]]"#, "has a coordinate NaN, expected a number"),
            ("[[1, null]]", "has a coordinate null"),
            (r#"[{"size": [1, 1]}]"#, "is a list of objects"),
            (r#""all""#, "is the text 'all', expected a list of polygons"),
            ("3", "is 3, expected"),
            (r#"{"counts": "15"}"#, "has no size"),
            (r#"{"size": [2, 3]}"#, "has no counts"),
            (
                r#"{"size": [2], "counts": "1"}"#,
                "has size a list of 1 item",
            ),
            (
                r#"{"size": [2, 3], "counts": [1, 0.5]}"#,
                "has counts[1] 0.5",
            ),
            (r#"{"size": [2, 3], "counts": true}"#, "has counts true"),
        ] {
            let message = serde_json::from_str::<Segmentation>(text)
                .unwrap_err()
                .to_string();
            assert!(message.starts_with("segmentation "), "{text}: {message}");
            assert!(message.contains(part), "{text}: {message}");
            assert!(!message.contains("invalid type"), "{text}: {message}");
        }
    }

    #[test]
    fn stray_points_go_where_a_ring_is_left() {
        let mut mask = parse("[[5, 5], [1, 1, 5, 1, 5, 5], [], [1, 2, 3, 4, 5]]");
        let stray = |ring, numbers| StrayRing { ring, numbers };
        assert_eq!(
            mask.take_stray_rings(),
            [stray(0, 2), stray(2, 0), stray(3, 5)]
        );
        assert_eq!(mask, parse("[[1, 1, 5, 1, 5, 5]]"));
        let mut only = parse("[[5, 5]]");
        assert_eq!(only.take_stray_rings(), []);
        assert_eq!(only, parse("[[5, 5]]"));
    }
}
