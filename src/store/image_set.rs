//! Which images have rows in a table, kept up to date as writers add rows.
//!
//! A run asks at every commit which of its images another run has done in the meantime. Reading the whole table each time would
//! make a long run slower with every commit, so only the files that were added since are read.

use std::collections::HashSet;

use datafusion::logical_expr::Expr;
use futures::StreamExt;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::Snapshot;
use super::rows::decode;
use crate::Result;
use crate::ids::ImageId;
use crate::schema::Table;

/// The images that have rows in a table for which a condition holds. Rows that are deleted meanwhile still count.
#[derive(Debug)]
pub(crate) struct ImageSet {
    table: Table,
    /// `None` for a set that is not read.
    wanted: Option<Expr>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The version of the table that was read last.
    version: Option<u64>,
    /// Numbers of the files that were read.
    fragments: HashSet<u64>,
    images: HashSet<u128>,
}

impl ImageSet {
    /// The images of the rows of `table` for which `wanted` holds. Nothing is read before it is asked for.
    pub fn new(table: Table, wanted: Expr) -> Self {
        Self {
            table,
            wanted: Some(wanted),
            known: Mutex::default(),
        }
    }

    /// A set of images that is empty because they are known to have no rows, without reading any.
    pub fn empty(table: Table) -> Self {
        Self {
            table,
            wanted: None,
            known: Mutex::default(),
        }
    }

    /// Those of `images` that have rows in a snapshot, which is not older than those that were asked about before.
    ///
    /// # Errors
    /// Any error from Lance.
    pub async fn among<'a>(
        &self,
        snapshot: &Snapshot,
        images: impl IntoIterator<Item = &'a ImageId>,
    ) -> Result<HashSet<ImageId>> {
        let mut known = self.known.lock().await;
        self.read(snapshot, &mut known).await?;
        let images = images.into_iter();
        Ok(images
            .filter(|image| known.images.contains(&image.number()))
            .cloned()
            .collect())
    }

    /// Adds images whose rows were committed, so that they are not read. `after` is the snapshot of the commit, which was
    /// planned with [`ImageSet::among`].
    ///
    /// # Errors
    /// Any error from Lance.
    pub async fn add<'a>(
        &self,
        after: &Snapshot,
        images: impl IntoIterator<Item = &'a ImageId>,
    ) -> Result<()> {
        let mut known = self.known.lock().await;
        let dataset = after.dataset(self.table).await?;
        let fragments = dataset.fragments().iter().map(|it| it.id);
        known.fragments.extend(fragments);
        known.images.extend(images.into_iter().map(ImageId::number));
        known.version = after.version_of(self.table);
        Ok(())
    }

    async fn read(&self, snapshot: &Snapshot, known: &mut Known) -> Result<()> {
        #[derive(Deserialize)]
        struct OfImage {
            image_id: ImageId,
        }
        let Some(wanted) = &self.wanted else {
            return Ok(());
        };
        let version = snapshot.version_of(self.table);
        if version.is_some() && version == known.version {
            return Ok(());
        }
        let dataset = snapshot.dataset(self.table).await?;
        let fragments = dataset.fragments().iter();
        let new: Vec<_> = fragments
            .filter(|it| !known.fragments.contains(&it.id))
            .cloned()
            .collect();
        if !new.is_empty() {
            let mut scanner = dataset.scan();
            scanner.with_fragments(new.clone());
            scanner.project(&["image_id"])?;
            scanner.filter_expr(wanted.clone());
            let mut rows = scanner.try_into_stream().await?;
            while let Some(batch) = rows.next().await {
                let rows = decode::<OfImage>(self.table, &batch?)?;
                known
                    .images
                    .extend(rows.iter().map(|row| row.image_id.number()));
            }
        }
        known.fragments.extend(new.iter().map(|it| it.id));
        known.version = version;
        Ok(())
    }
}
