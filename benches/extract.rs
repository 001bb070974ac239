//! Times extraction with vit_b on the CPU, and prints one JSON object.
//!
//! ```text
//! cargo bench --bench extract -- CHECKPOINT PHOTO...
//! ```
//!
//! Per photo, end to end from the file's bytes to run lengths: with all three masks of a point, which is
//! what the official generator makes, and with the best one, which is grainstore's default. Beside it
//! the encoder and the decoder alone, and how fast the machine multiplies matrices.

#![allow(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use grainstore::extract::{MaskGenerator, MaskOptions, MaskOutput};
use grainstore::models::sam::{Checkpoint, EncoderConfig, Prompts, SamConfig};
use grainstore::photo::{DecodeLimits, decode};
use serde_json::json;

#[global_allocator]
static ALLOCATOR: grainstore_allocator::MiMalloc = grainstore_allocator::MiMalloc;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Points decoded at once on both sides, upstream's default.
const BATCH: usize = 64;

fn main() -> Outcome<()> {
    grainstore_allocator::keep_freed_memory();
    // `cargo bench` adds --bench.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| arg != "--bench")
        .collect();
    let [checkpoint, photos @ ..] = &args[..] else {
        return Err("usage: extract CHECKPOINT PHOTO...".into());
    };
    let device = Device::flex();
    let open = || Checkpoint::open(checkpoint)?.load(&device);
    let photos: Vec<PathBuf> = photos.iter().map(PathBuf::from).collect();
    let all = end_to_end(open()?, MaskOutput::All, &photos)?;
    let best = end_to_end(open()?, MaskOutput::Best, &photos)?;
    let peak_memory_mb = peak_memory_mb();

    let sam = open()?;
    let side = sam.config().image_size;
    let pixels = Tensor::random([1, 3, side, side], Distribution::Default, &device);
    let encode_s = seconds(3, || {
        std::hint::black_box(sam.encode_image(pixels.clone()).cells.into_data());
    });
    let embedding = sam.encode_image(pixels);
    let points: Vec<[f32; 2]> = (0..BATCH).map(|n| [n as f32, 2.0 * n as f32]).collect();
    let prompts = Prompts::single_points(&points, &device);
    let decode_s = seconds(3, || {
        std::hint::black_box(sam.decode(embedding.clone(), &prompts).masks.into_data());
    });
    let gemm = gemm_gflops(&device);
    let encoder = encoder_gflop(sam.config());
    println!(
        "{}",
        json!({
            "all_s": all, "best_s": best, "peak_memory_mb": peak_memory_mb,
            "encode_s": encode_s, "decode_s": decode_s,
            "gemm_gflops": gemm, "encoder_gflop": encoder, "encoder_share_of_gemm": encoder / encode_s / gemm,
        })
    );
    Ok(())
}

/// Seconds for each photo, from its bytes to its masks; the first photo is run once before.
fn end_to_end(
    sam: grainstore::models::sam::Sam,
    mask_output: MaskOutput,
    photos: &[PathBuf],
) -> Outcome<Vec<f64>> {
    let options = MaskOptions {
        mask_output,
        ..MaskOptions::default()
    };
    let generator = MaskGenerator::new(sam, Device::flex(), options, BATCH)?;
    let mut times = Vec::new();
    for photo in photos.iter().take(1).chain(photos) {
        let bytes = std::fs::read(photo)?;
        let started = Instant::now();
        let masks = generator.generate(&decode(&bytes, &DecodeLimits::default())?)?;
        times.push(started.elapsed().as_secs_f64());
        assert!(masks.len() >= 100, "{} masks", masks.len());
    }
    Ok(times.split_off(1))
}

/// The fastest of some runs.
fn seconds(runs: usize, run: impl Fn()) -> f64 {
    let times = (0..runs).map(|_| {
        let started = Instant::now();
        run();
        started.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

/// What the machine does at best on the encoder's largest matrix product.
fn gemm_gflops(device: &Device) -> f64 {
    let (rows, inner, columns) = (4096, 768, 3072);
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Default, device);
    let (a, b) = (random([rows, inner]), random([inner, columns]));
    let best = seconds(10, || {
        std::hint::black_box(a.clone().matmul(b.clone()));
    });
    2.0 * (rows as f64) * (inner as f64) * (columns as f64) / best / 1e9
}

/// Multiplications and additions of the encoder's matrix products for one image, in 10^9.
fn encoder_gflop(config: &SamConfig) -> f64 {
    let EncoderConfig::Vit(vit) = &config.encoder else {
        return f64::NAN;
    };
    let (dim, grid) = (vit.embed_dim as f64, config.grid_size() as f64);
    let tokens = grid * grid;
    let (window, out) = (vit.window_size as f64, config.prompt_dim as f64);
    let windows = (grid / window).ceil().powi(2);
    let mut sum = tokens * 3.0 * 256.0 * dim + tokens * (dim * out + 9.0 * out * out);
    for block in 0..vit.depth {
        let (groups, length) = if vit.global_attention_blocks.contains(&block) {
            (1.0, tokens)
        } else {
            (windows, window * window)
        };
        let attended = groups * length;
        sum += attended * 4.0 * dim * dim + 2.0 * attended * length * dim;
        sum += tokens * 2.0 * vit.mlp_dim as f64 * dim;
    }
    2.0 * sum / 1e9
}

/// The most memory the process has held, in 10^6 bytes.
fn peak_memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024 / 1_000_000
}
