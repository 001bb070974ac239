//! The run: the images of a source are found in the store, their masks are read ahead on threads, and are committed.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Instant;

use futures::{StreamExt, stream};

use super::coco::{self, CocoFile};
use super::files::look_at;
use super::ground_truth::{Gathering, Objects};
use super::identity::extractor_row;
use super::images::{Images, Naming, StoredImage};
use super::item::{ImageMasks, Item, Plan, Unusable};
use super::request::{ImportMasksRequest, ImportMasksSummary, MaskSource};
use super::sink::{Sink, Target};
use super::{label_maps, sa1b};
use crate::catalogue::{annotated_categories, find_annotated_dataset};
use crate::extract::images_done;
use crate::ids::ImageId;
use crate::progress::Progress;
use crate::store::rows::ExtractorRow;
use crate::store::{Snapshot, Store};
use crate::task::blocking;
use crate::{Error, Result};

/// Imports masks of another program, or those of annotated objects, under an extractor of kind 'imported masks'.
///
/// The extractor's id is made from the content of the source and its options. An image that has masks of the extractor
/// is skipped, so a repeated import adds nothing, and an interrupted one continues where it stopped.
///
/// # Examples
/// ```
/// use grainstore::import::{ImportMasksRequest, MaskSource, import_masks};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = ImportMasksRequest {
///     source: MaskSource::LabelMaps {
///         path: "cells/".into(), // cells/a.png has the masks of a.jpg
///         ignore: vec![255],
///     },
///     ..ImportMasksRequest::default()
/// };
/// let summary = import_masks(store, &request, &NoProgress).await?;
/// println!("{} masks of {} images", summary.masks, summary.images);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::File`]; [`Error::Content`] if a file, or every file of a directory, is not what it should be;
/// [`crate::error::CatalogueError`]; [`Error::DataFusion`] for a condition that cannot be planned; errors of the store.
/// Items that cannot be used are recorded in `failures` instead.
pub async fn import_masks(
    store: &Store,
    request: &ImportMasksRequest,
    progress: &dyn Progress,
) -> Result<ImportMasksSummary> {
    let snapshot = store.snapshot().await?;
    let naming = match request.source {
        MaskSource::LabelMaps { .. } => Naming::WithoutExtension,
        _ => Naming::Whole,
    };
    let images = Images::read(&snapshot, &request.images, naming).await?;
    let run = Run {
        store,
        snapshot: &snapshot,
        request,
        progress,
    };
    match &request.source {
        MaskSource::Coco(path) => {
            let path = path.clone();
            let file = blocking("reading the masks", move || CocoFile::read(&path)).await?;
            let row = extractor_row(&request.source, file.sha256);
            let plan = coco::plan(file.index, &file.name, &images);
            let text = file.text;
            let read = move |item: &Item<_>| coco::read(&text, item);
            run.files(&row, plan, read).await
        }
        MaskSource::Sa1b(path) => {
            let looked = look_at(path, sa1b::FILES, sa1b::look, progress).await?;
            let row = extractor_row(&request.source, looked.sha256.clone());
            run.files(&row, sa1b::plan(looked, &images), sa1b::read)
                .await
        }
        MaskSource::LabelMaps { path, ignore } => {
            let looked = look_at(path, label_maps::FILES, label_maps::look, progress).await?;
            let row = extractor_row(&request.source, looked.sha256.clone());
            let ignore = ignore.clone();
            let read = move |item: &Item<_>| label_maps::read(item, &ignore);
            run.files(&row, label_maps::plan(looked, &images), read)
                .await
        }
        MaskSource::GroundTruth { dataset } => run.ground_truth(dataset, images).await,
    }
}

/// What all sources need.
struct Run<'a> {
    store: &'a Store,
    snapshot: &'a Snapshot,
    request: &'a ImportMasksRequest,
    progress: &'a dyn Progress,
}

