//! `grainstore embed`

use std::path::PathBuf;
use std::time::Instant;

use grainstore::device::{DeviceName, Precision};
use grainstore::embed::{
    Background, EmbedOptions, EmbedRequest, EmbedSummary, Pool, embed, embed_with_workers,
    pending_vectors,
};
use grainstore::extract::{ImageSelection, Shard};
use grainstore::jobs::{JobOptions, RunPlan};
use grainstore::models::{Activation, Fit};
use grainstore::store::Store;

use super::cluster::OnCluster;
use super::progress::progress;
use super::{Ended, Global, images_where, plural, print_json, print_json_summary};

/// Run another model over the masks of all images that are not done yet, and store a vector per mask.
///
/// Models: EfficientNet-Lite0, DINOv2 (S, B, L, with and without registers), and CLIP from open_clip or Hugging Face. The
/// masks may be of any extractor: Segment Anything's, or imported ones. After an interruption of any kind, a new run
/// continues from the last commit. In SQL, the vectors are the table vectors.NAME.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore embed --checkpoint dinov2_vitb14_pretrain.pth
  grainstore embed --checkpoint clip-vit-base-patch32/ --pool crop        # a Hugging Face folder
  grainstore embed --checkpoint ViT-B-32.safetensors --activation quick-gelu --name clip_b32
  grainstore embed --checkpoint dinov2_vits14_pretrain.pth --pool image   # a vector per photo
  grainstore embed --checkpoint dinov2_vitb14_pretrain.pth --dry-run
  grainstore sql \"SELECT count(*) FROM vectors.dinov2_vitb14\"")]
pub struct Args {
    /// Weights: a .pth, .pt or .safetensors file, or a Hugging Face folder.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// Name of the embedder, and of its table in SQL [default: that of the model, such as dinov2_vitb14].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Device that the model runs on: cpu, or in a build with these features cuda:N, wgpu, tch:cpu, tch:cuda:N.
    #[arg(long, default_value_t = DeviceName::Cpu, value_name = "DEVICE")]
    device: DeviceName,
    /// Number type that the model computes in: f32, bf16 or f16; the latter two are for GPUs.
    #[arg(long, default_value_t = Precision::F32, value_name = "TYPE")]
    precision: Precision,
    /// First digits of the id of the extractor whose masks to embed; needed if there are several.
    #[arg(long, value_name = "ID")]
    extractor: Option<String>,
    /// Choose images: SQL over the columns of 'images'.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Maximum number of images.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Part i of n of the images, with i counted from 0, for several processes or machines on one store.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Crops that go through the model at once; fewer need less memory.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=4096), value_name = "N")]
    batch: u32,
    /// Commit after this many vectors, or after 20 seconds.
    #[arg(long, default_value_t = 32_768, value_name = "N")]
    commit_vectors: usize,
    #[command(flatten)]
    on_cluster: OnCluster,
    /// Only print how many images are left to do.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    vectors: Vectors,
}

/// What changes the vectors, and makes another embedder.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Vectors")]
struct Vectors {
    /// crop: a crop per mask; dense: the photo once, averaged under each mask; image: a vector per photo [default: crop,
    /// for DINOv2 dense].
    #[arg(long, value_name = "HOW")]
    pool: Option<Pool>,
    /// What is not square: official (the ends are cut off, as in CLIP), pad, squash, or for photos keep (the aspect)
    /// [default: CLIP official, other crops squash, photos keep].
    #[arg(long, value_name = "HOW")]
    fit: Option<Fit>,
    /// What a crop shows beside the mask: keep (the photo) or mean (the model's mean colour).
    #[arg(long, default_value = "keep", value_name = "WHAT")]
    background: Background,
    /// Factor on the sides of a mask's box, 1 to 10.
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    context: f64,
    /// Side of the input for crops, long side for photos, in pixels [default: the model's; for DINOv2 224 and 518].
    #[arg(long, value_name = "PIXELS")]
    image_size: Option<u32>,
    /// The activation of a CLIP: quick-gelu (OpenAI's) or gelu (LAION's) [default: as a config beside the weights says].
    #[arg(long, value_name = "NAME")]
    activation: Option<Activation>,
    /// Only masks with at least this predicted IoU; masks without one pass.
    #[arg(long, value_name = "IOU")]
    min_predicted_iou: Option<f32>,
    /// Only masks with at least this stability score; masks without one pass.
    #[arg(long, value_name = "SCORE")]
    min_stability_score: Option<f32>,
}

