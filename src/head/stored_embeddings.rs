//! Embeddings that stay in the store until training needs them.
//!
//! Training starts as soon as it knows which rows there are. A thread then reads them in the order of the table, while
//! batches that come first read theirs themselves; both keep what they read in a temporary file, so that no row is read
//! twice but for those that both happen to read at the same time.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use futures::TryStreamExt;
use lance::Dataset;
use lance::dataset::ProjectionRequest;
use tokio::runtime::Handle;

use super::inputs::{HeadInput, HeadInputs};
use super::number_words::{append_numbers, append_words, runs};
use super::temporary_file::TemporaryFile;
use crate::error::HeadError;
use crate::schema::{StoreTable, Table, VectorTable};
use crate::store::Snapshot;
use crate::store::columns::{EmbeddingColumn, EmbeddingRow, is_embedding};
use crate::{Error, Result};

/// Bytes that the thread reads at once.
const READ_BYTES: usize = 16 << 20;

/// Rows that are asked for at once.
const BATCH_ROWS: usize = 1024;

/// How often rows are asked for at the same time, in a bucket. On a disk it is once: Lance reads on several threads for each,
/// and what a thread has freed is of no use to the others.
const AT_ONCE: usize = 8;

/// Where the numbers of an input are.
#[derive(Debug, Clone)]
pub(super) struct StoredInput {
    dataset: Arc<Dataset>,
    column: String,
    dim: usize,
    is_half: bool,
    is_local: bool,
}

impl StoredInput {
    /// The places of some inputs if the store has more masks than such with their numbers fit in `budget_bytes`; `None` if
    /// it has not, or if the numbers of an input are computed.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn beyond_budget(
        snapshot: &Snapshot,
        inputs: &HeadInputs,
        budget_bytes: usize,
    ) -> Result<Option<Vec<Self>>> {
        let stored = Self::of_inputs(snapshot, inputs).await?;
        let masks = snapshot.count(Table::Masks).await?;
        let masks = usize::try_from(masks).unwrap_or(usize::MAX);
        Ok(stored.filter(|stored| masks.saturating_mul(row_bytes(stored)) > budget_bytes))
    }

    async fn of_inputs(snapshot: &Snapshot, inputs: &HeadInputs) -> Result<Option<Vec<Self>>> {
        let mut found = Vec::with_capacity(inputs.count());
        for input in inputs.iter() {
            let Some((table, column)) = stored_column(input) else {
                return Ok(None);
            };
            let dataset = snapshot.dataset(table).await?;
            let schema = arrow::datatypes::Schema::from(dataset.schema());
            let data_type = schema.field_with_name(column)?.data_type().clone();
            let arrow::datatypes::DataType::FixedSizeList(item, dim) = &data_type else {
                return Ok(None);
            };
            if !is_embedding(&data_type) {
                return Ok(None);
            }
            let is_local = dataset.object_store(None).await?.is_local();
            found.push(Self {
                dataset,
                is_local,
                column: column.to_owned(),
                dim: usize::try_from(*dim).unwrap_or(0),
                is_half: *item.data_type() == arrow::datatypes::DataType::Float16,
            });
        }
        Ok(Some(found))
    }

    /// Numbers of the input.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The column of rows with these ids, in their order.
    async fn take(&self, ids: &[u64]) -> Result<EmbeddingColumn> {
        let projection = ProjectionRequest::from_columns([&self.column], self.dataset.schema());
        let batch: RecordBatch = self.dataset.take_rows(ids, projection).await?;
        if batch.num_rows() != ids.len() {
            return Err(Error::Internal {
                what: "the store has fewer rows than a training query found in it",
            });
        }
        Ok(EmbeddingColumn::new(batch.column(0))?)
    }
}

