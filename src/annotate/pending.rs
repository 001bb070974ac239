//! Which images are left to annotate, and how many masks each has.

use std::collections::{HashMap, HashSet};

use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::Deserialize;

use crate::Result;
use crate::ids::{HeadId, ImageId, PolicyId};
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::store::rows::{HeadRow, decode};
use crate::store::{Snapshot, is_of_images};

#[derive(Deserialize)]
struct OfImage {
    image_id: ImageId,
}

/// Of more images, whole tables are read.
const MAX_LISTED: usize = 10_000;

/// Images that are left to do.
#[derive(Debug, Default)]
pub(super) struct PendingImages {
    /// Of each image the number of masks to judge.
    pub masks: HashMap<ImageId, usize>,
    /// Images that are done already.
    pub done: u64,
    /// Whether the tables hold masks of other images too.
    pub partial: bool,
}

impl PendingImages {
    /// Images with masks of the head's extractor that a filter chooses and which have
    /// no predictions under the policy.
    ///
    /// # Errors
    /// [`crate::Error::DataFusion`] for a condition that cannot be planned, or what the store says.
    pub async fn of_masks(
        snapshot: &Snapshot,
        head: &HeadRow,
        policy_id: &PolicyId,
        images: &ImageFilter,
    ) -> Result<Self> {
        Self::counted(snapshot, head, policy_id, images, |_| true).await
    }

    /// The same, of images with predictions of the head under any other policy: what a head says of a mask does not
    /// depend on the policy.
    ///
    /// # Errors
    /// As [`PendingImages::of_masks`].
    pub async fn of_predictions(
        snapshot: &Snapshot,
        head: &HeadRow,
        policy_id: &PolicyId,
        images: &ImageFilter,
    ) -> Result<Self> {
        let others = predictions_of_other_policies(&head.head_id, policy_id);
        let predicted = snapshot.image_ids(Table::Predictions, others, None).await?;
        let is_predicted = |image: &ImageId| predicted.contains(image);
        Self::counted(snapshot, head, policy_id, images, is_predicted).await
    }

    async fn counted(
        snapshot: &Snapshot,
        head: &HeadRow,
        policy_id: &PolicyId,
        images: &ImageFilter,
        is_possible: impl Fn(&ImageId) -> bool,
    ) -> Result<Self> {
        let chosen = images.image_ids(snapshot).await?;
        let done = images_annotated(snapshot, &head.head_id, policy_id, None).await?;
        let mut pending = Self::default();
        let mut done_here = HashSet::new();
        let scan = snapshot.scan(Table::Masks).await?;
        let of_extractor = col("extractor_id").eq(lit(head.extractor_id.as_str()));
        let scan = scan.filter(of_extractor).project(&["image_id"])?;
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
                } else {
                    *pending.masks.entry(image_id).or_default() += 1;
                }
            }
        }
        pending.done = done_here.len() as u64;
        Ok(pending)
    }

    /// What says of a row that it is of one of the images; none if every row is, or they are too many to list.
    pub fn filter(&self) -> Option<Expr> {
        let is_short = self.masks.len() <= MAX_LISTED;
        (self.partial && is_short).then(|| is_of_images(self.masks.keys()))
    }
}

/// Rows of `predictions` of a head under a policy.
pub(crate) fn predictions_of(head_id: &HeadId, policy_id: &PolicyId) -> Expr {
    let of_head = col("head_id").eq(lit(head_id.as_str()));
    of_head.and(col("policy_id").eq(lit(policy_id.as_str())))
}

/// Rows of `predictions` of a head under other policies.
pub(super) fn predictions_of_other_policies(head_id: &HeadId, policy_id: &PolicyId) -> Expr {
    let of_head = col("head_id").eq(lit(head_id.as_str()));
    of_head.and(col("policy_id").not_eq(lit(policy_id.as_str())))
}

/// Images that have predictions of a head under a policy: all, or those among some.
pub(crate) async fn images_annotated(
    snapshot: &Snapshot,
    head_id: &HeadId,
    policy_id: &PolicyId,
    among: Option<Vec<&ImageId>>,
) -> Result<HashSet<ImageId>> {
    let of_head = predictions_of(head_id, policy_id);
    snapshot.image_ids(Table::Predictions, of_head, among).await
}
