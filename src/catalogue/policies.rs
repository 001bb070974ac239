//! Policies that a head's masks were annotated with.

use std::collections::HashMap;

use datafusion::common::ScalarValue;
use serde::{Deserialize, Serialize};

use super::by_id;
use crate::error::{CatalogueError, Named};
use crate::ids::{HeadId, PolicyId};
use crate::schema::Table;
use crate::sql::Sql;
use crate::store::Snapshot;
use crate::store::rows::{HeadRow, PolicyRow, decode};
use crate::{Error, Result};

/// The query that yields the rows of [`policies_of`].
const POLICIES: &str = include_str!("../../queries/annotate/policies.sql");

/// A policy that a head's masks were annotated with.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
pub struct StoredPolicy {
    /// The policy's id.
    pub policy_id: PolicyId,
    /// The policy, as JSON.
    pub policy: String,
    /// Number of images annotated with it.
    pub images: i64,
    /// Number of masks in these images.
    pub masks: i64,
    /// Number of these masks that were kept.
    pub kept: i64,
}

/// The policies that a head's masks were annotated with, newest first.
///
/// # Errors
/// Any error from the store.
pub async fn policies_of(snapshot: &Snapshot, head_id: &HeadId) -> Result<Vec<StoredPolicy>> {
    let sql = Sql::new(snapshot).await?;
    let head = ScalarValue::Utf8(Some(head_id.to_string()));
    let values = HashMap::from([("head".to_owned(), head)]);
    let mut rows = sql.query_with(POLICIES, values).await?;
    let mut policies = Vec::new();
    while let Some(batch) = rows.next().await? {
        policies.extend(decode::<StoredPolicy>(Table::Predictions, &batch)?);
    }
    Ok(policies)
}

/// Finds the policy of a head whose id begins with `word`; without a word, the policy that was used last.
///
/// # Errors
/// [`CatalogueError`] if there is none, or more than one; errors from the store.
pub async fn find_policy(
    snapshot: &Snapshot,
    head: &HeadRow,
    word: Option<&str>,
) -> Result<StoredPolicy> {
    let mut policies = policies_of(snapshot, &head.head_id).await?;
    if policies.is_empty() && head.is_imported() {
        // The imported model found nothing at all, so no row names its policy.
        let PolicyRow {
            policy_id, policy, ..
        } = imported_policy(head);
        policies.push(StoredPolicy {
            policy_id,
            policy,
            images: 0,
            masks: 0,
            kept: 0,
        });
    }
    let Some(newest) = policies.first() else {
        return Err(Error::Catalogue(CatalogueError::NoPredictions {
            head: head.head.clone(),
        }));
    };
    let Some(word) = word else {
        return Ok(newest.clone());
    };
    let id = |policy: &StoredPolicy| policy.policy_id.to_string();
    by_id(
        Named::Policy,
        word,
        &policies,
        |policy| policy.policy_id.as_str(),
        id,
    )
    .cloned()
}

/// The policy of imported predictions, which keeps all of them.
pub(crate) fn imported_policy(head: &HeadRow) -> PolicyRow {
    let policy = serde_json::json!({ "imported": head.query });
    PolicyRow::new(policy.to_string(), head.created_at)
}
