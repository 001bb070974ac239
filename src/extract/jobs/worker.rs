//! What the tasks on one machine share: its device, the stores that it has open, and the model.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use super::spec::ExtractSpec;
use crate::device::DeviceName;
use crate::extract::generator::MaskGenerator;
use crate::extract::options::SamVector;
use crate::store::rows::{EmbedderRow, ExtractorRow};
use crate::store::{StorageOptions, Store};
use crate::task::blocking;
use crate::{Error, Result};

/// How a worker runs its tasks.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Device that models compute on.
    pub device: DeviceName,
    /// Number of chunks that go through the model at the same time.
    pub slots: usize,
    /// Number of images of a chunk that go through the model at once; `None` as for
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
    stores: Mutex<HashMap<String, Store>>,
    model: Mutex<Option<Arc<Model>>>,
}

/// A model that is loaded, and what it makes.
pub(super) struct Model {
    spec: ExtractSpec,
    pub generator: Arc<MaskGenerator>,
    pub row: ExtractorRow,
    pub vectors: Vec<(SamVector, EmbedderRow)>,
    pub images_at_once: usize,
}

impl Worker {
    /// A worker without open stores.
    pub fn new(options: WorkerOptions) -> Self {
        Self {
            slots: Semaphore::new(options.slots.max(1)),
            options,
            stores: Mutex::default(),
            model: Mutex::default(),
        }
    }

    /// Number of chunks that go through the model at the same time.
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
        let mut stores = self.stores.lock().await;
        if let Some(store) = stores.get(uri) {
            return Ok(store.clone());
        }
        let store = Store::open_with(uri, &self.options.storage).await?;
        stores.insert(uri.to_owned(), store.clone());
        Ok(store)
    }

    /// The model of a job, loaded unless it is.
    ///
    /// # Errors
    /// [`Error::Cluster`] if the checkpoint and the options make another extractor here than where the job was started.
    pub(super) async fn model(&self, spec: &ExtractSpec, store: &Store) -> Result<Arc<Model>> {
        let mut held = self.model.lock().await;
        let of = spec.of_any_job();
        if let Some(model) = held.as_ref().filter(|model| model.spec == of) {
            return Ok(model.clone());
        }
        // Two models may not fit into the device's memory.
        *held = None;
        let request = spec.request(store, self.options.device, &self.options.cache);
        let mut request = request.await?;
        request.images_at_once = self.options.images_at_once;
        let extractor = blocking("loading the model", move || request.open()).await?;
        if extractor.row.extractor_id != spec.extractor_id {
            return Err(Error::Cluster {
                reason: format!(
                    "this worker makes extractor {} of what the job calls {}: it has another version of grainstore, or the \
                     checkpoint in its cache '{}' is damaged",
                    extractor.row.extractor_id,
                    spec.extractor_id,
                    self.options.cache.display()
                ),
            });
        }
        let model = Arc::new(Model {
            spec: of,
            generator: Arc::new(extractor.generator),
            row: extractor.row,
            vectors: extractor.vectors,
            images_at_once: extractor.images_at_once,
        });
        *held = Some(model.clone());
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
