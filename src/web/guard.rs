//! Every request goes through here: it is let in or not, and its answer tells the browser what the page may do.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::access::{Checked, check};
use super::app::App;

/// What browsers are told of every answer: no content but the page's own, and nobody may embed it.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; \
         base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

/// Lets a request pass, or says why not.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let access = &app.access;
    let accepted = request.headers().get(header::ACCEPT);
    let wants_page = accepted.is_some_and(|it| it.as_bytes().starts_with(b"text/html"));
    let mut response = match check(access, &request) {
        Ok(Checked::Passes) => next.run(request).await,
        Ok(Checked::HasToken(to)) => {
            ([(header::SET_COOKIE, access.cookie())], Redirect::to(&to)).into_response()
        }
        Err(failure) if wants_page => failure.into_page(),
        Err(failure) => failure.into_response(),
    };
    let headers = response.headers_mut();
    let others = [(header::CACHE_CONTROL, "no-store")];
    for (name, value) in HEADERS.into_iter().chain(others) {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}
