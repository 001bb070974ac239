//! `grainstore store index`

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::time::Instant;

use clap::Subcommand;
use grainstore::indexes::{create_index_with_workers, update_indexes_with_workers};
use grainstore::jobs::{JobOptions, RunPlan};
use grainstore::neighbours::SearchedTable;
use grainstore::schema::{StoreTable, Table};
use grainstore::store::{IndexKind, IndexRequest, IndexStats, Snapshot, Store};

use super::cluster::run_on;
use super::progress::progress;
use super::{At, Ended, Global, TableNames, plural, print_json};

/// Indexes of vectors and of images.
///
/// With one of vectors, a search looks at a part of them, and can miss some of the nearest. With one of images, reading
/// the masks of some images, as 'show', 'annotate' and SQL with a condition on image_id do, skips the rest of the table.
#[derive(Debug, Subcommand)]
pub enum Args {
    Create(CreateArgs),
    Update(UpdateArgs),
    Drop(DropArgs),
    List(ListArgs),
}

/// Make an index of a table's vectors or images. It takes the place of an earlier one.
///
/// Others can write meanwhile. Rows that are added later are not in the index; they are read one by one, until
/// 'grainstore store index update' adds them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore store index create vectors.dinov2_vitb14
  grainstore store index create masks --kind ivf_flat       # the extractors' own embeddings, as they are
  grainstore store index create vectors.clip_b32 --kind ivf_pq --partitions 500 --sub-vectors 64
  grainstore store index create masks --kind bloom          # of its images
  grainstore --store s3://labels/store store index create masks --cluster 10.0.0.1:50050")]
pub struct CreateArgs {
    /// The table: masks, vectors.NAME or image_vectors.NAME; for --kind bloom, any with a column image_id.
    table: IndexedTable,
    /// ivf_sq (vectors, a byte a number), ivf_pq (vectors, a byte per 16 numbers: small, and misses more), ivf_flat (vectors, as they are) or bloom (images).
    #[arg(long, default_value_t = IndexKind::default(), value_name = "KIND")]
    kind: IndexKind,
    /// Number of partitions, of which a search looks at 20 by default [default: one per 4096 rows].
    #[arg(long, value_name = "N")]
    partitions: Option<u64>,
    /// For ivf_pq, bytes that a vector is quantised to; a divisor of its length [default: one byte per 16 numbers].
    #[arg(long, value_name = "N")]
    sub_vectors: Option<u32>,
    #[command(flatten)]
    on: OnCluster,
}

/// Add the rows to a table's indexes that came after they were made.
#[derive(Debug, clap::Args)]
pub struct UpdateArgs {
    /// The table: masks, vectors.NAME, image_vectors.NAME, or another that has an index.
    table: IndexedTable,
    #[command(flatten)]
    on: OnCluster,
}

/// Drop a table's indexes. 'store cleanup' frees the disk space.
#[derive(Debug, clap::Args)]
pub struct DropArgs {
    /// The table: masks, vectors.NAME, image_vectors.NAME, or another that has an index.
    table: IndexedTable,
    /// Drop only the index of images (bloom) or of vectors (any other kind).
    #[arg(long, value_name = "KIND")]
    kind: Option<IndexKind>,
}

/// Where the rows of an index are put into it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct OnCluster {
    /// Have the rows put into an index of vectors by the executors of a cluster, known by its scheduler. This process trains the
    /// index, and merges and commits what they made; a run that is interrupted changes nothing.
    #[arg(long, value_name = "HOST:PORT")]
    cluster: Option<String>,
    /// Rows of a task, unless one file has more.
    #[arg(long, default_value_t = JobOptions::default().part_rows, requires = "cluster", value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    part_rows: u64,
}

impl OnCluster {
    fn job(&self) -> JobOptions {
        JobOptions {
            part_rows: self.part_rows,
            ..JobOptions::default()
        }
    }
}

/// A table by its name in SQL.
#[derive(Debug, Clone)]
enum IndexedTable {
    Fixed(Table),
    Vectors(SearchedTable),
}

impl FromStr for IndexedTable {
    type Err = grainstore::Error;

    fn from_str(text: &str) -> grainstore::Result<Self> {
        match Table::from_name(text) {
            Some(table) => Ok(Self::Fixed(table)),
            None => text.parse().map(Self::Vectors),
        }
    }
}

impl fmt::Display for IndexedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(table) => f.write_str(table.name()),
            Self::Vectors(table) => table.fmt(f),
        }
    }
}

impl IndexedTable {
    async fn store_table(&self, store: &Store) -> grainstore::Result<StoreTable> {
        match self {
            Self::Fixed(table) => Ok((*table).into()),
            Self::Vectors(table) => table.store_table(&store.snapshot().await?).await,
        }
    }
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
            let request = IndexRequest {
                table: args.table.store_table(store).await?,
                kind: args.kind,
                partitions: args.partitions,
                sub_vectors: args.sub_vectors,
            };
            let stats = match &args.on.cluster {
                Some(scheduler) => {
                    let progress = progress(global);
                    let create = async |workers: &dyn RunPlan, job: &JobOptions| {
                        let progress = progress.as_ref();
                        create_index_with_workers(store, &request, workers, job, progress).await
                    };
                    run_on(scheduler, &args.on.job(), create).await?
                }
                None => store.create_index(&request).await?,
            };
            if global.json {
                print_json(&stats)?;
            }
            tell(&args.table, &[stats], started, global);
        }
        Args::Update(args) => {
            let table = args.table.store_table(store).await?;
            let stats = match &args.on.cluster {
                Some(scheduler) => {
                    let progress = progress(global);
                    let update = async |workers: &dyn RunPlan, job: &JobOptions| {
                        let progress = progress.as_ref();
                        update_indexes_with_workers(store, &table, workers, job, progress).await
                    };
                    run_on(scheduler, &args.on.job(), update).await?
                }
                None => store.update_indexes(&table).await?,
            };
            if global.json {
                print_json(&stats)?;
            }
            tell(&args.table, &stats, started, global);
        }
        Args::Drop(args) => {
            let table = args.table.store_table(store).await?;
            let dropped = store.drop_indexes(&table, args.kind).await?;
            if global.json {
                print_json(&dropped)?;
            } else if !global.quiet {
                for index in dropped {
                    errln!("dropped {} of '{}'", index.kind, args.table);
                }
            }
        }
        Args::List(args) => {
            let snapshot = args.at.snapshot(store).await?;
            list(&snapshot, global).await?;
        }
    }
    Ok(Ended::Done)
}

fn tell(table: &IndexedTable, indexes: &[IndexStats], started: Instant, global: &Global) {
    if global.json || global.quiet {
        return;
    }
    for index in indexes {
        errln!(
            "{} of '{table}' has {} in {:.1} s",
            index.kind,
            plural(index.rows - index.unindexed_rows, "row"),
            started.elapsed().as_secs_f64()
        );
    }
}

async fn list(snapshot: &Snapshot, global: &Global) -> anyhow::Result<()> {
    let mut found = snapshot.indexes().await?;
    let names = TableNames::of(snapshot).await?;
    for index in &mut found {
        index.table = names.name(&index.table).to_owned();
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
            "{:<24}  {:<11}  {} of {} in {}, {size}",
            index.table,
            index.kind,
            index.rows - index.unindexed_rows,
            plural(index.rows, "row"),
            plural(index.segments as u64, "part"),
        )?;
    }
    Ok(())
}
