//! What a head reads of a mask: the tokens of Segment Anything, vectors of embedders, the mask's shape; in an order.

use std::collections::HashSet;

use arrow::array::{ArrayRef, RecordBatch};

use super::unusable::unusable;
use crate::catalogue::{embedders_stored, find_embedder};
use crate::error::{CatalogueError, Named};
use crate::ids::EmbedderId;
use crate::store::Snapshot;
use crate::store::rows::{HeadRow, TOKEN_INPUTS};
use crate::{Error, Result};

/// One input of a head.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HeadInput {
    /// `masks.embedding`.
    Tokens,
    /// The six numbers of the SQL function `mask_shape`.
    Shape,
    /// The vectors of an embedder.
    Vectors {
        /// The embedder.
        embedder_id: EmbedderId,
        /// Its name.
        embedder: String,
    },
}

const TOKENS: &str = "tokens";
const SHAPE: &str = "shape";

impl HeadInput {
    /// The word in `heads.inputs`.
    pub fn stored(&self) -> &str {
        match self {
            Self::Tokens => TOKENS,
            Self::Shape => SHAPE,
            Self::Vectors { embedder_id, .. } => embedder_id.as_str(),
        }
    }

    /// The column of a training query that holds it.
    pub fn column(&self) -> &str {
        match self {
            Self::Tokens => "embedding",
            Self::Shape => SHAPE,
            Self::Vectors { embedder, .. } => embedder,
        }
    }

    /// What people call it: 'tokens', 'shape' or the embedder's name.
    pub fn word(&self) -> &str {
        match self {
            Self::Tokens => TOKENS,
            Self::Shape | Self::Vectors { .. } => self.column(),
        }
    }
}

/// The inputs of a head, in the order in which their numbers follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadInputs(Vec<HeadInput>);

impl HeadInputs {
    /// The tokens alone, as in the paper.
    pub fn tokens() -> Self {
        Self(vec![HeadInput::Tokens])
    }

    /// The inputs of some words: 'tokens', 'shape', or the name or id of an embedder; without words, the tokens.
    ///
    /// # Errors
    /// [`CatalogueError`] for an embedder that does not exist; [`Error::InvalidOption`] for a word that is there twice.
    pub async fn find(snapshot: &Snapshot, words: &[String]) -> Result<Self> {
        if words.is_empty() {
            return Ok(Self::tokens());
        }
        let mut inputs = Vec::with_capacity(words.len());
        for word in words {
            inputs.push(match word.as_str() {
                TOKENS => HeadInput::Tokens,
                SHAPE => HeadInput::Shape,
                name => {
                    let row = find_embedder(snapshot, name).await?;
                    HeadInput::Vectors {
                        embedder_id: row.embedder_id,
                        embedder: row.embedder,
                    }
                }
            });
        }
        let different: HashSet<&HeadInput> = inputs.iter().collect();
        if different.len() < inputs.len() {
            return Err(Error::InvalidOption {
                what: "list of vectors",
                value: words.join(","),
                expected: "each of them once".to_owned(),
            });
        }
        Ok(Self(inputs))
    }

    /// The inputs of a stored head.
    ///
    /// # Errors
    /// [`CatalogueError`] if it reads an embedder that the store does not have; [`crate::error::HeadError::Unusable`]
    /// for a row that cannot be read.
    pub async fn of_row(snapshot: &Snapshot, row: &HeadRow) -> Result<Self> {
        if row.inputs == TOKEN_INPUTS {
            return Ok(Self::tokens());
        }
        let words: Vec<String> = serde_json::from_str(&row.inputs)
            .map_err(|err| unusable(&row.head, format!("its inputs cannot be read: {err}")))?;
        let stored = embedders_stored(snapshot).await?;
        let mut inputs = Vec::with_capacity(words.len());
        for word in words {
            inputs.push(match word.as_str() {
                TOKENS => HeadInput::Tokens,
                SHAPE => HeadInput::Shape,
                id => {
                    let known = stored.iter().find(|row| row.embedder_id.as_str() == id);
                    let known = known.ok_or_else(|| {
                        Error::Catalogue(CatalogueError::NoSuch {
                            kind: Named::Embedder,
                            name: id.to_owned(),
                            nearest: stored.iter().map(|row| row.embedder.clone()).collect(),
                        })
                    })?;
                    HeadInput::Vectors {
                        embedder_id: known.embedder_id.clone(),
                        embedder: known.embedder.clone(),
                    }
                }
            });
        }
        Ok(Self(inputs))
    }

    /// The inputs in order.
    pub fn iter(&self) -> impl Iterator<Item = &HeadInput> {
        self.0.iter()
    }

    /// Number of inputs.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The embedders among them, by id and name, in order.
    pub fn embedders(&self) -> impl Iterator<Item = (&EmbedderId, &str)> {
        self.0.iter().filter_map(|input| match input {
            HeadInput::Vectors {
                embedder_id,
                embedder,
            } => Some((embedder_id, embedder.as_str())),
            HeadInput::Tokens | HeadInput::Shape => None,
        })
    }

    /// Whether the tokens are among them.
    pub fn has_tokens(&self) -> bool {
        self.0.contains(&HeadInput::Tokens)
    }

    /// The column of each input, in order, of rows that a query over these inputs yields.
    ///
    /// # Errors
    /// [`Error::Internal`] if one is not there.
    pub(super) fn columns_of(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        let columns = self.iter().map(|input| column_of(batch, input.column()));
        columns.collect()
    }

    /// `heads.inputs`.
    ///
    /// # Errors
    /// Any error from JSON.
    pub fn to_json(&self) -> Result<String> {
        let words: Vec<&str> = self.0.iter().map(HeadInput::stored).collect();
        Ok(serde_json::to_string(&words)?)
    }

    /// How each input is normalised in a head that is a closed form of a few masks: by its length, so that no statistics of
    /// few masks matter; shapes, whose six numbers have units of their own, by their mean and scale.
    pub(super) fn unit_normalisations(&self) -> Vec<Normalisation> {
        let how = |input: &HeadInput| match input {
            HeadInput::Shape => Normalisation::Standard,
            HeadInput::Tokens | HeadInput::Vectors { .. } => Normalisation::L2,
        };
        self.0.iter().map(how).collect()
    }

    /// How each input is normalised in a head that is trained on them: the tokens alone are taken as they are, as in the
    /// paper; of several inputs, or of vectors, each by its own mean and scale.
    pub(super) fn normalisations(&self) -> Vec<Normalisation> {
        let how = match self.0[..] {
            [HeadInput::Tokens] => Normalisation::None,
            _ => Normalisation::Standard,
        };
        vec![how; self.0.len()]
    }
}

/// How an input is normalised before the head's first layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalisation {
    /// It is taken as it is.
    None,
    /// Each vector is divided by its length.
    L2,
    /// The mean over the training set is taken off, and the rest divided by one number for all: the root of its mean
    /// square.
    Standard,
}

/// A column of rows that a head reads.
///
/// # Errors
/// [`Error::Internal`] if it is not there.
pub(super) fn column_of(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let found = batch.column_by_name(name).cloned();
    found.ok_or(Error::Internal {
        what: "a column that a head reads is not there",
    })
}
