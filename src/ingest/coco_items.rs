//! Plans the ingest of a COCO file. In: the file's index. Out: one item per image, the categories, and the entries that
//! belong to nothing.

use std::collections::{HashMap, HashSet};

use super::options::IngestOptions;
use crate::coco::{AnnotationIndex, Category, DatasetIndex, Image, Text};
use crate::error::CocoError;
use crate::store::rows::FailureRow;

/// An image with its annotations, in file order.
#[derive(Debug)]
pub(super) struct ImageItem {
    pub image: Image,
    pub annotations: Vec<AnnotationIndex>,
}

/// The content of a COCO file, grouped by image.
#[derive(Debug)]
pub(super) struct Items {
    pub images: Vec<ImageItem>,
    /// One category per name.
    pub categories: Vec<Category>,
    /// Licences as JSON, by id.
    pub licenses: HashMap<i64, serde_json::Value>,
    /// Entries that belong to no image or were not used as given.
    pub failures: Vec<FailureRow>,
}

/// The name of an annotation within its file.
pub(super) fn annotation_name(annotation: &AnnotationIndex) -> String {
    match annotation.id {
        Some(id) => format!("annotation {id}"),
        None => format!("annotations[{}]", annotation.position),
    }
}

/// Groups annotations by image and finds entries that belong to nothing. `text` is the file's content, `file_name` its
/// name.
pub(super) fn plan_items(
    text: &Text,
    index: DatasetIndex,
    file_name: &str,
    options: &IngestOptions,
) -> Result<Items, CocoError> {
    let used = index.used_categories();
    let categories = plan_categories(index.categories, &used)?;
    let mut planner = Planner {
        text,
        file_name,
        dataset: &options.dataset,
        items: Vec::with_capacity(index.images.len()),
        places: HashMap::with_capacity(index.images.len()),
        failures: Vec::new(),
    };
    let mut lost_images = HashSet::new();
    for it in index.unusable {
        let mut reason = it.reason.to_string();
        if let Some(id) = it.image_id {
            lost_images.insert(id);
            reason.push_str("; the annotations of the image are left out");
        }
        planner.fail(&it.item, &reason);
    }
    planner.add_images(index.images);
    planner.add_annotations(index.annotations, &lost_images);
    let licenses = index.licenses.into_iter().map(|license| {
        let mut whole = license.extra;
        whole.insert("id".to_owned(), license.id.into());
        (license.id, whole.into())
    });
    Ok(Items {
        licenses: licenses.collect(),
        categories,
        images: planner.items,
        failures: planner.failures,
    })
}

/// Keeps one category per name: the one that has objects or, if none has any, the last.
fn plan_categories(
    categories: Vec<Category>,
    used: &HashSet<i64>,
) -> Result<Vec<Category>, CocoError> {
    let mut by_id: HashMap<i64, &Category> = HashMap::new();
    let mut chosen: HashMap<&str, i64> = HashMap::new();
    for category in &categories {
        if let Some(other) = by_id.insert(category.id, category) {
            return Err(CocoError::CategoryIds {
                id: category.id,
                one: other.name.clone(),
                other: category.name.clone(),
            });
        }
        match chosen.get(category.name.as_str()) {
            Some(other) if used.contains(other) && used.contains(&category.id) => {
                return Err(CocoError::CategoryNames {
                    name: category.name.clone(),
                    one: *other,
                    other: category.id,
                });
            }
            Some(other) if used.contains(other) => {}
            _ => {
                chosen.insert(&category.name, category.id);
            }
        }
    }
    let chosen: HashSet<i64> = chosen.into_values().collect();
    let categories = categories.into_iter();
    Ok(categories.filter(|it| chosen.contains(&it.id)).collect())
}

struct Planner<'a> {
    text: &'a Text,
    file_name: &'a str,
    dataset: &'a str,
    items: Vec<ImageItem>,
    /// Position in `items`, by image id.
    places: HashMap<i64, usize>,
    failures: Vec<FailureRow>,
}

