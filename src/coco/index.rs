//! A COCO data set whose annotations are not parsed yet. In: the text of a file. Out: the position of every annotation in it. Of the
//! annotations, one at a time is in memory.

use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::ops::Range;
use std::rc::Rc;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, de};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::items::{Category, Image, License};
use super::text::{not_json, reason_of};
use super::value::{describe_text, optional_whole, required_whole, unfit, whole};
use crate::error::CocoError;

/// Number of keys that an error lists for a file that is not a data set.
const KEYS_SHOWN: usize = 6;

/// A COCO data set whose annotations are not parsed yet.
#[derive(Debug, Default)]
pub struct DatasetIndex {
    /// `images`, in file order.
    pub images: Vec<Image>,
    /// `categories`, in file order.
    pub categories: Vec<Category>,
    /// `licenses` that have an id.
    pub licenses: Vec<License>,
    /// The position of each annotation in the text, and the keys needed to assign it.
    pub annotations: Vec<AnnotationIndex>,
    /// Images and annotations that cannot be assigned.
    pub unusable: Vec<Unusable>,
}

/// An annotation that was found but not parsed.
#[derive(Debug, Clone, PartialEq)]
pub struct AnnotationIndex {
    /// Its position in `annotations`, counted from 0.
    pub position: usize,
    /// `id`, if it has one.
    pub id: Option<i64>,
    /// `image_id`.
    pub image_id: i64,
    /// `category_id`, if it is a whole number.
    pub category_id: Option<i64>,
    /// Its byte range in the text.
    pub text: Range<usize>,
}

/// An image or annotation that cannot be assigned.
#[derive(Debug, Clone, PartialEq)]
pub struct Unusable {
    /// Its name, such as `images[3]` or `annotations[7]`.
    pub item: String,
    /// Why it cannot be used.
    pub reason: CocoError,
    /// The id of an image, if it is known.
    pub image_id: Option<i64>,
}

/// The content of a file.
#[derive(Default)]
struct Lists {
    images: Option<Vec<Piece>>,
    categories: Option<Vec<Piece>>,
    licenses: Option<Vec<Piece>>,
    annotations: Option<Annotations>,
    /// All keys of the file.
    keys: Vec<String>,
}

/// An item of a list, and where it begins in the text.
struct Piece {
    raw: Box<RawValue>,
    start: usize,
}

#[derive(Default)]
struct Annotations {
    placed: Vec<AnnotationIndex>,
    unusable: Vec<Unusable>,
    /// Why the file is none of a data set, by its first annotation.
    other_kind: Option<CocoError>,
}

/// The keys needed to assign an annotation.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    image_id: Option<&'a RawValue>,
    #[serde(borrow)]
    category_id: Option<&'a RawValue>,
    /// Only annotations in caption files have this key.
    caption: Option<IgnoredAny>,
    /// Only panoptic annotations have this key.
    segments_info: Option<IgnoredAny>,
}

impl DatasetIndex {
    /// Builds the index of a data set from its text.
    ///
    /// # Errors
    /// [`CocoError`]: broken JSON, with line and column; a file of another kind; an invalid category; or no usable item
    /// among the images or among the annotations.
    pub fn parse(text: &str) -> Result<Self, CocoError> {
        if text.trim_start().starts_with('[') {
            return Err(foreign(
                "it is a list, as detections are: COCO results and not a data set",
            ));
        }
        if !text.trim_start().starts_with('{') {
            return Err(foreign("the text does not begin with '{'"));
        }
        let lists = Lists::read(text.as_bytes()).map_err(|err| not_json(&err, text))?;
        Self::of(lists, |piece| line_of(text, piece))
    }

    /// Builds the index of a data set, as [`DatasetIndex::parse`], while its text is read. `None` if it is no data set: why, only the
    /// whole text can say.
    pub(super) fn read(text: impl BufRead) -> Option<Self> {
        let lists = Lists::read(text).ok()?;
        Self::of(lists, |_| String::new()).ok()
    }

