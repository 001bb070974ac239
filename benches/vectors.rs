//! Times scans of vectors, exact neighbours, neighbours by an index, and a linear head, on a store that it makes, and
//! prints one JSON object.
//!
//! ```text
//! cargo bench --bench vectors -- DIR ROWS DIM [REAL.f32] [--no-index | --ivf_pq | --ivf_sq | --ivf_flat]
//! ```
//!
//! `REAL.f32` holds little-endian vectors of `DIM` numbers, which are repeated with noise until there are `ROWS`; without
//! it, vectors are drawn around 1,000 random centres.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints what it measured, and ends where it cannot"
)]

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use arrow::array::RecordBatch;
use futures::StreamExt;
use grainstore::burn::tensor::{Device, Tensor, TensorData};
use grainstore::catalogue::find_embedder;
use grainstore::classes::{Class, ClassSet, add_class_set};
use grainstore::head::register_predict;
use grainstore::ids::{EmbedderId, ExtractorId, HeadId, ImageId};
use grainstore::neighbours::{NearestRequest, Search, SearchQuery, SearchedTable, nearest};
use grainstore::schema::{StoreTable, Table, VectorTable};
use grainstore::sql::Sql;
use grainstore::store::rows::{EmbedderRow, HeadRow, Row, VectorRow, vectors_to_batch};
use grainstore::store::{Changes, IndexKind, IndexRequest, Snapshot, Store, StoreOptions};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: grainstore_allocator::MiMalloc = grainstore_allocator::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Rows of a commit.
const PART: usize = 100_000;
/// Rows that a head predicts at once.
const CHUNK: usize = 4096;
/// Hidden layers of the default head.
const HIDDEN: [usize; 3] = [512, 256, 128];
/// Masks of an image.
const MASKS: usize = 100;
/// Neighbours of a query, and queries.
const COUNT: usize = 20;
const QUERIES: usize = 50;
/// Vectors that are added to an index.
const DELTA: usize = 50_000;

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
    let places: Vec<&String> = args.iter().filter(|it| !it.starts_with("--")).collect();
    let (dir, rows, dim, real) = match places[..] {
        [dir, rows, dim] => (dir, rows.parse()?, dim.parse()?, None),
        [dir, rows, dim, real] => (dir, rows.parse()?, dim.parse()?, Some(real)),
        _ => return Err("usage: vectors DIR ROWS DIM [REAL.f32]".into()),
    };
    let store = Store::open_or_create(dir, StoreOptions::default()).await?;
    let mut vectors = Vectors::new(dim, real.map(Path::new))?;
    let table = made(&store, rows, &mut vectors).await?;
    let snapshot = store.snapshot().await?;
    let bytes = (rows * dim * 2) as f64;

    let scan_s = best(3, async || scanned(&snapshot, &table).await).await?;
    let queries = queries(rows);
    let exact = Search::Exact;
    let mut truth = Vec::new();
    let mut exact_s = Vec::new();
    for query in &queries {
        let started = Instant::now();
        truth.push(found(&snapshot, query, exact).await?);
        exact_s.push(started.elapsed().as_secs_f64());
    }
    let predict_s = best(3, async || predicted(&store, dim, ("linear", &[])).await).await?;
    let mlp_s = best(3, async || predicted(&store, dim, ("mlp", &HIDDEN)).await).await?;
    let matrix_s = matrix_seconds(rows, dim, &HIDDEN);
    let (result, size) = (&json!(null), rows);
    let index = if rows >= 100_000 && !args.contains(&"--no-index".to_owned()) {
        let kind = args.iter().find_map(|it| it.strip_prefix("--ivf_"));
        let kind: IndexKind = kind.map_or(Ok(IndexKind::default()), |kind| {
            format!("ivf_{kind}").parse()
        })?;
        let request = IndexRequest {
            kind,
            ..IndexRequest::new(table.clone())
        };
        indexed(
            &store,
            &request,
            &queries,
            &truth,
            vectors.rows(rows..rows + DELTA)?,
        )
        .await?
    } else {
        result.clone()
    };
    println!(
        "{}",
        json!({
            "rows": size, "dim": dim, "scan_s": scan_s, "scan_gb_s": bytes / scan_s / 1e9,
            "exact_s": median(&mut exact_s[1..].to_vec()), "predict_s": predict_s, "mlp_s": mlp_s,
            "matrix_s": matrix_s, "index": index,
        })
    );
    Ok(())
}

