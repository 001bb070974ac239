//! Texts in the space of a CLIP embedder's vectors.

use std::path::Path;

use burn::tensor::Device;
use serde::Deserialize;

use crate::device::Precision;
use crate::error::VectorError;
use crate::extract::sha256_of_files;
use crate::models::clip::{Clip, TextTower, Tokenizer};
use crate::models::{Activation, Family, Weights};
use crate::store::rows::EmbedderRow;
use crate::vectors::check_finite;
use crate::{Error, Result};

/// The text tower of an embedder's CLIP.
#[derive(Debug)]
pub struct TextEncoder {
    tower: TextTower,
    tokenizer: Tokenizer,
    similarity_factor: f64,
}

impl TextEncoder {
    /// Loads the text tower from the weights that an embedder was made with.
    ///
    /// # Errors
    /// [`crate::error::VectorError::OtherWeights`] if the file is not the embedder's; [`crate::error::ModelError`] for a file that holds no
    /// CLIP, or one without text tower.
    pub fn open(checkpoint: &Path, embedder: &EmbedderRow) -> Result<Self> {
        #[derive(Deserialize)]
        struct Options {
            activation: Option<Activation>,
        }
        let weights = Weights::open(checkpoint, &[Family::Clip])?;
        let found = sha256_of_files(weights.files())?;
        if found != embedder.checkpoint_sha256 {
            return Err(Error::Vectors(VectorError::OtherWeights {
                path: checkpoint.to_owned(),
                found,
                embedder: embedder.embedder.clone(),
                checkpoint: embedder.checkpoint.clone(),
                expected: embedder.checkpoint_sha256.clone(),
            }));
        }
        let options: Options = serde_json::from_str(&embedder.options)?;
        let clip = Clip::load(weights, options.activation, Precision::F32, &Device::flex())?;
        let similarity_factor = clip.similarity_factor();
        let tower = clip
            .text
            .ok_or_else(|| crate::error::ModelError::ModelConfig {
                reason: "the CLIP in the file has no text tower".to_owned(),
            })?;
        Ok(Self {
            tower,
            tokenizer: Tokenizer::new(),
            similarity_factor,
        })
    }

    /// Factor on the cosine of an image and a text, before the softmax over texts.
    pub fn similarity_factor(&self) -> f64 {
        self.similarity_factor
    }

    /// The vector of a text, of length 1.
    ///
    /// # Errors
    /// [`Error::ModelOutput`] if the network gives numbers that are not finite; [`Error::InvalidOption`] for a text
    /// outside of a vocabulary that is smaller than CLIP's.
    pub fn vector(&self, text: &str) -> Result<Vec<f32>> {
        let config = self.tower.config();
        let ids = self.tokenizer.ids(text, config.context);
        if let Some(id) = ids.iter().find(|id| **id as usize >= config.vocabulary) {
            return Err(Error::InvalidOption {
                what: "text for this model",
                value: text.to_owned(),
                expected: format!(
                    "tokens below {}, the size of the model's vocabulary; one of its tokens is {id}",
                    config.vocabulary
                ),
            });
        }
        let vector = self.tower.forward(&ids).into_data();
        let vector: Vec<f32> = vector.iter::<f32>().collect();
        check_finite(&vector)?;
        Ok(unit(vector))
    }

    /// The mean of the vectors of several texts, of length 1 (open_clip, `zero_shot_classifier.py`).
    ///
    /// # Errors
    /// As [`vector`](Self::vector).
    pub fn mean_vector(&self, texts: &[String]) -> Result<Vec<f32>> {
        let mut sum: Vec<f32> = Vec::new();
        for text in texts {
            let vector = self.vector(text)?;
            sum.resize(vector.len(), 0.0);
            for (sum, number) in sum.iter_mut().zip(vector) {
                *sum += number;
            }
        }
        Ok(unit(sum))
    }
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector
        .iter()
        .map(|x| f64::from(*x).powi(2))
        .sum::<f64>()
        .sqrt();
    if length > 0.0 {
        vector
            .iter_mut()
            .for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
    vector
}
