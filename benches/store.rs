//! Times ingest and SQL on generated stores, and prints one JSON object.
//!
//! ```text
//! cargo bench --bench store -- DIR
//! ```
//!
//! - `ingest`: 1,000, 10,000 and 100,000 small photos, beside the same reading, hashing and probing without a store.
//! - `sql`: counts and group-bys over 10,000, 100,000 and 1,000,000 masks (2 GB of embeddings, generated once in DIR),
//!   each in a process of its own, with its peak memory and the bytes Lance read.
//! - `read`: every column of the largest store, and every file against its checksum, beside reading the same files; from
//!   the page cache and, where it may be emptied (as root), from the disk.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints what it measured, and ends where something is not as it must be"
)]

use std::path::{Path, PathBuf};
use std::time::Instant;

use arrow::array::RecordBatch;
use grainstore::geometry::{Rle, Size};
use grainstore::ids::{ExtractorId, ImageId};
use grainstore::ingest::FolderIngest;
use grainstore::ingest::{DEFAULT_COMMIT_ROWS, IngestOptions, LabelSource, Source, ingest_folder};
use grainstore::progress::NoProgress;
use grainstore::schema::{EmbeddingType, Table};
use grainstore::sql::Sql;
use grainstore::store::rows::{MaskRow, masks_to_batch};
use grainstore::store::{Changes, Store, StoreOptions};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const PHOTOS: [u32; 3] = [1_000, 10_000, 100_000];
const GROWTH: [usize; 3] = [10_000, 100_000, 1_000_000];
const MASKS_PER_IMAGE: usize = 100;
const MASKS_PER_COMMIT: usize = 10_000;

const QUERIES: [(&str, &str); 4] = [
    ("count", "SELECT count(*) FROM masks"),
    (
        "group by image",
        "SELECT image_id, count(*) AS masks, max(area) FROM masks GROUP BY image_id",
    ),
    (
        "filter and group",
        "SELECT mask_output, avg(predicted_iou) FROM masks WHERE area > 5000 GROUP BY mask_output",
    ),
    ("rle_area of all", "SELECT sum(rle_area(rle)) FROM masks"),
];

fn main() -> Outcome<()> {
    // `cargo bench` adds --bench.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match &args[..] {
        [dir] => {
            let dir = Path::new(dir);
            std::fs::create_dir_all(dir)?;
            let mut ingested = Vec::new();
            for photos in PHOTOS {
                ingested.push(runtime.block_on(ingest(dir, photos))?);
            }
            let mut sizes = Vec::new();
            for masks in GROWTH {
                let place = dir.join(format!("masks-{masks}"));
                let generate = runtime.block_on(generate(&place, masks))?;
                let queries: Vec<Value> = (0..QUERIES.len())
                    .map(|n| query_apart(&place, n))
                    .collect::<Outcome<_>>()?;
                sizes.push(json!({"generate": generate, "sql": queries}));
            }
            let largest = dir.join(format!("masks-{}", GROWTH[2]));
            let read = runtime.block_on(read(&largest))?;
            println!(
                "{:#}",
                json!({"ingest": ingested, "sizes": sizes, "read": read})
            );
            Ok(())
        }
        [place, query] => {
            let measured = runtime.block_on(query_here(Path::new(place), query.parse()?))?;
            println!("{measured}");
            Ok(())
        }
        _ => Err("usage: store DIR".into()),
    }
}

/// Small PNGs of some 2 KB in 20 folders, made once.
fn make_photos(dir: &Path, count: u32) -> Outcome<PathBuf> {
    let root = dir.join(format!("photos-{count}"));
    if root.join("ready").exists() {
        return Ok(root);
    }
    for n in 0..count {
        let folder = root.join(format!("class{:02}", n % 20));
        std::fs::create_dir_all(&folder)?;
        let mut state = n.wrapping_mul(2_654_435_761) | 1;
        let photo = image::RgbImage::from_fn(26, 26, |_, _| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            let [r, g, b, _] = state.to_le_bytes();
            image::Rgb([r, g, b])
        });
        photo.save(folder.join(format!("{n:06}.png")))?;
    }
    std::fs::write(root.join("ready"), "")?;
    Ok(root)
}

