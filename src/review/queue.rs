//! Queues: which masks are worth a look, in which order, and why.
//!
//! Each is a named query `review/queue_*` over what a head predicts and what was said before. Where members or passes with
//! dropout must be asked, their answers are computed first; centres are chosen by vectors, one after the other.

use std::collections::HashMap;

use super::centres::centres;
use super::queued::{QueueKind, QueueRequest, QueuedMask};
use crate::catalogue::{find_head, find_masks_of};
use crate::head::{DropoutPasses, head_scores};
use crate::progress::Progress;
use crate::query::{Query, QuerySession};
use crate::schema::Table;
use crate::store::Snapshot;
use crate::store::rows::decode;
use crate::{Error, Result};

/// Masks that are asked of a query if images are chosen, which its own count does not know of.
const EVERYTHING: u64 = i64::MAX as u64;

/// The masks that are worth a look, the most worth first. Those of which somebody has said something are left out, unless
/// the queue is about labels of masks.
///
/// # Errors
/// [`crate::error::CatalogueError`] for names that do not exist, and if the head has not annotated where its predictions
/// are read; [`crate::error::HeadError::Unusable`] for a head without members or hidden layers where these are asked;
/// errors of the store.
pub async fn queue(
    snapshot: &Snapshot,
    request: &QueueRequest,
    progress: &dyn Progress,
) -> Result<Vec<QueuedMask>> {
    let images = request.images.chosen_ids(snapshot).await?;
    let mut words = HashMap::new();
    if request.kind == QueueKind::Unlabelled {
        let extractor = find_masks_of(snapshot, request.extractor.as_deref()).await?;
        words.insert("extractor".to_owned(), extractor.extractor_id.to_string());
    } else {
        let word = request
            .head
            .as_deref()
            .ok_or_else(|| Error::MissingOption {
                option: "head",
                expected: "a head, which orders the masks".to_owned(),
            })?;
        let head = find_head(snapshot, word).await?;
        if request.kind == QueueKind::Centres {
            return centres(snapshot, request, &head, images.as_ref(), progress).await;
        }
        words.insert("head".to_owned(), head.head_id.to_string());
    }
    let Some(name) = request.kind.query() else {
        return Ok(Vec::new());
    };
    let query = Query::named(name)?;
    let mut session = QuerySession::new(snapshot).await?;
    let dropout = match request.kind {
        QueueKind::Dropout => Some(DropoutPasses {
            seed: request.seed,
            ..DropoutPasses::default()
        }),
        _ => None,
    };
    if matches!(request.kind, QueueKind::Dropout | QueueKind::Disagreement) {
        let head = words.get("head").map_or("", String::as_str);
        let scores = head_scores(snapshot, head, dropout, progress).await?;
        session.pin_rows("head_scores", scores)?;
    }
    let count = images.as_ref().map_or(request.count as u64, |_| EVERYTHING);
    words.insert("count".to_owned(), count.to_string());
    if let Some(policy) = &request.policy {
        words.insert("policy".to_owned(), policy.clone());
    }
    if query.parameters().iter().any(|it| it.name == "seed") {
        words.insert("seed".to_owned(), request.seed.to_string());
    }
    let mut rows = session.run(&query, &words).await?;
    let mut found: Vec<QueuedMask> = Vec::new();
    while let Some(batch) = rows.next().await? {
        let some = decode::<QueuedMask>(Table::Masks, &batch)?.into_iter();
        found.extend(some.filter(|mask| {
            let images = images.as_ref();
            images.is_none_or(|images| images.contains(&mask.image_id))
        }));
        if found.len() >= request.count {
            break;
        }
    }
    found.truncate(request.count);
    Ok(found)
}
