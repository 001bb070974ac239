//! What must hold before an evaluation means anything.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use serde::Deserialize;

use super::request::EvalRequest;
use crate::classes::ClassSet;
use crate::error::EvalError;
use crate::schema::Table;
use crate::store::Snapshot;
use crate::store::rows::{HeadRow, decode};
use crate::{Error, Result};

/// What reports call pixels of no class.
const BACKGROUND: &str = "background";

/// Categories of the annotated objects, by data set.
pub(crate) async fn annotated_categories(
    snapshot: &Snapshot,
) -> Result<BTreeMap<String, BTreeSet<String>>> {
    #[derive(Deserialize)]
    struct Annotated {
        dataset: String,
        category: Option<String>,
    }
    let scan = snapshot.scan(Table::GroundTruth).await?;
    let mut rows = scan.project(&["dataset", "category"])?.stream().await?;
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while let Some(batch) = rows.next().await {
        for row in decode::<Annotated>(Table::GroundTruth, &batch?)? {
            found.entry(row.dataset).or_default().extend(row.category);
        }
    }
    Ok(found)
}

/// The data set to evaluate against.
///
/// # Errors
/// [`EvalError::GroundTruth`] if it has no annotations, or there are several to choose from.
pub(crate) fn choose_dataset(
    asked: Option<&str>,
    annotated: &BTreeMap<String, BTreeSet<String>>,
) -> Result<String> {
    let names: Vec<&str> = annotated.keys().map(String::as_str).collect();
    let fail = |reason: String| Error::Eval(EvalError::GroundTruth { reason });
    match (asked, &names[..]) {
        (_, []) => Err(fail(
            "the store holds no annotations; 'grainstore ingest coco' or 'ingest voc' brings some in".to_owned(),
        )),
        (Some(asked), names) if names.contains(&asked) => Ok(asked.to_owned()),
        (Some(asked), names) => Err(fail(format!(
            "data set '{asked}' has no annotations; these have: {}",
            names.join(", ")
        ))),
        (None, [only]) => Ok((*only).to_owned()),
        (None, names) => Err(fail(format!(
            "several data sets have annotations; choose one with --dataset: {}",
            names.join(", ")
        ))),
    }
}

/// The classes a head is judged in, and those of them that no annotated object has.
///
/// # Errors
/// [`EvalError::Classes`] if a class is called as the background is, a class of the head would count as two, none of its classes counts as any, or no
/// annotated object is of a class; [`crate::error::HeadError::NoSuchClassSet`].
pub(super) async fn judged_classes(
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
            "class set '{}' has a class '{BACKGROUND}', which is what pixels of no class are called; judge in a set that calls \
             it otherwise ('grainstore classes add --file', with its labels)",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_chosen_or_asked_for() {
        let of = |names: &[&str]| -> BTreeMap<String, BTreeSet<String>> {
            let pairs = names
                .iter()
                .map(|name| ((*name).to_owned(), BTreeSet::new()));
            pairs.collect()
        };
        assert_eq!(choose_dataset(None, &of(&["coco"])).unwrap(), "coco");
        assert_eq!(
            choose_dataset(Some("voc"), &of(&["coco", "voc"])).unwrap(),
            "voc"
        );
        for (asked, names, part) in [
            (None, &[][..], "holds no annotations"),
            (None, &["a", "b"][..], "choose one with --dataset: a, b"),
            (
                Some("c"),
                &["a"][..],
                "'c' has no annotations; these have: a",
            ),
        ] {
            let message = choose_dataset(asked, &of(names)).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
