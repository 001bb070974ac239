//! Trains the small Segment Anything that the demo uses, on generated scenes.
//!
//! ```text
//! cargo run --release --example pretrain_demo_sam -- assets/demo/sam_demo.safetensors
//! cargo run --release --example pretrain_demo_sam -- assets/demo/sam_demo.safetensors --only-measure
//! ```
//!
//! The model is SAM's in a small configuration. A step takes some scenes, clicks on objects and on the
//! background, and asks for the pixels of what was clicked. The loss is SAM's: focal (x 20) and dice on
//! the best of the three multimask outputs, the same on the single-mask output, and the squared error of
//! the predicted IoU.
//!
//! SAM's encoder was trained by itself first, as a masked autoencoder. Here, after some steps, a linear
//! layer on the image embedding has to say of each pixel whether it is of an object, where that object's
//! middle lies, its colour, and what the object looks like ([`looks`]); it is thrown away in the end. (Told from
//! the start, a model finds all objects at once and is slow to learn that it was asked for one.) And SAM saw eleven
//! million photos of all there is, so that what it says of a mask tells more than where it lies. Here another such
//! layer on a click's tokens has to say what the object looks like. Kinds of objects are never told.
//!
//! At the end, and with `--only-measure`, the model is measured on scenes it never saw: one click on the
//! innermost pixel of each object.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a training run on generated scenes, for the eyes of who started it"
)]

mod init;
mod looks;
mod loss;
mod measure;
mod sample;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::{Module, ParamGroup};
use burn::nn::{Linear, LinearConfig};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{
    AdamWConfig, AdjustLrFn, GradientsAccumulator, GradientsParams, ModuleOptimizer, MuonConfig,
};
use burn::tensor::{Device, Tensor, TensorData};
use grainstore::models::sam::{
    self, Checkpoint, DecoderConfig, EncoderConfig, PixelTransform, Prompts, Sam, SamConfig,
    VitConfig, WeightPrecision,
};
use grainstore::scenes::SceneGenerator;
use indicatif::{ProgressBar, ProgressStyle};

use looks::{LOOKS, LooksScale};
use loss::{dense_loss, dice_loss, focal_loss, looks_loss, true_iou};
use sample::{Clicks, DENSE, cell_by_cell, dense_targets};

/// Large tensors come and go all the time: with the system's allocator each is paged in anew.
#[global_allocator]
static ALLOCATOR: grainstore_allocator::MiMalloc = grainstore_allocator::MiMalloc;

/// Weight of the dense loss.
const DENSE_WEIGHT: f32 = 0.2;
/// Weight of the loss on what objects look like.
const LOOKS_WEIGHT: f32 = 2.0;

fn config() -> SamConfig {
    SamConfig {
        image_size: 256,
        encoder: EncoderConfig::Vit(VitConfig {
            embed_dim: 128,
            depth: 5,
            heads: 4,
            mlp_dim: 512,
            window_size: 8,
            global_attention_blocks: vec![1, 3, 4],
        }),
        prompt_dim: 256,
        mask_channels: 16,
        decoder: DecoderConfig {
            mlp_dim: 256,
            iou_head_hidden: 64,
            ..DecoderConfig::default()
        },
        pixels: PixelTransform::default(),
    }
}

