//! Scenes that are drawn ([`crate::scenes`]): photos of the demo's objects, which need no model.

use std::io::Cursor;

use async_trait::async_trait;
use image::ImageFormat;
use serde_json::{Map, Value};

use super::{Generator, Picture, Prompt};
use crate::error::CollectError;
use crate::scenes::{Kind, SceneGenerator};
use crate::task::blocking;
use crate::{Error, Result};

const NAME: &str = "scenes";
/// Length of a photo's longer side, in pixels.
const LONGEST: std::ops::RangeInclusive<u32> = 160..=224;

/// The generator. It draws one object of the prompt's label.
#[derive(Debug, Clone, Copy, Default)]
pub struct SceneDrawer;

fn kind_of(label: &str) -> Result<Kind> {
    let found = Kind::ALL.iter().find(|kind| kind.name() == label);
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
    Ok(*found.ok_or_else(|| CollectError::Generator {
        generator: NAME,
        reason: format!("it draws {}, not '{label}'", names.join(", ")),
    })?)
}

#[async_trait]
impl Generator for SceneDrawer {
    fn name(&self) -> &'static str {
        NAME
    }

    fn settings(&self) -> Map<String, Value> {
        Map::new()
    }

    async fn prepare(&self, labels: &[&str]) -> Result<()> {
        labels.iter().try_for_each(|label| kind_of(label).map(drop))
    }

    async fn generate(&self, prompt: &Prompt) -> Result<Picture> {
        let kind = kind_of(&prompt.label)?;
        let seed = u64::from(prompt.seed);
        blocking("drawing a scene", move || {
            let mut generator = SceneGenerator::new(seed);
            let size = generator.size(LONGEST);
            let scene = generator.scene(size, &[kind]);
            let mut bytes = Cursor::new(Vec::new());
            let written = scene.photo.write_to(&mut bytes, ImageFormat::Png);
            written.map_err(|err| Error::EncodeImage {
                reason: err.to_string(),
            })?;
            Ok(bytes.into_inner())
        })
        .await
    }
}
