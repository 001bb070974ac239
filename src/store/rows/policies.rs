//! Rows of `policies`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Row;
use crate::Result;
use crate::ids::PolicyId;
use crate::schema::Table;
use crate::store::{Changes, Snapshot};

/// One policy; see `schemas/12_policies.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)] // the DDL documents the columns, once
pub struct PolicyRow {
    pub policy_id: PolicyId,
    pub policy: String,
    pub created_at: DateTime<Utc>,
}

impl Row for PolicyRow {
    const TABLE: Table = Table::Policies;
}

impl PolicyRow {
    /// A policy with its JSON text, from which its id is made.
    pub fn new(policy: String, created_at: DateTime<Utc>) -> Self {
        Self {
            policy_id: PolicyId::of_bytes(policy.as_bytes()),
            policy,
            created_at,
        }
    }

    /// Adds the policy to `changes`, unless `snapshot` already has it.
    ///
    /// # Errors
    /// Any error from Lance.
    pub async fn append_if_new(&self, snapshot: &Snapshot, changes: &mut Changes) -> Result<()> {
        let id = self.policy_id.as_str();
        if !snapshot.has_value(Self::TABLE, "policy_id", id).await? {
            changes.append(Self::TABLE, Self::to_batch(std::slice::from_ref(self))?);
        }
        Ok(())
    }
}