struct Options {
    file: PathBuf,
    /// Checkpoint to go on from.
    from: Option<PathBuf>,
    only_measure: bool,
    steps: usize,
    images: usize,
    prompts: usize,
    seed: u64,
    learning_rate: f64,
    /// Steps before the losses beside SAM's join.
    extra_from: usize,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut args = std::env::args().skip(1);
        let file = args
            .next()
            .context("usage: pretrain_demo_sam FILE [--steps N]")?;
        let mut options = Self {
            file: file.into(),
            from: None,
            only_measure: false,
            steps: 4000,
            images: 8,
            prompts: 6,
            seed: 1,
            learning_rate: 1.2e-3,
            extra_from: 400,
        };
        while let Some(name) = args.next() {
            if name == "--only-measure" {
                options.only_measure = true;
                continue;
            }
            let value = args
                .next()
                .with_context(|| format!("'{name}' needs a value"))?;
            match name.as_str() {
                "--from" => options.from = Some(value.into()),
                "--steps" => options.steps = value.parse()?,
                "--extra-from" => options.extra_from = value.parse()?,
                "--images" => options.images = value.parse()?,
                "--prompts" => options.prompts = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                "--learning-rate" => options.learning_rate = value.parse()?,
                _ => bail!("unknown option '{name}'"),
            }
        }
        Ok(options)
    }

    /// Rises over the first steps, then falls along a cosine.
    fn learning_rate(&self, step: usize) -> f64 {
        let risen = ((step + 1) as f64 / 100.0).min(1.0);
        let done = step as f64 / self.steps as f64;
        let falling = 0.02 + 0.98 * 0.5 * (1.0 + (done * std::f64::consts::PI).cos());
        self.learning_rate * falling * risen
    }
}

fn main() -> Result<()> {
    let options = Options::parse()?;
    if !options.only_measure {
        let started = Instant::now();
        let model = train(&options)?;
        if let Some(parent) = options.file.parent() {
            std::fs::create_dir_all(parent)?;
        }
        sam::save(&model, &options.file, WeightPrecision::F16)?;
        println!(
            "{} steps of {} images x {} clicks in {:.1} min",
            options.steps,
            options.images,
            options.prompts,
            started.elapsed().as_secs_f64() / 60.0
        );
    }
    print_measures(&options.file)
}

fn train(options: &Options) -> Result<Sam> {
    let device = Device::flex().autodiff();
    device.seed(options.seed);
    let sam = match &options.from {
        Some(file) => Checkpoint::open(file)?.load(&device)?,
        None => init::start(config().init(&device)?, &device)?,
    };
    println!("{} parameters", sam.num_params());
    let dense = LinearConfig::new(config().prompt_dim, 16 * DENSE).init(&device);
    let tokens = config().decoder.mask_tokens();
    let looks = LinearConfig::new(tokens * config().prompt_dim, LOOKS).init(&device);
    // A parameter that a step has no use for must not ask for gradients: burn keeps what hangs on it.
    let mut model = Trainee {
        sam: without_box_and_mask_prompts(sam),
        dense: dense.clone().no_grad(),
        looks: looks.clone().no_grad(),
    };
    let scale = LooksScale::over_scenes();
    let mut optimizer = optimizer()?;
    let bar = ProgressBar::new(options.steps as u64).with_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} steps, {per_sec}, {eta} left  {msg}",
    )?);
    // Kernels that split their work over threads would wait for each other more than they work: each
    // worker has the threads' pool to itself.
    let workers = (0..std::thread::available_parallelism()?.get())
        .map(|_| rayon::ThreadPoolBuilder::new().num_threads(1).build())
        .collect::<Result<Vec<_>, _>>()?;
    let mut smooth = Losses::default();
    let started = Instant::now();
    for step in 0..options.steps {
        if step == options.extra_from {
            model.dense = dense.clone();
            model.looks = looks.clone();
        }
        // Images share nothing but the weights they start from.
        let gradients = std::thread::scope(|scope| {
            let running: Vec<_> = workers
                .iter()
                .enumerate()
                .map(|(worker, pool)| {
                    let images = (worker..options.images).step_by(workers.len());
                    let (model, device, scale) = (&model, &device, &scale);
                    scope.spawn(move || {
                        pool.install(|| {
                            images
                                .map(|image| {
                                    let model = model.clone().fork(device);
                                    let scene = (step * options.images + image) as u64;
                                    let seed = options.seed << 32 | scene;
                                    gradients_of(&model, seed, step, options, scale)
                                })
                                .collect::<Vec<_>>()
                        })
                    })
                })
                .collect();
            let joined = running.into_iter().flat_map(|worker| {
                worker
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            joined.collect::<Result<Vec<_>>>()
        })?;
        let mut sum = GradientsAccumulator::new();
        let mut losses = Losses::default();
        for (gradients, loss) in gradients {
            sum.accumulate(&model, gradients);
            losses.combine(1.0, &loss, 1.0 / options.images as f32);
        }
        ensure!(
            losses.total().is_finite(),
            "step {step}: the loss is {losses:?}"
        );
        let new = if step == 0 { 1.0 } else { 0.02 };
        smooth.combine(1.0 - new, &losses, new);
        let rate = options.learning_rate(step);
        model = optimizer.step(rate, model, sum.grads());
        bar.inc(1);
        if step % 20 == 19 {
            bar.set_message(smooth.to_string());
        }
        if step % 100 == 99 {
            let minutes = started.elapsed().as_secs_f64() / 60.0;
            println!("step {}: {smooth} ({minutes:.1} min)", step + 1);
        }
        if step % 400 == 399 {
            sam::save(&model.sam.valid(), &options.file, WeightPrecision::F16)?;
        }
    }
    bar.finish();
    Ok(model.sam.valid())
}

/// Muon for the matrices inside the model, whose steps it makes equally long in all directions; AdamW for all else.
fn optimizer() -> Result<ModuleOptimizer> {
    let matrices = ParamGroup::from_any_regexes(vec![
        r"(qkv|proj|q_proj|k_proj|v_proj|out_proj|lin1|lin2|layers\.\d+)\.weight$",
    ])
    .map_err(|err| anyhow::anyhow!("{err:?}"))?
    .exclude(ParamGroup::from_predicate("patch_embed"));
    let muon = MuonConfig::new()
        .with_weight_decay(Some(WeightDecayConfig::new(0.02)))
        .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW)
        .build();
    let others = AdamWConfig::new()
        .with_beta_2(0.98)
        .with_weight_decay(0.02)
        .with_epsilon(1e-8)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    Ok(others.with_group(matrices, muon, None))
}

