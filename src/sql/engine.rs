//! The engine of a session.

use std::sync::Arc;

use datafusion::prelude::SessionConfig;

use crate::store::QueryEngine;

/// An engine as an extension of a session.
pub(super) struct Engine(pub Arc<dyn QueryEngine>);

/// The engine of a session.
pub(super) fn engine_of(config: &SessionConfig) -> Option<Arc<dyn QueryEngine>> {
    let engine = config.get_extension::<Engine>();
    engine.map(|engine| engine.0.clone())
}
