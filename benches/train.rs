//! Training a head on a generated store: seconds of the whole `train`, and of its epochs.
//!
//! ```text
//! cargo bench --bench train -- [--images 4000] [--masks 100] [--epochs N] [--loss mil|mil+distill] [--cache-mib 640] [--store PLACE] [--write DIR]
//! ```
//!
//! One line of JSON on stdout. `--store PLACE` makes the store there, in a directory or a bucket, and keeps it; a store that
//! is there already is used. `--write DIR` writes the same embeddings and labels for the peer
//! (`benches/train_peer.py`) and ends.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints what it measured, and ends where something is not as it must be"
)]

mod made;
mod peak_memory;

use std::io::Write;
use std::time::Instant;

use anyhow::Context;
use grainstore::classes::{ClassSet, add_class_set, classes_of_labels};
use grainstore::geometry::{Rle, Size};
use grainstore::head::{
    CacheOptions, Curve, HeadInputs, Recipe, TrainOptions, TrainRequest, TrainingMasks,
    TrainingQuery, load_head, train,
};
use grainstore::ids::{ExtractorId, ImageId};
use grainstore::progress::NoProgress;
use grainstore::schema::{EmbeddingType, Table};
use grainstore::store::rows::{ExtractorRow, ImageRow, LabelRow, MaskRow, Row, masks_to_batch};
use grainstore::store::{Changes, Store, StoreOptions};

use made::extractor_row;
use peak_memory::peak_memory_mb;

#[global_allocator]
static ALLOCATOR: grainstore_allocator::MiMalloc = grainstore_allocator::MiMalloc;

const CLASSES: [&str; 5] = ["animal", "furniture", "household", "person", "transport"];

struct Shape {
    images: usize,
    masks: usize,
}

fn main() -> anyhow::Result<()> {
    grainstore_allocator::keep_freed_memory();
    let mut size = Shape {
        images: 4000,
        masks: 100,
    };
    let (mut options, mut write, mut place, mut cache) =
        (Recipe::Paper.options(), None, None, CacheOptions::default());
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        if name == "--bench" {
            continue;
        }
        let value = args
            .next()
            .with_context(|| format!("'{name}' needs a value"))?;
        match name.as_str() {
            "--images" => size.images = value.parse()?,
            "--masks" => size.masks = value.parse()?,
            "--epochs" => options.epochs = Some(value.parse()?),
            "--loss" => options.loss = Some(value.parse()?),
            "--store" => place = Some(value),
            "--write" => write = Some(value),
            "--cache-mib" => cache.budget_bytes = value.parse::<usize>()? << 20,
            _ => anyhow::bail!("unknown option '{name}'"),
        }
    }
    // Every epoch is run, so that they can be counted.
    options.patience = Some(0);
    if let Some(dir) = write {
        return write_for_peer(&size, std::path::Path::new(&dir));
    }
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(bench(&size, place, options, cache))
}

async fn bench(
    size: &Shape,
    place: Option<String>,
    options: TrainOptions,
    cache: CacheOptions,
) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let own = dir.path().join("store");
    let own = own.to_str().map(str::to_owned);
    let place = place.or(own);
    let place = place.context("the temporary directory's name is not UTF-8")?;
    let store = Store::open_or_create(&place, StoreOptions::default()).await?;
    let extractor = ExtractorId::of_bytes(b"bench");
    if store.snapshot().await?.count(Table::Masks).await? == 0 {
        fill(&store, size, &extractor).await?;
    }
    let snapshot = store.snapshot().await?;
    let classes = ClassSet::new("five", classes_of_labels(&snapshot, None).await?)?;
    if snapshot.count(Table::ClassSets).await? == 0 {
        add_class_set(&store, "bench", &classes, "labels").await?;
    }
    let snapshot = store.snapshot().await?;
    let name = format!("bench-{}", snapshot.version());
    let request = TrainRequest {
        name: name.clone(),
        classes: "five".to_owned(),
        masks: TrainingMasks::Query(
            TrainingQuery::of_images(
                &snapshot,
                &extractor,
                &grainstore::head::ChosenImages::default(),
                &HeadInputs::tokens(),
            )
            .await?,
        ),
        options,
        cache,
        ..TrainRequest::default()
    };
    let started = Instant::now();
    let summary = train(&store, &request, &NoProgress).await?;
    let seconds = started.elapsed().as_secs_f64();
    let head = load_head(&store.snapshot().await?, &name).await?;
    let curves: Vec<Curve> = serde_json::from_str(&head.row.curves)?;
    println!(
        "{}",
        serde_json::json!({
            "images": summary.images,
            "masks": summary.masks,
            "epochs": curves.len(),
            "seconds": seconds,
            "reading_seconds": summary.reading_seconds,
            "training_seconds": summary.training_seconds,
            "epoch_seconds": curves.iter().map(|curve| curve.seconds).collect::<Vec<_>>(),
            "validation_accuracy": summary.validation_accuracy,
            "peak_memory_mb": peak_memory_mb(),
        })
    );
    Ok(())
}