async fn best(runs: usize, mut run: impl AsyncFnMut() -> Outcome<()>) -> Outcome<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let started = Instant::now();
        run().await?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn image_id(row: usize) -> ImageId {
    ImageId::of_bytes(&(row / MASKS).to_le_bytes())
}

/// Vectors around centres.
struct Vectors {
    dim: usize,
    centres: Vec<f32>,
    noise: f32,
    random: fastrand::Rng,
}

impl Vectors {
    fn new(dim: usize, real: Option<&Path>) -> Outcome<Self> {
        let mut random = fastrand::Rng::with_seed(1);
        let centres: Vec<f32> = match real {
            Some(path) => {
                let bytes = std::fs::read(path)?;
                bytes
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|it| f32::from_le_bytes(*it))
                    .collect()
            }
            None => (0..1000 * dim).map(|_| random.f32() - 0.5).collect(),
        };
        let square: f32 = centres.iter().map(|x| x * x).sum();
        Ok(Self {
            dim,
            noise: 0.5 * (square / centres.len() as f32).sqrt(),
            centres,
            random,
        })
    }

    fn rows(&mut self, rows: Range<usize>) -> Outcome<RecordBatch> {
        let centres: Vec<&[f32]> = self.centres.chunks_exact(self.dim).collect();
        let extractor_id = ExtractorId::of_bytes(b"bench");
        let rows: Vec<VectorRow> = rows
            .map(|row| VectorRow {
                extractor_id: extractor_id.clone(),
                image_id: image_id(row),
                mask_index: (row % MASKS) as i32,
                vector: centres[row % centres.len()]
                    .iter()
                    .map(|x| x + (self.random.f32() - 0.5) * self.noise)
                    .collect(),
            })
            .collect();
        Ok(vectors_to_batch(&rows, u32::try_from(self.dim)?)?)
    }
}

/// The table of vectors, made unless it is there.
async fn made(store: &Store, rows: usize, vectors: &mut Vectors) -> Outcome<StoreTable> {
    let dim = vectors.dim;
    let id = EmbedderId::of_bytes(b"bench");
    let table = StoreTable::Vectors(VectorTable::Masks, id.clone());
    if store.snapshot().await?.has_table(&table) {
        return Ok(table);
    }
    let embedder = EmbedderRow {
        embedder_id: id.clone(),
        embedder: "bench".to_owned(),
        model_type: "custom".to_owned(),
        checkpoint: "none".to_owned(),
        checkpoint_sha256: "0".repeat(64),
        dim: i32::try_from(dim)?,
        options: "{}".to_owned(),
        grainstore_version: "0".to_owned(),
        created_at: chrono::Utc::now(),
    };
    let width = u32::try_from(dim)?;
    for first in (0..rows).step_by(PART) {
        let batch = vectors.rows(first..rows.min(first + PART))?;
        let (id, table, batch, embedder) = (&id, &table, &batch, &embedder);
        store
            .commit("bench", |head| async move {
                let mut changes = Changes::new();
                if !head.has_table(table) {
                    changes.create_vectors(VectorTable::Masks, id, width)?;
                    changes.append(
                        Table::Embedders,
                        EmbedderRow::to_batch(std::slice::from_ref(embedder))?,
                    );
                }
                changes.append(table.clone(), batch.clone());
                Ok(changes)
            })
            .await?;
    }
    Ok(table)
}

async fn scanned(snapshot: &Snapshot, table: &StoreTable) -> Outcome<()> {
    let scan = snapshot.scan(table.clone()).await?.project(&["vector"])?;
    let mut rows = scan.stream().await?;
    while let Some(batch) = rows.next().await {
        std::hint::black_box(batch?);
    }
    Ok(())
}

