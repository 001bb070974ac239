//! `grainstore train`

use std::path::PathBuf;

use anyhow::Context;
use grainstore::device::DeviceName;
use grainstore::head::{
    Balance, CacheOptions, ChosenImages, CreateHead, Keep, Loss, Parent, Pick, Recipe,
    TrainOptions, TrainRequest, TrainSummary, TrainingMasks, TrainingQuery, parse_widths, train,
};
use grainstore::selection::ImageFilter;
use grainstore::store::{Snapshot, Store};

use super::progress::progress;
use super::{Ended, Global, plural, print_json};

/// Train a head on stored masks, from labels of whole images, of single masks ('grainstore label'), or both.
///
/// No image is read and Segment Anything does not run. If training is interrupted, nothing is stored.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore train --name fine --classes all
  grainstore train --name sharp --classes all --loss mil+distill+refine    # photos of one object each
  grainstore train --name clicked --classes all --loss linear              # a few labelled masks, in a second
  grainstore train --name coarse --classes groups --where \"dataset = 'scenes'\"
  grainstore train --name fine2 --classes all --from fine --since parent   # new images, some old ones
  grainstore train --name dino --classes all --vectors dinov2_vitb14,tokens    # after 'grainstore embed'
  grainstore train --name safe --classes all --negatives \"source = 'street'\" --members 3
  grainstore train --name paper --classes all --recipe paper               # whose maps 'annotate' paints
  grainstore train --name mine --classes all --query my.sql                # like 'grainstore query train/bags --show'")]
pub struct Args {
    /// Name of the head. An existing head of this name stays as an older one.
    #[arg(long)]
    name: String,
    /// The class set: NAME or NAME@VERSION.
    #[arg(long, value_name = "NAME")]
    classes: String,
    /// Choose images: SQL over the columns of 'images' [default: source IN ('web', 'synthetic'), and labelled masks of any
    /// image].
    #[arg(long = "where", value_name = "SQL", conflicts_with = "query")]
    condition: Option<String>,
    /// Images that show none of the classes, SQL over the columns of 'images': all their masks are background.
    #[arg(long, value_name = "SQL", conflicts_with = "query")]
    negatives: Option<String>,
    /// Labels of masks that count, SQL over the columns of 'mask_labels'; 'false' for none [default: all].
    #[arg(long, value_name = "SQL", conflicts_with = "query")]
    mask_labels: Option<String>,
    /// File with your own SELECT, which yields image_id, extractor_id, mask_index, embedding and label or labels, or what is said of
    /// masks (docs/train.md).
    #[arg(long, value_name = "FILE")]
    query: Option<PathBuf>,
    /// What the head reads of a mask, in order: tokens (Segment Anything's), shape (six numbers), names of embedders
    /// ('grainstore embedders list'). With --query, each is a column: embedding for the tokens, else of that name
    /// [default: tokens].
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    vectors: Vec<String>,
    /// First digits of the id of the extractor whose masks to use; needed if there are several.
    #[arg(long, value_name = "ID", conflicts_with = "query")]
    extractor: Option<String>,
    /// Continue from this head: its layers, and the outputs of classes that both have.
    #[arg(long, value_name = "HEAD")]
    from: Option<String>,
    /// With --from: train on images added after the parent, and on some old ones.
    #[arg(long, value_enum, value_name = "WHEN", requires = "from")]
    since: Option<Since>,
    /// With --since: number of old images per new one in each epoch.
    #[arg(long, default_value_t = 1.0, value_name = "N", requires = "since")]
    replay: f64,
    /// Device to train on: cpu, or in a build with these features cuda:N, wgpu, tch:cpu, tch:cuda:N.
    #[arg(long, default_value_t = DeviceName::Cpu, value_name = "DEVICE")]
    device: DeviceName,
    #[command(flatten)]
    how: How,
    #[command(flatten)]
    cache: Cache,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Since {
    /// Added since the parent's version of the store.
    Parent,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "How to train (defaults: see docs/train.md)")]
