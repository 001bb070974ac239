//! `grainstore annotate` and `grainstore rethreshold`

use std::time::Instant;

use grainstore::annotate::{
    AnnotateRequest, AnnotateSummary, MapRule, NmsScope, Policy, ScoreRule, annotate,
    annotate_with_workers, default_map_rule, rethreshold, thresholds_from_labels,
};
use grainstore::jobs::{JobOptions, RunPlan};
use grainstore::store::Store;

use super::cluster::OnCluster;
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
    #[command(flatten)]
    on_cluster: OnCluster,
}

/// Apply another policy to a head's stored scores, whichever policy they were stored under. No head runs again.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore rethreshold --head fine --score-threshold 0.9
  grainstore rethreshold --head fine --nms all --nms-iou 0.7
  grainstore rethreshold --head fine --class-threshold cat=0.8 --class-threshold dog=0.6
  grainstore rethreshold --head fine --thresholds-from-labels 0.05    # after annotating the labelled images")]
pub struct RethresholdArgs {
    #[command(flatten)]
    which: Which,
    /// Choose the minimum score of each class by labels of images: at most this share of the labelled images of one other
    /// class may have a mask that is called so. The labelled images must be annotated.
    #[arg(long, value_name = "SHARE", conflicts_with = "class_threshold")]
    thresholds_from_labels: Option<f64>,
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
    /// Minimum score of a class's masks in place of that for all; once per class.
    #[arg(long, value_name = "CLASS=SCORE", value_parser = parse_threshold)]
    class_threshold: Vec<(String, f64)>,
    /// Minimum of the best score of a class in an image; where it is lower, none of its masks is kept or votes.
    #[arg(long, default_value_t = 0.0, value_name = "SCORE")]
    image_gate: f64,
    /// The score of a mask: p (the head's probability) or p*iou (times SAM's predicted IoU).
    #[arg(long, default_value_t = ScoreRule::default(), value_name = "RULE")]
    score: ScoreRule,
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
    /// of good quality vote; a pixel gets the class whose mean score over the masks on it is greatest, if at least TAU)
    /// [default: vote:0.5; paint for heads of the recipe 'paper'].
    #[arg(long, value_name = "RULE")]
    map: Option<MapRule>,
    /// Maximum number of kept masks per image.
    #[arg(long, default_value_t = Policy::default().max_per_image, value_name = "N")]
    max_per_image: u32,
}

/// A class and its minimum score.
fn parse_threshold(text: &str) -> Result<(String, f64), String> {
    let parts = text.rsplit_once('=');
    let found = parts.and_then(|(class, score)| Some((class.to_owned(), score.parse().ok()?)));
    found.ok_or_else(|| "expected CLASS=SCORE, as in 'cat=0.8'".to_owned())
}

impl Which {
    async fn request(self, store: &Store) -> anyhow::Result<AnnotateRequest> {
        let map = match self.map {
            Some(map) => map,
            None => default_map_rule(&store.snapshot().await?, &self.head).await?,
        };
        Ok(AnnotateRequest {
            head: self.head,
            images: images_where(self.condition),
            policy: Policy {
                class_thresholds: self.class_threshold.into_iter().collect(),
                image_gate: self.image_gate,
                map,
                max_per_image: self.max_per_image,
                min_predicted_iou: self.min_predicted_iou,
                min_stability_score: self.min_stability_score,
                nms: self.nms,
                nms_iou: self.nms_iou,
                score: self.score,
                score_threshold: self.score_threshold,
            },
        })
    }
}

/// Chooses the thresholds of classes by labels of images.
async fn choose_thresholds(
    store: &Store,
    request: &mut AnnotateRequest,
    share: f64,
    global: &Global,
) -> anyhow::Result<()> {
    if !(share > 0.0 && share < 1.0) {
        anyhow::bail!("'{share}' is not a share of images: expected a number between 0 and 1");
    }
    let snapshot = store.snapshot().await?;
    let found = thresholds_from_labels(&snapshot, &request.head, &request.policy, share).await?;
    if found.is_empty() {
        anyhow::bail!(
            "no class has enough labelled images of one other class among those that head '{}' has annotated; annotate the \
             labelled images first, or take a greater share",
            request.head
        );
    }
    if !global.quiet {
        for (class, threshold) in &found {
            errln!("class '{class}': kept from a score of {threshold:.4}");
        }
        errln!(
            "all other classes: kept from {}",
            request.policy.score_threshold
        );
    }
    request.policy.class_thresholds = found;
    Ok(())
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    let request = args.which.request(&store).await?;
    let started = Instant::now();
    let progress = progress(global);
    let summary = match &args.on_cluster.cluster {
        None => annotate(&store, &request, progress.as_ref()).await?,
        Some(scheduler) => {
            let run = async |workers: &dyn RunPlan, job: &JobOptions| {
                annotate_with_workers(&store, &request, workers, job, progress.as_ref()).await
            };
            args.on_cluster.run(scheduler, run).await?
        }
    };
    report(&summary, started.elapsed().as_secs_f64(), global)
}

pub async fn run_rethreshold(args: RethresholdArgs, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    let mut request = args.which.request(&store).await?;
    if let Some(share) = args.thresholds_from_labels {
        choose_thresholds(&store, &mut request, share, global).await?;
    }
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
         {} of classes not on their image, {} suppressed, {} beyond the maximum per image",
        summary.head,
        plural(summary.masks, "mask"),
        plural(summary.images, "image"),
        summary.kept,
        summary.below_threshold,
        summary.low_quality,
        summary.not_on_image,
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