impl Planner<'_> {
    fn fail(&mut self, item: &str, reason: &str) {
        let item = format!("{}: {item}", self.file_name);
        let row = FailureRow::new("ingest", Some(self.dataset), &item, reason);
        self.failures.push(row);
    }

    fn add_images(&mut self, images: Vec<Image>) {
        let federated = images.iter().any(Image::is_federated);
        for image in images {
            if self.places.contains_key(&image.id) {
                let item = format!("image '{}'", image.file_name);
                self.fail(&item, &format!("another image has id {} too", image.id));
                continue;
            }
            self.places.insert(image.id, self.items.len());
            self.items.push(ImageItem {
                image,
                annotations: Vec::new(),
            });
        }
        if federated {
            self.fail(
                "images",
                "each image is annotated in some classes only, as LVIS has it (neg_category_ids, \
                 not_exhaustive_category_ids; both are kept in images.attributes), and evaluation does not honour \
                 that yet: on images whose objects of a class are not all annotated, detections of the class count as \
                 false positives",
            );
        }
    }

    /// `lost` holds images whose failure is recorded already.
    fn add_annotations(&mut self, annotations: Vec<AnnotationIndex>, lost: &HashSet<i64>) {
        // Position of the image, and position in its list of annotations.
        let mut first_of_id: HashMap<i64, (usize, usize)> = HashMap::new();
        for mut annotation in annotations {
            let Some(place) = self.places.get(&annotation.image_id).copied() else {
                if !lost.contains(&annotation.image_id) {
                    let reason = format!("no image has its image_id, {}", annotation.image_id);
                    self.fail(&annotation_name(&annotation), &reason);
                }
                continue;
            };
            let before = self.items.get(place).map_or(0, |it| it.annotations.len());
            let first = annotation.id.and_then(|id| first_of_id.get(&id).copied());
            if let Some(first) = first {
                let is_other = self.tell_of_same_id(first, &annotation);
                annotation.id = None;
                if !is_other {
                    continue;
                }
            } else if let Some(id) = annotation.id {
                first_of_id.insert(id, (place, before));
            }
            if let Some(item) = self.items.get_mut(place) {
                item.annotations.push(annotation);
            }
        }
    }

    /// Records that an annotation repeats an id. Returns whether it is an object of its own rather than a copy.
    fn tell_of_same_id(&mut self, (place, at): (usize, usize), again: &AnnotationIndex) -> bool {
        let item = self.items.get(place);
        let first = item.and_then(|item| Some((item, item.annotations.get(at)?)));
        let Some((item, first)) = first else {
            return true;
        };
        let name_of = |position: usize, item: &ImageItem| {
            format!("annotations[{position}] of '{}'", item.image.file_name)
        };
        let own = self.places.get(&again.image_id);
        let own = own.and_then(|place| self.items.get(*place)).unwrap_or(item);
        let again_name = name_of(again.position, own);
        let first_name = name_of(first.position, item);
        let id = first.id.unwrap_or_default();
        let text_of = |annotation: &AnnotationIndex| self.text.get(annotation.text.clone());
        // What cannot be read now cannot be read when it is needed, either: then the image fails.
        let is_copy = first.text.len() == again.text.len()
            && matches!((text_of(first), text_of(again)), (Ok(one), Ok(other)) if one == other);
        let reason = if is_copy {
            format!("it says the same as {first_name}, id {id} included, and is left out")
        } else {
            format!("its id, {id}, is that of {first_name}, too; the object is kept without an id")
        };
        self.fail(&again_name, &reason);
        !is_copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn category(id: i64, name: &str) -> Category {
        Category {
            id,
            name: name.to_owned(),
            supercategory: None,
        }
    }

    fn ids(categories: &[(i64, &str)], used: &[i64]) -> Result<Vec<i64>, String> {
        let categories = categories.iter().map(|(id, name)| category(*id, name));
        let used = used.iter().copied().collect();
        match plan_categories(categories.collect(), &used) {
            Ok(chosen) => Ok(chosen.into_iter().map(|it| it.id).collect()),
            Err(err) => Err(err.to_string()),
        }
    }

    #[test]
    fn of_categories_of_one_name_the_one_in_use_is_taken() {
        let raccoons = [(0, "raccoon"), (1, "raccoon"), (2, "cat")];
        assert_eq!(ids(&raccoons, &[1]), Ok(vec![1, 2]));
        assert_eq!(ids(&raccoons, &[0, 2]), Ok(vec![0, 2]));
        assert_eq!(ids(&raccoons, &[]), Ok(vec![1, 2]));
        let both = ids(&raccoons, &[0, 1]).unwrap_err();
        assert!(
            both.starts_with("categories 0 and 1 are both named 'raccoon'"),
            "{both}"
        );
        let twice = ids(&[(3, "cat"), (3, "dog")], &[]).unwrap_err();
        assert_eq!(twice, "two categories have id 3: 'cat' and 'dog'");
    }
}
