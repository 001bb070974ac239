//! Finds the image of the store that a source means, by name or by a data set's own id.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::StreamExt;
use serde::Deserialize;

use crate::geometry::Size;
use crate::ids::ImageId;
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::store::Snapshot;
use crate::store::rows::decode;
use crate::{Error, Result};

/// Number of images that an error names.
const SHOWN: usize = 3;

/// An image of the store.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct StoredImage {
    pub image_id: ImageId,
    pub file_name: String,
    dataset: String,
    external_id: Option<i64>,
    width: i32,
    height: i32,
    orientation: i8,
}

const COLUMNS: [&str; 7] = [
    "image_id",
    "file_name",
    "dataset",
    "external_id",
    "width",
    "height",
    "orientation",
];

impl StoredImage {
    /// Height and width in pixels, upright.
    pub fn size(&self) -> Size {
        Size {
            height: self.height.unsigned_abs(),
            width: self.width.unsigned_abs(),
        }
    }

    /// Checks that masks of `found` pixels are those of the upright image, which is the store's frame.
    pub fn check_size(&self, found: Size) -> Result<()> {
        let expected = self.size();
        if found == expected {
            return Ok(());
        }
        let is_turned = (found.height, found.width) == (expected.width, expected.height);
        let hint = if is_turned && self.orientation >= 5 {
            "; they were made without its EXIF orientation: turn them upright"
        } else {
            "; they belong to another version of the image"
        };
        Err(Error::Annotation {
            reason: format!(
                "its masks are {}x{} (width x height), the image is {}x{}{hint}",
                found.width, found.height, expected.width, expected.height
            ),
        })
    }
}

/// What of a file name a source has in common with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// All of it.
    Whole,
    /// All but the extension.
    WithoutExtension,
}

impl Naming {
    fn of(self, name: &str) -> &str {
        let name = name.trim_start_matches("./");
        let end = match self {
            Self::Whole => None,
            Self::WithoutExtension => name.rfind('.').filter(|at| *at > folder_end(name)),
        };
        end.and_then(|end| name.get(..end)).unwrap_or(name)
    }
}

/// Where the last part of a path begins.
fn folder_end(path: &str) -> usize {
    path.rfind('/').map_or(0, |at| at + 1)
}

/// The images of a store.
pub(super) struct Images {
    images: Vec<StoredImage>,
    selected: HashSet<ImageId>,
    /// Positions in `images`, by the name with its characters in reverse, so that names of one end are neighbours.
    by_reversed_name: BTreeMap<String, Vec<usize>>,
    /// Positions in `images`, by the id of the data set that the filter names.
    by_external_id: HashMap<i64, Vec<usize>>,
    naming: Naming,
}

/// What was found under a name or an id.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    One(&'a StoredImage),
    /// The store has it, but the request leaves it out.
    LeftOut,
    Missing,
    Several(Vec<&'a StoredImage>),
}

impl Images {
    /// Reads the names of all images, and which of them a filter selects.
    ///
    /// # Errors
    /// As [`ImageFilter::image_ids`].
    pub async fn read(snapshot: &Snapshot, filter: &ImageFilter, naming: Naming) -> Result<Self> {
        let selected = filter.image_ids(snapshot).await?;
        let scan = snapshot.scan(Table::Images).await?.project(&COLUMNS)?;
        let mut rows = scan.stream().await?;
        let mut images = Vec::new();
        while let Some(batch) = rows.next().await {
            images.extend(decode::<StoredImage>(Table::Images, &batch?)?);
        }
        Ok(Self::new(
            images,
            selected,
            filter.dataset.as_deref(),
            naming,
        ))
    }

    fn new(
        images: Vec<StoredImage>,
        selected: HashSet<ImageId>,
        dataset: Option<&str>,
        naming: Naming,
    ) -> Self {
        let mut by_reversed_name: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut by_external_id: HashMap<i64, Vec<usize>> = HashMap::new();
        for (at, image) in images.iter().enumerate() {
            let name = naming.of(&image.file_name);
            by_reversed_name.entry(reversed(name)).or_default().push(at);
            if let Some(id) = image.external_id
                && dataset == Some(image.dataset.as_str())
            {
                by_external_id.entry(id).or_default().push(at);
            }
        }
        Self {
            images,
            selected,
            by_reversed_name,
            by_external_id,
            naming,
        }
    }

    /// The image of a name. Of several, the one whose path has most in common with it; folders before either path do
    /// not count.
    pub fn by_name(&self, name: &str) -> Found<'_> {
        let wanted = self.naming.of(name);
        let name = reversed(wanted);
        let parts = |path: &str| path.split('/').count();
        // Names that are the end of the wanted one, or all of it.
        let ends = name.match_indices('/').map(|(at, _)| at);
        let ends = ends.filter_map(|at| name.get(..at)).chain([name.as_str()]);
        let shorter = ends.filter_map(|end| {
            let fit = (end == name, parts(end));
            Some((fit, self.by_reversed_name.get(end)?))
        });
        // Names that the wanted one is the end of.
        let longer_name = format!("{name}/");
        let longer = self.by_reversed_name.range(longer_name.clone()..);
        let longer = longer
            .take_while(|(other, _)| other.starts_with(&longer_name))
            .map(|(_, places)| ((false, parts(wanted)), places));
        let fitting = shorter.chain(longer).flat_map(|(fit, places)| {
            let images = places.iter().filter_map(|at| self.images.get(*at));
            images.map(move |image| (fit, image))
        });
        self.choose(fitting)
    }

    /// The image with an id of the data set that the request names.
    pub fn by_external_id(&self, id: i64) -> Found<'_> {
        let places = self.by_external_id.get(&id).into_iter().flatten();
        let fitting = places.filter_map(|at| self.images.get(*at));
        self.choose(fitting.map(|image| ((true, 1), image)))
    }

    /// All images, by id, each with whether the request selects it.
    pub fn by_image_id(self) -> HashMap<ImageId, (StoredImage, bool)> {
        let selected = self.selected;
        let images = self.images.into_iter().map(|image| {
            let is_selected = selected.contains(&image.image_id);
            (image.image_id.clone(), (image, is_selected))
        });
        images.collect()
    }

    fn choose<'a>(&self, fitting: impl Iterator<Item = (Fit, &'a StoredImage)>) -> Found<'a> {
        let (selected, others): (Vec<_>, Vec<_>) =
            fitting.partition(|(_, image)| self.selected.contains(&image.image_id));
        let best = selected.iter().map(|(fit, _)| *fit).max();
        let best: Vec<&StoredImage> = selected
            .into_iter()
            .filter(|(fit, _)| Some(*fit) == best)
            .map(|(_, image)| image)
            .collect();
        match best[..] {
            [one] => Found::One(one),
            [] if others.is_empty() => Found::Missing,
            [] => Found::LeftOut,
            _ => Found::Several(best),
        }
    }
}

