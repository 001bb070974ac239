//! Trains the small Segment Anything that the demo uses, on generated scenes.
//!
//! ```text
//! cargo run --release --example pretrain_demo_sam -- examples/demo/sam_demo.safetensors
//! cargo run --release --example pretrain_demo_sam -- examples/demo/sam_demo.safetensors --only-measure
//! ```
//!
//! The model is SAM's in a small configuration. A step takes some scenes, clicks on objects and on the
//! background, and asks for the pixels of what was clicked. The loss is SAM's: focal (x 20) and dice on
//! the best of the three multimask outputs, the same on the single-mask output, and the squared error of
//! the predicted IoU. At the end, and with `--only-measure`, the model is measured on scenes it never
//! saw: one click on the innermost pixel of each object.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use burn::grad_clipping::GradientClippingConfig;
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams};
use burn::tensor::activation::{log_sigmoid, sigmoid};
use burn::tensor::{Device, Tensor, TensorData};
use grainstore::sam::{
    self, Checkpoint, DecoderConfig, EncoderConfig, MASK_THRESHOLD, MaskUpscaler, PreparedImage,
    Prompts, Sam, SamConfig, VitConfig, WeightPrecision,
};
use grainstore::scenes::{Scene, SceneGenerator};
use indicatif::{ProgressBar, ProgressStyle};

/// Seeds of scenes never trained on.
const UNSEEN: u64 = 1 << 40;
/// Photos' longer sides, in pixels.
const LONGEST: std::ops::RangeInclusive<u32> = 128..=256;

fn config() -> SamConfig {
    SamConfig {
        image_size: 256,
        encoder: EncoderConfig::Vit(VitConfig {
            embed_dim: 128,
            depth: 5,
            heads: 4,
            mlp_ratio: 4,
            window_size: 8,
            global_attention_blocks: vec![1, 3, 4],
        }),
        prompt_dim: 256,
        mask_channels: 16,
        decoder: DecoderConfig {
            mlp_dim: 256,
            ..DecoderConfig::default()
        },
    }
}

struct Options {
    file: PathBuf,
    only_measure: bool,
    steps: usize,
    images: usize,
    prompts: usize,
    seed: u64,
    learning_rate: f64,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut args = std::env::args().skip(1);
        let file = args
            .next()
            .context("usage: pretrain_demo_sam FILE [--steps N]")?;
        let mut options = Self {
            file: file.into(),
            only_measure: false,
            steps: 2400,
            images: 8,
            prompts: 6,
            seed: 1,
            learning_rate: 8e-4,
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
                "--steps" => options.steps = value.parse()?,
                "--images" => options.images = value.parse()?,
                "--prompts" => options.prompts = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                "--learning-rate" => options.learning_rate = value.parse()?,
                _ => bail!("unknown option '{name}'"),
            }
        }
        Ok(options)
    }

    /// Rises over the first 4 % of the steps, then falls along a cosine.
    fn learning_rate(&self, step: usize) -> f64 {
        let rise = (self.steps / 25).max(1);
        let done = step as f64 / self.steps as f64;
        let falling = 0.02 + 0.98 * 0.5 * (1.0 + (done * std::f64::consts::PI).cos());
        self.learning_rate * falling * ((step + 1) as f64 / rise as f64).min(1.0)
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
    measure(&options.file)
}

