//! Queues: which masks are worth a look, in which order, and why.
//!
//! Each is a named query `review/queue_*` over what a head predicts and what was said before. Where members or passes with
//! dropout must be asked, their answers are computed first; centres are chosen by vectors, one after the other.

use std::collections::HashMap;

use super::centres::centres;
use super::queued::{QueueKind, QueueRequest, QueuedMask};
use crate::Result;
use crate::catalogue::find_head;
use crate::head::{DropoutPasses, head_scores};
use crate::progress::Progress;
use crate::query::{Query, QuerySession};
use crate::schema::Table;
use crate::store::Snapshot;
use crate::store::rows::decode;

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
    let head = find_head(snapshot, &request.head).await?;
    let images = request.images.chosen_ids(snapshot).await?;
    let Some(name) = request.kind.query() else {
        return centres(snapshot, request, &head, images.as_ref(), progress).await;
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
        let scores = head_scores(snapshot, head.head_id.as_str(), dropout, progress).await?;
        session.pin_rows("head_scores", scores)?;
    }
    let mut words = HashMap::from([
        ("head".to_owned(), head.head_id.to_string()),
        (
            "count".to_owned(),
            images
                .as_ref()
                .map_or(request.count as u64, |_| EVERYTHING)
                .to_string(),
        ),
    ]);
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
