//! DDIM without noise (Song et al., Denoising Diffusion Implicit Models, ICLR 2021, eq. 12 with sigma = 0), with the
//! time steps of `diffusers`' `DDIMScheduler`.

use candle_core::Tensor;

use super::config::SchedulerConfig;
use super::{failed, of_candle};
use crate::Result;

/// What the UNet predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prediction {
    Noise,
    Velocity,
    Sample,
}

/// The steps of one image.
#[derive(Debug, Clone)]
pub(super) struct Sampler {
    /// Products of 1 - beta up to each time.
    alphas: Vec<f64>,
    /// Times, from the noise on.
    pub times: Vec<usize>,
    /// Time between two steps.
    stride: usize,
    last_alpha: f64,
    prediction: Prediction,
}

impl Sampler {
    /// The sampler of a configuration with a number of steps.
    pub fn new(config: &SchedulerConfig, steps: usize) -> Result<Self> {
        let count = config.num_train_timesteps;
        if steps == 0 || steps > count {
            return Err(failed(format!("{steps} steps; expected 1 to {count}")));
        }
        let at = |n: usize| n as f64 / (count - 1).max(1) as f64;
        let between = |from: f64, to: f64, n: usize| from + (to - from) * at(n);
        let beta = |n: usize| match config.beta_schedule.as_str() {
            "scaled_linear" => {
                Ok(between(config.beta_start.sqrt(), config.beta_end.sqrt(), n).powi(2))
            }
            "linear" => Ok(between(config.beta_start, config.beta_end, n)),
            other => Err(failed(format!(
                "the schedule of betas '{other}' is not supported"
            ))),
        };
        let mut product = 1.0;
        let alphas = (0..count).map(|n| {
            product *= 1.0 - beta(n)?;
            Ok(product)
        });
        let alphas: Vec<f64> = alphas.collect::<Result<_>>()?;
        let stride = count / steps;
        let times: Vec<usize> = match config.timestep_spacing.as_str() {
            "leading" => (0..steps)
                .rev()
                .map(|n| n * stride + config.steps_offset)
                .collect(),
            "trailing" => (0..steps)
                .map(|n| {
                    let time = count as f64 - n as f64 * count as f64 / steps as f64;
                    (time.round_ties_even() as usize).saturating_sub(1)
                })
                .collect(),
            "linspace" => (0..steps)
                .rev()
                .map(|n| {
                    let share = n as f64 / (steps - 1).max(1) as f64;
                    (share * (count - 1) as f64).round_ties_even() as usize
                })
                .collect(),
            other => {
                return Err(failed(format!(
                    "the spacing of steps '{other}' is not supported"
                )));
            }
        };
        let prediction = match config.prediction_type.as_str() {
            "epsilon" => Prediction::Noise,
            "v_prediction" => Prediction::Velocity,
            "sample" => Prediction::Sample,
            other => {
                return Err(failed(format!(
                    "a UNet that predicts '{other}' is not supported"
                )));
            }
        };
        let first = alphas.first().copied().unwrap_or(1.0);
        Ok(Self {
            last_alpha: if config.set_alpha_to_one.unwrap_or(true) {
                1.0
            } else {
                first
            },
            times: times.into_iter().map(|time| time.min(count - 1)).collect(),
            alphas,
            stride,
            prediction,
        })
    }

    /// The latents after a step from `time`, of any shape.
    pub fn step(&self, predicted: &Tensor, time: usize, latents: &Tensor) -> Result<Tensor> {
        let alpha = self.alphas.get(time).copied().unwrap_or(1.0);
        let before = time.checked_sub(self.stride);
        let before = before.and_then(|time| self.alphas.get(time).copied());
        let before = before.unwrap_or(self.last_alpha);
        let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
        let mixed = |a: f64, x: &Tensor, b: f64, y: &Tensor| (x * a)? + (y * b)?;
        let (sample, epsilon) = match self.prediction {
            Prediction::Noise => {
                let sample = mixed(1.0 / signal, latents, -noise / signal, predicted);
                (sample.map_err(of_candle)?, predicted.clone())
            }
            Prediction::Velocity => (
                mixed(signal, latents, -noise, predicted).map_err(of_candle)?,
                mixed(signal, predicted, noise, latents).map_err(of_candle)?,
            ),
            Prediction::Sample => (
                predicted.clone(),
                mixed(1.0 / noise, latents, -signal / noise, predicted).map_err(of_candle)?,
            ),
        };
        mixed(before.sqrt(), &sample, (1.0 - before).sqrt(), &epsilon).map_err(of_candle)
    }
}
