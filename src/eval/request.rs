//! What to evaluate, and how that translates into parameters of queries.

use std::collections::HashMap;

use serde::Serialize;

use crate::selection::ImageFilter;

/// Which predictions are evaluated, and what they are compared with.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EvalRequest {
    /// Name or id of the head.
    pub head: String,
    /// Filter for the images. The data set is the one whose annotations count; `None` for the only one that has any.
    pub images: ImageFilter,
    /// Class set to evaluate in, if it is not the head's own: a coarser one, or one over the same labels.
    pub classes: Option<String>,
    /// Id of the annotation policy; `None` for the one that was used last.
    pub policy: Option<String>,
    /// An expression over the columns of `images`; metrics are computed for each of its values.
    pub slice: Option<String>,
}

/// Parameters of queries that a request may set.
pub(super) const PARAMETERS: [&str; 5] = ["head", "dataset", "split", "classes", "policy"];

impl EvalRequest {
    /// The parameters among `names` that the request sets.
    pub(super) fn parameters(&self, names: &[&str]) -> HashMap<String, String> {
        let given = [
            ("head", Some(&self.head)),
            ("dataset", self.images.dataset.as_ref()),
            ("split", self.images.split.as_ref()),
            ("classes", self.classes.as_ref()),
            ("policy", self.policy.as_ref()),
        ];
        let given = given.into_iter().filter(|(name, _)| names.contains(name));
        given
            .filter_map(|(name, value)| Some((name.to_owned(), value?.clone())))
            .collect()
    }
}
