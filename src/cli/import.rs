//! `grainstore import`

use std::path::PathBuf;
use std::time::Instant;

use grainstore::import::{
    ImportMasksRequest, ImportMasksSummary, ImportRequest, ImportSummary, MaskSource,
    import_coco_results, import_masks,
};
use grainstore::selection::ImageFilter;

use super::progress::progress;
use super::{Ended, Global, plural, print_json_summary};

/// Import what other programs made: predictions to evaluate, compare and export, and masks to embed and train on.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    CocoResults(CocoResults),
    Masks(MasksArgs),
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

/// Masks of other programs, or of annotated objects, as masks of an extractor of kind 'imported masks'.
///
/// Their images must be in the store; they are found by file name. Folders before either name do not count, so that
/// 'val/1.jpg' finds '1.jpg'. The masks have no embeddings: 'grainstore embed' gives them vectors. Importing the same
/// files again adds nothing. Masks that cannot be used are recorded in table 'failures', and the run continues.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore import masks --coco proposals.json
  grainstore import masks --sa1b sa_000020/
  grainstore import masks --label-maps cells/ --ignore 255        # cells/a.png has the masks of a.jpg
  grainstore import masks --ground-truth coco                     # to train on annotated objects
  grainstore query review/extractors
  grainstore embed --extractor 1a2b3c4d --checkpoint dinov2_vitb14_pretrain.pth")]
pub struct MasksArgs {
    /// Only images of this data set. With --coco, images whose names are not found are looked for by its image ids.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Values of label maps that are no masks, besides 0: 255, or several with commas between them.
    #[arg(long, value_name = "VALUE", value_delimiter = ',')]
    ignore: Vec<u32>,
    #[command(flatten)]
    source: Source,
}

/// Where masks come from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Source (exactly one)")]
#[group(required = true, multiple = false)]
struct Source {
    /// A COCO data set file: polygons and RLE of any category; crowds are masks, too.
    #[arg(long, value_name = "FILE")]
    coco: Option<PathBuf>,
    /// A JSON file as in SA-1B, or a directory of them; predicted IoU, stability score, point and crop box are kept.
    #[arg(long, value_name = "PATH")]
    sa1b: Option<PathBuf>,
    /// A label map, or a directory of them: PNG or TIFF of 8, 16 or 32 bits, or a palette. Each value but 0 is a mask.
    #[arg(long, value_name = "PATH")]
    label_maps: Option<PathBuf>,
    /// The annotated objects of this data set that have masks, without crowds and ignored regions.
    #[arg(long, value_name = "DATASET")]
    ground_truth: Option<String>,
}

impl MasksArgs {
    fn request(self) -> anyhow::Result<ImportMasksRequest> {
        if !self.ignore.is_empty() && self.source.label_maps.is_none() {
            anyhow::bail!("--ignore is for --label-maps alone: other masks have no values");
        }
        let Source {
            coco,
            sa1b,
            label_maps,
            ground_truth,
        } = self.source;
        let source = match (coco, sa1b, label_maps, ground_truth) {
            (Some(path), ..) => MaskSource::Coco(path),
            (_, Some(path), ..) => MaskSource::Sa1b(path),
            (_, _, Some(path), _) => MaskSource::LabelMaps {
                path,
                ignore: self.ignore,
            },
            (.., Some(dataset)) => MaskSource::GroundTruth { dataset },
            (None, None, None, None) => anyhow::bail!("no source of masks is given"),
        };
        Ok(ImportMasksRequest {
            source,
            images: ImageFilter {
                dataset: self.dataset,
                ..ImageFilter::default()
            },
            ..ImportMasksRequest::default()
        })
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    match args {
        Args::CocoResults(args) => run_coco_results(args, global).await,
        Args::Masks(args) => run_masks(args, global).await,
    }
}

async fn run_coco_results(args: CocoResults, global: &Global) -> anyhow::Result<Ended> {
    let request = ImportRequest {
        file: args.file,
        head: args.head,
        dataset: args.dataset,
        split: args.split,
        classes: args.classes,
    };
    let store = super::open(global).await?;
    let started = Instant::now();
    let progress = progress(global);
    let summary = import_coco_results(&store, &request, progress.as_ref()).await?;
    report(&summary, started.elapsed().as_secs_f64(), global)?;
    Ok(Ended::with_failures(summary.failed))
}

async fn run_masks(args: MasksArgs, global: &Global) -> anyhow::Result<Ended> {
    let request = args.request()?;
    let store = super::open(global).await?;
    let started = Instant::now();
    let progress = progress(global);
    let summary = import_masks(&store, &request, progress.as_ref()).await?;
    report_masks(&summary, started.elapsed().as_secs_f64(), global)?;
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

fn report_masks(summary: &ImportMasksSummary, seconds: f64, global: &Global) -> anyhow::Result<()> {
    if global.json {
        return print_json_summary(summary, seconds);
    }
    let id = summary.extractor_id.as_ref().map_or("", |id| id.as_str());
    if summary.images > 0 {
        outln!(
            "added {} of {} under extractor {id:.8} (imported masks)",
            plural(summary.masks, "mask"),
            plural(summary.images, "image")
        );
    } else {
        outln!("nothing was added");
    }
    if summary.done > 0 {
        outln!("{} imported before", plural(summary.done, "image"));
    }
    if global.quiet {
        return Ok(());
    }
    if summary.left_out > 0 {
        errln!(
            "{} left out, as not of the data set",
            plural(summary.left_out, "image")
        );
    }
    if summary.without_mask > 0 {
        errln!(
            "{} without a mask left out",
            plural(summary.without_mask, "annotation")
        );
    }
    if summary.failed > 0 {
        errln!(
            "{} could not be used, or not as given; 'grainstore query failures' says which and why",
            plural(summary.failed, "item")
        );
    }
    if summary.images > 0 {
        errln!("hint: 'grainstore embed --extractor {id:.8} --checkpoint FILE' gives them vectors");
    }
    Ok(())
}
