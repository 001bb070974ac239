//! Predicts masks for prompts: one image, encoded once, and any number of prompts (upstream: `SamPredictor`).

use burn::tensor::{Device, Int, Tensor, TensorData};
use image::RgbImage;

use super::image_embedding::ImageEmbedding;
use super::postprocess::{MASK_THRESHOLD, MaskUpscaler, stability_score, threshold_into};
use super::preprocess::ImageFrame;
use super::prompt_encoder::{PointPrompts, Prompts};
use super::sam::Sam;
use crate::geometry::{Rle, Size};
use crate::models::error::{ModelError, Result};

/// Shift of the threshold for a stability score, in logits, as in upstream's automatic generator.
const STABILITY_OFFSET: f32 = 1.0;

/// Logit of a pixel inside of a mask that is given as a prompt, and of one outside with the opposite sign: that of a
/// probability of 0.999, as in micro-sam's `_compute_logits_from_mask`.
const MASK_LOGIT: f32 = 6.906_755;

/// The object to segment: points, a box, a rough mask, or several of them. Coordinates are pixels of the original image, x before y, as
/// upstream: (0, 0) is the first pixel.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    /// Points on the object.
    pub foreground: Vec<[f64; 2]>,
    /// Points outside the object.
    pub background: Vec<[f64; 2]>,
    /// A box around the object, as XYXY.
    pub box_xyxy: Option<[f64; 4]>,
    /// A rough mask of the object, at the size of the original image.
    pub mask: Option<Rle>,
}

impl Prompt {
    /// A prompt of one point on the object.
    pub fn click(x: f64, y: f64) -> Self {
        Self {
            foreground: vec![[x, y]],
            ..Self::default()
        }
    }

    /// The place of the best of the masks that a model gives for the prompt. For a single point, which is ambiguous, this is
    /// the one of the three with the highest predicted IoU. For any other prompt it is the single mask, as upstream advises,
    /// unless SAM 2 finds it unreliable.
    pub fn best_of(&self, masks: &[PredictedMask]) -> Option<usize> {
        let points = self.foreground.len() + self.background.len();
        let is_ambiguous = points == 1 && self.box_xyxy.is_none() && self.mask.is_none();
        let is_unreliable = masks.iter().any(|it| it.output == 0 && !it.is_reliable);
        let several = (is_ambiguous || is_unreliable) && masks.len() > 1;
        let fitting = masks
            .iter()
            .enumerate()
            .filter(|(_, it)| (it.output > 0) == several);
        // Of equal values, the first is used, as with argmax.
        let best = fitting.reduce(|best, next| {
            if next.1.predicted_iou > best.1.predicted_iou {
                next
            } else {
                best
            }
        });
        best.map(|(at, _)| at)
    }

    /// A prompt of a box around the object, as XYXY.
    pub fn of_box(box_xyxy: [f64; 4]) -> Self {
        Self {
            box_xyxy: Some(box_xyxy),
            ..Self::default()
        }
    }
}

/// A mask predicted for a prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct PredictedMask {
    /// Its pixels, at the size of the original image.
    pub mask: Rle,
    /// The model's own estimate of the mask's IoU with the object, roughly in [0, 1].
    pub predicted_iou: f32,
    /// IoU between the masks at thresholds of 1 and -1 logits, in [0, 1].
    pub stability_score: f32,
    /// The decoder output that the mask comes from: 0 is the single mask, 1..=3 are the masks for an ambiguous prompt.
    pub output: usize,
    /// Logit of whether there is an object at all, which SAM 2 gives for each prompt.
    pub object_score: Option<f32>,
    /// Whether a single mask can be relied on. SAM 2 does not use one that changes much with its threshold.
    pub is_reliable: bool,
    /// All of the decoder's mask tokens for the prompt, flattened: outputs x token width. The same for all its masks.
    pub embedding: Vec<f32>,
}

/// The features of an image, as its encoder gives them: what prompts are decoded with.
#[derive(Debug, Clone)]
pub struct ImageFeatures {
    embedding: ImageEmbedding,
    original: Size,
}

impl ImageFeatures {
    /// What the decoder takes.
    pub(crate) fn into_embedding(self) -> ImageEmbedding {
        self.embedding
    }

    /// Bytes that they take in memory, in 32 bits.
    pub fn bytes(&self) -> usize {
        self.embedding.numbers() * size_of::<f32>()
    }