fn train(options: &Options) -> Result<Sam> {
    let device = Device::flex().autodiff();
    device.seed(options.seed);
    let mut model = config().init(&device)?;
    println!("{} parameters", model.num_params());
    let mut optimizer = AdamWConfig::new()
        .with_weight_decay(0.02)
        .with_epsilon(1e-8)
        .with_grad_clipping(Some(GradientClippingConfig::Norm(1.0)))
        .init();
    let bar = ProgressBar::new(options.steps as u64).with_style(ProgressStyle::with_template(
        "{bar:30} {pos}/{len} steps, {per_sec}, {eta} left  {msg}",
    )?);
    let mut smooth = Losses::default();
    let started = Instant::now();
    for step in 0..options.steps {
        // One thread an image: they share nothing but the weights they start from.
        let gradients = std::thread::scope(|scope| {
            let halves: Vec<_> = (0..2)
                .map(|half| {
                    let model = model.clone().fork(&device);
                    scope.spawn(move || {
                        (half..options.images)
                            .step_by(2)
                            .map(|image| {
                                let seed =
                                    options.seed << 32 | (step * options.images + image) as u64;
                                gradients_of(&model, seed, options)
                            })
                            .collect::<Result<Vec<_>>>()
                    })
                })
                .collect();
            let joined = halves.into_iter().map(|half| {
                half.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            joined.collect::<Result<Vec<_>>>()
        })?;
        let mut sum = GradientsAccumulator::new();
        let mut losses = Losses::default();
        for (gradients, loss) in gradients.into_iter().flatten() {
            sum.accumulate(&model, gradients);
            losses.add(&loss, 1.0 / options.images as f32);
        }
        ensure!(
            losses.total().is_finite(),
            "step {step}: the loss is {losses:?}"
        );
        smooth.blend(&losses, if step == 0 { 1.0 } else { 0.02 });
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
            sam::save(&model.valid(), &options.file, WeightPrecision::F16)?;
        }
    }
    bar.finish();
    Ok(model.valid())
}

/// Parts of the loss, means over a step's clicks.
#[derive(Debug, Default)]
struct Losses {
    multimask: f32,
    single: f32,
    iou_error: f32,
    /// IoU of the best of the three masks: not a loss, but what it should bring about.
    best_iou: f32,
}

impl Losses {
    fn total(&self) -> f32 {
        self.multimask + self.single + self.iou_error
    }

    fn parts(&mut self) -> [&mut f32; 4] {
        [
            &mut self.multimask,
            &mut self.single,
            &mut self.iou_error,
            &mut self.best_iou,
        ]
    }

    fn add(&mut self, other: &Self, weight: f32) {
        let other = [
            other.multimask,
            other.single,
            other.iou_error,
            other.best_iou,
        ];
        for (part, other) in self.parts().into_iter().zip(other) {
            *part += weight * other;
        }
    }

    fn blend(&mut self, other: &Self, weight: f32) {
        self.parts()
            .into_iter()
            .for_each(|part| *part *= 1.0 - weight);
        self.add(other, weight);
    }
}

impl std::fmt::Display for Losses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "multimask {:.3}, single {:.3}, iou error {:.4}, best IoU {:.3}",
            self.multimask, self.single, self.iou_error, self.best_iou
        )
    }
}

/// Gradients of the loss on one scene, as its share of a step's loss.
fn gradients_of(model: &Sam, seed: u64, options: &Options) -> Result<(GradientsParams, Losses)> {
    let mut generator = SceneGenerator::new(seed);
    let size = generator.size(LONGEST);
    let count = generator.count(1..=5);
    let kinds = generator.kinds(count);
    let scene = generator.scene(size, &kinds);
    let clicks = Clicks::draw(&scene, &mut generator, options.prompts, model.config())?;
    let device = Device::flex().autodiff();
    let embedding = model.encode_image(clicks.image.into_tensor(&device));
    let prompts = Prompts::single_points(&clicks.points, &device);
    let output = model.decode(embedding, &prompts);
    let [count, outputs, height, width] = output.masks.dims();
    let target = |values: Vec<f32>, rows: usize| {
        Tensor::<3>::from_data(TensorData::new(values, [rows, 1, height * width]), &device)
    };
    let logits = output.masks.reshape([count, outputs, height * width]);
    let targets = target(clicks.targets, count);
    let valid = target(clicks.valid, 1);

    let focal = focal_loss(logits.clone(), targets.clone(), valid.clone());
    let dice = dice_loss(logits.clone(), targets.clone(), valid.clone());
    let loss = focal * 20.0 + dice;
    let single = loss.clone().narrow(1, 0, 1).mean();
    let multimask = loss.narrow(1, 1, outputs - 1).min_dim(1).mean();
    let iou = true_iou(logits, targets, valid);
    let iou_error = (output.iou - iou.clone()).square().mean();
    let losses = Losses {
        multimask: multimask.clone().into_scalar(),
        single: single.clone().into_scalar(),
        iou_error: iou_error.clone().into_scalar(),
        best_iou: iou
            .narrow(1, 1, outputs - 1)
            .max_dim(1)
            .mean()
            .into_scalar(),
    };
    let total = (multimask + single + iou_error) / options.images as f32;
    Ok((GradientsParams::from_grads(total.backward(), model), losses))
}

