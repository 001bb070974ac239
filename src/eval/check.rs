//! What must hold before an evaluation means anything.

use std::collections::BTreeSet;

use super::request::EvalRequest;
use crate::classes::ClassSet;
use crate::error::EvalError;
use crate::store::Snapshot;
use crate::store::rows::HeadRow;
use crate::{Error, Result};

/// What reports call pixels of no class.
const BACKGROUND: &str = "background";

/// The classes a head is judged in, and those of them that no annotated object has.
///
/// # Errors
/// [`EvalError::Classes`] if a class is called as the background is, a class of the head would count as two, none of its classes counts as any, or no
/// annotated object is of a class; [`crate::error::CatalogueError`].
pub(super) async fn evaluated_classes(
    snapshot: &Snapshot,
    head: &HeadRow,
    request: &EvalRequest,
    categories: &BTreeSet<String>,
) -> Result<ClassSet> {
    let own = head.class_set_at_version();
    let own = ClassSet::load(snapshot, &own).await?;
    let judged = match &request.classes {
        None => own.clone(),
        Some(name) => ClassSet::load(snapshot, name).await?,
    };
    let fail = |reason: String| Error::Eval(EvalError::Classes { reason });
    if judged.classes.iter().any(|class| class.name == BACKGROUND) {
        return Err(fail(format!(
            "class set '{}' has a class '{BACKGROUND}', which is what pixels of no class are called; evaluate in a set that calls \
             it otherwise",
            judged.name
        )));
    }
    let mut counts = false;
    for (class, as_classes) in own.classes.iter().zip(own.places_in(&judged)) {
        counts |= !as_classes.is_empty();
        if as_classes.len() > 1 {
            let names: Vec<&str> = as_classes
                .iter()
                .filter_map(|at| judged.classes.get(*at))
                .map(|class| class.name.as_str())
                .collect();
            return Err(fail(format!(
                "class '{}' of head '{}' would be {} of '{}' at once; judge it in a set that is as coarse",
                class.name,
                head.head,
                names.join(" and "),
                judged.name
            )));
        }
    }
    if !counts {
        return Err(fail(format!(
            "no class of head '{}' ('{}') has a label of class set '{}'",
            head.head, own.name, judged.name
        )));
    }
    if !judged
        .classes
        .iter()
        .any(|class| class.labels.iter().any(|label| categories.contains(label)))
    {
        let some = |words: Vec<&str>| words.into_iter().take(5).collect::<Vec<_>>().join(", ");
        let labels = judged.classes.iter().flat_map(|class| &class.labels);
        return Err(fail(format!(
            "no annotated object is of a class of '{}'; its labels are {}, ..., annotated are {}, ...",
            judged.name,
            some(labels.map(String::as_str).collect()),
            some(categories.iter().map(String::as_str).collect())
        )));
    }
    Ok(judged)
}
