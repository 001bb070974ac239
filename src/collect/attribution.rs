//! `ATTRIBUTION.csv`: whose the images of a directory are, and under which licence.

use super::folder::Folder;
use crate::ingest::ManifestImage;
use crate::{Error, Result};

const FILE: &str = "ATTRIBUTION.csv";
/// Attributes that become columns.
const COLUMNS: [&str; 9] = [
    "title",
    "author",
    "licence",
    "licence_url",
    "page",
    "url",
    "source",
    "query",
    "collected_at",
];

/// Writes the file anew.
pub(super) fn write_attribution(folder: &Folder, images: &[ManifestImage]) -> Result<()> {
    let failed = |err: csv::Error| Error::Content {
        path: folder.at(FILE),
        place: String::new(),
        reason: err.to_string(),
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = std::iter::once("file").chain(COLUMNS);
    writer.write_record(header).map_err(failed)?;
    for image in images {
        let value = |key: &str| {
            let value = image.attributes.get(key);
            value.and_then(|it| it.as_str()).unwrap_or_default()
        };
        let cells = std::iter::once(image.file.as_str()).chain(COLUMNS.map(value));
        writer.write_record(cells).map_err(failed)?;
    }
    let bytes = writer.into_inner();
    let bytes = bytes.map_err(|err| failed(err.into_error().into()))?;
    folder.write(FILE, &bytes)
}
