//! What all predictions of a run have in common: the head, the policy, and whose masks they are of.

use super::decider::Decider;
use super::policy::Policy;
use crate::Result;
use crate::catalogue::{extractor_of_mask, with_prompted};
use crate::head::StoredSpec;
use crate::ids::{ExtractorId, PolicyId};
use crate::store::Snapshot;
use crate::store::rows::HeadRow;

/// What all predictions of a run have in common.
pub(super) struct Common {
    pub head: HeadRow,
    /// The head's extractor and, if there is one, that of the masks which people added beside its masks.
    pub extractors: Vec<ExtractorId>,
    pub classes: Vec<String>,
    pub policy_id: PolicyId,
    pub policy: String,
}

impl Common {
    /// # Errors
    /// [`crate::Error::InvalidOption`] for a policy of a class that the head does not have; errors of the store.
    pub async fn of(snapshot: &Snapshot, head: HeadRow, policy: &Policy) -> Result<Self> {
        let classes = StoredSpec::of_row(&head)?.head.classes;
        // A class that is not there is an error even where there is nothing to do.
        Decider::new(policy, &classes)?;
        Ok(Self {
            classes,
            extractors: with_prompted(snapshot, &head.extractor_id).await?,
            policy_id: policy.id()?,
            policy: policy.to_json()?,
            head,
        })
    }

    /// The extractor of a mask with an index.
    pub fn extractor_of(&self, mask_index: i32) -> &ExtractorId {
        extractor_of_mask(&self.extractors, mask_index).unwrap_or(&self.head.extractor_id)
    }
}
