//! The library's error type.
//!
//! Every variant is a fact: what failed, on which file, row or option, what was expected and what was found. The text
//! is lower-case and values are in quotes. If a user can do something about the error, the text says what.

mod catalogue;
mod coco;
mod collect;
mod column;
mod eval;
mod file_action;
mod head;
mod model;
mod not_weights;
mod photo;
mod reason;
mod review;
mod vectors;

use std::path::PathBuf;

pub use catalogue::{CatalogueError, Named};
pub use coco::CocoError;
pub use collect::CollectError;
pub use column::ColumnError;
pub use eval::EvalError;
pub use file_action::FileAction;
pub use head::HeadError;
pub use model::ModelError;
pub use not_weights::NotWeights;
pub use photo::PhotoError;
pub(crate) use reason::sql_reason;
use reason::without_code_places;
pub use review::ReviewError;
pub use vectors::VectorError;

use crate::geometry::{Pixel, Size};

/// The result of the library's functions.
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
        table: String,
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
        table: String,
        /// What does not fit.
        reason: String,
    },

    /// There is no store at the given place.
    #[error("no store at '{uri}'")]
    StoreNotFound {
        /// Where a store was looked for.
        uri: String,
    },

    /// A copy would go to a place where there is a store already.
    #[error("there is a store at '{uri}' already; copy to an empty place")]
    StoreExists {
        /// The place.
        uri: String,
    },

    /// A store exists already, and keeps embeddings in another way than is asked for.
    #[error("store '{uri}' exists already, with embeddings {found}")]
    OtherEmbeddings {
        /// The store.
        uri: String,
        /// Number type and length of its embeddings.
        found: String,
    },

    /// An open store no longer exists.
    #[error("the store at '{uri}' was removed while it was in use; what was not committed is lost")]
    StoreGone {
        /// Where the store was.
        uri: String,
    },

    /// An ingested photo is no longer where it was.
    #[error("'{path}' is not there any more")]
    PhotoGone {
        /// Where the photo was.
        path: PathBuf,
    },

    /// A place that is neither a path nor a bucket that this build supports.
    #[error("'{uri}': {reason}")]
    Location {
        /// The place.
        uri: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A bucket in which two writers could both be told that they committed.
    #[error(
        "'{uri}': {reason}; grainstore cannot keep a store there, because commits would be lost (as with OpenStack Swift, \
         Garage and s3s-fs; Ceph is fit, and Amazon S3, Google Cloud Storage, Azure and MinIO say that they are)"
    )]
    UnsafeBucket {
        /// Where the store would be.
        uri: String,
        /// What happened when writers raced.
        reason: String,
    },

    /// The given place holds something that is not a store.
    #[error("'{uri}' is not a grainstore store, and not empty")]
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
        advice: String,
    },

    /// A file of the store cannot be read, or has changed since it was written.
    #[error("store file '{path}' is damaged: {reason}")]
    StoreDamaged {
        /// Path inside the store.
        path: String,
        /// What is wrong with it.
        reason: String,
    },

    /// The store has no such version, or it has expired.
    #[error("the store has no version {version}")]
    NoSuchVersion {
        /// The version asked for.
        version: u64,
    },

    /// The store has no such tag.
    #[error("the store has no tag '{tag}'")]
    NoSuchTag {
        /// The tag asked for.
        tag: String,
    },

    /// A tag of that name exists already.
    #[error(
        "tag '{tag}' exists already (version {version}); delete it first or choose another name"
    )]
    TagExists {
        /// The tag.
        tag: String,
        /// The version that it names.
        version: u64,
    },

    /// A name is too long, or has characters that are not allowed in file names and ids.
    #[error(
        "'{name}' cannot name a {what}: use ASCII letters, digits, '.', '_' and '-', at most 100, none of '.' and '-' first, no '.' last or twice{}", if *what == "tag" { ", and not digits alone" } else { "" }
    )]
    InvalidName {
        /// What the name was for.
        what: &'static str,
        /// The name given.
        name: String,
    },

    /// Other writers changed the store each time a commit was tried.
    #[error("commit '{operation}' gave way to other writers {attempts} times; run it again")]
    CommitContention {
        /// What was being committed.
        operation: String,
        /// Number of attempts.
        attempts: u32,
    },

    /// An id is not 32 lower-case hex digits.
    #[error("'{value}' is not an id: expected 32 lower-case hex digits")]
    InvalidId {
        /// The text given.
        value: String,
    },

    /// A value is not one that an option takes.
    #[error("'{value}' is not {} {what}: expected {expected}", article(what))]
    InvalidOption {
        /// The option or column.
        what: &'static str,
        /// The value given.
        value: String,
        /// Values that it takes.
        expected: String,
    },

    /// A required option was not given.
    #[error("no {option} is given: expected {expected}")]
    MissingOption {
        /// The missing option, in words.
        option: &'static str,
        /// Values that it takes.
        expected: String,
    },

    /// Reading or writing a file failed.
    #[error("cannot {action} '{path}'", path = path.display())]
    File {
        /// What was tried.
        action: FileAction,
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },

    /// A file's content does not fit its format.
    #[error("'{path}'{place}: {reason}", path = path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Line, key or row, as it follows the file name (` line 3`), or empty.
        place: String,
        /// What was expected and found.
        reason: String,
    },

    /// Two images, of different data sets or splits, have the same id.
    #[error("{one} and {other} both have id {id}")]
    Ids {
        /// The id.
        id: i64,
        /// One image and its data set.
        one: String,
        /// The other image and its data set.
        other: String,
    },

    /// A split has a name that a format cannot hold.
    #[error("split '{split}' {reason}")]
    SplitName {
        /// The split.
        split: String,
        /// Why it cannot be written.
        reason: String,
    },

    /// No image matches the request.
    #[error("no image that is {of} fits what was asked for")]
    NothingToExport {
        /// What the image had to be: `annotated by head '...'`.
        of: String,
    },

    /// Pixels cannot be written as an image file.
    #[error("cannot encode an image: {reason}")]
    EncodeImage {
        /// The encoder's error.
        reason: String,
    },

    /// Rows cannot be written as a Parquet file.
    #[error("cannot write '{path}': {reason}", path = path.display())]
    EncodeParquet {
        /// The file.
        path: PathBuf,
        /// The writer's error.
        reason: String,
    },

    /// An exported file is wrong when it is read back.
    #[error("the export was read back and is wrong: {reason}; nothing was replaced")]
    ExportInvalid {
        /// What is wrong, and where.
        reason: String,
    },

    /// An image has more pixels than a mask can count.
    #[error("image of {size} pixels (height x width) has more than {max} pixels", max = u32::MAX)]
    MaskTooLarge {
        /// The size asked for.
        size: Size,
    },
    /// A bitmap does not hold one byte per pixel.
    #[error("bitmap of a {size} mask has {found} bytes, expected {expected}")]
    BitmapLength {
        /// Size of the mask.
        size: Size,
        /// Number of bytes that the size requires.
        expected: u32,
        /// Bytes given.
        found: usize,
    },
    /// The runs of a mask go on past its last pixel.
    #[error("run {index} of a {size} mask ends at pixel {end}, expected at most {expected}")]
    RunsTooLong {
        /// Size of the mask.
        size: Size,
        /// Zero-based index of the first run that does not fit.
        index: usize,
        /// Pixels counted up to the end of that run.
        end: u64,
        /// Pixels of the mask.
        expected: u32,
    },
    /// Compressed counts hold a byte outside their alphabet.
    #[error(
        "counts of a {size} mask hold byte {byte} at position {position}, expected 48 ('0') to 111 ('o')"
    )]
    CountsByte {
        /// Size of the mask.
        size: Size,
        /// Zero-based position in the string.
        position: usize,
        /// The byte found there.
        byte: u8,
    },
    /// Compressed counts stop in the middle of a run.
    #[error("counts of a {size} mask end inside a run, after {length} bytes")]
    CountsTruncated {
        /// Size of the mask.
        size: Size,
        /// Bytes given.
        length: usize,
    },
    /// The RLE codec refused a mask.
    #[error("rle codec refused a {size} mask")]
    RleCodec {
        /// Size of the mask.
        size: Size,
        /// The codec's error.
        #[source]
        source: hotcoco::Error,
    },
    /// Two masks that belong to one image differ in size.
    #[error("masks differ in size: expected {expected}, found {found}")]
    SizeMismatch {
        /// Size of the first mask.
        expected: Size,
        /// Size of the mask that differs.
        found: Size,
    },
    /// A crop does not lie within its image.
    #[error("a crop of {crop} pixels at x {x}, y {y} is not within an image of {size}", x = origin.x, y = origin.y)]
    CropOutside {
        /// Size of the crop.
        crop: Size,
        /// Its first pixel in the image.
        origin: Pixel,
        /// Size of the image.
        size: Size,
    },
    /// A polygon has fewer than three points.
    #[error("polygon {polygon} has {found} numbers, expected at least 6 (three points)")]
    PolygonTooShort {
        /// Zero-based index of the polygon.
        polygon: usize,
        /// Numbers given.
        found: usize,
    },
    /// A flat polygon ends in an x without its y.
    #[error("polygon {polygon} has {found} numbers, expected an even count (x, y pairs)")]
    PolygonOddLength {
        /// Zero-based index of the polygon.
        polygon: usize,
        /// Numbers given.
        found: usize,
    },
    /// A polygon has a NaN or infinite coordinate.
    #[error(
        "polygon {polygon} has coordinate {value} at position {index}, expected a finite number"
    )]
    PolygonNotFinite {
        /// Zero-based index of the polygon.
        polygon: usize,
        /// Zero-based position in its flat list of numbers.
        index: usize,
        /// The coordinate found there.
        value: f64,
    },
    /// Two lists that go together differ in length.
    #[error("'{list}' has {found} entries, expected {expected}, one for each of '{of}'")]
    LengthMismatch {
        /// Name of the list with the wrong length.
        list: &'static str,
        /// Name of the list it goes with.
        of: &'static str,
        /// Length of the latter.
        expected: usize,
        /// Length of the former.
        found: usize,
    },
    /// A score is not a number, so it cannot be ordered.
    #[error("score {index} is not a number")]
    ScoreNotANumber {
        /// Zero-based index of the score.
        index: usize,
    },
    /// An IoU threshold is outside its range.
    #[error("iou threshold is {value}, expected a number from 0 to 1")]
    IouThreshold {
        /// The threshold given.
        value: f64,
    },

    /// A device cannot be used.
    #[error("device '{device}': {reason}")]
    Device {
        /// Its name on the command line.
        device: String,
        /// What is missing.
        reason: String,
    },

    /// A device's memory is too small for an image, or for a single point at a time.
    #[error(
        "the device is out of memory {}: {reason}",
        with_points(*points)
    )]
    DeviceMemory {
        /// Points or crops that went through the model at once, 0 while the image itself was encoded.
        points: usize,
        /// The backend's error.
        reason: String,
    },

    /// An embedding network failed on an image, and would fail on others, too.
    #[error("the embedding network failed on '{item}'")]
    Embedding {
        /// The image's file.
        item: String,
        /// The cause.
        #[source]
        source: Box<Error>,
    },

    /// The model failed on an image, and would fail on others, too.
    #[error("the model failed on '{item}'")]
    Extraction {
        /// The image's file.
        item: String,
        /// The cause.
        #[source]
        source: Box<Error>,
    },

    /// A model's output holds numbers that are not finite.
    #[error("the model's {what} are not all finite numbers; are its weights sound?")]
    ModelOutput {
        /// Which of its outputs.
        what: &'static str,
    },

    /// A store keeps embeddings of a different size from the model's.
    #[error("the store keeps embeddings of {expected} numbers, the model gives {found}")]
    EmbeddingSize {
        /// Numbers in an embedding of the store.
        expected: u32,
        /// Numbers in an embedding of the model.
        found: i32,
    },

    /// An annotation, or all annotations of an image, cannot be used.
    #[error("{reason}")]
    Annotation {
        /// What was expected and found.
        reason: String,
    },

    /// A label map cannot be read.
    #[error("label map '{path}'", path = path.display())]
    LabelMap {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: PhotoError,
    },

    /// A query file or header is wrong, or a parameter does not fit it.
    #[error("query '{query}': {reason}")]
    Query {
        /// Name of the query.
        query: String,
        /// What is wrong.
        reason: String,
    },

    /// A query needs a parameter that was not given.
    #[error("query '{query}': parameter '{parameter}' is missing")]
    MissingParameter {
        /// Name of the query.
        query: String,
        /// Name of the parameter.
        parameter: String,
    },

    /// A statement would change something where only reading is allowed.
    #[error(
        "only queries can be run here ({reason}); rows are written by grainstore's own commands"
    )]
    ReadOnlySql {
        /// DataFusion's description of what was refused.
        reason: String,
    },

    /// Something that should be impossible: a fault of the program, not of the user.
    #[error("a fault in grainstore: {what}; please report it")]
    Internal {
        /// What was found.
        what: &'static str,
    },

    /// A column, or a value in it, cannot be used.
    #[error(transparent)]
    Column(#[from] ColumnError),

    /// The threads that a model runs on could not be started.
    #[error("cannot start the threads of the model")]
    Threads {
        /// The cause.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },

    /// Nobody waited for the work any more, so it was ended before it was done.
    #[error("the work was given up")]
    GivenUp,

    /// Work on a worker thread panicked or was cancelled.
    #[error("a worker thread failed while {task}")]
    Worker {
        /// What it was doing.
        task: &'static str,
        /// The cause.
        #[source]
        source: tokio::task::JoinError,
    },

    /// The bytes of an image file cannot be used.
    #[error(transparent)]
    Photo(#[from] PhotoError),

    /// A COCO file, or an item of one, cannot be used.
    #[error(transparent)]
    Coco(#[from] CocoError),

    /// A model, its weights or its input cannot be used.
    #[error(transparent)]
    Model(#[from] ModelError),

    /// Images cannot be collected.
    #[error(transparent)]
    Collect(#[from] CollectError),

    /// Vectors, or what makes them, cannot be used.
    #[error(transparent)]
    Vectors(#[from] VectorError),

    /// A class set or a head cannot be used.
    #[error(transparent)]
    Head(#[from] HeadError),

    /// Masks cannot be labelled as asked.
    #[error(transparent)]
    Review(#[from] ReviewError),

    /// A name refers to nothing, or to more than one thing.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),

    /// An evaluation has nothing to compare.
    #[error(transparent)]
    Eval(#[from] EvalError),

    /// Workers, or the cluster that they belong to, did not do what was asked.
    #[error("cluster: {reason}")]
    Cluster {
        /// What went wrong.
        reason: String,
    },

    /// A job that was handed to a cluster failed, of itself or because of what happened to its workers.
    #[error("cluster: {reason}")]
    ClusterJob {
        /// What the scheduler says.
        reason: String,
    },

    /// Lance failed.
    #[error("lance: {}", without_code_places(&.0.to_string()))]
    Lance(#[from] lance::Error),

    /// DataFusion failed: bad SQL, or a query that could not run.
    #[error("{}", sql_reason(.0))]
    DataFusion(#[source] datafusion::error::DataFusionError),

    /// Arrow failed.
    #[error("arrow: {0}")]
    Arrow(#[from] arrow::error::ArrowError),

    /// Reading or writing JSON failed.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<datafusion::error::DataFusionError> for Error {
    /// An error of grainstore that went through DataFusion is itself again.
    fn from(error: datafusion::error::DataFusionError) -> Self {
        use datafusion::error::DataFusionError;

        match error {
            DataFusionError::External(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::DataFusion(DataFusionError::External(other)),
            },
            other => Self::DataFusion(other),
        }
    }
}

/// What a device was doing.
fn with_points(points: usize) -> String {
    match points {
        0 => "while an image is encoded".to_owned(),
        1 => "with a single point".to_owned(),
        many => format!("with {many} points at once"),
    }
}

impl Error {
    /// An [`Error::File`] from an I/O error, for `map_err`.
    pub fn file(
        action: FileAction,
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

/// The article before a word.
fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o']) {
        "an"
    } else {
        "a"
    }
}
