//! The checksum of a file, taken piece by piece.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3;

/// Size and XXH3 of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checksum {
    pub bytes: u64,
    /// 16 hex digits.
    pub xxh3: String,
}

/// The size and hash, so far, of a file that is read piece by piece.
#[derive(Default)]
pub(super) struct Summing {
    hash: Xxh3,
    bytes: u64,
}

impl Summing {
    /// Adds the bytes that follow.
    pub fn add(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// The checksum of all bytes.
    pub fn end(self) -> Checksum {
        Checksum {
            bytes: self.bytes,
            xxh3: format!("{:016x}", self.hash.digest()),
        }
    }
}
