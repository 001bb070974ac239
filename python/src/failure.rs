//! Errors as Python exceptions, by kind: the classes of `grainstore.errors`.

use grainstore::Error;
use grainstore::error::{CatalogueError, EvalError, HeadError, ReviewError, VectorError};
use pyo3::prelude::*;

use crate::cli::call::Failure;

/// The class of `grainstore.errors` for an error.
fn class_of(error: &Error) -> &'static str {
    match error {
        Error::StoreNotFound { .. }
        | Error::StoreGone { .. }
        | Error::PhotoGone { .. }
        | Error::NoSuchVersion { .. }
        | Error::NoSuchTag { .. }
        | Error::Catalogue(
            CatalogueError::NoSuch { .. }
            | CatalogueError::Empty { .. }
            | CatalogueError::NoPredictions { .. },
        )
        | Error::Review(ReviewError::NoSuchMask { .. } | ReviewError::NoSuchLabel { .. })
        | Error::Vectors(VectorError::NoSuchIndex { .. }) => "NotFoundError",
        Error::StoreExists { .. }
        | Error::TagExists { .. }
        | Error::NotAStore { .. }
        | Error::Vectors(VectorError::EmbedderExists { .. } | VectorError::EmbedderInUse { .. })
        | Error::Head(HeadError::NameTaken { .. } | HeadError::InUse { .. }) => "ExistsError",
        Error::StoreDamaged { .. } | Error::StoreFormat { .. } => "DamagedError",
        Error::CommitContention { .. } => "ConflictError",
        Error::File { .. } => "FileError",
        Error::DataFusion(_)
        | Error::Query { .. }
        | Error::ReadOnlySql { .. }
        | Error::MissingParameter { .. } => "QueryError",
        Error::Photo(_) | Error::Coco(_) | Error::Content { .. } | Error::Annotation { .. } => {
            "InputError"
        }
        Error::Model(_) | Error::Device { .. } | Error::DeviceMemory { .. } => "ModelError",
        Error::InvalidOption { .. }
        | Error::MissingOption { .. }
        | Error::InvalidName { .. }
        | Error::InvalidId { .. }
        | Error::Location { .. }
        | Error::Catalogue(_)
        | Error::Eval(EvalError::NoImages)
        | Error::EmbeddingSize { .. }
        | Error::Head(_) => "OptionError",
        _ => "GrainstoreError",
    }
}

/// The exception for what went wrong in a command.
pub fn raise(py: Python<'_>, failure: &Failure) -> PyErr {
    let class = match &failure.error {
        None => "OptionError",
        Some(error) => {
            let known = error
                .chain()
                .find_map(|cause| cause.downcast_ref::<Error>());
            let is_io = || error.chain().any(|it| it.is::<std::io::Error>());
            match known {
                Some(error) => class_of(error),
                None if is_io() => "FileError",
                None => "GrainstoreError",
            }
        }
    };
    let made = py.import("grainstore.errors").and_then(|errors| {
        let hint = failure.hint.as_deref();
        errors.getattr(class)?.call1((&failure.text, hint))
    });
    made.map_or_else(|err| err, PyErr::from_value)
}

/// The exception for an error of the library.
pub fn raise_error(py: Python<'_>, error: Error) -> PyErr {
    raise(py, &anyhow::Error::from(error).into())
}
