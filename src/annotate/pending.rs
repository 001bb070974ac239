//! Which images are left to annotate, and how many masks each has.

use std::collections::{HashMap, HashSet};

use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::Deserialize;

use super::common::Common;
use crate::Result;
use crate::head::HeadInputs;
use crate::ids::{HeadId, ImageId, PolicyId};
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::store::rows::decode;
use crate::store::{Snapshot, is_of_extractors, is_of_images};
use crate::vectors::images_with_vectors;

#[derive(Deserialize)]
struct OfImage {
    image_id: ImageId,
}

/// For more images than this, whole tables are read instead of filtering by id.
const MAX_LISTED: usize = 10_000;

/// Maximum number of masks whose vectors are held in memory at once, 150 MB of 768 numbers each.
const MASKS_HELD: usize = 100_000;

/// Images whose masks are read together.
#[derive(Debug, PartialEq)]
pub(super) enum Chunk {
    /// All that the extractor has; those of other images are left out later.
    All,
    /// These.
    Images(Vec<ImageId>),
}

/// Images that are left to annotate.
#[derive(Debug, Default)]
pub(super) struct PendingImages {
    /// Number of masks to predict in each image.
    pub masks: HashMap<ImageId, usize>,
    /// Number of images that are already done.
    pub done: u64,
    /// Number of images that cannot be annotated.
    pub impossible: u64,
    /// Whether the tables also hold masks of other images.
    pub partial: bool,
}

impl PendingImages {
    /// Images that match a filter, have masks of the head's extractors and the vectors that it reads, and have no
    /// predictions under the policy.
    ///
    /// # Errors
    /// [`crate::Error::DataFusion`] for a condition that cannot be planned; errors of the store.
    pub async fn of_masks(
        snapshot: &Snapshot,
        common: &Common,
        images: &ImageFilter,
        inputs: &HeadInputs,
    ) -> Result<Self> {
        let mut embedded: Option<HashSet<ImageId>> = None;
        for (embedder_id, _) in inputs.embedders() {
            let done =
                images_with_vectors(snapshot, embedder_id, &common.head.extractor_id).await?;
            embedded = Some(match embedded {
                Some(others) => others.intersection(&done).cloned().collect(),
                None => done,
            });
        }
        let has_vectors = |image: &ImageId| embedded.as_ref().is_none_or(|it| it.contains(image));
        Self::counted(snapshot, common, images, has_vectors).await
    }

    /// Like [`PendingImages::of_masks`], but only images with predictions of the head under another policy, because
    /// what a head predicts for a mask does not depend on the policy.
    ///
    /// # Errors
    /// As [`PendingImages::of_masks`].
    pub async fn of_predictions(
        snapshot: &Snapshot,
        common: &Common,
        images: &ImageFilter,
    ) -> Result<Self> {
        let others = predictions_of_other_policies(&common.head.head_id, &common.policy_id);
        let predicted = snapshot.image_ids(Table::Predictions, others, None).await?;
        let is_predicted = |image: &ImageId| predicted.contains(image);
        Self::counted(snapshot, common, images, is_predicted).await
    }

    async fn counted(
        snapshot: &Snapshot,
        common: &Common,
        images: &ImageFilter,
        is_possible: impl Fn(&ImageId) -> bool,
    ) -> Result<Self> {
        let chosen = images.image_ids(snapshot).await?;
        let done = images_annotated(snapshot, &common.head.head_id, &common.policy_id).await?;
        let mut pending = Self::default();
        let (mut done_here, mut impossible) = (HashSet::new(), HashSet::new());
        let scan = snapshot.scan(Table::Masks).await?;
        let of_head = is_of_extractors(&common.extractors);
        let scan = scan.filter(of_head).project(&["image_id"])?;
        let mut rows = scan.stream().await?;
        while let Some(batch) = rows.next().await {
            for OfImage { image_id } in decode(Table::Masks, &batch?)? {
                if !chosen.contains(&image_id) {
                    pending.partial = true;
                } else if done.contains(&image_id) {
                    pending.partial = true;
                    done_here.insert(image_id);
                } else if !is_possible(&image_id) {
                    pending.partial = true;
                    impossible.insert(image_id);
                } else {
                    *pending.masks.entry(image_id).or_default() += 1;
                }
            }
        }
        pending.done = done_here.len() as u64;
        pending.impossible = impossible.len() as u64;
        Ok(pending)
    }

    /// The images in parts whose masks are read together: one for all, or, where vectors are held in memory beside them,
    /// of a bounded number of masks.
    pub fn chunks(&self, has_vectors: bool) -> Vec<Chunk> {
        let is_listed = self.partial && self.masks.len() <= MAX_LISTED;
        if !has_vectors && !is_listed {
            return vec![Chunk::All];
        }
        let mut ids: Vec<&ImageId> = self.masks.keys().collect();
        ids.sort_unstable();
        if !has_vectors {
            return vec![Chunk::Images(ids.into_iter().cloned().collect())];
        }
        let (mut chunks, mut chunk, mut held) = (Vec::new(), Vec::new(), 0);
        for id in ids {
            let masks = self.masks.get(id).copied().unwrap_or(0);
            let is_full = held + masks > MASKS_HELD || chunk.len() >= MAX_LISTED;
            if is_full && !chunk.is_empty() {
                chunks.push(Chunk::Images(std::mem::take(&mut chunk)));
                held = 0;
            }
            held += masks;
            chunk.push(id.clone());
        }
        if !chunk.is_empty() {
            chunks.push(Chunk::Images(chunk));
        }
        chunks
    }

    /// A filter for the rows of these images; `None` if every row matches or there are too many images to list.
    pub fn filter(&self) -> Option<Expr> {
        let is_short = self.masks.len() <= MAX_LISTED;
        (self.partial && is_short).then(|| is_of_images(self.masks.keys()))
    }
}

/// A filter for the predictions of a head under a policy.
pub(crate) fn predictions_of(head_id: &HeadId, policy_id: &PolicyId) -> Expr {
    let of_head = col("head_id").eq(lit(head_id.as_str()));
    of_head.and(col("policy_id").eq(lit(policy_id.as_str())))
}

/// A filter for the predictions of a head under other policies.
pub(super) fn predictions_of_other_policies(head_id: &HeadId, policy_id: &PolicyId) -> Expr {
    let of_head = col("head_id").eq(lit(head_id.as_str()));
    of_head.and(col("policy_id").not_eq(lit(policy_id.as_str())))
}

/// Images that have predictions of a head under a policy.
async fn images_annotated(
    snapshot: &Snapshot,
    head_id: &HeadId,
    policy_id: &PolicyId,
) -> Result<HashSet<ImageId>> {
    let of_head = predictions_of(head_id, policy_id);
    snapshot.image_ids(Table::Predictions, of_head, None).await
}
