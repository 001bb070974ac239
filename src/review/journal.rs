//! Statements that are saved one key at a time: first in a journal, and then many of them in one commit.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use datafusion::prelude::{col, lit};
use datafusion::scalar::ScalarValue;
use futures::StreamExt;
use serde::Deserialize;

use super::answer::Answer;
use crate::ids::check_name;
use crate::schema::Table;
use crate::store::rows::{MaskLabelRow, Row, decode};
use crate::store::{Changes, JournalFile, Snapshot, Store, journals, read_journal, take_over};
use crate::task::blocking;
use crate::{Error, Result};

/// A journal of what one reviewer answers.
///
/// An answer is on the disk when [`Journal::add`] returns, in about a millisecond. It is in the table `mask_labels` after
/// [`Journal::fold`], or after [`fold_journals`] if the process ended before; never twice. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Journal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    reviewer: Option<String>,
    files: Mutex<Files>,
    /// Held while answers are put into the table.
    folding: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Files {
    /// The file that answers are appended to; none before the first.
    open: Option<JournalFile>,
    /// Files whose answers are being put into the table, or could not be.
    full: Vec<JournalFile>,
    /// Time of the last answer.
    last: DateTime<Utc>,
}

impl Journal {
    /// Opens a journal in a store, for a reviewer.
    ///
    /// # Examples
    /// ```
    /// use grainstore::review::Journal;
    /// # use grainstore::store::{Store, StoreOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let place = dir.path().join("store").display().to_string();
    /// # tokio::runtime::Runtime::new()?.block_on(async {
    /// let store = Store::open_or_create(&place, StoreOptions::default()).await?;
    /// let journal = Journal::open(&store, Some("anna")).await?;
    /// assert!(journal.is_empty());
    /// assert_eq!(journal.fold().await?, 0);
    /// # Ok::<(), grainstore::Error>(())
    /// # })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidName`] for a reviewer's name that is none; [`Error::InvalidOption`] for a store that is not a
    /// directory.
    pub async fn open(store: &Store, reviewer: Option<&str>) -> Result<Self> {
        if let Some(reviewer) = reviewer {
            check_name("reviewer", reviewer)?;
        }
        JournalFile::check(store)?;
        let files = Files {
            open: None,
            full: Vec::new(),
            last: store.snapshot().await?.now(),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                store: store.clone(),
                reviewer: reviewer.map(str::to_owned),
                files: Mutex::new(files),
                folding: tokio::sync::Mutex::default(),
            }),
        })
    }

    /// Saves answers: all of them or, after an error, none. Returns their rows. The masks must be in the store.
    ///
    /// # Errors
    /// [`Error::File`].
    pub async fn add(&self, answers: Vec<Answer>) -> Result<Vec<MaskLabelRow>> {
        let inner = self.inner.clone();
        blocking(WRITING, move || inner.append(answers)).await
    }

    /// Whether every answer is in the table.
    pub fn is_empty(&self) -> bool {
        let files = self.inner.files();
        files.open.is_none() && files.full.is_empty()
    }

    /// Puts what was answered into the table `mask_labels`, in one commit. Returns the number of rows that were added.
    /// Dropping the future does not stop it.
    ///
    /// # Errors
    /// Errors of the store; what was not added stays in the journal, and the next call tries again.
    pub async fn fold(&self) -> Result<u64> {
        if self.is_empty() {
            return Ok(0);
        }
        let inner = self.inner.clone();
        let folded = tokio::spawn(async move { inner.fold().await }).await;
        folded.map_err(|source| Error::Worker {
            task: WRITING,
            source,
        })?
    }
}

