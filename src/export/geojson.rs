//! `export geojson`: objects as polygons, a file for each image, for QGIS, geopandas and QuPath.
//!
//! ```text
//! NAME.geojson   {"type": "FeatureCollection", "name": "NAME", "crs": {...},
//!                 "features": [{"type": "Feature", "geometry": {"type": "MultiPolygon", ...},
//!                               "properties": {"class", "score", "mask_index", ...}}]}
//! ```
//!
//! The outlines are those of the masks' pixels, with holes and parts. Objects of a photo that a GeoTIFF places on Earth have
//! coordinates of its reference system, which `crs` names as GDAL and geopandas do: a local system, if it is none of EPSG's, because
//! without a name coordinates are longitude and latitude (RFC 7946). Objects of other photos have coordinates in pixels, and the members
//! that QuPath reads.

use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::coco::ExportSummary;
use super::file::{JsonFile, Unfinished};
use super::object::{Object, ObjectKind};
use super::photos::{plan_names, write_images};
use super::request::ExportRequest;
use super::source::{Objects, Source};
use super::writer::parse_attributes;
use crate::Result;
use crate::geometry::polygons_from_rle;
use crate::progress::Progress;
use crate::selection::SelectedImage;
use crate::store::Snapshot;

/// A system of which nothing is known, as GDAL reads it.
const UNKNOWN_SYSTEM: &str = "LOCAL_CS[\"unknown\",UNIT[\"metre\",1]]";
/// The reference system of RFC 7946, which is not named.
const LONGITUDE_LATITUDE: &str = "EPSG:4326";

/// Properties that an object has of its own, whatever a data set says of it.
const OWN_KEYS: [&str; 4] = ["class", "area_pixels", "objectType", "classification"];

/// A request for polygons as GeoJSON.
#[derive(Debug, Clone, Default)]
pub struct GeoJsonExport {
    /// What is exported.
    pub export: ExportRequest,
    /// The directory to write. It must be empty or new.
    pub directory: PathBuf,
}

/// Writes objects as GeoJSON, a file per image. The directory appears when it is complete.
///
/// Crowds and void regions are left out. Objects that have only a box are rectangles.
///
/// # Errors
/// Errors of the catalogue and the store, as of [`export_coco`](super::export_coco); [`crate::Error::File`] if files cannot be written.
pub async fn export_geojson(
    snapshot: &Snapshot,
    request: &GeoJsonExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let directory = &request.directory;
    let source = Source::open(snapshot, &request.export.without_ids()).await?;
    let classes: Vec<String> = source.categories.iter().map(|it| it.name.clone()).collect();
    let new = Unfinished::new(directory)?;
    new.create_directory()?;
    source.verify(progress).await?;
    let mut summary = ExportSummary::of(&source, directory);
    let images = source.images.images.clone();
    let work = move |objects: Objects, progress: &dyn Progress| {
        progress.start("images", Some(images.len() as u64));
        let names = plan_names(&images);
        write_images(
            objects,
            &images,
            &mut summary,
            progress,
            |at, image, objects, counted| {
                let Some(name) = names.get(at) else {
                    return Ok(());
                };
                let place = Place::of(image)?;
                let mut features = Vec::with_capacity(objects.len());
                for object in &objects {
                    if let Some((class, _)) = counted.take_single(object, true) {
                        let class = classes.get(class).map_or("", String::as_str);
                        features.push(feature(object, class, &place)?);
                    }
                }
                let mut out = JsonFile::create(&new.path().join(format!("{name}.geojson")))?;
                out.text("{\"type\": \"FeatureCollection\", \"name\": ")?;
                out.json(&image.file_name)?;
                if let Some(crs) = place.system() {
                    out.text(", \"crs\": ")?;
                    out.json(&named_crs(crs))?;
                }
                out.text(",\n\"features\": ")?;
                out.list(features)?;
                out.text("}\n")?;
                out.flush()
            },
            |_, ()| Ok(()),
        )?;
        summary.bytes = new.finish()?;
        Ok(summary)
    };
    let done = source.with_objects(progress, work).await;
    progress.finish();
    done
}

/// Where the pixels of an image are.
struct Place {
    /// From corners of pixels to coordinates, in GDAL's order; `None` for coordinates in pixels.
    geo_transform: Option<[f64; 6]>,
    crs: Option<String>,
}

impl Place {
    fn of(image: &SelectedImage) -> Result<Self> {
        // Keys of these names, but of another kind, are a data set's own.
        let mut attributes = parse_attributes(image.attributes.as_deref())?;
        let transform = attributes.remove("geo_transform");
        let crs = attributes.get("crs").and_then(Value::as_str);
        Ok(Self {
            geo_transform: transform.and_then(|it| serde_json::from_value(it).ok()),
            crs: crs.map(str::to_owned),
        })
    }

