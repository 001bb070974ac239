//! Errors of vectors, embedders and indexes.

/// Everything that can go wrong with vectors and what makes them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VectorError {
    /// Weights are not those that an embedder was made with.
    #[error(
        "'{path}' is not the checkpoint of embedder '{embedder}', which was made with '{checkpoint}': its SHA-256 is {found}, \
         expected {expected}",
        path = path.display()
    )]
    OtherWeights {
        /// The file.
        path: std::path::PathBuf,
        /// Its SHA-256.
        found: String,
        /// The embedder.
        embedder: String,
        /// Name of its checkpoint.
        checkpoint: String,
        /// SHA-256 of its checkpoint.
        expected: String,
    },

    /// A mask, or an image, has no vector in a table.
    #[error("{} has no vector in '{table}'", mask_of(image, *mask_index))]
    NoSuchMask {
        /// Id of the image.
        image: String,
        /// The mask's index; `None` for the image itself.
        mask_index: Option<i32>,
        /// The table.
        table: String,
    },

    /// A table has no index.
    #[error("'{table}' has no index of its {of}")]
    NoSuchIndex {
        /// The table.
        table: String,
        /// What was to be indexed: vectors, images, or any rows.
        of: &'static str,
    },

    /// Another embedder has the name.
    #[error("embedder '{name}' is another one already, {embedder_id}, with options {options}")]
    EmbedderExists {
        /// The name.
        name: String,
        /// Id of the embedder that has it.
        embedder_id: String,
        /// Options of that embedder.
        options: String,
    },

    /// An embedder is needed by heads.
    #[error("embedder '{name}' is read by {}", heads.iter().map(|head| format!("head '{head}'")).collect::<Vec<_>>().join(", "))]
    EmbedderInUse {
        /// The embedder.
        name: String,
        /// Heads that read its vectors.
        heads: Vec<String>,
    },
}

fn mask_of(image: &str, mask_index: Option<i32>) -> String {
    match mask_index {
        Some(index) => format!("mask {index} of image '{image}'"),
        None => format!("image '{image}'"),
    }
}
