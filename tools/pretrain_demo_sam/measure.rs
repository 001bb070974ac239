//! How well a model answers one click an object, on scenes it never saw.

use std::fmt;

use anyhow::Result;
use burn::tensor::Device;
use grainstore::models::sam::{MASK_THRESHOLD, MaskUpscaler, PreparedImage, Prompts, Sam};
use grainstore::scenes::{Scene, SceneGenerator};

/// Seeds from here on are never trained on.
const UNSEEN: u64 = 1 << 60;
/// Photos' longer sides, in pixels.
pub const LONGEST: std::ops::RangeInclusive<u32> = 128..=256;

/// Mean IoU over objects, at the size of the photo, of a click on the innermost pixel of each.
#[derive(Debug, Default)]
pub struct Measures {
    /// Objects clicked on.
    pub objects: usize,
    /// Of the three multimask outputs the one with the greatest IoU.
    pub best: f64,
    /// Of the three the one with the greatest predicted IoU.
    pub chosen: f64,
    /// The single-mask output.
    pub single: f64,
    /// Objects whose best mask has an IoU of 0.85 or more.
    pub good: usize,
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} objects of unseen scenes, one click each: mean IoU {:.3} (best of three), {:.3} (of the three \
             the one predicted best), {:.3} (single-mask output); {} objects at 0.85 or more",
            self.objects, self.best, self.chosen, self.single, self.good
        )
    }
}

/// Measures a model on so many scenes.
pub fn over_unseen_scenes(model: &Sam, scenes: u64) -> Result<Measures> {
    let mut sum = Measures::default();
    for seed in UNSEEN..UNSEEN + scenes {
        let mut generator = SceneGenerator::new(seed);
        let size = generator.size(LONGEST);
        let count = generator.count(1..=4);
        let kinds = generator.kinds(count);
        for outputs in of_scene(model, &generator.scene(size, &kinds))? {
            let [single, multimask @ ..] = outputs.as_slice() else {
                continue;
            };
            let best = multimask.iter().map(|it| it.iou).fold(0.0, f64::max);
            let chosen = multimask
                .iter()
                .max_by(|a, b| a.predicted.total_cmp(&b.predicted));
            sum.best += best;
            sum.chosen += chosen.map_or(0.0, |it| it.iou);
            sum.single += single.iou;
            sum.good += usize::from(best >= 0.85);
            sum.objects += 1;
        }
    }
    let objects = sum.objects.max(1) as f64;
    Ok(Measures {
        best: sum.best / objects,
        chosen: sum.chosen / objects,
        single: sum.single / objects,
        ..sum
    })
}

/// One of the decoder's masks: its IoU with the object, and the one predicted.
struct Output {
    iou: f64,
    predicted: f32,
}

/// All outputs for each object of a scene.
fn of_scene(model: &Sam, scene: &Scene) -> Result<Vec<Vec<Output>>> {
    let device = Device::flex();
    let (config, size) = (model.config(), scene.size());
    let image = PreparedImage::new(scene.photo.as_raw(), size, config.image_size)?;
    let frame = image.frame;
    let points: Vec<[f32; 2]> = scene
        .objects
        .iter()
        .map(|object| {
            let point = object.innermost_pixel(size).map(f64::from);
            frame.model_from_image(point).map(|it| it as f32)
        })
        .collect();
    let embedding = model.encode_image(image.into_tensor(&device));
    let output = model.decode(embedding, &Prompts::single_points(&points, &device));
    let masks: Vec<f32> = output.masks.into_data().try_to_vec()?;
    let predicted: Vec<f32> = output.iou.into_data().try_to_vec()?;

    let low_res = config.low_res_size();
    let mut upscaler = MaskUpscaler::new(&frame, low_res);
    let outputs = config.decoder.mask_tokens();
    let rows = masks.chunks_exact(outputs * low_res * low_res);
    let rows = rows.zip(predicted.chunks_exact(outputs));
    let mut of_objects = Vec::new();
    for (object, (masks, predicted)) in scene.objects.iter().zip(rows) {
        let mut of_object = Vec::new();
        for (mask, predicted) in masks.chunks_exact(low_res * low_res).zip(predicted) {
            of_object.push(Output {
                iou: iou(upscaler.logits(mask)?, &object.mask),
                predicted: *predicted,
            });
        }
        of_objects.push(of_object);
    }
    Ok(of_objects)
}

fn iou(logits: &[f32], mask: &[u8]) -> f64 {
    let (mut both, mut either) = (0u32, 0u32);
    for (logit, pixel) in logits.iter().zip(mask) {
        let (found, seen) = (*logit > MASK_THRESHOLD, *pixel == 1);
        both += u32::from(found && seen);
        either += u32::from(found || seen);
    }
    f64::from(both) / f64::from(either.max(1))
}