/// The table and the column of an input; `None` if its numbers are computed.
pub(super) fn stored_column(input: &HeadInput) -> Option<(StoreTable, &'static str)> {
    match input {
        HeadInput::Tokens => Some((Table::Masks.into(), "embedding")),
        HeadInput::Vectors { embedder_id, .. } => {
            let table = StoreTable::Vectors(VectorTable::Masks, embedder_id.clone());
            Some((table, "vector"))
        }
        HeadInput::Shape => None,
    }
}

/// Bytes of a row of some inputs, as it is kept: 16 bits a number if all of them have so, else 32.
fn row_bytes(inputs: &[StoredInput]) -> usize {
    let dim: usize = inputs.iter().map(StoredInput::dim).sum();
    2 * dim * words_of(inputs)
}

fn words_of(inputs: &[StoredInput]) -> usize {
    if inputs.iter().all(|input| input.is_half) {
        1
    } else {
        2
    }
}

/// Embeddings by row, read from the store when they are first needed.
#[derive(Debug)]
pub(super) struct StoredEmbeddings {
    shared: Arc<Shared>,
    runtime: Handle,
}

#[derive(Debug)]
struct Shared {
    inputs: Vec<StoredInput>,
    /// Ids of each row in the tables of the inputs.
    ids: Vec<Vec<u64>>,
    rows: usize,
    words: usize,
    /// 16-bit words of a row.
    row_words: usize,
    file: TemporaryFile,
    /// Rows that are in the file, one bit each.
    present: Mutex<Vec<u64>>,
    stopped: AtomicBool,
}

impl StoredEmbeddings {
    /// Embeddings whose rows have these ids in the tables of the inputs; a temporary file in `spool_dir` keeps what is
    /// read. Must be called in a runtime.
    ///
    /// # Errors
    /// [`Error::File`] if the directory cannot be written.
    pub fn new(inputs: Vec<StoredInput>, ids: Vec<Vec<u64>>, spool_dir: &Path) -> Result<Self> {
        let rows = ids.first().map_or(0, Vec::len);
        let words = words_of(&inputs);
        let row_words = row_bytes(&inputs) / 2;
        let shared = Arc::new(Shared {
            inputs,
            ids,
            rows,
            words,
            row_words,
            file: TemporaryFile::create(spool_dir)?,
            present: Mutex::new(vec![0; rows.div_ceil(64)]),
            stopped: AtomicBool::new(false),
        });
        Ok(Self {
            shared,
            runtime: Handle::current(),
        })
    }

    /// The rows in the order of the first input's table.
    pub fn in_table_order(&self) -> Vec<u32> {
        self.shared.in_table_order()
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.shared.rows
    }

    /// Starts the thread that reads every row in the order of the table.
    pub fn read_ahead(&self) {
        let (shared, runtime) = (self.shared.clone(), self.runtime.clone());
        std::thread::spawn(move || {
            // A batch that needs the rows meets the same error, and reports it.
            if let Err(err) = shared.read_all(&runtime) {
                tracing::debug!("embeddings are not read ahead: {err}");
            }
        });
    }

    /// Appends the given rows to `into`, in the order given. Not to be called by a thread that drives the runtime.
    ///
    /// # Errors
    /// [`HeadError::TrainingQuery`] for numbers that are not finite; [`Error::File`]; errors of the store.
    pub fn read(&self, rows: &[u32], into: &mut Vec<f32>) -> Result<()> {
        let missing = self.shared.missing(rows);
        self.runtime.block_on(self.shared.fetch(&missing))?;
        self.shared.read_kept(rows, into)
    }

    /// Like [`Self::read`], for callers in the runtime.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_async(&self, rows: &[u32], into: &mut Vec<f32>) -> Result<()> {
        self.shared.fetch(&self.shared.missing(rows)).await?;
        self.shared.read_kept(rows, into)
    }
}

