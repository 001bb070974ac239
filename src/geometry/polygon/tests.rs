use std::collections::HashSet;
use std::time::{Duration, Instant};

use super::super::components::connected_components;
use super::super::segments::Connectivity;
use super::super::testing::{Random, drawn};
use super::*;

const fn size(height: u32, width: u32) -> Size {
    Size { height, width }
}

fn corners(ring: &Ring) -> Vec<(i32, i32)> {
    ring.iter().map(|[x, y]| (*x as i32, *y as i32)).collect()
}

#[test]
fn outlines_are_clockwise_from_the_left_and_holes_the_other_way() {
    let polygons = polygons_from_rle(&drawn(&[
        ".....", //
        ".####", //
        ".#.##", //
        ".####",
    ]));
    let [polygon] = polygons.as_slice() else {
        panic!("{polygons:?}")
    };
    assert_eq!(corners(&polygon.exterior), [(1, 1), (5, 1), (5, 4), (1, 4)]);
    assert_eq!(polygon.holes.len(), 1);
    assert_eq!(corners(&polygon.holes[0]), [(2, 2), (2, 3), (3, 3), (3, 2)]);
}

#[test]
fn diagonal_parts_are_apart_and_nested_parts_are_polygons_of_their_own() {
    let rings = |rows: &[&str]| -> Vec<(usize, usize)> {
        polygons_from_rle(&drawn(rows))
            .iter()
            .map(|polygon| (polygon.exterior.len(), polygon.holes.len()))
            .collect()
    };
    assert_eq!(rings(&["#.", ".#"]), [(4, 0), (4, 0)]);
    assert_eq!(rings(&[".#", "#."]), [(4, 0), (4, 0)]);
    // An island in a hole.
    assert_eq!(
        rings(&["#####", "#...#", "#.#.#", "#...#", "#####"]),
        [(4, 1), (4, 0)]
    );
    // A part that meets itself at a corner: the enclosed area is a hole.
    assert_eq!(rings(&["###", "#.#", "##."]), [(6, 1)]);
    // Two holes that meet at a corner stay separate.
    assert_eq!(rings(&["####", "#.##", "##.#", "####"]), [(4, 2)]);
    assert_eq!(rings(&["...", "..."]), []);
}

#[test]
fn random_outlines_are_simple_and_give_back_their_masks() {
    let mut random = Random::new(5);
    let mut touching = 0;
    for _ in 0..3000 {
        let size = random.size(12);
        let mask = random.mask(size);
        let polygons = polygons_from_rle(&mask);
        let parts = connected_components(&mask, Connectivity::Four);
        assert_eq!(polygons.len(), parts.len());
        for (polygon, part) in polygons.iter().zip(&parts) {
            let mut back = rle_from_polygon(polygon.exterior.as_flattened(), size).unwrap();
            for hole in &polygon.holes {
                let hole_mask = rle_from_polygon(hole.as_flattened(), size).unwrap();
                assert!(part.intersection(&hole_mask).unwrap().is_empty());
                back = back.difference(&hole_mask).unwrap();
            }
            assert_eq!(&back, part, "{size} {}", mask.to_counts_string());
            let joined = rle_from_polygon(&polygon.to_coco(), size).unwrap();
            assert_eq!(&joined, part);
            assert!(doubled_area(&polygon.exterior) > 0.0);
            assert!(polygon.holes.iter().all(|hole| doubled_area(hole) < 0.0));

            let rings = std::iter::once(&polygon.exterior).chain(&polygon.holes);
            let mut of_polygon = HashSet::new();
            for ring in rings {
                let corners = corners(ring);
                let distinct: HashSet<_> = corners.iter().copied().collect();
                assert_eq!(distinct.len(), corners.len(), "a corner is passed twice");
                assert_eq!(corners.iter().min(), corners.first());
                for (index, a) in corners.iter().enumerate() {
                    let b = corners[(index + 1) % corners.len()];
                    let c = corners[(index + 2) % corners.len()];
                    assert!((a.0 == b.0) != (a.1 == b.1), "not along the pixels");
                    assert!((a.0 == b.0) != (b.0 == c.0), "three in a row");
                }
                touching += corners.iter().filter(|c| !of_polygon.insert(**c)).count();
            }
        }
    }
    assert!(touching > 100, "rings touched only {touching} times");
}

#[test]
fn spans_of_whole_columns_are_followed() {
    let mask = Rle::full(size(3, 4)).unwrap();
    let polygons = polygons_from_rle(&mask);
    assert_eq!(
        polygons[0].to_coco(),
        [0.0, 0.0, 4.0, 0.0, 4.0, 3.0, 0.0, 3.0]
    );
    let wrapped = Rle::from_runs(size(3, 4), vec![2, 2, 8]).unwrap();
    assert_eq!(polygons_from_rle(&wrapped).len(), 2);
}

#[test]
fn far_coordinates_cost_no_more_than_near_ones() {
    let begin = Instant::now();
    let size = size(480, 640);
    let full = Rle::full(size).unwrap();
    for far in [1e6, 1e9, 1e18, f64::MAX] {
        let around = [-far, -far, far, -far, far, far, -far, far];
        assert_eq!(rle_from_polygon(&around, size).unwrap(), full);
        let beside = [far, far, far, 2.0 * far.min(1e300), far * 0.5, far];
        assert!(rle_from_polygon(&beside, size).unwrap().is_empty());
        let zigzag: Vec<f64> = (0..200)
            .flat_map(|i| [f64::from(i) * 3.0, if i % 2 == 0 { -far } else { far }])
            .collect();
        rle_from_polygon(&zigzag, size).unwrap();
    }
    // This takes milliseconds; walking 1e9 pixels step by step would take minutes and gigabytes.
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn malformed_polygons_are_named() {
    let good = vec![0.0; 6];
    let message = |xy: &[f64]| {
        rle_from_polygons(&[good.clone(), xy.to_vec()], size(4, 4))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message(&[0.0; 7]),
        "polygon 1 has 7 numbers, expected an even count (x, y pairs)"
    );
    assert_eq!(
        message(&[0.0; 4]),
        "polygon 1 has 4 numbers, expected at least 6 (three points)"
    );
    assert_eq!(
        message(&[0.0, 1.0, 2.0, f64::NAN, 1.0, 1.0]),
        "polygon 1 has coordinate NaN at position 3, expected a finite number"
    );
    assert!(message(&[f64::INFINITY; 6]).contains("inf at position 0"));
    assert!(rle_from_polygon(&good, size(1 << 16, 1 << 16)).is_err());
    assert!(rle_from_polygons(&[], size(4, 4)).unwrap().is_empty());
}
