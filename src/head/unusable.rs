//! The error for heads that cannot be used.

use crate::Error;
use crate::error::HeadError;

/// Name in errors for a head that has no name yet.
pub(super) const IN_TRAINING: &str = "in training";

/// The error for a head, or one in the making, that cannot be used.
pub(super) fn unusable(head: &str, reason: impl Into<String>) -> Error {
    Error::Head(HeadError::Unusable {
        head: head.to_owned(),
        reason: reason.into(),
    })
}
