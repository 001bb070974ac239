//! What the tasks on one machine share: its device, the stores that it has open, and the model.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use crate::device::DeviceName;
use crate::store::{OpenStores, StorageOptions, Store};
use crate::{Error, Result};

/// How a worker runs its tasks.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Device that models compute on.
    pub device: DeviceName,
    /// Number of chunks that are worked on at the same time.
    pub slots: usize,
    /// Number of images of a chunk that go through Segment Anything at once; `None` as for
    /// [`ExtractRequest::images_at_once`](crate::extract::ExtractRequest::images_at_once).
    pub images_at_once: Option<usize>,
    /// Access to buckets, beside what the environment says.
    pub storage: StorageOptions,
    /// Directory for checkpoints that are fetched from buckets.
    pub cache: PathBuf,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            device: DeviceName::default(),
            slots: 1,
            images_at_once: None,
            storage: StorageOptions::new(),
            cache: std::env::temp_dir().join("grainstore-checkpoints"),
        }
    }
}

/// A machine, or a part of one, that runs tasks. One model is loaded at a time, by the first task that needs it.
pub struct Worker {
    options: WorkerOptions,
    slots: Semaphore,
    stores: Arc<OpenStores>,
    model: Mutex<Option<(String, Arc<dyn Any + Send + Sync>)>>,
}

impl Worker {
    /// A worker without open stores.
    pub fn new(options: WorkerOptions) -> Self {
        Self {
            slots: Semaphore::new(options.slots.max(1)),
            stores: Arc::new(OpenStores::new(options.storage.clone())),
            options,
            model: Mutex::default(),
        }
    }

    /// How it runs tasks.
    pub(crate) fn options(&self) -> &WorkerOptions {
        &self.options
    }

    /// Number of chunks that are worked on at the same time.
    pub(super) fn slots(&self) -> usize {
        self.options.slots.max(1)
    }

    /// Waits until fewer tasks run than there are slots.
    pub(super) async fn slot(&self) -> Result<SemaphorePermit<'_>> {
        self.slots.acquire().await.map_err(|_| Error::Internal {
            what: "the slots of a worker are closed",
        })
    }

    /// Opens a store, or returns it if it is open.
    pub(super) async fn store(&self, uri: &str) -> Result<Store> {
        self.stores.store(uri).await
    }

    /// The stores that it has open, for scans of their tables.
    pub fn stores(&self) -> Arc<OpenStores> {
        self.stores.clone()
    }

    /// The model that is called `name`, loaded unless it is. Another one is dropped first: two may not fit into the device's
    /// memory.
    pub(crate) async fn model<M: Send + Sync + 'static>(
        &self,
        name: &str,
        load: impl Future<Output = Result<M>> + Send,
    ) -> Result<Arc<M>> {
        let mut held = self.model.lock().await;
        let found = held.as_ref().filter(|(held, _)| held == name);
        if let Some(model) = found.and_then(|(_, model)| model.clone().downcast().ok()) {
            return Ok(model);
        }
        *held = None;
        let model = Arc::new(load.await?);
        *held = Some((name.to_owned(), model.clone()));
        Ok(model)
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
