//! The stores that a process of a cluster has open.

use std::collections::HashMap;

use tokio::sync::Mutex;

use super::{Snapshot, StorageOptions, Store};
use crate::Result;

/// Snapshots that are kept open; more are forgotten all at once.
const SNAPSHOTS: usize = 16;

/// Stores by their URI, each opened when it is first asked for.
#[derive(Debug, Default)]
pub struct OpenStores {
    storage: StorageOptions,
    stores: Mutex<HashMap<String, Store>>,
    snapshots: Mutex<HashMap<(String, u64), Snapshot>>,
}

impl OpenStores {
    /// No stores yet; buckets are reached with these options.
    pub fn new(storage: StorageOptions) -> Self {
        Self {
            storage,
            ..Self::default()
        }
    }

    /// Opens a store, or returns it if it is open.
    ///
    /// # Errors
    /// As [`Store::open_with`].
    pub async fn store(&self, uri: &str) -> Result<Store> {
        let mut stores = self.stores.lock().await;
        if let Some(store) = stores.get(uri) {
            return Ok(store.clone());
        }
        let store = Store::open_with(uri, &self.storage).await?;
        stores.insert(uri.to_owned(), store.clone());
        Ok(store)
    }

    /// A store as a commit left it.
    ///
    /// # Errors
    /// As [`OpenStores::store`] and [`Store::snapshot_at`].
    pub async fn snapshot(&self, uri: &str, commit: u64) -> Result<Snapshot> {
        let store = self.store(uri).await?;
        let mut snapshots = self.snapshots.lock().await;
        let key = (uri.to_owned(), commit);
        if let Some(snapshot) = snapshots.get(&key) {
            return Ok(snapshot.clone());
        }
        if snapshots.len() >= SNAPSHOTS {
            snapshots.clear();
        }
        let snapshot = store.snapshot_at(commit).await?;
        snapshots.insert(key, snapshot.clone());
        Ok(snapshot)
    }
}
