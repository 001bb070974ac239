//! Whether heads still match what the store holds.

use serde::Serialize;

use super::query::TrainingQuery;
use super::warm_start::images_when_trained;
use crate::classes::ClassSet;
use crate::ids::HeadId;
use crate::store::Snapshot;
use crate::store::rows::HeadRow;
use crate::{Error, Result};

/// How a head stands to the store as it is now.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadStatus {
    /// Name of the head.
    pub head: String,
    /// Its id.
    pub head_id: HeadId,
    /// Its class set.
    pub class_set: String,
    /// The version it was trained for.
    pub class_set_version: i32,
    /// The newest version there is.
    pub newest_class_set_version: Option<i32>,
    /// Version of the store it was trained on; none: of another store.
    pub store_version: Option<i64>,
    /// Images its query yields now and did not then; none if that version of the store is gone.
    pub images_added: Option<u64>,
    /// Masks its query yields now beyond those it yielded then.
    pub masks_added: Option<u64>,
    /// Whether there is something new to train on, or another version of its classes.
    pub stale: bool,
    /// Why nothing can be said of added rows.
    pub unknown: Option<String>,
}

/// The status of a head.
///
/// # Errors
/// What the store says; that the version it was trained on is gone is no error.
pub async fn head_status(snapshot: &Snapshot, head: &HeadRow) -> Result<HeadStatus> {
    let newest = match ClassSet::load(snapshot, &head.class_set).await {
        Ok(set) => Some(set.version),
        Err(Error::Catalogue(_)) => None,
        Err(err) => return Err(err),
    };
    let mut status = HeadStatus {
        head: head.head.clone(),
        head_id: head.head_id.clone(),
        class_set: head.class_set.clone(),
        class_set_version: head.class_set_version,
        newest_class_set_version: newest,
        store_version: head.store_version,
        images_added: None,
        masks_added: None,
        stale: newest.is_some_and(|newest| newest > head.class_set_version),
        unknown: None,
    };
    if head.is_imported() {
        status.unknown = Some("its predictions were imported; it was trained elsewhere".to_owned());
        return Ok(status);
    }
    if head.store_version.is_none() {
        status.unknown = Some("it was trained in another store".to_owned());
        return Ok(status);
    }
    match added(snapshot, head).await {
        Ok((images, masks)) => {
            status.images_added = Some(images);
            status.masks_added = Some(masks);
            status.stale |= images > 0 || masks > 0;
        }
        Err(err @ (Error::NoSuchVersion { .. } | Error::DataFusion(_))) => {
            status.unknown = Some(err.to_string());
        }
        Err(err) => return Err(err),
    }
    Ok(status)
}

async fn added(now: &Snapshot, head: &HeadRow) -> Result<(u64, u64)> {
    let (old, old_masks) = images_when_trained(now.store(), head).await?;
    let (new, new_masks) = TrainingQuery::new(&head.query).images(now).await?;
    let images = new.difference(&old).count() as u64;
    Ok((images, new_masks.saturating_sub(old_masks)))
}