    fn of(lists: Lists, line_of: impl Fn(&Piece) -> String) -> Result<Self, CocoError> {
        let annotations = lists.annotations.unwrap_or_default();
        if let Some(other) = annotations.other_kind {
            return Err(other);
        }
        let Some(images) = lists.images else {
            return Err(foreign(&without("images", &lists.keys)));
        };
        // A list of images may have no categories.
        let none = annotations.placed.is_empty() && annotations.unusable.is_empty();
        if lists.categories.is_none() && !none {
            return Err(foreign(&without("categories", &lists.keys)));
        }
        let mut index = Self::default();
        index.add_images(&images)?;
        for (position, piece) in lists.categories.unwrap_or_default().iter().enumerate() {
            let found = object(&piece.raw).and_then(Category::of_object);
            let place = || format!("categories[{position}], {}", line_of(piece));
            index
                .categories
                .push(found.map_err(|err| err.at(&place()))?);
        }
        for (position, piece) in lists.licenses.unwrap_or_default().iter().enumerate() {
            let found = object(&piece.raw).and_then(License::of_object);
            let place = || format!("licenses[{position}], {}", line_of(piece));
            index
                .licenses
                .extend(found.map_err(|err| err.at(&place()))?);
        }
        let none = annotations.placed.is_empty() && !annotations.unusable.is_empty();
        index.annotations = annotations.placed;
        index.unusable.extend(annotations.unusable);
        index.refuse_if_all_are_unusable(none)?;
        Ok(index)
    }

    /// Ids of the categories that annotations use.
    pub fn used_categories(&self) -> HashSet<i64> {
        self.annotations
            .iter()
            .filter_map(|it| it.category_id)
            .collect()
    }

    fn add_images(&mut self, images: &[Piece]) -> Result<(), CocoError> {
        for (position, piece) in images.iter().enumerate() {
            let map = object(&piece.raw);
            let id = map.as_ref().ok().and_then(|map| map.get("id"));
            let id = id.and_then(whole);
            match map.and_then(Image::of_object) {
                Ok(image) => self.images.push(image),
                Err(reason) => self.unusable.push(Unusable {
                    item: format!("images[{position}]"),
                    reason,
                    image_id: id,
                }),
            }
        }
        self.refuse_if_all_are_unusable(self.images.is_empty())
    }

    /// If no item is usable, the fault is in the file, not in the items.
    fn refuse_if_all_are_unusable(&self, none: bool) -> Result<(), CocoError> {
        match self.unusable.last() {
            Some(last) if none => Err(last.reason.clone().at(&last.item)),
            _ => Ok(()),
        }
    }
}

impl Annotations {
    fn add(&mut self, position: usize, piece: &Piece) {
        let raw = &piece.raw;
        if position == 0 {
            self.other_kind = check_kind(raw).err();
        }
        match head(raw) {
            Ok((id, image_id, category_id)) => self.placed.push(AnnotationIndex {
                position,
                id,
                image_id,
                category_id,
                text: piece.start..piece.start + raw.get().len(),
            }),
            Err(reason) => self.unusable.push(Unusable {
                item: format!("annotations[{position}]"),
                reason,
                image_id: None,
            }),
        }
    }
}

fn foreign(reason: &str) -> CocoError {
    CocoError::NotADataset {
        reason: reason.to_owned(),
    }
}

fn without(key: &str, keys: &[String]) -> String {
    if keys.is_empty() {
        return format!("it has no '{key}', and no other keys");
    }
    let mut shown: Vec<String> = keys.iter().map(|key| format!("'{key}'")).collect();
    if shown.len() > KEYS_SHOWN {
        shown.truncate(KEYS_SHOWN);
        shown.push("...".to_owned());
    }
    format!("it has no '{key}', but {}", shown.join(", "))
}

/// Rejects COCO files of other tasks.
fn check_kind(first: &RawValue) -> Result<(), CocoError> {
    let Ok(head) = serde_json::from_str::<Head<'_>>(first.get()) else {
        return Ok(());
    };
    if head.segments_info.is_some() {
        return Err(CocoError::OtherKind {
            kind: "panoptic",
            lack: "its segmentations are PNG files beside it, which are not read",
        });
    }
    if head.caption.is_some() && head.category_id.is_none() {
        return Err(CocoError::OtherKind {
            kind: "captions",
            lack: "it has no segmentations",
        });
    }
    Ok(())
}

