//! Embeddings for training, in the store's number type: in memory up to a budget, beyond it in a temporary file, or in
//! the store until they are needed.

use std::path::{Path, PathBuf};

use half::slice::HalfFloatSliceExt;

use super::number_words::{append_numbers, runs};
use super::stored_embeddings::StoredEmbeddings;
use super::temporary_file::TemporaryFile;
use crate::Result;
use crate::store::columns::EmbeddingRow;

/// Rows of a part, the unit of allocation.
const PART_ROWS: usize = 4096;

/// Bytes written to the temporary file at once.
const WRITE_BYTES: usize = 1 << 20;

/// Embeddings by row.
#[derive(Debug)]
pub(super) enum Embeddings {
    /// All of them were read.
    Collected(Collected),
    /// They are read from the store when they are needed.
    Stored(StoredEmbeddings),
}

impl Embeddings {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::Collected(collected) => collected.rows(),
            Self::Stored(stored) => stored.rows(),
        }
    }

    /// Appends the given rows to `into`, in the order given.
    ///
    /// # Errors
    /// [`crate::Error::File`] if the temporary file cannot be read; errors of the store, for rows that are in it.
    pub fn read(&self, rows: &[u32], into: &mut Vec<f32>) -> Result<()> {
        match self {
            Self::Collected(collected) => collected.read(rows, into),
            Self::Stored(stored) => stored.read(rows, into),
        }
    }
}

/// Embeddings by row, in the order in which they were added.
#[derive(Debug)]
pub(super) struct Collected {
    dim: usize,
    rows: usize,
    /// 16-bit words per number: 1 or 2, as in the first row; 1 until there is one.
    words: usize,
    budget_bytes: usize,
    /// Rows in the order of their arrival, as 16-bit words.
    parts: Vec<Vec<u16>>,
    spool: Option<Spool>,
    spool_dir: PathBuf,
}

/// A temporary file that rows are appended to.
#[derive(Debug)]
struct Spool {
    file: TemporaryFile,
    /// Bytes that are written.
    written: u64,
    /// Bytes that are not written yet.
    pending: Vec<u8>,
}

impl Spool {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= WRITE_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write(self.written, &self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

impl Collected {
    /// Creates an empty collection of embeddings of `dim` numbers each. If they exceed `budget_bytes`, they go to a
    /// file in `spool_dir`.
    pub fn new(dim: usize, budget_bytes: usize, spool_dir: &Path) -> Self {
        Self {
            dim,
            rows: 0,
            words: 1,
            budget_bytes,
            parts: Vec::new(),
            spool: None,
            spool_dir: spool_dir.to_owned(),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the embeddings are in a temporary file.
    pub fn is_spooled(&self) -> bool {
        self.spool.is_some()
    }

    /// Adds an embedding; returns false, without adding it, if it holds a number that is not finite.
    ///
    /// # Errors
    /// [`crate::Error::File`] if the temporary file cannot be written.
    pub fn push(&mut self, embedding: EmbeddingRow) -> Result<bool> {
        let row: &[u16] = match embedding {
            EmbeddingRow::Half(values) => values.reinterpret_cast(),
            EmbeddingRow::Single(values) => bytemuck::cast_slice(values),
        };
        if !embedding.is_finite() {
            return Ok(false);
        }
        if self.rows == 0 {
            self.words = row.len() / self.dim.max(1);
        }
        if self.spool.is_none() && (self.rows + 1) * self.row_words() * 2 > self.budget_bytes {
            self.move_to_spool()?;
        }
        match &mut self.spool {
            Some(spool) => spool.append(bytemuck::cast_slice(row))?,
            None => self.push_part(row),
        }
        self.rows += 1;
        Ok(true)
    }

    fn row_words(&self) -> usize {
        self.dim * self.words
    }

    fn push_part(&mut self, row: &[u16]) {
        let size = PART_ROWS * self.row_words();
        match self.parts.last_mut() {
            Some(part) if part.len() < size => part.extend_from_slice(row),
            _ => {
                let mut part = Vec::with_capacity(size);
                part.extend_from_slice(row);
                self.parts.push(part);
            }
        }
    }

    /// Writes out what is buffered; must be called after the last row is added.
    ///
    /// # Errors
    /// [`crate::Error::File`] if the temporary file cannot be written.
    pub fn finish(&mut self) -> Result<()> {
        self.spool.as_mut().map_or(Ok(()), Spool::flush)
    }

    fn move_to_spool(&mut self) -> Result<()> {
        let mut spool = Spool {
            file: TemporaryFile::create(&self.spool_dir)?,
            written: 0,
            pending: Vec::new(),
        };
        for part in self.parts.drain(..) {
            spool.append(bytemuck::cast_slice(&part))?;
        }
        self.spool = Some(spool);
        Ok(())
    }

    /// Appends the given rows to `into`, in the order given.
    ///
    /// # Errors
    /// [`crate::Error::File`] if the temporary file cannot be read.
    pub fn read(&self, rows: &[u32], into: &mut Vec<f32>) -> Result<()> {
        let size = self.row_words();
        let mut read = Vec::new();
        for run in runs(rows) {
            if let Some(spool) = &self.spool {
                read.resize(run.count * size, 0);
                let at = (run.first * size * 2) as u64;
                spool.file.read(at, bytemuck::cast_slice_mut(&mut read))?;
                append_numbers(self.words, &read, into);
                continue;
            }
            for row in run.first..run.first + run.count {
                let (part, at) = (row / PART_ROWS, row % PART_ROWS * size);
                let part = self.parts.get(part);
                if let Some(words) = part.and_then(|part| part.get(at..at + size)) {
                    append_numbers(self.words, words, into);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    fn half(row: i16) -> [f16; 4] {
        [0, 1, 2, 3].map(|k| f16::from_f32(f32::from(row * 4 + k)))
    }

    fn filled(budget: usize, rows: i16) -> Collected {
        let mut embeddings = Collected::new(4, budget, &std::env::temp_dir());
        for row in 0..rows {
            let pushed = embeddings.push(EmbeddingRow::Half(&half(row)));
            assert!(pushed.unwrap());
        }
        embeddings.finish().unwrap();
        embeddings
    }

    #[test]
    fn memory_and_file_give_the_same_rows() {
        for budget in [0, 20, 1 << 20] {
            let embeddings = filled(budget, 10);
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
    fn single_numbers_are_kept_whole_and_others_refused() {
        for budget in [0, 1 << 20] {
            let mut embeddings = Collected::new(4, budget, &std::env::temp_dir());
            let mut push = |row: [f32; 4]| embeddings.push(EmbeddingRow::Single(&row)).unwrap();
            assert!(push([0.1, 0.2, 0.3, 0.4]));
            assert!(!push([1.0, 2.0, f32::NAN, 4.0]), "NaN is refused");
            embeddings.finish().unwrap();
            let mut read = Vec::new();
            embeddings.read(&[0], &mut read).unwrap();
            assert_eq!(read, [0.1, 0.2, 0.3, 0.4]);
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let mut embeddings = Collected::new(4, 0, Path::new("/nowhere/at/all"));
        let message = embeddings.push(EmbeddingRow::Half(&half(0))).unwrap_err();
        let message = message.to_string();
        assert!(message.contains("/nowhere/at/all"), "{message}");
    }
}
