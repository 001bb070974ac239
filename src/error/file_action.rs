//! What was tried with a file when it failed.

use std::fmt;

/// What was tried with a file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAction {
    /// Reading it.
    Read,
    /// Opening it.
    Open,
    /// Listing a directory.
    List,
    /// Making its path absolute.
    Resolve,
    /// Locking it.
    Lock,
    /// Creating it.
    Create,
    /// Writing it.
    Write,
    /// Putting it in the place of another file.
    Replace,
    /// Removing it.
    Remove,
}

impl FileAction {
    /// Whether the file, or its directory, was to be changed.
    pub fn is_change(self) -> bool {
        matches!(
            self,
            Self::Create | Self::Write | Self::Replace | Self::Remove
        )
    }
}

impl fmt::Display for FileAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Open => "open",
            Self::List => "list directory",
            Self::Resolve => "resolve",
            Self::Lock => "lock",
            Self::Create => "create",
            Self::Write => "write",
            Self::Replace => "replace",
            Self::Remove => "remove",
        })
    }
}
