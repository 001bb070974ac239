//! What is said of single masks, as a training query yields it, and what it means for a class set.

use std::collections::{BTreeSet, HashMap};

use arrow::array::{Array, AsArray, BooleanArray, ListArray, RecordBatch};
use serde::{Deserialize, Serialize};

use super::query_columns::{booleans, texts};
use crate::Result;
use crate::ids::ImageId;
use crate::options::is_default;

/// What is known of a mask, for a class set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MaskClass {
    /// It shows a class, of this index.
    Shows(usize),
    /// It shows none of the classes.
    Background,
    /// It shows none of these classes, ascending, and may show another.
    ShowsNot(Vec<usize>),
}

/// A mask of which something is known.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledMask {
    /// Id of the image.
    pub image_id: ImageId,
    /// `masks.mask_index`.
    pub mask_index: i32,
    /// What is known.
    pub class: MaskClass,
    /// Row of the mask in the embeddings.
    pub(super) row: u32,
}

/// Counts of the labels on masks that a head was given, with those in its validation images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskLabelCounts {
    /// Masks that show a class.
    pub classes: u64,
    /// Masks that show none.
    pub background: u64,
    /// Masks that do not show some class.
    #[serde(default, skip_serializing_if = "is_default")]
    pub not: u64,
}

impl MaskLabelCounts {
    /// Counts some masks.
    pub fn of(masks: &[LabelledMask]) -> Self {
        let mut counts = Self::default();
        for mask in masks {
            match mask.class {
                MaskClass::Shows(_) => counts.classes += 1,
                MaskClass::Background => counts.background += 1,
                MaskClass::ShowsNot(_) => counts.not += 1,
            }
        }
        counts
    }

    /// All of them.
    pub fn all(self) -> u64 {
        self.classes + self.background + self.not
    }
}

/// What reviewers say of a mask, in words.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// It shows these labels.
    pub is: Vec<String>,
    /// It does not show these.
    pub is_not: Vec<String>,
    /// It shows nothing of any class.
    pub none: bool,
    /// It is of no use.
    pub bad: bool,
}

/// What words mean for a class set.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// They say nothing of the classes.
    Nothing,
    /// The mask is of no use.
    Bad,
    /// Reviewers contradict each other.
    Contradiction,
    /// Something is known; and whether it comes from a label outside the class set.
    Known(MaskClass, bool),
}

impl Words {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What they mean for the classes of some labels, of which there are `classes`. A label outside the class set is none
    /// of its classes, so the mask is of the background.
    pub fn meaning(&self, by_label: &HashMap<&str, usize>, classes: usize) -> Meaning {
        if self.is_empty() {
            return Meaning::Nothing;
        }
        if self.bad {
            return Meaning::Bad;
        }
        let of = |labels: &[String]| -> BTreeSet<Option<usize>> {
            let found = labels.iter();
            found
                .map(|label| by_label.get(label.as_str()).copied())
                .collect()
        };
        let outside = of(&self.is).contains(&None);
        let mut shown = of(&self.is);
        if self.none {
            shown.insert(None);
        }
        let denied: Vec<usize> = of(&self.is_not).into_iter().flatten().collect();
        let mut shown = shown.into_iter();
        match (shown.next(), shown.next()) {
            (Some(_), Some(_)) => Meaning::Contradiction,
            (Some(Some(class)), None) if denied.contains(&class) => Meaning::Contradiction,
            (Some(Some(class)), None) => Meaning::Known(MaskClass::Shows(class), false),
            (Some(None), None) => Meaning::Known(MaskClass::Background, outside),
            (None, _) if denied.is_empty() => Meaning::Nothing,
            (None, _) if denied.len() == classes => Meaning::Known(MaskClass::Background, false),
            (None, _) => Meaning::Known(MaskClass::ShowsNot(denied), false),
        }
    }
}

/// The columns of a training query with what is said of masks.
pub(super) struct WordColumns {
    is: Option<ListArray>,
    is_not: Option<ListArray>,
    none: Option<BooleanArray>,
    bad: Option<BooleanArray>,
}

impl WordColumns {
    /// Those of a batch; `None` if it has none of them.
    ///
    /// # Errors
    /// [`crate::error::HeadError::TrainingQuery`] for a column of another type.
    pub fn of(batch: &RecordBatch) -> Result<Option<Self>> {
        let columns = Self {
            is: texts(batch, "mask_is")?,
            is_not: texts(batch, "mask_is_not")?,
            none: booleans(batch, "mask_is_none")?,
            bad: booleans(batch, "mask_is_bad")?,
        };
        let some = columns.is.is_some()
            || columns.is_not.is_some()
            || columns.none.is_some()
            || columns.bad.is_some();
        Ok(some.then_some(columns))
    }

    /// What is said of the mask of a row; `None` if nothing is.
    pub fn words(&self, row: usize) -> Option<Words> {
        let list = |column: &Option<ListArray>| {
            let column = column.as_ref().filter(|column| column.is_valid(row));
            let values = column.map(|column| column.value(row));
            let values = values.as_ref().map(|values| values.as_string::<i32>());
            let texts = values
                .into_iter()
                .flat_map(|values| values.iter().flatten());
            texts.map(str::to_owned).collect()
        };
        let is_true = |column: &Option<BooleanArray>| {
            let column = column.as_ref();
            column.is_some_and(|column| column.is_valid(row) && column.value(row))
        };
        let words = Words {
            is: list(&self.is),
            is_not: list(&self.is_not),
            none: is_true(&self.none),
            bad: is_true(&self.bad),
        };
        (!words.is_empty()).then_some(words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(is: &[&str], is_not: &[&str], none: bool) -> Meaning {
        let by_label = HashMap::from([("cat", 0), ("kitten", 0), ("dog", 1), ("cow", 2)]);
        let texts = |labels: &[&str]| labels.iter().map(|it| (*it).to_owned()).collect();
        let words = Words {
            is: texts(is),
            is_not: texts(is_not),
            none,
            bad: false,
        };
        words.meaning(&by_label, 3)
    }

    #[test]
    fn words_become_classes() {
        let known = |class| Meaning::Known(class, false);
        assert_eq!(meaning(&["cat"], &[], false), known(MaskClass::Shows(0)));
        // Two words of one class agree.
        assert_eq!(
            meaning(&["cat", "kitten"], &["dog"], false),
            known(MaskClass::Shows(0))
        );
        assert_eq!(meaning(&[], &[], true), known(MaskClass::Background));
        assert_eq!(
            meaning(&["tree"], &[], false),
            Meaning::Known(MaskClass::Background, true)
        );
        assert_eq!(
            meaning(&[], &["dog", "cat"], false),
            known(MaskClass::ShowsNot(vec![0, 1]))
        );
        assert_eq!(
            meaning(&[], &["dog", "cat", "cow"], false),
            known(MaskClass::Background)
        );
        assert_eq!(meaning(&[], &["tree"], false), Meaning::Nothing);
        assert_eq!(meaning(&[], &[], false), Meaning::Nothing);
    }

    #[test]
    fn contradictions_are_seen() {
        for (is, is_not, none) in [
            (&["cat", "dog"][..], &[][..], false),
            (&["cat"], &[], true),
            (&["cat", "tree"], &[], false),
            (&["kitten"], &["cat"], false),
        ] {
            assert_eq!(
                meaning(is, is_not, none),
                Meaning::Contradiction,
                "{is:?} {is_not:?}"
            );
        }
        let bad = Words {
            bad: true,
            is: vec!["cat".to_owned()],
            ..Words::default()
        };
        assert_eq!(bad.meaning(&HashMap::new(), 3), Meaning::Bad);
    }
}
