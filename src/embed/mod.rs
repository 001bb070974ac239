//! Embedding: masks, or whole images, get vectors of other models, once. The photos go in again; the masks are those in
//! the store, whoever made them.
//!
//! ```text
//! masks of images not yet done --read, decode (threads, ahead)--> photo, masks
//!     --Embedder (one thread)--> vectors --commits of bounded size--> vectors/EMBEDDER_ID, embeddings
//! ```
//!
//! The vectors of an image's masks and its row of `embeddings` are written in one commit, so that an interrupted run
//! goes on where it was, and nothing is embedded twice.

mod crops;
mod embedder;
mod identity;
mod job;
mod manage;
mod options;
mod pending;
mod request;
mod run;
mod sink;
mod summary;
mod texts;

pub use embedder::{Embedder, MaskToEmbed};
pub use identity::embedder_row;
#[cfg_attr(
    not(feature = "cluster"),
    expect(unused_imports, reason = "only clusters name it")
)]
pub(crate) use job::EmbedTask;
pub use job::embed_with_workers;
pub use manage::{EmbedderStatus, embedder_statuses, remove_embedder};
pub use options::{Background, EmbedOptions, Pool};
pub use pending::{PendingVectors, pending_vectors};
pub use request::{EmbedRequest, OpenEmbedder, embed};
pub use summary::EmbedSummary;
pub use texts::TextEncoder;