/// Parses the keys of an item.
fn object(raw: &RawValue) -> Result<Map<String, Value>, CocoError> {
    let unreadable = |err: serde_json::Error| CocoError::Unreadable {
        reason: reason_of(&err),
    };
    match serde_json::from_str(raw.get()).map_err(unreadable)? {
        Value::Object(map) => Ok(map),
        other => Err(unfit("it", &other, "an object with keys")),
    }
}

type Placed = (Option<i64>, i64, Option<i64>);

fn head(raw: &RawValue) -> Result<Placed, CocoError> {
    if !raw.get().starts_with('{') {
        object(raw)?;
    }
    let unreadable = |err: serde_json::Error| CocoError::Unreadable {
        reason: reason_of(&err),
    };
    let head: Head<'_> = serde_json::from_str(raw.get()).map_err(unreadable)?;
    let value = |raw: Option<&RawValue>| -> Result<Option<Value>, CocoError> {
        let value = raw.map(|raw| serde_json::from_str(raw.get()));
        value.transpose().map_err(unreadable)
    };
    let category = value(head.category_id)?;
    Ok((
        optional_whole("id", value(head.id)?.as_ref())?,
        required_whole("image_id", value(head.image_id)?.as_ref())?,
        category.as_ref().and_then(whole),
    ))
}

fn line_of(text: &str, piece: &Piece) -> String {
    let before = text.get(..piece.start).unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
    format!("line {line}, column {column}")
}

/// Counts the bytes that a parser has taken. Parsers take one at a time.
struct Counted<R> {
    text: R,
    taken: Rc<Cell<usize>>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.text.read(bytes)?;
        self.taken.set(self.taken.get() + read);
        Ok(read)
    }
}

impl Lists {
    fn read(text: impl BufRead) -> Result<Self, serde_json::Error> {
        let taken = Rc::new(Cell::new(0));
        let counted = Counted {
            text,
            taken: taken.clone(),
        };
        let mut parser = serde_json::Deserializer::from_reader(counted);
        let lists = parser.deserialize_map(TopLevel { taken })?;
        parser.end()?;
        Ok(lists)
    }
}

struct TopLevel {
    taken: Rc<Cell<usize>>,
}

impl<'de> Visitor<'de> for TopLevel {
    type Value = Lists;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with images, annotations and categories")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Lists, A::Error> {
        let taken = &*self.taken;
        let mut lists = Lists::default();
        while let Some(key) = map.next_key::<String>()? {
            let list = match key.as_str() {
                "images" => Some((&mut lists.images, "images")),
                "categories" => Some((&mut lists.categories, "categories")),
                "licenses" => Some((&mut lists.licenses, "licenses")),
                _ => None,
            };
            if let Some((list, key)) = list {
                let mut found = Vec::new();
                let each = |_, piece| found.push(piece);
                let is_there = map.next_value_seed(Items { key, taken, each })?;
                *list = is_there.then_some(found);
            } else if key == "annotations" {
                let mut found = Annotations::default();
                let is_there = map.next_value_seed(Items {
                    key: "annotations",
                    taken,
                    each: |position, piece| found.add(position, &piece),
                })?;
                lists.annotations = is_there.then_some(found);
            } else {
                // It must be text, too.
                map.next_value::<Box<RawValue>>()?;
            }
            lists.keys.push(key);
        }
        Ok(lists)
    }
}

/// Passes the items of a list, with their positions, to a closure. The value is whether there is a list: not if it is null.
struct Items<'a, F> {
    key: &'static str,
    taken: &'a Cell<usize>,
    each: F,
}

impl<'de, F: FnMut(usize, Piece)> DeserializeSeed<'de> for Items<'_, F> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<F> Items<'_, F> {
    fn unfit<T, E: de::Error>(&self, found: &str) -> Result<T, E> {
        Err(E::custom(format!(
            "{} is {found}, expected a list",
            self.key
        )))
    }
}