/// # Shapes
/// - logits: `[clicks, outputs, pixels]`; targets: `[clicks, 1, pixels]`; valid: `[1, 1, pixels]`
/// - output: `[clicks, outputs]`
fn focal_loss(logits: Tensor<3>, targets: Tensor<3>, valid: Tensor<3>) -> Tensor<2> {
    const ALPHA: f32 = 0.25;
    const GAMMA: i32 = 2;
    // Of the foreground -log p, of the background -log(1 - p), which is x - log p.
    let cross_entropy = logits.clone() * (1f32 - targets.clone()) - log_sigmoid(logits.clone());
    let off = (sigmoid(logits) - targets.clone()).powi_scalar(GAMMA);
    let alpha = targets * (2.0 * ALPHA - 1.0) + (1.0 - ALPHA);
    let count = valid.clone().sum_dim(2);
    let loss = (cross_entropy * off * alpha * valid).sum_dim(2) / count;
    loss.squeeze_dim(2)
}

/// # Shapes
/// As of [`focal_loss`].
fn dice_loss(logits: Tensor<3>, targets: Tensor<3>, valid: Tensor<3>) -> Tensor<2> {
    let share = sigmoid(logits) * valid.clone();
    let targets = targets * valid;
    let both = (share.clone() * targets.clone()).sum_dim(2);
    let all = share.sum_dim(2) + targets.sum_dim(2);
    let alike = (both * 2.0 + 1.0) / (all + 1.0);
    (1f32 - alike).squeeze_dim(2)
}

/// IoU of the thresholded masks with the targets, cut off from the gradients.
///
/// # Shapes
/// As of [`focal_loss`].
fn true_iou(logits: Tensor<3>, targets: Tensor<3>, valid: Tensor<3>) -> Tensor<2> {
    let mask = logits.detach().greater_elem(MASK_THRESHOLD).float() * valid.clone();
    let targets = targets * valid;
    let both = (mask.clone() * targets.clone()).sum_dim(2);
    let either = mask.sum_dim(2) + targets.sum_dim(2) - both.clone();
    (both / either.clamp_min(1.0)).squeeze_dim::<2>(2)
}

/// A scene as the model sees it: clicks, and the masks they ask for.
struct Clicks {
    image: PreparedImage,
    /// In pixels of the model input.
    points: Vec<[f32; 2]>,
    /// `[clicks, low_res, low_res]`.
    targets: Vec<f32>,
    /// 1 where the low-resolution mask is image and not padding, `[low_res, low_res]`.
    valid: Vec<f32>,
}

impl Clicks {
    /// Clicks at random pixels, each of a random object or, one in six, of the background.
    fn draw(
        scene: &Scene,
        generator: &mut SceneGenerator,
        count: usize,
        config: &SamConfig,
    ) -> Result<Self> {
        let size = scene.size();
        let image = PreparedImage::new(scene.photo.as_raw(), size, config.image_size)?;
        let frame = image.frame;
        let low_res = config.low_res_size();
        let background = scene.background();
        let masks: Vec<&[u8]> = scene.objects.iter().map(|it| it.mask.as_slice()).collect();
        let (mut points, mut targets) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let mask = if masks.is_empty() || generator.count(0..=5) == 0 {
                background.as_slice()
            } else {
                masks[generator.count(0..=masks.len() - 1)]
            };
            let inside: Vec<usize> = (0..mask.len()).filter(|at| mask[*at] == 1).collect();
            let at = inside[generator.count(0..=inside.len() - 1)];
            let (x, y) = (at % size.width as usize, at / size.width as usize);
            let point = frame.model_from_image([x as f64, y as f64]);
            points.push(point.map(|it| it as f32));
            targets.extend(low_res_mask(mask, &image, low_res));
        }
        let whole = vec![1u8; background.len()];
        let valid = low_res_mask(&whole, &image, low_res);
        Ok(Self {
            image,
            points,
            targets,
            valid,
        })
    }
}

