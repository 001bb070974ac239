use std::collections::HashSet;

use super::super::testing::{Random, drawn};
use super::*;

const fn size(height: u32, width: u32) -> Size {
    Size { height, width }
}

#[test]
fn bitmaps_of_both_layouts_agree_and_come_back() {
    let mut random = Random::new(1);
    for case in 0..2000 {
        // Sometimes wide, so that complete blocks of 32 columns occur.
        let mut size = random.size(12);
        if case % 4 == 0 {
            size.width += 32 * random.below(4);
        }
        let (height, width) = (size.height as usize, size.width as usize);
        let rows = random.bitmap(size);
        let columns: Vec<u8> = (0..width)
            .flat_map(|x| rows.iter().skip(x).step_by(width).copied())
            .collect();
        let mask = Rle::from_row_major(size, &rows).unwrap();
        assert_eq!(mask, Rle::from_bitmap(size, &columns).unwrap(), "{size}");
        let binary =
            |bytes: &[u8]| -> Vec<u8> { bytes.iter().map(|b| u8::from(*b != 0)).collect() };
        assert_eq!(mask.to_row_major(), binary(&rows), "{size}");
        assert_eq!(mask.to_bitmap(), binary(&columns), "{size}");
        assert_eq!(
            mask.area(),
            rows.iter().filter(|byte| **byte != 0).count() as u64
        );
        for (x, y) in [(0, 0), (width - 1, height - 1), (width / 2, height / 3)] {
            let pixel = Pixel {
                x: x as u32,
                y: y as u32,
            };
            assert_eq!(mask.contains(pixel), rows[y * width + x] != 0);
        }
        let back = Rle::from_counts_str(size, &mask.to_counts_string()).unwrap();
        assert_eq!(back, mask);
    }
}

#[test]
fn equal_masks_are_equal_values_however_their_runs_are_written() {
    let canonical = Rle::from_runs(size(3, 4), vec![2, 3, 7]).unwrap();
    let spellings: [&[u32]; 6] = [
        &[2, 3],
        &[2, 3, 7, 0],
        &[2, 1, 0, 2, 7],
        &[1, 0, 1, 3, 0, 0, 7],
        &[0, 0, 2, 3, 3, 0, 4],
        &[2, 0, 0, 3, 7],
    ];
    let mut set = HashSet::from([canonical.clone()]);
    for runs in spellings {
        let mask = Rle::from_runs(size(3, 4), runs.to_vec()).unwrap();
        assert_eq!(mask.runs(), [2, 3, 7], "{runs:?}");
        assert!(!set.insert(mask));
    }
}

#[test]
fn short_runs_are_padded_with_background() {
    let runs = |runs: &[u32]| Rle::from_runs(size(3, 4), runs.to_vec()).unwrap();
    assert_eq!(runs(&[]).runs(), [12]);
    assert_eq!(runs(&[5]).runs(), [12]);
    assert_eq!(runs(&[0, 1]).runs(), [0, 1, 11]);
    let counts = Rle::from_counts_str(size(3, 4), "02").unwrap();
    assert_eq!(counts.runs(), [0, 2, 10]);
    assert_eq!(Rle::from_counts_str(size(3, 4), "").unwrap().runs(), [12]);
}

#[test]
fn empty_full_and_sizeless_masks() {
    let empty = Rle::empty(size(3, 4)).unwrap();
    let full = Rle::full(size(3, 4)).unwrap();
    assert_eq!((empty.runs(), full.runs()), (&[12][..], &[0, 12][..]));
    assert!(empty.is_empty() && !full.is_empty());
    assert_eq!(empty.bbox(), BBox::default());
    assert_eq!(full.bbox().to_xywh(), [0.0, 0.0, 4.0, 3.0]);
    assert_eq!(full.complement(), empty);
    assert_eq!(full.complement().complement(), full);
    assert!(!full.contains(Pixel { x: 4, y: 0 }));
    assert!(!full.contains(Pixel { x: 0, y: 3 }));
    for size in [size(0, 0), size(0, 7), size(7, 0)] {
        let none = Rle::full(size).unwrap();
        assert_eq!(none.runs(), [0]);
        assert!(none.is_empty());
        assert_eq!(none, Rle::from_row_major(size, &[]).unwrap());
        assert_eq!(none, Rle::from_bitmap(size, &[]).unwrap());
        assert_eq!(none, Rle::from_runs(size, vec![0, 0, 0]).unwrap());
        assert!(none.to_row_major().is_empty());
        assert_eq!(none.union(&none).unwrap(), none);
        assert_eq!(none.iou(&none).unwrap(), 0.0);
    }
}

