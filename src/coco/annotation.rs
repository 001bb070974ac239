//! Annotations and detections of COCO files. In: the text of one. Out: the values of its keys.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::mask::Segmentation;
use super::text::reason_of;
use super::value::{describe, optional_whole, required_whole, unfit, whole};
use crate::error::CocoError;

/// An entry of `annotations`.
#[derive(Debug, Clone, PartialEq)]
pub struct Annotation {
    /// Its id, unique in the file.
    pub id: Option<i64>,
    /// Id of its category.
    pub category_id: i64,
    /// The mask, if there is more than a box.
    pub segmentation: Segmentation,
    /// Area in square pixels that the annotator's polygons enclose.
    pub area: Option<f64>,
    /// Bounding box as x, y, width, height in pixels.
    pub bbox: Option<[f64; 4]>,
    /// Whether the region holds many objects that were not separated.
    pub iscrowd: bool,
    /// All other keys except `image_id`.
    pub extra: Map<String, Value>,
}

/// A detection in a results file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Detection {
    /// Id of an image of the data set.
    #[serde(deserialize_with = "whole_number")]
    pub image_id: i64,
    /// Id of a category of the data set.
    #[serde(deserialize_with = "whole_number")]
    pub category_id: i64,
    /// Confidence; higher is more confident.
    pub score: f64,
    /// The mask, if there is more than a box.
    #[serde(default)]
    pub segmentation: Segmentation,
    /// Bounding box as x, y, width, height in pixels.
    #[serde(default)]
    pub bbox: Vec<f64>,
}

fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let value = Value::deserialize(deserializer)?;
    whole(&value).ok_or_else(|| {
        let found = describe(&value);
        serde::de::Error::custom(format!("an id is {found}, expected a whole number"))
    })
}

impl Annotation {
    /// Parses the text of an annotation.
    ///
    /// # Errors
    /// [`CocoError::Value`], [`CocoError::Missing`] or [`CocoError::Segmentation`], naming the first key that does not
    /// fit; [`CocoError::Unreadable`].
    pub fn parse(text: &str) -> Result<Self, CocoError> {
        let unreadable = |err: serde_json::Error| CocoError::Unreadable {
            reason: reason_of(&err),
        };
        let parts: Parts<'_> = serde_json::from_str(text).map_err(unreadable)?;
        let small = |raw: Option<&RawValue>| -> Result<Option<Value>, CocoError> {
            let value = raw.map(|raw| serde_json::from_str::<Value>(raw.get()));
            let value = value.transpose().map_err(unreadable)?;
            Ok(value.filter(|value| !value.is_null()))
        };
        Ok(Self {
            id: optional_whole("id", small(parts.id)?.as_ref())?,
            category_id: required_whole("category_id", small(parts.category_id)?.as_ref())?,
            segmentation: match parts.segmentation {
                Some(raw) => segmentation(raw)?,
                None => Segmentation::None,
            },
            area: small(parts.area)?.map(|value| area(&value)).transpose()?,
            bbox: match small(parts.bbox)? {
                Some(value) => bbox(&value)?,
                None => None,
            },
            iscrowd: flag("iscrowd", small(parts.iscrowd)?.as_ref())?,
            extra: parts.extra,
        })
    }
}

fn flag(key: &str, value: Option<&Value>) -> Result<bool, CocoError> {
    match value {
        None => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(value) => match whole(value) {
            Some(0) => Ok(false),
            Some(1) => Ok(true),
            _ => Err(unfit(key, value, "0 or 1, true or false")),
        },
    }
}

fn segmentation(raw: &RawValue) -> Result<Segmentation, CocoError> {
    serde_json::from_str(raw.get()).map_err(|err| CocoError::Segmentation {
        reason: reason_of(&err),
    })
}

fn area(value: &Value) -> Result<f64, CocoError> {
    match value.as_f64() {
        Some(area) if area >= 0.0 => Ok(area),
        _ => Err(unfit("area", value, "a number of square pixels, 0 or more")),
    }
}

const BOX: &str = "4 numbers: x, y, width and height in pixels";

