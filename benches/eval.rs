//! Evaluation of COCO-like data, annotation and export: seconds of each, for `benches/eval_peer.py` to compare with.
//!
//! ```text
//! cargo bench --bench eval -- coco DIR
//! cargo bench --bench eval -- annotate IMAGES [DIR]
//! ```
//!
//! - `coco`: DIR holds `truth.json` and `results.json`, which the peer made. The reports are made by a process of their own,
//!   `reports STORE`.
//! - `annotate`: so many images of 100 masks; DIR gets what the peer needs to annotate the same masks with the same head.
//!
//! One line of JSON on stdout.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints what it measured, and ends where something is not as it must be"
)]

mod peak_memory;

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;
use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use grainstore::annotate::{AnnotateRequest, Policy, annotate};
use grainstore::classes::{Class, ClassSet, add_class_set, classes_of_labels};
use grainstore::coco::{Annotation, DatasetIndex};
use grainstore::export::{Annotations, CocoExport, CocoFormat, ExportRequest, Ids, export_coco};
use grainstore::geometry::{Rle, Size, rle_from_polygons};
use grainstore::head::{
    ChosenImages, HeadInputs, TrainOptions, TrainRequest, TrainingMasks, TrainingQuery, train,
};
use grainstore::ids::{ExtractorId, GroundTruthId, ImageId};
use grainstore::import::{ImportRequest, import_coco_results};
use grainstore::progress::NoProgress;
use grainstore::query::{Query, QuerySession};
use grainstore::schema::EmbeddingType;
use grainstore::selection::ImageFilter;
use grainstore::store::rows::{
    GroundTruthRow, ImageRow, LabelRow, MaskRow, RleRow, Row, masks_to_batch,
};
use grainstore::store::{Changes, Store, StoreOptions};
use serde_json::{Value, json};

use peak_memory::peak_memory_mb;

#[global_allocator]
static ALLOCATOR: grainstore_allocator::MiMalloc = grainstore_allocator::MiMalloc;

const SIZE: Size = Size {
    height: 480,
    width: 640,
};
const KINDS: [&str; 5] = ["animal", "furniture", "household", "person", "transport"];
const MASKS: usize = 100;
const RUNS: usize = 3;

fn main() -> anyhow::Result<()> {
    grainstore_allocator::keep_freed_memory();
    // `cargo bench` adds --bench.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    let found = match args[..] {
        ["coco", dir] => runtime.block_on(evaluate(Path::new(dir)))?,
        ["reports", store] => runtime.block_on(reports(store))?,
        ["annotate", images] => runtime.block_on(judge(images.parse()?, None))?,
        ["annotate", images, dir] => {
            runtime.block_on(judge(images.parse()?, Some(Path::new(dir))))?
        }
        _ => anyhow::bail!("usage: eval coco DIR | eval annotate IMAGES [DIR]"),
    };
    println!("{found}");
    Ok(())
}

/// Both reports on the detections of DIR, in a process that has not read these files.
async fn evaluate(dir: &Path) -> anyhow::Result<Value> {
    let place = tempfile::tempdir()?;
    let path = place.path().join("coco").display().to_string();
    let store = Store::open_or_create(&path, StoreOptions::default()).await?;
    let (images, objects) = fill_coco(&store, dir).await?;
    let request = ImportRequest {
        split: None,
        file: dir.join("results.json"),
        head: "results".to_owned(),
        dataset: "coco".to_owned(),
        classes: None,
    };
    let started = Instant::now();
    let imported = import_coco_results(&store, &request, &NoProgress).await?;
    let import_seconds = started.elapsed().as_secs_f64();
    let reports = std::process::Command::new(std::env::current_exe()?)
        .args(["reports", &path])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    anyhow::ensure!(reports.status.success(), "the reports failed");
    let mut found: Value = serde_json::from_slice(&reports.stdout)?;
    let also = json!({
        "images": images,
        "objects": objects,
        "detections": imported.detections,
        "import_seconds": import_seconds,
    });
    if let (Value::Object(found), Value::Object(also)) = (&mut found, also) {
        found.extend(also);
    }
    Ok(found)
}

