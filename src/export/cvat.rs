//! `export cvat`: a directory of "CVAT for images 1.1".
//!
//! ```text
//! annotations.xml   the labels with their attributes, then an element <image> for each image, with its shapes
//! images/NAME.jpg   the photos, unless they are left where they are
//! ```
//!
//! A mask is an element `<mask>`: run lengths over its box, row by row, beginning with background. An object that has only a
//! box is an element `<box>`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use quick_xml::escape::escape;
use serde_json::{Map, Value};

use super::coco::ExportSummary;
use super::file::Unfinished;
use super::object::{Object, ObjectKind};
use super::photos::{FORMATS, Photos, copy, plan_names, write_images};
use super::request::ExportRequest;
use super::source::{Objects, Source};
use super::writer::parse_attributes;
use crate::error::FileAction;
use crate::formats::cvat;
use crate::geometry::{Pixel, Rle, Size};
use crate::progress::Progress;
use crate::selection::SelectedImage;
use crate::store::Snapshot;
use crate::{Error, Result};

/// A request for a directory of "CVAT for images".
#[derive(Debug, Clone, Default)]
pub struct CvatExport {
    /// What is exported.
    pub export: ExportRequest,
    /// Whether photos are copied. If not, the file has the names that they have below their directory.
    pub photos: Photos,
    /// The directory to write. It must be empty or new.
    pub directory: PathBuf,
}

/// Writes a directory of "CVAT for images". It appears when it is complete.
///
/// Crowds and void regions are left out. Attributes of annotated objects are those that `ingest cvat` and CVAT's own COCO files
/// keep: the members of `attributes`.
///
/// # Errors
/// Errors of the catalogue and the store, as of [`export_coco`](super::export_coco); [`Error::File`] if files cannot be written.
/// Photos that cannot be read are counted as failed.
pub async fn export_cvat(
    snapshot: &Snapshot,
    request: &CvatExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let (photos, directory) = (request.photos, &request.directory);
    let source = Source::open(snapshot, &request.export.without_ids()).await?;
    let names: Vec<String> = source.categories.iter().map(|it| it.name.clone()).collect();
    let new = Unfinished::new(directory)?;
    new.create_directory()?;
    source.verify(progress).await?;
    let mut summary = ExportSummary::of(&source, directory);
    let images = source.images.images.clone();
    let of_images = source.classes_of_images().await?;
    let files = snapshot.store().photos();
    let work = move |objects: Objects, progress: &dyn Progress| {
        progress.start("images", Some(images.len() as u64));
        let stems = plan_names(&images);
        let folder = new.path().join(cvat::IMAGES);
        if photos == Photos::Copy {
            fs::create_dir_all(&folder).map_err(Error::file(FileAction::Create, &folder))?;
        }
        let mut body = Body::create(new.path())?;
        write_images(
            objects,
            &images,
            &mut summary,
            progress,
            |at, image, objects, counted| {
                let mut name = image.file_name.clone();
                if let (Photos::Copy, Some(stem)) = (photos, stems.get(at)) {
                    let (bytes, ending) = copy(&files, image, &FORMATS)?;
                    name = format!("{stem}.{ending}");
                    let file = folder.join(&name);
                    fs::write(&file, bytes).map_err(Error::file(FileAction::Write, &file))?;
                }
                let tags = of_images.beyond(&image.image_id, &objects);
                Element::of(&names, at, &name, image, (&objects, &tags), counted)
            },
            |_, element| body.push(element),
        )?;
        body.finish(&names, &new.path().join(cvat::FILE))?;
        summary.bytes = new.finish()?;
        Ok(summary)
    };
    let done = source.with_objects(progress, work).await;
    progress.finish();
    done
}

/// The element of an image.
struct Element {
    text: String,
    /// The attributes of its objects, each with its label.
    attributes: Vec<(usize, String, Kind)>,
}

