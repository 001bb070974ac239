//! Searches a table for the rows whose vectors are nearest.

use std::sync::Arc;

use datafusion::logical_expr::Expr;
use datafusion::prelude::{col, lit};

use super::request::{
    DEFAULT_NPROBES, DEFAULT_REFINE, NearestRequest, Neighbours, Search, SearchQuery, SearchedWith,
};
use super::searched::{Searched, Sought};
use super::similarity::Wanted;
use crate::catalogue::extractors_stored;
use crate::error::VectorError;
use crate::ids::{ExtractorId, ImageId};
use crate::store::rows::ExtractorRow;
use crate::store::{Snapshot, is_of_images};
use crate::{Error, Result};

/// Finds the rows of a table whose vectors are nearest to a given one, by cosine similarity.
///
/// Rows whose vector is null or all zeros have no similarity and are not found. Among masks' own embeddings, only those
/// of the same embedding space are compared with a mask.
///
/// # Examples
/// ```
/// use grainstore::catalogue::find_image;
/// use grainstore::neighbours::{NearestRequest, SearchQuery, nearest};
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let snapshot = store.snapshot().await?;
/// let query = SearchQuery::Mask {
///     image: find_image(&snapshot, "val/000000000139.jpg").await?,
///     extractor: None,
///     mask_index: 17,
/// };
/// let found = nearest(&snapshot, &NearestRequest::new("vectors.dinov2".parse()?, query)).await?;
/// println!("{}", found.searched); // exact over 120000 vectors
/// for mask in found.rows {
///     println!("{:.3} {} {:?}", mask.similarity, mask.image_id, mask.mask_index);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`crate::error::CatalogueError`] for an unknown embedder; [`crate::error::VectorError::NoSuchMask`] if the mask or the image has no
/// vector in the table; [`Error::InvalidOption`] for a vector of another length or without direction, for a query that
/// does not fit the table, and for a count of 0; [`crate::error::VectorError::NoSuchIndex`]; errors from the store.
pub async fn nearest(snapshot: &Snapshot, request: &NearestRequest) -> Result<Neighbours> {
    if request.count == 0 {
        return Err(Error::InvalidOption {
            what: "number of neighbours",
            value: "0".to_owned(),
            expected: "a number from 1".to_owned(),
        });
    }
    let searched = Searched::open(snapshot, &request.table).await?;
    let with = searched.plan(request.search).await?;
    let (wanted, comparable) = searched.wanted(snapshot, &request.query).await?;
    let mut filters: Vec<Expr> = Vec::new();
    filters.extend(comparable);
    filters.extend(request.filter.clone());
    if let Some(images) = request.images.chosen_ids(snapshot).await? {
        if images.is_empty() {
            return Ok(Neighbours {
                rows: Vec::new(),
                searched: with,
            });
        }
        filters.push(is_of_images(&images));
    }
    let sought = Arc::new(Sought {
        wanted,
        count: request.count,
        filter: filters.into_iter().reduce(Expr::and),
    });
    let ids = match &with {
        SearchedWith::Exact { .. } => searched.exact(sought.clone()).await?,
        SearchedWith::Index {
            nprobes, refine, ..
        } => searched.by_index(&sought, *nprobes, *refine).await?,
    };
    Ok(Neighbours {
        rows: searched.rows(&ids, &sought.wanted).await?,
        searched: with,
    })
}

/// How a request would be searched, without searching.
///
/// # Errors
/// As [`nearest`].
pub(super) async fn plan(snapshot: &Snapshot, request: &NearestRequest) -> Result<SearchedWith> {
    let searched = Searched::open(snapshot, &request.table).await?;
    searched.plan(request.search).await
}

impl Searched {
    /// Chooses between the index and the exact search.
    async fn plan(&self, search: Search) -> Result<SearchedWith> {
        let (nprobes, refine) = match search {
            Search::Exact => return self.exact_plan().await,
            Search::Auto => (DEFAULT_NPROBES, DEFAULT_REFINE),
            Search::Index { nprobes, refine } => (nprobes, refine),
        };
        match self.index().await? {
            Some(index) => Ok(SearchedWith::Index {
                index: index.name,
                nprobes,
                refine,
                unindexed_rows: index.unindexed_rows,
            }),
            None if search == Search::Auto => self.exact_plan().await,
            None => Err(Error::Vectors(VectorError::NoSuchIndex {
                table: self.name.clone(),
                of: "vectors",
            })),
        }
    }

    async fn exact_plan(&self) -> Result<SearchedWith> {
        let vectors = self.count().await?;
        Ok(SearchedWith::Exact { vectors })
    }

