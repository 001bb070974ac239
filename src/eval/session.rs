//! Queries of `queries/eval`, run one by one over the images of one request.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::request::PARAMETERS;
use super::run::Evaluator;
use crate::Result;
use crate::query::{Query, QuerySession};
use crate::schema::Table;
use crate::store::rows::decode;

/// A session in which queries use the head, data set, images and classes of a request.
pub struct EvalSession {
    session: QuerySession,
    parameters: HashMap<String, String>,
}

impl EvalSession {
    /// The evaluator must have chosen its images.
    pub(super) fn new(evaluator: Evaluator<'_>) -> Self {
        Self {
            parameters: evaluator.request.parameters(&PARAMETERS),
            session: evaluator.session,
        }
    }

    /// Runs a query and returns its rows in memory; for queries whose result is bounded.
    ///
    /// # Errors
    /// [`crate::Error::Query`] for a query that does not exist; [`crate::Error::RowCodec`] if its columns are not `T`'s
    /// fields; errors of the query itself.
    pub async fn rows<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>> {
        let query = Query::named(query)?;
        let takes = |name: &String| query.parameters().iter().any(|it| it.name == *name);
        let given = self.parameters.iter().filter(|(name, _)| takes(name));
        let given = given
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut rows = self.session.run(&query, &given).await?;
        let mut found = Vec::new();
        while let Some(batch) = rows.next().await? {
            found.extend(decode::<T>(Table::Evaluations, &batch)?);
        }
        Ok(found)
    }
}