/// Training clicks on points alone, so what embeds boxes and masks stays as it is.
fn without_box_and_mask_prompts(mut sam: Sam) -> Sam {
    let prompts = &mut sam.prompt_encoder;
    prompts.mask_downscaling = prompts.mask_downscaling.clone().no_grad();
    for corner in prompts.point_embeddings.iter_mut().skip(2) {
        *corner = corner.clone().no_grad();
    }
    sam
}

/// The model, and what only training needs.
#[derive(Module, Debug)]
struct Trainee {
    sam: Sam,
    /// From a cell of the image embedding to what its pixels show.
    dense: Linear,
    /// From a click's tokens to what the object looks like.
    looks: Linear,
}

/// Parts of the loss, means over a step's clicks.
#[derive(Debug, Default)]
struct Losses {
    dense: f32,
    looks: f32,
    multimask: f32,
    single: f32,
    iou_error: f32,
    /// IoU of the best of the three masks: not a loss, but what it should bring about.
    best_iou: f32,
}

impl Losses {
    fn total(&self) -> f32 {
        self.dense + self.looks + self.multimask + self.single + self.iou_error
    }

    fn combine(&mut self, own: f32, other: &Self, weight: f32) {
        for (part, other) in [
            (&mut self.dense, other.dense),
            (&mut self.looks, other.looks),
            (&mut self.multimask, other.multimask),
            (&mut self.single, other.single),
            (&mut self.iou_error, other.iou_error),
            (&mut self.best_iou, other.best_iou),
        ] {
            *part = own * *part + weight * other;
        }
    }
}

impl std::fmt::Display for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "dense {:.3}, looks {:.3}, multimask {:.3}, single {:.3}, iou error {:.4}, best IoU {:.3}",
            self.dense, self.looks, self.multimask, self.single, self.iou_error, self.best_iou
        )
    }
}

