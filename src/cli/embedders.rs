//! `grainstore embedders`

use std::io::{self, Write};

use clap::Subcommand;
use grainstore::embed::{embedder_statuses, remove_embedder};
use grainstore::store::Store;
use serde_json::json;

use super::{Ended, Global, plural, print_json};

/// List and remove embedders: the models that made vectors.
#[derive(Debug, Subcommand)]
pub enum Args {
    /// List all embedders with what they have done, oldest first.
    List,
    /// Remove an embedder and its vectors. 'store cleanup' frees the disk space.
    Rm(RmArgs),
}

#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// Name of the embedder, or the first digits of its id.
    embedder: String,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    match args {
        Args::List => list(&store, global).await,
        Args::Rm(args) => {
            let row = remove_embedder(&store, &args.embedder).await?;
            if global.json {
                print_json(&json!({ "removed": row.embedder, "embedder_id": row.embedder_id }))?;
            } else {
                outln!("removed embedder '{}' ({})", row.embedder, row.embedder_id);
            }
            Ok(Ended::Done)
        }
    }
}

async fn list(store: &Store, global: &Global) -> anyhow::Result<Ended> {
    let found = embedder_statuses(&store.snapshot().await?).await?;
    if global.json {
        print_json(&found)?;
        return Ok(Ended::Done);
    }
    let mut out = io::stdout().lock();
    for status in &found {
        let row = &status.row;
        let vectors = match (status.mask_vectors, status.image_vectors) {
            (masks, 0) => format!("{} of masks", plural(masks, "vector")),
            (0, images) => format!("{} of images", plural(images, "vector")),
            (masks, images) => format!("{masks} vectors of masks, {images} of images"),
        };
        writeln!(
            out,
            "{:.8}  {}  {}, {} numbers, {}, {:.1} s, {}",
            row.embedder_id.as_str(),
            row.embedder,
            row.model_type,
            row.dim,
            vectors,
            status.seconds,
            row.options
        )?;
    }
    Ok(Ended::Done)
}
