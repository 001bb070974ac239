//! TIFFs of many channels and kinds of samples, and GeoTIFFs, against what NumPy and GDAL make of them.
//!
//! Fixtures and expected pixels: `tests/data/channels/make_channels.py`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use arrow::json::ArrayWriter;
use grainstore::catalogue::decoding_of;
use grainstore::export::{GeoJsonExport, export_geojson};
use grainstore::extract::{ImageSelection, MaskOptions, extract_with};
use grainstore::ingest::{
    CocoIngest, DEFAULT_COMMIT_ROWS, FolderIngest, IngestOptions, LabelSource, Source, ingest_coco,
    ingest_folder,
};
use grainstore::photo::{
    Channels, DecodeLimits, Decoding, Percentiles, Rendering, decode, probe, render,
};
use grainstore::progress::NoProgress;
use grainstore::schema::{EmbeddingFloat, EmbeddingType};
use grainstore::selection::ImageFilter;
use grainstore::sql::Sql;
use grainstore::store::rows::{ExtractorRow, FailureRow};
use grainstore::store::{Snapshot, Store, StoreOptions};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::extract::extractor;

/// A level of 8 bits, because NumPy's and our percentiles may round apart.
const ROUNDING: u8 = 1;

#[derive(Deserialize)]
struct Fixture {
    renderings: Vec<Expected>,
    geo_transform: Option<[f64; 6]>,
    crs: Option<String>,
}

#[derive(Deserialize)]
struct Expected {
    channels: Option<[u16; 3]>,
    percentiles: Option<[f64; 2]>,
    pixels: String,
    max_diff: u8,
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/channels")
        .join(name)
}

pub fn read(name: &str) -> Vec<u8> {
    std::fs::read(data(name)).unwrap()
}

fn fixtures() -> Vec<(String, Fixture)> {
    let all: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&read("expected.json")).unwrap();
    assert_eq!(all.len(), 12);
    all.into_iter()
        .map(|(name, fixture)| (name, serde_json::from_value(fixture).unwrap()))
        .collect()
}

fn rendering(channels: Option<[u16; 3]>, percentiles: Option<[f64; 2]>) -> Decoding {
    Decoding {
        rendering: Rendering {
            channels: channels.map(|it| Channels::try_from(it).unwrap()),
            percentiles: percentiles.map(|it| Percentiles::try_from(it).unwrap()),
        },
        ..Decoding::default()
    }
}

#[test]
fn channels_and_percentiles_are_those_of_numpy() {
    for (name, fixture) in fixtures() {
        for expected in fixture.renderings {
            let Expected {
                channels,
                percentiles,
                pixels,
                max_diff,
            } = expected;
            let found = render(&read(&name), &rendering(channels, percentiles)).unwrap();
            let wanted = image::open(data("expected").join(&pixels))
                .unwrap()
                .into_rgb8();
            assert_eq!(found.dimensions(), wanted.dimensions(), "{pixels}");
            let limit = match (max_diff, percentiles) {
                (0, None) if !pixels.contains("_f") && !pixels.contains("_u32") => 0,
                (0, _) => ROUNDING,
                (diff, _) => diff,
            };
            let differences = found.as_raw().iter().zip(wanted.as_raw());
            let differences: Vec<u8> = differences.map(|(a, b)| a.abs_diff(*b)).collect();
            let largest = *differences.iter().max().unwrap();
            assert!(largest <= limit, "{pixels}: differs by {largest}");
            let others = differences.iter().filter(|it| **it > 0).count();
            let share = others as f64 / differences.len() as f64;
            assert!(
                max_diff > 0 || share < 0.01,
                "{pixels}: {share} of the pixels differ"
            );
        }
    }
}

#[test]
fn places_on_earth_are_those_of_gdal() {
    for (name, fixture) in fixtures() {
        let found = probe(&read(&name)).unwrap().geo;
        let expected = fixture.geo_transform;
        assert_eq!(found.is_some(), expected.is_some(), "{name}");
        let Some((found, expected)) = found.zip(expected) else {
            continue;
        };
        assert_eq!(found.crs, fixture.crs, "{name}");
        for (found, expected) in found.geo_transform.iter().zip(expected) {
            let error = (found - expected).abs() / expected.abs().max(1.0);
            assert!(error < 1e-12, "{name}: {found} and {expected}");
        }
    }
}

#[test]
fn what_is_not_used_is_named() {
    let unused = |name: &str| probe(&read(name)).unwrap().unused;
    assert_eq!(
        unused("five_u16.tif").as_deref(),
        Some(
            "of 5 channels of 16 bits, channels 1, 2 and 3 are used; extract with --channels to use others"
        ),
    );
    assert!(unused("two_f64.tif").unwrap().contains("channel 1 is used"));
    assert!(
        unused("gray_u16.tif")
            .unwrap()
            .contains("--percentiles 2,98")
    );
    for name in [
        "depth_i16.tif",
        "ortho_jpeg.tif",
        "palette_u8.tif",
        "white_u32.tif",
    ] {
        assert_eq!(unused(name), None, "{name}");
    }
}

