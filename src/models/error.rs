//! The module's error and result types under short names.

pub(super) use crate::error::ModelError;

pub(super) type Result<T, E = ModelError> = std::result::Result<T, E>;
