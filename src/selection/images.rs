//! The selected images.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ImageFilter;
use crate::Result;
use crate::geometry::Size;
use crate::ids::ImageId;
use crate::schema::Table;
use crate::sql::Sql;
use crate::store::Snapshot;
use crate::store::rows::decode;

/// A selected image, with what exports and pictures need to know of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct SelectedImage {
    /// `images.image_id`.
    pub image_id: ImageId,
    /// The image's id in an export, which planning the export sets; 0 before.
    #[serde(skip)]
    pub id: i64,
    /// The data set's own id of the image, if it has one.
    pub external_id: Option<i64>,
    /// Path of the file below `root`, with `/` between its parts; in exports, below the export's root.
    pub file_name: String,
    /// Directory below which the file lies.
    pub root: String,
    /// Width in pixels, upright.
    pub width: i32,
    /// Height in pixels, upright.
    pub height: i32,
    /// EXIF orientation of the file's pixels; 1 is upright.
    pub orientation: i8,
    /// Format of the file by its content: 'jpeg', 'png', ...
    pub format: String,
    /// Data set that the image came from.
    pub dataset: String,
    /// Split of the image, if any.
    pub split: Option<String>,
    /// The data set's other attributes of the image, as a JSON object.
    pub attributes: Option<String>,
}

const COLUMNS: [&str; 11] = [
    "image_id",
    "external_id",
    "file_name",
    "root",
    "width",
    "height",
    "orientation",
    "format",
    "dataset",
    "split",
    "attributes",
];

/// For more images than this, the table is read instead of filtered by id.
const MAX_LISTED: usize = 1000;

impl SelectedImage {
    /// Height and width in pixels.
    pub fn size(&self) -> Size {
        Size {
            height: self.height.unsigned_abs(),
            width: self.width.unsigned_abs(),
        }
    }

    /// Path of the image's file.
    pub fn path(&self) -> PathBuf {
        Path::new(&self.root).join(&self.file_name)
    }
}

/// The images that a filter selects and for which `belongs` holds, ordered by data set and file name.
///
/// # Errors
/// As [`ImageFilter::image_ids`].
pub async fn find_images(
    snapshot: &Snapshot,
    filter: &ImageFilter,
    belongs: impl Fn(&SelectedImage) -> bool,
) -> Result<Vec<SelectedImage>> {
    filter.check(snapshot).await?;
    let sql = Sql::new(snapshot).await?;
    // A few images are looked up, many are chosen from all.
    let few = filter.ids.as_ref().filter(|ids| ids.len() <= MAX_LISTED);
    let in_sql = ImageFilter {
        ids: few.cloned(),
        condition: filter.condition.clone(),
        ..ImageFilter::default()
    };
    let condition = in_sql.to_sql()?;
    let columns = &COLUMNS;
    let mut rows = sql
        .select(Table::Images, columns, condition.as_deref())
        .await?;
    let mut images: Vec<SelectedImage> = Vec::new();
    while let Some(batch) = rows.next().await? {
        let found = decode::<SelectedImage>(Table::Images, &batch)?.into_iter();
        images.extend(found.filter(|image| {
            filter.holds(&image.image_id, &image.dataset, image.split.as_deref()) && belongs(image)
        }));
    }
    images.sort_by(|a, b| {
        (&a.dataset, &a.file_name, &a.image_id).cmp(&(&b.dataset, &b.file_name, &b.image_id))
    });
    Ok(images)
}
