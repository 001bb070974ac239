//! Stores of format 1, which are read as if they had today's format and are raised to it by the first write.
//!
//! Both run the same steps. To raise a store, they run on its tables. To read it, they run on shallow clones of the
//! tables in a temporary directory. The clones refer to the store's own data files and hold only what differs; nothing
//! is written to the store.
//!
//! | table | in format 1 | in today's format |
//! |---|---|---|
//! | `extractors` | `model_type` 'imported ...' for imports | `kind`; null where an import has no value |
//! | `masks` | zeros for imported masks | nulls; `object_score` |
//! | `class_sets` | | `search` |
//! | `heads` | empty weights, device 'none', version -1 | nulls; `inputs`, `normalise` |
//! | `predictions` | the policy in every row; entropy 0 of imports | table `policies`; null |
//! | `evaluations` | columns `report` and `policy` | `query` and `request`; `query_sha256` |
//! | the other four new tables | nothing | empty |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{col, lit};
use futures::{StreamExt, TryStreamExt};
use lance::dataset::{
    ColumnAlteration, Dataset, InsertBuilder, NewColumnTransform, WriteMode, WriteParams,
};
use serde::Deserialize;
use tempfile::TempDir;

use super::files::FORMAT_VERSION;
use super::rows::{
    AS_IT_IS, ExtractorKind, ExtractorRow, HeadRow, PolicyRow, Row, TOKEN_INPUTS, decode,
    embedding_space,
};
use super::{Snapshot, Store};
use crate::error::FileAction;
use crate::ids::{ExtractorId, HeadId, PolicyId};
use crate::schema::{StoreTable, Table};
use crate::{Error, Result};

/// Columns of `masks` that hold zeros for imported masks in format 1.
const OF_MODELS: [&str; 5] = [
    "predicted_iou",
    "stability_score",
    "point",
    "mask_output",
    "embedding",
];
/// Number of heads that are held in memory at once; each takes megabytes.
const HEADS_AT_ONCE: usize = 16;

/// A snapshot of format 1, shown in today's format.
#[derive(Debug)]
pub(super) struct View {
    tables: BTreeMap<Table, Arc<Dataset>>,
    /// The directory of the clones, kept as long as they are needed.
    _clones: TempDir,
}

impl View {
    /// Clones the tables of a snapshot and raises the clones.
    pub async fn of(snapshot: &Snapshot) -> Result<Self> {
        let store = snapshot.store();
        if store.inner.files.local_path().is_none() {
            return Err(Error::StoreFormat {
                uri: store.uri().to_owned(),
                found: 1,
                expected: FORMAT_VERSION,
                advice: "any command that writes raises it".to_owned(),
            });
        }
        let clones = tempfile::Builder::new()
            .prefix("grainstore-view-")
            .tempdir();
        let clones = clones.map_err(Error::file(FileAction::Create, std::env::temp_dir()))?;
        let place = |table: Table| clones.path().join(format!("{}.lance", table.name()));
        let mut tables = BTreeMap::new();
        for table in Table::ALL {
            let place = place(table);
            let uri = place.to_str().ok_or_else(|| Error::Content {
                path: place.clone(),
                place: String::new(),
                reason: "a path for temporary files must be valid UTF-8".to_owned(),
            })?;
            let dataset = if snapshot.record().tables.contains_key(table.name()) {
                let mut stored = snapshot.stored(&table.into()).await?.as_ref().clone();
                let version = stored.version_id();
                stored.shallow_clone(uri, version, None).await?
            } else {
                create(store, table, uri).await?
            };
            tables.insert(table, dataset);
        }
        raise(store, snapshot.now(), &mut tables).await?;
        let tables = tables.into_iter();
        Ok(Self {
            tables: tables.map(|(table, it)| (table, Arc::new(it))).collect(),
            _clones: clones,
        })
    }

    /// A table of the view.
    pub fn dataset(&self, table: &StoreTable) -> Result<Arc<Dataset>> {
        let found = match table {
            StoreTable::Fixed(table) => self.tables.get(table),
            StoreTable::Vectors(..) => None,
        };
        found.cloned().ok_or(Error::Internal {
            what: "a table is missing from the view of a store of format 1",
        })
    }
}

/// Creates an empty table, in place of one that an interrupted raise may have left.
async fn create(store: &Store, table: Table, uri: &str) -> Result<Dataset> {
    let empty = arrow::array::RecordBatchIterator::new([], store.schema(table));
    let params = WriteParams {
        mode: WriteMode::Overwrite,
        session: Some(store.inner.session.clone()),
        ..Default::default()
    };
    Ok(Dataset::write(empty, uri, Some(params)).await?)
}

