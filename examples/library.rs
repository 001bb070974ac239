//! The library from photos to a COCO file: ingest, extract, train, annotate, evaluate, export.
//!
//! ```text
//! ./run demo --only-scenes --where target/demo   # generated photos; any others will do
//! cargo run --release --example library -- target/demo/scenes assets/demo/sam_demo.safetensors target/library
//! ```
//!
//! The first argument is a directory with `train/CLASS/*.png` (photos of one object each), `test/*.png` and `test.json`
//! (their annotations as COCO).

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::path::PathBuf;

use grainstore::annotate::{AnnotateRequest, Policy, annotate};
use grainstore::classes::{ClassSet, add_class_set, classes_of_ground_truth};
use grainstore::eval::{EvalRequest, evaluate};
use grainstore::export::{Annotations, CocoExport, ExportRequest, export_coco};
use grainstore::extract::{ExtractRequest, extract};
use grainstore::head::{TrainOptions, TrainRequest, train};
use grainstore::ingest::{
    CocoIngest, FolderIngest, IngestOptions, LabelSource, Source, ingest_coco, ingest_folder,
};
use grainstore::models::sam::Checkpoint;
use grainstore::progress::NoProgress;
use grainstore::schema::EmbeddingType;
use grainstore::selection::ImageFilter;
use grainstore::sql::Sql;
use grainstore::store::{Store, StoreOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1).map(PathBuf::from);
    let (Some(photos), Some(checkpoint), Some(out)) = (args.next(), args.next(), args.next())
    else {
        return Err("usage: library PHOTOS CHECKPOINT OUT".into());
    };

    // A store keeps embeddings of one size: that of the model.
    let config = Checkpoint::open(&checkpoint)?.config()?;
    let dim = config.decoder.mask_tokens() * config.prompt_dim;
    let embedding = EmbeddingType {
        dim: u32::try_from(dim)?,
        ..EmbeddingType::default()
    };
    let place = out.join("store");
    let place = place.to_str().ok_or("OUT is no UTF-8")?;
    let store = Store::open_or_create(place, StoreOptions { embedding }).await?;

    // Photos that teach, labelled by their folders; and photos with ground truth to measure on.
    let teach = FolderIngest {
        directory: photos.join("train"),
        labels: LabelSource::Folders,
        options: IngestOptions {
            source: Source::Synthetic,
            split: Some("train".to_owned()),
            ..IngestOptions::of_dataset("scenes")
        },
    };
    let ingested = ingest_folder(&store, &teach, &NoProgress).await?;
    let test = CocoIngest {
        annotations: photos.join("test.json"),
        images: photos.join("test"),
        options: IngestOptions {
            split: Some("test".to_owned()),
            ..IngestOptions::of_dataset("scenes")
        },
    };
    ingest_coco(&store, &test, &NoProgress).await?;
    println!("{} photos to learn from", ingested.images_added);

    // Segment Anything, once.
    let request = ExtractRequest {
        checkpoint,
        ..ExtractRequest::default()
    };
    let extracted = extract(&store, &request, &NoProgress).await?;
    println!("{} masks of {} photos", extracted.masks, extracted.images);

    // Everything after that is a query over the store.
    let classes = classes_of_ground_truth(&store.snapshot().await?, Some("scenes")).await?;
    let set = ClassSet::new("kinds", classes)?;
    add_class_set(&store, "example", &set, "ground-truth").await?;
    let request = TrainRequest {
        name: "fine".to_owned(),
        classes: "kinds".to_owned(),
        options: TrainOptions {
            epochs: Some(10),
            ..TrainOptions::default()
        },
        ..TrainRequest::default()
    };
    train(&store, &request, &NoProgress).await?;

    let request = AnnotateRequest {
        head: "fine".to_owned(),
        images: ImageFilter::split("test"),
        policy: Policy {
            score_threshold: 0.5,
            ..Policy::default()
        },
    };
    let annotated = annotate(&store, &request, &NoProgress).await?;
    println!("{} of {} masks kept", annotated.kept, annotated.masks);

    let snapshot = store.snapshot().await?;
    let request = EvalRequest {
        head: "fine".to_owned(),
        images: ImageFilter::split("test"),
        ..EvalRequest::default()
    };
    let evaluation = evaluate(&snapshot, &request, &NoProgress).await?;
    evaluation.save(&store).await?;
    for name in ["miou", "ap50"] {
        match evaluation.metric(name) {
            Some(value) => println!("{name} {value:.3}"),
            None => println!("{name} is undefined here"),
        }
    }

    let sql = Sql::new(&snapshot).await?;
    let rows = sql
        .query("SELECT class, count(*) AS masks, avg(score) AS score FROM predictions WHERE kept GROUP BY class ORDER BY class")
        .await?;
    let rows = rows.collect().await?;
    println!(
        "{}",
        grainstore::arrow::util::pretty::pretty_format_batches(&rows)?
    );

    let request = CocoExport {
        export: ExportRequest {
            annotations: Annotations::Head {
                head: "fine".to_owned(),
                policy: None,
            },
            images: ImageFilter::split("test"),
            ..ExportRequest::default()
        },
        file: out.join("fine.json"),
        ..CocoExport::default()
    };
    let exported = export_coco(&snapshot, &request, &NoProgress).await?;
    println!(
        "{} objects in '{}'",
        exported.annotations,
        request.file.display()
    );
    Ok(())
}
