//! Reads the JSON file of Label Studio from beginning to end, a task at a time.

use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use quick_xml::events::Event;
use quick_xml::{Reader, XmlVersion};
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::photo_file::open_annotations;
use crate::error::FileAction;
use crate::formats::label_studio;
use crate::{Error, Result};

/// A task: an image, with what people and models said of it.
#[derive(Debug, Deserialize)]
pub(super) struct Task<R> {
    #[serde(default)]
    pub id: Option<Value>,
    /// The address of the image, by a key of the labelling interface, and other data.
    pub data: Map<String, Value>,
    #[serde(default = "Vec::new", alias = "completions")]
    pub annotations: Vec<Said<R>>,
    #[serde(default = "Vec::new", deserialize_with = "said_or_ids")]
    pub predictions: Vec<Said<R>>,
}

/// An annotation or a prediction.
#[derive(Debug, Deserialize)]
pub(super) struct Said<R> {
    #[serde(default = "Vec::new")]
    pub result: Vec<R>,
    /// Who made an annotation: a number, or an object with `email`.
    #[serde(default)]
    pub completed_by: Option<Value>,
    #[serde(default)]
    pub model_version: Option<Value>,
    #[serde(default)]
    pub was_cancelled: Option<bool>,
    /// The same, in old versions.
    #[serde(default)]
    pub skipped: Option<bool>,
    /// Whether the reviewers hold it for the truth.
    #[serde(default)]
    pub ground_truth: Option<bool>,
    #[serde(default)]
    pub created_at: Option<Value>,
    #[serde(default)]
    pub updated_at: Option<Value>,
}

/// A region of an annotation, or what is said of the whole image.
#[derive(Debug, Deserialize)]
pub(super) struct Item {
    #[serde(default)]
    pub id: Option<Value>,
    #[serde(default, rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub original_width: Option<f64>,
    #[serde(default)]
    pub original_height: Option<f64>,
    #[serde(default)]
    pub value: ItemValue,
    #[serde(default)]
    pub score: Option<f64>,
    #[serde(default)]
    pub meta: Option<Map<String, Value>>,
}

/// The shape and the labels of a region.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ItemValue {
    /// A brush mask.
    pub rle: Option<Rle>,
    /// A mask as the address of a PNG that holds its data.
    #[serde(rename = "imageDataURL")]
    pub image_data_url: Option<String>,
    pub points: Option<Vec<[f64; 2]>>,
    pub x: Option<f64>,
    pub y: Option<f64>,
    pub width: Option<f64>,
    pub height: Option<f64>,
    #[serde(rename = "radiusX")]
    pub radius_x: Option<f64>,
    #[serde(rename = "radiusY")]
    pub radius_y: Option<f64>,
    pub rotation: Option<f64>,
    /// Labels, by the name of their tag: brushlabels, polygonlabels, rectanglelabels, ellipselabels, labels, choices.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl ItemValue {
    /// The labels of a key.
    pub fn words(&self, key: &str) -> impl Iterator<Item = &str> {
        let found = self.other.get(key).and_then(Value::as_array);
        found.into_iter().flatten().filter_map(Value::as_str)
    }

    /// The labels of all keys that hold labels of regions.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let keys = self.other.keys().filter(|key| is_of_labels(key));
        keys.flat_map(|key| self.words(key))
    }
}

/// Bytes, which are many.
#[derive(Debug, Default)]
pub(super) struct Rle(pub Vec<u8>);

impl<'de> Deserialize<'de> for Rle {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(Self(Vec::deserialize(deserializer)?))
    }
}

/// An item of which only the labels are read.
#[derive(Debug, Deserialize)]
pub(super) struct ItemLabels {
    #[serde(default)]
    pub value: Labels,
}

