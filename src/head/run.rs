//! A training run: reads the bags from a store, trains a head, and commits the rows.

use std::collections::HashSet;
use std::time::Instant;

use datafusion::prelude::{col, lit};
use serde::Serialize;

use super::bags::{Bags, CacheOptions, Skipped};
use super::inputs::HeadInputs;
use super::lineage::{Lineage, commit, student_name, teacher_name};
use super::loss::Loss;
use super::mask_labels::MaskLabelCounts;
use super::normaliser::Normaliser;
use super::query::{ChosenImages, TrainingQuery};
use super::refine::{PickMasks, ScoredMask};
use super::refined_masks::RefinedMasks;
use super::spec::HeadSpec;
use super::split::{Replay, Split};
use super::stored_embeddings::StoredInput;
use super::train::{Training, masks_as_images};
use super::train_options::TrainOptions;
use super::warm_start::{Parent, Start, images_when_trained};
use super::weights::{RefinedCounts, StoredSpec, load_head};
use crate::catalogue::{extractors_stored, find_extractor, with_prompted};
use crate::classes::ClassSet;
use crate::device::DeviceName;
use crate::error::{CatalogueError, HeadError, Named};
use crate::ids::{EmbedderId, ExtractorId, HeadId, check_name};
use crate::options::is_default;
use crate::progress::{NoProgress, Progress, progress_channel};
use crate::query::Query;
use crate::schema::{StoreTable, Table, VectorTable};
use crate::sql::Sql;
use crate::store::rows::ExtractorKind;
use crate::store::{Snapshot, Store};
use crate::{Error, Result};

/// What to train, and on what.
#[derive(Debug, Clone, Default)]
pub struct TrainRequest {
    /// Name of the head.
    pub name: String,
    /// The class set: NAME (its newest version) or NAME@VERSION.
    pub classes: String,
    /// The masks to train on.
    pub masks: TrainingMasks,
    /// What the head reads of a mask, in order: 'tokens', 'shape', names of embedders; none for the tokens.
    pub vectors: Vec<String>,
    /// Training options.
    pub options: TrainOptions,
    /// Head to continue from.
    pub parent: Option<Parent>,
    /// Version of the store to train on; `None` for the newest.
    pub at: Option<u64>,
    /// Where embeddings are kept during training.
    pub cache: CacheOptions,
    /// Device to train on.
    pub device: DeviceName,
}

/// Which masks a head is trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum TrainingMasks {
    /// Masks that an extractor found in labelled images.
    OfImages {
        /// Which images, and which labels of masks.
        chosen: Box<ChosenImages>,
        /// The extractor, by the first digits of its id; `None` for the only one.
        extractor: Option<String>,
    },
    /// Masks that the user's own query yields.
    Query(TrainingQuery),
}

impl Default for TrainingMasks {
    fn default() -> Self {
        Self::OfImages {
            chosen: Box::default(),
            extractor: None,
        }
    }
}

impl TrainingMasks {
    /// The query that yields the masks, for a head that is trained with a loss; `None` for the default.
    ///
    /// # Errors
    /// [`crate::error::CatalogueError`] for an extractor, a data set or a split that does not exist;
    /// [`Error::DataFusion`] for a condition that cannot be planned; errors of the store.
    pub async fn query(
        &self,
        snapshot: &Snapshot,
        loss: Option<Loss>,
        inputs: &HeadInputs,
    ) -> Result<TrainingQuery> {
        match self {
            Self::Query(query) => Ok(query.clone()),
            Self::OfImages { chosen, extractor } => {
                let id = extractor_of(snapshot, extractor.as_deref(), inputs).await?;
                if loss.is_some_and(Loss::needs_labelled_masks) {
                    return TrainingQuery::of_labelled_masks(snapshot, &id, chosen, inputs).await;
                }
                TrainingQuery::of_images(snapshot, &id, chosen, inputs).await
            }
        }
    }
}

