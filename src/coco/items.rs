//! Images, categories and licences of COCO files. In: a JSON object. Out: the values of its keys.

use serde_json::{Map, Value};

use super::value::{is_nothing, optional_whole, required_whole, take_text, unfit, whole};
use crate::error::CocoError;

/// An entry of `images`.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    /// Id that annotations refer to.
    pub id: i64,
    /// Path relative to the image directory, with `/` as separator.
    pub file_name: String,
    /// The name without the split's directory, if `file_name` was taken from `coco_url`, as in LVIS.
    pub other_name: Option<String>,
    /// Width in pixels; `None` if the file does not give it or gives 0.
    pub width: Option<u32>,
    /// Height in pixels; `None` if the file does not give it or gives 0.
    pub height: Option<u32>,
    /// All other keys.
    pub extra: Map<String, Value>,
}

/// An entry of `categories`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Category {
    /// Id that annotations refer to. Ids need not be consecutive.
    pub id: i64,
    /// Name.
    pub name: String,
    /// Name of a coarser category, if any.
    pub supercategory: Option<String>,
}

/// An entry of `licenses`.
#[derive(Debug, Clone, PartialEq)]
pub struct License {
    /// Id that images refer to.
    pub id: i64,
    /// All other keys.
    pub extra: Map<String, Value>,
}

impl Image {
    pub(super) fn of_object(mut map: Map<String, Value>) -> Result<Self, CocoError> {
        let id = required_whole("id", map.remove("id").as_ref())?;
        let width = side("width", map.remove("width"))?;
        let height = side("height", map.remove("height"))?;
        let (file_name, other_name) = match take_text(&mut map, "file_name")? {
            Some(name) => (name.replace('\\', "/"), None),
            None => name_in_url(&map)?,
        };
        Ok(Self {
            id,
            file_name,
            other_name,
            width,
            height,
            extra: map,
        })
    }

    /// Whether only some classes are annotated in it, with keys that name them, as in LVIS.
    pub fn is_federated(&self) -> bool {
        ["neg_category_ids", "not_exhaustive_category_ids"]
            .iter()
            .any(|key| self.extra.contains_key(*key))
    }

    /// Id of its licence, if it has one.
    pub fn license(&self) -> Option<i64> {
        self.extra.get("license").and_then(whole)
    }
}

fn side(key: &'static str, value: Option<Value>) -> Result<Option<u32>, CocoError> {
    let Some(value) = value.filter(|value| !is_nothing(value)) else {
        return Ok(None);
    };
    match whole(&value).map(u32::try_from) {
        Some(Ok(0)) => Ok(None),
        Some(Ok(side)) => Ok(Some(side)),
        _ => Err(unfit(key, &value, "a whole number of pixels")),
    }
}

/// Takes the split's directory and file name from an LVIS URL, as detectron2 does. Also returns the file name alone.
fn name_in_url(map: &Map<String, Value>) -> Result<(String, Option<String>), CocoError> {
    let missing = CocoError::Missing {
        place: String::new(),
        key: "file_name",
        expected: "a path below the image directory, or a coco_url to take it from",
    };
    let url = map.get("coco_url").and_then(Value::as_str).ok_or(missing)?;
    let mut parts = url.rsplit('/');
    match (parts.next(), parts.next()) {
        (Some(file), Some(split)) if !file.is_empty() && !split.is_empty() => {
            Ok((format!("{split}/{file}"), Some(file.to_owned())))
        }
        _ => Err(unfit(
            "coco_url",
            &url.into(),
            "an address that ends in a directory and a file name",
        )),
    }
}

impl Category {
    pub(super) fn of_object(mut map: Map<String, Value>) -> Result<Self, CocoError> {
        let id = required_whole("id", map.remove("id").as_ref())?;
        let name = take_text(&mut map, "name")?.ok_or(CocoError::Missing {
            place: String::new(),
            key: "name",
            expected: "a text",
        })?;
        Ok(Self {
            id,
            name,
            supercategory: take_text(&mut map, "supercategory")?,
        })
    }
}

impl License {
    /// `None` if it has no id, because no image can refer to it.
    pub(super) fn of_object(mut map: Map<String, Value>) -> Result<Option<Self>, CocoError> {
        let id = optional_whole("id", map.remove("id").as_ref())?;
        Ok(id.map(|id| Self { id, extra: map }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image(value: Value) -> Result<Image, String> {
        let Value::Object(map) = value else {
            panic!("no object")
        };
        Image::of_object(map).map_err(|err| err.to_string())
    }

    #[test]
    fn sizes_that_say_nothing_are_none() {
        for nothing in [json!(null), json!(0), json!(0.0), json!("NaN")] {
            let found = image(json!({"id": 1.0, "file_name": "a", "width": nothing})).unwrap();
            assert_eq!((found.id, found.width, found.height), (1, None, None));
        }
        let found = image(json!({"id": 1, "file_name": "a", "width": 64.0, "height": 48})).unwrap();
        assert_eq!((found.width, found.height), (Some(64), Some(48)));
        for (width, part) in [
            (json!(6.5), "width is 6.5"),
            (json!(-3), "width is -3"),
            (json!("6"), "width is the text '6'"),
        ] {
            let message = image(json!({"id": 1, "file_name": "a", "width": width})).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn names_are_paths_with_slashes_or_come_from_the_url() {
        let windows = image(json!({"id": 1, "file_name": r"images\a.jpg"})).unwrap();
        assert_eq!(
            (windows.file_name.as_str(), windows.other_name),
            ("images/a.jpg", None)
        );
        let url = "http://images.cocodataset.org/train2017/000000000001.jpg";
        let lvis = image(json!({"id": 1, "coco_url": url, "neg_category_ids": [2]})).unwrap();
        assert_eq!(lvis.file_name, "train2017/000000000001.jpg");
        assert_eq!(lvis.other_name.as_deref(), Some("000000000001.jpg"));
        assert!(lvis.is_federated());
        assert_eq!(lvis.extra["coco_url"], url);
        for (value, part) in [
            (json!({"id": 1}), "file_name is missing, expected a path"),
            (json!({"id": 1, "file_name": null}), "file_name is missing"),
            (
                json!({"id": 1, "coco_url": "x"}),
                "coco_url is the text 'x'",
            ),
            (
                json!({"id": 1, "file_name": 3}),
                "file_name is 3, expected a text",
            ),
            (
                json!({"file_name": "a"}),
                "id is missing, expected a whole number",
            ),
        ] {
            let message = image(value).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
    }
}
