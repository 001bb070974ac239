//! The images of an export, their ids and their file names.

use std::collections::{HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use datafusion::logical_expr::Expr;

use super::request::Ids;
use crate::ids::ImageId;
use crate::selection::SelectedImage;
use crate::store::is_of_images;
use crate::{Error, Result};

/// Above this number of images, a table is scanned without a filter on image ids.
const LOOK_UP: usize = 2000;

/// The chosen images, and the directory that their file names are relative to.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageList {
    /// The images, ordered by id.
    pub images: Vec<SelectedImage>,
    /// The directory that file names are relative to: the common root, or the deepest directory above all roots.
    pub root: PathBuf,
    /// Number of images that got a new id.
    pub new_ids: u64,
}

impl ImageList {
    /// The position of each image in `images`, by its id in the store.
    pub fn positions(&self) -> HashMap<ImageId, usize> {
        let images = self.images.iter().enumerate();
        images
            .map(|(at, image)| (image.image_id.clone(), at))
            .collect()
    }

    /// Those of the `wanted` rows that are of these images; all `wanted` rows, if there are too many images to name.
    pub fn rows_of(&self, wanted: Expr) -> Expr {
        if self.images.len() > LOOK_UP {
            return wanted;
        }
        let images = self.images.iter();
        wanted.and(is_of_images(images.map(|image| &image.image_id)))
    }
}

/// Assigns ids and file names to images.
///
/// # Errors
/// [`Error::Ids`] if original ids are requested and two images of the data sets share one.
pub fn plan_images(mut images: Vec<SelectedImage>, ids: Ids) -> Result<ImageList> {
    let mut are_original = ids != Ids::New;
    let mut taken: HashMap<i64, usize> = HashMap::new();
    for (at, image) in images.iter().enumerate() {
        let Some(id) = image.external_id.filter(|_| are_original) else {
            continue;
        };
        if let Some(other) = taken.insert(id, at).and_then(|other| images.get(other)) {
            if ids == Ids::Any {
                are_original = false;
                taken.clear();
                break;
            }
            return Err(Error::Ids {
                id,
                one: described(other),
                other: described(image),
            });
        }
    }
    let own_id = |image: &SelectedImage| image.external_id.filter(|_| are_original);
    let greatest = taken.keys().max().map_or(0, |greatest| *greatest.max(&0));
    let mut free = free_ids(greatest, |id| taken.contains_key(&id));
    let mut new_ids = 0;
    for image in &mut images {
        let id = own_id(image).or_else(|| {
            new_ids += 1;
            free.next()
        });
        image.id = id.ok_or(Error::Internal {
            what: "no free id for an image",
        })?;
    }
    images.sort_by_key(|image| image.id);
    let root = common_root(&images);
    for image in &mut images {
        if Path::new(&image.root) != root {
            image.file_name = below(&root, &image.path());
            image.root = root.display().to_string();
        }
    }
    Ok(ImageList {
        images,
        root,
        new_ids: if ids == Ids::Any { 0 } else { new_ids },
    })
}

/// An image in an error.
fn described(image: &SelectedImage) -> String {
    let split = image.split.as_deref();
    let split = split.map_or_else(String::new, |split| format!(", split '{split}'"));
    format!("'{}' of '{}'{split}", image.file_name, image.dataset)
}

/// Ids that are not taken: those above `greatest`, then, when there are none left, those from 1.
pub(super) fn free_ids(greatest: i64, is_taken: impl Fn(i64) -> bool) -> impl Iterator<Item = i64> {
    let above = (greatest..=i64::MAX).skip(1);
    above.chain(1..=greatest).filter(move |id| !is_taken(*id))
}

/// The deepest directory that contains all roots.
fn common_root(images: &[SelectedImage]) -> PathBuf {
    let roots: HashSet<&str> = images.iter().map(|image| image.root.as_str()).collect();
    let mut roots = roots.into_iter();
    let mut common = PathBuf::from(roots.next().unwrap_or_default());
    for root in roots {
        while !Path::new(root).starts_with(&common) {
            if !common.pop() {
                break;
            }
        }
    }
    common
}

