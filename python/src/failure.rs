//! Errors as Python exceptions, by kind: the classes of `grainstore.errors`.

use grainstore::Error;
use grainstore::error::{
    CatalogueError, CocoError, CollectError, ColumnError, EvalError, HeadError, ModelError,
    PhotoError, ReviewError, VectorError,
};
use pyo3::prelude::*;

use crate::cli::call::Failure;

/// What is neither the caller's doing nor that of a file: a fault of the program, or of what it stands on.
const OTHER: &str = "GrainstoreError";

/// The class of `grainstore.errors` for an error.
fn class_of(error: &Error) -> &'static str {
    match error {
        Error::StoreNotFound { .. }
        | Error::StoreGone { .. }
        | Error::PhotoGone { .. }
        | Error::NoSuchVersion { .. }
        | Error::NoSuchTag { .. } => "NotFoundError",
        Error::StoreExists { .. }
        | Error::OtherEmbeddings { .. }
        | Error::TagExists { .. }
        | Error::NotAStore { .. } => "ExistsError",
        Error::StoreDamaged { .. } | Error::StoreFormat { .. } => "DamagedError",
        // As for the hint on it (src/hints.rs).
        Error::Lance(err) if err.to_string().contains("corrupt file") => "DamagedError",
        Error::CommitContention { .. } => "ConflictError",
        Error::File { .. } | Error::EncodeImage { .. } | Error::EncodeParquet { .. } => "FileError",
        Error::DataFusion(_)
        | Error::Query { .. }
        | Error::ReadOnlySql { .. }
        | Error::MissingParameter { .. } => "QueryError",
        Error::Content { .. }
        | Error::Annotation { .. }
        | Error::LabelMap { .. }
        | Error::MaskTooLarge { .. }
        | Error::BitmapLength { .. }
        | Error::RunsTooLong { .. }
        | Error::CountsByte { .. }
        | Error::CountsTruncated { .. }
        | Error::RleCodec { .. }
        | Error::SizeMismatch { .. }
        | Error::CropOutside { .. }
        | Error::PolygonTooShort { .. }
        | Error::PolygonOddLength { .. }
        | Error::PolygonNotFinite { .. }
        | Error::LengthMismatch { .. }
        | Error::ScoreNotANumber { .. } => "InputError",
        Error::Device { .. } | Error::DeviceMemory { .. } | Error::ModelOutput { .. } => {
            "ModelError"
        }
        Error::InvalidOption { .. }
        | Error::MissingOption { .. }
        | Error::InvalidName { .. }
        | Error::InvalidId { .. }
        | Error::Location { .. }
        | Error::UnsafeBucket { .. }
        | Error::Ids { .. }
        | Error::NothingToExport { .. }
        | Error::SplitName { .. }
        | Error::IouThreshold { .. }
        | Error::EmbeddingSize { .. } => "OptionError",
        Error::Embedding { source, .. } | Error::Extraction { source, .. } => class_of(source),
        Error::Catalogue(err) => of_catalogue(err),
        Error::Coco(_) | Error::Photo(_) => "InputError",
        Error::Collect(err) => of_collect(err),
        Error::Column(err) => of_column(err),
        Error::Eval(_) => "OptionError",
        Error::Head(err) => of_head(err),
        Error::Model(err) => of_model(err),
        Error::Review(err) => of_review(err),
        Error::Vectors(err) => of_vectors(err),
        // Schemas and rows that do not fit, exports that are wrong when read back, threads, clusters, Lance and Arrow.
        _ => OTHER,
    }
}

fn of_catalogue(error: &CatalogueError) -> &'static str {
    match error {
        CatalogueError::NoSuch { .. }
        | CatalogueError::Empty { .. }
        | CatalogueError::NoPredictions { .. } => "NotFoundError",
        _ => "OptionError",
    }
}

fn of_collect(error: &CollectError) -> &'static str {
    match error {
        CollectError::NoLabel { .. }
        | CollectError::Generator { .. }
        | CollectError::TooFewImages { .. } => "OptionError",
        CollectError::OtherManifest { .. } => "ExistsError",
        CollectError::DirectoryInUse { .. } => "ConflictError",
        _ => OTHER,
    }
}

