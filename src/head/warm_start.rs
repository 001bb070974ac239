//! Warm start from another head: what is carried over, and which images are new.

use std::collections::HashSet;

use super::query::TrainingQuery;
use super::spec::HeadSpec;
use super::unusable::unusable;
use super::weights::{HeadWeights, LoadedHead};
use crate::Result;
use crate::ids::ImageId;
use crate::store::Store;
use crate::store::rows::HeadRow;

/// A head that training continues from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parent {
    /// Name or id of the head.
    pub head: String,
    /// Train only on images that were added after it, plus this many old ones per new image in each epoch; `None`
    /// trains on all images alike.
    pub replay: Option<f64>,
}

/// The images that a head's own query yielded when it was trained, and the number of their masks.
pub(super) async fn images_when_trained(
    store: &Store,
    head: &HeadRow,
) -> Result<(HashSet<ImageId>, u64)> {
    let version = head.store_version.and_then(|it| u64::try_from(it).ok());
    let version = version.ok_or_else(|| {
        unusable(
            &head.head,
            "it was trained in another store, so nothing tells which images are new to it",
        )
    })?;
    let then = store.snapshot_at(version).await?;
    TrainingQuery::new(&head.query).images(&then).await
}

/// Starting weights: the hidden layers and the outputs of shared classes are the parent's, the other outputs those of
/// `fresh`.
///
/// # Errors
/// [`crate::error::HeadError::Unusable`] if the parent has another embedding length or other hidden layers.
#[allow(
    clippy::indexing_slicing,
    reason = "both heads have layers and an output a class: widths that differ from the spec are refused when a head is loaded"
)]
pub fn carry_over(
    parent: &LoadedHead,
    spec: &HeadSpec,
    fresh: &HeadWeights,
) -> Result<HeadWeights> {
    let (old, new) = (parent.weights.widths(), spec.widths());
    if old[..old.len() - 1] != new[..new.len() - 1] {
        return Err(unusable(
            &parent.row.head,
            format!("its layers are {old:?}, so it cannot be trained on as {new:?}"),
        ));
    }
    let mut carried = fresh.clone();
    let (from, into) = (parent.weights.layers(), carried.layers_mut());
    let last = into.len() - 1;
    into[..last].clone_from_slice(&from[..last]);
    let (old_outputs, new_outputs) = (old[old.len() - 1], spec.classes.len());
    let (from, into) = (&from[last], &mut into[last]);
    for (output, class) in spec.classes.iter().enumerate() {
        let known = &parent.spec.head.classes;
        let Some(was) = known.iter().position(|known| known == class) else {
            continue;
        };
        into.1[output] = from.1[was];
        let (old_rows, new_rows) = (
            from.0.chunks_exact(old_outputs),
            into.0.chunks_exact_mut(new_outputs),
        );
        for (old, new) in old_rows.zip(new_rows) {
            new[output] = old[was];
        }
    }
    Ok(carried)
}
