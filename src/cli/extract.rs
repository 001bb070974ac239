//! `grainstore extract`

use std::path::PathBuf;
use std::time::Instant;

use grainstore::device::{DeviceName, Precision};
use grainstore::extract::{
    DEFAULT_COMMIT_MASKS, ExtractRequest, ExtractSummary, ImageSelection, MaskOptions, MaskOutput,
    SamVector, Shard, Tiling, extract, extract_with_workers, extractor_row, pending_images,
};
use grainstore::jobs::{JobOptions, RunPlan};
use grainstore::models::sam::{Checkpoint, ModelType, PixelTransform};
use grainstore::photo::{Channels, Percentiles};

use super::cluster::OnCluster;
use super::progress::progress;
use super::{Ended, Global, images_where, plural, print_json, print_json_summary};

/// Run Segment Anything on all images that are not done yet, and store every mask with its embedding.
///
/// After an interruption of any kind, a new run continues from the last commit. The defaults are GranSAM's: a 10 x 10
/// grid of points, one mask per point, no filter.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore extract --checkpoint sam_vit_b_01ec64.pth
  grainstore extract --checkpoint sam_vit_b_01ec64.pth --where \"split = 'val'\" --dry-run
  grainstore extract --checkpoint sam_vit_b_01ec64.pth --vectors neck,token
  grainstore extract --checkpoint sam_vit_b_01ec64.pth --keep-features   # for clicks in 'grainstore review'
  grainstore extract --checkpoint sam_vit_b_01ec64.pth --from-features --points-per-side 32   # then another grid
  grainstore extract --checkpoint sam_vit_b_01ec64.pth --shard 0/2   # and 1/2 in another process
  grainstore extract --checkpoint sam_vit_b_01ec64.pth --cluster 10.0.0.1:50050   # see docs/scale.md
  grainstore extract --checkpoint sam_vit_b_01ec64.pth --tile 1024   # for photos of any size
  grainstore extract --checkpoint sam_vit_b_01ec64.pth --channels 4,3,2 --percentiles 2,98   # satellite images
  grainstore extract --checkpoint sam_vit_b_01ec64.pth --points-per-side 32 --pred-iou-thresh 0.88 \\
      --stability-score-thresh 0.95 --box-nms-thresh 0.7 --mask-output all   # as in upstream's generator")]