/// Both reports on a store, medians of some runs.
async fn reports(path: &str) -> anyhow::Result<Value> {
    let store = Store::open(path).await?;
    let (mut coco, mut miou) = (Vec::new(), Vec::new());
    let (mut stats, mut mean) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let started = Instant::now();
        stats = metrics(&store, "eval/coco").await?;
        coco.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        mean = metrics(&store, "eval/miou").await?;
        miou.push(started.elapsed().as_secs_f64());
    }
    Ok(json!({
        "coco_seconds": median(coco),
        "stats": stats,
        "miou_seconds": median(miou),
        "miou": mean.first(),
        "memory_mb": peak_memory_mb(),
    }))
}

fn median(mut seconds: Vec<f64>) -> Option<f64> {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied()
}

/// Values of a query of metrics; -1 where undefined.
async fn metrics(store: &Store, query: &str) -> anyhow::Result<Vec<f64>> {
    let session = QuerySession::new(&store.snapshot().await?).await?;
    let parameters = HashMap::from([
        ("head".to_owned(), "results".to_owned()),
        ("dataset".to_owned(), "coco".to_owned()),
    ]);
    let mut rows = session.run(&Query::named(query)?, &parameters).await?;
    let mut values = Vec::new();
    while let Some(batch) = rows.next().await? {
        let column = batch.column_by_name("value").context("no column 'value'")?;
        let column = column.as_primitive::<Float64Type>();
        values.extend(column.iter().map(|value| value.unwrap_or(-1.0)));
    }
    Ok(values)
}

/// The annotated data set of DIR in a store; how many images and objects.
async fn fill_coco(store: &Store, dir: &Path) -> anyhow::Result<(usize, usize)> {
    let text = std::fs::read_to_string(dir.join("truth.json"))?;
    let index = DatasetIndex::parse(&text)?;
    let image_id = |id: i64| ImageId::of_bytes(&id.to_le_bytes());
    let images: Vec<ImageRow> = index
        .images
        .iter()
        .map(|it| ImageRow {
            external_id: Some(it.id),
            source: "target".to_owned(),
            dataset: "coco".to_owned(),
            ..image_row(&image_id(it.id))
        })
        .collect();
    let mut names = HashMap::new();
    let mut classes = Vec::new();
    for it in &index.categories {
        names.insert(it.id, it.name.clone());
        classes.push(Class {
            name: it.name.clone(),
            supercategory: None,
            external_id: Some(it.id),
            labels: vec![it.name.clone()],
            search: Vec::new(),
        });
    }
    let mut rows = Vec::new();
    for found in &index.annotations {
        let it = Annotation::parse(&text[found.text.clone()])?;
        let mask = it
            .segmentation
            .to_rle(SIZE)?
            .context("an object without a mask")?;
        rows.push(GroundTruthRow {
            ground_truth_id: GroundTruthId::of_bytes(&found.id.unwrap_or(0).to_le_bytes()),
            image_id: image_id(found.image_id),
            dataset: "coco".to_owned(),
            external_id: found.id,
            category: names.get(&it.category_id).cloned(),
            category_id: Some(it.category_id),
            rle: Some(RleRow::from(&mask)),
            bbox: it.bbox.context("an object without a box")?,
            area: it.area.context("an object without an area")?,
            iscrowd: it.iscrowd,
            is_ignored: false,
            segmentation: "rle".to_owned(),
            attributes: None,
            ingested_at: chrono::DateTime::UNIX_EPOCH,
        });
    }
    add_class_set(store, "bench", &ClassSet::new("coco", classes)?, "coco").await?;
    append(store, &images).await?;
    append(store, &rows).await?;
    Ok((images.len(), rows.len()))
}