impl Store {
    /// Raises the store from format 1, under the lock; `None` if another writer interfered. It can be interrupted at
    /// any point and repeated, because the old record names the old versions of the tables until the new one is put.
    pub(super) async fn raise(&self, head: &Snapshot) -> Result<Option<Snapshot>> {
        tracing::info!("raising the store to format {FORMAT_VERSION}");
        self.inner.files.raise_header().await?;
        let restored = self.recover(head, head.stored_tables()).await?;
        let mut tables = BTreeMap::new();
        for table in Table::ALL {
            let dataset = match restored.get(&table.into()) {
                Some(restored) => restored.clone(),
                None if head.record().tables.contains_key(table.name()) => {
                    head.stored(&table.into()).await?.as_ref().clone()
                }
                None => create(self, table, &self.table_uri(&table.into())).await?,
            };
            tables.insert(table, dataset);
        }
        raise(self, head.now(), &mut tables).await?;
        let mut record = head.record().next("raise to format 2");
        record.format = FORMAT_VERSION;
        let tables = tables.into_iter();
        let tables = tables.map(|(table, it)| (table.into(), it)).collect();
        self.put(Some(head), record, tables).await
    }
}

/// Converts every table to today's format.
async fn raise(
    store: &Store,
    now: DateTime<Utc>,
    tables: &mut BTreeMap<Table, Dataset>,
) -> Result<()> {
    let mut raising = Raising { store, tables };
    let (extractors, imported) = raising.extractors().await?;
    raising
        .replace(
            Table::Extractors,
            vec![ExtractorRow::to_batch(&extractors)?],
        )
        .await?;
    raising.masks(&imported).await?;
    raising.class_sets().await?;
    let imported = raising.heads().await?;
    raising.predictions(&imported, now).await?;
    raising.evaluations().await
}

struct Raising<'a> {
    store: &'a Store,
    tables: &'a mut BTreeMap<Table, Dataset>,
}

