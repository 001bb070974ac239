//! `export parquet`: one row per object, together with its image's and class's columns, for pandas, polars or DuckDB.

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use datafusion::parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};
use serde_arrow::schema::{SchemaLike, TracingOptions};

use super::categories::Category;
use super::coco::ExportSummary;
use super::file::Unfinished;
use super::object::{Object, ObjectKind};
use super::request::ExportRequest;
use super::source::{Objects, Source};
use crate::progress::Progress;
use crate::selection::SelectedImage;
use crate::store::Snapshot;
use crate::store::rows::RleRow;
use crate::{Error, Result};

/// Rows per write.
const BATCH: usize = 8192;

/// A row of the file. `score`, `entropy`, `predicted_iou`, `stability_score`, `extractor_id` and `mask_index` are null
/// for annotated objects; `iscrowd` is false for predicted ones.
#[derive(Debug, Serialize, Deserialize)]
struct ObjectRow {
    /// Id in the data set, or the id that a COCO export of the same objects gives.
    annotation_id: i64,
    image_id: i64,
    grainstore_image_id: String,
    file_name: String,
    width: i32,
    height: i32,
    dataset: String,
    split: Option<String>,
    category_id: i64,
    category: String,
    supercategory: String,
    score: Option<f64>,
    entropy: Option<f32>,
    predicted_iou: Option<f32>,
    stability_score: Option<f32>,
    extractor_id: Option<String>,
    mask_index: Option<i32>,
    iscrowd: bool,
    area: f64,
    bbox_x: f64,
    bbox_y: f64,
    bbox_width: f64,
    bbox_height: f64,
    rle: Option<RleRow>,
}

/// What to export as Parquet.
#[derive(Debug, Clone, Default)]
pub struct ParquetExport {
    /// Which annotations of which images to export.
    pub export: ExportRequest,
    /// The file to write.
    pub file: PathBuf,
}

/// Writes the requested objects to a Parquet file.
///
/// # Examples
/// ```
/// use grainstore::export::{Annotations, ExportRequest, ParquetExport, export_parquet};
/// use grainstore::progress::NoProgress;
/// use grainstore::selection::ImageFilter;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = ParquetExport {
///     export: ExportRequest {
///         annotations: Annotations::GroundTruth,
///         images: ImageFilter::dataset("coco"),
///         ..ExportRequest::default()
///     },
///     file: "objects.parquet".into(),
/// };
/// let summary = export_parquet(&store.snapshot().await?, &request, &NoProgress).await?;
/// println!("{} objects, {} bytes", summary.annotations, summary.bytes);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`crate::error::CatalogueError`] for names that do not exist; [`crate::error::HeadError::ClassSet`] if class sets do not
/// fit together; [`Error::NothingToExport`] if no image is chosen; [`Error::StoreDamaged`] if a file of the store has
/// changed; [`Error::File`], [`Error::EncodeParquet`]. An existing file at
/// `file` stays until the new one is complete.
pub async fn export_parquet(
    snapshot: &Snapshot,
    request: &ParquetExport,
    progress: &dyn Progress,
) -> Result<ExportSummary> {
    let file = &request.file;
    let source = Source::open(snapshot, &request.export).await?;
    let mut summary = ExportSummary::of(&source, file);
    let (images, categories) = (source.images.images.clone(), source.categories.clone());
    let new = Unfinished::new(file)?;
    source.verify(progress).await?;
    let work = move |objects: Objects, progress: &dyn Progress| {
        progress.start("objects", None);
        let fields =
            Vec::<FieldRef>::from_type::<ObjectRow>(TracingOptions::default()).map_err(codec)?;
        let schema = Arc::new(Schema::new(fields.clone()));
        let mut writer = ArrowWriter::try_new(new.create()?, schema, None)
            .map_err(|err| encoding(new.path(), &err))?;
        let mut rows = Vec::with_capacity(BATCH);
        let mut write = |rows: &mut Vec<ObjectRow>| {
            let batch = serde_arrow::to_record_batch(&fields, rows).map_err(codec)?;
            rows.clear();
            writer
                .write(&batch)
                .map_err(|err| encoding(new.path(), &err))
        };
        objects.each(|object| {
            if let Some(row) = row(object, &images, &categories, &mut summary) {
                progress.advance(1);
                rows.push(row);
            }
            if rows.len() == BATCH {
                write(&mut rows)?;
            }
            Ok(())
        })?;
        write(&mut rows)?;
        writer.close().map_err(|err| encoding(new.path(), &err))?;
        summary.bytes = new.finish()?;
        Ok(summary)
    };
    let done = source.with_objects(progress, work).await;
    progress.finish();
    done
}

fn codec(err: serde_arrow::Error) -> Error {
    Error::RowCodec {
        table: "export".to_owned(),
        reason: err.message().to_owned(),
    }
}

/// The error of a Parquet file that cannot be written.
pub(super) fn encoding(file: &Path, err: &datafusion::parquet::errors::ParquetError) -> Error {
    Error::EncodeParquet {
        path: file.to_owned(),
        reason: err.to_string(),
    }
}

fn row(
    object: Object,
    images: &[SelectedImage],
    categories: &[Category],
    summary: &mut ExportSummary,
) -> Option<ObjectRow> {
    let image = images.get(object.image)?;
    let category = summary.take(&object, categories)?;
    let (predicted, annotated) = match object.kind {
        ObjectKind::Predicted(it) => (Some(it), None),
        ObjectKind::Annotated(it) => (None, Some(it)),
    };
    let own_id = annotated.as_ref().and_then(|it| it.id);
    let [x, y, width, height] = object.bbox;
    Some(ObjectRow {
        annotation_id: own_id.unwrap_or(i64::try_from(summary.annotations).unwrap_or(i64::MAX)),
        image_id: image.id,
        grainstore_image_id: image.image_id.to_string(),
        file_name: image.file_name.clone(),
        width: image.width,
        height: image.height,
        dataset: image.dataset.clone(),
        split: image.split.clone(),
        category_id: category.id,
        category: category.name.clone(),
        supercategory: category.supercategory.clone(),
        score: predicted.as_ref().map(|it| it.score),
        entropy: predicted.as_ref().and_then(|it| it.entropy),
        predicted_iou: predicted.as_ref().and_then(|it| it.predicted_iou),
        stability_score: predicted.as_ref().and_then(|it| it.stability_score),
        extractor_id: predicted.as_ref().map(|it| it.extractor_id.clone()),
        mask_index: predicted.as_ref().map(|it| it.mask_index),
        iscrowd: annotated.is_some_and(|it| it.iscrowd),
        area: object.area,
        bbox_x: x,
        bbox_y: y,
        bbox_width: width,
        bbox_height: height,
        rle: object.mask.as_ref().map(RleRow::from),
    })
}
