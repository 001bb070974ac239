//! `grainstore import`

use std::path::PathBuf;
use std::time::Instant;

use grainstore::import::{ImportRequest, ImportSummary, import_coco_results};
use grainstore::store::Store;

use super::progress::progress;
use super::{Ended, Global, plural, print_json_summary};

/// Import results of other models, as predictions to evaluate, compare and export.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    CocoResults(CocoResults),
}

/// COCO results: a JSON list of {image_id, category_id, score, segmentation or bbox}.
///
/// They become the predictions of a head without weights. Importing the same file again adds nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore import coco-results mask_rcnn.json --head mask_rcnn --dataset coco
  grainstore eval --head mask_rcnn --dataset coco --split val")]
pub struct CocoResults {
    /// The results file.
    file: PathBuf,
    /// Name of the head that the predictions get.
    #[arg(long, value_name = "NAME")]
    head: String,
    /// Data set whose image ids the file uses.
    #[arg(long, value_name = "NAME", default_value = "coco")]
    dataset: String,
    /// Only images of this split, for data sets whose splits use the same image ids.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Class set whose ids are the file's category ids [default: the one named like the data set].
    #[arg(long, value_name = "NAME")]
    classes: Option<String>,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let Args::CocoResults(args) = args;
    let request = ImportRequest {
        file: args.file,
        head: args.head,
        dataset: args.dataset,
        split: args.split,
        classes: args.classes,
    };
    let store = Store::open(&global.store).await?;
    let started = Instant::now();
    let progress = progress(global);
    let summary = import_coco_results(&store, &request, progress.as_ref()).await?;
    report(&summary, started.elapsed().as_secs_f64(), global)?;
    Ok(Ended::with_failures(summary.failed))
}

fn report(summary: &ImportSummary, seconds: f64, global: &Global) -> anyhow::Result<()> {
    if global.json {
        return print_json_summary(summary, seconds);
    }
    outln!(
        "head '{}': {} in {} imported in {seconds:.1} s",
        summary.head,
        plural(summary.detections, "detection"),
        plural(summary.images, "image")
    );
    if summary.done > 0 {
        outln!("{} imported before", plural(summary.done, "image"));
    }
    if summary.failed > 0 && !global.quiet {
        errln!(
            "{} could not be used; 'grainstore query failures' says which and why",
            plural(summary.failed, "detection")
        );
    }
    Ok(())
}
