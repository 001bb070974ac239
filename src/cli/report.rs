//! `grainstore report`

use std::path::PathBuf;

use grainstore::report::{ReportRequest, write_report};

use super::cluster::QueriesOnCluster;
use super::eval_args::EvaluationArgs;
use super::progress::progress;
use super::{At, Ended, Global, plural, print_json};

/// Write an HTML page about a head: metrics, charts, confusion, best and worst images, lineage.
///
/// The page is self-contained: it can be sent by mail and opens without a network.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore report --head fine -o fine.html
  grainstore report --head fine --classes groups --split test -o groups.html")]
pub struct Args {
    #[command(flatten)]
    evaluation: EvaluationArgs,
    /// Images per section: best, worst, least certain.
    #[arg(long, default_value_t = 6, value_name = "N")]
    images: usize,
    /// The page to write. It appears when it is complete.
    #[arg(short, long, default_value = "report.html", value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    on: QueriesOnCluster,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = args.on.open(global).await?;
    let snapshot = args.at.snapshot(&store).await?;
    let request = ReportRequest {
        evaluation: args.evaluation.request(),
        images: args.images,
        file: args.output.clone(),
    };
    let progress = progress(global);
    let summary = write_report(&snapshot, &request, progress.as_ref()).await?;
    if global.json {
        print_json(&summary)?;
    } else {
        outln!(
            "'{}': head '{}' on {}, {} shown, {} KB",
            args.output.display(),
            summary.head,
            plural(summary.images, "image"),
            plural(summary.images_shown, "image"),
            summary.bytes / 1000
        );
    }
    Ok(Ended::with_failures(summary.failed))
}
