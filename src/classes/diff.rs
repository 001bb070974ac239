//! Differences between two class sets.

use serde::Serialize;

use super::{Class, ClassSet};

/// How a class set differs from an older one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ClassSetDiff {
    /// Classes that only the newer set has.
    pub added: Vec<String>,
    /// Classes that only the older set has.
    pub removed: Vec<String>,
    /// Classes of both sets whose labels differ.
    pub relabelled: Vec<RelabelledClass>,
    /// Classes of both sets whose index differs.
    pub moved: Vec<String>,
    /// Classes of both sets whose id, supercategory or search words differ; this affects exports and collecting, but not
    /// heads.
    pub described: Vec<String>,
}

/// A class whose labels changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelabelledClass {
    /// Name of the class.
    pub class: String,
    /// Labels that map to the class now and did not before.
    pub labels_added: Vec<String>,
    /// Labels that mapped to the class before and no longer do.
    pub labels_removed: Vec<String>,
}

impl ClassSetDiff {
    /// The changes that turn `old` into `new`.
    pub fn between(old: &ClassSet, new: &ClassSet) -> Self {
        let find = |set: &ClassSet, name: &str| {
            let at = set.classes.iter().position(|class| class.name == name);
            at.and_then(|at| set.classes.get(at).cloned().map(|class| (at, class)))
        };
        let mut diff = Self::default();
        for (index, class) in new.classes.iter().enumerate() {
            let Some((was_at, was)) = find(old, &class.name) else {
                diff.added.push(class.name.clone());
                continue;
            };
            if was_at != index {
                diff.moved.push(class.name.clone());
            }
            let described = |class: &Class| {
                (
                    class.external_id,
                    class.supercategory.clone(),
                    class.search.clone(),
                )
            };
            if described(&was) != described(class) {
                diff.described.push(class.name.clone());
            }
            let (labels_added, labels_removed) = (beyond(class, &was), beyond(&was, class));
            if !labels_added.is_empty() || !labels_removed.is_empty() {
                diff.relabelled.push(RelabelledClass {
                    class: class.name.clone(),
                    labels_added,
                    labels_removed,
                });
            }
        }
        let gone = |class: &&Class| find(new, &class.name).is_none();
        let removed = old.classes.iter().filter(gone);
        diff.removed = removed.map(|class| class.name.clone()).collect();
        diff
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Labels of `a` that `b` does not have.
fn beyond(a: &Class, b: &Class) -> Vec<String> {
    let labels = a.labels.iter().filter(|label| !b.labels.contains(label));
    labels.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::class;
    use super::*;

    #[test]
    fn every_kind_of_change_is_told() {
        let set = |classes| ClassSet::new("s", classes).unwrap();
        let old = set(vec![
            class("cat", &["cat"]),
            class("dog", &["dog", "puppy"]),
            class("cow", &["cow"]),
        ]);
        let new = set(vec![
            class("dog", &["dog", "hound"]),
            class("cat", &["cat"]),
            class("owl", &["owl"]),
        ]);
        let diff = ClassSetDiff::between(&old, &new);
        assert_eq!(diff.added, ["owl"]);
        assert_eq!(diff.removed, ["cow"]);
        assert_eq!(diff.moved, ["dog", "cat"]);
        assert_eq!(diff.relabelled[0].labels_added, ["hound"]);
        assert_eq!(diff.relabelled[0].labels_removed, ["puppy"]);
        assert!(ClassSetDiff::between(&old, &old).is_empty());
    }
}