impl<'a> Found<'a> {
    pub fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }

    /// The image; `None` if the request leaves it out.
    ///
    /// # Errors
    /// [`Error::Annotation`] if there is none, or more than one.
    pub fn image(self) -> Result<Option<&'a StoredImage>> {
        let reason = match self {
            Self::One(image) => return Ok(Some(image)),
            Self::LeftOut => return Ok(None),
            Self::Missing => "no image of the store is called so".to_owned(),
            Self::Several(images) => {
                let mut names: Vec<String> = images
                    .iter()
                    .take(SHOWN)
                    .map(|image| format!("'{}' of data set '{}'", image.file_name, image.dataset))
                    .collect();
                if images.len() > SHOWN {
                    names.push("...".to_owned());
                }
                format!(
                    "it may be any of {}; choose one data set, or name the folder",
                    names.join(", ")
                )
            }
        };
        Err(Error::Annotation { reason })
    }
}

/// Whether two paths are equal, and the number of parts that they share.
type Fit = (bool, usize);

fn reversed(name: &str) -> String {
    name.chars().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(n: u8, file_name: &str) -> StoredImage {
        StoredImage {
            image_id: ImageId::of_bytes(&[n]),
            file_name: file_name.to_owned(),
            dataset: "test".to_owned(),
            external_id: Some(i64::from(n % 4)),
            width: 30,
            height: 20,
            orientation: 6,
        }
    }

    fn images(names: &[&str], naming: Naming) -> Images {
        let images: Vec<_> = names.iter().zip(0..).map(|(it, n)| image(n, it)).collect();
        // All but the last.
        let selected = images.iter().rev().skip(1);
        let selected = selected.map(|it| it.image_id.clone()).collect();
        Images::new(images, selected, Some("test"), naming)
    }

    fn name_of(found: Found<'_>) -> String {
        match found.image() {
            Ok(Some(image)) => image.file_name.clone(),
            Ok(None) => "left out".to_owned(),
            Err(err) => err.to_string(),
        }
    }

    #[test]
    fn images_are_found_by_the_end_of_their_path() {
        let names = ["a.jpg", "x/a.jpg", "p/x/b.jpg", "q/x/b.jpg", "last.jpg"];
        let images = images(&names, Naming::Whole);
        for (name, expected) in [
            ("a.jpg", "a.jpg"),
            ("x/a.jpg", "x/a.jpg"),
            ("./x/a.jpg", "x/a.jpg"),
            ("y/x/a.jpg", "x/a.jpg"),
            ("y/a.jpg", "a.jpg"),
            ("q/x/b.jpg", "q/x/b.jpg"),
            (
                "b.jpg",
                "it may be any of 'p/x/b.jpg' of data set 'test', 'q/x/b.jpg' of data set 'test'; choose one \
                 data set, or name the folder",
            ),
            ("a.png", "no image of the store is called so"),
            ("aa.jpg", "no image of the store is called so"),
            ("last.jpg", "left out"),
        ] {
            assert_eq!(name_of(images.by_name(name)), expected, "{name}");
        }
        assert_eq!(name_of(images.by_external_id(1)), "x/a.jpg");
        assert_eq!(name_of(images.by_external_id(0)), "a.jpg"); // the other one is left out
        assert_eq!(images.by_external_id(9), Found::Missing);
    }

    #[test]
    fn extensions_may_differ() {
        let names = ["a.jpg", "x/a.b.JPG", "x.y/c", "last"];
        let images = images(&names, Naming::WithoutExtension);
        for (name, expected) in [
            ("a.png", "a.jpg"),
            ("masks/a.tif", "a.jpg"),
            ("x/a.b.png", "x/a.b.JPG"),
            ("a.b.png", "x/a.b.JPG"),
            ("x.y/c.png", "x.y/c"),
            ("a.c.png", "no image of the store is called so"),
        ] {
            assert_eq!(name_of(images.by_name(name)), expected, "{name}");
        }
    }

    #[test]
    fn other_sizes_are_told() {
        let check = |height, width| image(0, "a").check_size(Size { height, width });
        check(20, 30).unwrap();
        let turned = check(30, 20).unwrap_err().to_string();
        assert!(turned.contains("EXIF orientation"), "{turned}");
        let other = check(20, 31).unwrap_err().to_string();
        assert_eq!(
            other,
            "its masks are 31x20 (width x height), the image is 30x20; they belong to another version of the image"
        );
    }
}
