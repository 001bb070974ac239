//! The lock that makes writers of a local store take turns.
//!
//! It is an advisory lock on `STORE/lock`, which the kernel frees when its holder ends, however it ends. Other stores
//! have no lock; there, commit records alone keep concurrent writers safe (see [`super`]).

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use super::disk::create_directory;
use crate::error::FileAction;
use crate::task::blocking;
use crate::{Error, Result};

pub(super) const FILE_NAME: &str = "lock";

#[derive(Debug)]
pub(super) struct CommitLock {
    directory: Option<PathBuf>,
}

/// Holds the lock until it is dropped.
pub(super) struct CommitGuard {
    _file: Option<File>,
}

impl CommitLock {
    /// The lock of the store in `directory`; `None` for a store that is not a local directory and so has no lock.
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// Waits for the lock and takes it.
    pub async fn acquire(&self) -> Result<CommitGuard> {
        let Some(directory) = self.directory.clone() else {
            return Ok(CommitGuard { _file: None });
        };
        blocking("waiting for the store's lock", move || {
            create_directory(&directory)?;
            let path = directory.join(FILE_NAME);
            let file = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(Error::file(FileAction::Write, &path))?;
            file.lock().map_err(Error::file(FileAction::Lock, &path))?;
            Ok(CommitGuard { _file: Some(file) })
        })
        .await
    }
}
