//! `grainstore annotate` and `grainstore rethreshold`

use std::time::Instant;

use grainstore::annotate::{
    AnnotateRequest, AnnotateSummary, MapRule, NmsScope, Policy, annotate, rethreshold,
};
use grainstore::store::Store;

use super::progress::progress;
use super::{Ended, Global, images_where, plural, print_json_summary};

/// Predict the class of every mask with a head, and choose the masks that form the annotation.
///
/// Every mask becomes a row of 'predictions', with whether it is kept and, if not, why. Images that are annotated
/// already are skipped, so an interrupted run continues where it stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore annotate --head fine
  grainstore annotate --head fine --where \"split = 'val'\" --score-threshold 0.5
  grainstore query annotate/policies --format table")]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

/// Apply another policy to a head's stored scores, whichever policy they were stored under. No head runs again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore rethreshold --head fine --score-threshold 0.9
  grainstore rethreshold --head fine --nms all --nms-iou 0.7")]
pub struct RethresholdArgs {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Name of the head, or the first digits of its id.
    #[arg(long, value_name = "HEAD")]
    head: String,
    /// Choose images: SQL over the columns of 'images' [default: all that have masks].
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Minimum score of a kept mask.
    #[arg(long, default_value_t = Policy::default().score_threshold, value_name = "SCORE")]
    score_threshold: f64,
    /// Minimum predicted IoU (SAM's own estimate of a mask's quality) of a kept mask; 0 accepts any.
    #[arg(long, default_value_t = 0.0, value_name = "IOU")]
    min_predicted_iou: f32,
    /// Minimum stability score of a kept mask; 0 accepts any.
    #[arg(long, default_value_t = 0.0, value_name = "SCORE")]
    min_stability_score: f32,
    /// A mask is suppressed if its IoU with a kept mask of higher score is above this.
    #[arg(long, default_value_t = Policy::default().nms_iou, value_name = "IOU")]
    nms_iou: f64,
    /// Which masks can suppress each other: class (those of the same class) or all.
    #[arg(long, default_value = "class", value_name = "SCOPE")]
    nms: NmsScope,
    /// How masks become the semantic map: paint (kept masks over each other, best score on top) or vote:TAU (all masks
    /// of good quality vote; a pixel gets the class whose mean score over the masks on it is greatest, if at least TAU).
    #[arg(long, default_value_t = MapRule::default(), value_name = "RULE")]
    map: MapRule,
    /// Maximum number of kept masks per image.
    #[arg(long, default_value_t = Policy::default().max_per_image, value_name = "N")]
    max_per_image: u32,
}

impl Which {
    fn request(self) -> AnnotateRequest {
        AnnotateRequest {
            head: self.head,
            images: images_where(self.condition),
            policy: Policy {
                map: self.map,
                max_per_image: self.max_per_image,
                min_predicted_iou: self.min_predicted_iou,
                min_stability_score: self.min_stability_score,
                nms: self.nms,
                nms_iou: self.nms_iou,
                score_threshold: self.score_threshold,
            },
        }
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let request = args.which.request();
    let store = Store::open(&global.store).await?;
    let started = Instant::now();
    let progress = progress(global);
    let summary = annotate(&store, &request, progress.as_ref()).await?;
    report(&summary, started.elapsed().as_secs_f64(), global)
}

pub async fn run_rethreshold(args: RethresholdArgs, global: &Global) -> anyhow::Result<Ended> {
    let request = args.which.request();
    let store = Store::open(&global.store).await?;
    let started = Instant::now();
    let progress = progress(global);
    let summary = rethreshold(&store, &request, progress.as_ref()).await?;
    report(&summary, started.elapsed().as_secs_f64(), global)
}

fn report(summary: &AnnotateSummary, seconds: f64, global: &Global) -> anyhow::Result<Ended> {
    if global.json {
        print_json_summary(summary, seconds)?;
        return Ok(Ended::Done);
    }
    outln!(
        "head '{}': predictions for {} of {} in {seconds:.1} s; {} kept, {} below the score threshold, {} of low quality, \
         {} suppressed, {} beyond the maximum per image",
        summary.head,
        plural(summary.masks, "mask"),
        plural(summary.images, "image"),
        summary.kept,
        summary.below_threshold,
        summary.low_quality,
        summary.suppressed,
        summary.beyond_max
    );
    if summary.without_vectors > 0 {
        outln!(
            "{} left out: vectors that the head reads are missing; 'grainstore embed' makes them",
            plural(summary.without_vectors, "image")
        );
    }
    if summary.done > 0 {
        outln!("{} annotated before", plural(summary.done, "image"));
    }
    Ok(Ended::Done)
}
