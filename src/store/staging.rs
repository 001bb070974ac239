//! Work of other processes that waits for a commit, and lists of what they are to do.
//!
//! Many processes that each commit would wait for each other. So a worker writes rows to files ([`super::fragments`]), puts one
//! object that names them under `staging/`, and a single process commits what is staged:
//!
//! ```text
//! jobs/ID/0000000012.json           what task 12 of a job is to do
//! staging/extract-ID/KEY.json       what a task wrote: files of rows, and small rows
//! ```
//!
//! An object is put with *create, fail if it exists*, and its name comes from what the task was to do. So of two processes that do
//! the same, one is heard.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::commit::{Changes, is_large};
use super::fragments::WrittenRows;
use super::{Snapshot, Store};
use crate::schema::StoreTable;
use crate::{Error, Result};

/// Folder of the lists of tasks.
pub(super) const JOBS: &str = "jobs";
/// Folder of what tasks wrote.
pub(super) const STAGING: &str = "staging";
/// Age from which what is staged is not committed any more: Lance may remove files that no version names after seven days.
pub(crate) const STAGED_KEPT: TimeDelta = TimeDelta::days(6);
/// Objects that are read or written at the same time.
const AT_ONCE: usize = 16;

/// Rows that wait for a commit: many of them in files of their tables, few in the object itself.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct StagedRows {
    written: BTreeMap<StoreTable, WrittenRows>,
    /// Arrow IPC streams in base 64.
    small: BTreeMap<StoreTable, String>,
}

impl StagedRows {
    /// Whether the tables of the rows are still there; those of an embedder can be removed.
    pub(crate) fn have_tables(&self, head: &Snapshot) -> bool {
        let mut tables = self.written.keys().chain(self.small.keys());
        tables.all(|table| head.has_table(table))
    }
}

/// A staged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StagedObject {
    pub key: String,
    pub staged_at: DateTime<Utc>,
}

impl Snapshot {
    /// Writes changes to files, for a commit by another process. They may only append rows, to tables that are there.
    ///
    /// # Errors
    /// [`Error::ColumnMismatch`] for rows that do not fit their table; errors from Lance and the file system.
    pub(crate) async fn stage(&self, changes: Changes) -> Result<StagedRows> {
        let mut staged = StagedRows::default();
        for (table, batches) in changes.into_appends()? {
            if is_large(&batches) {
                let written = self.write_rows(&table, batches).await?;
                staged.written.insert(table, written);
            } else {
                staged.small.insert(table, to_text(&batches)?);
            }
        }
        Ok(staged)
    }
}

impl Changes {
    /// Appends rows that another process staged.
    ///
    /// # Errors
    /// [`Error::StoreDamaged`] for rows that are not those of a table.
    pub(crate) fn append_staged(&mut self, staged: &StagedRows) -> Result<()> {
        for (table, rows) in &staged.written {
            self.append_written(table.clone(), rows.clone());
        }
        for (table, text) in &staged.small {
            for batch in from_text(table, text)? {
                self.append(table.clone(), batch);
            }
        }
        Ok(())
    }
}

impl Store {
    /// Puts what a task wrote; returns false if another process staged the same first.
    pub(crate) async fn put_staged<T: Serialize>(
        &self,
        queue: &str,
        key: &str,
        value: &T,
    ) -> Result<bool> {
        let files = &self.inner.files;
        files.probe().await?;
        files.create_object(&[STAGING, queue, key], value).await
    }

    /// What is staged in a queue, oldest first.
    pub(crate) async fn staged(&self, queue: &str) -> Result<Vec<StagedObject>> {
        let listed = self.inner.files.list_objects(&[STAGING, queue]).await?;
        let mut found: Vec<StagedObject> = listed
            .into_iter()
            .map(|(key, staged_at)| StagedObject { key, staged_at })
            .collect();
        found.sort_by(|a, b| (a.staged_at, &a.key).cmp(&(b.staged_at, &b.key)));
        Ok(found)
    }

