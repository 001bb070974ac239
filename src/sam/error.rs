//! The module's error and result types under short names.

pub(super) use crate::error::SamError;

pub(super) type Result<T, E = SamError> = std::result::Result<T, E>;