    /// Encodes an image. `device` is the model's device.
    ///
    /// # Errors
    /// [`ModelError::EmptyImage`] if the image has no pixels.
    pub fn encode(sam: &Sam, photo: &RgbImage, device: &Device) -> Result<Self> {
        let original = Size {
            height: photo.height(),
            width: photo.width(),
        };
        let pixels = sam.config().prepare(photo.as_raw(), original)?;
        Ok(Self {
            embedding: sam.encode_image(pixels.into_tensor(device)),
            original,
        })
    }

    /// Features that were kept, of an image of a size: `sizes` says channels, rows and columns of the numbers, row-major.
    ///
    /// # Errors
    /// [`ModelError::Output`] if they are not of the model's shape.
    pub fn kept(
        sam: &Sam,
        original: Size,
        sizes: [usize; 3],
        features: Vec<f32>,
        device: &Device,
    ) -> Result<Self> {
        let config = sam.config();
        let (channels, side) = (config.kept_channels(), config.grid_size());
        if sizes != [channels, side, side] || features.len() != channels * side * side {
            return Err(ModelError::Output {
                what: "kept features",
            });
        }
        let data = TensorData::new(features, [1, channels, side, side]);
        let channels = Tensor::<4>::from_data(data, device).cast(sam.prompt_encoder.dtype());
        Ok(Self {
            embedding: ImageEmbedding::from_channels(channels, config),
            original,
        })
    }
}

/// An encoded image, ready for prompts.
///
/// ```no_run
/// use grainstore::models::sam::{Checkpoint, Prompt, SamPredictor};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let device = grainstore::burn::tensor::Device::flex();
/// let sam = Checkpoint::open("sam_vit_b_01ec64.pth")?.load(&device)?;
/// let photo = image::open("truck.jpg")?.into_rgb8();
/// let predictor = SamPredictor::new(&sam, &photo, &device)?;
/// let mask = predictor.predict_best(&Prompt::click(500.0, 375.0))?;
/// println!("{} pixels, predicted IoU {:.2}", mask.mask.area(), mask.predicted_iou);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SamPredictor<'a> {
    sam: &'a Sam,
    device: Device,
    frame: ImageFrame,
    features: ImageFeatures,
}

impl<'a> SamPredictor<'a> {
    /// Encodes an image. `device` is the model's device.
    ///
    /// # Errors
    /// [`ModelError::EmptyImage`] if the image has no pixels.
    pub fn new(sam: &'a Sam, photo: &RgbImage, device: &Device) -> Result<Self> {
        Self::with_features(sam, ImageFeatures::encode(sam, photo, device)?, device)
    }

    /// Takes an image that was encoded before.
    ///
    /// # Errors
    /// [`ModelError::EmptyImage`] if the image has no pixels.
    pub fn with_features(sam: &'a Sam, features: ImageFeatures, device: &Device) -> Result<Self> {
        Ok(Self {
            sam,
            device: device.clone(),
            frame: sam.config().frame(features.original)?,
            features,
        })
    }

    /// Predicts all masks of the decoder for a prompt, in the order of its outputs: the single mask first, then three
    /// for a prompt that may mean a part, an object or a group of objects.
    ///
    /// # Errors
    /// [`ModelError::EmptyPrompt`] for a prompt with neither points nor a box nor a mask; [`ModelError::PromptCoordinate`]
    /// for a coordinate that is not finite; [`ModelError::PromptMask`] for a mask of another size than the image;
    /// [`ModelError::Output`] if the model returns values that are not finite.
    pub fn predict(&self, prompt: &Prompt) -> Result<Vec<PredictedMask>> {
        let prompts = self.prompts(prompt)?;
        let output = self.sam.decode(self.features.embedding.clone(), &prompts);
        let [_, _, low_res, _] = output.masks.dims();
        let masks = finite(output.masks, "masks")?;
        let iou = finite(output.iou, "predicted IoU")?;
        let embedding = finite(output.tokens, "mask tokens")?;
        let object_score = output.object_score;
        let object_score = object_score.map(|score| finite(score, "object score"));
        let object_score = object_score
            .transpose()?
            .and_then(|score| score.first().copied());
        let mut upscaler = MaskUpscaler::new(&self.frame, low_res);
        let mut bitmap = Vec::new();
        let mut found = Vec::with_capacity(iou.len());
        let outputs = masks.chunks_exact(low_res * low_res).zip(iou);
        for (output, (low_res, predicted_iou)) in outputs.enumerate() {
            let logits = upscaler.logits(low_res)?;
            threshold_into(logits, MASK_THRESHOLD, &mut bitmap);
            let mask = Rle::from_row_major(self.frame.original, &bitmap);
            found.push(PredictedMask {
                mask: mask.map_err(|source| ModelError::Mask {
                    source: Box::new(source),
                })?,
                predicted_iou,
                stability_score: stability_score(logits, MASK_THRESHOLD, STABILITY_OFFSET),
                output,
                object_score,
                is_reliable: output > 0 || !self.sam.config().replaces_single_mask(low_res),
                embedding: embedding.clone(),
            });
        }
        Ok(found)
    }