/// Ingest against the same work without a store, five times each in turn; medians.
async fn ingest(dir: &Path, photos: u32) -> Outcome<Value> {
    let root = make_photos(dir, photos)?;
    let options = IngestOptions {
        dataset: "bench".to_owned(),
        source: Source::Web,
        split: None,
        verify_pixels: false,
        commit_rows: DEFAULT_COMMIT_ROWS,
    };
    let (mut with_store, mut without, mut again) = (Vec::new(), Vec::new(), Vec::new());
    let mut commits = 0;
    for _ in 0..5 {
        let started = Instant::now();
        read_only(&root, photos).await?;
        without.push(started.elapsed().as_secs_f64());

        let place = dir.join("ingested");
        let _ = std::fs::remove_dir_all(&place);
        let store =
            Store::open_or_create(place.to_str().ok_or("path")?, StoreOptions::default()).await?;
        let folders = LabelSource::Folders;
        let started = Instant::now();
        let summary = ingest_folder(
            &store,
            &FolderIngest {
                directory: (&root).into(),
                labels: folders.clone(),
                options: options.clone(),
            },
            &NoProgress,
        )
        .await?;
        with_store.push(started.elapsed().as_secs_f64());
        assert_eq!(summary.images_added, u64::from(photos));
        commits = store.log().await?.len() - 1;

        let started = Instant::now();
        let summary = ingest_folder(
            &store,
            &FolderIngest {
                directory: (&root).into(),
                labels: folders.clone(),
                options: options.clone(),
            },
            &NoProgress,
        )
        .await?;
        again.push(started.elapsed().as_secs_f64());
        assert_eq!(summary.images_known, u64::from(photos));
    }
    let (with_store, without, again) = (median(with_store), median(without), median(again));
    Ok(json!({
        "photos": photos, "commits": commits, "ingest_s": with_store, "read_hash_probe_s": without,
        "again_s": again, "ratio": with_store / without,
    }))
}

/// Reads, hashes and probes every photo, as ingest does, on as many threads.
async fn read_only(root: &Path, photos: u32) -> Outcome<()> {
    use futures::StreamExt;
    let files = walkdir::WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .filter_map(Result::ok);
    let files = files.filter(|file| file.path().extension().is_some_and(|e| e == "png"));
    let workers = std::thread::available_parallelism()?.get() * 4;
    let mut reads = futures::stream::iter(files)
        .map(|file| {
            tokio::task::spawn_blocking(move || -> Option<(ImageId, u32)> {
                let bytes = std::fs::read(file.path()).ok()?;
                let info = grainstore::photo::probe(&bytes).ok()?;
                Some((ImageId::of_bytes(&bytes), info.width))
            })
        })
        .buffered(workers);
    let mut count = 0;
    while let Some(read) = reads.next().await {
        count += u32::from(read?.is_some());
    }
    assert_eq!(count, photos);
    Ok(())
}

/// A store of masks as extraction would write it: 100 an image, 100 images a commit. Made once.
async fn generate(place: &Path, count: usize) -> Outcome<Value> {
    let store =
        Store::open_or_create(place.to_str().ok_or("path")?, StoreOptions::default()).await?;
    let started = Instant::now();
    let mut done = store.snapshot().await?.count(Table::Masks).await? as usize;
    let begun = done;
    while done < count {
        let batch = masks(done, MASKS_PER_COMMIT)?;
        store
            .commit("generate", |_| {
                let mut changes = Changes::new();
                changes.append(Table::Masks, batch.clone());
                std::future::ready(Ok(changes))
            })
            .await?;
        done += MASKS_PER_COMMIT;
    }
    let seconds = started.elapsed().as_secs_f64();
    let stats = store.snapshot().await?.stats().await?;
    let bytes = stats
        .iter()
        .find(|table| table.table == "masks")
        .map_or(0, |table| table.bytes);
    Ok(json!({
        "masks": count, "written": count - begun, "seconds": seconds, "bytes_per_mask": bytes / count as u64,
    }))
}