#[test]
fn channels_of_other_formats_can_be_chosen() {
    let photo = image::RgbaImage::from_fn(4, 3, |x, y| {
        image::Rgba([x as u8, y as u8, 9, 60 * x as u8])
    });
    let mut png = std::io::Cursor::new(Vec::new());
    photo.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let png = png.into_inner();
    let found = render(&png, &rendering(Some([4, 2, 1]), None)).unwrap();
    for (found, given) in found.pixels().zip(photo.pixels()) {
        assert_eq!(found.0, [given[3], given[1], given[0]]);
    }
    let stretched = render(&png, &rendering(Some([4; 3]), Some([0.0, 100.0]))).unwrap();
    assert_eq!(
        (stretched[(0, 0)].0, stretched[(3, 2)].0),
        ([0; 3], [255; 3])
    );
}

/// Bits are gray, and inks are colours, before channels are chosen and scaled.
#[test]
fn bits_and_inks_are_made_first() {
    let photos = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
    let cmyk = std::fs::read(photos.join("cmyk.tif")).unwrap();
    let plain = decode(&cmyk, &DecodeLimits::default()).unwrap();
    let reversed = render(&cmyk, &rendering(Some([3, 2, 1]), None)).unwrap();
    for (plain, reversed) in plain.pixels().zip(reversed.pixels()) {
        assert_eq!([plain[2], plain[1], plain[0]], reversed.0);
    }
    let bits = image::GrayImage::from_fn(21, 9, |x, y| {
        image::Luma([if (x * y) % 3 == 0 { 255 } else { 0 }])
    });
    let packed = one_bit_tiff(&bits);
    let found = render(&packed, &rendering(Some([1; 3]), Some([0.0, 100.0]))).unwrap();
    assert_eq!(found, image::DynamicImage::ImageLuma8(bits).into_rgb8());
}