/// The embedding of a mask: noise, and in one mask of ten something of the image's class.
fn embedding(class: usize, mask: usize, random: &mut fastrand::Rng) -> Vec<f32> {
    let shows = mask.is_multiple_of(10);
    (0..1024)
        .map(|at| {
            let noise = random.f32() + random.f32() - 1.0;
            noise + f32::from(u8::from(shows && at % 5 == class)) * 0.5
        })
        .collect()
}

async fn fill(store: &Store, size: &Shape, extractor: &ExtractorId) -> anyhow::Result<()> {
    let row = extractor_row(extractor, 1024);
    let row = &ExtractorRow::to_batch(&[row])?;
    store
        .commit("bench", |_| async move {
            let mut changes = Changes::new();
            changes.append(Table::Extractors, row.clone());
            Ok(changes)
        })
        .await?;
    let rle = Rle::from_bitmap(
        Size {
            height: 2,
            width: 2,
        },
        &[1, 0, 0, 0],
    )?;
    for first in (0..size.images).step_by(200) {
        let (mut images, mut labels, mut masks) = (Vec::new(), Vec::new(), Vec::new());
        for n in first..(first + 200).min(size.images) {
            let class = n % CLASSES.len();
            let image_id = ImageId::of_bytes(&n.to_le_bytes());
            images.push(image_row(n, &image_id));
            labels.push(LabelRow {
                image_id: image_id.clone(),
                dataset: "bench".to_owned(),
                label: CLASSES[class].to_owned(),
                origin: "csv".to_owned(),
                ingested_at: chrono::DateTime::UNIX_EPOCH,
            });
            let mut random = fastrand::Rng::with_seed(n as u64);
            for mask in 0..size.masks {
                masks.push(MaskRow {
                    extractor_id: extractor.clone(),
                    image_id: image_id.clone(),
                    mask_index: i32::try_from(mask)?,
                    rle: rle.clone(),
                    bbox: None,
                    predicted_iou: Some(0.9),
                    stability_score: Some(0.9),
                    point: Some([0.0, 0.0]),
                    crop_box: [0.0, 0.0, 2.0, 2.0],
                    mask_output: Some(1),
                    embedding: Some(embedding(class, mask, &mut random)),
                    object_score: None,
                });
            }
        }
        let images = ImageRow::to_batch(&images)?;
        let labels = LabelRow::to_batch(&labels)?;
        let masks = masks_to_batch(&masks, EmbeddingType::default())?;
        let (images, labels, masks) = (&images, &labels, &masks);
        store
            .commit("bench", |_| async move {
                let mut changes = Changes::new();
                changes.append(Table::Images, images.clone());
                changes.append(Table::Labels, labels.clone());
                changes.append(Table::Masks, masks.clone());
                Ok(changes)
            })
            .await?;
    }
    Ok(())
}

fn image_row(n: usize, image_id: &ImageId) -> ImageRow {
    ImageRow {
        image_id: image_id.clone(),
        file_name: format!("{n:06}.jpg"),
        root: "/bench".to_owned(),
        width: 2,
        height: 2,
        orientation: 1,
        format: "jpeg".to_owned(),
        file_bytes: 1,
        source: "web".to_owned(),
        split: None,
        dataset: "bench".to_owned(),
        external_id: None,
        attributes: None,
        ingested_at: chrono::DateTime::UNIX_EPOCH,
    }
}

/// `embeddings.f16`, `[images, masks, 1024]`, and `labels.txt`, a class index a line.
fn write_for_peer(size: &Shape, dir: &std::path::Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut file = std::io::BufWriter::new(std::fs::File::create(dir.join("embeddings.f16"))?);
    let mut labels = String::new();
    for n in 0..size.images {
        let class = n % CLASSES.len();
        labels.push_str(&format!("{class}\n"));
        let mut random = fastrand::Rng::with_seed(n as u64);
        for mask in 0..size.masks {
            for value in embedding(class, mask, &mut random) {
                file.write_all(&half::f16::from_f32(value).to_le_bytes())?;
            }
        }
    }
    file.flush()?;
    std::fs::write(dir.join("labels.txt"), labels)?;
    Ok(())
}