impl Drop for StoredEmbeddings {
    /// The thread ends after what it is reading. It is not waited for: it may need the thread that this is called on.
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// Those of some rows that are not in the file.
    fn missing(&self, rows: &[u32]) -> Vec<u32> {
        let present = self.present.lock().unwrap_or_else(|err| err.into_inner());
        let is_missing = |row: &u32| {
            let (word, bit) = (*row as usize / 64, *row % 64);
            present.get(word).is_none_or(|bits| bits >> bit & 1 == 0)
        };
        rows.iter().copied().filter(is_missing).collect()
    }

    /// Reads rows from the store into the file.
    async fn fetch(&self, rows: &[u32]) -> Result<()> {
        let is_local = self.inputs.iter().all(|input| input.is_local);
        let at_once = if is_local { 1 } else { AT_ONCE };
        futures::stream::iter(rows.chunks(BATCH_ROWS).map(Ok))
            .try_for_each_concurrent(at_once, |some| self.fetch_some(some))
            .await
    }

    async fn fetch_some(&self, rows: &[u32]) -> Result<()> {
        let mut columns = Vec::with_capacity(self.inputs.len());
        for (input, ids) in self.inputs.iter().zip(&self.ids) {
            let ids = rows.iter().map(|row| ids.get(*row as usize).copied());
            let ids: Option<Vec<u64>> = ids.collect();
            let ids = ids.ok_or(Error::Internal {
                what: "a row of a bag is not among those of the training query",
            })?;
            columns.push(input.take(&ids).await?);
        }
        let mut kept: Vec<u16> = Vec::with_capacity(rows.len() * self.row_words);
        for row in 0..rows.len() {
            for (column, input) in columns.iter().zip(&self.inputs) {
                let numbers = column.get(row).filter(EmbeddingRow::is_finite);
                let numbers = numbers.ok_or_else(|| {
                    let column = &input.column;
                    let reason =
                        format!(
                        "column '{column}' holds a null or a number that is not finite; with a larger --cache-mib such masks are left out, and counted"
                    );
                    Error::Head(HeadError::TrainingQuery { reason })
                })?;
                append_words(numbers, self.words, &mut kept);
            }
        }
        let mut rest = &kept[..];
        for run in runs(rows) {
            let (own, later) = rest
                .split_at_checked(run.count * self.row_words)
                .unwrap_or((rest, &[]));
            rest = later;
            self.file
                .write(self.place(run.first), bytemuck::cast_slice(own))?;
        }
        let mut present = self.present.lock().unwrap_or_else(|err| err.into_inner());
        for row in rows {
            if let Some(bits) = present.get_mut(*row as usize / 64) {
                *bits |= 1 << (row % 64);
            }
        }
        Ok(())
    }

    fn place(&self, row: usize) -> u64 {
        (row * self.row_words * 2) as u64
    }

    /// Appends rows that are in the file.
    fn read_kept(&self, rows: &[u32], into: &mut Vec<f32>) -> Result<()> {
        let mut words = Vec::new();
        for run in runs(rows) {
            words.resize(run.count * self.row_words, 0u16);
            let bytes = bytemuck::cast_slice_mut(&mut words);
            self.file.read(self.place(run.first), bytes)?;
            append_numbers(self.words, &words, into);
        }
        Ok(())
    }

    fn in_table_order(&self) -> Vec<u32> {
        let rows = 0..u32::try_from(self.rows).unwrap_or(u32::MAX);
        let mut order: Vec<u32> = rows.collect();
        if let Some(ids) = self.ids.first() {
            order.sort_by_key(|row| ids.get(*row as usize).copied());
        }
        order
    }

    /// Reads every row that no batch has read, in the order of the first input's table.
    fn read_all(&self, runtime: &Handle) -> Result<()> {
        let order = self.in_table_order();
        let at_once = (READ_BYTES / (2 * self.row_words).max(1)).max(1);
        for some in order.chunks(at_once) {
            if self.stopped.load(Ordering::Relaxed) {
                break;
            }
            runtime.block_on(self.fetch(&self.missing(some)))?;
        }
        Ok(())
    }
}
