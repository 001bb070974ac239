//! Features that an extraction kept of photos, for whoever has the same weights.

use half::f16;

use super::crop_features::KeptFeatures;
use crate::Result;
use crate::catalogue::{extractors_stored, sees_alike};
use crate::ids::{ExtractorId, ImageId};
use crate::schema::Table;
use crate::store::rows::{ExtractorRow, first_image_features};
use crate::store::{Snapshot, is_of_extractors, is_of_images};

/// The features that are kept of photos, by extractors with the same weights and precision that saw the photos alike.
pub(super) struct Kept {
    snapshot: Snapshot,
    extractors: Vec<ExtractorId>,
}

impl Kept {
    /// Those that are of use to an extractor.
    pub async fn for_extractor(snapshot: &Snapshot, row: &ExtractorRow) -> Result<Self> {
        let stored = extractors_stored(snapshot).await?;
        let alike = stored.iter().filter(|it| sees_alike(it, row));
        Ok(Self {
            snapshot: snapshot.clone(),
            extractors: alike.map(|it| it.extractor_id.clone()).collect(),
        })
    }

    /// The features of a photo, if there are any.
    pub async fn read(&self, image_id: &ImageId) -> Result<Option<KeptFeatures>> {
        if self.extractors.is_empty() {
            return Ok(None);
        }
        let scan = self.snapshot.scan(Table::ImageFeatures).await?;
        let scan = scan.filter(is_of_extractors(&self.extractors).and(is_of_images([image_id])));
        let batches = scan.limit(1)?.collect().await?;
        let Some(batch) = batches.first() else {
            return Ok(None);
        };
        let kept = first_image_features(batch)?;
        Ok(kept.map(|(sizes, values)| KeptFeatures { sizes, values }))
    }
}

impl KeptFeatures {
    /// The numbers in 32 bits.
    pub fn numbers(&self) -> Vec<f32> {
        self.values.iter().copied().map(f16::to_f32).collect()
    }
}