impl Element {
    fn of(
        names: &[String],
        at: usize,
        name: &str,
        image: &SelectedImage,
        (objects, tags): (&[Object], &[usize]),
        summary: &mut ExportSummary,
    ) -> Result<Self> {
        let mut text = format!("  <image id=\"{at}\" name=\"{}\"", text_of(name));
        if let Some(split) = &image.split {
            let _ = write!(text, " subset=\"{}\"", text_of(split));
        }
        let _ = writeln!(
            text,
            " width=\"{}\" height=\"{}\">",
            image.width, image.height
        );
        for tag in tags {
            let label = names.get(*tag).map_or("", String::as_str);
            let label = text_of(label);
            let _ = writeln!(
                text,
                "    <tag label=\"{label}\" source=\"manual\">\n    </tag>"
            );
        }
        let mut attributes_of_labels = Vec::new();
        for object in objects {
            let Some((class, mask)) = summary.take_single(object, true) else {
                continue;
            };
            let label = names.get(class).map_or("", String::as_str);
            let Own {
                source,
                occluded,
                rotation,
                z_order,
                group_id,
                attributes,
            } = Own::of(object)?;
            let kind = match mask {
                Some(mask) => {
                    let _ = write!(text, "    <mask {}", crop(mask));
                    "mask"
                }
                None => {
                    let [x, y, width, height] = object.bbox;
                    let _ = write!(
                        text,
                        "    <box xtl=\"{x}\" ytl=\"{y}\" xbr=\"{}\" ybr=\"{}\"",
                        x + width,
                        y + height
                    );
                    if let Some(degrees) = rotation.filter(|it| *it != 0.0) {
                        let _ = write!(text, " rotation=\"{degrees}\"");
                    }
                    "box"
                }
            };
            let _ = write!(
                text,
                " label=\"{}\" source=\"{}\" occluded=\"{}\" z_order=\"{z_order}\"",
                text_of(label),
                text_of(&source),
                u8::from(occluded)
            );
            if let Some(group) = group_id {
                let _ = write!(text, " group_id=\"{group}\"");
            }
            text.push_str(">\n");
            for (name, (value, _)) in &attributes {
                let (name, value) = (text_of(name), text_of(value));
                let _ = writeln!(text, "      <attribute name=\"{name}\">{value}</attribute>");
            }
            let _ = writeln!(text, "    </{kind}>");
            let kinds = attributes.into_iter().map(|(name, (_, kind))| (name, kind));
            attributes_of_labels.extend(kinds.map(|(name, kind)| (class, name, kind)));
        }
        text.push_str("  </image>\n");
        Ok(Self {
            text,
            attributes: attributes_of_labels,
        })
    }
}

/// The elements of the images. The names of attributes come before them in the file, and are known only after them.
struct Body {
    /// Names of the attributes of each label.
    attributes: BTreeMap<usize, BTreeMap<String, Kind>>,
    path: PathBuf,
    out: BufWriter<File>,
}

impl Body {
    fn create(directory: &Path) -> Result<Self> {
        let path = directory.join("images.part");
        let file = File::create(&path).map_err(Error::file(FileAction::Create, &path))?;
        Ok(Self {
            attributes: BTreeMap::new(),
            out: BufWriter::new(file),
            path,
        })
    }

    fn push(&mut self, element: Element) -> Result<()> {
        for (class, name, kind) in element.attributes {
            let known = self.attributes.entry(class).or_default();
            let known = known.entry(name).or_insert(kind);
            if *known != kind {
                *known = Kind::Text;
            }
        }
        let written = self.out.write_all(element.text.as_bytes());
        written.map_err(Error::file(FileAction::Write, &self.path))
    }

    /// Writes the file: what is known of the labels, and the images.
    fn finish(mut self, names: &[String], place: &Path) -> Result<()> {
        let head = self.head(names);
        let write = || -> io::Result<()> {
            self.out.flush()?;
            let mut whole = BufWriter::new(File::create(place)?);
            whole.write_all(head.as_bytes())?;
            io::copy(&mut File::open(&self.path)?, &mut whole)?;
            whole.write_all(b"</annotations>\n")?;
            whole.into_inner()?.sync_all()?;
            fs::remove_file(&self.path)
        };
        let mut write = write;
        write().map_err(Error::file(FileAction::Write, place))
    }

