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

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Parser;
use harness::{jobs, photos};

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
    let checkpoint =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/extract/sharp.safetensors");
    println!(
        "{:<10}{:>7}{:>12}{:>10}",
        "command", "kills", "completed", "seconds"
    );
    for job in jobs(&photos, &checkpoint, &dir) {
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
    println!(
        "after each kill every file was as written, and in the end every row as in an undisturbed store"
    );
    let _ = std::fs::remove_dir_all(&dir);
}
