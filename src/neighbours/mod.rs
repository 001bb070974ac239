//! Nearest neighbours: the masks, or the images, whose vectors are most like a given one, by cosine similarity.
//!
//! ```text
//! a mask | an image | a vector | a text --NearestRequest--> nearest --> keys of rows and similarities
//! ```
//!
//! The search is exact, which compares every vector of the table; or it goes by the table's index
//! ([`Store::create_index`](crate::store::Store::create_index)), which looks at a few of its partitions
//! and can miss neighbours. Similarities are exact either way, and the result tells which search it was.
//!
//! In SQL, the table functions `nearest`, `nearest_vector` and `nearest_text` do the same ([`register_neighbours`]).
//! Nothing here writes to the store.

mod literals;
mod plan;
mod request;
mod search;
mod searched;
mod similarity;
mod table_function;
mod texts;

pub use request::{
    DEFAULT_COUNT, DEFAULT_NPROBES, DEFAULT_REFINE, NearestRequest, Neighbour, Neighbours, Search,
    SearchQuery, SearchedTable, SearchedWith,
};
pub use search::nearest;
pub use table_function::register_neighbours;
pub use texts::{ClipTexts, TextVectors};
