//! Reads the XML of "CVAT for images" from beginning to end, an image at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::photo_file::open_annotations;
use crate::{Error, Result};

/// Names of elements that are shapes of an image.
const SHAPES: [&str; 9] = [
    "mask", "polygon", "box", "ellipse", "tag", "polyline", "points", "cuboid", "skeleton",
];

/// What a file says before and of its images.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// Names of the labels: those that the file declares, then others that its shapes have.
    pub labels: Vec<String>,
    /// Type of each attribute, by label and name: text, number, checkbox, select, radio.
    pub kinds: BTreeMap<(String, String), String>,
    /// Number of images.
    pub images: u64,
}

/// An element `<image>`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct CvatImage {
    /// Name of its photo.
    pub name: String,
    pub width: i32,
    pub height: i32,
    pub subset: Option<String>,
    pub shapes: Vec<Shape>,
}

/// An element in an image.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shape {
    /// Its name, one of [`SHAPES`].
    pub kind: String,
    keys: BTreeMap<String, String>,
    /// Names and values of its elements `<attribute>`.
    pub attributes: Vec<(String, String)>,
}

impl Shape {
    /// An attribute of the element.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.keys.get(key).map(String::as_str)
    }

    pub fn label(&self) -> &str {
        self.get("label").unwrap_or_default()
    }

    #[cfg(test)]
    pub fn of(kind: &str, keys: &[(&str, &str)]) -> Self {
        let keys = keys.iter();
        Self {
            kind: kind.to_owned(),
            keys: keys
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            attributes: Vec::new(),
        }
    }
}

/// A file that is being read.
pub(super) struct CvatFile {
    reader: Reader<BufReader<File>>,
    path: PathBuf,
}

/// Where the reader is.
#[derive(Default)]
struct State {
    has_root: bool,
    /// Names of the open elements.
    open: Vec<String>,
    image: Option<CvatImage>,
    text: String,
    /// Name of the attribute that is being read.
    attribute: Option<String>,
    /// Name of the label, and of its attribute, that is being declared.
    label: String,
    declared: String,
    described: Described,
}

impl CvatFile {
    pub fn open(path: &Path) -> Result<Self> {
        let file = open_annotations(path, "the annotations.xml")?;
        let mut reader = Reader::from_reader(file);
        reader.config_mut().expand_empty_elements = true;
        Ok(Self {
            reader,
            path: path.to_owned(),
        })
    }

    /// Reads the labels, and counts the images.
    ///
    /// # Errors
    /// [`Error::Content`] if it is no XML of "CVAT for images".
    pub fn describe(mut self) -> Result<Described> {
        let mut found = Vec::new();
        let mut images = 0;
        let mut described = self.read(|image| {
            images += 1;
            for shape in image.shapes {
                let label = shape.label();
                if !found.iter().any(|known| known == label) {
                    found.push(label.to_owned());
                }
            }
            Ok(true)
        })?;
        described.images = images;
        for label in found {
            if !described.labels.contains(&label) {
                described.labels.push(label);
            }
        }
        Ok(described)
    }

    /// Calls `each` with image after image, until it returns false.
    ///
    /// # Errors
    /// [`Error::Content`]; errors of `each`.
    pub fn each_image(mut self, each: impl FnMut(CvatImage) -> Result<bool>) -> Result<()> {
        self.read(each).map(drop)
    }

    fn bad(&self, reason: impl Into<String>) -> Error {
        Error::Content {
            path: self.path.clone(),
            place: format!(" byte {}", self.reader.buffer_position()),
            reason: reason.into(),
        }
    }