fn masks(first: usize, count: usize) -> Outcome<RecordBatch> {
    let mut state = first as u64 * 0x9e37_79b9 + 1;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below) as f32
    };
    let mut rows = Vec::with_capacity(count);
    for row in first..first + count {
        rows.push(MaskRow {
            extractor_id: ExtractorId::of_bytes(b"x"),
            image_id: ImageId::of_bytes(&(row / MASKS_PER_IMAGE).to_le_bytes()),
            mask_index: (row % MASKS_PER_IMAGE) as i32,
            rle: blob(random(20_000) as u32)?,
            bbox: None,
            predicted_iou: Some(random(1000) / 1000.0),
            stability_score: Some(random(1000) / 1000.0),
            point: Some([f64::from(random(640)), f64::from(random(480))]),
            crop_box: [0.0, 0.0, 640.0, 480.0],
            mask_output: Some((row % 3 + 1) as i8),
            embedding: Some((0..1024).map(|_| random(2048) / 1024.0 - 1.0).collect()),
            object_score: None,
        });
    }
    Ok(masks_to_batch(&rows, EmbeddingType::default())?)
}

/// A mask of about `area` pixels in 480 x 640, with some 100 runs, as SAM's have.
fn blob(area: u32) -> Outcome<Rle> {
    let height = (area / 50).clamp(1, 400);
    let mut runs = vec![480 * 100 + 20];
    for _ in 0..49 {
        runs.extend([height, 480 - height]);
    }
    runs.push(height);
    let size = Size {
        height: 480,
        width: 640,
    };
    Ok(Rle::from_runs(size, runs)?)
}

fn query_apart(dir: &Path, number: usize) -> Outcome<Value> {
    let program = std::env::current_exe()?;
    let output = std::process::Command::new(program)
        .arg(dir)
        .arg(number.to_string())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn query_here(place: &Path, number: usize) -> Outcome<Value> {
    let (name, query) = QUERIES[number];
    let store = Store::open(place.to_str().ok_or("path")?).await?;
    let snapshot = store.snapshot().await?;
    let sql = Sql::new(&snapshot).await?;
    let mut seconds = Vec::new();
    let before = lance::io::bytes_read_counter();
    let mut bytes = 0;
    for run in 0..5 {
        let started = Instant::now();
        let batches = sql.query(query).await?.collect().await?;
        assert!(batches.iter().map(RecordBatch::num_rows).sum::<usize>() > 0);
        seconds.push(started.elapsed().as_secs_f64());
        if run == 0 {
            bytes = lance::io::bytes_read_counter() - before;
        }
    }
    let first = seconds[0];
    Ok(json!({
        "query": name, "sql": query, "first_s": first, "median_s": median(seconds),
        "bytes_read": bytes, "peak_memory_mb": peak_memory_mb()?,
    }))
}

/// Reads a whole store in three ways, each from the disk, if it may be, and from the page cache.
async fn read(place: &Path) -> Outcome<Value> {
    let store = Store::open(place.to_str().ok_or("path")?).await?;
    let (mut found, mut bytes) = (Vec::new(), 0);
    for is_cold in [true, false] {
        let ready = || !is_cold || std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok();
        if !ready() {
            continue;
        }
        let started = Instant::now();
        bytes = read_files(place)?;
        let files = started.elapsed().as_secs_f64();

        ready();
        let started = Instant::now();
        let mut rows = store
            .snapshot()
            .await?
            .scan(Table::Masks)
            .await?
            .stream()
            .await?;
        let mut count = 0;
        while let Some(batch) = futures::StreamExt::next(&mut rows).await {
            count += batch?.num_rows();
        }
        assert_eq!(count, GROWTH[2]);
        let scan = started.elapsed().as_secs_f64();

        ready();
        let started = Instant::now();
        store
            .snapshot()
            .await?
            .verify(&[Table::Masks], &NoProgress)
            .await?;
        let verify = started.elapsed().as_secs_f64();
        found.push(json!({
            "from": if is_cold { "disk" } else { "page cache" },
            "files_s": files, "scan_s": scan, "verify_s": verify,
        }));
    }
    Ok(json!({"bytes": bytes, "runs": found}))
}

/// Reads every data file of the masks, one after the other; their bytes.
fn read_files(place: &Path) -> Outcome<u64> {
    let mut bytes = 0;
    let mut buffer = vec![0; 1 << 20];
    for entry in std::fs::read_dir(place.join("masks.lance/data"))? {
        let mut file = std::fs::File::open(entry?.path())?;
        loop {
            match std::io::Read::read(&mut file, &mut buffer)? {
                0 => break,
                read => bytes += read as u64,
            }
        }
    }
    Ok(bytes)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The most memory this process held, in MB.
fn peak_memory_mb() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .ok_or("no VmHWM")?;
    let kb: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kb / 1024)
}
