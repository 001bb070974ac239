//! From a prompt to pixels: text encoder, UNet step by step with guidance, VAE.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::stable_diffusion::unet_2d::UNet2DConditionModel;
use candle_transformers::models::stable_diffusion::vae::AutoEncoderKL;
use image::RgbImage;
use serde::Deserialize;
use serde_json::Value;

use super::config::{IMAGE_CHANNELS, SchedulerConfig, TextConfig, UnetConfig, VaeConfig, read};
use super::sampler::Sampler;
use super::text::TextEncoder;
use super::{failed, of_candle};
use crate::error::FileAction;
use crate::models::clip::Tokenizer;
use crate::{Error, Result};

/// Id of CLIP's end token, which also fills up texts in Stable Diffusion 1.
const END: u32 = 49407;

/// How images are made.
#[derive(Debug, Clone, PartialEq)]
pub struct DiffusionOptions {
    /// Steps of the sampler.
    pub steps: usize,
    /// How closely images follow the prompt: the weight of the prompt beyond that of the negative one; 1 or less for no
    /// guidance, as SD-Turbo has it.
    pub guidance: f64,
    /// What images shall not show.
    pub negative_prompt: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// `cpu`, or `cuda` or `cuda:N` in a build with feature `diffusion-cuda`.
    pub device: String,
}

impl Default for DiffusionOptions {
    fn default() -> Self {
        Self {
            steps: 50,
            guidance: 7.5,
            negative_prompt: String::new(),
            width: 512,
            height: 512,
            device: "cpu".to_owned(),
        }
    }
}

/// The models of a folder.
pub(super) struct Pipeline {
    options: DiffusionOptions,
    device: Device,
    dtype: DType,
    tokenizer: Tokenizer,
    padding: u32,
    text: TextEncoder,
    unet: UNet2DConditionModel,
    vae: AutoEncoderKL,
    scaling_factor: f64,
    sampler: Sampler,
    /// Channels, height and width of latents.
    latents: [usize; 3],
}

fn device_of(name: &str) -> Result<Device> {
    let number = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => Some(0),
        other => other.strip_prefix("cuda:").and_then(|it| it.parse().ok()),
    };
    let number = number.ok_or_else(|| {
        failed(format!(
            "there is no device '{name}' for it; expected cpu, cuda or cuda:N"
        ))
    })?;
    Device::new_cuda(number).map_err(|err| {
        failed(format!(
            "device '{name}': {err}; it needs a build with feature diffusion-cuda"
        ))
    })
}

/// The weights of a part, in full or half precision.
fn weights(
    folder: &Path,
    part: &str,
    stem: &str,
    dtype: DType,
    device: &Device,
) -> Result<VarBuilder<'static>> {
    let folder = folder.join(part);
    let names = [
        format!("{stem}.safetensors"),
        format!("{stem}.fp16.safetensors"),
    ];
    let found = names.iter().map(|name| folder.join(name));
    let path: PathBuf = found.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        failed(format!(
            "'{}' has no {}; give the folder of a model as diffusers writes it, with safetensors",
            folder.display(),
            names.join(" or ")
        ))
    })?;
    let bytes = std::fs::read(&path).map_err(Error::file(FileAction::Read, &path))?;
    VarBuilder::from_buffered_safetensors(bytes, dtype, device)
        .map_err(|err| failed(format!("'{}': {err}", path.display())))
}

/// The id that fills up a text, by the folder's tokenizer.
fn padding(folder: &Path) -> Result<u32> {
    #[derive(Deserialize)]
    struct Special {
        #[serde(default)]
        pad_token: Value,
    }
    let path = folder.join("tokenizer").join("special_tokens_map.json");
    if !path.exists() {
        return Ok(END);
    }
    let special: Special = read(&folder.join("tokenizer"), "special_tokens_map.json")?;
    let token = special
        .pad_token
        .get("content")
        .unwrap_or(&special.pad_token);
    match token.as_str() {
        None | Some("<|endoftext|>") => Ok(END),
        Some("!") => Ok(0),
        Some(other) => Err(failed(format!(
            "'{}' fills up texts with '{other}', which is not supported",
            path.display()
        ))),
    }
}

