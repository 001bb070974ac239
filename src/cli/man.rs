//! `grainstore man`

use std::path::PathBuf;

use anyhow::Context;
use clap::CommandFactory;

use super::{Cli, Ended};

/// Write manual pages: one of the program, and one of each command.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  grainstore man ~/.local/share/man/man1   # then: man grainstore-extract"
)]
pub struct Args {
    /// The directory; it is made if there is none.
    directory: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<Ended> {
    let directory = &args.directory;
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), directory))
        .with_context(|| format!("cannot write manual pages to '{}'", directory.display()))?;
    Ok(Ended::Done)
}