impl<'de, F: FnMut(usize, Piece)> Visitor<'de> for Items<'_, F> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list, {}", self.key)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(false)
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<Self::Value, E> {
        self.unfit(&flag.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
        self.unfit(&number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        self.unfit(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        self.unfit(&number.to_string())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        self.unfit(&describe_text(text))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(A::Error::custom(format!(
            "{} is an object, expected a list",
            self.key
        )))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut position = 0;
        while let Some(raw) = items.next_element::<Box<RawValue>>()? {
            // Only behind a number a byte has been taken already, to see that it ends.
            let beyond = usize::from(raw.get().ends_with(|c: char| c.is_ascii_digit()));
            let start = self.taken.get().saturating_sub(raw.get().len() + beyond);
            (self.each)(position, Piece { raw, start });
            position += 1;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coco::Annotation;

    #[test]
    fn annotations_are_found_where_they_stand() {
        let text = r#"{"annotations": [ {"image_id": 7, "category_id": 1, "note": "é"} ,
            {"id": 3.0, "image_id": 8.0, "category_id": 2}], "licenses": null,
            "images": [], "categories": [{"id": 1, "name": "cat", "keypoints": []}]}"#;
        let index = DatasetIndex::parse(text).unwrap();
        assert_eq!(index.annotations.len(), 2);
        let second = &index.annotations[1];
        assert_eq!(
            (second.id, second.image_id, second.category_id),
            (Some(3), 8, Some(2))
        );
        let annotation = Annotation::parse(&text[second.text.clone()]).unwrap();
        assert_eq!(annotation.category_id, 2);
        let first = Annotation::parse(&text[index.annotations[0].text.clone()]).unwrap();
        assert_eq!(first.extra["note"], "é");
        assert_eq!(index.used_categories(), HashSet::from([1, 2]));
    }

    #[test]
    fn an_unusable_item_leaves_the_rest() {
        let text = r#"{"images": [{"id": 1, "file_name": "a"}, {"id": 2}, 7], "categories": [],
            "annotations": [{"image_id": 1}, {"image_id": "NaN"}, {}, null]}"#;
        let index = DatasetIndex::parse(text).unwrap();
        assert_eq!((index.images.len(), index.annotations.len()), (1, 1));
        let found: Vec<_> = index
            .unusable
            .iter()
            .map(|it| format!("{}: {}", it.item, it.reason))
            .collect();
        for (line, part) in found.iter().zip([
            "images[1]: file_name is missing",
            "images[2]: it is 7, expected an object",
            "annotations[1]: image_id is NaN, expected a whole number",
            "annotations[2]: image_id is missing, expected a whole number",
            "annotations[3]: it is null, expected an object",
        ]) {
            assert!(line.starts_with(part), "{line}");
        }
        assert_eq!(found.len(), 5);
        assert_eq!(index.unusable[0].image_id, Some(2));
    }

    #[test]
    fn broken_files_say_where() {
        let with = |images: &str, categories: &str, annotations: &str| {
            format!(
                r#"{{"images": {images}, "categories": {categories}, "annotations": {annotations}}}"#
            )
        };
        let category = "\n [{\"id\": 1, \"name\": \"cat\"},\n  {\"id\": 2}]";
        for (text, part) in [
            ("{".to_owned(), "ends in the middle, at line 1, column 1"),
            (
                r#"{"shapes": [], "imagePath": ""}"#.to_owned(),
                "no 'images', but 'shapes', 'imagePath'",
            ),
            (
                r#"{"images": [], "annotations": [{"image_id": 1}]}"#.to_owned(),
                "no 'categories', but 'images', 'annotations'",
            ),
            (
                with("[]", "[]", "[{}]"),
                "annotations[0]: image_id is missing, expected a whole number",
            ),
            (
                with(r#"[{"id": "a"}]"#, "[]", "[]"),
                "images[0]: id is the text 'a', expected a whole number",
            ),
            (
                with("[]", category, "[]"),
                "categories[1], line 3, column 3: name is missing, expected a text",
            ),
            (
                with("{}", "[]", "[]"),
                "images is an object, expected a list at line 1",
            ),
            (
                with("[]", "[]", r#"[{"image_id": 1, "caption": "a cat"}]"#),
                "this is a COCO captions file: it has no segmentations",
            ),
            (
                with("[]", "[]", r#"[{"image_id": 1, "segments_info": []}]"#),
                "this is a COCO panoptic file",
            ),
            ("[]".to_owned(), "it is a list, as detections are"),
            ("a,b\n".to_owned(), "the text does not begin with '{'"),
        ] {
            let message = DatasetIndex::parse(&text).unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
    }
}