struct How {
    /// Options to begin with, which the others replace: default, or paper (mil+distill, a = 8, noisy picks, no balance).
    #[arg(long, default_value = "default")]
    recipe: Recipe,
    /// Loss: mil (multiple-instance loss), mil+distill (then also a student with uncertainty distillation),
    /// mil+distill+refine (then also a head that knows the background, from the masks that the student picks; for photos
    /// of one object each) or mil+refine. With labelled masks, these learn from them as well. From labelled masks alone:
    /// masks (cross entropy), linear (least squares) or prototypes (nearest mean) [default: mil+distill; masks where no
    /// image is labelled].
    #[arg(long)]
    loss: Option<Loss>,
    /// Widths of the hidden layers, or none for a linear head [default: 512,256,128].
    #[arg(long, value_name = "WIDTHS")]
    hidden: Option<String>,
    /// Share of the last hidden layer's units that are dropped at random in each step of teacher and student [default:
    /// 0.9].
    #[arg(long, value_name = "SHARE")]
    dropout: Option<f64>,
    /// Pick the best masks of a class by logits without dropout (clean) or with it (noisy) [default: clean].
    #[arg(long, value_name = "HOW")]
    pick: Option<Pick>,
    /// A class's score is the mean over the max(1, ceil(d / A)) best of an image's d masks [default: 20].
    #[arg(short, long, value_name = "A")]
    a: Option<f64>,
    /// Entropy above which the teacher is uncertain, as a fraction of ln C [default: 0.5].
    #[arg(long, value_name = "FRACTION")]
    entropy_fraction: Option<f64>,
    /// Weight of the student's uncertainty loss [default: 0.15].
    #[arg(long, value_name = "WEIGHT")]
    lambda_unc: Option<f64>,
    /// Weight of the labelled masks' loss beside that of images; with fewer than 300 of them less, in proportion [default: 3].
    #[arg(long, value_name = "WEIGHT")]
    lambda_masks: Option<f64>,
    /// Share of labelled masks in each step of refinement; the others are those that the student picks [default: 0.5].
    #[arg(long, value_name = "SHARE")]
    label_share: Option<f64>,
    /// Share of the last hidden layer's units that are dropped while a head is refined, or trained on labelled masks alone
    /// [default: 0.5].
    #[arg(long, value_name = "SHARE")]
    refine_dropout: Option<f64>,
    /// Passes over the images, for each of teacher, student and refined head [default: enough for 100 steps a class, but
    /// 200 to 2000 and no more than 40 passes; with --from a fifth].
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Epoch whose weights are kept: last, or best (least validation loss, if at least 20 images validate) [default:
    /// last].
    #[arg(long, value_name = "EPOCH")]
    keep: Option<Keep>,
    /// With --keep best: stop after this many passes without a better validation loss; 0 never stops early [default: half of the epochs,
    /// at least 3].
    #[arg(long, value_name = "N")]
    patience: Option<usize>,
    /// Images per step [default: 64].
    #[arg(long, value_name = "N")]
    batch_images: Option<usize>,
    /// Learning rate of Adam [default: 0.001].
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// Share of the images used only for validation [default: 0.1].
    #[arg(long, value_name = "SHARE")]
    validation: Option<f64>,
    /// Handling of classes of unequal size: none, weights (rare classes count more) or sampling (rare classes are drawn
    /// more often) [default: weights].
    #[arg(long, value_name = "HOW")]
    balance: Option<Balance>,
    /// Train this many heads that differ in their random choices; predictions are the means of theirs [default: 1].
    #[arg(long, value_name = "N")]
    members: Option<usize>,
    /// Relative noise on the initial weights, to measure how far rounding moves a head.
    #[arg(long, value_name = "SHARE", hide = true)]
    initial_noise: Option<f64>,
    /// Seed of that noise.
    #[arg(long, value_name = "N", hide = true)]
    noise_seed: Option<u64>,
    /// Seed of all random choices; the same seed gives the same head. A whole number below 2^63 [default: 0].
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Memory")]
pub struct Cache {
    /// MiB of embeddings kept in memory; those of larger stores are read when they are needed, and kept in a temporary
    /// file.
    #[arg(long, default_value_t = 640, value_name = "MIB")]
    cache_mib: usize,
    /// Directory for that file [default: the system's].
    #[arg(long, value_name = "DIR")]
    spool_dir: Option<PathBuf>,
}

impl How {
    fn options(&self) -> anyhow::Result<TrainOptions> {
        let base = self.recipe.options();
        Ok(TrainOptions {
            recipe: base.recipe,
            loss: self.loss.or(base.loss),
            hidden: match &self.hidden {
                Some(widths) => parse_widths(widths)?,
                None => base.hidden,
            },
            dropout: self.dropout.unwrap_or(base.dropout),
            pick: self.pick.unwrap_or(base.pick),
            a: self.a.unwrap_or(base.a),
            entropy_fraction: self.entropy_fraction.unwrap_or(base.entropy_fraction),
            lambda_mil: base.lambda_mil,
            lambda_unc: self.lambda_unc.unwrap_or(base.lambda_unc),
            lambda_masks: self.lambda_masks.unwrap_or(base.lambda_masks),
            label_share: self.label_share.unwrap_or(base.label_share),
            refine_dropout: self.refine_dropout.unwrap_or(base.refine_dropout),
            epochs: self.epochs,
            keep: self.keep.unwrap_or(base.keep),
            patience: self.patience,
            batch_images: self.batch_images.unwrap_or(base.batch_images),
            learning_rate: self.learning_rate.unwrap_or(base.learning_rate),
            validation: self.validation.unwrap_or(base.validation),
            balance: self.balance.unwrap_or(base.balance),
            members: self.members.unwrap_or(base.members),
            initial_noise: self.initial_noise.unwrap_or(base.initial_noise),
            noise_seed: self.noise_seed.unwrap_or(base.noise_seed),
            seed: self.seed.unwrap_or(base.seed),
        })
    }
}

impl Cache {
    fn options(&self) -> CacheOptions {
        let base = CacheOptions::default();
        CacheOptions {
            budget_bytes: self.cache_mib.saturating_mul(1 << 20),
            spool_dir: self.spool_dir.clone().unwrap_or(base.spool_dir),
        }
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    if !(args.replay.is_finite() && args.replay >= 0.0) {
        anyhow::bail!(
            "'{}' is not a replay: expected a number of at least 0",
            args.replay
        );
    }
    let options = args.how.options()?;
    options.validate()?;
    let loss = options.loss();
    if args.negatives.is_some() && !loss.distills() && !loss.refines() {
        anyhow::bail!(
            "--negatives needs a loss that has a use for them: mil+distill+refine, mil+refine or mil+distill"
        );
    }
    let store = super::open(global).await?;
    let masks = match &args.query {
        Some(file) => TrainingMasks::Query(TrainingQuery::new(
            &std::fs::read_to_string(file)
                .with_context(|| format!("cannot read '{}'", file.display()))?,
        )),
        None => TrainingMasks::OfImages {
            chosen: Box::new(ChosenImages {
                images: args.condition.map(ImageFilter::matching),
                negatives: args.negatives.map(ImageFilter::matching),
                mask_labels: args.mask_labels,
            }),
            extractor: args.extractor,
        },
    };
    let replay = args.since.map(|Since::Parent| args.replay);
    let request = TrainRequest {
        name: args.name,
        classes: args.classes,
        masks,
        vectors: args.vectors,
        options,
        parent: args.from.map(|head| Parent { head, replay }),
        at: None,
        cache: args.cache.options(),
        device: args.device,
    };
    run_training(&store, &request, global).await
}

/// Runs a `CREATE HEAD` statement.
pub async fn create(
    statement: CreateHead,
    store: &Store,
    snapshot: &Snapshot,
    global: &Global,
) -> anyhow::Result<Ended> {
    let request = TrainRequest {
        name: statement.name,
        classes: statement.class_set,
        masks: TrainingMasks::Query(TrainingQuery::new(&statement.query)),
        vectors: statement.vectors,
        options: statement.options,
        at: Some(snapshot.version()),
        ..TrainRequest::default()
    };
    run_training(store, &request, global).await
}

async fn run_training(
    store: &Store,
    request: &TrainRequest,
    global: &Global,
) -> anyhow::Result<Ended> {
    let progress = progress(global);
    let summary = train(store, request, progress.as_ref()).await?;
    if global.json {
        print_json(&summary)?;
    } else {
        print_summary(&summary)?;
    }
    Ok(Ended::Done)
}

fn print_summary(summary: &TrainSummary) -> anyhow::Result<()> {
    outln!(
        "head '{}' ({}) for {}@{} by {}: {}, {}, read in {:.1} s, trained in {:.1} s",
        summary.head,
        summary.head_id,
        summary.class_set,
        summary.class_set_version,
        summary.loss.word(),
        plural(summary.images, "image"),
        plural(summary.masks, "mask"),
        summary.reading_seconds,
        summary.training_seconds
    );
    if let (Some(loss), Some(accuracy)) = (summary.validation_loss, summary.validation_accuracy) {
        outln!(
            "validation on {}: loss {loss:.4}, accuracy {:.1} %",
            if summary.loss.needs_labelled_masks() {
                plural(summary.validation_masks, "labelled mask")
            } else {
                plural(summary.validation_images, "image")
            },
            accuracy * 100.0
        );
    }
    if let Some(labels) = summary.mask_labels {
        outln!(
            "labelled masks: {} of classes, {} of none, {} that are said not to show a class; {} in validation images",
            labels.classes,
            labels.background,
            labels.not,
            summary.validation_masks
        );
    }
    if summary.labels_of_other_extractors > 0 {
        outln!(
            "{} of other extractors are labelled, too, which the head cannot learn from",
            plural(summary.labels_of_other_extractors, "mask")
        );
    }
    if !summary.classes_without_examples.is_empty() {
        outln!(
            "no image and no mask shows: {}",
            summary.classes_without_examples.join(", ")
        );
    }
    if let Some(refined) = summary.refined {
        outln!(
            "refined on {} of the classes and {} of background; {} say neither",
            plural(refined.objects, "mask"),
            refined.background,
            refined.ignored
        );
    }
    let skipped = summary.skipped;
    for (count, what) in [
        (
            skipped.images_outside,
            "image whose labels are all outside the class set",
        ),
        (
            skipped.labels_outside,
            "label outside the class set, on images that have others",
        ),
        (skipped.images_empty, "image without a usable mask"),
        (
            skipped.masks_not_finite,
            "mask whose embedding is not finite",
        ),
        (
            skipped.masks_without_vector,
            "mask without one of the vectors",
        ),
        (
            skipped.masks_contradicted,
            "label of a mask of which reviewers contradict each other",
        ),
        (skipped.masks_bad, "mask that a reviewer calls of no use"),
    ] {
        if count > 0 {
            outln!("left out: {count} x {what}");
        }
    }
    if skipped.mask_labels_outside > 0 {
        outln!(
            "{} labelled with a word outside the class set: taken as showing none of its classes",
            plural(skipped.mask_labels_outside, "mask")
        );
    }
    Ok(())
}
