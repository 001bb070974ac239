//! How far one store goes: a hundred million masks, and commits onto thousands of files.
//!
//! ```text
//! cargo bench --bench capacity -- make DIR IMAGES       # 100 masks an image, embeddings of 8 numbers
//! cargo bench --bench capacity -- measure DIR
//! cargo bench --bench capacity -- fragments DIR SECONDS # commits of a row, as many as there is time for
//! ```
//!
//! Lines of JSON on stdout. Each measurement should be of a new process, because peaks of memory are the process's.

#![allow(
    clippy::print_stdout,
    reason = "a bench prints what it measured, and ends where it cannot"
)]

mod made;
mod peak_memory;

use std::time::{Duration, Instant};

use grainstore::extract::{ImageSelection, Wanted, pending_images};
use grainstore::geometry::{Rle, Size};
use grainstore::ids::{ExtractorId, ImageId};
use grainstore::schema::{EmbeddingFloat, EmbeddingType, Table};
use grainstore::sql::Sql;
use grainstore::store::rows::{
    ExtractionRow, ExtractorRow, ImageRow, MaskRow, Row, masks_to_batch,
};
use grainstore::store::{Changes, Store, StoreOptions};
use rayon::prelude::*;
use serde_json::json;

use made::extractor_row;
use peak_memory::peak_memory_mb;

#[global_allocator]
static ALLOCATOR: grainstore_allocator::MiMalloc = grainstore_allocator::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const MASKS: i32 = 100;
/// Images of a commit.
const PART: usize = 10_000;
const EMBEDDING: EmbeddingType = EmbeddingType {
    float: EmbeddingFloat::F16,
    dim: 8,
};
const SIZE: Size = Size {
    height: 480,
    width: 640,
};
/// Commits at each end whose median time is printed.
const ENDS: usize = 50;

fn main() -> Outcome<()> {
    grainstore_allocator::keep_freed_memory();
    // `cargo bench` adds --bench.
    let args = std::env::args().skip(1).filter(|it| it != "--bench");
    let args: Vec<String> = args.collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match words[..] {
            ["make", dir, images] => make(dir, images.parse()?).await,
            ["measure", dir] => measure(dir).await,
            ["fragments", dir, seconds] => {
                fragments(dir, Duration::from_secs(seconds.parse()?)).await
            }
            _ => {
                Err("usage: capacity make DIR IMAGES | measure DIR | fragments DIR SECONDS".into())
            }
        }
    })
}

fn extractor() -> ExtractorId {
    ExtractorId::of_bytes(b"bench")
}

fn image_id(n: usize) -> ImageId {
    ImageId::of_bytes(&n.to_le_bytes())
}

async fn create(dir: &str) -> Outcome<Store> {
    let options = StoreOptions {
        embedding: EMBEDDING,
    };
    let store = Store::open_or_create(dir, options).await?;
    let row = extractor_row(&extractor(), 8);
    let row = &ExtractorRow::to_batch(&[row])?;
    let changes = |_| async move {
        let mut changes = Changes::new();
        changes.append(Table::Extractors, row.clone());
        Ok(changes)
    };
    store.commit("bench", changes).await?;
    Ok(store)
}

async fn make(dir: &str, images: usize) -> Outcome<()> {
    let store = create(dir).await?;
    let started = Instant::now();
    for first in (0..images).step_by(PART) {
        let part = first..(first + PART).min(images);
        let rows: Vec<ImageRow> = part.clone().map(image_row).collect();
        let done: Vec<ExtractionRow> = part.clone().map(extraction_row).collect();
        let masks: Vec<_> = part
            .into_par_iter()
            .chunks(500)
            .map(|images| {
                let masks: Outcome<Vec<MaskRow>> = images
                    .into_iter()
                    .flat_map(|n| (0..MASKS).map(move |index| mask_row(n, index)))
                    .collect();
                Ok(masks_to_batch(&masks?, EMBEDDING)?)
            })
            .collect::<Outcome<_>>()?;
        let (images, done) = (
            &ImageRow::to_batch(&rows)?,
            &ExtractionRow::to_batch(&done)?,
        );
        let masks = &masks;
        let changes = |_| async move {
            let mut changes = Changes::new();
            changes.append(Table::Images, images.clone());
            changes.append(Table::Extractions, done.clone());
            for batch in masks {
                changes.append(Table::Masks, batch.clone());
            }
            Ok(changes)
        };
        store.commit("bench", changes).await?;
    }
    println!(
        "{}",
        json!({"images": images, "seconds": started.elapsed().as_secs_f64(), "peak_memory_mb": peak_memory_mb()})
    );
    Ok(())
}

