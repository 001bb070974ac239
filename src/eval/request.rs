//! What to evaluate, and as parameters of reports.

use std::collections::HashMap;

use serde::Serialize;

use crate::selection::ImageFilter;

/// Whose predictions are compared with what.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct EvalRequest {
    /// Name or id of the head.
    pub head: String,
    /// Which images. The data set is the one whose annotations count; none: the only one that has any.
    pub images: ImageFilter,
    /// Class set to evaluate in, where it is not the head's own: a coarser one, or one over the same labels.
    pub classes: Option<String>,
    /// Id of the annotation policy; none: the one annotated with last.
    pub policy: Option<String>,
    /// An expression over the columns of `images`: figures for each of its values.
    pub slice: Option<String>,
}

/// The parameters of reports that a request may give a value to.
pub(super) const PARAMETERS: [&str; 5] = ["head", "dataset", "split", "classes", "policy"];

impl EvalRequest {
    /// The parameters of reports that it gives a value to.
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
