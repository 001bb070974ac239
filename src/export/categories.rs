//! The categories of an export: the classes of a class set in declared order, each with an id and a supercategory.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::classes::ClassSet;
use crate::error::HeadError;
use crate::{Error, Result};

/// An entry of `categories` in a COCO file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// The class's own id if every class has one, otherwise its position, counted from 1.
    pub id: i64,
    /// Name of the class.
    pub name: String,
    /// Name of a coarser class that contains this one, or the class's own name if there is none.
    pub supercategory: String,
}

/// Turns the classes into categories, in order. If a coarser class set is given, each supercategory is the name of the
/// class of that set which contains the category's class.
///
/// # Errors
/// [`HeadError::ClassSet`] if a class belongs to more than one class of the coarser set.
pub fn plan_categories(classes: &ClassSet, coarser: Option<&ClassSet>) -> Result<Vec<Category>> {
    let own: HashSet<i64> = classes
        .classes
        .iter()
        .filter_map(|c| c.external_id)
        .collect();
    let keep_ids = own.len() == classes.classes.len();
    let mut categories = Vec::with_capacity(classes.classes.len());
    for (class, number) in classes.classes.iter().zip(1..) {
        categories.push(Category {
            id: class.external_id.filter(|_| keep_ids).unwrap_or(number),
            name: class.name.clone(),
            supercategory: class.supercategory.clone().unwrap_or(class.name.clone()),
        });
    }
    let Some(coarser) = coarser else {
        return Ok(categories);
    };
    for (category, places) in categories.iter_mut().zip(classes.places_in(coarser)) {
        let mut names = places.iter().filter_map(|at| coarser.classes.get(*at));
        if let Some(class) = names.next() {
            category.supercategory.clone_from(&class.name);
        }
        if let Some(other) = names.next() {
            return Err(Error::Head(HeadError::ClassSet {
                class_set: coarser.name.clone(),
                reason: format!(
                    "it is no coarser set: class '{}' of '{}' would be part of '{}' and of '{}'",
                    category.name, classes.name, category.supercategory, other.name
                ),
            }));
        }
    }
    Ok(categories)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::Class;

    fn set(name: &str, classes: &[(&str, Option<i64>, &[&str])]) -> ClassSet {
        let class = |(name, id, labels): &(&str, Option<i64>, &[&str])| Class {
            name: (*name).to_owned(),
            supercategory: None,
            external_id: *id,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            search: Vec::new(),
        };
        ClassSet::new(name, classes.iter().map(class).collect()).unwrap()
    }

    #[test]
    fn ids_are_kept_where_every_class_has_one() {
        let ids = |classes: &[(&str, Option<i64>, &[&str])]| -> Vec<i64> {
            let categories = plan_categories(&set("s", classes), None).unwrap();
            categories.iter().map(|category| category.id).collect()
        };
        let (cat, dog): (&[&str], &[&str]) = (&["cat"], &["dog"]);
        assert_eq!(
            ids(&[("cat", Some(17), cat), ("dog", Some(3), dog)]),
            [17, 3]
        );
        assert_eq!(ids(&[("cat", Some(17), cat), ("dog", None, dog)]), [1, 2]);
        assert_eq!(ids(&[("cat", Some(3), cat), ("dog", Some(3), dog)]), [1, 2]);
    }

    #[test]
    fn supercategories_come_from_a_coarser_set() {
        let fine = set("fine", &[("cat", None, &["cat"]), ("car", None, &["car"])]);
        let coarse = set("coarse", &[("animal", None, &["cat", "dog"])]);
        let found = plan_categories(&fine, Some(&coarse)).unwrap();
        assert_eq!(found[0].supercategory, "animal");
        assert_eq!(
            found[1].supercategory, "car",
            "in no class of the coarser set"
        );
        let message = plan_categories(&set("all", &[("any", None, &["cat", "car"])]), Some(&fine));
        let message = message.unwrap_err().to_string();
        assert!(
            message.contains("'any' of 'all' would be part of 'cat' and of 'car'"),
            "{message}"
        );
    }
}
