//! Collects training images from words: from image sources on the web, from generators, and from images of the store.
//!
//! In: classes with their words ([`search_words`]). Out: image files below a directory, a `manifest.jsonl` with a line for
//! each (labels, and where it comes from), and their rows in the store with `source = 'web'` or `'synthetic'`. Everything
//! that is known of an image is in `images.attributes`. A run that was stopped goes on where it was when it is started
//! again, because the directory says what is there.

mod address;
mod attribution;
mod duplicates;
mod feed;
mod folder;
mod generators;
mod host;
mod http;
mod journal;
mod keep;
mod licence;
mod mosaic;
mod photo_check;
mod sources;
mod synthetic;
mod web;
mod words;

pub use generators::{Automatic1111, CommandGenerator, Generator, Picture, Prompt, SceneDrawer};
#[cfg(feature = "diffusion")]
pub use generators::{DiffusionOptions, StableDiffusion};
pub use http::{Http, HttpOptions};
pub use licence::{Licence, Licences};
pub use mosaic::{MosaicRequest, MosaicSummary, collect_mosaics};
pub use sources::{Candidate, Commons, FoundPage, ImageSource, Openverse, UrlList};
pub use synthetic::{SyntheticRequest, SyntheticSummary, collect_synthetic};
pub use web::{ClassCount, Offer, OfferCount, WebRequest, WebSummary, collect_web, offers};
pub use words::{SearchWord, search_words};

/// Name of the file in the directory that lists its images.
pub const MANIFEST: &str = "manifest.jsonl";