    fn read(&mut self, mut each: impl FnMut(CvatImage) -> Result<bool>) -> Result<Described> {
        let mut state = State::default();
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let event = self.reader.read_event_into(&mut buffer);
            match event.map_err(|err| self.bad(err.to_string()))? {
                Event::Start(start) => self.start(&mut state, &start)?,
                Event::Text(text) => state.text.push_str(&text),
                Event::CData(text) => state.text.push_str(&text),
                Event::GeneralRef(reference) => {
                    let whole = format!("&{};", &*reference);
                    let text = quick_xml::escape::unescape(&whole);
                    let text = text.map_err(|err| self.bad(err.to_string()))?;
                    state.text.push_str(&text);
                }
                Event::End(_) => {
                    if let Some(image) = state.end()
                        && !each(image)?
                    {
                        return Ok(state.described);
                    }
                }
                Event::Eof if !state.open.is_empty() => {
                    let open = state.open.last().cloned().unwrap_or_default();
                    return Err(self.bad(format!("the file ends within <{open}>")));
                }
                Event::Eof if !state.has_root => {
                    return Err(
                        self.bad("it has no <annotations>; expected \"CVAT for images 1.1\"")
                    );
                }
                Event::Eof => return Ok(state.described),
                Event::Empty(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_) => {}
            }
        }
    }

    fn start(&self, state: &mut State, start: &BytesStart<'_>) -> Result<()> {
        let name = start.name().as_ref().to_owned();
        state.text.clear();
        match (state.open.len(), name.as_str()) {
            (0, "annotations") => state.has_root = true,
            (0, other) => {
                let reason =
                    format!("found <{other}>, expected <annotations> of \"CVAT for images 1.1\"");
                return Err(self.bad(reason));
            }
            (1, "track") => {
                return Err(self.bad(
                    "it is of \"CVAT for video\"; export the task as \"CVAT for images 1.1\"",
                ));
            }
            (1, "image") => {
                let keys = self.keys(start)?;
                let side = |key: &str| {
                    let side = keys.get(key).and_then(|text| text.parse::<i32>().ok());
                    let side = side.filter(|side| *side > 0);
                    side.ok_or_else(|| self.bad(format!("<image> has no {key} in pixels")))
                };
                let name = keys.get("name").filter(|name| !name.is_empty());
                state.image = Some(CvatImage {
                    name: name.ok_or_else(|| self.bad("<image> has no name"))?.clone(),
                    width: side("width")?,
                    height: side("height")?,
                    subset: keys.get("subset").filter(|it| !it.is_empty()).cloned(),
                    shapes: Vec::new(),
                });
            }
            (2, kind) => {
                if let Some(image) = &mut state.image {
                    if !SHAPES.contains(&kind) {
                        return Err(
                            self.bad(format!("found <{kind}> in an image, expected shapes"))
                        );
                    }
                    let keys = self.keys(start)?;
                    if keys.get("label").is_none_or(String::is_empty) {
                        return Err(self.bad(format!("a <{kind}> has no label")));
                    }
                    image.shapes.push(Shape {
                        kind: kind.to_owned(),
                        keys,
                        attributes: Vec::new(),
                    });
                }
            }
            (3, "attribute") if state.image.is_some() => {
                let name = self.keys(start)?.remove("name");
                state.attribute = Some(name.ok_or_else(|| self.bad("an <attribute> has no name"))?);
            }
            _ => {}
        }
        state.open.push(name);
        Ok(())
    }

    fn keys(&self, start: &BytesStart<'_>) -> Result<BTreeMap<String, String>> {
        let mut keys = BTreeMap::new();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|err| self.bad(err.to_string()))?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0);
            let value = value.map_err(|err| self.bad(err.to_string()))?.into_owned();
            let key = attribute.key.as_ref().to_owned();
            keys.insert(key, value);
        }
        Ok(keys)
    }
}

impl State {
    /// Closes an element; returns an image that is complete.
    fn end(&mut self) -> Option<CvatImage> {
        let name = self.open.pop()?;
        let whole = std::mem::take(&mut self.text);
        let text = whole.trim();
        let parent = self.open.last().map_or("", String::as_str);
        match (parent, name.as_str()) {
            ("annotations", "image") => return self.image.take(),
            (_, "attribute") if self.image.is_some() => {
                let shape = self.image.as_mut()?.shapes.last_mut();
                if let (Some(shape), Some(name)) = (shape, self.attribute.take()) {
                    shape.attributes.push((name, whole));
                }
            }
            ("label", "name") if self.open.iter().any(|it| it == "labels") => {
                // As it is, because the labels of shapes are.
                self.label.clone_from(&whole);
                if !self.described.labels.contains(&self.label) {
                    self.described.labels.push(self.label.clone());
                }
            }
            // A part of a skeleton.
            ("label", "parent") if !text.is_empty() => {
                let part = &self.label;
                self.described.labels.retain(|label| label != part);
            }
            ("attribute", "name") => self.declared = whole,
            ("attribute", "input_type") => {
                let key = (self.label.clone(), std::mem::take(&mut self.declared));
                self.described.kinds.insert(key, text.to_owned());
            }
            _ => {}
        }
        None
    }
}
