//! Writes rows of a query as a table, CSV, JSON, Arrow or Parquet, to stdout or to a file.

use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use clap::ValueEnum;
use datafusion::parquet::arrow::ArrowWriter;
use grainstore::export::Unfinished;
use grainstore::sql::Rows;

/// Maximum number of rows in a table; larger results are for files.
const TABLE_ROWS: usize = 1000;
/// Maximum number of characters that a table shows per line of a value.
const TABLE_CHARS: usize = 120;

/// The format of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns, at most 1000 rows; long values are cut.
    Table,
    /// Comma-separated, with a header; lists and structs as text.
    Csv,
    /// One array of objects.
    Json,
    /// One object per line.
    Jsonl,
    /// An Arrow IPC file.
    Arrow,
    /// A Parquet file.
    Parquet,
}

/// The destination and format of rows.
#[derive(Debug, Clone, clap::Args)]
pub struct Output {
    /// Format of the result [default: by the file's extension; table on a terminal, else csv].
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Write to a file instead of stdout. The file appears when it is complete.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Output {
    /// Whether a destination or format was given.
    pub fn is_given(&self) -> bool {
        self.format.is_some() || self.output.is_some()
    }

    /// Chooses the format of the rows that follow.
    pub fn set_format(&mut self, format: Format) {
        self.format = Some(format);
    }

    /// Rows go to a file, in the format of its extension.
    pub fn to_file(file: PathBuf) -> Self {
        Self {
            format: None,
            output: Some(file),
        }
    }

    fn format(&self, json: bool) -> anyhow::Result<Format> {
        if let Some(format) = self.format {
            return Ok(format);
        }
        let Some(file) = &self.output else {
            if json {
                return Ok(Format::Json);
            }
            return Ok(if io::stdout().is_terminal() {
                Format::Table
            } else {
                Format::Csv
            });
        };
        let extension = file
            .extension()
            .unwrap_or_default()
            .to_string_lossy()
            .to_lowercase();
        match extension.as_str() {
            "csv" => Ok(Format::Csv),
            "json" => Ok(Format::Json),
            "jsonl" | "ndjson" => Ok(Format::Jsonl),
            "arrow" | "ipc" | "feather" => Ok(Format::Arrow),
            "parquet" => Ok(Format::Parquet),
            "txt" => Ok(Format::Table),
            _ => anyhow::bail!(
                "the extension of '{}' names no format; give one with --format",
                file.display()
            ),
        }
    }

    /// Writes every row, or gives the rows to the host program.
    pub async fn write(&self, rows: Rows, json: bool) -> anyhow::Result<()> {
        let format = self.format(json)?;
        let Some(path) = &self.output else {
            let Some(rows) = super::call::rows(rows) else {
                return Ok(());
            };
            if matches!(format, Format::Arrow | Format::Parquet) && io::stdout().is_terminal() {
                anyhow::bail!("{format:?} is not for terminals; name a file with -o");
            }
            return write_rows(rows, format, BufWriter::new(Stdout)).await;
        };
        let new = Unfinished::new(path)?;
        let file = new.create()?;
        write_rows(rows, format, BufWriter::new(file)).await?;
        new.finish()?;
        Ok(())
    }
}

/// Whether the reader of stdout has closed it. The CSV writer reports that like any other error.
pub fn stdout_was_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Stdout, which records when its reader closes it.
struct Stdout;

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        watched(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        watched(io::stdout().flush())
    }
}

fn watched<T>(done: io::Result<T>) -> io::Result<T> {
    if let Err(err) = &done
        && err.kind() == io::ErrorKind::BrokenPipe
    {
        CLOSED.store(true, Ordering::Relaxed);
    }
    done
}