impl Raising<'_> {
    fn dataset(&mut self, table: Table) -> Result<&mut Dataset> {
        self.tables.get_mut(&table).ok_or(Error::Internal {
            what: "a table is missing while a store is raised",
        })
    }

    /// Returns all extractors in today's format, and the ids of the imported ones.
    async fn extractors(&mut self) -> Result<(Vec<ExtractorRow>, BTreeSet<String>)> {
        #[derive(Deserialize)]
        struct Old {
            extractor_id: ExtractorId,
            model_type: String,
            checkpoint: String,
            checkpoint_sha256: String,
            embedding_dim: i32,
            options: String,
            grainstore_version: String,
            created_at: DateTime<Utc>,
        }
        let mut rows = Vec::new();
        let mut imported = BTreeSet::new();
        let batches = self
            .dataset(Table::Extractors)?
            .scan()
            .try_into_stream()
            .await?;
        for batch in batches.try_collect::<Vec<_>>().await? {
            for old in decode::<Old>(Table::Extractors, &batch)? {
                let kind = match old.model_type.as_str() {
                    "imported masks" => ExtractorKind::ImportedMasks,
                    "imported boxes" => ExtractorKind::ImportedBoxes,
                    _ => ExtractorKind::Sam,
                };
                let of_model = !kind.is_imported();
                if !of_model {
                    imported.insert(old.extractor_id.to_string());
                }
                let space =
                    embedding_space(&old.checkpoint_sha256, &old.options, old.embedding_dim);
                rows.push(ExtractorRow {
                    extractor_id: old.extractor_id,
                    kind,
                    model_type: of_model.then_some(old.model_type),
                    checkpoint: old.checkpoint,
                    checkpoint_sha256: old.checkpoint_sha256,
                    embedding_dim: of_model.then_some(old.embedding_dim),
                    embedding_space: of_model.then_some(space),
                    options: old.options,
                    grainstore_version: old.grainstore_version,
                    created_at: old.created_at,
                });
            }
        }
        Ok((rows, imported))
    }

    /// Makes columns nullable, which touches no data file; rewrites only the rows of imported masks.
    async fn masks(&mut self, imported: &BTreeSet<String>) -> Result<()> {
        let schema = self.store.schema(Table::Masks);
        let masks = self.dataset(Table::Masks)?;
        let nullable =
            OF_MODELS.map(|name| ColumnAlteration::new(name.to_owned()).set_nullable(true));
        masks.alter_columns(&nullable).await?;
        add_null_column(masks, &schema, "object_score").await?;
        self.nullify(Table::Masks, "extractor_id", imported, &OF_MODELS)
            .await
    }

    /// Adds the search words, which are null.
    async fn class_sets(&mut self) -> Result<()> {
        let schema = self.store.schema(Table::ClassSets);
        add_null_column(self.dataset(Table::ClassSets)?, &schema, "search").await
    }

    /// Rewrites the heads, and returns the ids of the imported ones.
    async fn heads(&mut self) -> Result<BTreeSet<String>> {
        #[derive(Deserialize)]
        struct Old {
            head_id: HeadId,
            head: String,
            extractor_id: ExtractorId,
            class_set: String,
            class_set_version: i32,
            spec: String,
            #[serde(with = "serde_bytes")]
            weights: Vec<u8>,
            query: String,
            store_version: i64,
            seed: i64,
            parent_head_id: Option<HeadId>,
            teacher_head_id: Option<HeadId>,
            curves: String,
            images_read: i64,
            rows_read: i64,
            seconds: f64,
            device: String,
            grainstore_version: String,
            created_at: DateTime<Utc>,
        }
        let old = self.dataset(Table::Heads)?.clone();
        self.replace(Table::Heads, Vec::new()).await?;
        let mut imported = BTreeSet::new();
        let mut scan = old.scan();
        scan.batch_size(HEADS_AT_ONCE);
        let mut batches = scan.try_into_stream().await?;
        while let Some(batch) = batches.next().await {
            let mut rows = Vec::new();
            for old in decode::<Old>(Table::Heads, &batch?)? {
                let of_import = old.device == "none";
                if of_import {
                    imported.insert(old.head_id.to_string());
                }
                // For imports, format 1 has "imported from 'FILE'" here.
                let file = old.query.strip_prefix("imported from '");
                let file = file.and_then(|it| it.strip_suffix('\'')).map(str::to_owned);
                let alone = |of_head: &str| {
                    if of_import {
                        "[]".to_owned()
                    } else {
                        of_head.to_owned()
                    }
                };
                rows.push(HeadRow {
                    head_id: old.head_id,
                    head: old.head,
                    extractor_id: old.extractor_id,
                    class_set: old.class_set,
                    class_set_version: old.class_set_version,
                    spec: old.spec,
                    inputs: alone(TOKEN_INPUTS),
                    normalise: alone(AS_IT_IS),
                    weights: (!of_import).then_some(old.weights),
                    query: file.filter(|_| of_import).unwrap_or(old.query),
                    store_version: Some(old.store_version).filter(|version| *version >= 0),
                    seed: (!of_import).then_some(old.seed),
                    parent_head_id: old.parent_head_id,
                    teacher_head_id: old.teacher_head_id,
                    curves: old.curves,
                    images_read: old.images_read,
                    rows_read: old.rows_read,
                    seconds: old.seconds,
                    device: (!of_import).then_some(old.device),
                    grainstore_version: old.grainstore_version,
                    created_at: old.created_at,
                });
            }
            self.append(Table::Heads, vec![HeadRow::to_batch(&rows)?])
                .await?;
        }
        Ok(imported)
    }

    /// Moves the policies to their own table; the entropy of imported predictions is not known and becomes null.
    async fn predictions(&mut self, imported: &BTreeSet<String>, now: DateTime<Utc>) -> Result<()> {
        #[derive(Deserialize)]
        struct Old {
            policy_id: PolicyId,
            policy: String,
            created_at: DateTime<Utc>,
        }
        let mut policies: BTreeMap<PolicyId, PolicyRow> = BTreeMap::new();
        let predictions = self.dataset(Table::Predictions)?;
        let mut scan = predictions.scan();
        scan.project(&["policy_id", "policy", "created_at"])?;
        let mut batches = scan.try_into_stream().await?;
        while let Some(batch) = batches.next().await {
            for old in decode::<Old>(Table::Predictions, &batch?)? {
                let policy = policies.entry(old.policy_id.clone()).or_insert(PolicyRow {
                    policy_id: old.policy_id,
                    policy: old.policy,
                    created_at: now,
                });
                policy.created_at = policy.created_at.min(old.created_at);
            }
        }
        let entropy = ColumnAlteration::new("entropy".to_owned()).set_nullable(true);
        predictions.alter_columns(&[entropy]).await?;
        predictions.drop_columns(&["policy"]).await?;
        let policies: Vec<PolicyRow> = policies.into_values().collect();
        self.append(Table::Policies, vec![PolicyRow::to_batch(&policies)?])
            .await?;
        self.nullify(Table::Predictions, "head_id", imported, &["entropy"])
            .await
    }

    async fn evaluations(&mut self) -> Result<()> {
        let schema = self.store.schema(Table::Evaluations);
        let evaluations = self.dataset(Table::Evaluations)?;
        let renamed = [("report", "query"), ("policy", "request")]
            .map(|(old, new)| ColumnAlteration::new(old.to_owned()).rename(new.to_owned()));
        evaluations.alter_columns(&renamed).await?;
        add_null_column(evaluations, &schema, "query_sha256").await
    }

    /// Rewrites the rows of a table whose `key` is one of `values`, with nulls in `columns`.
    async fn nullify(
        &mut self,
        table: Table,
        key: &str,
        values: &BTreeSet<String>,
        columns: &'static [&'static str],
    ) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let schema = self.store.schema(table);
        let session = self.store.inner.session.clone();
        let wanted: Vec<Expr> = values.iter().map(|value| lit(value.as_str())).collect();
        let wanted = col(key).in_list(wanted, false);
        let dataset = self.dataset(table)?;
        let mut scan = dataset.scan();
        scan.scan_in_order(true).filter_expr(wanted.clone());
        let rows = scan.try_into_stream().await?;
        let target = schema.clone();
        let rows = rows.map(move |batch| {
            let batch = batch?;
            without(&batch, columns, &target).map_err(Into::into)
        });
        let rows = RecordBatchStreamAdapter::new(schema, rows);
        dataset.delete(&super::commit::sql_of(&wanted)?).await?;
        let params = append_params(session);
        let inserted = InsertBuilder::new(Arc::new(dataset.clone()))
            .with_params(&params)
            .execute_stream(Box::pin(rows) as datafusion::execution::SendableRecordBatchStream)
            .await?;
        *dataset = inserted;
        Ok(())
    }

    /// Replaces all rows of a table, and its schema.
    async fn replace(&mut self, table: Table, rows: Vec<RecordBatch>) -> Result<()> {
        let schema = self.store.schema(table);
        let params = WriteParams {
            mode: WriteMode::Overwrite,
            session: Some(self.store.inner.session.clone()),
            ..Default::default()
        };
        let dataset = self.dataset(table)?;
        let rows = arrow::array::RecordBatchIterator::new(rows.into_iter().map(Ok), schema);
        let replaced = Dataset::write(rows, Arc::new(dataset.clone()), Some(params)).await?;
        *dataset = replaced;
        Ok(())
    }

    async fn append(&mut self, table: Table, rows: Vec<RecordBatch>) -> Result<()> {
        if rows.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(());
        }
        let params = append_params(self.store.inner.session.clone());
        let dataset = self.dataset(table)?;
        let appended = InsertBuilder::new(Arc::new(dataset.clone()))
            .with_params(&params)
            .execute(rows)
            .await?;
        *dataset = appended;
        Ok(())
    }
}

