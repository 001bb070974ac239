//! Images by file name or id.

use std::collections::{HashMap, HashSet};

use datafusion::prelude::{col, lit};
use futures::StreamExt;
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

const COLUMNS: [&str; 2] = ["image_id", "file_name"];

#[derive(Deserialize)]
struct Image {
    image_id: ImageId,
    file_name: String,
}

/// The images of many file names, by one reading of the store: those of the words that are the name of exactly one image
/// and cannot be the first digits of an id. The others are left to [`find_image`].
///
/// # Errors
/// Errors from the store.
pub async fn images_named<'a>(
    snapshot: &Snapshot,
    words: impl IntoIterator<Item = &'a str>,
) -> Result<HashMap<&'a str, ImageId>> {
    let words: HashSet<&str> = words.into_iter().filter(|word| !may_be_id(word)).collect();
    let mut found: HashMap<&str, ImageId> = HashMap::new();
    let mut ambiguous: HashSet<&str> = HashSet::new();
    if words.is_empty() {
        return Ok(found);
    }
    let scan = snapshot.scan(Table::Images).await?.project(&COLUMNS)?;
    let mut rows = scan.stream().await?;
    while let Some(batch) = rows.next().await {
        for image in decode::<Image>(Table::Images, &batch?)? {
            if let Some(word) = words.get(image.file_name.as_str())
                && found.insert(word, image.image_id).is_some()
            {
                ambiguous.insert(word);
            }
        }
    }
    found.retain(|word, _| !ambiguous.contains(word));
    Ok(found)
}

fn may_be_id(word: &str) -> bool {
    word.len() >= super::MIN_DIGITS && word.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Finds the image of a file name, or the image whose id begins with `word`.
///
/// # Errors
/// [`CatalogueError`] if there is none, or more than one; errors from the store.
pub async fn find_image(snapshot: &Snapshot, word: &str) -> Result<ImageId> {
    let kind = Named::Image;
    let mut wanted = col("file_name").eq(lit(word));
    if may_be_id(word) {
        wanted = wanted.or(col("image_id").like(lit(format!("{word}%"))));
    }
    let scan = snapshot.scan(Table::Images).await?.project(&COLUMNS)?;
    let mut found = Vec::new();
    for batch in scan.filter(wanted).collect().await? {
        found.extend(decode::<Image>(Table::Images, &batch)?);
    }
    match &found[..] {
        [one] => Ok(one.image_id.clone()),
        [] => {
            let scan = snapshot.scan(Table::Images).await?.project(&COLUMNS)?;
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