/// The extractor whose masks have some inputs: that of a word, else the only one of which every embedder has vectors, or
/// the only one with tokens.
///
/// # Errors
/// [`CatalogueError`] if there is none, or more than one; errors from the store.
pub(super) async fn extractor_of(
    snapshot: &Snapshot,
    word: Option<&str>,
    inputs: &HeadInputs,
) -> Result<ExtractorId> {
    let stored = extractors_stored(snapshot).await?;
    if stored.is_empty() {
        let kind = Named::Extractor;
        return Err(Error::Catalogue(CatalogueError::Empty { kind }));
    }
    let possible = if word.is_some() || inputs.has_tokens() {
        let found = find_extractor(snapshot, word).await?;
        if inputs.has_tokens() && found.kind.is_imported() {
            return Err(Error::Head(HeadError::NoTokens {
                extractor_id: found.extractor_id.to_string(),
            }));
        }
        vec![found]
    } else {
        let mut of_programs = stored;
        of_programs.retain(|row| row.kind != ExtractorKind::Prompted);
        of_programs
    };
    let mut fitting = Vec::new();
    for row in &possible {
        let mut has_all = true;
        for (embedder_id, _) in inputs.embedders() {
            has_all &= has_vectors(snapshot, embedder_id, &row.extractor_id).await?;
        }
        if has_all {
            fitting.push(row);
        }
    }
    let kind = Named::Extractor;
    match fitting[..] {
        [only] => Ok(only.extractor_id.clone()),
        [] => {
            let names = inputs
                .embedders()
                .map(|(_, name)| format!("embedder '{name}'"));
            Err(Error::Head(HeadError::NoVectors {
                embedders: names.collect::<Vec<_>>().join(" and "),
            }))
        }
        _ => Err(Error::Catalogue(CatalogueError::Choose {
            kind,
            found: fitting
                .into_iter()
                .map(|row| format!("{} ({}, {})", row.extractor_id, row.model(), row.checkpoint))
                .collect(),
        })),
    }
}

/// Whether an embedder is done with an image of an extractor.
async fn has_vectors(
    snapshot: &Snapshot,
    embedder_id: &EmbedderId,
    extractor_id: &ExtractorId,
) -> Result<bool> {
    let wanted = col("embedder_id").eq(lit(embedder_id.as_str()));
    let wanted = wanted.and(col("extractor_id").eq(lit(extractor_id.as_str())));
    let scan = snapshot.scan(Table::Embeddings).await?;
    let found = scan.project(&["image_id"])?.filter(wanted).limit(1)?;
    let found = found.collect().await?;
    Ok(found.iter().any(|batch| batch.num_rows() > 0))
}

/// Result of a training run.
#[derive(Debug, Clone, Serialize)]
pub struct TrainSummary {
    /// Name of the head.
    pub head: String,
    /// Id of the head.
    pub head_id: HeadId,
    /// Name of the class set.
    pub class_set: String,
    /// Version of the class set.
    pub class_set_version: i32,
    /// Extractor whose masks the head predicts.
    pub extractor_id: ExtractorId,
    /// Version of the store it was trained on.
    pub store_version: u64,
    /// Images used for training or validation.
    pub images: u64,
    /// Images among these that were used for validation.
    pub validation_images: u64,
    /// Labelled masks that were not trained on because their images are for validation.
    #[serde(skip_serializing_if = "is_default")]
    pub validation_masks: u64,
    /// Masks of the images.
    pub masks: u64,
    /// Counts of what was left out.
    pub skipped: Skipped,
    /// The loss that it was trained with.
    pub loss: Loss,
    /// Labels of masks that it was given; `None` if there are none. Those of `validation_masks` were not trained on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_labels: Option<MaskLabelCounts>,
    /// Labelled masks of other extractors, which the head cannot learn from.
    #[serde(skip_serializing_if = "is_default")]
    pub labels_of_other_extractors: u64,
    /// Classes without an example, which the head never predicts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes_without_examples: Vec<String>,
    /// Masks that the head was refined on; `None` if it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refined: Option<RefinedCounts>,
    /// Validation loss of the kept epoch.
    pub validation_loss: Option<f64>,
    /// Validation accuracy of the same epoch.
    pub validation_accuracy: Option<f64>,
    /// Seconds spent on reading the masks.
    pub reading_seconds: f64,
    /// Seconds spent on training.
    pub training_seconds: f64,
}

/// Tables that training reads, besides those of vectors; their files are checked to be as they were written.
const READ: [Table; 6] = [
    Table::Images,
    Table::Labels,
    Table::Masks,
    Table::MaskLabels,
    Table::ClassSets,
    Table::Heads,
];

/// Whether a table has a row per mask.
fn is_of_masks(table: &StoreTable) -> bool {
    matches!(
        table,
        StoreTable::Fixed(Table::Masks) | StoreTable::Vectors(VectorTable::Masks, _)
    )
}