async fn append<R: Row>(store: &Store, rows: &[R]) -> anyhow::Result<()> {
    let batch = &R::to_batch(rows)?;
    store
        .commit("bench", |_| async move {
            let mut changes = Changes::new();
            changes.append(R::TABLE, batch.clone());
            Ok(changes)
        })
        .await?;
    Ok(())
}

fn image_row(image_id: &ImageId) -> ImageRow {
    ImageRow {
        image_id: image_id.clone(),
        file_name: format!("{image_id}.jpg"),
        root: "/bench".to_owned(),
        width: 640,
        height: 480,
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

/// Annotates so many images with a head that was trained on some of them, and exports what it kept; what the peer needs
/// goes to DIR.
async fn judge(images: usize, dir: Option<&Path>) -> anyhow::Result<Value> {
    let place = tempfile::tempdir()?;
    let path = place.path().join("store").display().to_string();
    let store = Store::open_or_create(&path, StoreOptions::default()).await?;
    let extractor = fill_masks(&store, images, dir).await?;
    let snapshot = store.snapshot().await?;
    let classes = ClassSet::new("kinds", classes_of_labels(&snapshot, None).await?)?;
    add_class_set(&store, "bench", &classes, "labels").await?;
    let snapshot = store.snapshot().await?;
    let first = ImageFilter::matching("external_id < 100");
    let request = TrainRequest {
        name: "bench".to_owned(),
        classes: "kinds".to_owned(),
        masks: TrainingMasks::Query(
            TrainingQuery::of_images(
                &snapshot,
                &extractor,
                &ChosenImages {
                    images: Some(first),
                    ..ChosenImages::default()
                },
                &HeadInputs::tokens(),
            )
            .await?,
        ),
        options: TrainOptions {
            epochs: Some(20),
            validation: 0.0,
            ..TrainOptions::default()
        },
        ..TrainRequest::default()
    };
    train(&store, &request, &NoProgress).await?;
    if let Some(dir) = dir {
        let head = grainstore::head::load_head(&store.snapshot().await?, "bench").await?;
        let file = head.weights.to_safetensors(HashMap::new())?;
        let tensors = safetensors::SafeTensors::deserialize(&file)?;
        for layer in 0..4 {
            for (at, part) in ["weight", "bias"].iter().enumerate() {
                let tensor = tensors.tensor(&format!("layers.{layer}.{part}"))?;
                std::fs::write(
                    dir.join(format!("layer{}.f32", 2 * layer + at)),
                    tensor.data(),
                )?;
            }
        }
    }
    let request = AnnotateRequest {
        head: "bench".to_owned(),
        images: ImageFilter::all(),
        policy: Policy::default(),
    };
    let started = Instant::now();
    let judged = annotate(&store, &request, &NoProgress).await?;
    let annotate_seconds = started.elapsed().as_secs_f64();

    let snapshot = store.snapshot().await?;
    let request = ExportRequest {
        annotations: Annotations::Head {
            head: "bench".to_owned(),
            policy: None,
        },
        images: ImageFilter::default(),
        classes: None,
        supercategories: None,
        ids: Ids::Original,
    };
    let file = place.path().join("export.json");
    let started = Instant::now();
    let format = CocoFormat::Dataset;
    let exported = export_coco(
        &snapshot,
        &CocoExport {
            export: request,
            format,
            style: None,
            file,
        },
        &NoProgress,
    )
    .await?;
    let export_seconds = started.elapsed().as_secs_f64();
    Ok(json!({
        "images": images,
        "masks": judged.masks,
        "kept": judged.kept,
        "annotate_seconds": annotate_seconds,
        "exported": exported.annotations,
        "export_seconds": export_seconds,
        "memory_mb": peak_memory_mb(),
    }))
}

/// The embedding of a mask: noise, and in four masks of ten something of the image's class.
fn embedding(class: usize, mask: usize, random: &mut fastrand::Rng) -> Vec<f32> {
    let shows = mask % 10 < 4;
    (0..1024)
        .map(|at| {
            let noise = random.f32() + random.f32() - 1.0;
            noise + f32::from(u8::from(shows && at % 5 == class)) * 0.5
        })
        .collect()
}

/// A ragged outline; every fifth mask starts anew, the others are near the one before, as SAM's are.
fn outline(mask: usize, random: &mut fastrand::Rng, last: &mut [f64; 3]) -> Vec<f64> {
    if mask.is_multiple_of(5) {
        let (x, y) = (random.f64() * 640.0, random.f64() * 480.0);
        *last = [x, y, (2.5 + 3.5 * random.f64()).exp()];
    }
    let [x, y, radius] = *last;
    let mut points = Vec::new();
    for corner in 0..24 {
        let angle = f64::from(corner) / 24.0 * std::f64::consts::TAU;
        let r = radius * (0.85 + 0.15 * random.f64());
        points.push((x + r * angle.cos()).clamp(0.0, 640.0));
        points.push((y + r * angle.sin()).clamp(0.0, 480.0));
    }
    points
}

async fn fill_masks(
    store: &Store,
    images: usize,
    dir: Option<&Path>,
) -> anyhow::Result<ExtractorId> {
    let extractor = ExtractorId::of_bytes(b"bench");
    let mut files = match dir {
        Some(dir) => Some((
            std::io::BufWriter::new(std::fs::File::create(dir.join("embeddings.f16"))?),
            Vec::new(),
        )),
        None => None,
    };
    for first in (0..images).step_by(200) {
        let (mut rows, mut labels, mut masks) = (Vec::new(), Vec::new(), Vec::new());
        for n in first..(first + 200).min(images) {
            let class = n % KINDS.len();
            let image_id = ImageId::of_bytes(&n.to_le_bytes());
            rows.push(ImageRow {
                external_id: i64::try_from(n).ok(),
                ..image_row(&image_id)
            });
            labels.push(LabelRow {
                image_id: image_id.clone(),
                dataset: "bench".to_owned(),
                label: KINDS[class].to_owned(),
                origin: "csv".to_owned(),
                ingested_at: chrono::DateTime::UNIX_EPOCH,
            });
            let mut random = fastrand::Rng::with_seed(n as u64);
            let mut last = [0.0; 3];
            let mut shapes = Vec::new();
            for mask in 0..MASKS {
                let outline = outline(mask, &mut random, &mut last);
                let rle: Rle = rle_from_polygons(&[outline], SIZE)?;
                let embedding = embedding(class, mask, &mut random);
                if let Some((file, _)) = &mut files {
                    for value in &embedding {
                        file.write_all(&half::f16::from_f32(*value).to_le_bytes())?;
                    }
                    shapes.push(json!({
                        "size": [480, 640], "counts": rle.to_counts_string(),
                    }));
                }
                masks.push(MaskRow {
                    extractor_id: extractor.clone(),
                    image_id: image_id.clone(),
                    mask_index: i32::try_from(mask)?,
                    rle,
                    bbox: None,
                    predicted_iou: Some(0.9),
                    stability_score: Some(0.9),
                    point: Some([0.0, 0.0]),
                    crop_box: [0.0, 0.0, 640.0, 480.0],
                    mask_output: Some(1),
                    embedding: Some(embedding),
                    object_score: None,
                });
            }
            if let Some((_, all)) = &mut files {
                all.push(shapes);
            }
        }
        append(store, &rows).await?;
        append(store, &labels).await?;
        let masks = &masks_to_batch(&masks, EmbeddingType::default())?;
        store
            .commit("bench", |_| async move {
                let mut changes = Changes::new();
                changes.append(grainstore::schema::Table::Masks, masks.clone());
                Ok(changes)
            })
            .await?;
    }
    if let (Some((mut file, all)), Some(dir)) = (files, dir) {
        file.flush()?;
        std::fs::write(dir.join("masks.json"), serde_json::to_vec(&all)?)?;
    }
    Ok(extractor)
}