fn image_row(n: usize) -> ImageRow {
    ImageRow {
        image_id: image_id(n),
        file_name: format!("{n:07}.jpg"),
        root: "/bench".to_owned(),
        width: 640,
        height: 480,
        orientation: 1,
        format: "jpeg".to_owned(),
        file_bytes: 1,
        source: "target".to_owned(),
        split: None,
        dataset: "bench".to_owned(),
        external_id: None,
        attributes: None,
        ingested_at: chrono::DateTime::UNIX_EPOCH,
    }
}

fn extraction_row(n: usize) -> ExtractionRow {
    ExtractionRow {
        extractor_id: extractor(),
        image_id: image_id(n),
        masks: MASKS,
        seconds: 1.0,
        extracted_at: chrono::DateTime::UNIX_EPOCH,
    }
}

/// A rectangle of some columns.
fn mask_row(n: usize, mask_index: i32) -> Outcome<MaskRow> {
    let mut random = fastrand::Rng::with_seed(n as u64 * 1000 + mask_index as u64);
    let (height, columns) = (random.u32(1..100), random.u32(1..20));
    let mut runs = vec![random.u32(0..SIZE.height * (SIZE.width - 20) - SIZE.height)];
    for _ in 0..columns {
        runs.extend([height, SIZE.height - height]);
    }
    let pixels = SIZE.height * SIZE.width;
    let covered: u32 = runs.iter().sum();
    if let Some(last) = runs.last_mut() {
        *last += pixels - covered;
    }
    Ok(MaskRow {
        extractor_id: extractor(),
        image_id: image_id(n),
        mask_index,
        rle: Rle::from_runs(SIZE, runs)?,
        bbox: None,
        predicted_iou: Some(random.f32()),
        stability_score: Some(random.f32()),
        point: Some([random.f64() * 640.0, random.f64() * 480.0]),
        crop_box: [0.0, 0.0, 640.0, 480.0],
        mask_output: Some(1),
        embedding: Some((0..8).map(|_| random.f32()).collect()),
        object_score: None,
    })
}

async fn measure(dir: &str) -> Outcome<()> {
    let started = Instant::now();
    let store = Store::open(dir).await?;
    let snapshot = store.snapshot().await?;
    let masks = snapshot.count(Table::Masks).await?;
    let open = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let pending = pending_images(
        &snapshot,
        &extractor(),
        &Wanted::default(),
        &ImageSelection::default(),
    )
    .await?;
    let resume = started.elapsed().as_secs_f64();
    let resume_mb = peak_memory_mb();
    let mut groups = Vec::new();
    for by in ["CAST(area / 100 AS INT)", "image_id"] {
        let started = Instant::now();
        let sql = Sql::new(&snapshot).await?;
        let query = format!(
            "SELECT count(*) FROM (SELECT {by} AS of, count(*), avg(predicted_iou) FROM masks GROUP BY 1)"
        );
        let rows = sql.query(&query).await?.collect().await?;
        let found: usize = rows.iter().map(|batch| batch.num_rows()).sum();
        if found != 1 {
            return Err(format!("{found} rows of '{query}'").into());
        }
        groups.push(json!({"by": by, "seconds": started.elapsed().as_secs_f64(), "peak_memory_mb": peak_memory_mb()}));
    }
    println!(
        "{}",
        json!({"masks": masks, "open_seconds": open, "pending": pending.len(), "resume_seconds": resume,
            "resume_peak_memory_mb": resume_mb, "groups": groups})
    );
    Ok(())
}

async fn fragments(dir: &str, time: Duration) -> Outcome<()> {
    let store = create(dir).await?;
    let started = Instant::now();
    let mut seconds = Vec::new();
    while started.elapsed() < time && seconds.len() < 20_000 {
        let n = seconds.len();
        let batch = &masks_to_batch(&[mask_row(n, 0)?], EMBEDDING)?;
        let begun = Instant::now();
        let changes = |_| async move {
            let mut changes = Changes::new();
            changes.append(Table::Masks, batch.clone());
            Ok(changes)
        };
        store.commit("bench", changes).await?;
        seconds.push(begun.elapsed().as_secs_f64());
    }
    let median = |part: &[f64]| {
        let mut part = part.to_vec();
        part.sort_by(f64::total_cmp);
        part.get(part.len() / 2).copied()
    };
    let last = seconds.len().saturating_sub(ENDS);
    println!(
        "{}",
        json!({"commits": seconds.len(), "first_seconds": median(seconds.get(..ENDS).unwrap_or(&seconds)),
            "last_seconds": median(seconds.get(last..).unwrap_or(&seconds)), "peak_memory_mb": peak_memory_mb()})
    );
    Ok(())
}