pub struct Args {
    /// Weights: a .pth of segment-anything or MobileSAM, a .pt of SAM 2, 2.1 or 3, a .pth of HQ-SAM, safetensors, or a Hugging
    /// Face folder.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// vit_b, vit_l, vit_h or vit_t, the same after hq_, sam2_hiera_ and tiny, small, base_plus or large, or sam3 [default:
    /// recognised from the weights].
    #[arg(long, value_name = "TYPE")]
    model_type: Option<ModelType>,
    /// Device that the model runs on: cpu, or in a build with these features cuda:N, wgpu, tch:cpu, tch:cuda:N.
    #[arg(long, default_value_t = DeviceName::Cpu, value_name = "DEVICE")]
    device: DeviceName,
    /// Number type that the model computes in: f32, bf16 or f16; the latter two are for GPUs.
    #[arg(long, default_value_t = Precision::F32, value_name = "TYPE")]
    precision: Precision,
    /// Choose images: SQL over the columns of 'images'.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Maximum number of images.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Part i of n of the images, with i counted from 0, for several processes or machines on one store.
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Number of images that go through the model at once, each on its own CPU thread. Memory grows with it [default:
    /// all threads for models of at most 512 pixels on the CPU, otherwise 1].
    #[arg(long, value_name = "N")]
    images_at_once: Option<usize>,
    /// Commit after this many masks, or after 20 seconds.
    #[arg(long, default_value_t = DEFAULT_COMMIT_MASKS, value_name = "N")]
    commit_masks: usize,
    /// Vectors to keep besides the tokens, for nothing: neck (the image embedding averaged under each mask) and token
    /// (that of the mask's own output); 256 numbers each, as embedders sam_neck and sam_token.
    #[arg(long, value_name = "neck,token", value_delimiter = ',')]
    vectors: Vec<SamVector>,
    /// Keep the features of the image encoder, too, so that people can add masks in 'grainstore review' at once: 2 MiB an
    /// image with Segment Anything, 8 with SAM 2, 10 with SAM 3, 6 with HQ-SAM.
    #[arg(long)]
    keep_features: bool,
    #[command(flatten)]
    on_cluster: OnCluster,
    /// Only print how many images are left to do.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    masks: Masks,
}

/// Options of segment-anything's automatic mask generator, under the same names.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Masks (names as in segment-anything)")]
struct Masks {
    /// Points per side of the grid.
    #[arg(long, default_value_t = 10, value_name = "N")]
    points_per_side: u32,
    /// Points decoded at once; fewer need less memory.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096), value_name = "N")]
    points_per_batch: u32,
    /// Drop masks with a predicted IoU at or below this; 0 keeps all.
    #[arg(long, default_value_t = 0.0, value_name = "IOU")]
    pred_iou_thresh: f32,
    /// Drop masks with a stability score below this; 0 keeps all.
    #[arg(long, default_value_t = 0.0, value_name = "SCORE")]
    stability_score_thresh: f32,
    /// Shift of the threshold for the stability score, in logits.
    #[arg(long, default_value_t = 1.0, value_name = "LOGITS")]
    stability_score_offset: f32,
    /// Of two masks whose boxes have a higher IoU than this, drop the worse one; 1 keeps all.
    #[arg(long, default_value_t = 1.0, value_name = "IOU")]
    box_nms_thresh: f64,
    /// Layers of crops in addition to the complete image; layer n has 4^n crops.
    #[arg(long, default_value_t = 0, value_name = "N")]
    crop_n_layers: u32,
    /// Same as --box-nms-thresh, between masks of different crops.
    #[arg(long, default_value_t = 0.7, value_name = "IOU")]
    crop_nms_thresh: f64,
    /// Overlap of crops, as a fraction of the image's short side.
    #[arg(long, default_value_t = 512.0 / 1500.0, value_name = "RATIO")]
    crop_overlap_ratio: f64,
    /// In layer n, points per side are divided by this to the power of n.
    #[arg(long, default_value_t = 1, value_name = "N")]
    crop_n_points_downscale_factor: u32,
    /// Remove holes and islands of fewer pixels; 0 leaves masks unchanged.
    #[arg(long, default_value_t = 0, value_name = "PIXELS")]
    min_mask_region_area: u64,
    /// Cut photos larger than this into tiles of this many pixels a side, with a grid of points in each, and join the masks of
    /// objects at seams. For photos of any size, up to 4 gigapixels [default: no tiles].
    #[arg(long, value_name = "PIXELS")]
    tile: Option<u32>,
    /// Minimum overlap of neighbouring tiles, 1/16 to 1/2 of a tile [default: 1/8 of it].
    #[arg(long, value_name = "PIXELS", requires = "tile")]
    overlap: Option<u32>,
    /// Channels of photos, counted from 1: three for red, green and blue, or one for gray [default: the first three, or the
    /// first if there are fewer].
    #[arg(long, value_name = "R,G,B")]
    channels: Option<Channels>,
    /// Percentiles of each channel of a photo that become black and white [default: 2,98 for samples that are neither 8 bits nor
    /// 16-bit gray or RGB, else no scaling].
    #[arg(long, value_name = "LOW,HIGH")]
    percentiles: Option<Percentiles>,
    /// How photos become the model's input: sam, or medsam for weights of MedSAM [default: sam].
    #[arg(
        long,
        default_value = "sam",
        hide_default_value = true,
        value_name = "WHICH"
    )]
    pixels: PixelTransform,
    /// Prompt the features that --keep-features kept with the same weights, which costs the decoder alone; photos of which none are
    /// kept are encoded, and their features are rounded to the same 16 bits.
    #[arg(long)]
    from_features: bool,
    /// Masks of the decoder to keep per point: best (of three), single, or all (three).
    #[arg(long, default_value = "best", value_name = "WHICH")]
    mask_output: MaskOutput,
}

