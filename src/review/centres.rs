//! Greedy k-centres: masks that are least like all that were looked at (Sener and Savarese, Active Learning for
//! Convolutional Neural Networks: A Core-Set Approach, ICLR 2018, algorithm 1).

use std::collections::{HashMap, HashSet};

use datafusion::prelude::Expr;
use rayon::prelude::*;

use super::label::mask_labels;
use super::queued::{QueueRequest, QueuedMask};
use super::statement::MaskKey;
use super::vectors::{MaskVectors, UnitVectors};
use crate::head::{HeadInput, HeadInputs};
use crate::ids::ImageId;
use crate::neighbours::SearchedTable;
use crate::progress::Progress;
use crate::store::rows::HeadRow;
use crate::store::{Snapshot, is_of_images};
use crate::task::blocking;
use crate::{Error, Result};

/// The greatest distance that there can be, that of the first mask.
const FARTHEST: f32 = 2.0;

/// Chooses masks of a head's extractor by their vectors, which are held in memory.
///
/// # Errors
/// As [`super::queue`].
pub(super) async fn centres(
    snapshot: &Snapshot,
    request: &QueueRequest,
    head: &HeadRow,
    images: Option<&HashSet<ImageId>>,
    progress: &dyn Progress,
) -> Result<Vec<QueuedMask>> {
    let table = match &request.vectors {
        Some(table) => table.clone(),
        None => vectors_of(snapshot, head).await?,
    };
    let vectors = MaskVectors::open(snapshot, &table, &head.extractor_id).await?;
    let labels = mask_labels(snapshot).await?;
    let said: HashSet<(ImageId, i32)> = labels
        .iter()
        .filter(|row| {
            vectors.extractors().contains(&row.extractor_id) && row.origin != "propagated"
        })
        .map(|row| {
            let mask = MaskKey::of(row);
            (mask.image_id, mask.mask_index)
        })
        .collect();
    let looked_at: HashSet<&ImageId> = said.iter().map(|(image, _)| image).collect();
    let read = vectors.all(images.map(is_of_images)).await?;
    let before = if looked_at.is_empty() {
        None
    } else {
        Some(vectors.all(Some(filter_of(&looked_at))).await?)
    };
    let count = request.count;
    progress.start("centres", Some(count as u64));
    let chosen = blocking("choosing centres", move || {
        Ok(choose(&read, before.as_ref(), &said, count))
    })
    .await?;
    progress.advance(chosen.len() as u64);
    progress.finish();
    Ok(chosen
        .into_iter()
        .map(|((image_id, mask_index), distance)| QueuedMask {
            image_id,
            extractor_id: head.extractor_id.clone(),
            mask_index,
            class: None,
            priority: f64::from(distance),
            why: if distance >= FARTHEST {
                "nearest to the mean of all".to_owned()
            } else {
                format!(
                    "similarity {:.2} with the most similar mask before it",
                    1.0 - distance
                )
            },
        })
        .collect())
}

fn filter_of(images: &HashSet<&ImageId>) -> Expr {
    is_of_images(images.iter().copied())
}

/// The table of the vectors that a head reads, or of its extractor's embeddings.
pub(super) async fn vectors_of(snapshot: &Snapshot, head: &HeadRow) -> Result<SearchedTable> {
    let inputs = HeadInputs::of_row(snapshot, head).await?;
    let first = inputs.iter().find_map(|input| match input {
        HeadInput::Tokens => Some(SearchedTable::Masks),
        HeadInput::Vectors { embedder, .. } => Some(SearchedTable::Vectors(embedder.clone())),
        HeadInput::Shape => None,
    });
    first.ok_or_else(|| Error::InvalidOption {
        what: "table with vectors of masks",
        value: "shape".to_owned(),
        expected: "'masks' or 'vectors.NAME'".to_owned(),
    })
}

/// A mask, and its distance to the most similar mask before it.
type Centre = ((ImageId, i32), f32);

