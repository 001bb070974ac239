//! Where a store, or photos, can lie: in a directory of this machine, or under a prefix of a bucket.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::FileAction;
use crate::{Error, Result};

/// A scheme of buckets: what it needs, and whether this build has it.
struct Scheme {
    name: &'static str,
    feature: &'static str,
    is_built: bool,
}

/// Buckets whose conditional writes Lance uses. With any other scheme it would commit without them, and writers would lose
/// each other's rows.
const SCHEMES: [Scheme; 4] = [
    Scheme::new("s3", "aws", cfg!(feature = "aws")),
    Scheme::new("gs", "gcp", cfg!(feature = "gcp")),
    Scheme::new("az", "azure", cfg!(feature = "azure")),
    Scheme::new("abfss", "azure", cfg!(feature = "azure")),
];

/// Object stores without a server, for tests: in the memory of this process, and in a directory of this machine.
const FOR_TESTS: [&str; 2] = ["shared-memory", "file-object-store"];

impl Scheme {
    const fn new(name: &'static str, feature: &'static str, is_built: bool) -> Self {
        Self {
            name,
            feature,
            is_built,
        }
    }
}

/// A place for a store or for photos.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An absolute directory.
    Directory(PathBuf),
    /// A URI such as `s3://bucket/prefix`, without a slash at its end.
    Bucket(String),
}

impl Location {
    /// Reads a path, a `file://` URI, or the URI of a bucket.
    ///
    /// # Errors
    /// [`Error::Location`] for a scheme that is not supported or not in this build, and for a URI that does not name a bucket
    /// or a prefix of one; errors from the file system.
    pub fn parse(text: &str) -> Result<Self> {
        let path = match text.split_once("://") {
            None => text,
            Some(("file", path)) => path,
            Some((scheme, rest)) => return bucket(text, scheme, rest).map(Self::Bucket),
        };
        let path = Path::new(path);
        let path = std::path::absolute(path).map_err(Error::file(FileAction::Resolve, path))?;
        Ok(Self::Directory(path))
    }

    /// Whether a text names a bucket, and not a path.
    pub fn is_bucket(text: &str) -> bool {
        matches!(text.split_once("://"), Some((scheme, _)) if scheme != "file")
    }
}

/// The URI of a bucket in its one way of writing.
fn bucket(uri: &str, scheme: &str, rest: &str) -> Result<String> {
    let refused = |reason: String| Error::Location {
        uri: uri.to_owned(),
        reason,
    };
    let known = SCHEMES.iter().find(|it| it.name == scheme);
    match known {
        Some(Scheme {
            feature,
            is_built: false,
            ..
        }) => {
            return Err(refused(format!(
                "this build is without it; build with the feature '{feature}'"
            )));
        }
        None if !FOR_TESTS.contains(&scheme) => {
            let known: Vec<_> = SCHEMES.iter().map(|it| format!("{}://", it.name)).collect();
            return Err(refused(format!(
                "'{scheme}://' is not supported; there are paths and {}",
                known.join(", ")
            )));
        }
        _ => {}
    }
    if rest.contains(['?', '#', '\\']) {
        return Err(refused(
            "a bucket and a prefix have no '?', '#' or '\\'".to_owned(),
        ));
    }
    if scheme != "abfss" && rest.contains('@') {
        return Err(refused(
            "keys belong into the environment or --storage-option, not into the URI".to_owned(),
        ));
    }
    let rest = rest.trim_end_matches('/');
    // A directory as an object store has an absolute path and no bucket.
    let parts = match scheme {
        "file-object-store" => rest.strip_prefix('/'),
        _ => Some(rest),
    };
    let parts: Vec<&str> = parts
        .into_iter()
        .flat_map(|parts| parts.split('/'))
        .collect();
    if parts.iter().all(|part| part.is_empty()) {
        return Err(refused("it names no bucket".to_owned()));
    }
    if parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err(refused(
            "a prefix has no empty parts, '.' or '..'".to_owned(),
        ));
    }
    Ok(format!("{scheme}://{rest}"))
}

/// Options of buckets, such as `endpoint`, `region` and `allow_http`, beside those that are read from the environment:
/// <https://docs.rs/object_store/latest/object_store/aws/enum.AmazonS3ConfigKey.html>.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct StorageOptions {
    values: BTreeMap<String, String>,
}

impl StorageOptions {
    /// No options beside the environment's.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an option.
    pub fn set(&mut self, option: StorageOption) {
        self.values.insert(option.key, option.value);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Keys and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.values.iter()
    }
}

