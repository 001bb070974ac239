//! Makes a store for the bench of the review page: generated photos of 640 x 480 with 100 masks each, whose embeddings tell
//! 20 classes apart, and labels on some of the masks.
//!
//! ```text
//! cargo bench --bench review_page -- DIR MASKS LABELS
//! ```

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints what it made, and ends where it cannot"
)]

use std::path::Path;

use grainstore::classes::{ClassSet, add_class_set, classes_of_labels};
use grainstore::geometry::{Rle, Size};
use grainstore::ids::{EmbeddingSpaceId, ExtractorId, ImageId};
use grainstore::ingest::{FolderIngest, IngestOptions, LabelSource, ingest_folder};
use grainstore::progress::NoProgress;
use grainstore::review::{LabelRequest, MaskKey, Origin, Statement, Verdict, label_masks};
use grainstore::schema::{EmbeddingType, Table};
use grainstore::store::rows::{
    ExtractionRow, ExtractorKind, ExtractorRow, ImageRow, MaskRow, Row, collect, masks_to_batch,
};
use grainstore::store::{Changes, Store, StoreOptions};
use image::{Rgb, RgbImage, imageops};
use rayon::prelude::*;

#[global_allocator]
static ALLOCATOR: grainstore_allocator::MiMalloc = grainstore_allocator::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

const SIZE: Size = Size {
    height: 480,
    width: 640,
};
/// Masks of a photo.
const MASKS: usize = 100;
const CLASSES: usize = 20;
/// Photos whose masks are one commit.
const PART: usize = 500;

fn main() -> Outcome<()> {
    grainstore_allocator::keep_freed_memory();
    tokio::runtime::Runtime::new()?.block_on(run())
}

async fn run() -> Outcome<()> {
    // `cargo bench` adds --bench.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|it| it != "--bench")
        .collect();
    let [dir, masks, labels] = &args[..] else {
        return Err("usage: review_page DIR MASKS LABELS".into());
    };
    let (photos, labels): (usize, usize) = (masks.parse::<usize>()? / MASKS, labels.parse()?);
    let dir = Path::new(dir);
    draw(&dir.join("photos"), photos)?;
    let place = dir.join("store").display().to_string();
    let store = Store::open_or_create(&place, StoreOptions::default()).await?;
    let folder = FolderIngest {
        directory: dir.join("photos"),
        labels: LabelSource::Folders,
        options: IngestOptions::of_dataset("bench"),
    };
    ingest_folder(&store, &folder, &NoProgress).await?;
    let snapshot = store.snapshot().await?;
    let classes = classes_of_labels(&snapshot, None).await?;
    add_class_set(
        &store,
        "bench",
        &ClassSet::new("twenty", classes)?,
        "labels",
    )
    .await?;
    let mut images: Vec<ImageRow> = collect(snapshot.scan(Table::Images).await?).await?;
    images.sort_by(|a, b| a.file_name.cmp(&b.file_name));
    let extractor = extractor();
    let mut said = Vec::new();
    for (part, images) in images.chunks(PART).enumerate() {
        add(&store, &extractor, images, part == 0).await?;
    }
    // As many of each photo, so that all classes are among them.
    let of_photo = labels.div_ceil(images.len().max(1));
    for image in &images {
        for mask_index in 0..of_photo.min(MASKS) {
            if said.len() < labels {
                said.push(statement(&extractor, image, mask_index));
            }
        }
    }
    let request = LabelRequest {
        statements: said,
        origin: Origin::Import,
        reviewer: None,
        file: None,
    };
    let labelled = label_masks(&store, &request).await?;
    println!(
        "{} photos, {} labels in {place}",
        images.len(),
        labelled.added
    );
    Ok(())
}

/// The class of a mask.
fn class(image: &ImageId, mask_index: usize) -> usize {
    let first = u64::from_str_radix(image.as_str().get(..8).unwrap_or("0"), 16).unwrap_or(0);
    (first as usize + mask_index) % CLASSES
}

fn statement(extractor: &ExtractorRow, image: &ImageRow, mask_index: usize) -> Statement {
    Statement {
        mask: MaskKey {
            extractor_id: extractor.extractor_id.clone(),
            image_id: image.image_id.clone(),
            mask_index: mask_index as i32,
        },
        label: Some(format!("class{:02}", class(&image.image_id, mask_index))),
        verdict: Verdict::Is,
        line: None,
    }
}

