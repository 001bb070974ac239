//! `grainstore sql`

use std::io::{IsTerminal, Read, stdin};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use grainstore::head::CreateHead;
use grainstore::neighbours::ClipTexts;

use super::cluster::QueriesOnCluster;
use super::output::Output;
use super::shell::Shell;
use super::statement::run_statement;
use super::{At, Ended, Global};

/// Run a query over the store's tables, or open a shell for many. Queries only read, except that CREATE HEAD trains a head.
///
/// The shell keeps a history, and completes tables, columns, functions and named queries with the tab key.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore sql \"SELECT label, count(*) AS images FROM labels GROUP BY label ORDER BY images DESC\"
  grainstore sql \"SELECT category, rle_area(rle) FROM ground_truth\" --format csv
  grainstore sql --file my.sql -o result.parquet
  grainstore sql \"SELECT image_id, mask_index, predict('fine', embedding).class FROM masks
                  ORDER BY predict('fine', embedding).entropy DESC LIMIT 20\"
  grainstore sql \"CREATE HEAD fine USING CLASSES all OPTIONS (epochs = 4) AS SELECT m.*, l.label
                  FROM masks m JOIN labels l USING (image_id) WHERE m.area > 100\"
  grainstore sql \"SELECT * FROM nearest('vectors.dinov2_vitb14', 'cat/1.jpg', 17, 20)\"
  grainstore sql \"SHOW TABLES\"
  grainstore sql                                             # a shell; '\\?' lists its commands

Tables: see 'grainstore schema'. Functions on masks: rle_area, rle_bbox, rle_iou, rle_intersection_area,
rle_intersection, rle_difference, rle_union (aggregate), rle_is_valid, rle_decode_png. Functions of heads: predict,
predict_scores. Neighbours: nearest, nearest_vector, nearest_text. All functions of DataFusion are available, too.")]
pub struct Args {
    /// The query, or '-' to read it from stdin [default: on a terminal a shell, else from stdin].
    query: Option<String>,
    /// Read the query from a file.
    #[arg(short, long, value_name = "FILE", conflicts_with = "query")]
    file: Option<PathBuf>,
    /// For nearest_text: the weights that the embedder was made with.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Open the shell, even where the input is not a terminal. There, the first error ends it.
    #[arg(long, conflicts_with_all = ["query", "file"])]
    shell: bool,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    on: QueriesOnCluster,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let is_asked = args.query.is_some() || args.file.is_some();
    if args.shell || (!is_asked && stdin().is_terminal()) {
        let store = args.on.open_for_shell(global).await?;
        let shell = Shell::new(store, args.at, args.checkpoint, args.output, global);
        return shell.run().await;
    }
    let query = match (args.query, args.file) {
        (_, Some(file)) => std::fs::read_to_string(&file)
            .with_context(|| format!("cannot read '{}'", file.display()))?,
        (Some(query), None) if query != "-" => query,
        (_, None) => {
            let mut text = String::new();
            stdin()
                .read_to_string(&mut text)
                .context("cannot read the query from stdin")?;
            text
        }
    };
    if args.output.is_given() && CreateHead::parse(&query)?.is_some() {
        bail!("CREATE HEAD has no rows to write; leave --output and --format out");
    }
    let store = args.on.open(global).await?;
    let snapshot = args.at.snapshot(&store).await?;
    let texts = args.checkpoint.map(|file| Arc::new(ClipTexts::new(file)));
    run_statement(&query, &store, &snapshot, texts, &args.output, global).await
}
