//! Labels on masks from annotated objects: the query `review/labels_of_ground_truth`.

use std::collections::HashMap;

use datafusion::common::ScalarValue;
use serde::Deserialize;

use super::statement::{MaskKey, Statement, Verdict};
use crate::Result;
use crate::ids::{ExtractorId, ImageId};
use crate::query::Query;
use crate::schema::Table;
use crate::selection::ImageFilter;
use crate::sql::Sql;
use crate::store::Snapshot;
use crate::store::rows::decode;

/// What the annotated objects of a data set say of an extractor's masks, in the images of a filter.
///
/// # Errors
/// [`crate::error::CatalogueError`] for a data set or split that does not exist; [`crate::Error::DataFusion`] for a condition
/// that cannot be planned; errors of the store.
pub async fn labels_of_ground_truth(
    snapshot: &Snapshot,
    dataset: &str,
    extractor_id: &ExtractorId,
    images: &ImageFilter,
) -> Result<Vec<Statement>> {
    #[derive(Deserialize)]
    struct Found {
        image_id: ImageId,
        mask_index: i32,
        label: Option<String>,
    }
    let wanted = images.image_ids(snapshot).await?;
    let text = |value: &str| ScalarValue::Utf8(Some(value.to_owned()));
    let values = HashMap::from([
        ("dataset".to_owned(), text(dataset)),
        ("extractor".to_owned(), text(extractor_id.as_str())),
    ]);
    let query = Query::named("review/labels_of_ground_truth")?;
    let mut rows = Sql::new(snapshot)
        .await?
        .query_with(query.sql(), values)
        .await?;
    let mut statements = Vec::new();
    while let Some(batch) = rows.next().await? {
        for row in decode::<Found>(Table::Masks, &batch)? {
            if !wanted.contains(&row.image_id) {
                continue;
            }
            statements.push(Statement {
                mask: MaskKey {
                    extractor_id: extractor_id.clone(),
                    image_id: row.image_id,
                    mask_index: row.mask_index,
                },
                label: row.label,
                verdict: Verdict::Is,
                line: None,
            });
        }
    }
    statements.sort_by(|a, b| a.mask.cmp(&b.mask));
    Ok(statements)
}
