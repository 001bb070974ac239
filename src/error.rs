//! The library's one error type.
//!
//! Every variant is a fact: what failed, on which file, row or option, what was expected and what
//! was found. The text is lower-case, values stand in quotes, and where a user can do something about
//! it the text says what.

use std::path::PathBuf;

/// What the library returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in grainstore.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A schema file is not a `CREATE TABLE` that can become an Arrow schema.
    #[error("schema '{table}': {reason}")]
    Schema {
        /// Table whose DDL is at fault.
        table: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A record batch does not have the columns its table declares.
    #[error("table '{table}': column '{column}': expected {expected}, found {found}")]
    ColumnMismatch {
        /// Table being read or written.
        table: &'static str,
        /// Column at fault.
        column: String,
        /// Declared type.
        expected: String,
        /// Type found.
        found: String,
    },

    /// Rows could not be turned into a record batch, or a batch into rows.
    #[error("table '{table}': {reason}")]
    RowCodec {
        /// Table being read or written.
        table: &'static str,
        /// What does not fit.
        reason: String,
    },

    /// There is no store at the place named.
    #[error("no store at '{uri}'; create one with 'grainstore init' or by ingesting into it")]
    StoreNotFound {
        /// Where a store was looked for.
        uri: String,
    },

    /// The place named holds something that is not a store.
    #[error("'{uri}' is not a grainstore store, and not empty; name another place with --store")]
    NotAStore {
        /// The place.
        uri: String,
    },

    /// A store was written by a program with another storage format.
    #[error(
        "store '{uri}' has format version {found}, this program reads version {expected}; {advice}"
    )]
    StoreFormat {
        /// The store.
        uri: String,
        /// Version in `grainstore.json`.
        found: u32,
        /// Version this program writes.
        expected: u32,
        /// What the user can do.
        advice: &'static str,
    },

    /// A file of the store's own bookkeeping cannot be read.
    #[error("store file '{path}' is damaged: {reason}")]
    StoreDamaged {
        /// Path inside the store.
        path: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The store has no such version, or it was cleaned up.
    #[error("the store has no version {version}; 'grainstore store log' lists those it has")]
    NoSuchVersion {
        /// The version asked for.
        version: u64,
    },

    /// The store has no such tag.
    #[error("the store has no tag '{tag}'; 'grainstore store tags' lists those it has")]
    NoSuchTag {
        /// The tag asked for.
        tag: String,
    },

    /// A tag of that name exists already.
    #[error("tag '{tag}' exists already (version {version}); delete it first or choose another name")]
    TagExists {
        /// The tag.
        tag: String,
        /// The version it names.
        version: u64,
    },

    /// A name holds characters that cannot stand in a file name or an id.
    #[error("'{name}' cannot name a {what}: use ASCII letters, digits, '.', '_' and '-', at most 100")]
    InvalidName {
        /// What was to be named.
        what: &'static str,
        /// The name given.
        name: String,
    },

    /// Other writers changed the store each time a commit was tried.
    #[error("commit '{operation}' gave way to other writers {attempts} times; run it again")]
    CommitContention {
        /// What was being committed.
        operation: String,
        /// How often it was tried.
        attempts: u32,
    },

    /// An id is not 32 lower-case hex digits.
    #[error("'{value}' is not an id: expected 32 lower-case hex digits")]
    InvalidId {
        /// The text given.
        value: String,
    },

    /// A value is none of those an option takes.
    #[error("'{value}' is not a {what}: expected {expected}")]
    InvalidOption {
        /// The option or column.
        what: &'static str,
        /// The value given.
        value: String,
        /// Values it takes.
        expected: String,
    },

    /// Reading or writing a file failed.
    #[error("cannot {action} '{path}'", path = path.display())]
    File {
        /// What was tried: 'read', 'write', 'list', ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// A file's content is not what its format says it is.
    #[error("'{path}'{place}: {reason}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line, key or row, as it follows the file name (` line 3`), or empty.
        place: String,
        /// What was expected and found.
        reason: String,
    },

    /// A query file or header is wrong, or a parameter does not fit it.
    #[error("query '{query}': {reason}")]
    Query {
        /// Name of the query.
        query: String,
        /// What is wrong.
        reason: String,
    },

    /// SQL that would change something, where only reading is allowed.
    #[error("only queries can be run here ({reason}); rows are written by grainstore's own commands")]
    ReadOnlySql {
        /// DataFusion's word for what was refused.
        reason: String,
    },

    /// Work on a worker thread panicked or was cancelled.
    #[error("a worker thread failed while {task}")]
    Worker {
        /// What it was doing.
        task: &'static str,
        /// Why.
        #[source]
        source: tokio::task::JoinError,
    },

    /// Lance failed.
    #[error("lance: {0}")]
    Lance(#[from] lance::Error),

    /// DataFusion failed: bad SQL, or a query that could not run.
    #[error("{0}")]
    DataFusion(#[from] datafusion::error::DataFusionError),

    /// Arrow failed.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),

    /// Reading or writing JSON failed.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    /// An [`Error::File`] from an I/O error, for `map_err`.
    pub fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