/// A mask at the size of the decoder's: 1 where the middle of a cell's four quarters lie in it at least
/// twice.
fn low_res_mask(mask: &[u8], image: &PreparedImage, low_res: usize) -> Vec<f32> {
    let frame = image.frame;
    let cell = f64::from(frame.image_size) / low_res as f64;
    let scale = f64::from(frame.original.width) / f64::from(frame.resized.width);
    let at = |x: f64, y: f64| {
        let (x, y) = ((x * cell * scale) as usize, (y * cell * scale) as usize);
        let (width, height) = (
            frame.original.width as usize,
            frame.original.height as usize,
        );
        u8::from(x < width && y < height && mask[y * width + x] == 1)
    };
    let mut values = Vec::with_capacity(low_res * low_res);
    for row in 0..low_res {
        for column in 0..low_res {
            let quarters: u8 = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)]
                .iter()
                .map(|(right, down)| at(column as f64 + right, row as f64 + down))
                .sum();
            values.push(if quarters >= 2 { 1.0 } else { 0.0 });
        }
    }
    values
}

/// Prints the mean IoU over unseen scenes, at the size of the photo.
fn measure(file: &Path) -> Result<()> {
    let device = Device::flex();
    let model = Checkpoint::open(file)?.load(&device)?;
    let mut sums = [0f64; 3];
    let (mut objects, mut above) = (0, 0);
    for seed in 0..100 {
        let mut generator = SceneGenerator::new(UNSEEN + seed);
        let size = generator.size(LONGEST);
        let count = generator.count(1..=4);
        let kinds = generator.kinds(count);
        let scene = generator.scene(size, &kinds);
        for ious in ious_of(&model, &scene)? {
            let best = ious.iter().skip(1).map(|it| it.0).fold(0.0, f64::max);
            let chosen = ious.iter().skip(1).max_by(|a, b| a.1.total_cmp(&b.1));
            sums[0] += best;
            sums[1] += chosen.map_or(0.0, |it| it.0);
            sums[2] += ious[0].0;
            above += usize::from(best >= 0.85);
            objects += 1;
        }
    }
    let [best, chosen, single] = sums.map(|sum| sum / objects as f64);
    println!(
        "{objects} objects of 100 unseen scenes: mean IoU {best:.3} best of three, {chosen:.3} of the \
         three the one predicted best, {single:.3} single-mask output; {above} of them at least 0.85"
    );
    println!(
        "{}: {} bytes",
        file.display(),
        std::fs::metadata(file)?.len()
    );
    Ok(())
}

/// For each object of a scene, every output's IoU with it and the IoU predicted.
fn ious_of(model: &Sam, scene: &Scene) -> Result<Vec<Vec<(f64, f32)>>> {
    let device = Device::flex();
    let (config, size) = (model.config(), scene.size());
    let image = PreparedImage::new(scene.photo.as_raw(), size, config.image_size)?;
    let frame = image.frame;
    let points: Vec<[f32; 2]> = scene
        .objects
        .iter()
        .map(|object| {
            let [x, y] = object.innermost_pixel(size).map(f64::from);
            frame.model_from_image([x, y]).map(|it| it as f32)
        })
        .collect();
    let embedding = model.encode_image(image.into_tensor(&device));
    let output = model.decode(embedding, &Prompts::single_points(&points, &device));
    let low_res = config.low_res_size();
    let masks: Vec<f32> = output.masks.into_data().try_to_vec()?;
    let predicted: Vec<f32> = output.iou.into_data().try_to_vec()?;
    let outputs = config.decoder.mask_tokens();
    let mut upscaler = MaskUpscaler::new(&frame, low_res);
    let mut of_objects = Vec::new();
    let masks = masks.chunks_exact(outputs * low_res * low_res);
    for ((object, masks), predicted) in scene
        .objects
        .iter()
        .zip(masks)
        .zip(predicted.chunks(outputs))
    {
        let mut ious = Vec::new();
        for (mask, predicted) in masks.chunks_exact(low_res * low_res).zip(predicted) {
            let (mut both, mut either) = (0u32, 0u32);
            for (logit, pixel) in upscaler.logits(mask)?.iter().zip(&object.mask) {
                let (found, true_pixel) = (*logit > MASK_THRESHOLD, *pixel == 1);
                both += u32::from(found && true_pixel);
                either += u32::from(found || true_pixel);
            }
            ious.push((f64::from(both) / f64::from(either.max(1)), *predicted));
        }
        of_objects.push(ious);
    }
    Ok(of_objects)
}