    /// The reference system, if coordinates are not in pixels. Without one, GDAL would take them for longitude and latitude.
    fn system(&self) -> Option<&str> {
        self.geo_transform?;
        Some(self.crs.as_deref().unwrap_or(UNKNOWN_SYSTEM))
    }

    fn is_on_earth(&self) -> bool {
        self.geo_transform.is_some()
    }

    /// The polygon of rings in pixels. As RFC 7946 has it, rings are closed, exteriors run counterclockwise and holes clockwise.
    fn polygon<'a>(&self, rings: impl Iterator<Item = &'a Vec<[f64; 2]>>) -> Vec<Vec<[f64; 2]>> {
        let [x, a, b, y, d, e] = self.geo_transform.unwrap_or([0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
        let turns = a * e < b * d;
        let placed = rings.map(|ring| {
            let corners = ring.iter().chain(ring.first());
            let corners =
                corners.map(|[column, row]| [x + column * a + row * b, y + column * d + row * e]);
            let mut corners: Vec<[f64; 2]> = corners.collect();
            if turns {
                corners.reverse();
            }
            corners
        });
        placed.collect()
    }
}

/// A reference system as GDAL and geopandas name it.
fn named_crs(crs: &str) -> Value {
    let name = match crs.strip_prefix("EPSG:") {
        _ if crs == LONGITUDE_LATITUDE => "urn:ogc:def:crs:OGC:1.3:CRS84".to_owned(),
        Some(code) => format!("urn:ogc:def:crs:EPSG::{code}"),
        None => crs.to_owned(),
    };
    json!({"type": "name", "properties": {"name": name}})
}

#[derive(Serialize)]
struct Feature {
    #[serde(rename = "type")]
    kind: &'static str,
    geometry: Value,
    properties: Properties,
}

#[derive(Serialize)]
struct Properties {
    class: String,
    area_pixels: f64,
    #[serde(flatten)]
    predicted: Option<Predicted>,
    /// What the data set says of an annotated object.
    #[serde(flatten)]
    annotated: Map<String, Value>,
    #[serde(flatten)]
    of_qupath: Option<OfQuPath>,
}

#[derive(Serialize)]
struct Predicted {
    mask_index: i32,
    score: f64,
    entropy: Option<f32>,
    predicted_iou: Option<f32>,
    stability_score: Option<f32>,
}

/// What QuPath reads of an object.
#[derive(Serialize)]
struct OfQuPath {
    #[serde(rename = "objectType")]
    object_type: &'static str,
    classification: Value,
}

fn feature(object: &Object, class: &str, place: &Place) -> Result<Feature> {
    let mut polygons: Vec<Vec<Vec<[f64; 2]>>> = Vec::new();
    match &object.mask {
        Some(mask) => {
            let outlines = polygons_from_rle(mask);
            polygons.extend(outlines.iter().map(|outline| {
                place.polygon(std::iter::once(&outline.exterior).chain(&outline.holes))
            }));
        }
        None => {
            let [left, top, width, height] = object.bbox;
            let (right, bottom) = (left + width, top + height);
            let ring = vec![[left, top], [right, top], [right, bottom], [left, bottom]];
            polygons.push(place.polygon(std::iter::once(&ring)));
        }
    }
    let geometry = match polygons.as_slice() {
        [polygon] => json!({"type": "Polygon", "coordinates": polygon}),
        _ => json!({"type": "MultiPolygon", "coordinates": polygons}),
    };
    let (predicted, annotated) = match &object.kind {
        ObjectKind::Predicted(mask) => {
            let predicted = Predicted {
                mask_index: mask.mask_index,
                score: mask.score,
                entropy: mask.entropy,
                predicted_iou: mask.predicted_iou,
                stability_score: mask.stability_score,
            };
            (Some(predicted), Map::new())
        }
        ObjectKind::Annotated(it) => {
            let mut own = parse_attributes(it.attributes.as_deref())?;
            own.retain(|key, _| !OWN_KEYS.contains(&key.as_str()));
            (None, own)
        }
    };
    let of_qupath = (!place.is_on_earth()).then(|| OfQuPath {
        object_type: "annotation",
        classification: json!({"name": class}),
    });
    Ok(Feature {
        kind: "Feature",
        geometry,
        properties: Properties {
            class: class.to_owned(),
            area_pixels: object.area,
            predicted,
            annotated,
            of_qupath,
        },
    })
}
