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
    /// Its id.
    pub policy_id: PolicyId,
    /// The policy, as JSON.
    pub policy: String,
    /// Images annotated with it.
    pub images: i64,
    /// Their masks.
    pub masks: i64,
    /// Of those the ones kept.
    pub kept: i64,
}

/// The policies that a head's masks were annotated with, newest first.
///
/// # Errors
/// What the store says.
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

/// The policy of a head whose id begins with `word`; without that the one that was used last.
///
/// # Errors
/// [`CatalogueError`] if there is none, or several that it may be; what the store says.
pub async fn find_policy(
    snapshot: &Snapshot,
    head: &HeadRow,
    word: Option<&str>,
) -> Result<StoredPolicy> {
    let policies = policies_of(snapshot, &head.head_id).await?;
    let Some(newest) = policies.first() else {
        if word.is_some() || !head.is_imported() {
            return Err(Error::Catalogue(CatalogueError::NoPredictions {
                head: head.head.clone(),
            }));
        }
        // A model that found nothing at all: there is no row to say so.
        let policy = imported_policy(head);
        return Ok(StoredPolicy {
            policy_id: policy.policy_id,
            policy: policy.policy,
            images: 0,
            masks: 0,
            kept: 0,
        });
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

/// The policy of imported predictions: all are kept.
pub(crate) fn imported_policy(head: &HeadRow) -> PolicyRow {
    let policy = serde_json::json!({ "imported": head.query });
    PolicyRow::new(policy.to_string(), head.created_at)
}