fn extractor() -> ExtractorRow {
    ExtractorRow {
        extractor_id: ExtractorId::of_bytes(b"bench"),
        kind: ExtractorKind::Sam,
        model_type: Some("custom".to_owned()),
        checkpoint: "none".to_owned(),
        checkpoint_sha256: "0".repeat(64),
        embedding_dim: Some(1024),
        embedding_space: Some(EmbeddingSpaceId::of_bytes(b"bench")),
        options: "{}".to_owned(),
        grainstore_version: "0".to_owned(),
        created_at: chrono::Utc::now(),
    }
}

/// Draws photos, no two alike, in a folder per class.
fn draw(folder: &Path, photos: usize) -> Outcome<()> {
    (0..photos).into_par_iter().try_for_each(|n| {
        let of_class = folder.join(format!("class{:02}", n % CLASSES));
        std::fs::create_dir_all(&of_class)?;
        let file = of_class.join(format!("{n:06}.jpg"));
        if file.exists() {
            return Ok(());
        }
        let mut random = fastrand::Rng::with_seed(n as u64);
        let mut small = RgbImage::new(32, 24);
        for pixel in small.pixels_mut() {
            *pixel = Rgb([random.u8(..), random.u8(..), random.u8(..)]);
        }
        let filter = imageops::FilterType::CatmullRom;
        imageops::resize(&small, SIZE.width, SIZE.height, filter).save(file)?;
        Ok(())
    })
}

/// An ellipse, as run lengths down the columns.
fn ellipse(random: &mut fastrand::Rng) -> Outcome<Rle> {
    let (width, height) = (f64::from(SIZE.width), f64::from(SIZE.height));
    let radius = [20.0 + 100.0 * random.f64(), 20.0 + 100.0 * random.f64()];
    let middle = [width * random.f64(), height * random.f64()];
    let mut runs = Vec::new();
    let mut outside = 0;
    for x in 0..SIZE.width {
        let across = (f64::from(x) - middle[0]) / radius[0];
        let half = radius[1] * (1.0 - across * across).max(0.0).sqrt();
        let top = (middle[1] - half).clamp(0.0, height) as u32;
        let bottom = (middle[1] + half).clamp(0.0, height) as u32;
        if bottom > top {
            runs.extend([outside + top, bottom - top]);
            outside = SIZE.height - bottom;
        } else {
            outside += SIZE.height;
        }
    }
    runs.push(outside);
    Ok(Rle::from_runs(SIZE, runs)?)
}

async fn add(
    store: &Store,
    extractor: &ExtractorRow,
    images: &[ImageRow],
    is_first: bool,
) -> Outcome<()> {
    let rows: Vec<MaskRow> = images
        .par_iter()
        .map(|image| masks(extractor, image))
        .collect::<Outcome<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    let done = images.iter().map(|image| ExtractionRow {
        extractor_id: extractor.extractor_id.clone(),
        image_id: image.image_id.clone(),
        masks: MASKS as i32,
        seconds: 0.0,
        extracted_at: chrono::Utc::now(),
    });
    let done = ExtractionRow::to_batch(&done.collect::<Vec<_>>())?;
    let masks = masks_to_batch(&rows, EmbeddingType::default())?;
    let extractor = ExtractorRow::to_batch(std::slice::from_ref(extractor))?;
    store
        .commit("bench", |_| {
            let (masks, done, extractor) = (masks.clone(), done.clone(), extractor.clone());
            async move {
                let mut changes = Changes::new();
                if is_first {
                    changes.append(Table::Extractors, extractor);
                }
                changes.append(Table::Masks, masks);
                changes.append(Table::Extractions, done);
                Ok(changes)
            }
        })
        .await?;
    Ok(())
}

fn masks(extractor: &ExtractorRow, image: &ImageRow) -> Outcome<Vec<MaskRow>> {
    let first = u64::from_str_radix(&image.image_id.as_str()[..16], 16)?;
    let mut random = fastrand::Rng::with_seed(first);
    let of_index = |mask_index: usize| {
        let class = class(&image.image_id, mask_index);
        let embedding = (0..1024).map(|at| {
            let signal = if at / 50 == class { 0.5 } else { 0.0 };
            random.f32() * 2.0 - 1.0 + signal
        });
        let embedding = Some(embedding.collect());
        Ok(MaskRow {
            extractor_id: extractor.extractor_id.clone(),
            image_id: image.image_id.clone(),
            mask_index: mask_index as i32,
            rle: ellipse(&mut random)?,
            bbox: None,
            predicted_iou: Some(random.f32()),
            stability_score: Some(random.f32()),
            point: None,
            crop_box: [0.0, 0.0, f64::from(SIZE.width), f64::from(SIZE.height)],
            mask_output: Some(0),
            embedding,
            object_score: None,
        })
    };
    (0..MASKS).map(of_index).collect()
}