impl Masks {
    fn options(&self) -> MaskOptions {
        MaskOptions {
            points_per_side: self.points_per_side,
            pred_iou_thresh: self.pred_iou_thresh,
            stability_score_thresh: self.stability_score_thresh,
            stability_score_offset: self.stability_score_offset,
            box_nms_thresh: self.box_nms_thresh,
            crop_n_layers: self.crop_n_layers,
            crop_nms_thresh: self.crop_nms_thresh,
            crop_overlap_ratio: self.crop_overlap_ratio,
            crop_n_points_downscale_factor: self.crop_n_points_downscale_factor,
            min_mask_region_area: self.min_mask_region_area,
            mask_output: self.mask_output,
            tile: self.tile.map(|side| Tiling {
                side,
                overlap: self.overlap.unwrap_or(side / 8),
            }),
            channels: self.channels,
            percentiles: self.percentiles,
            pixels: self.pixels,
            from_features: self.from_features,
        }
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let options = args.masks.options();
    options.validate()?;
    let store = super::open(global).await?;
    let checkpoint = Checkpoint::open(&args.checkpoint)?;
    let config = checkpoint.config()?;
    if let (Some(asked), found) = (args.model_type, config.model_type())
        && found != Some(asked)
    {
        let found = found.map_or("no published model", |found| found.name());
        anyhow::bail!(
            "'{}' holds the weights of {found}, not of {asked}; leave --model-type out, or name the right file",
            args.checkpoint.display()
        );
    }
    let request = ExtractRequest {
        checkpoint: args.checkpoint,
        options,
        vectors: args.vectors,
        keep_features: args.keep_features,
        precision: args.precision,
        device: args.device,
        points_per_batch: args.masks.points_per_batch as usize,
        selection: ImageSelection {
            images: images_where(args.condition),
            limit: args.limit,
            shard: args.shard,
        },
        commit_masks: args.commit_masks,
        images_at_once: args.images_at_once,
    };
    if args.dry_run {
        let row = extractor_row(&checkpoint, &config, &request.options, request.precision)?;
        let snapshot = store.snapshot().await?;
        let wanted = request.wanted(&row, &config)?;
        let selection = &request.selection;
        let pending = pending_images(&snapshot, &row.extractor_id, &wanted, selection).await?;
        return dry_run(pending.len() as u64, row.extractor_id.as_str(), global);
    }
    let started = Instant::now();
    let progress = progress(global);
    let summary = match &args.on_cluster.cluster {
        None => extract(&store, &request, progress.as_ref()).await?,
        Some(scheduler) => {
            let run = async |workers: &dyn RunPlan, job: &JobOptions| {
                extract_with_workers(&store, &request, workers, job, progress.as_ref()).await
            };
            args.on_cluster.run(scheduler, run).await?
        }
    };
    report(&summary, started.elapsed().as_secs_f64(), global)?;
    Ok(Ended::with_failures(summary.failed))
}

fn dry_run(images: u64, extractor_id: &str, global: &Global) -> anyhow::Result<Ended> {
    if global.json {
        print_json(&serde_json::json!({ "images": images, "extractor_id": extractor_id }))?;
    } else {
        outln!(
            "{} left to do by extractor {extractor_id}",
            plural(images, "image")
        );
    }
    Ok(Ended::Done)
}

fn report(summary: &ExtractSummary, seconds: f64, global: &Global) -> anyhow::Result<()> {
    if global.json {
        return print_json_summary(summary, seconds);
    }
    if global.quiet {
        return Ok(());
    }
    errln!(
        "added {} of {} in {seconds:.1} s ({:.2} images/s)",
        plural(summary.masks, "mask"),
        plural(summary.images, "image"),
        summary.images as f64 / seconds.max(1e-9),
    );
    if summary.revisited > 0 {
        errln!(
            "{} had their masks before, and got what was missing",
            plural(summary.revisited, "image")
        );
    }
    if summary.done_elsewhere > 0 {
        errln!(
            "{} done by another process in the meantime",
            plural(summary.done_elsewhere, "image")
        );
    }
    if summary.failed > 0 {
        errln!(
            "{} could not be extracted; 'grainstore query failures' says which and why",
            plural(summary.failed, "image")
        );
    }
    Ok(())
}
