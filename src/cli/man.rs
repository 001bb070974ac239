//! `grainstore man`

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

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
        .and_then(|()| {
            let mut program = Cli::command().disable_help_subcommand(true);
            program.build();
            write(program, directory)
        })
        .with_context(|| format!("cannot write manual pages to '{}'", directory.display()))?;
    Ok(Ended::Done)
}

/// Writes the page of a command and those of its commands.
fn write(command: Command, directory: &Path) -> io::Result<()> {
    let shown = command.get_subcommands().filter(|it| !it.is_hide_set());
    for inner in shown.cloned() {
        write(inner, directory)?;
    }
    let source = concat!("grainstore ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).generate_to(directory)?;
    Ok(())
}