/// Tables that are read for some inputs, besides `tables`.
pub(crate) fn tables_read(tables: &[Table], inputs: &HeadInputs) -> Vec<StoreTable> {
    let vectors = inputs
        .embedders()
        .map(|(id, _)| StoreTable::Vectors(VectorTable::Masks, id.clone()));
    let tables = tables.iter().copied().map(StoreTable::from);
    tables.chain(vectors).collect()
}

/// Trains a head and commits it, together with the heads that it was trained from: a student's teacher, `NAME.teacher`,
/// and a refined head's student, `NAME.student`.
///
/// # Examples
/// ```
/// use grainstore::head::{ChosenImages, TrainOptions, TrainRequest, TrainingMasks, train};
/// use grainstore::progress::NoProgress;
/// use grainstore::selection::ImageFilter;
///
/// # async fn example(store: &grainstore::store::Store) -> grainstore::Result<()> {
/// let request = TrainRequest {
///     name: "pets".to_owned(),
///     classes: "household".to_owned(), // its newest version; 'household@1' is the first
///     masks: TrainingMasks::OfImages {
///         chosen: Box::new(ChosenImages {
///             images: Some(ImageFilter::split("train")),
///             ..ChosenImages::default()
///         }),
///         extractor: None,
///     },
///     options: TrainOptions {
///         epochs: Some(20),
///         ..TrainOptions::default()
///     },
///     ..TrainRequest::default()
/// };
/// let summary = train(store, &request, &NoProgress).await?;
/// println!("{} masks of {} images", summary.masks, summary.images);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Errors of [`Bags::read`] and [`Training::run`]; [`Error::InvalidName`]; [`Error::InvalidOption`];
/// [`HeadError::Unusable`] for a parent of another extractor or shape; [`HeadError::NoNewImages`];
/// [`Error::StoreDamaged`] for files that are not as they were written; errors of the store. After an error nothing is
/// stored.
pub async fn train(
    store: &Store,
    request: &TrainRequest,
    progress: &dyn Progress,
) -> Result<TrainSummary> {
    check_name("head", &request.name)?;
    check_names(&request.name, request.options.loss())?;
    request.options.validate()?;
    let alone = request.options.loss.is_some_and(Loss::needs_labelled_masks);
    if request.options.loss.is_some_and(Loss::is_closed_form) {
        check_closed_form(request)?;
    }
    let replay = request.parent.as_ref().and_then(|parent| parent.replay);
    if alone && replay.is_some() {
        return Err(Error::InvalidOption {
            what: "loss of a head that is trained on what came after its parent",
            value: request.options.loss().word().to_owned(),
            expected: "one that learns from images".to_owned(),
        });
    }
    let device = request.device.open()?;
    let snapshot = match request.at {
        Some(version) => store.snapshot_at(version).await?,
        None => store.snapshot().await?,
    };
    let class_set = ClassSet::load(&snapshot, &request.classes).await?;
    let inputs = HeadInputs::find(&snapshot, &request.vectors).await?;
    let query = request
        .masks
        .query(&snapshot, request.options.loss, &inputs)
        .await?;
    let parent = match &request.parent {
        Some(parent) => Some(load_head(&snapshot, &parent.head).await?),
        None => None,
    };
    let started = Instant::now();
    let cache = &request.cache;
    // Labelled masks are few.
    let stored = if alone || !query.has_ids() {
        None
    } else {
        StoredInput::beyond_budget(&snapshot, &inputs, cache.budget_bytes).await?
    };
    let (now, later) = match &stored {
        None => (tables_read(&READ, &inputs), Vec::new()),
        // The files of masks are compared with their checksums while the head is trained.
        Some(_) => {
            let all = tables_read(&READ, &inputs).into_iter();
            all.partition(|table| !is_of_masks(table))
        }
    };
    snapshot.verify(&now, progress).await?;
    let rows = match stored {
        Some(_) => query.rows_by_id(&snapshot, &inputs).await?,
        None => query.rows(&snapshot).await?,
    };
    let of = query.extractors();
    let read = Bags::read_of(of, rows, stored, &class_set, &inputs, cache, progress);
    let mut bags = read.await.map_err(|err| match err {
        Error::Head(HeadError::NothingToTrainOn) if alone => {
            Error::Head(HeadError::NoLabelledMasks)
        }
        err => err,
    })?;
    if let Some(prompted) = &bags.prompted_id
        && *prompted != bags.extractor_id
        && !with_prompted(&snapshot, &bags.extractor_id)
            .await?
            .contains(prompted)
    {
        return Err(Error::Head(HeadError::TrainingQuery {
            reason: format!(
                "it yields masks of extractor '{}' and masks that were added with another model, of extractor '{prompted}'",
                bags.extractor_id
            ),
        }));
    }
    let reading_seconds = started.elapsed().as_secs_f64();
    let mut options = request.options.clone();
    let loss = chosen_loss(options.loss, &bags)?;
    check_names(&request.name, loss)?;
    options.loss = Some(loss);
    let spec = head_spec(&bags, &class_set, &options, loss);
    let normalisations = match &parent {
        // Those of the parent, whose first layer they fit.
        Some(parent) => parent.normalisations()?,
        None if loss.is_closed_form() => {
            let kinds = inputs.unit_normalisations();
            bags.normaliser = Normaliser::fit(&bags.embeddings, &bags.input_dims, &kinds)?;
            kinds
        }
        None => inputs.normalisations(),
    };
    options.hidden.clone_from(&spec.hidden);

    let mut start = None;
    let mut old = HashSet::new();
    if let Some(parent) = &parent {
        parent.check_extractor(bags.extractor_id.as_str())?;
        parent.check_inputs(&inputs)?;
        bags.normaliser = parent.normaliser()?;
        start = Some(Start::new(parent, &spec, options.seed)?);
        if replay.is_some() {
            old = images_when_trained(store, &parent.row).await?.0;
        }
    }
    let replay = replay.map(|share| Replay { old: &old, share });
    let split = Split::new(&bags, &spec, &options, replay);
    let classes = spec.classes.len();
    let per_epoch = if loss.needs_labelled_masks() {
        masks_as_images(bags.labelled.len())
    } else {
        split.images_per_epoch()
    };
    options = options.resolved(per_epoch, classes, parent.is_some());
    if per_epoch == 0 {
        return Err(Error::Head(HeadError::NoNewImages));
    }
    let (images, masks, skipped) = (bags.images_used(), bags.masks(), bags.skipped);
    let mask_labels = Some(MaskLabelCounts::of(&bags.labelled)).filter(|it| it.all() > 0);
    let labels_of_other_extractors = match request.masks {
        TrainingMasks::OfImages { .. } => labels_of_others(&snapshot, of).await?,
        TrainingMasks::Query(_) => 0,
    };
    let examples = bags.classes_with_examples(loss.needs_labelled_masks());
    let class_names = spec.classes.iter().enumerate();
    let classes_without_examples: Vec<String> = class_names
        .filter(|(at, _)| !examples.contains(at))
        .map(|(_, name)| name.clone())
        .collect();
    let (extractor_id, validation_images) = (bags.extractor_id.clone(), split.validation.len());

    let started = Instant::now();
    let refined_masks = if loss.refines() {
        Some(RefinedMasks::new(&snapshot).await?)
    } else {
        None
    };
    bags.read_ahead();
    let (sender, events) = progress_channel();
    let (its_spec, its_options) = (spec.clone(), options.clone());
    // Matrices of a step are too small to keep several cores busy; a GPU works for one thread at a time.
    let members_at_once = match request.device {
        DeviceName::Cpu => std::thread::available_parallelism().map_or(1, usize::from),
        _ => 1,
    };
    let runtime = tokio::runtime::Handle::current();
    let worker = tokio::task::spawn_blocking(move || {
        let pick = refined_masks.map(|query| {
            move |bags: &Bags, scored: &[ScoredMask]| runtime.block_on(query.pick(bags, scored))
        });
        Training {
            bags: &bags,
            spec: &its_spec,
            options: &its_options,
            split: &split,
            start: start.as_ref(),
            pick_masks: pick.as_ref().map(|pick| pick as &PickMasks<'_>),
            device: &device,
            members_at_once,
            progress: &sender,
        }
        .run()
    });
    let ((), verified) = tokio::join!(
        events.forward(progress),
        snapshot.verify(&later, &NoProgress)
    );
    let trained = worker.await;
    // What training makes of damaged files, or that it fails, is not what is to be told.
    verified?;
    let trained = trained.map_err(|source| Error::Worker {
        task: "training",
        source,
    })??;
    let training_seconds = started.elapsed().as_secs_f64();

    let lineage = Lineage {
        name: &request.name,
        device: &request.device,
        class_set: &class_set,
        query: &query,
        inputs: &inputs,
        normalisations: &normalisations,
        parent: parent.as_ref(),
        spec: StoredSpec {
            head: spec,
            options,
            skipped,
            mask_labels,
            refined: trained.refined,
            temperatures: trained.temperatures.clone(),
        },
        extractor_id: extractor_id.clone(),
        store_version: snapshot.version(),
        images,
        masks,
        seconds: reading_seconds + training_seconds,
        created_at: snapshot.now(),
    };
    let (rows, head_id) = lineage.rows(&trained)?;
    commit(store, &rows).await?;
    Ok(TrainSummary {
        head: request.name.clone(),
        head_id,
        class_set: class_set.name.clone(),
        class_set_version: class_set.version,
        extractor_id,
        store_version: snapshot.version(),
        images,
        validation_images: validation_images as u64,
        validation_masks: trained.validation_masks,
        masks,
        skipped,
        loss,
        mask_labels,
        labels_of_other_extractors,
        classes_without_examples,
        refined: trained.refined,
        validation_loss: trained.chosen.as_ref().and_then(|it| it.validation_loss),
        validation_accuracy: trained.chosen.and_then(|it| it.validation_accuracy),
        reading_seconds,
        training_seconds,
    })
}

/// Checks the names of the heads that are stored beside one.
fn check_names(name: &str, loss: Loss) -> Result<()> {
    if loss.distills() || loss.refines() {
        check_name("head", &teacher_name(name))?;
    }
    if loss.distills() && loss.refines() {
        check_name("head", &student_name(name))?;
    }
    Ok(())
}

/// The shape of the head that a loss trains: of the student, where it is refined.
fn head_spec(bags: &Bags, set: &ClassSet, options: &TrainOptions, loss: Loss) -> HeadSpec {
    let mut spec = HeadSpec::of_inputs(&bags.input_dims, set.class_names(), options);
    // A head of a single class separates it from none without such an output, unless the head is a closed form.
    spec.background =
        bags.background_labels() > 0 && (spec.classes.len() > 1 || loss.is_closed_form());
    if loss.is_closed_form() {
        spec.hidden = Vec::new();
        spec.dropout = 0.0;
    } else if loss == Loss::Masks {
        spec.dropout = options.refine_dropout;
    }
    spec
}

/// Number of masks of other extractors of which something is said.
async fn labels_of_others(snapshot: &Snapshot, extractors: &[ExtractorId]) -> Result<u64> {
    let said = Query::named("review/said_of_masks")?;
    let sql = Sql::new(snapshot).await?;
    let others = sql.frame(said.sql()).await?;
    let own = extractors.iter().map(|id| lit(id.as_str())).collect();
    let others = others.filter(col("extractor_id").in_list(own, true))?;
    Ok(others.count().await? as u64)
}

/// The loss: the one that is asked for, or the default for the labels that there are.
///
/// # Errors
/// [`HeadError::NoLabelledMasks`] or [`HeadError::NoLabelledImages`] if what the loss learns from is not there.
fn chosen_loss(asked: Option<Loss>, bags: &Bags) -> Result<Loss> {
    let (images, masks) = (!bags.images.is_empty(), !bags.labelled.is_empty());
    match asked {
        None if !images && masks => Ok(Loss::Masks),
        Some(loss) if loss.needs_labelled_masks() && !masks => {
            Err(Error::Head(HeadError::NoLabelledMasks))
        }
        Some(loss) if !loss.needs_labelled_masks() && !images && masks => {
            Err(Error::Head(HeadError::NoLabelledImages))
        }
        asked => Ok(asked.unwrap_or_default()),
    }
}

/// Checks that nothing is asked of a closed form that only training by steps can do.
fn check_closed_form(request: &TrainRequest) -> Result<()> {
    let fail = |what, value: String, expected: &str| {
        Err(Error::InvalidOption {
            what,
            value,
            expected: expected.to_owned(),
        })
    };
    match (&request.parent, request.options.members) {
        (Some(parent), _) => fail(
            "head to continue from",
            parent.head.clone(),
            "none; a closed form begins anew each time",
        ),
        (None, 1) => Ok(()),
        (None, members) => fail(
            "number of members",
            members.to_string(),
            "1; all members of a closed form would be the same",
        ),
    }
}
