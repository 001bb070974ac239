//! Reports of `queries/eval`, one by one, over the images of one request.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::request::PARAMETERS;
use super::run::Evaluator;
use crate::Result;
use crate::schema::Table;
use crate::sql::{Report, Sql};
use crate::store::rows::decode;

/// A session in which reports speak of the head, data set, images and classes of a request.
pub struct EvalSession {
    sql: Sql,
    parameters: HashMap<String, String>,
}

impl EvalSession {
    /// The images have been chosen.
    pub(super) fn new(evaluator: Evaluator<'_>) -> Self {
        Self {
            parameters: evaluator.request.parameters(&PARAMETERS),
            sql: evaluator.sql,
        }
    }

    /// The rows of a report, in memory: for reports whose result has a bound.
    ///
    /// # Errors
    /// [`crate::Error::Query`] for a report that is none; [`crate::Error::RowCodec`] if its columns are not `T`'s fields;
    /// what goes wrong while it runs.
    pub async fn rows<T: DeserializeOwned>(&self, report: &str) -> Result<Vec<T>> {
        let report = Report::named(report)?;
        let takes = |name: &String| report.parameters().iter().any(|it| it.name == *name);
        let given = self.parameters.iter().filter(|(name, _)| takes(name));
        let given = given
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let mut rows = self.sql.report(&report, &given).await?;
        let mut found = Vec::new();
        while let Some(batch) = rows.next().await? {
            found.extend(decode::<T>(Table::Evaluations, &batch)?);
        }
        Ok(found)
    }
}