    /// Predicts the best mask for a prompt: [`Prompt::best_of`].
    ///
    /// # Errors
    /// Those of [`SamPredictor::predict`].
    pub fn predict_best(&self, prompt: &Prompt) -> Result<PredictedMask> {
        let mut found = self.predict(prompt)?;
        let best = prompt.best_of(&found);
        let best = best.map(|at| found.swap_remove(at));
        best.ok_or(ModelError::Output { what: "masks" })
    }

    fn prompts(&self, prompt: &Prompt) -> Result<Prompts> {
        let in_model = |point: &[f64; 2]| self.frame.model_from_image(*point).map(|x| x as f32);
        let labels = prompt.foreground.iter().map(|point| (point, 1));
        let labels: Vec<(&[f64; 2], i32)> = labels
            .chain(prompt.background.iter().map(|point| (point, 0)))
            .collect();
        let corners = prompt.box_xyxy.iter().flatten();
        let numbers = labels.iter().flat_map(|(point, _)| point.iter());
        if let Some(value) = numbers.chain(corners).find(|x| !x.is_finite()) {
            return Err(ModelError::PromptCoordinate { value: *value });
        }
        if labels.is_empty() && prompt.box_xyxy.is_none() && prompt.mask.is_none() {
            return Err(ModelError::EmptyPrompt);
        }
        let points = (!labels.is_empty()).then(|| {
            let coords: Vec<f32> = labels
                .iter()
                .flat_map(|(point, _)| in_model(point))
                .collect();
            let count = labels.len();
            let labels: Vec<i32> = labels.iter().map(|(_, label)| *label).collect();
            PointPrompts {
                coords: Tensor::from_data(TensorData::new(coords, [1, count, 2]), &self.device),
                labels: Tensor::<2, Int>::from_data(
                    TensorData::new(labels, [1, count]),
                    &self.device,
                ),
            }
        });
        let boxes = prompt.box_xyxy.map(|[left, top, right, bottom]| {
            let corners = [in_model(&[left, top]), in_model(&[right, bottom])];
            let corners = TensorData::new(corners.as_flattened().to_vec(), [1, 4]);
            Tensor::from_data(corners, &self.device)
        });
        Ok(Prompts {
            points,
            boxes,
            masks: prompt
                .mask
                .as_ref()
                .map(|mask| self.mask_logits(mask))
                .transpose()?,
        })
    }

    /// A mask of the image as logits of the decoder's size: those of the pixels at the middles of its cells; padding is
    /// outside.
    fn mask_logits(&self, mask: &Rle) -> Result<Tensor<4>> {
        let Size { height, width } = self.frame.original;
        if mask.size() != self.frame.original {
            return Err(ModelError::PromptMask {
                expected: self.frame.original,
                found: mask.size(),
            });
        }
        let bitmap = mask.to_row_major();
        let side = 4 * self.sam.config().grid_size();
        let cell = f64::from(self.frame.image_size) / side as f64;
        let pixel = |at: usize, original: u32, resized: u32| {
            let in_model = (at as f64 + 0.5) * cell;
            let found = in_model * f64::from(original) / f64::from(resized);
            (in_model < f64::from(resized)).then(|| (found as usize).min(original as usize - 1))
        };
        let (rows, columns) = (self.frame.resized.height, self.frame.resized.width);
        let columns: Vec<Option<usize>> = (0..side).map(|at| pixel(at, width, columns)).collect();
        let mut logits = Vec::with_capacity(side * side);
        for row in (0..side).map(|at| pixel(at, height, rows)) {
            logits.extend(columns.iter().map(|column| match (row, column) {
                (Some(y), Some(x)) => match bitmap.get(y * width as usize + x) {
                    Some(0) | None => -MASK_LOGIT,
                    Some(_) => MASK_LOGIT,
                },
                _ => -MASK_LOGIT,
            }));
        }
        Ok(Tensor::from_data(
            TensorData::new(logits, [1, 1, side, side]),
            &self.device,
        ))
    }
}

/// The values of a tensor, which must be finite.
fn finite<const D: usize>(tensor: Tensor<D>, what: &'static str) -> Result<Vec<f32>> {
    let numbers: Vec<f32> = tensor.into_data().iter::<f32>().collect();
    if numbers.iter().all(|x| x.is_finite()) {
        Ok(numbers)
    } else {
        Err(ModelError::Output { what })
    }
}
