//! Errors for names that refer to nothing, or to more than one thing.

use std::fmt;

/// The kinds of things that can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A head, by its name or the first digits of its id.
    Head,
    /// A policy of a head, by the first digits of its id.
    Policy,
    /// A class set, by its name, with `@VERSION` for a version other than the newest.
    ClassSet,
    /// A data set.
    Dataset,
    /// A data set that has annotations.
    AnnotatedDataset,
    /// A split.
    Split,
    /// An extractor, by the first digits of its id.
    Extractor,
    /// An embedder, by its name or the first digits of its id.
    Embedder,
    /// An image, by its file name or the first digits of its id.
    Image,
    /// A query of `queries/`.
    Query,
    /// A parameter of a query.
    Parameter,
}

impl Named {
    /// The singular.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Policy => "policy",
            Self::ClassSet => "class set",
            Self::Dataset => "data set",
            Self::AnnotatedDataset => "data set with annotations",
            Self::Split => "split",
            Self::Extractor => "extractor",
            Self::Embedder => "embedder",
            Self::Image => "image",
            Self::Query => "query",
            Self::Parameter => "parameter",
        }
    }

    const fn plural(self) -> &'static str {
        match self {
            Self::Head => "heads",
            Self::Policy => "policies",
            Self::ClassSet => "class sets",
            Self::Dataset => "data sets",
            Self::AnnotatedDataset => "data sets with annotations",
            Self::Split => "splits",
            Self::Extractor => "extractors",
            Self::Embedder => "embedders",
            Self::Image => "images",
            Self::Query => "queries",
            Self::Parameter => "parameters",
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name refers to nothing, or to more than one thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogueError {
    /// Nothing has the name.
    #[error("there is no {kind} '{name}'{}", of_those_there_are(*kind, nearest))]
    NoSuch {
        /// What was looked for.
        kind: Named,
        /// The name given.
        name: String,
        /// The existing names, the nearest first.
        nearest: Vec<String>,
    },

    /// A word fits several things: their ids begin with it, or they have it as their name.
    #[error("'{word}' may be any of these {}; give more of it: {}", kind.plural(), listed(fitting))]
    Ambiguous {
        /// What was looked for.
        kind: Named,
        /// The word that was given.
        word: String,
        /// The things that it fits.
        fitting: Vec<String>,
    },

    /// No name was given, and there are several things to choose from.
    #[error("there are several {}; choose one: {}", kind.plural(), listed(found))]
    Choose {
        /// What is to be chosen.
        kind: Named,
        /// The things to choose from.
        found: Vec<String>,
    },

    /// There are no things of this kind.
    #[error("there are no {} yet", kind.plural())]
    Empty {
        /// What was looked for.
        kind: Named,
    },

    /// The masks of every extractor were imported, and have no tokens.
    #[error("all masks were imported, and have no tokens")]
    OnlyImported,

    /// A head has no predictions.
    #[error("head '{head}' has no predictions yet")]
    NoPredictions {
        /// The head.
        head: String,
    },
}

/// Maximum number of names that are listed before "and n more".
const LISTED: usize = 8;

fn listed(names: &[String]) -> String {
    let first: Vec<&str> = names.iter().take(LISTED).map(String::as_str).collect();
    match names.len() - first.len() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn of_those_there_are(kind: Named, nearest: &[String]) -> String {
    match nearest {
        [] => format!("; there are no {} yet", kind.plural()),
        _ => {
            let quoted: Vec<String> = nearest.iter().map(|name| format!("'{name}'")).collect();
            format!("; there are {}", listed(&quoted))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_there_tells_of_those_that_are() {
        let none = CatalogueError::NoSuch {
            kind: Named::Head,
            name: "typo".to_owned(),
            nearest: Vec::new(),
        };
        assert_eq!(
            none.to_string(),
            "there is no head 'typo'; there are no heads yet"
        );
        let names = |count: usize| (0..count).map(|n| format!("h{n}")).collect::<Vec<_>>();
        let some = CatalogueError::NoSuch {
            kind: Named::Policy,
            name: "typo".to_owned(),
            nearest: names(9),
        };
        assert!(some.to_string().ends_with("'h7' and 1 more"), "{some}");
    }
}
