//! The answer to a request that fails: JSON with the error and, where there is one, advice.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use grainstore::Error;
use maud::{DOCTYPE, html};
use serde_json::json;

use crate::hints::hint;

/// A request that failed.
#[derive(Debug, Clone)]
pub struct Failure {
    status: StatusCode,
    error: String,
    hint: Option<String>,
}

/// The answer to a request.
pub type Answered<T> = Result<T, Failure>;

impl Failure {
    /// A failure for which the status says whose fault it is.
    pub fn new(status: StatusCode, error: String) -> Self {
        Self {
            status,
            error,
            hint: None,
        }
    }

    /// What was asked for makes no sense.
    pub fn bad(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.into())
    }

    /// What was asked for is not there.
    pub fn missing(error: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error.into())
    }

    /// A page for a person who opened an address.
    pub fn into_page(self) -> Response {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head { meta charset="utf-8"; title { "grainstore" } }
                body {
                    p { (self.error) }
                    // Browsers send the cookie from here, but not from a page of another site.
                    p { a href="" { "Try again" } }
                }
            }
        };
        (self.status, Html(page.into_string())).into_response()
    }

    /// The error in words.
    pub fn text(&self) -> &str {
        &self.error
    }
}

impl From<Error> for Failure {
    fn from(err: Error) -> Self {
        let is_ours = matches!(
            err,
            Error::Lance(_)
                | Error::Arrow(_)
                | Error::File { .. }
                | Error::Internal { .. }
                | Error::Worker { .. }
                | Error::StoreDamaged { .. }
                | Error::StoreGone { .. }
        );
        let status = if is_ours {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::BAD_REQUEST
        };
        let mut error = err.to_string();
        let mut cause = std::error::Error::source(&err);
        while let Some(next) = cause {
            let text = next.to_string();
            if !error.contains(&text) {
                error = format!("{error}: {text}");
            }
            cause = next.source();
        }
        Self {
            status,
            error,
            hint: hint(&err),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(err: serde_json::Error) -> Self {
        Error::from(err).into()
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let body = json!({ "error": self.error, "hint": self.hint });
        (self.status, Json(body)).into_response()
    }
}

/// Runs work for a limited time. `what` names it in the failure, which ends with `advice`.
pub async fn in_time<T>(
    limit: Duration,
    (what, advice): (&str, &str),
    work: impl Future<Output = Answered<T>>,
) -> Answered<T> {
    let done = tokio::time::timeout(limit, work).await;
    done.map_err(|_| {
        let seconds = limit.as_secs();
        let text = format!("{what} took more than {seconds} s and was given up{advice}");
        Failure::new(StatusCode::REQUEST_TIMEOUT, text)
    })?
}

/// Answers requests for what the page does not have.
pub async fn not_found() -> Failure {
    Failure::missing("there is no such page")
}
