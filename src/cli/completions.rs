//! `grainstore completions`

use std::io;

use clap::CommandFactory;

use super::{Cli, Ended};

/// Print a completion script for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  grainstore completions bash > ~/.local/share/bash-completion/completions/grainstore"
)]
pub struct Args {
    /// The shell.
    shell: clap_complete::Shell,
}

pub fn run(args: &Args) -> anyhow::Result<Ended> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "grainstore", &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(Ended::Done)
}
