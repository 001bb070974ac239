//! Times the geometry layer on 100 COCO-like masks of 480x640 pixels, single-threaded.
//!
//! Writes the masks and the median times to `target/geometry-bench/` for `geometry_peer.py`, which
//! times pycocotools on the same masks. `benches/geometry.sh` runs both and prints the ratios.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use grainstore::geometry::{Rle, Size, pairwise_iou};
use serde_json::{Value, json};

const SIZE: Size = Size {
    height: 480,
    width: 640,
};
const MASKS: usize = 100;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let masks = generate(20240213)?;
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/target/geometry-bench"
    ));
    std::fs::create_dir_all(folder)?;
    let strings: Vec<String> = masks.iter().map(Rle::to_counts_string).collect();
    let mosaic = side_by_side(&masks)?;
    std::fs::write(
        folder.join("masks.json"),
        serde_json::to_string(&json!({
            "size": [SIZE.height, SIZE.width],
            "counts": strings,
            "mosaic_width": mosaic_size().width,
            "mosaic": mosaic,
        }))?,
    )?;
    let times = measure(&masks, &strings, &mosaic)?;
    std::fs::write(
        folder.join("ours.json"),
        serde_json::to_string_pretty(&times)?,
    )?;
    println!("{times:#}");
    Ok(())
}

/// Microseconds and a checksum for each operation; the checksums show that the peer did the same.
fn measure(masks: &[Rle], strings: &[String], mosaic: &str) -> grainstore::error::Result<Value> {
    let column_major: Vec<Vec<u8>> = masks.iter().map(Rle::to_bitmap).collect();
    let row_major: Vec<Vec<u8>> = masks.iter().map(Rle::to_row_major).collect();
    let iscrowd = vec![false; masks.len()];
    let parse = || -> grainstore::error::Result<Vec<Rle>> {
        strings
            .iter()
            .map(|counts| Rle::from_counts_str(SIZE, counts))
            .collect()
    };
    let runs = |masks: &[Rle]| masks.iter().map(|mask| mask.runs().len() as f64).sum();
    let pairs = || masks.iter().zip(masks.iter().skip(1));
    let read_mosaic = || Rle::from_counts_str(mosaic_size(), mosaic);
    let mosaic_mask = read_mosaic()?;

    Ok(json!([
        timed("encode", || {
            let masks: Result<Vec<Rle>, _> = column_major
                .iter()
                .map(|m| Rle::from_bitmap(SIZE, m))
                .collect();
            Ok(runs(&masks?))
        })?,
        timed("encode row-major", || {
            let masks: Result<Vec<Rle>, _> = row_major
                .iter()
                .map(|m| Rle::from_row_major(SIZE, m))
                .collect();
            Ok(runs(&masks?))
        })?,
        timed("decode", || Ok(masks
            .iter()
            .map(|m| black_box(m.to_bitmap()).len() as f64)
            .sum()))?,
        timed("decode row-major", || Ok(masks
            .iter()
            .map(|m| black_box(m.to_row_major()).len() as f64)
            .sum()))?,
        timed("read counts of mosaic", || Ok(
            read_mosaic()?.runs().len() as f64
        ))?,
        timed("write counts of mosaic", || Ok(
            mosaic_mask.to_counts_string().len() as f64
        ))?,
        timed("bbox", || Ok(masks
            .iter()
            .flat_map(|m| m.bbox().to_xywh())
            .sum()))?,
        timed("iou 100x100", || Ok(pairwise_iou(masks, masks, &iscrowd)?
            .values()
            .iter()
            .sum()))?,
        timed("union of 100", || Ok(
            Rle::union_all(SIZE, masks)?.runs().len() as f64
        ))?,
        timed("99 unions of two", || {
            let unions: Result<Vec<Rle>, _> = pairs().map(|(a, b)| a.union(b)).collect();
            Ok(runs(&unions?))
        })?,
        timed("99 intersections of two", || {
            let shared: Result<Vec<Rle>, _> = pairs().map(|(a, b)| a.intersection(b)).collect();
            Ok(runs(&shared?))
        })?,
        timed("strings: iou 100x100", || {
            let (detections, truth) = (parse()?, parse()?);
            Ok(pairwise_iou(&detections, &truth, &iscrowd)?
                .values()
                .iter()
                .sum())
        })?,
        timed("strings: union of 100", || {
            Ok(Rle::union_all(SIZE, &parse()?)?.to_counts_string().len() as f64)
        })?,
        timed("strings: encode", || {
            let mut bytes = 0;
            for bitmap in &column_major {
                bytes += Rle::from_bitmap(SIZE, bitmap)?.to_counts_string().len();
            }
            Ok(bytes as f64)
        })?,
        timed("strings: encode row-major", || {
            let mut bytes = 0;
            for bitmap in &row_major {
                bytes += Rle::from_row_major(SIZE, bitmap)?.to_counts_string().len();
            }
            Ok(bytes as f64)
        })?,
    ]))
}

fn mosaic_size() -> Size {
    Size {
        height: SIZE.height,
        width: SIZE.width * MASKS as u32,
    }
}

/// The counts of all masks side by side.
fn side_by_side(masks: &[Rle]) -> grainstore::error::Result<String> {
    let columns: Vec<u8> = masks.iter().flat_map(Rle::to_bitmap).collect();
    Ok(Rle::from_bitmap(mosaic_size(), &columns)?.to_counts_string())
}

/// Median time of many runs, in microseconds.
fn timed(
    name: &str,
    work: impl Fn() -> grainstore::error::Result<f64>,
) -> grainstore::error::Result<Value> {
    let check = work()?;
    let mut times = Vec::new();
    let begin = Instant::now();
    while times.len() < 15 || (begin.elapsed() < Duration::from_millis(500) && times.len() < 2000) {
        let start = Instant::now();
        black_box(work()?);
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(json!({ "name": name, "us": median.as_secs_f64() * 1e6, "check": check }))
}

/// Wavy ellipses of all sizes, some with a hole.
fn generate(seed: u64) -> grainstore::error::Result<Vec<Rle>> {
    let mut state = seed;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let (height, width) = (f64::from(SIZE.height), f64::from(SIZE.width));
    let mut masks = Vec::with_capacity(MASKS);
    for _ in 0..MASKS {
        let (center_x, center_y) = (random() * width, random() * height);
        // Squared, because most objects in COCO are small.
        let radius = 8.0 + 150.0 * random() * random();
        let (stretch, waves, depth) = (0.5 + random(), 3.0 + 9.0 * random(), 0.4 * random());
        let (phase, hole) = (6.3 * random(), (random() - 0.5).max(0.0));
        let mut bitmap = Vec::with_capacity((height * width) as usize);
        for y in 0..SIZE.height {
            for x in 0..SIZE.width {
                let dx = (f64::from(x) - center_x) / stretch;
                let dy = f64::from(y) - center_y;
                let distance = dx.hypot(dy) / radius;
                let wave = (dy.atan2(dx) * waves.floor() + phase).sin();
                bitmap.push(u8::from(distance < 1.0 + depth * wave && distance >= hole));
            }
        }
        masks.push(Rle::from_row_major(SIZE, &bitmap)?);
    }
    Ok(masks)
}