fn append_params(session: Arc<lance::session::Session>) -> WriteParams {
    WriteParams {
        mode: WriteMode::Append,
        session: Some(session),
        ..Default::default()
    }
}

/// Adds a column of nulls, as `schema` declares it; no data file is touched.
async fn add_null_column(dataset: &mut Dataset, schema: &Schema, name: &str) -> Result<()> {
    let field: Field = schema.field_with_name(name)?.clone();
    let added = Arc::new(Schema::new(vec![field]));
    dataset
        .add_columns(NewColumnTransform::AllNulls(added), None, None)
        .await?;
    Ok(())
}

/// A batch with nulls in place of some columns.
fn without(
    batch: &RecordBatch,
    columns: &[&str],
    schema: &SchemaRef,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let made = schema.fields().iter().map(|field| {
        let null = |data_type: &DataType| new_null_array(data_type, batch.num_rows());
        if columns.contains(&field.name().as_str()) {
            Ok(null(field.data_type()))
        } else {
            Ok(batch
                .column_by_name(field.name())
                .ok_or_else(|| {
                    arrow::error::ArrowError::SchemaError(format!("no column '{}'", field.name()))
                })?
                .clone())
        }
    });
    let made: Result<Vec<_>, arrow::error::ArrowError> = made.collect();
    RecordBatch::try_new(schema.clone(), made?)
}