/// The path relative to a directory, with `/` as separator.
fn below(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts = relative.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part.to_string_lossy()),
        _ => None,
    });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(n: u32, id: Option<i64>, root: &str) -> SelectedImage {
        SelectedImage {
            image_id: ImageId::of_bytes(&n.to_le_bytes()),
            id: 0,
            external_id: id,
            file_name: format!("{n}.jpg"),
            root: root.to_owned(),
            width: 4,
            height: 3,
            orientation: 1,
            format: "jpeg".to_owned(),
            dataset: "d".to_owned(),
            split: None,
            attributes: None,
        }
    }

    #[test]
    fn ids_are_the_data_sets_own_where_there_are_any() {
        let images = vec![
            image(1, None, "/a"),
            image(2, Some(7), "/a"),
            image(3, Some(2), "/a"),
        ];
        let ids = |list: &ImageList| -> Vec<(i64, String)> {
            let pairs = list.images.iter().map(|it| (it.id, it.file_name.clone()));
            pairs.collect()
        };
        let name = |n: u32| format!("{n}.jpg");
        let list = plan_images(images.clone(), Ids::Original).unwrap();
        assert_eq!(ids(&list), [(2, name(3)), (7, name(2)), (8, name(1))]);
        assert_eq!(list.new_ids, 1);
        let list = plan_images(images, Ids::New).unwrap();
        assert_eq!(ids(&list), [(1, name(1)), (2, name(2)), (3, name(3))]);
        let twice = vec![image(1, Some(7), "/a"), image(2, Some(7), "/a")];
        let message = plan_images(twice.clone(), Ids::Original)
            .unwrap_err()
            .to_string();
        assert!(message.contains("'1.jpg' of 'd'"), "{message}");
        assert_eq!(plan_images(twice.clone(), Ids::New).unwrap().new_ids, 2);
        let any = plan_images(twice, Ids::Any).unwrap();
        assert_eq!((any.new_ids, any.images[1].id), (0, 2));
        let apart = vec![image(1, Some(7), "/a"), image(2, Some(9), "/a")];
        assert_eq!(plan_images(apart, Ids::Any).unwrap().images[0].id, 7);
    }

    #[test]
    fn ids_at_the_ends_of_what_there_is_are_kept_and_new_ones_are_found() {
        let images = vec![
            image(1, None, "/a"),
            image(2, Some(i64::MAX), "/a"),
            image(3, Some(i64::MIN), "/a"),
            image(4, Some(1), "/a"),
            image(5, None, "/a"),
        ];
        let list = plan_images(images, Ids::Original).unwrap();
        let ids: Vec<(i64, &str)> = list
            .images
            .iter()
            .map(|it| (it.id, it.file_name.as_str()))
            .collect();
        let expected = [
            (i64::MIN, "3.jpg"),
            (1, "4.jpg"),
            (2, "1.jpg"),
            (3, "5.jpg"),
            (i64::MAX, "2.jpg"),
        ];
        assert_eq!((ids.as_slice(), list.new_ids), (&expected[..], 2));
    }

    #[test]
    fn names_start_where_all_images_lie() {
        let images = vec![
            image(1, None, "/data/web"),
            image(2, None, "/data/coco/val"),
        ];
        let list = plan_images(images, Ids::Original).unwrap();
        assert_eq!(list.root, Path::new("/data"));
        let names: Vec<&str> = list.images.iter().map(|it| it.file_name.as_str()).collect();
        assert_eq!(names, ["web/1.jpg", "coco/val/2.jpg"]);
        assert_eq!(list.images[1].path(), Path::new("/data/coco/val/2.jpg"));
        assert_eq!(plan_images(Vec::new(), Ids::New).unwrap().images, []);
    }
}