impl Inner {
    fn files(&self) -> MutexGuard<'_, Files> {
        // A panic while it was held cannot have left half of a change: appending either counts or does not.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, answers: Vec<Answer>) -> Result<Vec<MaskLabelRow>> {
        let mut files = self.files();
        let mut last = files.last;
        let mut rows = Vec::with_capacity(answers.len());
        for answer in answers {
            last = after(last);
            rows.push(answer.into_row(self.reviewer.clone(), last));
        }
        let lines: Vec<Vec<u8>> = rows
            .iter()
            .map(serde_json::to_vec)
            .collect::<std::result::Result<_, _>>()?;
        if let Some(torn) = files.open.take_if(|open| open.is_torn()) {
            files.full.push(torn);
        }
        let mut open = match files.open.take() {
            Some(open) => open,
            None => JournalFile::create(&self.store)?,
        };
        let appended = open.append(&lines);
        files.open = Some(open);
        appended?;
        files.last = last;
        Ok(rows)
    }

    async fn fold(&self) -> Result<u64> {
        let _alone = self.folding.lock().await;
        let paths: Vec<PathBuf> = {
            // Answers that come meanwhile go into the next file.
            let mut files = self.files();
            let open = files.open.take();
            files.full.extend(open);
            files.full.iter().map(|it| it.path().to_owned()).collect()
        };
        let rows = rows_of(&paths)?;
        let added = commit(&self.store, &rows).await?;
        let folded: Vec<JournalFile> = self.files().full.drain(..paths.len()).collect();
        for full in folded {
            full.remove()?;
        }
        Ok(added)
    }
}

/// Puts what any review page saved into the table `mask_labels`, and removes the journals of pages that have ended. Returns
/// the number of rows that were added.
///
/// # Errors
/// [`Error::StoreDamaged`] for a journal that is not as it was written; errors of the store.
pub async fn fold_journals(store: &Store) -> Result<u64> {
    let found = journals(store)?;
    if found.is_empty() {
        return Ok(0);
    }
    // Taken over before they are read: a writer can have added a last line before it ended.
    let ended: Vec<Option<JournalFile>> = found
        .iter()
        .map(|path| take_over(path))
        .collect::<Result<_>>()?;
    let rows = rows_of(&found)?;
    let added = commit(store, &rows).await?;
    for journal in ended.into_iter().flatten() {
        journal.remove()?;
    }
    Ok(added)
}

/// What a worker thread does, for its errors.
const WRITING: &str = "saving labels";

/// The current time, or the time just after another if that is later. Tables keep microseconds.
fn after(last: DateTime<Utc>) -> DateTime<Utc> {
    Utc::now()
        .max(last + TimeDelta::microseconds(1))
        .trunc_subsecs(6)
}

fn rows_of(journals: &[PathBuf]) -> Result<Vec<MaskLabelRow>> {
    let mut rows = Vec::new();
    for path in journals {
        let name = path.display().to_string();
        for line in read_journal(path)? {
            rows.push(parsed(&line, &name)?);
        }
    }
    Ok(rows)
}

fn parsed(line: &[u8], path: &str) -> Result<MaskLabelRow> {
    serde_json::from_slice(line).map_err(|err| Error::StoreDamaged {
        path: path.to_owned(),
        reason: format!("a line is no label: {err}"),
    })
}

/// Adds rows that are not in the table yet: another process can have folded the same journal.
async fn commit(store: &Store, rows: &[MaskLabelRow]) -> Result<u64> {
    let Some(first) = rows.iter().map(|row| row.created_at).min() else {
        return Ok(0);
    };
    let (_, added) = store
        .commit_with("review", |snapshot| async move {
            let known = ids_since(&snapshot, first).await?;
            let new: Vec<MaskLabelRow> = rows
                .iter()
                .filter(|row| !known.contains(row.mask_label_id.as_str()))
                .cloned()
                .collect();
            let mut changes = Changes::new();
            if !new.is_empty() {
                changes.append(MaskLabelRow::TABLE, MaskLabelRow::to_batch(&new)?);
            }
            Ok((changes, new.len() as u64))
        })
        .await?;
    Ok(added)
}

/// Ids of the labels that were made since a time.
async fn ids_since(snapshot: &Snapshot, since: DateTime<Utc>) -> Result<HashSet<String>> {
    #[derive(Deserialize)]
    struct Id {
        mask_label_id: String,
    }
    let since =
        ScalarValue::TimestampMicrosecond(Some(since.timestamp_micros()), Some("UTC".into()));
    let scan = snapshot.scan(Table::MaskLabels).await?;
    let scan = scan.project(&["mask_label_id"])?;
    let mut rows = scan
        .filter(col("created_at").gt_eq(lit(since)))
        .stream()
        .await?;
    let mut found = HashSet::new();
    while let Some(batch) = rows.next().await {
        let ids = decode::<Id>(Table::MaskLabels, &batch?)?.into_iter();
        found.extend(ids.map(|row| row.mask_label_id));
    }
    Ok(found)
}
