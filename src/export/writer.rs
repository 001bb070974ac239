//! Writes the objects of an export as COCO JSON, one per line.

use std::collections::BTreeMap;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use serde_json::{Map, Value};

use super::categories::Category;
use super::coco::{CocoAnnotation, CocoDetection, ExportSummary, Extra};
use super::file::JsonFile;
use super::images::free_ids;
use super::object::{Object, ObjectKind};
use super::request::MaskStyle;
use super::source::Objects;
use crate::coco::{Counts, OUTLINE, Segmentation};
use crate::geometry::{Size, polygons_from_rle};
use crate::progress::Progress;
use crate::selection::SelectedImage;
use crate::{Error, Result};

/// A COCO file that is being written.
pub(super) struct Writer<'a> {
    pub out: JsonFile,
    pub images: &'a [SelectedImage],
    pub categories: &'a [Category],
    pub style: Option<MaskStyle>,
    pub summary: &'a mut ExportSummary,
}

impl Writer<'_> {
    /// Writes a data set.
    pub fn dataset(
        &mut self,
        info: &Value,
        objects: Objects,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut licenses = Licenses::default();
        let mut images = Vec::with_capacity(self.images.len());
        for image in self.images {
            let mut keys = licenses.number(parse_attributes(image.attributes.as_deref())?);
            keys.insert("id".to_owned(), image.id.into());
            keys.insert("file_name".to_owned(), image.file_name.clone().into());
            keys.insert("width".to_owned(), image.width.into());
            keys.insert("height".to_owned(), image.height.into());
            images.push(keys);
        }
        self.out.text("{\"info\": ")?;
        self.out.json(info)?;
        self.out.text(",\n\"licenses\": ")?;
        self.out.list(licenses.0.values())?;
        self.out.text(",\n\"images\": ")?;
        self.out.list(images)?;
        self.out.text(",\n\"categories\": ")?;
        self.out.list(self.categories)?;
        self.out.text(",\n\"annotations\": [")?;
        progress.start("annotations written", None);
        self.each(objects, progress, |entries, it| entries.annotation(it))?;
        self.out.text("\n]}\n")?;
        self.out.flush()
    }

    /// Writes a list of results.
    pub fn results(&mut self, objects: Objects, progress: &dyn Progress) -> Result<()> {
        progress.start("detections written", None);
        self.out.text("[")?;
        self.each(objects, progress, |entries, it| entries.detection(it))?;
        self.out.text("\n]\n")?;
        self.out.flush()
    }

    /// Writes an entry for every exported object, made on all cores. Other objects are only counted.
    fn each(
        &mut self,
        objects: Objects,
        progress: &dyn Progress,
        entry: impl Fn(&Entries<'_>, Numbered) -> Result<String> + Sync,
    ) -> Result<()> {
        let entries = Entries {
            images: self.images,
            style: self.style,
        };
        let (mut next, mut is_first) = (1, true);
        objects.each_batch(|batch| {
            let mut numbered = Vec::with_capacity(batch.len());
            for object in batch {
                if let Some(category) = self.summary.take(&object, self.categories) {
                    numbered.push(Numbered {
                        number: next,
                        category_id: category.id,
                        object,
                    });
                    next += 1;
                }
            }
            let texts = numbered.into_par_iter().map(|it| entry(&entries, it));
            for text in texts.collect::<Vec<_>>() {
                self.out.text(if is_first { "\n" } else { ",\n" })?;
                self.out.text(&text?)?;
                is_first = false;
                progress.advance(1);
            }
            Ok(())
        })
    }
}

/// An object of the file.
struct Numbered {
    /// Its position among them, counted from 1.
    number: i64,
    category_id: i64,
    object: Object,
}

/// What entries are made with.
struct Entries<'a> {
    images: &'a [SelectedImage],
    style: Option<MaskStyle>,
}

impl Entries<'_> {
    fn annotation(&self, numbered: Numbered) -> Result<String> {
        let object = numbered.object;
        let mut own_keys = match &object.kind {
            ObjectKind::Annotated(it) => parse_attributes(it.attributes.as_deref())?,
            ObjectKind::Predicted(_) => Map::new(),
        };
        let outline = own_keys.remove(OUTLINE);
        let segmentation = spell(&object, self.style, outline);
        let (id, iscrowd, extra) = match object.kind {
            ObjectKind::Predicted(mask) => (
                None,
                false,
                Extra::Predicted {
                    score: mask.score,
                    entropy: mask.entropy,
                    predicted_iou: mask.predicted_iou,
                    stability_score: mask.stability_score,
                    mask_index: mask.mask_index,
                    extractor_id: mask.extractor_id,
                },
            ),
            ObjectKind::Annotated(it) => (it.id, it.iscrowd, Extra::Attributes(own_keys)),
        };
        let annotation = CocoAnnotation {
            id: id.unwrap_or(numbered.number),
            image_id: self.image_id(object.image)?,
            category_id: numbered.category_id,
            segmentation,
            area: object.area,
            bbox: object.bbox,
            iscrowd: u8::from(iscrowd),
            extra,
        };
        Ok(serde_json::to_string(&annotation)?)
    }

    fn detection(&self, numbered: Numbered) -> Result<String> {
        let object = numbered.object;
        let ObjectKind::Predicted(predicted) = &object.kind else {
            return Err(Error::Internal {
                what: "a detection that no head made",
            });
        };
        let detection = CocoDetection {
            image_id: self.image_id(object.image)?,
            category_id: numbered.category_id,
            segmentation: spell(&object, self.style, None),
            score: predicted.score,
        };
        Ok(serde_json::to_string(&detection)?)
    }

    /// The id that the image at a position has in the file.
    fn image_id(&self, position: usize) -> Result<i64> {
        let image = self.images.get(position).ok_or(Error::Internal {
            what: "an object of an image that is not exported",
        })?;
        Ok(image.id)
    }
}

