//! Embeddings for training, kept as the store has them: in memory up to a budget, beyond it in a
//! temporary file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray};
use arrow::datatypes::{DataType, Float16Type, Float32Type};
use half::f16;
use half::slice::HalfFloatSliceExt;

use crate::{Error, Result};

/// Rows of a part that is allocated at once.
const PART_ROWS: usize = 4096;

/// Bytes written to the temporary file at once.
const WRITE_BYTES: usize = 1 << 20;

/// Embeddings by row, in the order they came.
#[derive(Debug)]
pub(super) struct Embeddings {
    dim: usize,
    rows: usize,
    budget_bytes: usize,
    parts: Vec<Vec<f16>>,
    wide_parts: Vec<Vec<f32>>,
    wide: Option<bool>,
    spool: Option<Spool>,
    spool_dir: PathBuf,
}

/// A file that is gone when this is dropped, however the program ends.
#[derive(Debug)]
struct Spool {
    path: PathBuf,
    file: Mutex<File>,
    /// Not written yet.
    pending: Vec<u8>,
}

impl Embeddings {
    /// None yet, of `dim` numbers each. Beyond `budget_bytes` they go to a file in `spool_dir`.
    pub fn new(dim: usize, budget_bytes: usize, spool_dir: &Path) -> Self {
        Self {
            dim,
            rows: 0,
            budget_bytes,
            parts: Vec::new(),
            wide_parts: Vec::new(),
            wide: None,
            spool: None,
            spool_dir: spool_dir.to_owned(),
        }
    }

    /// Rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether they stand in a file.
    pub fn is_spooled(&self) -> bool {
        self.spool.is_some()
    }

    /// Adds row `row` of a column of embeddings; false if it holds a number that is not finite.
    ///
    /// # Errors
    /// [`Error::File`] if the temporary file cannot be written.
    pub fn push(&mut self, column: &EmbeddingColumn, row: usize) -> Result<bool> {
        match column {
            EmbeddingColumn::Half(values) => {
                let values = values
                    .get(row * self.dim..(row + 1) * self.dim)
                    .unwrap_or(&[]);
                if !values.iter().all(|x| x.is_finite()) {
                    return Ok(false);
                }
                self.wide.get_or_insert(false);
                if self.spool.is_none() && self.is_full(2) {
                    self.move_to_spool()?;
                }
                match &mut self.spool {
                    Some(spool) => spool.append(bytemuck::cast_slice(values.reinterpret_cast()))?,
                    None => push_row(&mut self.parts, values, self.dim),
                }
            }
            EmbeddingColumn::Single(values) => {
                let values = values
                    .get(row * self.dim..(row + 1) * self.dim)
                    .unwrap_or(&[]);
                if !values.iter().all(|x| x.is_finite()) {
                    return Ok(false);
                }
                self.wide.get_or_insert(true);
                if self.spool.is_none() && self.is_full(4) {
                    self.move_to_spool()?;
                }
                match &mut self.spool {
                    Some(spool) => spool.append(bytemuck::cast_slice(values))?,
                    None => push_row(&mut self.wide_parts, values, self.dim),
                }
            }
        }
        self.rows += 1;
        Ok(true)
    }

    /// Must be called when the last row is added.
    ///
    /// # Errors
    /// [`Error::File`] if the temporary file cannot be written.
    pub fn finish(&mut self) -> Result<()> {
        self.spool.as_mut().map_or(Ok(()), Spool::flush)
    }

    fn is_full(&self, number_bytes: usize) -> bool {
        (self.rows + 1) * self.dim * number_bytes > self.budget_bytes
    }

    fn move_to_spool(&mut self) -> Result<()> {
        let mut spool = Spool::create(&self.spool_dir)?;
        for part in self.parts.drain(..) {
            spool.append(bytemuck::cast_slice(part.reinterpret_cast()))?;
        }
        for part in self.wide_parts.drain(..) {
            spool.append(bytemuck::cast_slice(&part))?;
        }
        self.spool = Some(spool);
        Ok(())
    }

