//! Heads from words: a layer whose weights are the vectors of class names under CLIP (Radford et al., section 3.1;
//! open_clip, `zero_shot_classifier.py`). Nothing is trained.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::inputs::{HeadInputs, Normalisation};
use super::lineage::commit;
use super::run::extractor_of;
use super::spec::HeadSpec;
use super::weights::{HeadWeights, StoredSpec};
use crate::catalogue::find_embedder;
use crate::classes::{Class, ClassSet};
use crate::embed::TextEncoder;
use crate::error::HeadError;
use crate::ids::{HeadId, check_name};
use crate::options::one_of;
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::HeadRow;
use crate::task::blocking;
use crate::{Error, Result};

/// The template of class names, unless others are given.
pub const DEFAULT_TEMPLATE: &str = "a photo of a {}.";

/// What stands for the class in a template.
const PLACE: &str = "{}";

/// Which words a class is described by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Words {
    /// Its name.
    #[default]
    Names,
    /// The labels that map to it; the vectors of several are averaged.
    Labels,
}

impl std::str::FromStr for Words {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        one_of(
            "words",
            text,
            &[("names", Self::Names), ("labels", Self::Labels)],
        )
    }
}

/// A head to be made from words.
#[derive(Debug, Clone, Default)]
pub struct ZeroShotRequest {
    /// Name of the head.
    pub name: String,
    /// The class set: NAME (its newest version) or NAME@VERSION.
    pub classes: String,
    /// Name or id of an embedder whose vectors are those of a CLIP.
    pub embedder: String,
    /// The weights that the embedder was made with.
    pub checkpoint: PathBuf,
    /// Templates with `{}` in the place of the class; none for [`DEFAULT_TEMPLATE`].
    pub templates: Vec<String>,
    /// Which words describe a class.
    pub words: Words,
    /// What everything else is called; only for a set of one class, which needs it.
    pub background: Option<String>,
    /// The first digits of the id of the extractor whose masks the head predicts; `None` for the only one with vectors.
    pub extractor: Option<String>,
}

/// `heads.query` of such a head.
#[derive(Debug, Serialize)]
struct FromWords<'a> {
    zero_shot: &'a [Vec<String>],
    background: Option<&'a [String]>,
}

/// Makes a head from the names of its classes, and commits it.
///
/// # Examples
/// ```
/// use grainstore::head::{ZeroShotRequest, zero_shot};
/// use grainstore::progress::NoProgress;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = ZeroShotRequest {
///     name: "words".to_owned(),
///     classes: "household".to_owned(),
///     embedder: "clip_vit_b_32".to_owned(),
///     checkpoint: "clip-vit-base-patch32".into(),
///     ..ZeroShotRequest::default()
/// };
/// let head = zero_shot(store, &request, &NoProgress).await?;
/// println!("{} reads {}", head.head, head.inputs);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`crate::error::CatalogueError`] for a class set, an embedder or an extractor that does not exist;
/// [`crate::error::VectorError::OtherWeights`]; [`Error::InvalidOption`] for a template without `{}`; [`HeadError::ClassSet`] for a set of one
/// class without background; errors of the store.
pub async fn zero_shot(
    store: &Store,
    request: &ZeroShotRequest,
    progress: &dyn Progress,
) -> Result<HeadRow> {
    check_name("head", &request.name)?;
    let templates = templates(&request.templates)?;
    let snapshot = store.snapshot().await?;
    let set = ClassSet::load(&snapshot, &request.classes).await?;
    let embedder = find_embedder(&snapshot, &request.embedder).await?;
    check_background(&set, request.background.as_deref())?;
    let (checkpoint, of_embedder) = (request.checkpoint.clone(), embedder.clone());
    let opening = move || TextEncoder::open(&checkpoint, &of_embedder);
    let encoder = blocking("opening the weights", opening).await?;
    let inputs = HeadInputs::find(&snapshot, std::slice::from_ref(&request.embedder)).await?;
    let extractor_id = extractor_of(&snapshot, request.extractor.as_deref(), &inputs).await?;
    let texts: Vec<Vec<String>> = set
        .classes
        .iter()
        .map(|class| texts_of(&words_of(class, request.words), &templates))
        .collect();
    let background = request.background.clone();
    let background = background.map(|word| texts_of(&[word], &templates));

    let started = std::time::Instant::now();
    progress.start("classes", Some(texts.len() as u64));
    let (all, behind) = (texts.clone(), background.clone());
    let (weights, dim) = blocking("making vectors of words", move || {
        text_weights(&encoder, &all, behind.as_deref())
    })
    .await?;
    progress.advance(texts.len() as u64);
    progress.finish();

    let spec = StoredSpec::untrained(HeadSpec {
        hidden: Vec::new(),
        dropout: 0.0,
        ..HeadSpec::new(dim, set.class_names())
    });
    let outputs = set.classes.len();
    let weights = HeadWeights::of_layer(weights, vec![0.0; outputs], [dim, outputs]);
    let weights = weights.to_safetensors(HashMap::new())?;
    let query = serde_json::to_string(&FromWords {
        zero_shot: &texts,
        background: background.as_deref(),
    })?;
    let spec = serde_json::to_string(&spec)?;
    let weights_id = HeadId::of_bytes(&weights);
    let head_id = HeadId::of_parts([
        request.name.as_str(),
        weights_id.as_str(),
        &spec,
        extractor_id.as_str(),
        &set.name,
        &set.version.to_string(),
        &query,
    ]);
    let row = HeadRow {
        head_id,
        head: request.name.clone(),
        extractor_id,
        class_set: set.name.clone(),
        class_set_version: set.version,
        spec,
        inputs: inputs.to_json()?,
        normalise: serde_json::to_string(&[Normalisation::L2])?,
        weights: Some(weights),
        query,
        store_version: i64::try_from(snapshot.version()).ok(),
        seed: None,
        parent_head_id: None,
        teacher_head_id: None,
        curves: "[]".to_owned(),
        images_read: 0,
        rows_read: 0,
        seconds: started.elapsed().as_secs_f64(),
        device: Some("cpu".to_owned()),
        grainstore_version: env!("CARGO_PKG_VERSION").to_owned(),
        created_at: snapshot.now(),
    };
    commit(store, std::slice::from_ref(&row)).await?;
    Ok(row)
}

