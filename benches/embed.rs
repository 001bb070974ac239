//! Times embedding networks on the CPU, and prints one JSON object.
//!
//! ```text
//! cargo bench --bench embed -- FOLDER
//! ```
//!
//! The folder holds weights that `embed_peer.py make` wrote. For crops, 25 at once, from their bytes on; for DINOv2, a
//! photo of 640 x 480 whose long side becomes 518 pixels, with 100 masks pooled.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::path::Path;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use grainstore::device::Precision;
use grainstore::geometry::Size;
use grainstore::models::{EmbeddingModel, EmbeddingModelInfo, Fit, Rgb, open_embedding_weights};
use serde_json::{Map, Value, json};

#[global_allocator]
static ALLOCATOR: grainstore_allocator::MiMalloc = grainstore_allocator::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Crops at once on both sides.
const CROPS: usize = 25;

fn main() -> Outcome<()> {
    grainstore_allocator::keep_freed_memory();
    // `cargo bench` adds --bench.
    let folder = std::env::args().skip(1).find(|arg| arg != "--bench");
    let folder = folder.ok_or("usage: embed FOLDER")?;
    let mut found = Map::new();
    for name in [
        "efficientnet_lite0.pth",
        "clip_vit_b_32",
        "dinov2_vits14.pth",
        "dinov2_vitb14.pth",
    ] {
        let path = Path::new(&folder).join(name);
        if path.exists() {
            found.insert(name.to_owned(), timed(&path)?);
        }
    }
    found.insert("gemm_gflops".to_owned(), gemm_gflops().into());
    println!("{}", Value::Object(found));
    Ok(())
}

/// What the machine does at best on a large matrix product.
fn gemm_gflops() -> f64 {
    let device = Device::flex();
    let (rows, inner, columns) = (4096, 768, 3072);
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Default, &device);
    let (a, b) = (random([rows, inner]), random([inner, columns]));
    let times = (0..10).map(|_| {
        let started = Instant::now();
        std::hint::black_box(a.clone().matmul(b.clone()).into_data());
        started.elapsed().as_secs_f64()
    });
    let best = times.fold(f64::INFINITY, f64::min);
    2.0 * (rows as f64) * (inner as f64) * (columns as f64) / best / 1e9
}

fn timed(path: &Path) -> Outcome<Value> {
    let device = Device::flex();
    let weights = open_embedding_weights(path)?;
    let info = EmbeddingModelInfo::of(&weights, None)?;
    let model = EmbeddingModel::load(weights, None, Precision::F32, &device)?;
    let size = Size {
        height: 480,
        width: 640,
    };
    let mut random = fastrand::Rng::with_seed(0);
    let photo: Vec<u8> = (0..size.height * size.width * 3)
        .map(|_| random.u8(..))
        .collect();
    let rgb = Rgb {
        bytes: &photo,
        size,
    };
    let run = || {
        if info.photo_size > info.crop_size {
            let dense = model.dense(rgb, info.photo_size, Fit::Keep, &device);
            std::hint::black_box(dense.map(|dense| dense.vectors.into_data()));
            return;
        }
        let pixels: Vec<f32> = (0..CROPS)
            .flat_map(|_| model.crop_pixels(rgb, info.crop_size, info.default_fit()))
            .collect();
        let vectors = model.crop_vectors(pixels, info.crop_size, &device);
        std::hint::black_box(vectors.into_data());
    };
    run();
    let times: Vec<f64> = (0..5)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64()
        })
        .collect();
    Ok(json!({ "seconds": times, "peak_memory_mb": peak_memory_mb() }))
}

/// The most memory the process has held, in 10^6 bytes.
fn peak_memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024 / 1_000_000
}
