//! Training on from another head: what is carried over, and which images are new.

use super::artifact::{HeadWeights, LoadedHead};
use super::spec::HeadSpec;
use crate::Result;
use crate::error::HeadError;

/// A head that training goes on from.
#[derive(Debug, Clone)]
pub struct Parent {
    /// The head.
    pub head: LoadedHead,
    /// Train on images that came after it alone, and as many old ones times this again an epoch; `None`:
    /// on all alike.
    pub replay: Option<f64>,
}

/// Starting weights: hidden layers and the outputs of shared classes are the parent's, other outputs
/// those of `fresh`.
///
/// # Errors
/// [`HeadError::Unusable`] if the parent has other hidden layers.
pub fn carry_over(
    parent: &LoadedHead,
    spec: &HeadSpec,
    fresh: &HeadWeights,
) -> Result<HeadWeights> {
    let (old, new) = (parent.weights.widths(), spec.widths());
    if old[..old.len() - 1] != new[..new.len() - 1] {
        return Err(HeadError::Unusable {
            head: parent.row.head.clone(),
            reason: format!("its layers are {old:?}, so it cannot be trained on as {new:?}"),
        }
        .into());
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
