//! Images by file name or id.

use datafusion::prelude::{col, lit};
use serde::Deserialize;

use super::no_such;
use crate::error::{CatalogueError, Named};
use crate::ids::ImageId;
use crate::schema::Table;
use crate::store::Snapshot;
use crate::store::rows::decode;
use crate::{Error, Result};

/// Number of file names that are compared with one that was not found.
const COMPARED: u64 = 10_000;

/// Finds the image of a file name, or the image whose id begins with `word`.
///
/// # Errors
/// [`CatalogueError`] if there is none, or more than one; errors from the store.
pub async fn find_image(snapshot: &Snapshot, word: &str) -> Result<ImageId> {
    #[derive(Deserialize)]
    struct Image {
        image_id: ImageId,
        file_name: String,
    }
    let columns = ["image_id", "file_name"];
    let kind = Named::Image;
    let mut wanted = col("file_name").eq(lit(word));
    if word.len() >= super::MIN_DIGITS && word.bytes().all(|b| b.is_ascii_hexdigit()) {
        wanted = wanted.or(col("image_id").like(lit(format!("{word}%"))));
    }
    let scan = snapshot.scan(Table::Images).await?.project(&columns)?;
    let mut found = Vec::new();
    for batch in scan.filter(wanted).collect().await? {
        found.extend(decode::<Image>(Table::Images, &batch)?);
    }
    match &found[..] {
        [one] => Ok(one.image_id.clone()),
        [] => {
            let scan = snapshot.scan(Table::Images).await?.project(&columns)?;
            for batch in scan.limit(COMPARED)?.collect().await? {
                found.extend(decode::<Image>(Table::Images, &batch)?);
            }
            let names = found.iter().map(|image| image.file_name.as_str());
            Err(no_such(kind, word, names))
        }
        several => Err(Error::Catalogue(CatalogueError::Ambiguous {
            kind,
            word: word.to_owned(),
            fitting: several
                .iter()
                .map(|image| format!("{} ({})", image.image_id, image.file_name))
                .collect(),
        })),
    }
}