/// `None` for an empty list, which exporters write if there is no box.
fn bbox(value: &Value) -> Result<Option<[f64; 4]>, CocoError> {
    let Some(items) = value.as_array() else {
        return Err(unfit("bbox", value, BOX));
    };
    if items.is_empty() {
        return Ok(None);
    }
    let mut sides = Vec::with_capacity(4);
    for (at, item) in items.iter().enumerate() {
        match item.as_f64() {
            Some(side) => sides.push(side),
            None => return Err(unfit(format!("bbox[{at}]"), item, "a number of pixels")),
        }
    }
    match <[f64; 4]>::try_from(sides) {
        Ok(bbox) => Ok(Some(bbox)),
        Err(_) => Err(unfit("bbox", value, BOX)),
    }
}

/// The raw values of an annotation's keys. Only keys that COCO does not define are parsed.
#[derive(Default)]
struct Parts<'a> {
    id: Option<&'a RawValue>,
    category_id: Option<&'a RawValue>,
    segmentation: Option<&'a RawValue>,
    area: Option<&'a RawValue>,
    bbox: Option<&'a RawValue>,
    iscrowd: Option<&'a RawValue>,
    extra: Map<String, Value>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Parts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Keys)
    }
}

struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = Parts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parts<'de>, A::Error> {
        let mut parts = Parts::default();
        while let Some(key) = map.next_key::<String>()? {
            let place = match key.as_str() {
                "id" => &mut parts.id,
                "category_id" => &mut parts.category_id,
                "segmentation" => &mut parts.segmentation,
                "area" => &mut parts.area,
                "bbox" => &mut parts.bbox,
                "iscrowd" => &mut parts.iscrowd,
                "image_id" => {
                    map.next_value::<&RawValue>()?;
                    continue;
                }
                _ => {
                    let value = map.next_value()?;
                    parts.extra.insert(key, value);
                    continue;
                }
            };
            *place = Some(map.next_value()?);
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(rest: &str) -> Result<Annotation, String> {
        let text = format!(r#"{{"image_id": 1, "category_id": 2{rest}}}"#);
        Annotation::parse(&text).map_err(|err| err.to_string())
    }

    #[test]
    fn null_is_nothing_and_floats_are_whole() {
        let plain = parse("").unwrap();
        let nulls =
            r#", "id": null, "segmentation": null, "area": null, "bbox": null, "iscrowd": null"#;
        assert_eq!(parse(nulls).unwrap(), plain);
        assert_eq!(parse(r#", "bbox": [], "segmentation": {}"#).unwrap(), plain);
        let whole = r#"{"id": 7.0, "image_id": 1.0, "category_id": 2.0, "note": [1]}"#;
        let whole = Annotation::parse(whole).unwrap();
        assert_eq!((whole.id, whole.category_id), (Some(7), 2));
        assert_eq!(Value::from(whole.extra).to_string(), r#"{"note":[1]}"#);
    }

    #[test]
    fn crowds_are_flags_in_every_spelling() {
        for (text, expected) in [
            ("1", true),
            ("0", false),
            ("1.0", true),
            ("0.0", false),
            ("true", true),
            ("false", false),
        ] {
            let found = parse(&format!(r#", "iscrowd": {text}"#)).unwrap();
            assert_eq!(found.iscrowd, expected, "{text}");
        }
    }

    #[test]
    fn errors_name_key_and_value() {
        for (rest, part) in [
            (r#", "iscrowd": 2"#, "iscrowd is 2, expected 0 or 1"),
            (r#", "iscrowd": 0.5"#, "iscrowd is 0.5"),
            (r#", "id": 1.5"#, "id is 1.5, expected a whole number"),
            (r#", "id": "a""#, "id is the text 'a'"),
            (r#", "area": "NaN""#, "area is NaN, expected a number"),
            (r#", "area": -1"#, "area is -1, expected"),
            (r#", "bbox": "all""#, "bbox is the text 'all', expected 4"),
            (r#", "bbox": [1, 2, 3]"#, "bbox is a list of 3 items"),
            (
                r#", "bbox": [1, "-Infinity", 3, 4]"#,
                "bbox[1] is -Infinity",
            ),
            (
                r#", "segmentation": [1, 2]"#,
                "segmentation is one list of numbers",
            ),
            (r#", "area": 1e999"#, "number out of range"),
        ] {
            let message = parse(rest).unwrap_err();
            assert!(message.contains(part), "{rest}: {message}");
        }
        let message = Annotation::parse("{}").unwrap_err().to_string();
        assert_eq!(message, "category_id is missing, expected a whole number");
    }
}
