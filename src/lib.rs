//! Annotates images pixel by pixel, and runs Segment Anything (SAM) only **once** per image: everything after that is a
//! query over a Lance store.
//!
//! The store keeps every mask that SAM finds, with its embedding. Classes are then small heads, which train in seconds
//! from labels of whole images ("this photo shows a cat"). Annotating, evaluating and exporting read the store, so
//! classes can change as often as you like, and SAM does not run again. The method is GranSAM's
//! ([arXiv 2312.02420](https://arxiv.org/abs/2312.02420)).
//!
//! ```text
//! images --ingest--> images, labels, ground_truth
//! images --extract (SAM, once)--> masks (RLE + 1024-d token embedding + scores)
//! SELECT over masks x labels --train--> heads
//! heads x masks --annotate--> predictions
//! predictions x ground_truth --eval (SQL)--> evaluations
//! predictions --export--> COCO JSON, VOC label maps, Parquet
//! predictions --show, report--> pictures, an HTML page
//! ```
//!
//! Each step of the flow is a module: [`ingest`], [`extract`], [`head`], [`annotate`], [`mod@eval`], [`export`],
//! [`picture`] and [`report`]. Between the steps, every table ([`schema`]) can be read with SQL ([`sql`], [`query`]).
//!
//! # How to start
//!
//! Open a [`Store`](store::Store). Functions that write take the store and a request, and commit their rows. Functions
//! that only read take a [`Snapshot`](store::Snapshot), which shows the tables as one commit left them. Long work
//! reports to a [`Progress`](progress::Progress).
//!
//! ```
//! use grainstore::ingest::{FolderIngest, IngestOptions, LabelSource, ingest_folder};
//! use grainstore::progress::NoProgress;
//! use grainstore::sql::Sql;
//! use grainstore::store::{Store, StoreOptions};
//!
//! # let photos = tempfile::tempdir()?;
//! # std::fs::create_dir(photos.path().join("cat"))?;
//! # image::RgbImage::new(4, 3).save(photos.path().join("cat/1.png"))?;
//! # let place = tempfile::tempdir()?;
//! # let (photos, place) = (photos.path(), place.path().to_str().unwrap());
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let store = Store::open_or_create(place, StoreOptions::default()).await?;
//! let request = FolderIngest {
//!     directory: photos.to_owned(),
//!     labels: LabelSource::Folders, // photos/cat/1.png is labelled 'cat'
//!     options: IngestOptions::of_dataset("pets"),
//! };
//! ingest_folder(&store, &request, &NoProgress).await?;
//!
//! let sql = Sql::new(&store.snapshot().await?).await?;
//! let rows = sql.query("SELECT label, count(*) AS images FROM labels GROUP BY label").await?;
//! assert_eq!(rows.collect().await?[0].num_rows(), 1);
//! # Ok::<(), grainstore::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `examples/library.rs` goes from photos to a COCO file: ingest, extract, train, annotate, evaluate and export.
//!
//! The default feature `cli` is only for the program; with `default-features = false`, its dependencies are left out.
//!
//! # Modules by layer
//!
//! A module imports from its own layer or from those above it in this list; a test enforces this.
//!
//! - L0 [`error`], [`ids`], [`progress`], [`geometry`], [`photo`], [`coco`],
//!   [`scenes`]
//! - L1 [`schema`], [`store`], [`sql`]
//! - L2 [`catalogue`], [`device`], [`models`]
//! - L2, built on these: [`query`] and [`selection`], then [`classes`]
//! - L3 [`ingest`], then [`mod@collect`]
//! - L4 [`jobs`], then [`compact`], [`indexes`] and [`extract`](mod@extract), then [`embed`], then [`neighbours`]
//! - L5 [`head`]
//! - L6 [`annotate`], [`import`](mod@import)
//! - L6, above these: `cluster`, a feature
//! - L7 [`eval`]
//! - L8 [`export`]
//! - L9 [`picture`]
//! - L10 [`report`]
//!
//! The program (`main.rs`, `cli/`, `web/`) uses only the public items of this crate.

pub mod annotate;
pub mod catalogue;
pub mod classes;
#[cfg(feature = "cluster")]
pub mod cluster;
pub mod coco;
pub mod collect;
pub mod compact;
mod csv_text;
pub mod device;
pub mod embed;
pub mod error;
pub mod eval;
pub mod export;
pub mod extract;
pub(crate) mod formats;
pub mod geometry;
pub mod head;
pub mod ids;
pub mod import;
pub mod indexes;
pub mod ingest;
pub mod jobs;
pub mod models;
pub mod neighbours;
mod options;
pub mod photo;
pub mod picture;
pub mod progress;
pub mod query;
pub mod report;
pub mod review;
pub mod scenes;
pub mod schema;
pub mod selection;
pub mod sql;
pub mod store;
mod task;
mod vectors;

pub use error::{Error, Result};

// Types of these crates appear in this one's functions; re-exporting them saves users from matching the versions.
pub use arrow;
pub use burn;
pub use datafusion;
