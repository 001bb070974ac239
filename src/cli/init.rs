//! `grainstore init`

use grainstore::Error;
use grainstore::schema::{EmbeddingFloat, EmbeddingType};
use grainstore::store::{Store, StoreOptions};

use super::{Ended, Global, print_json};

/// Create a store with a choice of how embeddings are stored. Ingesting creates one with the defaults.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  grainstore init --store voc.store --embedding-type f32")]
pub struct Args {
    /// Number type of mask embeddings: f16 takes half the space, f32 is what the decoder returns.
    #[arg(long, value_enum, default_value = "f16", value_name = "TYPE")]
    embedding_type: Float,
    /// Numbers per embedding: output tokens x token width; 4 x 256 for every published SAM.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65536), value_name = "N")]
    embedding_dim: u32,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Float {
    F16,
    F32,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let float = match args.embedding_type {
        Float::F16 => EmbeddingFloat::F16,
        Float::F32 => EmbeddingFloat::F32,
    };
    let options = StoreOptions {
        embedding: EmbeddingType {
            float,
            dim: args.embedding_dim,
        },
    };
    let store = Store::open_or_create_with(&global.store, options, &global.storage()).await?;
    if store.options() != options {
        return Err(Error::OtherEmbeddings {
            uri: store.uri().to_owned(),
            found: store.options().embedding.arrow().to_string(),
        }
        .into());
    }
    if global.json {
        print_json(&serde_json::json!({ "store": store.uri(), "options": options }))?;
    } else if !global.quiet {
        errln!("store '{}' is ready", store.uri());
    }
    Ok(Ended::Done)
}
