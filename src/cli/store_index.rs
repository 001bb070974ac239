//! `grainstore store index`

use std::collections::HashMap;
use std::io::{self, Write};
use std::time::Instant;

use clap::Subcommand;
use grainstore::neighbours::SearchedTable;
use grainstore::store::{IndexKind, IndexStats, Snapshot, Store, VectorIndexRequest};
use serde_json::json;

use super::{At, Ended, Global, plural, print_json};

/// Indexes of vectors: with one, a search looks at a part of the vectors, and can miss some of the nearest.
#[derive(Debug, Subcommand)]
pub enum Args {
    Create(CreateArgs),
    Update(UpdateArgs),
    Drop(DropArgs),
    List(ListArgs),
}

/// Make an index of a table's vectors. It takes the place of an earlier one.
///
/// Others can write meanwhile. Rows that are added later are not in the index; searches compare them one by one, until
/// 'grainstore store index update' adds them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore store index create vectors.dinov2_vitb14
  grainstore store index create masks --kind ivf_flat       # the extractors' own embeddings, as they are
  grainstore store index create vectors.clip_b32 --partitions 500 --sub-vectors 64")]
pub struct CreateArgs {
    /// The table: masks, vectors.NAME or image_vectors.NAME.
    table: SearchedTable,
    /// How vectors are kept: ivf_pq (quantised, small and quick) or ivf_flat (as they are).
    #[arg(long, default_value_t = IndexKind::default(), value_name = "KIND")]
    kind: IndexKind,
    /// Number of partitions, of which a search looks at 20 by default [default: one per 4096 rows].
    #[arg(long, value_name = "N")]
    partitions: Option<u64>,
    /// Bytes that a vector is quantised to; a divisor of its length [default: one byte per 16 numbers].
    #[arg(long, value_name = "N")]
    sub_vectors: Option<u32>,
}

/// Add the rows to an index that came after it was made.
#[derive(Debug, clap::Args)]
pub struct UpdateArgs {
    /// The table: masks, vectors.NAME or image_vectors.NAME.
    table: SearchedTable,
}

/// Drop an index. 'store cleanup' frees the disk space.
#[derive(Debug, clap::Args)]
pub struct DropArgs {
    /// The table: masks, vectors.NAME or image_vectors.NAME.
    table: SearchedTable,
}

/// List the indexes of all tables.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    at: At,
}

pub async fn run(args: Args, store: &Store, global: &Global) -> anyhow::Result<Ended> {
    let started = Instant::now();
    match args {
        Args::Create(args) => {
            let request = VectorIndexRequest {
                table: args.table.store_table(&store.snapshot().await?).await?,
                kind: args.kind,
                partitions: args.partitions,
                sub_vectors: args.sub_vectors,
            };
            let stats = store.create_vector_index(&request).await?;
            tell(&args.table, &stats, started, global)?;
        }
        Args::Update(args) => {
            let table = args.table.store_table(&store.snapshot().await?).await?;
            let stats = store.update_vector_index(&table).await?;
            tell(&args.table, &stats, started, global)?;
        }
        Args::Drop(args) => {
            let table = args.table.store_table(&store.snapshot().await?).await?;
            store.drop_vector_index(&table).await?;
            if global.json {
                print_json(&json!({ "dropped": args.table.to_string() }))?;
            } else if !global.quiet {
                errln!("dropped the index of '{}'", args.table);
            }
        }
        Args::List(args) => {
            let snapshot = args.at.snapshot(store).await?;
            list(&snapshot, global).await?;
        }
    }
    Ok(Ended::Done)
}

fn tell(
    table: &SearchedTable,
    stats: &IndexStats,
    started: Instant,
    global: &Global,
) -> anyhow::Result<()> {
    if global.json {
        return print_json(stats);
    }
    if !global.quiet {
        errln!(
            "{} of '{table}' has {} in {:.1} s",
            stats.kind,
            plural(stats.rows - stats.unindexed_rows, "row"),
            started.elapsed().as_secs_f64()
        );
    }
    Ok(())
}

async fn list(snapshot: &Snapshot, global: &Global) -> anyhow::Result<()> {
    let mut found = snapshot.indexes().await?;
    // In SQL, tables of vectors go by the names of their embedders.
    let mut names = HashMap::new();
    for (name, table) in snapshot.vector_tables().await? {
        let path = table.path();
        let folder = path.split('/').next().unwrap_or_default();
        names.insert(path.clone(), format!("{folder}.{name}"));
    }
    for index in &mut found {
        if let Some(name) = names.get(&index.table) {
            index.table.clone_from(name);
        }
    }
    if global.json {
        return print_json(&found);
    }
    let mut out = io::stdout().lock();
    for index in &found {
        let size = index.bytes.map_or("?".to_owned(), |bytes| {
            indicatif::HumanBytes(bytes).to_string()
        });
        writeln!(
            out,
            "{:<24}  {:<9}  {} of {} in {}, {size}",
            index.table,
            index.kind,
            index.rows - index.unindexed_rows,
            plural(index.rows, "row"),
            plural(index.segments as u64, "part"),
        )?;
    }
    Ok(())
}