fn of_column(error: &ColumnError) -> &'static str {
    match error {
        // The rows of the store have the types of their tables, those of a query may have any.
        ColumnError::Type { .. } => "QueryError",
        ColumnError::Part { .. } | ColumnError::Sides { .. } | ColumnError::Mask { .. } => {
            "DamagedError"
        }
        ColumnError::Length { .. } => "OptionError",
        ColumnError::NotFinite { .. } => "ModelError",
        ColumnError::Arrow(_) => OTHER,
    }
}

fn of_head(error: &HeadError) -> &'static str {
    match error {
        HeadError::NameTaken { .. } | HeadError::InUse { .. } => "ExistsError",
        _ => "OptionError",
    }
}

fn of_model(error: &ModelError) -> &'static str {
    match error {
        ModelError::OpenCheckpoint { .. } | ModelError::SaveCheckpoint { .. } => "FileError",
        ModelError::EmptyImage { .. } | ModelError::PixelCount { .. } => "InputError",
        ModelError::UnknownModelType { .. }
        | ModelError::EmptyPrompt
        | ModelError::PromptMask { .. }
        | ModelError::PromptCoordinate { .. } => "OptionError",
        _ => "ModelError",
    }
}

fn of_review(error: &ReviewError) -> &'static str {
    match error {
        ReviewError::NoSuchMask { .. }
        | ReviewError::NoSuchLabel { .. }
        | ReviewError::NothingToPropagate { .. } => "NotFoundError",
        ReviewError::Twice { .. } => "InputError",
        _ => "OptionError",
    }
}

fn of_vectors(error: &VectorError) -> &'static str {
    match error {
        VectorError::NoSuchMask { .. } | VectorError::NoSuchIndex { .. } => "NotFoundError",
        VectorError::EmbedderExists { .. } | VectorError::EmbedderInUse { .. } => "ExistsError",
        VectorError::OtherWeights { .. } => "ModelError",
        _ => OTHER,
    }
}

/// The class for one of the causes of a failure, if it is an error of the library. Parts of the library return errors of
/// their own kind, which are in no [`Error`].
fn class_of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    if let Some(error) = cause.downcast_ref::<Error>() {
        Some(class_of(error))
    } else if let Some(error) = cause.downcast_ref::<ModelError>() {
        Some(of_model(error))
    } else if let Some(error) = cause.downcast_ref::<CatalogueError>() {
        Some(of_catalogue(error))
    } else if let Some(error) = cause.downcast_ref::<CollectError>() {
        Some(of_collect(error))
    } else if let Some(error) = cause.downcast_ref::<ColumnError>() {
        Some(of_column(error))
    } else if let Some(error) = cause.downcast_ref::<HeadError>() {
        Some(of_head(error))
    } else if let Some(error) = cause.downcast_ref::<ReviewError>() {
        Some(of_review(error))
    } else if let Some(error) = cause.downcast_ref::<VectorError>() {
        Some(of_vectors(error))
    } else if cause.is::<EvalError>() {
        Some("OptionError")
    } else if cause.is::<CocoError>() || cause.is::<PhotoError>() {
        Some("InputError")
    } else {
        None
    }
}

/// Whether an error is a text of the command itself, without a cause. Commands say so what is wrong with their arguments.
fn is_text_alone(error: &anyhow::Error) -> bool {
    error.chain().nth(1).is_none() && (error.is::<String>() || error.is::<&'static str>())
}

/// The exception for what went wrong in a command.
pub fn raise(py: Python<'_>, failure: &Failure) -> PyErr {
    let class = match &failure.error {
        None => "OptionError",
        Some(error) => {
            let is_io = || error.chain().any(|it| it.is::<std::io::Error>());
            match error.chain().find_map(class_of_cause) {
                Some(class) => class,
                None if is_io() => "FileError",
                None if is_text_alone(error) => "OptionError",
                None => OTHER,
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
