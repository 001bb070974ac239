use super::super::testing::{Random, drawn};
use super::*;

#[test]
fn diagonal_neighbours_are_joined_by_eight_only() {
    let mask = drawn(&[
        "#..#", //
        ".#..", //
        "..##",
    ]);
    let areas = |connectivity| -> Vec<u64> {
        connected_components(&mask, connectivity)
            .iter()
            .map(Rle::area)
            .collect()
    };
    assert_eq!(areas(Connectivity::Four), [1, 1, 2, 1]);
    assert_eq!(areas(Connectivity::Eight), [4, 1]);
}

#[test]
fn a_run_that_wraps_from_one_column_to_the_next_does_not_connect() {
    let mask = drawn(&[".#", "..", "#."]);
    assert_eq!(mask.runs(), [2, 2, 2]);
    assert_eq!(connected_components(&mask, Connectivity::Eight).len(), 2);
    let joined = drawn(&[".#", "#."]);
    assert_eq!(connected_components(&joined, Connectivity::Eight).len(), 1);
    assert_eq!(connected_components(&joined, Connectivity::Four).len(), 2);
}

#[test]
fn parts_partition_the_mask_and_do_not_touch() {
    let mut random = Random::new(7);
    for _ in 0..1000 {
        let size = random.size(12);
        let mask = random.mask(size);
        for connectivity in [Connectivity::Four, Connectivity::Eight] {
            let parts = connected_components(&mask, connectivity);
            assert_eq!(Rle::union_all(size, &parts).unwrap(), mask);
            assert_eq!(parts.iter().map(Rle::area).sum::<u64>(), mask.area());
            let firsts: Vec<u32> = parts.iter().map(|part| part.runs()[0]).collect();
            assert!(firsts.is_sorted());
            for part in &parts {
                let again = connected_components(part, connectivity);
                assert_eq!(again, std::slice::from_ref(part));
            }
        }
    }
}

#[test]
fn small_regions_are_removed_on_either_side() {
    let mask = drawn(&[
        "#####..", //
        "#.#.#.#", //
        "#####..",
    ]);
    let (filled, changed) = remove_small_regions(&mask, 2, SmallRegion::Holes);
    assert_eq!(filled, drawn(&["#####..", "#####.#", "#####.."]));
    assert!(changed);
    let (cleared, changed) = remove_small_regions(&mask, 2, SmallRegion::Islands);
    assert_eq!(cleared, drawn(&["#####..", "#.#.#..", "#####.."]));
    assert!(changed);
    let same = remove_small_regions(&mask, 1, SmallRegion::Holes);
    assert_eq!(same, (mask.clone(), false));
    // All islands are small: the largest stays, and a change is reported.
    let (largest, changed) = remove_small_regions(&mask, 100, SmallRegion::Islands);
    assert_eq!(largest, cleared);
    assert!(changed);
    let (full, _) = remove_small_regions(&mask, 100, SmallRegion::Holes);
    assert_eq!(full, Rle::full(mask.size()).unwrap());
}

#[test]
fn regions_of_just_the_minimum_area_stay() {
    let mask = drawn(&["##.##.#"]);
    let (kept, changed) = remove_small_regions(&mask, 2, SmallRegion::Islands);
    assert_eq!((kept, changed), (drawn(&["##.##.."]), true));
}

#[test]
fn masks_without_regions_stay() {
    let empty = drawn(&["...", "..."]);
    let islands = remove_small_regions(&empty, 10, SmallRegion::Islands);
    assert_eq!(islands, (empty.clone(), false));
    let full = empty.complement();
    let holes = remove_small_regions(&full, 10, SmallRegion::Holes);
    assert_eq!(holes, (full, false));
    assert!(connected_components(&empty, Connectivity::Four).is_empty());
}