fn queries(rows: usize) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(2);
    (0..QUERIES).map(|_| random.usize(0..rows)).collect()
}

type Found = HashSet<(String, i32)>;

async fn found(snapshot: &Snapshot, row: &usize, search: Search) -> Outcome<Found> {
    let query = SearchQuery::Mask {
        image: image_id(*row),
        extractor: None,
        mask_index: (row % MASKS) as i32,
    };
    let request = NearestRequest {
        count: COUNT,
        search,
        ..NearestRequest::new(SearchedTable::Vectors("bench".to_owned()), query)
    };
    let found = nearest(snapshot, &request).await?;
    let key = |row: grainstore::neighbours::Neighbour| {
        (row.image_id.to_string(), row.mask_index.unwrap_or(-1))
    };
    Ok(found.rows.into_iter().map(key).collect())
}

/// A head of 20 classes over all vectors, in SQL: a linear one, or one with hidden layers.
async fn predicted(store: &Store, dim: usize, (name, hidden): (&str, &[usize])) -> Outcome<()> {
    let mut snapshot = store.snapshot().await?;
    if !snapshot.has_value(Table::Heads, "head", name).await? {
        let classes: Vec<Class> = (0..20)
            .map(|n| Class {
                name: format!("class{n}"),
                supercategory: None,
                external_id: None,
                labels: vec![format!("class{n}")],
                search: Vec::new(),
            })
            .collect();
        let names: Vec<String> = classes.iter().map(|class| class.name.clone()).collect();
        let set = ClassSet {
            name: "twenty".to_owned(),
            version: 1,
            classes,
        };
        if !snapshot
            .has_value(Table::ClassSets, "class_set", "twenty")
            .await?
        {
            add_class_set(store, "bench", &set, "file").await?;
        }
        let embedder = find_embedder(&snapshot, "bench").await?;
        let mut random = fastrand::Rng::with_seed(3);
        let mut bytes = |count: usize, scale: f32| -> Vec<u8> {
            (0..count)
                .flat_map(|_| ((random.f32() - 0.5) * scale).to_le_bytes())
                .collect()
        };
        let widths = [&[dim], hidden, &[20]].concat();
        let layers: Vec<(String, Vec<usize>, Vec<u8>)> = widths
            .array_windows()
            .enumerate()
            .flat_map(|(at, [inputs, outputs])| {
                let scale = 2.0 / (*inputs as f32).sqrt();
                [
                    (
                        format!("layers.{at}.weight"),
                        vec![*outputs, *inputs],
                        bytes(inputs * outputs, scale),
                    ),
                    (
                        format!("layers.{at}.bias"),
                        vec![*outputs],
                        bytes(*outputs, scale),
                    ),
                ]
            })
            .collect();
        let views = layers.iter().map(|(name, shape, bytes)| {
            TensorView::new(Dtype::F32, shape.clone(), bytes).map(|view| (name.clone(), view))
        });
        let views: Vec<_> = views.collect::<Result<_, _>>()?;
        let weights = safetensors::serialize(views, Some(HashMap::new()))?;
        let options = grainstore::head::TrainOptions::default();
        let spec = json!({
            "head": { "embedding_dim": dim, "hidden": hidden, "dropout": 0.0, "classes": names },
            "options": options,
            "skipped": { "images_outside": 0, "labels_outside": 0, "masks_not_finite": 0, "images_empty": 0 },
        });
        let row = HeadRow {
            head_id: HeadId::of_bytes(name.as_bytes()),
            head: name.to_owned(),
            extractor_id: ExtractorId::of_bytes(b"bench"),
            class_set: "twenty".to_owned(),
            class_set_version: 1,
            spec: spec.to_string(),
            inputs: json!([embedder.embedder_id]).to_string(),
            normalise: r#"["l2"]"#.to_owned(),
            weights: Some(weights),
            query: "none".to_owned(),
            store_version: None,
            seed: None,
            parent_head_id: None,
            teacher_head_id: None,
            curves: "[]".to_owned(),
            images_read: 0,
            rows_read: 0,
            seconds: 0.0,
            device: Some("cpu".to_owned()),
            grainstore_version: "0".to_owned(),
            created_at: chrono::Utc::now(),
        };
        let batch = HeadRow::to_batch(&[row])?;
        store
            .commit("bench", |_| {
                let batch = batch.clone();
                async move {
                    let mut changes = Changes::new();
                    changes.append(Table::Heads, batch);
                    Ok(changes)
                }
            })
            .await?;
        snapshot = store.snapshot().await?;
    }
    let query = format!(
        "SELECT predict('{name}', vector).class AS class, count(*) AS masks FROM vectors.bench GROUP BY 1"
    );
    let sql = Sql::new(&snapshot).await?;
    register_predict(&sql, &snapshot, &query).await?;
    sql.query(&query).await?.collect().await?;
    Ok(())
}