    /// The vector to compare with, and a condition for the rows that can be compared with it, if not all can.
    async fn wanted(
        &self,
        snapshot: &Snapshot,
        query: &SearchQuery,
    ) -> Result<(Wanted, Option<Expr>)> {
        let (numbers, comparable) = match (query, self.is_of_masks) {
            (SearchQuery::Vector(numbers), _) => (numbers.clone(), None),
            (
                SearchQuery::Mask {
                    image,
                    extractor,
                    mask_index,
                },
                true,
            ) => {
                self.of_mask(snapshot, image, extractor.as_ref(), *mask_index)
                    .await?
            }
            (SearchQuery::Image { image }, false) => {
                let found = self
                    .vectors_where(col("image_id").eq(lit(image.as_str())))
                    .await?;
                let found = found.into_iter().next();
                let (numbers, _) = found.ok_or_else(|| self.no_such(image, None))?;
                (numbers, None)
            }
            (SearchQuery::Mask { .. }, false) => {
                return Err(self.does_not_fit("a mask", "an image"));
            }
            (SearchQuery::Image { .. }, true) => {
                return Err(self.does_not_fit("an image", "a mask"));
            }
        };
        if numbers.len() != self.dim {
            return Err(Error::InvalidOption {
                what: "vector to search for",
                value: format!("a list of {} numbers", numbers.len()),
                expected: format!("{} numbers, as in '{}'", self.dim, self.name),
            });
        }
        let wanted = Wanted::new(numbers).ok_or_else(|| Error::InvalidOption {
            what: "vector to search for",
            value: "a list without a direction".to_owned(),
            expected: "finite numbers that are not all zero".to_owned(),
        })?;
        Ok((wanted, comparable))
    }

    fn does_not_fit(&self, given: &str, expected: &str) -> Error {
        Error::InvalidOption {
            what: "thing to search for",
            value: given.to_owned(),
            expected: format!("{expected}, of which '{}' has the vectors", self.name),
        }
    }

    fn no_such(&self, image: &ImageId, mask_index: Option<i32>) -> Error {
        Error::Vectors(VectorError::NoSuchMask {
            image: image.to_string(),
            mask_index,
            table: self.name.clone(),
        })
    }

    /// The vector of a mask. Only the embeddings of extractors need a condition: an embedder has one space.
    async fn of_mask(
        &self,
        snapshot: &Snapshot,
        image: &ImageId,
        extractor: Option<&ExtractorId>,
        mask_index: i32,
    ) -> Result<(Vec<f32>, Option<Expr>)> {
        let mut condition = col("image_id").eq(lit(image.as_str()));
        condition = condition.and(col("mask_index").eq(lit(mask_index)));
        if let Some(extractor) = extractor {
            condition = condition.and(col("extractor_id").eq(lit(extractor.as_str())));
        }
        let mut found = self.vectors_where(condition).await?;
        // The newest extractor first, as in queries/review/similar_masks.sql.
        let mut stored = extractors_stored(snapshot).await?;
        stored.sort_by(|a, b| {
            let by_age = b.created_at.cmp(&a.created_at);
            by_age.then_with(|| a.extractor_id.cmp(&b.extractor_id))
        });
        found.sort_by_key(|(_, of)| {
            let place = stored
                .iter()
                .position(|row| of.as_ref() == Some(&row.extractor_id));
            place.unwrap_or(stored.len())
        });
        let first = found.into_iter().next();
        match first.ok_or_else(|| self.no_such(image, Some(mask_index)))? {
            (numbers, Some(own)) if self.is_of_extractors => {
                Ok((numbers, comparable_with(&own, &stored)))
            }
            (numbers, _) => Ok((numbers, None)),
        }
    }
}

/// A condition for the masks whose embeddings are in the space of an extractor's; `None` if all embeddings are.
fn comparable_with(extractor: &ExtractorId, stored: &[ExtractorRow]) -> Option<Expr> {
    let own = stored.iter().find(|row| row.extractor_id == *extractor);
    let space = own.and_then(|row| row.embedding_space.as_ref());
    let is_alike = |row: &ExtractorRow| {
        let is_of_space = space.is_some() && row.embedding_space.as_ref() == space;
        row.extractor_id == *extractor || is_of_space
    };
    let mut embedding = stored.iter().filter(|row| row.embedding_space.is_some());
    if embedding.all(is_alike) {
        return None;
    }
    let others = stored
        .iter()
        .filter(|row| row.extractor_id != *extractor && is_alike(row));
    let mut alike = vec![lit(extractor.as_str())];
    alike.extend(others.map(|row| lit(row.extractor_id.as_str())));
    Some(col("extractor_id").in_list(alike, false))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::ids::EmbeddingSpaceId;
    use crate::store::rows::ExtractorKind;

    fn extractor(name: &str, space: Option<&str>) -> ExtractorRow {
        ExtractorRow {
            extractor_id: ExtractorId::of_bytes(name.as_bytes()),
            kind: ExtractorKind::Sam,
            model_type: None,
            checkpoint: String::new(),
            checkpoint_sha256: String::new(),
            embedding_dim: None,
            embedding_space: space.map(|space| EmbeddingSpaceId::of_bytes(space.as_bytes())),
            options: "{}".to_owned(),
            grainstore_version: String::new(),
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn embeddings_are_compared_within_their_space() {
        let of = |name: &str| ExtractorId::of_bytes(name.as_bytes());
        let [a, b] = [extractor("a", Some("x")), extractor("b", Some("x"))];
        let [c, imported] = [extractor("c", Some("y")), extractor("d", None)];
        let one_space = [a.clone(), b.clone(), imported.clone()];
        assert_eq!(comparable_with(&of("a"), &one_space), None);
        let two_spaces = [a, b, c, imported];
        let condition = comparable_with(&of("a"), &two_spaces).unwrap();
        let expected = [of("a"), of("b")].map(|id| lit(id.as_str()));
        assert_eq!(
            condition,
            col("extractor_id").in_list(expected.to_vec(), false)
        );
        let alone = comparable_with(&of("c"), &two_spaces).unwrap();
        let expected = vec![lit(of("c").as_str())];
        assert_eq!(alone, col("extractor_id").in_list(expected, false));
    }
}