fn templates(given: &[String]) -> Result<Vec<String>> {
    if given.is_empty() {
        return Ok(vec![DEFAULT_TEMPLATE.to_owned()]);
    }
    match given.iter().find(|template| !template.contains(PLACE)) {
        None => Ok(given.to_vec()),
        Some(template) => Err(Error::InvalidOption {
            what: "template",
            value: template.clone(),
            expected: format!("a text with '{PLACE}' in the place of the class"),
        }),
    }
}

/// A softmax over one class has nothing to compare it with.
fn check_background(set: &ClassSet, background: Option<&str>) -> Result<()> {
    let reason = match (set.classes.len(), background) {
        (1, None) => "it has one class; say what everything else is called, such as 'background'",
        (1, Some(_)) | (_, None) => return Ok(()),
        (_, Some(_)) => "only a set of one class needs a background; add a class for it instead",
    };
    Err(Error::Head(HeadError::ClassSet {
        class_set: set.name.clone(),
        reason: reason.to_owned(),
    }))
}

fn words_of(class: &Class, words: Words) -> Vec<String> {
    match words {
        Words::Labels if !class.labels.is_empty() => class.labels.clone(),
        Words::Labels | Words::Names => vec![class.name.clone()],
    }
}

/// Every word in every template; underscores are spaces.
fn texts_of(words: &[String], templates: &[String]) -> Vec<String> {
    let word = |word: &String| word.replace('_', " ");
    let of_word = |word: String| templates.iter().map(move |it| it.replace(PLACE, &word));
    words.iter().map(word).flat_map(of_word).collect()
}

/// The weights of the layer, `[dim, classes]` row-major, and `dim`.
fn text_weights(
    encoder: &TextEncoder,
    texts: &[Vec<String>],
    background: Option<&[String]>,
) -> Result<(Vec<f32>, usize)> {
    let behind = background
        .map(|texts| encoder.mean_vector(texts))
        .transpose()?;
    let mut columns = Vec::with_capacity(texts.len());
    for texts in texts {
        let mut vector = encoder.mean_vector(texts)?;
        // With the only class against 0, the difference of two logits is what a softmax over both would see.
        if let Some(behind) = &behind {
            vector.iter_mut().zip(behind).for_each(|(x, y)| *x -= y);
        }
        columns.push(vector);
    }
    let dim = columns.first().map_or(0, Vec::len);
    let factor = encoder.similarity_factor() as f32;
    let numbers = (0..dim).flat_map(|row| {
        let of_row = columns
            .iter()
            .filter_map(move |column| column.get(row).copied());
        of_row.map(move |number| number * factor)
    });
    Ok((numbers.collect(), dim))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_goes_into_every_template() {
        let templates = templates(&["a {}.".to_owned(), "the {} here".to_owned()]).unwrap();
        assert_eq!(
            texts_of(&["dining_table".to_owned()], &templates),
            ["a dining table.", "the dining table here"]
        );
        assert!(super::templates(&["a dog".to_owned()]).is_err());
        assert_eq!(super::templates(&[]).unwrap(), [DEFAULT_TEMPLATE]);
    }
}