/// A TIFF of a bit to a pixel, 1 is white.
fn one_bit_tiff(gray: &image::GrayImage) -> Vec<u8> {
    let (width, height) = gray.dimensions();
    let bytes = width.div_ceil(8);
    let mut rows = Vec::new();
    for row in gray.rows() {
        let mut packed = vec![0u8; bytes as usize];
        for (x, pixel) in row.enumerate() {
            packed[x / 8] |= u8::from(pixel[0] > 0) << (7 - x % 8);
        }
        rows.extend(packed);
    }
    let entries: [(u16, u16, u32); 8] = [
        (256, 3, width),
        (257, 3, height),
        (258, 3, 1),
        (259, 3, 1),
        (262, 3, 1),
        (273, 4, 8 + 2 + 8 * 12 + 4),
        (277, 3, 1),
        (279, 4, bytes * height),
    ];
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend(8u16.to_le_bytes());
    for (tag, kind, value) in entries {
        file.extend(tag.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(value.to_le_bytes());
    }
    file.extend([0; 4]);
    file.extend(rows);
    file
}

#[test]
fn channels_that_are_not_there_are_named() {
    let error = render(&read("five_u16.tif"), &rendering(Some([1, 6, 2]), None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it has no channel 6, but 5, counted from 1"
    );
    let error = render(&read("gray_u16.tif"), &rendering(Some([2; 3]), None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it has no channel 2, but 1, counted from 1"
    );
}

#[test]
fn limits_and_damage_are_errors() {
    let bytes = read("five_u16.tif");
    let small = DecodeLimits {
        max_bytes: 6000,
        ..DecodeLimits::default()
    };
    let error = decode(&bytes, &small).unwrap_err().to_string();
    assert!(error.contains("over the limit of 6000 bytes"), "{error}");
    // Whatever byte is hit, nothing panics, and the size stays.
    for at in (0..bytes.len()).step_by(13) {
        let mut hit = bytes.clone();
        hit[at] ^= 0x55;
        if let Ok(photo) = decode(&hit, &DecodeLimits::default()) {
            assert_eq!(
                photo.dimensions(),
                probe(&hit).map(|it| (it.width, it.height)).unwrap()
            );
        }
    }
}

/// A store of some fixtures, and of what they look like in a rendering, as PNG.
async fn store_of(names: &[&str], decoding: &Decoding) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    for name in names {
        std::fs::copy(data(name), photos.join(name)).unwrap();
        let seen = render(&read(name), decoding).unwrap();
        seen.save(photos.join(name).with_extension("png")).unwrap();
    }
    let embedding = EmbeddingType {
        float: EmbeddingFloat::F16,
        dim: 4 * 32,
    };
    let place = dir.path().join("store");
    let options = StoreOptions { embedding };
    let store = Store::open_or_create(place.to_str().unwrap(), options)
        .await
        .unwrap();
    let request = FolderIngest {
        directory: (&photos).into(),
        labels: LabelSource::Unlabelled,
        options: options_of("photos"),
    };
    ingest_folder(&store, &request, &NoProgress).await.unwrap();
    (dir, store)
}

fn options_of(dataset: &str) -> IngestOptions {
    IngestOptions {
        dataset: dataset.to_owned(),
        source: Source::Target,
        split: None,
        verify_pixels: false,
        commit_rows: DEFAULT_COMMIT_ROWS,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn masks_are_of_the_channels_that_were_chosen() {
    let chosen = rendering(Some([4, 3, 2]), Some([1.0, 99.0]));
    let (_dir, store) = store_of(&["five_u16.tif", "planar_f32.tif"], &chosen).await;
    let grid = MaskOptions {
        points_per_side: 3,
        ..MaskOptions::default()
    };
    let of_channels = MaskOptions {
        channels: chosen.rendering.channels,
        percentiles: chosen.rendering.percentiles,
        ..grid.clone()
    };
    for (options, condition) in [(&of_channels, "format = 'tiff'"), (&grid, "format = 'png'")] {
        let selection = ImageSelection {
            images: ImageFilter {
                condition: Some(condition.to_owned()),
                ..ImageFilter::default()
            },
            ..ImageSelection::default()
        };
        let done = extract_with(&store, extractor(options), &selection, &NoProgress).await;
        assert_eq!(done.unwrap().images, 2);
    }
    let snapshot = store.snapshot().await.unwrap();
    let query = "SELECT regexp_replace(i.file_name, '[.].*', '') AS photo, m.mask_index, m.rle.counts AS counts,
                        m.predicted_iou AS iou, i.format AS format
                 FROM masks m JOIN images i USING (image_id) ORDER BY 1, 2, 5";
    let rows = json_of(&snapshot, query).await;
    assert_eq!(rows.len(), 2 * 2 * 9);
    for pair in rows.chunks(2) {
        let [mut png, mut tiff] = [pair[0].clone(), pair[1].clone()];
        assert_eq!(
            (png["format"].take(), tiff["format"].take()),
            (json!("png"), json!("tiff"))
        );
        assert_eq!(png, tiff);
    }
    let extractors: Vec<ExtractorRow> = crate::support::rows(&snapshot).await;
    let of_tiff = extractors
        .iter()
        .find(|row| row.options.contains("channels"))
        .unwrap();
    assert!(
        of_tiff.options.contains(r#""channels":[4,3,2]"#),
        "{}",
        of_tiff.options
    );
    assert!(
        of_tiff.options.contains(r#""percentiles":[1.0,99.0]"#),
        "{}",
        of_tiff.options
    );
    let found = decoding_of(&snapshot, &of_tiff.extractor_id).await.unwrap();
    assert_eq!(found, chosen);
    let plain = extractors
        .iter()
        .find(|row| !row.options.contains("channels"))
        .unwrap();
    let found = decoding_of(&snapshot, &plain.extractor_id).await.unwrap();
    assert_eq!(found, Decoding::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_without_a_channel_are_failures() {
    let (_dir, store) = store_of(&["five_u16.tif", "gray_u16.tif"], &Decoding::default()).await;
    let options = MaskOptions {
        points_per_side: 1,
        channels: Some(Channels::try_from([5, 4, 1]).unwrap()),
        ..MaskOptions::default()
    };
    let selection = ImageSelection::default();
    let done = extract_with(&store, extractor(&options), &selection, &NoProgress)
        .await
        .unwrap();
    assert_eq!((done.images, done.failed), (1, 3));
    let snapshot = store.snapshot().await.unwrap();
    let failures: Vec<FailureRow> = crate::support::rows(&snapshot).await;
    let of_gray = failures
        .iter()
        .find(|row| row.stage == "extract" && row.item.contains("gray_u16.tif"));
    assert_eq!(
        of_gray.unwrap().reason,
        "it has no channel 5, but 1, counted from 1"
    );
}

/// A ring that begins at its first corner and runs counterclockwise.
fn canonical(ring: &Value) -> Vec<[i64; 2]> {
    let corners = ring.as_array().unwrap().iter();
    let mut corners: Vec<[i64; 2]> = corners
        .map(|corner| [0, 1].map(|at| (corner[at].as_f64().unwrap() * 1e6).round() as i64))
        .collect();
    assert_eq!(corners.first(), corners.last());
    corners.pop();
    if doubled_area(&corners) < 0 {
        corners.reverse();
    }
    let first = (0..corners.len()).min_by_key(|at| corners[*at]).unwrap();
    corners.rotate_left(first);
    corners
}

fn doubled_area(corners: &[[i64; 2]]) -> i128 {
    let next = corners.iter().cycle().skip(1);
    let pairs = corners.iter().zip(next);
    pairs
        .map(|(a, b)| i128::from(a[0]) * i128::from(b[1]) - i128::from(b[0]) * i128::from(a[1]))
        .sum()
}

fn polygons_of(polygons: &Value) -> BTreeSet<Vec<Vec<[i64; 2]>>> {
    let polygons = polygons.as_array().unwrap().iter();
    polygons
        .map(|polygon| {
            let rings = polygon.as_array().unwrap();
            let exterior = canonical(&rings[0]);
            let mut holes: Vec<_> = rings[1..].iter().map(canonical).collect();
            holes.sort();
            [vec![exterior], holes].concat()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn geojson_is_what_gdal_makes_of_the_masks() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    let store = Store::open_or_create(place.to_str().unwrap(), StoreOptions::default())
        .await
        .unwrap();
    let request = CocoIngest {
        annotations: data("annotations.json"),
        images: data("").as_path().into(),
        options: options_of("earth"),
    };
    ingest_coco(&store, &request, &NoProgress).await.unwrap();
    let out = dir.path().join("geojson");
    let request = GeoJsonExport {
        export: crate::export::request(None),
        directory: out.clone(),
    };
    let snapshot = store.snapshot().await.unwrap();
    let summary = export_geojson(&snapshot, &request, &NoProgress)
        .await
        .unwrap();
    assert_eq!((summary.images, summary.annotations), (4, 8));

    let polygons: Value = serde_json::from_slice(&read("polygons.json")).unwrap();
    for (name, of_image) in polygons.as_object().unwrap() {
        let file = out.join(name).with_extension("geojson");
        let found: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let crs = match name.as_str() {
            "five_u16.tif" => json!("urn:ogc:def:crs:EPSG::32632"),
            "rgb_nir_u8.tif" => json!("urn:ogc:def:crs:EPSG::26917"),
            "planar_f32.tif" => json!("urn:ogc:def:crs:OGC:1.3:CRS84"),
            _ => Value::Null,
        };
        assert_eq!(found["crs"]["properties"]["name"], crs, "{name}");
        assert_eq!(found["name"], json!(name));
        let features = found["features"].as_array().unwrap();
        assert_eq!(features.len(), 2);
        for (feature, (id, expected)) in features.iter().zip(of_image.as_object().unwrap()) {
            let class = if id.ends_with('0') { "crop" } else { "water" };
            assert_eq!(feature["properties"]["class"], class, "{name} {id}");
            let geometry = &feature["geometry"];
            let coordinates = match geometry["type"].as_str().unwrap() {
                "Polygon" => json!([geometry["coordinates"]]),
                _ => geometry["coordinates"].clone(),
            };
            assert_eq!(
                polygons_of(&coordinates),
                polygons_of(expected),
                "{name} {id}"
            );
            // Exteriors run counterclockwise, holes clockwise.
            for polygon in coordinates.as_array().unwrap() {
                for (at, ring) in polygon.as_array().unwrap().iter().enumerate() {
                    let corners = ring.as_array().unwrap().iter();
                    let corners: Vec<[i64; 2]> = corners
                        .map(|it| [0, 1].map(|at| (it[at].as_f64().unwrap() * 1e6).round() as i64))
                        .collect();
                    assert_eq!(doubled_area(&corners) > 0, at == 0, "{name} {id}");
                }
            }
            let is_on_earth = name != "gray_u16.tif";
            assert_eq!(
                feature["properties"]["classification"].is_null(),
                is_on_earth
            );
        }
    }
    // COCO JSON keeps where the photos are, beside what the data set said of them.
    let images = json_of(
        &snapshot,
        "SELECT file_name, attributes FROM images ORDER BY 1",
    )
    .await;
    let attributes: Value =
        serde_json::from_str(images[0]["attributes"].as_str().unwrap()).unwrap();
    assert_eq!(attributes["crs"], "EPSG:32632");
    assert_eq!(
        attributes["geo_transform"],
        json!([399960.0, 10.0, 0.0, 5300040.0, 0.0, -10.0])
    );
    assert_eq!(attributes["photographer"], "nobody");
}

async fn json_of(snapshot: &Snapshot, sql: &str) -> Vec<Value> {
    let session = Sql::new(snapshot).await.unwrap();
    let batches = session.query(sql).await.unwrap().collect().await.unwrap();
    let mut writer = ArrayWriter::new(Vec::new());
    writer
        .write_batches(&batches.iter().collect::<Vec<_>>())
        .unwrap();
    writer.finish().unwrap();
    serde_json::from_slice(&writer.into_inner()).unwrap()
}