    fn head(&self, names: &[String]) -> String {
        let mut text = String::from(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    \
             <task>\n      <labels>\n",
        );
        for (at, name) in names.iter().enumerate() {
            let _ = writeln!(
                text,
                "        <label>\n          <name>{}</name>\n          <type>any</type>\n          <attributes>",
                text_of(name)
            );
            for (attribute, kind) in self.attributes.get(&at).into_iter().flatten() {
                let _ = writeln!(
                    text,
                    "            <attribute>\n              <name>{}</name>\n              <mutable>False</mutable>\n              \
                     <input_type>{}</input_type>\n              <default_value></default_value>\n              \
                     <values></values>\n            </attribute>",
                    text_of(attribute),
                    kind.word()
                );
            }
            text.push_str("          </attributes>\n        </label>\n");
        }
        text.push_str("      </labels>\n    </task>\n  </meta>\n");
        text
    }
}

/// The box of a mask and the runs in it, as attributes of an element.
fn crop(mask: &Rle) -> String {
    let [left, top, width, height] = mask.bbox().to_xywh().map(|side| side as u32);
    let bits = mask.window(Pixel { x: left, y: top }, Size { height, width });
    let mut text = String::from("rle=\"");
    let mut value = 0;
    let mut run = 0u32;
    for bit in bits {
        if bit == value {
            run += 1;
            continue;
        }
        let _ = write!(text, "{run}, ");
        (value, run) = (bit, 1);
    }
    let _ = write!(
        text,
        "{run}\" left=\"{left}\" top=\"{top}\" width=\"{width}\" height=\"{height}\""
    );
    text
}

/// What CVAT keeps of an object beside its shape.
struct Own {
    source: String,
    occluded: bool,
    /// Degrees by which a box is turned.
    rotation: Option<f64>,
    z_order: i64,
    group_id: Option<i64>,
    /// Texts and types, by name.
    attributes: BTreeMap<String, (String, Kind)>,
}

/// The type of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Checkbox,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Checkbox => "checkbox",
        }
    }
}

/// A text in XML. Blanks that readers would change are written as numbers, and what XML cannot hold is left out.
pub(super) fn text_of(text: &str) -> String {
    let holds = |c: &char| !c.is_control() || matches!(c, '\n' | '\t' | '\r');
    let text: String = text.chars().filter(holds).collect();
    let text = escape(&*text).replace('\n', "&#10;");
    text.replace('\t', "&#9;").replace('\r', "&#13;")
}

impl Own {
    fn of(object: &Object) -> Result<Self> {
        let (keys, source) = match &object.kind {
            ObjectKind::Predicted(_) => (Map::new(), "auto"),
            ObjectKind::Annotated(it) => (parse_attributes(it.attributes.as_deref())?, "manual"),
        };
        let number = |key: &str| keys.get(key).and_then(Value::as_i64);
        let text = |value: &Value| match value {
            Value::String(text) => (text.clone(), Kind::Text),
            Value::Number(number) => (number.to_string(), Kind::Number),
            Value::Bool(flag) => (flag.to_string(), Kind::Checkbox),
            other => (other.to_string(), Kind::Text),
        };
        let own = keys.get(cvat::ATTRIBUTES).and_then(Value::as_object);
        let mut attributes: BTreeMap<String, (String, Kind)> = own
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), text(value)))
            .collect();
        let occluded = attributes.remove(cvat::OCCLUDED);
        let rotation = attributes.remove(cvat::ROTATION);
        Ok(Self {
            source: keys
                .get(cvat::SOURCE)
                .and_then(Value::as_str)
                .unwrap_or(source)
                .to_owned(),
            occluded: occluded.is_some_and(|(it, _)| it == "true" || it == "1"),
            rotation: rotation.and_then(|(text, _)| text.parse().ok()),
            z_order: number(cvat::Z_ORDER).unwrap_or(0),
            group_id: number(cvat::GROUP_ID),
            attributes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_those_of_the_box_by_rows() {
        #[rustfmt::skip]
        let bits = [
            0, 0, 0, 0,
            0, 0, 1, 1,
            0, 1, 0, 1,
        ];
        let mask = Rle::from_row_major(
            Size {
                height: 3,
                width: 4,
            },
            &bits,
        )
        .unwrap();
        assert_eq!(
            crop(&mask),
            "rle=\"1, 3, 1, 1\" left=\"1\" top=\"1\" width=\"3\" height=\"2\""
        );
    }
}
