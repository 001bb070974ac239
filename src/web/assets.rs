//! Scripts and styles, embedded in the program.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::failure::{Answered, Failure};

/// Embeds files of `assets/web` with their types.
macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../assets/web/", $name)))),*]
    };
}

const ASSETS: &[(&str, &str)] = embedded![
    "classes.js",
    "common.js",
    "draft.js",
    "grid.js",
    "heads.js",
    "image.js",
    "masks.js",
    "queue.js",
    "sql.js",
    "style.css",
];

/// `GET /assets/NAME`.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Answered<Response> {
    let found = ASSETS.iter().find(|(known, _)| *known == name);
    let (name, text) =
        found.ok_or_else(|| Failure::missing(format!("there is no file '{name}'")))?;
    // Of the program's version, so that a newer program's page does not run an older one's scripts.
    let tag = format!("\"{}-{}\"", env!("CARGO_PKG_VERSION"), text.len());
    if headers
        .get(header::IF_NONE_MATCH)
        .is_some_and(|it| it.as_bytes() == tag.as_bytes())
    {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let kind = if name.ends_with(".css") {
        "text/css; charset=utf-8"
    } else {
        "text/javascript; charset=utf-8"
    };
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, tag),
    ];
    Ok((headers, *text).into_response())
}
