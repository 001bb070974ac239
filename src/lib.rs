//! Run Segment Anything **once**; everything after that is a query over a Lance store.
//!
//! ```text
//! images --ingest--> images, labels, ground_truth
//! images --extract (SAM, once)--> masks (RLE + 1024-d token embedding + scores)
//! SELECT over masks x labels --train--> heads
//! heads x masks --annotate--> predictions
//! predictions x ground_truth --eval (SQL)--> evaluations
//! predictions --export--> COCO JSON, label maps, overlays
//! ```
//!
//! The tables ([`schema`]) lie in a [`store`]. From below: mask [`geometry`], [`ingest`] and [`sql`], [`extract`]ion with
//! Segment Anything ([`sam`]), [`head`]s trained on its masks, [`annotate`] and [`mod@eval`], [`export`], [`picture`]s and
//! [`report`]s.
//!
//! ```
//! use grainstore::ingest::{self, IngestOptions, LabelSource, Source};
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
//! let options = IngestOptions {
//!     dataset: "pets".to_owned(),
//!     source: Source::Web,
//!     split: None,
//!     verify_pixels: false,
//!     commit_rows: ingest::DEFAULT_COMMIT_ROWS,
//! };
//! let folders = LabelSource::Folders; // photos/cat/1.png is labelled 'cat'
//! ingest::ingest_folder(&store, photos, &folders, &options, &NoProgress).await?;
//!
//! let sql = Sql::new(&store.snapshot().await?).await?;
//! let rows = sql.query("SELECT label, count(*) AS images FROM labels GROUP BY label").await?;
//! assert_eq!(rows.collect().await?[0].num_rows(), 1);
//! # Ok::<(), grainstore::Error>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Modules by layer
//!
//! Imports go down this list, never up; a test holds them to it.
//!
//! - L0 [`error`], [`ids`], [`progress`], [`geometry`], [`photo`], [`coco`],
//!   [`scenes`]
//! - L1 [`schema`], [`store`], [`sql`]
//! - L2 [`catalogue`], [`device`], [`sam`]
//! - L2 above these [`query`] and [`selection`], then [`classes`]
//! - L3 [`ingest`]
//! - L4 [`extract`]
//! - L5 [`head`]
//! - L6 [`annotate`], [`import`](mod@import)
//! - L7 [`eval`]
//! - L8 [`export`]
//! - L9 [`picture`]
//! - L10 [`report`]
//!
//! The program (`main.rs`, `cli/`) uses only what is public here.

pub mod annotate;
pub mod catalogue;
pub mod classes;
pub mod coco;
pub mod device;
pub mod error;
pub mod eval;
pub mod export;
pub mod extract;
pub mod geometry;
pub mod head;
pub mod ids;
pub mod import;
pub mod ingest;
mod options;
pub mod photo;
pub mod picture;
pub mod progress;
pub mod query;
pub mod report;
pub mod sam;
pub mod scenes;
pub mod schema;
pub mod selection;
pub mod sql;
pub mod store;
mod task;

pub use error::{Error, Result};

// The crates whose types appear in this one's functions, so that a user need not name their versions.
pub use arrow;
pub use burn;
pub use datafusion;
