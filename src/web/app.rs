//! What all requests share: the store, the journal of answers, the job that runs, and photos that were read.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use grainstore::catalogue::{find_head, heads_stored};
use grainstore::review::{Answer, Journal, MaskKey};
use grainstore::store::rows::MaskLabelRow;
use grainstore::store::{Snapshot, Store};

use super::Options;
use super::access::Access;
use super::failure::{Answered, Failure};
use super::job::Jobs;
use super::model::Model;
use super::photos::Photos;

/// The state of the server.
pub struct App {
    /// The store.
    pub store: Store,
    /// Who may use the page.
    pub access: Access,
    /// Who labels.
    pub reviewer: Option<String>,
    /// Training that runs, or ran last.
    pub jobs: Jobs,
    /// Photos.
    pub photos: Photos,
    /// What masks are added with, if there is a checkpoint.
    pub model: Option<Model>,
    /// `None` if nothing can be changed.
    journal: Option<Journal>,
    /// Head that the page begins with.
    head: Option<String>,
    /// What was answered since the page was opened.
    said: Mutex<Said>,
}

#[derive(Debug, Default)]
struct Said {
    /// The newest answer of each mask.
    of_masks: HashMap<MaskKey, MaskLabelRow>,
    last: Option<Instant>,
}

impl App {
    /// The state for a store.
    pub async fn new(store: Store, access: Access, options: &Options) -> anyhow::Result<Self> {
        let snapshot = store.snapshot().await?;
        let head = match &options.head {
            Some(word) => {
                // The newest head of a name goes by its name, others by their ids.
                let head = find_head(&snapshot, word).await?;
                let newest = find_head(&snapshot, &head.head).await?;
                let is_newest = newest.head_id == head.head_id;
                let id = head.head_id.to_string();
                Some(if is_newest { head.head } else { id })
            }
            None => None,
        };
        let journal = if options.read_only {
            None
        } else {
            Some(Journal::open(&store, options.reviewer.as_deref()).await?)
        };
        let model = match &options.checkpoint {
            Some(file) => {
                let (device, precision) = (options.device, options.precision);
                Some(Model::open(&store, file.clone(), device, precision).await?)
            }
            None => None,
        };
        Ok(Self {
            model,
            photos: Photos::new(store.clone()),
            store,
            access,
            reviewer: options.reviewer.clone(),
            jobs: Jobs::default(),
            journal,
            head,
            said: Mutex::default(),
        })
    }

    /// Whether nothing can be changed.
    pub fn is_read_only(&self) -> bool {
        self.journal.is_none()
    }

    /// An error if nothing can be changed.
    pub fn check_writable(&self) -> Answered<()> {
        match self.journal {
            Some(_) => Ok(()),
            None => Err(read_only()),
        }
    }

    /// Saves answers; they are on the disk when it returns.
    pub async fn answer(&self, answers: Vec<Answer>) -> Answered<Vec<MaskLabelRow>> {
        let journal = self.journal.as_ref().ok_or_else(read_only)?;
        let rows = journal.add(answers).await?;
        let mut said = self.locked();
        said.last = Some(Instant::now());
        for row in &rows {
            said.of_masks.insert(MaskKey::of(row), row.clone());
        }
        Ok(rows)
    }

    /// What was answered of a mask since the page was opened.
    pub fn answered(&self, mask: &MaskKey) -> Option<MaskLabelRow> {
        self.locked().of_masks.get(mask).cloned()
    }

    /// Puts answers into their table.
    pub async fn fold(&self) -> grainstore::Result<()> {
        if let Some(journal) = &self.journal {
            journal.fold().await?;
        }
        Ok(())
    }

    /// Whether there are answers in the journal and the last is at least so old.
    pub fn has_rested(&self, rest: Duration) -> bool {
        let waits = self.journal.as_ref().is_some_and(|it| !it.is_empty());
        waits && self.locked().last.is_none_or(|last| last.elapsed() >= rest)
    }

    /// The newest state of the store, with everything that was answered.
    pub async fn snapshot(&self) -> Answered<Snapshot> {
        self.fold().await?;
        Ok(self.store.snapshot().await?)
    }

    /// The head of a request, else the one that the page begins with, else the newest that is no part of another.
    pub async fn head(
        &self,
        snapshot: &Snapshot,
        asked: Option<&str>,
    ) -> grainstore::Result<Option<String>> {
        if let Some(head) = asked
            .filter(|head| !head.is_empty())
            .or(self.head.as_deref())
        {
            return Ok(Some(head.to_owned()));
        }
        let heads = heads_stored(snapshot).await?;
        let is_whole = |name: &str| !name.ends_with(".teacher") && !name.ends_with(".student");
        let mut newest = heads.into_iter().rev().filter(|row| is_whole(&row.head));
        // Of imported predictions there are no weights, so they cannot be asked about single masks.
        let first = newest.next();
        let is_own = first.as_ref().is_none_or(|row| !row.is_imported());
        let own = if is_own {
            None
        } else {
            newest.find(|row| !row.is_imported())
        };
        Ok(own.or(first).map(|row| row.head))
    }

    fn locked(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read_only() -> Failure {
    Failure::new(
        StatusCode::FORBIDDEN,
        "the page was opened with --read-only".to_owned(),
    )
}