/// Seconds that the matrix products of a head take, for as many rows, by the library that multiplies them in the head: a
/// chunk of rows that is there already, again and again.
fn matrix_seconds(rows: usize, dim: usize, hidden: &[usize]) -> f64 {
    let device = Device::flex();
    let widths = [&[dim], hidden, &[20]].concat();
    let random = |shape: [usize; 2]| {
        let mut random = fastrand::Rng::with_seed(5);
        let numbers: Vec<f32> = (0..shape[0] * shape[1]).map(|_| random.f32()).collect();
        Tensor::<2>::from_data(TensorData::new(numbers, shape), &device)
    };
    let pairs: Vec<(Tensor<2>, Tensor<2>)> = widths
        .array_windows()
        .map(|[inputs, outputs]| (random([CHUNK, *inputs]), random([*inputs, *outputs])))
        .collect();
    // As many threads multiply as partitions of a query do.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let chunks = rows.div_ceil(CHUNK * threads);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                for _ in 0..chunks {
                    for (left, right) in &pairs {
                        std::hint::black_box(left.clone().matmul(right.clone()).into_data());
                    }
                }
            });
        }
    });
    started.elapsed().as_secs_f64()
}

/// An index: how long it takes to make, for some settings how long a query takes and how much of the truth it finds, and how
/// long it takes to add vectors that come later.
async fn indexed(
    store: &Store,
    request: &IndexRequest,
    queries: &[usize],
    truth: &[Found],
    later: RecordBatch,
) -> Outcome<serde_json::Value> {
    let started = Instant::now();
    store.create_index(request).await?;
    let build_s = started.elapsed().as_secs_f64();
    let snapshot = store.snapshot().await?;
    let mut settings = Vec::new();
    for (nprobes, refine) in [(5, 2), (10, 2), (10, 5), (20, 10), (40, 10), (80, 20)] {
        let search = Search::Index { nprobes, refine };
        let (mut times, mut recalled) = (Vec::new(), 0);
        for (query, truth) in queries.iter().zip(truth) {
            let started = Instant::now();
            let found = found(&snapshot, query, search).await?;
            times.push(started.elapsed().as_secs_f64());
            recalled += found.intersection(truth).count();
        }
        settings.push(json!({
            "nprobes": nprobes, "refine": refine, "median_s": median(&mut times),
            "recall_at_20": recalled as f64 / (COUNT * queries.len()) as f64,
        }));
    }
    let (table, later) = (&request.table, &later);
    store
        .commit("bench", |_| async move {
            let mut changes = Changes::new();
            changes.append(table.clone(), later.clone());
            Ok(changes)
        })
        .await?;
    let started = Instant::now();
    store.update_indexes(table).await?;
    let delta_s = started.elapsed().as_secs_f64();
    Ok(json!({
        "kind": request.kind, "build_s": build_s, "settings": settings,
        "delta_rows": later.num_rows(), "delta_s": delta_s,
    }))
}