    /// Appends some rows to `into`, in the order asked for.
    ///
    /// # Errors
    /// [`Error::File`] if the temporary file cannot be read.
    pub fn read(&self, rows: &[u32], into: &mut Vec<f32>) -> Result<()> {
        let wide = self.wide == Some(true);
        let mut bytes = Vec::new();
        for run in runs(rows) {
            let start = into.len();
            into.resize(start + run.count * self.dim, 0.0);
            let target = into.get_mut(start..).unwrap_or(&mut []);
            if let Some(spool) = &self.spool {
                let size = self.dim * if wide { 4 } else { 2 };
                bytes.resize(run.count * size, 0);
                spool.read((run.first * size) as u64, &mut bytes)?;
                for (value, bytes) in target.iter_mut().zip(bytes.chunks_exact(size / self.dim)) {
                    *value = match *bytes {
                        [a, b] => f16::from_le_bytes([a, b]).to_f32(),
                        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
                        _ => f32::NAN,
                    };
                }
                continue;
            }
            for (n, target) in target.chunks_exact_mut(self.dim).enumerate() {
                let row = run.first + n;
                let (part, at) = (row / PART_ROWS, row % PART_ROWS * self.dim);
                if wide {
                    let part = self.wide_parts.get(part);
                    if let Some(values) = part.and_then(|part| part.get(at..at + self.dim)) {
                        target.copy_from_slice(values);
                    }
                } else {
                    let part = self.parts.get(part);
                    if let Some(values) = part.and_then(|part| part.get(at..at + self.dim)) {
                        values.convert_to_f32_slice(target);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A batch's embeddings as plain numbers, row after row.
pub(super) enum EmbeddingColumn<'a> {
    /// 16-bit.
    Half(&'a [f16]),
    /// 32-bit.
    Single(&'a [f32]),
}

impl<'a> EmbeddingColumn<'a> {
    /// The numbers of a column of lists, and how many a row has; `None` if it is no such column, or holds
    /// nulls.
    pub fn of(column: &'a ArrayRef) -> Option<(Self, usize)> {
        let list: &FixedSizeListArray = column.as_fixed_size_list_opt()?;
        let dim = usize::try_from(list.value_length()).ok()?;
        if list.null_count() > 0 || list.values().null_count() > 0 {
            return None;
        }
        // Slicing an array leaves its values whole.
        let (from, count) = (list.offset() * dim, list.len() * dim);
        let found = match list.values().data_type() {
            DataType::Float16 => {
                let values: &[f16] = list.values().as_primitive::<Float16Type>().values();
                Self::Half(in_range(values, from, count)?)
            }
            DataType::Float32 => {
                let values: &[f32] = list.values().as_primitive::<Float32Type>().values();
                Self::Single(in_range(values, from, count)?)
            }
            _ => return None,
        };
        Some((found, dim))
    }
}

impl EmbeddingColumn<'_> {
    /// Some of the numbers, in 32 bits.
    pub fn to_f32(&self, from: usize, count: usize) -> Vec<f32> {
        let mut values = vec![0.0; count];
        match self {
            Self::Half(all) => all
                .get(from..from + count)
                .unwrap_or(&[])
                .convert_to_f32_slice(&mut values),
            Self::Single(all) => values.copy_from_slice(all.get(from..from + count).unwrap_or(&[])),
        }
        values
    }
}

/// Values of a sliced list: arrow keeps either all of them or, after slicing the values too, its own.
fn in_range<T>(values: &[T], from: usize, count: usize) -> Option<&[T]> {
    match values.len() == count {
        true => Some(values),
        false => values.get(from..from + count),
    }
}

fn push_row<T: Copy>(parts: &mut Vec<Vec<T>>, values: &[T], dim: usize) {
    if parts
        .last()
        .is_none_or(|part| part.len() == PART_ROWS * dim)
    {
        parts.push(Vec::with_capacity(PART_ROWS * dim));
    }
    if let Some(part) = parts.last_mut() {
        part.extend_from_slice(values);
    }
}

struct Run {
    first: usize,
    count: usize,
}

/// Rows that follow one another, put together.
fn runs(rows: &[u32]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for row in rows {
        let row = *row as usize;
        match runs.last_mut() {
            Some(run) if run.first + run.count == row => run.count += 1,
            _ => runs.push(Run {
                first: row,
                count: 1,
            }),
        }
    }
    runs
}

impl Spool {
    fn create(dir: &Path) -> Result<Self> {
        let name = format!(
            "grainstore-train-{}.{}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = dir.join(name);
        let open = || {
            let mut options = File::options();
            options.read(true).write(true).create_new(true);
            options.open(&path)
        };
        let file = open().map_err(Error::file("create", &path))?;
        // Nobody else needs its name: without one it goes away with the program, even a killed one.
        #[cfg(unix)]
        std::fs::remove_file(&path).map_err(Error::file("create", &path))?;
        Ok(Self {
            path,
            file: Mutex::new(file),
            pending: Vec::new(),
        })
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(bytes);
        match self.pending.len() >= WRITE_BYTES {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<()> {
        let file = self.file.get_mut().unwrap_or_else(|err| err.into_inner());
        file.write_all(&self.pending).map_err(Error::file(
            "write embeddings to the temporary file (another place: --spool-dir)",
            &self.path,
        ))?;
        self.pending.clear();
        Ok(())
    }

    fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(|err| err.into_inner());
        file.seek(SeekFrom::Start(at))
            .and_then(|_| file.read_exact(bytes))
            .map_err(Error::file("read", &self.path))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if cfg!(not(unix)) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float16Array, Float32Array};
    use arrow::datatypes::Field;

    use super::*;

    fn halves(rows: usize) -> ArrayRef {
        let values = (0..rows * 4).map(|n| f16::from_f32(n as f32));
        let values: ArrayRef = Arc::new(Float16Array::from_iter_values(values));
        let item = Arc::new(Field::new("item", DataType::Float16, true));
        Arc::new(FixedSizeListArray::new(item, 4, values, None))
    }

    fn filled(budget: usize, column: &ArrayRef) -> Embeddings {
        let dir = std::env::temp_dir();
        let mut embeddings = Embeddings::new(4, budget, &dir);
        let (values, dim) = EmbeddingColumn::of(column).unwrap();
        assert_eq!(dim, 4);
        for row in 0..column.len() {
            assert!(embeddings.push(&values, row).unwrap());
        }
        embeddings.finish().unwrap();
        embeddings
    }

    #[test]
    fn memory_and_file_give_the_same_rows() {
        let column = halves(10);
        for budget in [0, 20, 1 << 20] {
            let embeddings = filled(budget, &column);
            assert_eq!(
                (embeddings.rows(), embeddings.is_spooled()),
                (10, budget < 80)
            );
            let mut read = Vec::new();
            embeddings.read(&[7, 8, 2], &mut read).unwrap();
            let row = |n: i16| (0..4).map(move |k| f32::from(n * 4 + k));
            assert_eq!(
                read,
                [7, 8, 2].into_iter().flat_map(row).collect::<Vec<_>>()
            );
        }
    }

    #[test]
    fn sliced_and_single_columns_are_read() {
        let sliced = halves(10).slice(3, 4);
        let mut read = Vec::new();
        filled(1 << 20, &sliced).read(&[0], &mut read).unwrap();
        assert_eq!(read, [12.0, 13.0, 14.0, 15.0]);

        let values: ArrayRef = Arc::new(Float32Array::from(vec![
            0.1,
            0.2,
            0.3,
            0.4,
            1.0,
            2.0,
            f32::NAN,
            4.0,
        ]));
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let column: ArrayRef = Arc::new(FixedSizeListArray::new(item, 4, values, None));
        for budget in [0, 1 << 20] {
            let mut embeddings = Embeddings::new(4, budget, &std::env::temp_dir());
            let (values, _) = EmbeddingColumn::of(&column).unwrap();
            assert!(embeddings.push(&values, 0).unwrap());
            assert!(!embeddings.push(&values, 1).unwrap(), "NaN is refused");
            embeddings.finish().unwrap();
            let mut read = Vec::new();
            embeddings.read(&[0], &mut read).unwrap();
            assert_eq!(read, [0.1, 0.2, 0.3, 0.4]);
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let mut embeddings = Embeddings::new(4, 0, Path::new("/nowhere/at/all"));
        let column = halves(1);
        let (values, _) = EmbeddingColumn::of(&column).unwrap();
        let message = embeddings.push(&values, 0).unwrap_err().to_string();
        assert!(message.contains("/nowhere/at/all"), "{message}");
    }
}