impl Args {
    fn request(self) -> (EmbedRequest, OnCluster) {
        let vectors = self.vectors;
        let request = EmbedRequest {
            checkpoint: self.checkpoint,
            name: self.name,
            options: EmbedOptions {
                pool: vectors.pool,
                fit: vectors.fit,
                background: vectors.background,
                context: vectors.context,
                image_size: vectors.image_size,
                activation: vectors.activation,
                min_predicted_iou: vectors.min_predicted_iou,
                min_stability_score: vectors.min_stability_score,
            },
            precision: self.precision,
            device: self.device,
            extractor: self.extractor,
            selection: ImageSelection {
                images: images_where(self.condition),
                limit: self.limit,
                shard: self.shard,
            },
            batch: self.batch as usize,
            commit_vectors: self.commit_vectors,
        };
        (request, self.on_cluster)
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    let only_counts = args.dry_run;
    let (request, on_cluster) = args.request();
    if only_counts {
        return dry_run(&store, &request, global).await;
    }
    let started = Instant::now();
    let progress = progress(global);
    let summary = match &on_cluster.cluster {
        None => embed(&store, &request, progress.as_ref()).await?,
        Some(scheduler) => {
            let run = async |workers: &dyn RunPlan, job: &JobOptions| {
                embed_with_workers(&store, &request, workers, job, progress.as_ref()).await
            };
            on_cluster.run(scheduler, run).await?
        }
    };
    report(&summary, started.elapsed().as_secs_f64(), global)?;
    Ok(Ended::with_failures(summary.failed))
}

async fn dry_run(store: &Store, request: &EmbedRequest, global: &Global) -> anyhow::Result<Ended> {
    let snapshot = store.snapshot().await?;
    let asked = request.clone();
    let open = tokio::task::spawn_blocking(move || asked.open()).await??;
    let row = request.named_in(&snapshot, open.row()).await?;
    let extractor_id = if open.is_of_images() {
        None
    } else {
        Some(request.extractor_in(&snapshot).await?)
    };
    let pending = pending_vectors(
        &snapshot,
        &row.embedder_id,
        extractor_id.as_ref(),
        &request.selection,
    );
    let pending = pending.await?;
    let masks: u64 = pending.iter().map(|image| image.masks).sum();
    if global.json {
        print_json(&serde_json::json!({
            "images": pending.len(),
            "masks": masks,
            "embedder": row.embedder,
            "embedder_id": row.embedder_id,
            "dim": row.dim,
        }))?;
    } else {
        let images = plural(pending.len() as u64, "image");
        let of_masks = match extractor_id {
            Some(_) => format!(" with {}", plural(masks, "mask")),
            None => String::new(),
        };
        outln!(
            "{images}{of_masks} left to do by embedder {} ({}), {} numbers per vector",
            row.embedder,
            row.embedder_id,
            row.dim
        );
    }
    Ok(Ended::Done)
}

fn report(summary: &EmbedSummary, seconds: f64, global: &Global) -> anyhow::Result<()> {
    if global.json {
        return print_json_summary(summary, seconds);
    }
    if global.quiet {
        return Ok(());
    }
    errln!(
        "added {} of {} by embedder {} in {seconds:.1} s ({:.2} images/s)",
        plural(summary.vectors, "vector"),
        plural(summary.images, "image"),
        summary.embedder,
        summary.images as f64 / seconds.max(1e-9),
    );
    if summary.done_elsewhere > 0 {
        errln!(
            "{} done by another process in the meantime",
            plural(summary.done_elsewhere, "image")
        );
    }
    if summary.failed > 0 {
        errln!(
            "{} could not be embedded; 'grainstore query failures' says which and why",
            plural(summary.failed, "image")
        );
    }
    Ok(())
}