    /// Reads what was staged, without what is gone.
    pub(crate) async fn read_staged<T: DeserializeOwned>(
        &self,
        queue: &str,
        keys: impl IntoIterator<Item = String>,
    ) -> Result<Vec<(String, T)>> {
        let files = &self.inner.files;
        let read = stream::iter(keys).map(|key| async move {
            let read = files.read_object(&[STAGING, queue, &key]).await?;
            Ok::<_, Error>(read.map(|value| (key, value)))
        });
        let read: Vec<Option<(String, T)>> = read.buffered(AT_ONCE).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// Removes what was staged, once it is committed or of no use.
    pub(crate) async fn remove_staged(
        &self,
        queue: &str,
        keys: impl IntoIterator<Item = String>,
    ) -> Result<()> {
        let files = &self.inner.files;
        let removed = stream::iter(keys)
            .map(|key| async move { files.remove_object(&[STAGING, queue, &key]).await });
        removed.buffered(AT_ONCE).try_collect().await
    }

    /// Writes what the tasks of a job are to do, from number `first` on.
    pub(crate) async fn put_tasks<T: Serialize>(
        &self,
        job: &str,
        first: u32,
        tasks: &[T],
    ) -> Result<()> {
        let files = &self.inner.files;
        let put = (first..).zip(tasks).map(|(number, task)| async move {
            let name = task_name(number);
            files.create_object(&[JOBS, job, &name], task).await
        });
        let put: Vec<_> = put.collect();
        let put = stream::iter(put).buffered(AT_ONCE);
        put.try_for_each(|_| async { Ok(()) }).await
    }

    /// What a task of a job is to do.
    ///
    /// # Errors
    /// [`Error::StoreDamaged`] if the job has no such task.
    pub(crate) async fn task<T: DeserializeOwned>(&self, job: &str, number: u32) -> Result<T> {
        let name = task_name(number);
        let task = self.inner.files.read_object(&[JOBS, job, &name]).await?;
        task.ok_or_else(|| Error::StoreDamaged {
            path: format!("{JOBS}/{job}/{name}.json"),
            reason: "it is missing; the job was given up".to_owned(),
        })
    }

    /// Removes what nobody has committed for as long as files that no version names are kept, and the lists of jobs from
    /// before then.
    pub(super) async fn remove_stale_staging(&self) -> Result<()> {
        let before = Utc::now() - STAGED_KEPT;
        self.inner
            .files
            .remove_older(&[STAGING, JOBS], before)
            .await
    }

    /// Removes the tasks of a job that has ended.
    pub(crate) async fn remove_tasks(&self, job: &str) -> Result<()> {
        let files = &self.inner.files;
        let listed = files.list_objects(&[JOBS, job]).await?;
        let removed = stream::iter(listed)
            .map(|(name, _)| async move { files.remove_object(&[JOBS, job, &name]).await });
        let () = removed.buffered(AT_ONCE).try_collect().await?;
        if let Some(local) = files.local_path() {
            // Another may have removed it.
            let _ = std::fs::remove_dir(local.join(JOBS).join(job));
        }
        Ok(())
    }
}

fn task_name(number: u32) -> String {
    format!("{number:010}")
}

fn to_text(batches: &[RecordBatch]) -> Result<String> {
    let Some(first) = batches.first() else {
        return Ok(String::new());
    };
    let mut writer = StreamWriter::try_new(Vec::new(), &first.schema())?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(STANDARD.encode(writer.into_inner()?))
}

fn from_text(table: &StoreTable, text: &str) -> Result<Vec<RecordBatch>> {
    let bytes = STANDARD.decode(text).map_err(|err| Error::StoreDamaged {
        path: STAGING.to_owned(),
        reason: format!("its rows of '{}' cannot be read: {err}", table.path()),
    })?;
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let reader = StreamReader::try_new(&bytes[..], None)?;
    Ok(reader.collect::<Result<_, _>>()?)
}
