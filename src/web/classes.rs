//! Class sets: which words there are, how sets group them, and new versions.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use grainstore::classes::{Added, Class, ClassSet, add_class_set};
use serde::{Deserialize, Serialize};

use super::app::App;
use super::failure::{Answered, Failure};
use super::sql::named;

/// A word, and how often it is used.
#[derive(Debug, Serialize, Deserialize)]
pub struct Word {
    label: String,
    images: i64,
    objects: i64,
    masks: i64,
}

/// All words, and the newest version of every set.
#[derive(Debug, Serialize)]
pub struct Classes {
    words: Vec<Word>,
    sets: Vec<ClassSet>,
}

/// `GET /api/classes`.
pub async fn list(State(app): State<Arc<App>>) -> Answered<Json<Classes>> {
    let snapshot = app.snapshot().await?;
    let words = named(&snapshot, "review/label_words", &HashMap::new()).await?;
    let mut newest: HashMap<String, ClassSet> = HashMap::new();
    for set in ClassSet::all(&snapshot).await? {
        let known = newest
            .entry(set.name.clone())
            .or_insert_with(|| set.clone());
        if known.version < set.version {
            *known = set;
        }
    }
    let mut sets: Vec<ClassSet> = newest.into_values().collect();
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Json(Classes { words, sets }))
}

/// A class of a new version.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClass {
    class: String,
    supercategory: Option<String>,
    external_id: Option<i64>,
    labels: Vec<String>,
    #[serde(default)]
    search: Vec<String>,
}

/// A new version of a set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    class_set: String,
    /// The version that was changed; none for a new set.
    base: Option<i32>,
    classes: Vec<NewClass>,
}

/// `POST /api/classes`: adds a version, unless the newest one is the same.
pub async fn save(
    State(app): State<Arc<App>>,
    Json(request): Json<Request>,
) -> Answered<Json<Added>> {
    app.check_writable()?;
    let snapshot = app.store.snapshot().await?;
    let all = ClassSet::all(&snapshot).await?.into_iter();
    let of_name = all.filter(|set| set.name == request.class_set.trim());
    let newest = of_name.map(|set| set.version).max();
    if let Some(newest) = newest.filter(|newest| request.base != Some(*newest)) {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            format!(
                "'{}' has a version {newest} that somebody else made; open the page again to change that",
                request.class_set
            ),
        ));
    }
    let classes = request.classes.into_iter().map(|class| Class {
        name: class.class.trim().to_owned(),
        supercategory: class.supercategory,
        external_id: class.external_id,
        labels: class.labels,
        search: class.search,
    });
    let set = ClassSet::new(request.class_set.trim(), classes.collect())?;
    Ok(Json(
        add_class_set(&app.store, "review classes", &set, "review").await?,
    ))
}
