//! Reads labels on masks from a CSV file.

use std::path::Path;

use super::statement::{MaskKey, Statement, Verdict};
use crate::catalogue::{extractor_of_mask, find_image, images_named, with_prompted};
use crate::csv_text;
use crate::error::FileAction;
use crate::ids::ExtractorId;
use crate::store::Snapshot;
use crate::{Error, Result};

/// Reads a CSV file with the columns `image` (file name, or first digits of the id), `mask_index` and `label` (empty for
/// none of any class) and, if it has one, `verdict` (`is`, `is not` or `bad mask`; empty for `is`).
///
/// # Errors
/// [`Error::File`]; [`Error::Content`] with the line number, also for an image that the store does not have.
pub async fn read_label_file(
    snapshot: &Snapshot,
    path: &Path,
    extractor_id: &ExtractorId,
) -> Result<Vec<Statement>> {
    let bytes = std::fs::read(path).map_err(Error::file(FileAction::Read, path))?;
    let text = csv_text::without_mark(&bytes);
    let mut reader = csv_text::reader(text);
    let line_of = |at: Option<&csv::Position>| at.map_or(0, |at| csv_text::line(text, at));
    let bad = |line: u64, reason: String| Error::Content {
        path: path.to_owned(),
        place: format!(" line {line}"),
        reason,
    };
    let header = reader
        .headers()
        .map_err(|err| bad(1, err.to_string()))?
        .clone();
    let column = |name: &str| header.iter().position(|it| it.eq_ignore_ascii_case(name));
    let needed = |name: &str| {
        column(name).ok_or_else(|| {
            let found = header.iter().collect::<Vec<_>>().join("', '");
            bad(
                1,
                format!("expected a header with a column '{name}', found '{found}'"),
            )
        })
    };
    let (image, mask_index, label) = (needed("image")?, needed("mask_index")?, needed("label")?);
    let verdict = column("verdict");
    let extractors = with_prompted(snapshot, extractor_id).await?;
    let records = reader
        .records()
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|err| bad(line_of(err.position()), err.to_string()))?;
    let names = records.iter().filter_map(|record| record.get(image));
    let mut images = images_named(snapshot, names).await?;
    let mut statements = Vec::new();
    for record in &records {
        let line = line_of(record.position());
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let name = cell(image);
        let image_id = match images.get(name) {
            Some(known) => known.clone(),
            None => {
                let found = find_image(snapshot, name).await.map_err(|err| match err {
                    Error::Catalogue(reason) => bad(line, reason.to_string()),
                    err => err,
                })?;
                images.insert(name, found.clone());
                found
            }
        };
        let index = cell(mask_index);
        let verdict = match verdict.map(cell) {
            None | Some("") => Verdict::Is,
            Some(word) => match word.parse() {
                Ok(Verdict::Undone) | Err(_) => {
                    let expected = "expected 'is', 'is not' or 'bad mask'";
                    return Err(bad(line, format!("verdict '{word}': {expected}")));
                }
                Ok(verdict) => verdict,
            },
        };
        let label = Some(cell(label)).filter(|label| !label.is_empty());
        if label.is_none() && verdict == Verdict::IsNot {
            return Err(bad(line, "'is not' needs a label".to_owned()));
        }
        let mask_index = index.parse().map_err(|_| {
            bad(
                line,
                format!("mask_index '{index}': expected a whole number"),
            )
        })?;
        let own = extractor_of_mask(&extractors, mask_index);
        statements.push(Statement {
            mask: MaskKey {
                extractor_id: own.unwrap_or(extractor_id).clone(),
                image_id,
                mask_index,
            },
            label: label.map(str::to_owned),
            verdict,
            line: Some(line),
        });
    }
    if statements.is_empty() {
        return Err(bad(1, "it holds no labels".to_owned()));
    }
    Ok(statements)
}
