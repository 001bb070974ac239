//! Whether heads are up to date with the store.

use std::collections::HashSet;

use serde::Serialize;

use super::query::TrainingQuery;
use super::warm_start::{images_when_trained, when_trained};
use crate::classes::ClassSet;
use crate::ids::HeadId;
use crate::store::Snapshot;
use crate::store::rows::HeadRow;
use crate::{Error, Result};

/// The status of a head relative to the current store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadStatus {
    /// Name of the head.
    pub head: String,
    /// Id of the head.
    pub head_id: HeadId,
    /// Name of its class set.
    pub class_set: String,
    /// Version of the class set that it was trained for.
    pub class_set_version: i32,
    /// Newest version of the class set; `None` if the set is not in the store.
    pub newest_class_set_version: Option<i32>,
    /// Version of the store it was trained on; `None` if that was another store.
    pub store_version: Option<i64>,
    /// Images that its query yields now and did not yield then; `None` where `unknown` says why.
    pub images_added: Option<u64>,
    /// Masks that its query yields now beyond the number that it yielded then; `None` likewise.
    pub masks_added: Option<u64>,
    /// Masks of which its query yields another label now than then, or one where there was none, or none where there was
    /// one; `None` likewise.
    pub labels_changed: Option<u64>,
    /// Whether there is something new to train on or a newer version of its class set.
    pub stale: bool,
    /// Why the numbers of added images and masks are unknown.
    pub unknown: Option<String>,
}

/// Determines the status of a head.
///
/// # Errors
/// Errors of the store. It is no error if the version that the head was trained on no longer exists.
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
        labels_changed: None,
        stale: newest.is_some_and(|newest| newest > head.class_set_version),
        unknown: None,
    };
    if head.is_imported() {
        status.unknown = Some("its predictions were imported; it was trained elsewhere".to_owned());
        return Ok(status);
    }
    if head.is_from_words() {
        status.unknown = Some("it was made from words, not trained".to_owned());
        return Ok(status);
    }
    if head.store_version.is_none() {
        status.unknown = Some("it was trained in another store".to_owned());
        return Ok(status);
    }
    match added(snapshot, head).await {
        Ok((images, masks, labels)) => {
            status.images_added = Some(images);
            status.masks_added = Some(masks);
            status.labels_changed = Some(labels);
            status.stale |= images > 0 || masks > 0 || labels > 0;
        }
        Err(err @ (Error::NoSuchVersion { .. } | Error::DataFusion(_))) => {
            status.unknown = Some(err.to_string());
        }
        Err(err) => return Err(err),
    }
    Ok(status)
}

/// Images and masks that came, and masks whose labels changed.
async fn added(now: &Snapshot, head: &HeadRow) -> Result<(u64, u64, u64)> {
    let (old, old_masks) = images_when_trained(now.store(), head).await?;
    let query = TrainingQuery::new(&head.query);
    let (new, new_masks) = query.images(now).await?;
    let images = new.difference(&old).count() as u64;
    let said = query.said(now).await?;
    let before = query.said(&when_trained(now.store(), head).await?).await?;
    let masks: HashSet<_> = said.keys().chain(before.keys()).collect();
    let changed = masks
        .into_iter()
        .filter(|mask| said.get(*mask) != before.get(*mask));
    Ok((
        images,
        new_masks.saturating_sub(old_masks),
        changed.count() as u64,
    ))
}
