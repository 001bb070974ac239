//! Parameters of queries: their types, and how a word becomes a value.

use std::collections::HashMap;

use datafusion::common::ScalarValue;

use crate::Result;
use crate::catalogue::{
    annotated_categories, find_annotated_dataset, find_class_set, find_dataset, find_embedder,
    find_extractor, find_head, find_image, find_policy, find_split,
};
use crate::store::Snapshot;

/// Values of all parameters of a query, by name.
pub type Bound = HashMap<String, ScalarValue>;

/// A parameter of a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Name of the parameter: `$name` in the query.
    pub name: String,
    /// Type of its values.
    pub kind: ParameterType,
    /// Its default, as the header has it; `None` if a value must be given.
    pub default: Option<String>,
    /// What the parameter does, in words.
    pub about: String,
}

/// The type of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterType {
    /// Any text.
    Text,
    /// A whole number.
    Bigint,
    /// A number.
    Double,
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    OneOf(Vec<String>),
    /// A head; its value is the `head_id`.
    Head,
    /// A policy of the head that another parameter names; its value is the `policy_id`. `newest` is the policy that was
    /// used last.
    Policy {
        /// Name of the other parameter.
        head: String,
    },
    /// A class set; its value is `NAME@VERSION`. `own` is the class set of the head that another parameter names.
    ClassSet {
        /// Name of the other parameter.
        head: Option<String>,
    },
    /// A data set.
    Dataset,
    /// A data set that has annotations.
    Annotated,
    /// A split.
    Split,
    /// An extractor; its value is the `extractor_id`.
    Extractor,
    /// An embedder; its value is the `embedder_id`.
    Embedder,
    /// An image; its value is the `image_id`.
    Image,
}

impl ParameterType {
    /// Parses `TEXT`, `ONE_OF(a|b)`, `POLICY(head)` and so on.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let (name, of) = match word.split_once('(') {
            Some((name, of)) => (name, Some(of.strip_suffix(')')?)),
            None => (word, None),
        };
        let of = of.map(str::to_owned);
        match (name.to_ascii_uppercase().as_str(), of) {
            ("TEXT", None) => Some(Self::Text),
            ("BIGINT", None) => Some(Self::Bigint),
            ("DOUBLE", None) => Some(Self::Double),
            ("BOOLEAN", None) => Some(Self::Boolean),
            ("ONE_OF", Some(words)) => {
                let words = words.split('|').map(str::to_owned).collect();
                Some(Self::OneOf(words))
            }
            ("HEAD", None) => Some(Self::Head),
            ("POLICY", Some(head)) => Some(Self::Policy { head }),
            ("CLASS_SET", head) => Some(Self::ClassSet { head }),
            ("DATASET", None) => Some(Self::Dataset),
            ("ANNOTATED", None) => Some(Self::Annotated),
            ("SPLIT", None) => Some(Self::Split),
            ("EXTRACTOR", None) => Some(Self::Extractor),
            ("EMBEDDER", None) => Some(Self::Embedder),
            ("IMAGE", None) => Some(Self::Image),
            _ => None,
        }
    }

    /// The type in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Bigint => "a whole number".to_owned(),
            Self::Double => "a number".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::OneOf(words) => words.join(" or "),
            Self::Head => "a head".to_owned(),
            Self::Policy { head } => format!("a policy of '{head}'"),
            Self::ClassSet { .. } => "a class set".to_owned(),
            Self::Dataset => "a data set".to_owned(),
            Self::Annotated => "a data set with annotations".to_owned(),
            Self::Split => "a split".to_owned(),
            Self::Extractor => "an extractor".to_owned(),
            Self::Embedder => "an embedder".to_owned(),
            Self::Image => "an image".to_owned(),
        }
    }

    /// The parameter whose value must be known before this one is resolved.
    pub(super) fn depends_on(&self) -> Option<&str> {
        match self {
            Self::Policy { head } => Some(head),
            Self::ClassSet { head } => head.as_deref(),
            _ => None,
        }
    }

    fn null(&self) -> ScalarValue {
        match self {
            Self::Bigint => ScalarValue::Int64(None),
            Self::Double => ScalarValue::Float64(None),
            Self::Boolean => ScalarValue::Boolean(None),
            _ => ScalarValue::Utf8(None),
        }
    }

    /// The value of a word; `None` if the word is not of this type.
    ///
    /// # Errors
    /// [`crate::error::CatalogueError`] for an unknown name; errors from the store.
    pub(super) async fn value(
        &self,
        snapshot: &Snapshot,
        word: &str,
        bound: &Bound,
    ) -> Result<Option<ScalarValue>> {
        if word == "NULL" {
            return Ok(Some(self.null()));
        }
        let text = |value: String| Some(ScalarValue::Utf8(Some(value)));
        let of_head = async |name: &str| match bound.get(name) {
            Some(ScalarValue::Utf8(Some(head_id))) => Ok(Some(find_head(snapshot, head_id).await?)),
            _ => Ok::<_, crate::Error>(None),
        };
        Ok(match self {
            Self::Text => text(word.to_owned()),
            Self::Bigint => word.parse().ok().map(|n| ScalarValue::Int64(Some(n))),
            Self::Double => word.parse().ok().map(|x| ScalarValue::Float64(Some(x))),
            Self::Boolean => word.parse().ok().map(|b| ScalarValue::Boolean(Some(b))),
            Self::OneOf(words) => {
                if words.iter().any(|known| known == word) {
                    text(word.to_owned())
                } else {
                    None
                }
            }
            Self::Head => text(find_head(snapshot, word).await?.head_id.to_string()),
            Self::Policy { head } => {
                let Some(head) = of_head(head).await? else {
                    return Ok(None);
                };
                let word = Some(word).filter(|word| *word != NEWEST);
                text(
                    find_policy(snapshot, &head, word)
                        .await?
                        .policy_id
                        .to_string(),
                )
            }
            Self::ClassSet { head: Some(head) } if word == OWN => {
                let Some(head) = of_head(head).await? else {
                    return Ok(None);
                };
                text(head.class_set_at_version())
            }
            Self::ClassSet { .. } => text(find_class_set(snapshot, word).await?.to_string()),
            Self::Dataset => text(find_dataset(snapshot, word).await?),
            Self::Annotated => {
                let annotated = annotated_categories(snapshot).await?;
                text(find_annotated_dataset(&annotated, Some(word))?)
            }
            Self::Split => text(find_split(snapshot, word).await?),
            Self::Extractor => {
                let found = find_extractor(snapshot, Some(word)).await?;
                text(found.extractor_id.to_string())
            }
            Self::Embedder => text(find_embedder(snapshot, word).await?.embedder_id.to_string()),
            Self::Image => text(find_image(snapshot, word).await?.to_string()),
        })
    }
}

/// The word for the policy that was used last.
const NEWEST: &str = "newest";
/// The word for the class set of the head.
const OWN: &str = "own";