/// Encodes a mask for COCO. `outline` holds the polygons it was annotated as, in case they cover no pixel.
fn spell(object: &Object, style: Option<MaskStyle>, outline: Option<Value>) -> Segmentation {
    // For a box without a mask, COCO uses an empty list of polygons.
    let Some(mask) = &object.mask else {
        return Segmentation::Polygons(Vec::new());
    };
    let as_polygon = match (&object.kind, style) {
        // Readers would take a crowd in polygons for a single object.
        (ObjectKind::Annotated(it), _) if it.iscrowd => false,
        (_, Some(style)) => style == MaskStyle::Polygon,
        (ObjectKind::Annotated(it), None) => it.spelling == "polygon",
        (ObjectKind::Predicted(_), None) => false,
    };
    if as_polygon && !mask.is_empty() {
        return Segmentation::Polygons(
            polygons_from_rle(mask)
                .iter()
                .map(|part| part.to_coco())
                .collect(),
        );
    }
    // A mask with pixels has an outline of its own; these polygons are for masks without any.
    let outline = outline.filter(|_| as_polygon);
    if let Some(polygons) = outline.and_then(|outline| serde_json::from_value(outline).ok()) {
        return Segmentation::Polygons(polygons);
    }
    let Size { height, width } = mask.size();
    Segmentation::Rle {
        size: [height, width],
        counts: Counts::Compressed(mask.to_counts_string()),
    }
}

pub(super) fn parse_attributes(text: Option<&str>) -> Result<Map<String, Value>> {
    Ok(text
        .map(serde_json::from_str)
        .transpose()?
        .unwrap_or_default())
}

/// The licences by id. The store keeps each licence in the attributes of its images.
#[derive(Default)]
struct Licenses(BTreeMap<i64, Map<String, Value>>);

impl Licenses {
    /// Returns the attributes with the licence replaced by its id.
    fn number(&mut self, mut attributes: Map<String, Value>) -> Map<String, Value> {
        let Some(Value::Object(whole)) = attributes.get("license") else {
            return attributes;
        };
        let own = whole.get("id").and_then(Value::as_i64);
        // Data sets may use one id for different licences.
        let without_id = |license: &Map<String, Value>| {
            let mut license = license.clone();
            license.insert("id".to_owned(), Value::Null);
            license
        };
        let same = self
            .0
            .iter()
            .find(|(_, other)| without_id(other) == without_id(whole));
        let id = match (same, own) {
            (Some((id, _)), _) => *id,
            (None, Some(own)) if !self.0.contains_key(&own) => own,
            _ => {
                let greatest = self.0.keys().max().map_or(0, |greatest| *greatest);
                let mut free = free_ids(greatest, |id| self.0.contains_key(&id));
                free.next().unwrap_or_default()
            }
        };
        let stored = self.0.entry(id).or_insert_with(|| whole.clone());
        stored.insert("id".to_owned(), id.into());
        attributes.insert("license".to_owned(), id.into());
        attributes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn licences_are_listed_once() {
        let mut licenses = Licenses::default();
        let image = |license: Value| {
            let Value::Object(map) = json!({"license": license, "date": "x"}) else {
                panic!("no object");
            };
            map
        };
        let by = json!({"id": 4, "name": "BY"});
        assert_eq!(licenses.number(image(by.clone()))["license"], 4);
        assert_eq!(licenses.number(image(by))["license"], 4);
        assert_eq!(
            licenses.number(image(json!({"id": 4, "name": "SA"})))["license"],
            5
        );
        assert_eq!(
            licenses.number(image(json!({"id": 7, "name": "SA"})))["license"],
            5
        );
        assert_eq!(
            licenses.number(image(json!(3)))["license"],
            3,
            "an id without its licence"
        );
        assert_eq!(licenses.0.len(), 2);
        assert_eq!(
            Value::Object(licenses.0[&5].clone()),
            json!({"id": 5, "name": "SA"})
        );
    }

    #[test]
    fn a_licence_gets_a_free_id_after_the_last_that_there_is() {
        let mut licenses = Licenses::default();
        let mut number = |id: i64, name: &str| {
            let license = json!({"id": id, "name": name});
            licenses.number(Map::from_iter([("license".to_owned(), license)]))["license"].clone()
        };
        assert_eq!(number(i64::MAX, "BY"), i64::MAX);
        assert_eq!(number(1, "SA"), 1);
        assert_eq!(number(1, "ND"), 2);
    }
}
