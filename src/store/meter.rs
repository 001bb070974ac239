//! What passes between the program and a bucket: requests and bytes are counted, and checksums are taken while bytes leave, so
//! that no file is read again for its checksum.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::BoxStream;
use lance::io::WrappingObjectStore;
use object_store::list::PaginatedListStore;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use serde::Serialize;

use super::sums::{Checksum, Summing};

/// Requests to a bucket, and the bytes that they moved. A request that is tried again inside the client counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// Objects or parts of them read, or asked about.
    pub gets: u64,
    /// Objects or parts of them written.
    pub puts: u64,
    /// Listings. A long one is several requests.
    pub lists: u64,
    /// Objects deleted.
    pub deletes: u64,
    /// Bytes read, in as far as the size was known at the start of each answer.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
}

impl Traffic {
    /// Number of all requests.
    pub fn requests(&self) -> u64 {
        self.gets + self.puts + self.lists + self.deletes
    }
}

/// Checksums that are remembered at the same time; a commit asks for those of its own files.
const MOST_SUMS: usize = 100_000;

/// Counts and sums of one store.
#[derive(Debug, Default)]
pub(super) struct Meter {
    gets: AtomicU64,
    puts: AtomicU64,
    lists: AtomicU64,
    deletes: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    sums: Mutex<HashMap<Path, Checksum>>,
}

impl Meter {
    /// What has passed so far.
    pub fn traffic(&self) -> Traffic {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic {
            gets: of(&self.gets),
            puts: of(&self.puts),
            lists: of(&self.lists),
            deletes: of(&self.deletes),
            bytes_read: of(&self.bytes_read),
            bytes_written: of(&self.bytes_written),
        }
    }

    /// Takes the checksum of an object that this process wrote, or was given.
    pub fn take_sum(&self, object: &Path) -> Option<Checksum> {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.remove(object)
    }

    /// Keeps the checksum of an object until it is taken.
    pub fn keep_sum(&self, object: Path, sum: Checksum) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody asks for stays: transactions of Lance, records, files of lost races. A sum that is forgotten too early
        // is taken by reading the object.
        if sums.len() >= MOST_SUMS {
            sums.clear();
        }
        sums.insert(object, sum);
    }
}

/// Puts a meter before an object store.
#[derive(Debug, Clone)]
pub(super) struct Metering(pub Arc<Meter>);

impl WrappingObjectStore for Metering {
    fn wrap(&self, _prefix: &str, original: Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> {
        Arc::new(Metered {
            target: original,
            meter: self.0.clone(),
        })
    }

    /// Without paged listings, every listing goes through [`Metered`].
    fn wrap_paginated(
        &self,
        _prefix: &str,
        _original: Arc<dyn PaginatedListStore>,
    ) -> Option<Arc<dyn PaginatedListStore>> {
        None
    }
}

/// An object store behind a meter.
#[derive(Debug)]
struct Metered {
    target: Arc<dyn ObjectStore>,
    meter: Arc<Meter>,
}

impl fmt::Display for Metered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metered({})", self.target)
    }
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

#[async_trait::async_trait]
impl ObjectStore for Metered {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        count(&self.meter.puts, 1);
        tracing::trace!(%location, "put");
        count(&self.meter.bytes_written, payload.content_length() as u64);
        let mut sum = Summing::default();
        payload.iter().for_each(|bytes| sum.add(bytes));
        let put = self.target.put_opts(location, payload, options).await?;
        self.meter.keep_sum(location.clone(), sum.end());
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        count(&self.meter.puts, 1);
        tracing::trace!(%location, "put in parts");
        Ok(Box::new(MeteredUpload {
            target: self.target.put_multipart_opts(location, options).await?,
            meter: self.meter.clone(),
            location: location.clone(),
            sum: Summing::default(),
        }))
    }

    // Ranges of one object come here one by one, which counts them.
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        count(&self.meter.gets, 1);
        tracing::trace!(%location, head = options.head, "get");
        let is_head = options.head;
        let found = self.target.get_opts(location, options).await?;
        if !is_head {
            count(&self.meter.bytes_read, found.range.end - found.range.start);
        }
        Ok(found)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let meter = self.meter.clone();
        let counted = locations.inspect(move |_| count(&meter.deletes, 1));
        self.target.delete_stream(counted.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        count(&self.meter.lists, 1);
        tracing::trace!(?prefix, "list");
        self.target.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        count(&self.meter.lists, 1);
        tracing::trace!(?prefix, %offset, "list");
        self.target.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        count(&self.meter.lists, 1);
        tracing::trace!(?prefix, "list with delimiter");
        self.target.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        count(&self.meter.puts, 1);
        self.target.copy_opts(from, to, options).await
    }
}

/// An upload in parts, summed in the order in which they are given.
struct MeteredUpload {
    target: Box<dyn MultipartUpload>,
    meter: Arc<Meter>,
    location: Path,
    sum: Summing,
}

impl fmt::Debug for MeteredUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MeteredUpload")
            .field(&self.location)
            .finish()
    }
}

#[async_trait::async_trait]
impl MultipartUpload for MeteredUpload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        count(&self.meter.puts, 1);
        count(&self.meter.bytes_written, payload.content_length() as u64);
        payload.iter().for_each(|bytes| self.sum.add(bytes));
        self.target.put_part(payload)
    }

    async fn complete(&mut self) -> Result<PutResult> {
        count(&self.meter.puts, 1);
        let put = self.target.complete().await?;
        let sum = std::mem::take(&mut self.sum);
        self.meter.keep_sum(self.location.clone(), sum.end());
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.target.abort().await
    }
}