/// Chooses the mask that is farthest from all that were looked at or chosen before, again and again. The first, if none
/// was looked at, is the one nearest to the mean.
fn choose(
    read: &UnitVectors,
    before: Option<&UnitVectors>,
    said: &HashSet<(ImageId, i32)>,
    count: usize,
) -> Vec<Centre> {
    let dim = read.dim.max(1);
    let free: Vec<usize> = (0..read.masks.len())
        .filter(|at| read.masks.get(*at).is_some_and(|mask| !said.contains(mask)))
        .collect();
    let vector = |at: usize| {
        read.numbers
            .get(at * dim..(at + 1) * dim)
            .unwrap_or_default()
    };
    // The greatest similarity of each free mask with those before.
    let mut nearest = vec![f32::NEG_INFINITY; free.len()];
    let see = |nearest: &mut Vec<f32>, center: &[f32]| {
        nearest
            .par_iter_mut()
            .zip(&free)
            .for_each(|(nearest, at)| *nearest = nearest.max(dot(vector(*at), center)));
    };
    let places: HashMap<&(ImageId, i32), usize> = before
        .map(|before| before.masks.iter().enumerate().map(|(at, mask)| (mask, at)))
        .into_iter()
        .flatten()
        .collect();
    let mut any = false;
    for mask in said {
        let place = places.get(mask).copied();
        let seen = before.zip(place);
        if let Some(seen) = seen.and_then(|(it, at)| it.numbers.get(at * dim..(at + 1) * dim)) {
            see(&mut nearest, seen);
            any = true;
        }
    }
    let mut chosen = Vec::new();
    if !any {
        let mut mean = vec![0.0f32; dim];
        for at in &free {
            mean.iter_mut()
                .zip(vector(*at))
                .for_each(|(sum, x)| *sum += x);
        }
        let to_mean = free.iter().map(|at| dot(vector(*at), &mean));
        // The one nearest to the mean is the farthest from nothing.
        nearest = to_mean.map(|similarity| -similarity).collect();
    }
    while chosen.len() < count.min(free.len()) {
        let farthest = nearest.iter().zip(&free).enumerate();
        let farthest = farthest.min_by(|(_, (a, _)), (_, (b, _))| a.total_cmp(b));
        let Some((place, (similarity, at))) = farthest else {
            break;
        };
        let first = !any && chosen.is_empty();
        let distance = if first { FARTHEST } else { 1.0 - similarity };
        let Some(mask) = read.masks.get(*at) else {
            break;
        };
        chosen.push((mask.clone(), distance));
        if first {
            nearest.fill(f32::NEG_INFINITY);
        }
        see(&mut nearest, vector(*at));
        if let Some(own) = nearest.get_mut(place) {
            *own = f32::INFINITY;
        }
    }
    chosen
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_angles(degrees: &[f32]) -> UnitVectors {
        let image = |at: usize| ImageId::of_bytes(&[at as u8]);
        let numbers = degrees.iter().map(|angle| angle.to_radians());
        UnitVectors {
            masks: (0..degrees.len()).map(|at| (image(at), 0)).collect(),
            numbers: numbers
                .flat_map(|angle| [angle.cos(), angle.sin()])
                .collect(),
            dim: 2,
            without: 0,
        }
    }

    fn places(read: &UnitVectors, chosen: &[Centre]) -> Vec<usize> {
        let place = |(mask, _): &Centre| read.masks.iter().position(|it| it == mask).unwrap();
        chosen.iter().map(place).collect()
    }

    #[test]
    fn the_farthest_comes_next() {
        let read = at_angles(&[0.0, 10.0, 20.0, 90.0, 50.0]);
        let none = HashSet::new();
        let chosen = choose(&read, None, &none, 4);
        // 20 degrees is nearest to the mean of 32, then 90 is 70 away, 50 is 30 away, and 0 is 20 away.
        assert_eq!(places(&read, &chosen), [2, 3, 4, 0]);
        let distance = 1.0 - 70f32.to_radians().cos();
        assert!((chosen[1].1 - distance).abs() < 1e-6);
        assert_eq!(choose(&read, None, &none, 99).len(), 5);

        let said = HashSet::from([read.masks[3].clone()]);
        let chosen = choose(&read, Some(&read), &said, 2);
        assert_eq!(places(&read, &chosen), [0, 4]);
    }
}
