//! Errors of collecting images.

use std::path::PathBuf;

/// Everything that can go wrong while images are collected; what concerns one image is a row of `failures` instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    /// It is not clear which label the images of a word have.
    #[error(
        "class '{class}': images of '{word}' could be of any of its labels '{labels}'; search with the labels themselves, or give \
         the word a class of its own"
    )]
    NoLabel {
        /// The class.
        class: String,
        /// The word.
        word: String,
        /// The class's labels.
        labels: String,
    },

    /// A directory was filled with other options.
    #[error(
        "'{path}' line {line} lists '{file}', which these options would not make ({what}); use the options of before, or another \
         directory", path = path.display()
    )]
    OtherManifest {
        /// The manifest.
        path: PathBuf,
        /// Its line.
        line: u64,
        /// The image.
        file: String,
        /// What the manifest says of it.
        what: String,
    },

    /// A server does not answer as its API says.
    #[error("{server}: {reason}")]
    Server {
        /// Its address.
        server: String,
        /// What it answered, or why it did not.
        reason: String,
    },

    /// A generator cannot make an image.
    #[error("{generator}: {reason}")]
    Generator {
        /// The generator.
        generator: &'static str,
        /// Why.
        reason: String,
    },

    /// There are too few images to make mosaics of.
    #[error(
        "a mosaic needs 4 labelled images, and {found} fit; ingest some with labels, or change --where"
    )]
    TooFewImages {
        /// Images that fit.
        found: usize,
    },

    /// Another run writes to a directory.
    #[error("another run of collect writes to '{path}'; wait for it, or use another directory", path = path.display())]
    DirectoryInUse {
        /// The directory.
        path: PathBuf,
    },
}
