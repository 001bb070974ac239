//! The geometry layer against pycocotools, OpenCV and segment-anything.
//!
//! `tests/data/rle/make_fixtures.py` wrote the fixtures and says what each case holds.

use std::path::Path;

use grainstore::geometry::{
    Connectivity, Polygon, Rle, Size, SmallRegion, connected_components, pairwise_iou,
    polygons_from_rle, remove_small_regions, rle_from_polygon, rle_from_polygons,
};
use serde::de::DeserializeOwned;

/// Loads all cases of a fixture, which must be at least `at_least`.
fn cases<T: DeserializeOwned>(name: &str, at_least: usize) -> Vec<T> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rle");
    let path = Path::new(folder).join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let cases: Vec<T> = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    assert!(
        cases.len() >= at_least,
        "{name}: only {} cases",
        cases.len()
    );
    cases
}

fn size(height: u32, width: u32) -> Size {
    Size { height, width }
}

fn mask(size: Size, counts: &str) -> Rle {
    Rle::from_counts_str(size, counts).unwrap()
}

fn strings(masks: &[Rle]) -> Vec<String> {
    masks.iter().map(Rle::to_counts_string).collect()
}

/// The column-major bitmap of runs, written out without help from the library.
fn column_major(runs: &[u32]) -> Vec<u8> {
    let mut bitmap = Vec::new();
    for (index, &run) in runs.iter().enumerate() {
        bitmap.extend(std::iter::repeat_n((index % 2) as u8, run as usize));
    }
    bitmap
}

fn row_major(column_major: &[u8], size: Size) -> Vec<u8> {
    let (height, width) = (size.height as usize, size.width as usize);
    let mut bitmap = vec![0; height * width];
    for x in 0..width {
        for y in 0..height {
            bitmap[y * width + x] = column_major[x * height + y];
        }
    }
    bitmap
}

#[test]
fn masks_equal_pycocotools() {
    type Case = (u32, u32, String, Vec<u32>, u64, [f64; 4]);
    for (h, w, counts, runs, area, bbox) in cases::<Case>("masks.json", 1000) {
        let size = size(h, w);
        let context = format!("{size} {counts}");
        let rle = mask(size, &counts);
        assert_eq!(rle.runs(), runs, "{context}");
        assert_eq!(rle.to_counts_string(), counts);
        assert_eq!(rle.size(), size);
        assert_eq!(rle.area(), area, "{context}");
        assert_eq!(rle.bbox().to_xywh(), bbox, "{context}");
        assert_eq!(rle.is_empty(), area == 0, "{context}");
        assert_eq!(Rle::from_runs(size, runs.clone()).unwrap(), rle);

        let columns = column_major(&runs);
        assert_eq!(rle.to_bitmap(), columns, "{context}");
        assert_eq!(Rle::from_bitmap(size, &columns).unwrap(), rle, "{context}");
        let rows = row_major(&columns, size);
        assert_eq!(rle.to_row_major(), rows, "{context}");
        assert_eq!(Rle::from_row_major(size, &rows).unwrap(), rle, "{context}");
    }
}

#[test]
fn runs_of_zero_are_read_as_pycocotools_decodes_them() {
    type Case = (u32, u32, Vec<u32>, String);
    for (h, w, runs, counts) in cases::<Case>("zero_runs.json", 100) {
        let rle = Rle::from_runs(size(h, w), runs.clone()).unwrap();
        assert_eq!(rle.to_counts_string(), counts, "{h}x{w} {runs:?}");
    }
}

#[test]
fn pairs_equal_pycocotools() {
    type Case = (u32, u32, String, String, f64, f64, String, String, String);
    for (h, w, a, b, iou, crowd_iou, union, intersection, difference) in
        cases::<Case>("pairs.json", 500)
    {
        let size = size(h, w);
        let context = format!("{size} {a} {b}");
        let (a, b) = (mask(size, &a), mask(size, &b));
        assert_eq!(a.iou(&b).unwrap(), iou, "{context}");
        assert_eq!(a.crowd_iou(&b).unwrap(), crowd_iou, "{context}");
        let merged = [
            a.union(&b).unwrap(),
            a.intersection(&b).unwrap(),
            a.difference(&b).unwrap(),
        ];
        assert_eq!(
            strings(&merged),
            [union, intersection, difference],
            "{context}"
        );
        assert_eq!(
            a.intersection_area(&b).unwrap(),
            merged[1].area(),
            "{context}"
        );
        assert_eq!(Rle::union_all(size, [&a, &b]).unwrap(), merged[0]);
        assert_eq!(a.intersection(&b.complement()).unwrap(), merged[2]);
    }
}

