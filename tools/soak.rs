//! Kills every command that writes at random moments, many times, and holds the stores against undisturbed ones.
//!
//! ```text
//! ./run soak            # 100 kills of each command
//! ./run soak 10
//! ```

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a soak prints its table, and ends where something is not as it must be"
)]

#[path = "../tests/support/harness.rs"]
mod harness;

#[cfg(feature = "cluster")]
#[path = "../tests/support/cluster.rs"]
mod cluster;

use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use harness::{jobs, photos};

/// A checkpoint of a small model whose masks are sharp.
const CHECKPOINT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/data/extract/sharp.safetensors"
);

#[derive(Parser)]
struct Args {
    /// The program.
    program: PathBuf,
    /// Kills of each command.
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Photos in the stores.
    #[arg(long, default_value_t = 60)]
    photos: u32,
    /// Only this command.
    #[arg(long)]
    only: Option<String>,
}

fn main() {
    let args = Args::parse();
    let dir = std::env::temp_dir().join(format!("grainstore-soak-{}", std::process::id()));
    let photos = photos(&dir, args.photos);
    std::fs::write(photos.join("cat/bad.jpg"), "x").expect("a directory that can be written to");
    println!(
        "{:<10}{:>7}{:>12}{:>10}",
        "command", "kills", "completed", "seconds"
    );
    for job in jobs(&photos, CHECKPOINT.as_ref(), &dir) {
        if args.only.as_ref().is_some_and(|only| only != job.name) {
            continue;
        }
        let started = Instant::now();
        // Whatever is not as it must be ends the soak here.
        let killed = job.kill_at_random_moments(&args.program, &dir, args.kills);
        println!(
            "{:<10}{:>7}{:>12}{:>10.0}",
            job.name,
            killed.kills,
            killed.completed,
            started.elapsed().as_secs_f64()
        );
    }
    #[cfg(feature = "cluster")]
    if args.only.is_none_or(|only| only == "cluster") {
        let started = Instant::now();
        let kills = cluster::Kills {
            photos: 40 + 12 * args.kills,
            executors: args.kills,
            schedulers: args.kills.div_ceil(10),
            drivers: args.kills.div_ceil(10),
        };
        let there = dir.join("there");
        let dir = dir.join("cluster");
        std::fs::create_dir_all(&dir).expect("a directory that can be written to");
        cluster::kill_while_extracting(&args.program, &dir, there, kills);
        let all = kills.executors + kills.schedulers + kills.drivers;
        let seconds = started.elapsed().as_secs_f64();
        println!("{:<10}{all:>7}{:>12}{seconds:>10.0}", "cluster", 0);
    }
    println!(
        "after each kill every file was as written, and in the end every row as in an undisturbed store"
    );
    let _ = std::fs::remove_dir_all(&dir);
}