/// The labels of a region, without its shape.
#[derive(Debug, Default)]
pub(super) struct Labels(pub Vec<String>);

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the value of a region")
            }

            fn visit_map<A: MapAccess<'de>>(
                self,
                mut map: A,
            ) -> std::result::Result<Labels, A::Error> {
                let mut found = Vec::new();
                while let Some(key) = map.next_key::<String>()? {
                    if is_of_labels(&key) {
                        let labels: Vec<Value> = map.next_value()?;
                        found.extend(labels.iter().filter_map(Value::as_str).map(str::to_owned));
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Labels(found))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// Whether a key of a value holds labels of regions.
fn is_of_labels(key: &str) -> bool {
    key.ends_with("labels")
}

/// Predictions, or in some exports their numbers.
fn said_or_ids<'de, D, R>(deserializer: D) -> std::result::Result<Vec<Said<R>>, D::Error>
where
    D: Deserializer<'de>,
    R: Deserialize<'de>,
{
    #[derive(Deserialize)]
    #[serde(untagged, bound = "R: Deserialize<'de>")]
    enum Entry<R> {
        Said(Said<R>),
        Number(#[expect(dead_code, reason = "a number says no more")] u64),
    }
    let entries: Vec<Entry<R>> = Vec::deserialize(deserializer)?;
    let said = entries.into_iter().filter_map(|entry| match entry {
        Entry::Said(said) => Some(said),
        Entry::Number(_) => None,
    });
    Ok(said.collect())
}

/// Calls `each` with task after task of a file, until it returns false.
///
/// # Errors
/// [`Error::Content`] if it is no list of tasks; errors of `each`.
pub(super) fn each_task<R>(path: &Path, mut each: impl FnMut(Task<R>) -> Result<bool>) -> Result<()>
where
    R: for<'de> Deserialize<'de>,
{
    let file = open_annotations(path, "the JSON file of tasks")?;
    let mut json = serde_json::Deserializer::from_reader(file);
    let mut failed = None;
    let tasks = Tasks {
        each: |task: Task<R>| match each(task) {
            Ok(goes_on) => goes_on,
            Err(err) => {
                failed = Some(err);
                false
            }
        },
        items: std::marker::PhantomData,
    };
    let read = json.deserialize_any(tasks);
    if let Some(err) = failed {
        return Err(err);
    }
    match read {
        Ok(true) => json.end().map_err(|err| content(path, &err)),
        Ok(false) => Ok(()),
        Err(err) => Err(content(path, &err)),
    }
}

/// The labels that the labelling interface beside a file of tasks offers, in its order; none, if it is not there.
///
/// # Errors
/// [`Error::File`]; [`Error::Content`] for a file that is no XML.
pub(super) fn labels_of_interface(tasks: &Path) -> Result<Vec<String>> {
    let path = tasks.with_file_name(label_studio::CONFIG);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(err) => return Err(Error::file(FileAction::Read, &path)(err)),
    };
    let bad = |err: String| Error::Content {
        path: path.clone(),
        place: String::new(),
        reason: err,
    };
    let mut reader = Reader::from_str(&text);
    let mut labels: Vec<String> = Vec::new();
    loop {
        let element = match reader.read_event().map_err(|err| bad(err.to_string()))? {
            Event::Start(element) | Event::Empty(element) => element,
            Event::Eof => return Ok(labels),
            _ => continue,
        };
        if element.name().as_ref() != "Label" {
            continue;
        }
        for attribute in element.attributes() {
            let attribute = attribute.map_err(|err| bad(err.to_string()))?;
            if attribute.key.as_ref() != "value" {
                continue;
            }
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|err| bad(err.to_string()))?.into_owned();
            if !labels.contains(&value) {
                labels.push(value);
            }
        }
    }
}

fn content(path: &Path, err: &serde_json::Error) -> Error {
    Error::Content {
        path: path.to_owned(),
        place: String::new(),
        reason: format!("{err}; expected a list of tasks, Label Studio's export 'JSON'"),
    }
}

struct Tasks<F, R> {
    each: F,
    items: std::marker::PhantomData<R>,
}

impl<'de, F, R> Visitor<'de> for Tasks<F, R>
where
    F: FnMut(Task<R>) -> bool,
    R: Deserialize<'de>,
{
    /// Whether the list was read to its end.
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tasks")
    }

    /// A task alone.
    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> std::result::Result<bool, A::Error> {
        let task = Task::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok((self.each)(task))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> std::result::Result<bool, A::Error> {
        let mut number = 0;
        loop {
            let task = list.next_element::<Task<R>>();
            let task =
                task.map_err(|err| A::Error::custom(format!("task {}: {err}", number + 1)))?;
            let Some(task) = task else {
                return Ok(true);
            };
            number += 1;
            if !(self.each)(task) {
                return Ok(false);
            }
        }
    }
}