impl Run<'_> {
    /// Imports what a plan holds; `read` runs on worker threads.
    async fn files<P, Read>(
        &self,
        row: &ExtractorRow,
        plan: Plan<P>,
        read: Read,
    ) -> Result<ImportMasksSummary>
    where
        P: Send + 'static,
        Read: Fn(&Item<P>) -> Result<ImageMasks> + Send + Sync + 'static,
    {
        let dataset = self.request.images.dataset.as_deref();
        let mut sink = self.sink(row, dataset);
        sink.counts().left_out = plan.left_out;
        for unusable in plan.unusable {
            sink.fail(unusable).await?;
        }
        self.progress.start("images", Some(plan.items.len() as u64));
        let done = self.images_done(row).await?;
        let (finished, pending): (Vec<_>, Vec<_>) = plan
            .items
            .into_iter()
            .partition(|item| done.contains(&item.image.image_id));
        self.skip(&mut sink, finished.len());

        let read = Arc::new(read);
        let workers = available_parallelism().map_or(1, |n| n.get());
        let mut results = stream::iter(pending)
            .map(|item| {
                let read = read.clone();
                tokio::task::spawn_blocking(move || {
                    let started = Instant::now();
                    let masks = read(&item);
                    (item, masks, started.elapsed().as_secs_f64())
                })
            })
            .buffered(workers);
        while let Some(result) = results.next().await {
            let (item, masks, seconds) = result.map_err(|source| Error::Worker {
                task: "reading masks",
                source,
            })?;
            match masks {
                Ok(masks) => sink.push(&item.image, &item.name, masks, seconds).await?,
                Err(why) => {
                    let unusable = Unusable {
                        item: item.name,
                        image_id: Some(item.image.image_id),
                        why,
                    };
                    sink.fail(unusable).await?;
                }
            }
            self.progress.advance(1);
        }
        let summary = sink.finish().await?;
        self.progress.finish();
        Ok(summary)
    }

    /// Imports the objects of a data set.
    async fn ground_truth(&self, dataset: &str, images: Images) -> Result<ImportMasksSummary> {
        let annotated = annotated_categories(self.snapshot).await?;
        let dataset = find_annotated_dataset(&annotated, Some(dataset))?;
        let objects = Objects::count(self.snapshot, &dataset).await?;
        let row = extractor_row(&self.request.source, objects.sha256);
        let mut sink = self.sink(&row, Some(&dataset));
        sink.counts().without_mask = objects.without_mask;
        let done = self.images_done(&row).await?;
        let mut images = images.by_image_id();
        let mut pending: Vec<(StoredImage, usize)> = Vec::new();
        let mut finished = 0;
        for (id, count) in objects.of_image {
            match images.remove(&id) {
                Some((_, false)) => sink.counts().left_out += 1,
                Some(_) if done.contains(&id) => finished += 1,
                Some((image, true)) => pending.push((image, count)),
                None => {
                    let reason = "ground_truth has objects of it, but the store has no such image";
                    let unusable = Unusable {
                        item: format!("image {id}"),
                        image_id: None,
                        why: Error::Annotation {
                            reason: reason.to_owned(),
                        },
                    };
                    sink.fail(unusable).await?;
                }
            }
        }
        let total = pending.len() + finished;
        self.progress.start("images", Some(total as u64));
        self.skip(&mut sink, finished);
        let mut gathering = Gathering::start(self.snapshot, &dataset, pending).await?;
        let mut started = Instant::now();
        while let Some(complete) = gathering.next().await? {
            for (image, masks) in complete {
                let seconds = started.elapsed().as_secs_f64();
                sink.push(&image, &image.file_name, masks, seconds).await?;
                self.progress.advance(1);
                started = Instant::now();
            }
        }
        let summary = sink.finish().await?;
        self.progress.finish();
        Ok(summary)
    }

    fn sink<'s>(&'s self, row: &'s ExtractorRow, dataset: Option<&'s str>) -> Sink<'s> {
        Sink::new(Target {
            store: self.store,
            extractor: row,
            dataset,
            commit_masks: self.request.commit_masks,
            progress: self.progress,
        })
    }

    async fn images_done(&self, row: &ExtractorRow) -> Result<HashSet<ImageId>> {
        images_done(self.snapshot, &row.extractor_id).await
    }

    /// Counts images whose masks are there already.
    fn skip(&self, sink: &mut Sink<'_>, images: usize) {
        sink.counts().done = images as u64;
        self.progress.advance(images as u64);
    }
}