#[test]
fn set_algebra_is_pixelwise() {
    let mut random = Random::new(2);
    for _ in 0..2000 {
        let size = random.size(10);
        let (a, b) = (random.mask(size), random.mask(size));
        let pixelwise = |keep: fn(u8, u8) -> u8| {
            let pixels = a.to_bitmap().into_iter().zip(b.to_bitmap());
            let bitmap: Vec<u8> = pixels.map(|(a, b)| keep(a, b)).collect();
            Rle::from_bitmap(size, &bitmap).unwrap()
        };
        assert_eq!(a.union(&b).unwrap(), pixelwise(|a, b| a | b));
        let shared = a.intersection(&b).unwrap();
        assert_eq!(shared, pixelwise(|a, b| a & b));
        assert_eq!(a.difference(&b).unwrap(), pixelwise(|a, b| a & !b & 1));
        assert_eq!(a.complement(), pixelwise(|a, _| 1 - a));
        assert_eq!(a.intersection_area(&b).unwrap(), shared.area());
    }
}

#[test]
fn union_all_equals_unions_one_by_one() {
    let mut random = Random::new(3);
    for count in 0..40 {
        let size = random.size(20);
        let masks: Vec<Rle> = (0..count)
            .map(|_| {
                let (mask, other) = (random.mask(size), random.mask(size));
                mask.intersection(&other).unwrap()
            })
            .collect();
        let mut expected = Rle::empty(size).unwrap();
        for mask in &masks {
            expected = expected.union(mask).unwrap();
        }
        assert_eq!(Rle::union_all(size, &masks).unwrap(), expected);
    }
    let other = Rle::empty(size(1, 2)).unwrap();
    assert!(Rle::union_all(size(2, 1), [&other]).is_err());
}

#[test]
fn the_largest_masks_do_not_overflow() {
    let size = size(65_537, 65_535);
    let full = Rle::full(size).unwrap();
    assert_eq!(full.area(), u64::from(u32::MAX));
    assert_eq!(full.iou(&full).unwrap(), 1.0);
    assert_eq!(full.union(&full.complement()).unwrap(), full);
    let half = Rle::from_runs(size, vec![1 << 31]).unwrap();
    assert!(half.is_empty());
    let late = Rle::from_runs(size, vec![1 << 31, (1 << 31) - 1]).unwrap();
    assert_eq!(late.area(), (1 << 31) - 1);
    assert_eq!(late.difference(&full).unwrap(), half);
    let counts = late.to_counts_string();
    assert_eq!(Rle::from_counts_str(size, &counts).unwrap(), late);
}

#[test]
fn sizes_must_agree() {
    let (a, b) = (drawn(&["##", "##"]), drawn(&["####"]));
    let message = a.union(&b).unwrap_err().to_string();
    assert_eq!(message, "masks differ in size: expected 2x2, found 1x4");
    assert!(a.intersection(&b).is_err() && a.difference(&b).is_err());
    assert!(a.iou(&b).is_err() && a.crowd_iou(&b).is_err() && a.intersection_area(&b).is_err());
}

#[test]
fn malformed_masks_are_named() {
    let runs = |runs: &[u32]| {
        Rle::from_runs(size(2, 3), runs.to_vec())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        runs(&[2, 3, 2, 9]),
        "run 2 of a 2x3 mask ends at pixel 7, expected at most 6"
    );
    assert_eq!(
        runs(&[0, u32::MAX, u32::MAX]),
        "run 1 of a 2x3 mask ends at pixel 4294967295, expected at most 6"
    );
    let counts = |counts: &str| Rle::from_counts_str(size(2, 3), counts).unwrap_err();
    assert!(matches!(
        counts("2 "),
        Error::CountsByte {
            position: 1,
            byte: b' ',
            ..
        }
    ));
    assert!(matches!(counts("é"), Error::CountsByte { position: 0, .. }));
    assert!(matches!(
        counts("2Q"),
        Error::CountsTruncated { length: 2, .. }
    ));
    assert!(matches!(counts("p"), Error::CountsByte { byte: b'p', .. }));
    // Negative, too long, beyond u32, and too many groups.
    for bad in ["O", "7", "PPPPPP8", "PPPPPPPPPPPPPPPP0"] {
        let error = counts(bad);
        assert!(matches!(error, Error::RleCodec { .. }), "{bad}: {error}");
        assert!(std::error::Error::source(&error).is_some());
    }
    let large = size(1 << 16, 1 << 16);
    assert!(Rle::empty(large).is_err() && Rle::full(large).is_err());
    assert!(Rle::from_counts_str(large, "0").is_err() && Rle::from_runs(large, vec![]).is_err());
    let message = Rle::from_row_major(size(2, 3), &[0; 5])
        .unwrap_err()
        .to_string();
    assert_eq!(message, "bitmap of a 2x3 mask has 5 bytes, expected 6");
    assert!(Rle::from_bitmap(size(2, 3), &[0; 7]).is_err());
}