/// Gradients of the loss on one scene, as its share of a step's loss.
fn gradients_of(
    model: &Trainee,
    seed: u64,
    step: usize,
    options: &Options,
    scale: &LooksScale,
) -> Result<(GradientsParams, Losses)> {
    let mut generator = SceneGenerator::new(seed);
    let size = generator.size(measure::LONGEST);
    let count = generator.count(1..=6);
    let kinds = generator.kinds(count);
    let scene = generator.scene(size, &kinds);
    let (sam, low_res) = (&model.sam, model.sam.config().low_res_size());
    let config = sam.config();
    let clicks = Clicks::draw(&scene, &mut generator, options.prompts, config, scale)?;
    let device = Device::flex().autodiff();
    let shown =
        (step >= options.extra_from).then(|| dense_targets(&scene, &clicks.image, low_res, scale));
    let embedding = sam.encode_image(clicks.image.into_tensor(&device));

    let pixels = low_res * low_res;
    let tensor = |values: Vec<f32>, shape: [usize; 2]| {
        Tensor::<2>::from_data(TensorData::new(values, shape), &device)
    };
    let mut losses = Losses::default();
    let mut dense = None;
    if let Some(shown) = shown {
        let [_, dim, rows, columns] = embedding.cells.dims();
        let cells = embedding.cells.clone().reshape([dim, rows * columns]);
        let loss = dense_loss(
            model
                .dense
                .forward(cells.transpose())
                .reshape([pixels, DENSE]),
            tensor(shown, [pixels, DENSE]),
            tensor(cell_by_cell(&clicks.valid, low_res), [pixels, 1]),
        );
        losses.dense = loss.clone().into_scalar();
        dense = Some(loss);
    }
    let prompts = Prompts::single_points(&clicks.points, &device);
    let output = sam.decode(embedding, &prompts);
    let [count, outputs, ..] = output.masks.dims();
    let mut extra = dense.map(|dense| dense * DENSE_WEIGHT);
    if let Some(dense) = extra {
        let tokens = output.tokens.flatten::<2>(1, 2);
        let looks = looks_loss(
            model.looks.forward(tokens),
            tensor(clicks.looks, [count, LOOKS]),
            tensor(clicks.on_object, [count, 1]),
        );
        losses.looks = looks.clone().into_scalar();
        extra = Some(dense + looks * LOOKS_WEIGHT);
    }
    let logits = output.masks.reshape([count, outputs, pixels]);
    let targets = tensor(clicks.targets, [count, pixels]).unsqueeze_dim::<3>(1);
    let valid = tensor(clicks.valid, [1, pixels]).unsqueeze_dim::<3>(1);

    let focal = focal_loss(logits.clone(), targets.clone(), valid.clone());
    let loss = focal * 20.0 + dice_loss(logits.clone(), targets.clone(), valid.clone());
    let single = loss.clone().narrow(1, 0, 1).mean();
    let multimask = loss.narrow(1, 1, outputs - 1).min_dim(1).mean();
    let iou = true_iou(logits, targets, valid);
    let iou_error = (output.iou - iou.clone()).square().mean();
    let best = iou.narrow(1, 1, outputs - 1).max_dim(1).mean();
    losses.multimask = multimask.clone().into_scalar();
    losses.single = single.clone().into_scalar();
    losses.iou_error = iou_error.clone().into_scalar();
    losses.best_iou = best.into_scalar();
    let mut total = multimask + single + iou_error;
    if let Some(extra) = extra {
        total = total + extra;
    }
    let total = total / options.images as f32;
    Ok((GradientsParams::from_grads(total.backward(), model), losses))
}

/// Prints the mean IoU over unseen scenes, at the size of the photo.
fn print_measures(file: &Path) -> Result<()> {
    let model = Checkpoint::open(file)?.load(&Device::flex())?;
    println!("{}", measure::over_unseen_scenes(&model, 100)?);
    println!(
        "{}: {} bytes",
        file.display(),
        std::fs::metadata(file)?.len()
    );
    Ok(())
}