async fn write_rows(
    mut rows: Rows,
    format: Format,
    mut out: impl Write + Send,
) -> anyhow::Result<()> {
    let schema = rows.schema();
    match format {
        Format::Table => write_table(rows, &mut out).await?,
        Format::Csv => {
            let mut writer = arrow::csv::WriterBuilder::new()
                .with_header(true)
                .build(&mut out);
            writer.write(&flat(&RecordBatch::new_empty(schema))?)?;
            while let Some(batch) = rows.next().await? {
                writer.write(&flat(&batch)?)?;
            }
        }
        Format::Json => {
            let mut writer = arrow::json::ArrayWriter::new(&mut out);
            while let Some(batch) = rows.next().await? {
                writer.write(&jsonable(&batch)?)?;
            }
            writer.finish()?;
            drop(writer);
            writeln!(out)?;
        }
        Format::Jsonl => {
            let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
            while let Some(batch) = rows.next().await? {
                writer.write(&jsonable(&batch)?)?;
            }
            writer.finish()?;
        }
        Format::Arrow => {
            let mut writer = arrow::ipc::writer::FileWriter::try_new(&mut out, &schema)?;
            while let Some(batch) = rows.next().await? {
                writer.write(&batch)?;
            }
            writer.finish()?;
        }
        Format::Parquet => {
            let mut writer = ArrowWriter::try_new(&mut out, schema, None)?;
            while let Some(batch) = rows.next().await? {
                writer.write(&batch)?;
            }
            writer.close()?;
        }
    }
    out.flush()?;
    Ok(())
}

async fn write_table(mut rows: Rows, out: &mut impl Write) -> anyhow::Result<()> {
    let mut shown = vec![short(&RecordBatch::new_empty(rows.schema()))?];
    let mut count = 0;
    let mut more = false;
    while let Some(batch) = rows.next().await? {
        let room = TABLE_ROWS - count;
        more |= batch.num_rows() > room;
        let batch = batch.slice(0, batch.num_rows().min(room));
        count += batch.num_rows();
        shown.push(short(&batch)?);
        if more {
            break;
        }
    }
    writeln!(out, "{}", pretty_format_batches(&shown)?)?;
    if more {
        writeln!(
            out,
            "the first {TABLE_ROWS} rows; -o FILE writes all of them to a file"
        )?
    } else {
        writeln!(out, "{count} row{}", if count == 1 { "" } else { "s" })?
    }
    Ok(())
}

/// The batch with nested and binary values as text, because CSV cannot hold them otherwise.
fn flat(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    with_text(batch, None, |t| {
        t.is_nested() || matches!(t, DataType::Binary)
    })
}

/// The batch with non-numeric values as text of limited length.
fn short(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    with_text(batch, Some(TABLE_CHARS), |t| !t.is_numeric())
}

/// The batch with values as text for which JSON has no type.
fn jsonable(batch: &RecordBatch) -> anyhow::Result<RecordBatch> {
    with_text(batch, None, |t| {
        matches!(t, DataType::Interval(_) | DataType::Duration(_))
    })
}

fn with_text(
    batch: &RecordBatch,
    most: Option<usize>,
    to_text: impl Fn(&DataType) -> bool,
) -> anyhow::Result<RecordBatch> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        if to_text(field.data_type()) {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            columns.push(as_text(column, most)?);
        } else {
            fields.push(field.clone());
            columns.push(column.clone());
        }
    }
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        schema, columns, &options,
    )?)
}

fn as_text(column: &ArrayRef, most: Option<usize>) -> anyhow::Result<ArrayRef> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
    let text = |row: usize| -> anyhow::Result<Option<String>> {
        if column.is_null(row) {
            return Ok(None);
        }
        let text = formatter.value(row).try_to_string()?;
        Ok(Some(match most {
            Some(most) => text
                .lines()
                .map(|line| cut(line, most))
                .collect::<Vec<_>>()
                .join("\n"),
            None => text,
        }))
    };
    let texts: StringArray = (0..column.len()).map(text).collect::<anyhow::Result<_>>()?;
    Ok(Arc::new(texts))
}

fn cut(line: &str, most: usize) -> String {
    match line.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", line.split_at(end).0),
        None => line.to_owned(),
    }
}