#[test]
fn iou_matrices_equal_pycocotools() {
    type Case = (u32, u32, Vec<String>, Vec<String>, Vec<bool>, Vec<Vec<f64>>);
    for (h, w, detections, truth, iscrowd, rows) in cases::<Case>("matrices.json", 30) {
        let size = size(h, w);
        let read = |side: &[String]| -> Vec<Rle> { side.iter().map(|s| mask(size, s)).collect() };
        let matrix = pairwise_iou(&read(&detections), &read(&truth), &iscrowd).unwrap();
        assert_eq!(matrix.detections(), detections.len());
        assert_eq!(matrix.ground_truth(), truth.len());
        assert_eq!(matrix.values(), rows.concat());
        for (index, row) in rows.iter().enumerate() {
            assert_eq!(matrix.row(index), row);
        }
    }
}

#[test]
fn polygons_equal_pycocotools() {
    type Case = (u32, u32, Vec<Vec<f64>>, String);
    for (h, w, polygons, counts) in cases::<Case>("polygons.json", 500) {
        let size = size(h, w);
        let rle = rle_from_polygons(&polygons, size).unwrap();
        assert_eq!(rle.to_counts_string(), counts, "{size} {polygons:?}");
        if let [polygon] = polygons.as_slice() {
            assert_eq!(rle_from_polygon(polygon, size).unwrap(), rle);
        }
    }
}

/// With pycocotools' rasteriser: each exterior filled, its holes cleared, the parts united.
#[test]
fn outlines_of_every_mask_rasterise_back_to_it() {
    type Case = (u32, u32, String, Vec<u32>, u64, [f64; 4]);
    let mut holes = 0;
    for (h, w, counts, ..) in cases::<Case>("masks.json", 1000) {
        let size = size(h, w);
        let rle = mask(size, &counts);
        let fill = |ring: &Vec<[f64; 2]>| rle_from_polygon(ring.as_flattened(), size).unwrap();
        let polygons = polygons_from_rle(&rle);
        let part = |polygon: &Polygon| {
            let holes: Vec<Rle> = polygon.holes.iter().map(fill).collect();
            let holes = Rle::union_all(size, &holes).unwrap();
            fill(&polygon.exterior).difference(&holes).unwrap()
        };
        let parts: Vec<Rle> = polygons.iter().map(part).collect();
        assert_eq!(parts, connected_components(&rle, Connectivity::Four));
        assert_eq!(
            Rle::union_all(size, &parts).unwrap(),
            rle,
            "{size} {counts}"
        );
        let joined: Vec<Vec<f64>> = polygons.iter().map(Polygon::to_coco).collect();
        assert_eq!(
            rle_from_polygons(&joined, size).unwrap(),
            rle,
            "{size} {counts}"
        );
        holes += polygons.iter().map(|p| p.holes.len()).sum::<usize>();
    }
    assert!(holes > 1000, "only {holes} holes were met");
}

#[test]
fn components_equal_opencv() {
    type Case = (u32, u32, String, Vec<String>, Vec<String>);
    for (h, w, counts, four, eight) in cases::<Case>("components.json", 200) {
        let rle = mask(size(h, w), &counts);
        let parts = |connectivity| strings(&connected_components(&rle, connectivity));
        assert_eq!(parts(Connectivity::Four), four, "{h}x{w} {counts}");
        assert_eq!(parts(Connectivity::Eight), eight, "{h}x{w} {counts}");
    }
}

#[test]
fn small_regions_equal_segment_anything() {
    type Case = (u32, u32, String, u64, String, String, bool);
    for (h, w, counts, min_area, mode, after, changed) in cases::<Case>("regions.json", 500) {
        let kind = match mode.as_str() {
            "holes" => SmallRegion::Holes,
            "islands" => SmallRegion::Islands,
            other => panic!("unknown mode '{other}'"),
        };
        let (rle, flag) = remove_small_regions(&mask(size(h, w), &counts), min_area, kind);
        let context = format!("{h}x{w} {counts} {mode} below {min_area}");
        assert_eq!(
            (rle.to_counts_string(), flag),
            (after, changed),
            "{context}"
        );
    }
}