impl Pipeline {
    /// Loads the models of a folder.
    pub fn load(folder: &Path, options: DiffusionOptions) -> Result<Self> {
        let device = device_of(&options.device)?;
        let dtype = if device.is_cuda() {
            DType::F16
        } else {
            DType::F32
        };
        let of = |part: &str, stem: &str| weights(folder, part, stem, dtype, &device);
        let text: TextConfig = read(&folder.join("text_encoder"), "config.json")?;
        let unet: UnetConfig = read(&folder.join("unet"), "config.json")?;
        let vae: VaeConfig = read(&folder.join("vae"), "config.json")?;
        let scheduler: SchedulerConfig = read(&folder.join("scheduler"), "scheduler_config.json")?;
        let sampler = Sampler::new(&scheduler, options.steps)?;
        let network = unet.network()?;
        // The UNet halves latents at every block but the last.
        let step = vae.factor() << network.blocks.len().saturating_sub(1);
        for (what, side) in [("width", options.width), ("height", options.height)] {
            if side == 0 || side % step != 0 {
                return Err(failed(format!(
                    "{what} {side}; this model makes multiples of {step} pixels"
                )));
            }
        }
        let latents = [
            vae.latent_channels,
            options.height / vae.factor(),
            options.width / vae.factor(),
        ];
        let stem = "diffusion_pytorch_model";
        Ok(Self {
            padding: padding(folder)?,
            tokenizer: Tokenizer::new(),
            text: TextEncoder::new(&text, of("text_encoder", "model")?)?,
            unet: UNet2DConditionModel::new(
                of("unet", stem)?,
                unet.in_channels,
                unet.out_channels,
                false,
                network,
            )
            .map_err(|err| failed(format!("unet: {err}")))?,
            vae: AutoEncoderKL::new(
                of("vae", stem)?,
                IMAGE_CHANNELS,
                IMAGE_CHANNELS,
                vae.network(),
            )
            .map_err(|err| failed(format!("vae: {err}")))?,
            scaling_factor: vae.scaling_factor,
            sampler,
            latents,
            options,
            device,
            dtype,
        })
    }

    /// Makes an image.
    pub fn generate(&self, prompt: &str, seed: u32) -> Result<RgbImage> {
        let count = self.latents.iter().product();
        self.draw(prompt, &normal_numbers(seed, count))
    }

    /// Makes an image of given latents, standard normal numbers.
    pub(super) fn draw(&self, prompt: &str, noise: &[f32]) -> Result<RgbImage> {
        let pixels = self.pixels(prompt, noise)?;
        let bytes = pixels.into_iter().map(|x| (x * 255.0).round() as u8);
        let (width, height) = (self.options.width as u32, self.options.height as u32);
        RgbImage::from_raw(width, height, bytes.collect())
            .ok_or_else(|| failed("the image has another size than its latents"))
    }

    /// The pixels of an image, rows of RGB in [0, 1].
    pub(super) fn pixels(&self, prompt: &str, noise: &[f32]) -> Result<Vec<f32>> {
        self.sample(prompt, noise).map_err(|err| match err {
            Sampling::Tensor(err) => of_candle(err),
            Sampling::Other(err) => err,
        })
    }

    /// What the UNet looks at of a prompt: of the negative one and of itself, where there is guidance.
    pub(super) fn hidden_states(&self, prompt: &str) -> Result<Tensor> {
        let texts = if self.has_guidance() {
            vec![self.ids(&self.options.negative_prompt), self.ids(prompt)]
        } else {
            vec![self.ids(prompt)]
        };
        self.text.forward(&texts, &self.device)
    }

    fn has_guidance(&self) -> bool {
        self.options.guidance > 1.0
    }

    fn ids(&self, text: &str) -> Vec<u32> {
        let mut ids = self.tokenizer.ids(text, self.text.context());
        ids.resize(self.text.context(), self.padding);
        ids
    }

    fn sample(&self, prompt: &str, noise: &[f32]) -> Result<Vec<f32>, Sampling> {
        let [channels, height, width] = self.latents;
        let shape = (1, channels, height, width);
        let latents = Tensor::from_slice(noise, shape, &self.device)?;
        let mut latents = latents.to_dtype(self.dtype)?;
        let hidden = self.hidden_states(prompt)?;
        for time in &self.sampler.times {
            let predicted = if self.has_guidance() {
                let both = Tensor::cat(&[&latents, &latents], 0)?;
                let both = self.unet.forward(&both, *time as f64, &hidden)?;
                let (without, with) = (both.narrow(0, 0, 1)?, both.narrow(0, 1, 1)?);
                (&without + ((with - &without)? * self.options.guidance)?)?
            } else {
                self.unet.forward(&latents, *time as f64, &hidden)?
            };
            latents = self.sampler.step(&predicted, *time, &latents)?;
        }
        let pixels = self.vae.decode(&(latents / self.scaling_factor)?)?;
        let pixels = ((pixels.to_dtype(DType::F32)? * 0.5)? + 0.5)?.clamp(0f32, 1f32)?;
        Ok(pixels
            .squeeze(0)?
            .permute((1, 2, 0))?
            .flatten_all()?
            .to_vec1()?)
    }
}

/// Errors while an image is made.
enum Sampling {
    Tensor(candle_core::Error),
    Other(Error),
}

impl From<candle_core::Error> for Sampling {
    fn from(err: candle_core::Error) -> Self {
        Self::Tensor(err)
    }
}

impl From<Error> for Sampling {
    fn from(err: Error) -> Self {
        Self::Other(err)
    }
}

/// Standard normal numbers of a seed, by the Box-Muller transform.
fn normal_numbers(seed: u32, count: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(u64::from(seed));
    let pairs = (0..count.div_ceil(2)).flat_map(|_| {
        let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * random.f64()).sin_cos();
        [radius * cos, radius * sin]
    });
    pairs.take(count).map(|x| x as f32).collect()
}

#[cfg(test)]
mod tests;
