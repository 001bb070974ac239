//! Warm start from another head: what is carried over, and which images are new.

use std::collections::HashSet;

use super::closed_form::NEVER;
use super::query::TrainingQuery;
use super::spec::HeadSpec;
use super::unusable::unusable;
use super::weights::{HeadWeights, LoadedHead};
use crate::Result;
use crate::ids::ImageId;
use crate::store::rows::HeadRow;
use crate::store::{Snapshot, Store};

/// A head that training continues from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parent {
    /// Name or id of the head.
    pub head: String,
    /// Train only on images that were added after it, plus this many old ones per new image in each epoch; `None`
    /// trains on all images alike.
    pub replay: Option<f64>,
}

/// The store as it was when a head was trained.
pub(super) async fn when_trained(store: &Store, head: &HeadRow) -> Result<Snapshot> {
    let version = head.store_version.and_then(|it| u64::try_from(it).ok());
    let version = version.ok_or_else(|| {
        unusable(
            &head.head,
            "it was trained in another store, so nothing tells which images are new to it",
        )
    })?;
    store.snapshot_at(version).await
}

/// The images that a head's own query yielded when it was trained, and the number of their masks.
pub(super) async fn images_when_trained(
    store: &Store,
    head: &HeadRow,
) -> Result<(HashSet<ImageId>, u64)> {
    let then = when_trained(store, head).await?;
    TrainingQuery::new(&head.query).images(&then).await
}

/// A head to start from, for heads of one class set.
#[derive(Debug, Clone)]
pub struct Start {
    parent: HeadWeights,
    /// Names of the parent's classes, and whether it has an output for the background.
    classes: Vec<String>,
    background: bool,
    seed: u64,
}

impl Start {
    /// Starts from a parent; `seed` determines the weights of outputs that it does not have.
    ///
    /// # Errors
    /// [`crate::error::HeadError::Unusable`] if the parent has another embedding length or other hidden layers than
    /// `spec`.
    pub fn new(parent: &LoadedHead, spec: &HeadSpec, seed: u64) -> Result<Self> {
        let (old, new) = (parent.weights.widths(), spec.widths());
        if old.split_last().map(|(_, hidden)| hidden) != new.split_last().map(|(_, hidden)| hidden)
        {
            return Err(unusable(
                &parent.row.head,
                format!("its layers are {old:?}, so it cannot be trained on as {new:?}"),
            ));
        }
        Ok(Self {
            parent: parent.weights.clone(),
            classes: parent.spec.head.classes.clone(),
            background: parent.spec.head.background,
            seed,
        })
    }

    /// Starts from weights for the given classes, without an output for the background.
    pub fn of_weights(weights: HeadWeights, classes: Vec<String>) -> Self {
        Self {
            parent: weights,
            classes,
            background: false,
            seed: 0,
        }
    }

    /// The weights that a member of a head starts from: the hidden layers and the outputs of shared classes, and of the
    /// background, are the parent's, the other outputs are random.
    #[allow(
        clippy::indexing_slicing,
        reason = "both heads have layers and an output a class: widths that differ from the spec are refused when a head is loaded"
    )]
    pub fn of(&self, spec: &HeadSpec, member: usize) -> HeadWeights {
        let mut carried = HeadWeights::random(spec, self.seed.wrapping_add(member as u64));
        let parent = self.parent.member(member);
        let (from, into) = (parent.layers(), carried.layers_mut());
        let last = into.len() - 1;
        into[..last].clone_from_slice(&from[..last]);
        let old_outputs = self.classes.len() + usize::from(self.background);
        let new_outputs = spec.outputs();
        let (from, into) = (&from[last], &mut into[last]);
        for output in 0..new_outputs {
            let was = match spec.classes.get(output) {
                Some(class) => self.classes.iter().position(|known| known == class),
                None => self.background.then_some(self.classes.len()),
            };
            // An output that had no example, and was never to be predicted, begins anew.
            let Some(was) = was.filter(|was| from.1[*was] > NEVER) else {
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
        carried
    }
}