impl FromIterator<StorageOption> for StorageOptions {
    fn from_iter<I: IntoIterator<Item = StorageOption>>(options: I) -> Self {
        let mut all = Self::new();
        options.into_iter().for_each(|option| all.set(option));
        all
    }
}

impl fmt::Debug for StorageOptions {
    /// Writes the keys alone: values can be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// One option of buckets, read from `KEY=VALUE`.
#[derive(Clone, PartialEq, Eq)]
pub struct StorageOption {
    key: String,
    value: String,
}

impl FromStr for StorageOption {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |value: &str, expected: String| Error::InvalidOption {
            what: "storage option",
            value: value.to_owned(),
            expected,
        };
        let Some((key, value)) = text.split_once('=') else {
            // What was given may be a secret whose name was forgotten.
            return Err(invalid("...", "KEY=VALUE".to_owned()));
        };
        let key = key.trim().to_ascii_lowercase();
        if !is_known(&key) {
            return Err(invalid(
                &key,
                "an option of object stores, such as region, endpoint or allow_http".to_owned(),
            ));
        }
        Ok(Self {
            key,
            value: value.to_owned(),
        })
    }
}

impl fmt::Debug for StorageOption {
    /// Writes the key alone: the value can be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=...", self.key)
    }
}

/// Whether an object store of this build, or Lance, has an option of this name.
fn is_known(key: &str) -> bool {
    /// Options of Lance itself.
    const OF_LANCE: [&str; 8] = [
        "client_max_retries",
        "client_retry_timeout",
        "download_retry_count",
        "lance_aimd_disabled",
        "headers",
        "s3_express",
        "use_opendal",
        "aws_provider_scheme",
    ];
    #[cfg(feature = "aws")]
    if key.parse::<object_store::aws::AmazonS3ConfigKey>().is_ok() {
        return true;
    }
    #[cfg(feature = "gcp")]
    if key.parse::<object_store::gcp::GoogleConfigKey>().is_ok() {
        return true;
    }
    #[cfg(feature = "azure")]
    if key.parse::<object_store::azure::AzureConfigKey>().is_ok() {
        return true;
    }
    OF_LANCE.contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Location::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn places_have_one_way_of_writing() {
        let bucket = |text: &str| Location::Bucket(text.to_owned());
        for text in [
            "shared-memory://a/b",
            "shared-memory://a/b/",
            "shared-memory://a/b//",
        ] {
            assert_eq!(
                Location::parse(text).unwrap(),
                bucket("shared-memory://a/b")
            );
        }
        let directory = Location::parse("file-object-store:///tmp/x/").unwrap();
        assert_eq!(directory, bucket("file-object-store:///tmp/x"));
        let here = std::path::absolute("x").unwrap();
        assert_eq!(Location::parse("x").unwrap(), Location::Directory(here));
        let file = Location::parse("file:///tmp/x").unwrap();
        assert_eq!(file, Location::Directory("/tmp/x".into()));
        assert!(Location::is_bucket("s3://x") && !Location::is_bucket("file:///x"));
    }

    #[test]
    fn what_is_no_place_is_refused_with_its_reason() {
        for (text, reason) in [
            ("http://host/store", "'http://' is not supported"),
            ("s3+ddb://bucket/x", "'s3+ddb://' is not supported"),
            ("shared-memory://", "names no bucket"),
            ("shared-memory:///", "names no bucket"),
            ("shared-memory://a/../b", "no empty parts"),
            ("shared-memory://a//b", "no empty parts"),
            ("shared-memory://a/b?versioned", "no '?'"),
            (
                "shared-memory://key:secret@a/b",
                "keys belong into the environment",
            ),
        ] {
            let message = refused(text);
            assert!(message.contains(reason), "{text}: {message}");
        }
        if cfg!(not(feature = "gcp")) {
            assert!(refused("gs://bucket/x").contains("feature 'gcp'"));
        }
    }

    #[test]
    fn options_hide_their_values_and_have_known_names() {
        let option: StorageOption = "headers=hunter2".parse().unwrap();
        let options: StorageOptions = [option].into_iter().collect();
        assert_eq!(format!("{options:?}"), "{\"headers\"}");
        for (text, reason) in [("regoin=x", "'regoin'"), ("hunter2", "KEY=VALUE")] {
            let message = text.parse::<StorageOption>().unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
