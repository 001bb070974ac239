//! Preconditions for a meaningful evaluation.

use std::collections::BTreeSet;

use super::request::EvalRequest;
use crate::classes::ClassSet;
use crate::error::EvalError;
use crate::store::Snapshot;
use crate::store::rows::HeadRow;
use crate::{Error, Result};

/// The queries' name for pixels of no class.
const BACKGROUND: &str = "background";

/// The classes that a head is evaluated in.
///
/// # Errors
/// [`EvalError::Classes`] if a class has the name of the background, a class of the head would count as two, none of
/// the head's classes counts as any, or no annotated object is of a class; [`crate::error::CatalogueError`].
pub(super) async fn evaluated_classes(
    snapshot: &Snapshot,
    head: &HeadRow,
    request: &EvalRequest,
    categories: &BTreeSet<String>,
) -> Result<ClassSet> {
    let own = head.class_set_at_version();
    let own = ClassSet::load(snapshot, &own).await?;
    let evaluated = match &request.classes {
        None => own.clone(),
        Some(name) => ClassSet::load(snapshot, name).await?,
    };
    let fail = |reason: String| Error::Eval(EvalError::Classes { reason });
    annotated_classes(&evaluated, categories)?;
    let mut counts = false;
    for (class, as_classes) in own.classes.iter().zip(own.places_in(&evaluated)) {
        counts |= !as_classes.is_empty();
        if as_classes.len() > 1 {
            let names: Vec<&str> = as_classes
                .iter()
                .filter_map(|at| evaluated.classes.get(*at))
                .map(|class| class.name.as_str())
                .collect();
            return Err(fail(format!(
                "class '{}' of head '{}' would be {} of '{}' at once; evaluate it in a set that is as coarse",
                class.name,
                head.head,
                names.join(" and "),
                evaluated.name
            )));
        }
    }
    if !counts {
        return Err(fail(format!(
            "no class of head '{}' ('{}') has a label of class set '{}'",
            head.head, own.name, evaluated.name
        )));
    }
    Ok(evaluated)
}

/// Checks that annotated objects can be told apart in the classes of a set.
///
/// # Errors
/// [`EvalError::Classes`] if a class has the name of the background, or no annotated object is of a class.
pub(super) fn annotated_classes(evaluated: &ClassSet, categories: &BTreeSet<String>) -> Result<()> {
    let fail = |reason: String| Error::Eval(EvalError::Classes { reason });
    if evaluated
        .classes
        .iter()
        .any(|class| class.name == BACKGROUND)
    {
        return Err(fail(format!(
            "class set '{}' has a class '{BACKGROUND}', which is what pixels of no class are called; evaluate in a set that calls \
             it otherwise",
            evaluated.name
        )));
    }
    if !evaluated
        .classes
        .iter()
        .any(|class| class.labels.iter().any(|label| categories.contains(label)))
    {
        let some = |words: Vec<&str>| words.into_iter().take(5).collect::<Vec<_>>().join(", ");
        let labels = evaluated.classes.iter().flat_map(|class| &class.labels);
        return Err(fail(format!(
            "no annotated object is of a class of '{}'; its labels are {}, ..., annotated are {}, ...",
            evaluated.name,
            some(labels.map(String::as_str).collect()),
            some(categories.iter().map(String::as_str).collect())
        )));
    }
    Ok(())
}
