//! Bags: the rows of a training query, grouped by image.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use arrow::array::{Array, RecordBatch, UInt64Array};
use half::f16;

use super::embeddings::{Collected, Embeddings};
use super::image_labels::Labels;
use super::inputs::{HeadInput, HeadInputs, Normalisation};
use super::mask_labels::{LabelledMask, MaskClass, Meaning, WordColumns, Words};
use super::normaliser::Normaliser;
use super::query_columns::{booleans, id_column, integers, missing, row_ids, text, wrong};
use super::stored_embeddings::{StoredEmbeddings, StoredInput};
use crate::classes::ClassSet;
use crate::error::HeadError;
use crate::ids::{ExtractorId, ImageId};
use crate::options::is_default;
use crate::progress::Progress;
use crate::schema::EMBEDDER_KEY;
use crate::sql::Rows;
use crate::store::columns::{EmbeddingColumn, EmbeddingRow};
use crate::{Error, Result};

/// Columns that a training query must yield, besides `label` or `labels` and one per input of the head.
const COLUMNS: [&str; 3] = ["image_id", "extractor_id", "mask_index"];

/// Where embeddings are kept while a head is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheOptions {
    /// Maximum bytes of embeddings kept in memory; if the store has more, those that training reads go to a temporary
    /// file.
    pub budget_bytes: usize,
    /// Directory of the temporary file.
    pub spool_dir: PathBuf,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            budget_bytes: 640 << 20,
            spool_dir: std::env::temp_dir(),
        }
    }
}

/// One image with its masks and its classes.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageBag {
    /// Id of the image.
    pub image_id: ImageId,
    /// Indices of the image's classes, ascending; empty if it shows none of them, so that all its masks are background.
    pub classes: Vec<usize>,
    /// Rows of the masks in the embeddings, ordered by `mask_index`.
    pub(super) rows: Vec<u32>,
    /// `mask_index` of each of them.
    pub(super) mask_indices: Vec<i32>,
}

/// Counts of what was left out of the bags, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Skipped {
    /// Images all of whose labels are outside the class set.
    pub images_outside: u64,
    /// Labels outside the class set, of images that also have labels inside it.
    pub labels_outside: u64,
    /// Masks whose embedding holds a number that is not finite.
    pub masks_not_finite: u64,
    /// Images without a usable mask.
    pub images_empty: u64,
    /// Masks that lack one of the head's inputs: those that an embedder has not done.
    #[serde(default, skip_serializing_if = "is_default")]
    pub masks_without_vector: u64,
    /// Masks of which reviewers contradict each other; what their images show still counts.
    #[serde(default, skip_serializing_if = "is_default")]
    pub masks_contradicted: u64,
    /// Masks that a reviewer calls of no use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub masks_bad: u64,
    /// Masks whose label is outside the class set. They are used, as background.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mask_labels_outside: u64,
}

/// The training set: a bag for each image, and the embeddings.
#[derive(Debug)]
pub struct Bags {
    /// The bags of the images that are labelled, or said to show no class, ordered by image id.
    pub images: Vec<ImageBag>,
    /// Masks that are labelled themselves, in these images or in others, ordered by image id and mask index.
    pub labelled: Vec<LabelledMask>,
    /// Extractor of the masks, but for those that people added.
    pub extractor_id: ExtractorId,
    /// Extractor of the masks that people added, whose indices are below 0; `None` if they are not among those that were
    /// asked for.
    pub prompted_id: Option<ExtractorId>,
    /// Numbers per mask: those of all inputs.
    pub embedding_dim: usize,
    /// Numbers of each input.
    pub input_dims: Vec<usize>,
    /// Counts of what was left out.
    pub skipped: Skipped,
    /// How the numbers are normalised when they are read.
    pub(super) normaliser: Normaliser,
    pub(super) embeddings: Embeddings,
}

impl Bags {
    /// Reads the rows of a training query: `image_id`, `extractor_id`, `mask_index`, a column per input (see
    /// [`HeadInput::column`](super::HeadInput::column)) and `label` (text; several rows for several labels) or `labels`
    /// (a list). Masks of which an input is null are left out and counted.
    ///
    /// Labels of masks are optional columns: `mask_is` and `mask_is_not` (lists of labels that a mask shows and does not
    /// show), `mask_is_none` (it shows nothing of any class) and `mask_is_bad` (it is of no use, so it is left out). A
    /// query with one of them needs no labels of images.
    ///
    /// For a class set with a single class, images that have only other labels are negative examples. For a larger set
    /// they are left out, unless a column `negative` is true for them: then all their masks are background.
    ///
    /// # Errors
    /// [`HeadError::TrainingQuery`] for columns that are missing or of another type, or masks of more than one
    /// extractor, those that people added aside; [`HeadError::NothingToTrainOn`] if there are no rows; [`HeadError::ClassesWithoutImages`] if a class
    /// has no image; [`HeadError::ClassSet`] if every image shows the only class.
    pub async fn read(
        rows: Rows,
        set: &ClassSet,
        inputs: &HeadInputs,
        cache: &CacheOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        Self::read_of(&[], rows, None, set, inputs, cache, progress).await
    }

    /// Like [`Bags::read`], of masks of an extractor and, second, of the one of the masks that people added beside them;
    /// without any, of those that the rows are of. `stored` says where the numbers are if they are to stay in the store:
    /// then the rows hold their ids, in the columns [`id_column`].
    pub(super) async fn read_of(
        extractors: &[ExtractorId],
        rows: Rows,
        stored: Option<Vec<StoredInput>>,
        set: &ClassSet,
        inputs: &HeadInputs,
        cache: &CacheOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let mut builder = Builder::new(inputs);
        let ids: Vec<String> = extractors.iter().map(ExtractorId::to_string).collect();
        builder.extractor_id = ids.first().cloned();
        builder.prompted_id = ids.get(1).cloned();
        let Some(stored) = stored else {
            let bags = builder.of_rows(rows, cache, progress).await?;
            let bags = bags.finish_collected(set)?;
            bags.note_spool(cache, progress);
            return Ok(bags);
        };
        builder.dims = stored.iter().map(StoredInput::dim).collect();
        builder.ids = Some(vec![Vec::new(); stored.len()]);
        let mut builder = builder.of_rows(rows, cache, progress).await?;
        let ids = builder.ids.take().unwrap_or_default();
        let embeddings = StoredEmbeddings::new(stored, ids, &cache.spool_dir)?;
        let normaliser = fit_sample(&embeddings, &builder.dims, &inputs.normalisations()).await?;
        progress.note(&format!(
            "{} embeddings stay in the store until training needs them; those that were read are kept in a temporary \
             file in '{}'",
            embeddings.rows(),
            cache.spool_dir.display()
        ));
        builder.finish(set, Embeddings::Stored(embeddings), normaliser)
    }

    /// Notes that embeddings are in a temporary file.
    fn note_spool(&self, cache: &CacheOptions, progress: &dyn Progress) {
        if let Embeddings::Collected(collected) = &self.embeddings
            && collected.is_spooled()
        {
            progress.note(&format!(
                "{} embeddings are more than fit in the budget; they are read from a temporary file in '{}'",
                collected.rows(),
                cache.spool_dir.display()
            ));
        }
    }

    /// Like [`Bags::read`], for rows that are already in memory.
    ///
    /// # Errors
    /// As [`Bags::read`].
    pub fn of_batches(
        batches: &[RecordBatch],
        set: &ClassSet,
        inputs: &HeadInputs,
        cache: &CacheOptions,
    ) -> Result<Self> {
        let mut builder = Builder::new(inputs);
        for batch in batches {
            builder.push(batch, cache)?;
        }
        builder.finish_collected(set)
    }

    /// Begins to read embeddings that are in the store, ahead of the batches.
    pub(super) fn read_ahead(&self) {
        if let Embeddings::Stored(stored) = &self.embeddings {
            stored.read_ahead();
        }
    }

    /// Number of masks in all bags, and of labelled masks in other images.
    pub fn masks(&self) -> u64 {
        let in_bags = self.images.iter().map(|image| image.rows.len() as u64);
        let others = self.labelled.iter();
        let others = others.filter(|mask| self.bag_of(&mask.image_id).is_none());
        in_bags.sum::<u64>() + others.count() as u64
    }

    /// Number of images with a bag or with a labelled mask.
    pub fn images_used(&self) -> u64 {
        let others = self.labelled.iter().map(|mask| &mask.image_id);
        let others: BTreeSet<&ImageId> = others.filter(|id| self.bag_of(id).is_none()).collect();
        (self.images.len() + others.len()) as u64
    }

    /// Number of masks that are labelled as showing none of the classes.
    pub fn background_labels(&self) -> usize {
        let labelled = self.labelled.iter();
        labelled
            .filter(|mask| mask.class == MaskClass::Background)
            .count()
    }

    /// Indices of the classes that some labelled mask shows or, unless only these count, some image.
    pub(super) fn classes_with_examples(&self, only_masks: bool) -> BTreeSet<usize> {
        let images = if only_masks { &[] } else { &self.images[..] };
        shown_classes(images, &self.labelled)
    }

    /// Index of the bag of an image, if it has one.
    pub(super) fn bag_of(&self, image_id: &ImageId) -> Option<usize> {
        let found = self
            .images
            .binary_search_by(|bag| bag.image_id.cmp(image_id));
        found.ok()
    }
}

struct Builder<'a> {
    inputs: &'a HeadInputs,
    images: HashMap<String, Unfinished>,
    embeddings: Option<Collected>,
    /// Ids of the rows of each input, in place of the embeddings.
    ids: Option<Vec<Vec<u64>>>,
    extractor_id: Option<String>,
    prompted_id: Option<String>,
    dims: Vec<usize>,
    skipped: Skipped,
}

#[derive(Default)]
struct Unfinished {
    labels: Vec<String>,
    /// Whether the query says what the image shows, be it nothing.
    is_labelled: bool,
    /// Whether the image is said to show none of the classes.
    negative: bool,
    /// Mask index and row in the embeddings, ordered by mask index; no row for a mask that was left out.
    masks: Vec<(i32, Option<u32>)>,
    /// What is said of single masks.
    said: HashMap<i32, Words>,
}

impl<'a> Builder<'a> {
    fn new(inputs: &'a HeadInputs) -> Self {
        Self {
            inputs,
            images: HashMap::new(),
            embeddings: None,
            ids: None,
            extractor_id: None,
            prompted_id: None,
            dims: Vec::new(),
            skipped: Skipped::default(),
        }
    }

    /// Takes in all rows of a query.
    async fn of_rows(
        mut self,
        mut rows: Rows,
        cache: &CacheOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        progress.start("masks read", None);
        while let Some(batch) = rows.next().await? {
            self.push(&batch, cache)?;
            progress.advance(batch.num_rows() as u64);
        }
        progress.finish();
        Ok(self)
    }

    /// The columns of the inputs, which must have as many numbers in every batch.
    fn columns(&mut self, batch: &RecordBatch) -> Result<Vec<EmbeddingColumn>> {
        let mut columns = Vec::with_capacity(self.inputs.count());
        for input in self.inputs.iter() {
            let name = input.column();
            let column = batch.column_by_name(name).ok_or_else(|| missing(name))?;
            check_owner(batch, input)?;
            let expected = "a list of fixed size of FLOAT16 or FLOAT numbers";
            let values = EmbeddingColumn::new(column);
            columns.push(values.map_err(|_| wrong(name, expected, column))?);
        }
        let dims: Vec<usize> = columns.iter().map(EmbeddingColumn::dim).collect();
        if self.embeddings.is_some() && dims != self.dims {
            let numbers = |dims: &[usize]| {
                let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
                dims.join(" + ")
            };
            return Err(Error::Head(HeadError::TrainingQuery {
                reason: format!(
                    "it yields embeddings of {} and of {} numbers",
                    numbers(&self.dims),
                    numbers(&dims)
                ),
            }));
        }
        self.dims = dims;
        Ok(columns)
    }

    fn push(&mut self, batch: &RecordBatch, cache: &CacheOptions) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        for column in COLUMNS {
            if batch.column_by_name(column).is_none() {
                return Err(missing(column));
            }
        }
        let image_ids = text(batch, "image_id")?;
        let extractor_ids = text(batch, "extractor_id")?;
        let mask_indices = integers(batch, "mask_index")?;
        let words = WordColumns::of(batch)?;
        let labels = Labels::of(batch, words.is_some())?;
        let negative = booleans(batch, "negative")?;
        let mut numbers = self.numbers(batch, cache)?;
        for row in 0..batch.num_rows() {
            let extractor = extractor_ids.value(row);
            // Masks that people added beside others are the only ones with an index below 0.
            let own = if mask_indices.value(row) < 0 {
                &mut self.prompted_id
            } else {
                &mut self.extractor_id
            };
            let first = own.get_or_insert_with(|| extractor.to_owned());
            if first != extractor {
                return Err(Error::Head(HeadError::TrainingQuery {
                    reason: format!(
                        "it yields masks of extractors '{first}' and '{extractor}'; a head is trained on the masks of one"
                    ),
                }));
            }
            let image_id = image_ids.value(row);
            if !self.images.contains_key(image_id) {
                self.images
                    .insert(image_id.to_owned(), Unfinished::default());
            }
            let Some(image) = self.images.get_mut(image_id) else {
                continue;
            };
            labels.add_to(row, &mut image.labels)?;
            image.is_labelled |= labels.says(row);
            image.negative |= negative
                .as_ref()
                .is_some_and(|it| it.is_valid(row) && it.value(row));
            let mask = mask_indices.value(row);
            let Err(at) = image.masks.binary_search_by_key(&mask, |(index, _)| *index) else {
                continue; // the same mask again, for another label
            };
            if let Some(words) = words.as_ref().and_then(|words| words.words(row)) {
                image.said.insert(mask, words);
            }
            let added = match (&mut numbers, &mut self.embeddings, &mut self.ids) {
                (Numbers::Read(columns, joined), Some(embeddings), _) => {
                    let next = embeddings.rows();
                    match joined.of(columns, row) {
                        Some(embedding) if embeddings.push(embedding)? => Some(next),
                        Some(_) => {
                            self.skipped.masks_not_finite += 1;
                            None
                        }
                        None => {
                            self.skipped.masks_without_vector += 1;
                            None
                        }
                    }
                }
                (Numbers::ById(columns), _, Some(ids)) => {
                    let next = ids.first().map_or(0, Vec::len);
                    if columns.iter().all(|column| column.is_valid(row)) {
                        for (ids, column) in ids.iter_mut().zip(columns) {
                            ids.push(column.value(row));
                        }
                        Some(next)
                    } else {
                        self.skipped.masks_without_vector += 1;
                        None
                    }
                }
                _ => None,
            };
            let kept = added.map(u32::try_from).transpose().map_err(|_| {
                Error::Head(HeadError::TrainingQuery {
                    reason: "it yields more than 4294967295 masks".to_owned(),
                })
            })?;
            image.masks.insert(at, (mask, kept));
        }
        Ok(())
    }

    /// What a batch holds of the inputs.
    fn numbers(&mut self, batch: &RecordBatch, cache: &CacheOptions) -> Result<Numbers> {
        if self.ids.is_some() {
            let columns = (0..self.inputs.count()).map(|at| row_ids(batch, &id_column(at)));
            return Ok(Numbers::ById(columns.collect::<Result<_>>()?));
        }
        let columns = self.columns(batch)?;
        if self.embeddings.is_none() {
            let (dim, budget) = (self.dims.iter().sum(), cache.budget_bytes);
            self.embeddings = Some(Collected::new(dim, budget, &cache.spool_dir));
        }
        Ok(Numbers::Read(columns, Joined::default()))
    }

    fn finish_collected(mut self, set: &ClassSet) -> Result<Bags> {
        let Some(mut embeddings) = self.embeddings.take() else {
            return Err(Error::Head(HeadError::NothingToTrainOn));
        };
        embeddings.finish()?;
        let embeddings = Embeddings::Collected(embeddings);
        let normaliser = Normaliser::fit(&embeddings, &self.dims, &self.inputs.normalisations())?;
        self.finish(set, embeddings, normaliser)
    }

    fn finish(
        self,
        set: &ClassSet,
        embeddings: Embeddings,
        normaliser: Normaliser,
    ) -> Result<Bags> {
        let own = self.extractor_id.or_else(|| self.prompted_id.clone());
        let Some(extractor_id) = own.filter(|_| !self.images.is_empty()) else {
            return Err(Error::Head(HeadError::NothingToTrainOn));
        };
        let mut skipped = self.skipped;
        let by_label = set.index_by_label();
        let mut images = Vec::with_capacity(self.images.len());
        let mut labelled = Vec::new();
        for (image_id, mut image) in self.images {
            let image_id = ImageId::try_from(image_id)?;
            labelled.extend(image.labelled(&image_id, &by_label, set.classes.len(), &mut skipped));
            let mut classes: Vec<usize> = Vec::new();
            let mut outside = 0;
            for label in &image.labels {
                match by_label.get(label.as_str()) {
                    Some(class) => classes.push(*class),
                    None => outside += 1,
                }
            }
            classes.sort_unstable();
            classes.dedup();
            if !image.is_labelled && !image.negative {
                continue; // only some of its masks are labelled
            }
            if classes.is_empty() && set.classes.len() > 1 && !image.negative {
                skipped.images_outside += 1;
                continue;
            }
            if !classes.is_empty() {
                skipped.labels_outside += outside;
            }
            let used = image.masks.iter();
            let used = used.filter_map(|(index, row)| row.map(|row| (*index, row)));
            let (mask_indices, rows): (Vec<i32>, Vec<u32>) = used.unzip();
            if rows.is_empty() {
                skipped.images_empty += 1;
                continue;
            }
            images.push(ImageBag {
                image_id,
                classes,
                rows,
                mask_indices,
            });
        }
        images.sort_by(|a, b| a.image_id.cmp(&b.image_id));
        labelled.sort_by(|a, b| (&a.image_id, a.mask_index).cmp(&(&b.image_id, b.mask_index)));
        check_classes(&images, &labelled, set)?;
        Ok(Bags {
            images,
            labelled,
            extractor_id: ExtractorId::try_from(extractor_id)?,
            prompted_id: self.prompted_id.map(ExtractorId::try_from).transpose()?,
            embedding_dim: self.dims.iter().sum(),
            input_dims: self.dims,
            skipped,
            normaliser,
            embeddings,
        })
    }
}

impl Unfinished {
    /// The masks of which something is known; those of no use are left out.
    fn labelled(
        &mut self,
        image_id: &ImageId,
        by_label: &HashMap<&str, usize>,
        classes: usize,
        skipped: &mut Skipped,
    ) -> Vec<LabelledMask> {
        let mut known = Vec::new();
        for (mask_index, row) in &mut self.masks {
            let (Some(words), Some(used)) = (self.said.get(mask_index), *row) else {
                continue;
            };
            match words.meaning(by_label, classes) {
                Meaning::Nothing => {}
                Meaning::Contradiction => skipped.masks_contradicted += 1,
                Meaning::Bad => {
                    skipped.masks_bad += 1;
                    *row = None;
                }
                Meaning::Known(class, outside) => {
                    skipped.mask_labels_outside += u64::from(outside);
                    known.push(LabelledMask {
                        image_id: image_id.clone(),
                        mask_index: *mask_index,
                        class,
                        row: used,
                    });
                }
            }
        }
        known
    }
}

/// Checks that a column of vectors, which says whose they are, is of the embedder that the head is to read.
fn check_owner(batch: &RecordBatch, input: &HeadInput) -> Result<()> {
    let schema = batch.schema();
    let field = schema.field_with_name(input.column())?;
    let Some(owner) = field.metadata().get(EMBEDDER_KEY) else {
        return Ok(());
    };
    if owner == input.stored() {
        return Ok(());
    }
    Err(Error::Head(HeadError::TrainingQuery {
        reason: format!(
            "column '{}' is to hold {}, and holds the vectors of embedder '{owner}'",
            input.column(),
            match input {
                HeadInput::Tokens => "tokens".to_owned(),
                HeadInput::Shape => "shapes".to_owned(),
                HeadInput::Vectors { embedder, .. } => format!("those of embedder '{embedder}'"),
            }
        ),
    }))
}

/// Masks whose numbers give the statistics of inputs that stay in the store.
const SAMPLED: usize = 1 << 14;

/// Fits a normaliser to a sample of embeddings, the same one for the same rows.
async fn fit_sample(
    embeddings: &StoredEmbeddings,
    dims: &[usize],
    kinds: &[Normalisation],
) -> Result<Normaliser> {
    let dim = dims.iter().sum();
    let mut sample = Collected::new(dim, usize::MAX, std::path::Path::new(""));
    if kinds.contains(&Normalisation::Standard) {
        // Of the rows in the order of the table: the query yields them in any.
        let order = embeddings.in_table_order();
        let mut places = fastrand::Rng::with_seed(0).choose_multiple(0..order.len(), SAMPLED);
        places.sort_unstable();
        let chosen: Vec<u32> = places
            .into_iter()
            .filter_map(|at| order.get(at).copied())
            .collect();
        let mut numbers = Vec::new();
        for some in chosen.chunks(4096) {
            numbers.clear();
            embeddings.read_async(some, &mut numbers).await?;
            for row in numbers.chunks_exact(dim.max(1)) {
                sample.push(EmbeddingRow::Single(row))?;
            }
        }
    }
    Normaliser::fit(&Embeddings::Collected(sample), dims, kinds)
}

/// What a batch of a training query holds of the inputs.
enum Numbers {
    Read(Vec<EmbeddingColumn>, Joined),
    ById(Vec<UInt64Array>),
}

/// The numbers of all inputs of a mask, one after the other.
#[derive(Default)]
struct Joined {
    halves: Vec<f16>,
    singles: Vec<f32>,
}

impl Joined {
    /// The numbers of a row in 16 bits if all inputs have them so, else in 32; `None` if an input is null.
    fn of<'a>(
        &'a mut self,
        columns: &'a [EmbeddingColumn],
        row: usize,
    ) -> Option<EmbeddingRow<'a>> {
        if let [only] = columns {
            return only.get(row);
        }
        self.halves.clear();
        self.singles.clear();
        let parts: Option<Vec<EmbeddingRow<'_>>> =
            columns.iter().map(|column| column.get(row)).collect();
        let parts = parts?;
        if parts
            .iter()
            .all(|part| matches!(part, EmbeddingRow::Half(_)))
        {
            for part in parts {
                if let EmbeddingRow::Half(numbers) = part {
                    self.halves.extend_from_slice(numbers);
                }
            }
            return Some(EmbeddingRow::Half(&self.halves));
        }
        for part in parts {
            match part {
                EmbeddingRow::Half(numbers) => {
                    self.singles.extend(numbers.iter().map(|x| x.to_f32()));
                }
                EmbeddingRow::Single(numbers) => self.singles.extend_from_slice(numbers),
            }
        }
        Some(EmbeddingRow::Single(&self.singles))
    }
}

/// Indices of the classes that some image or some labelled mask shows.
fn shown_classes(images: &[ImageBag], labelled: &[LabelledMask]) -> BTreeSet<usize> {
    let of_masks = labelled.iter().filter_map(|mask| match mask.class {
        MaskClass::Shows(class) => Some(class),
        _ => None,
    });
    let of_images = images.iter().flat_map(|image| &image.classes).copied();
    of_masks.chain(of_images).collect()
}

/// Checks that every class has an image or a labelled mask and that, if there is only one class, something does not show
/// it.
fn check_classes(images: &[ImageBag], labelled: &[LabelledMask], set: &ClassSet) -> Result<()> {
    let fail = |reason: String| {
        Error::Head(HeadError::ClassSet {
            class_set: set.name.clone(),
            reason,
        })
    };
    let shown = shown_classes(images, labelled);
    let empty: Vec<&str> = set
        .classes
        .iter()
        .enumerate()
        .filter(|(index, _)| !shown.contains(index))
        .map(|(_, class)| class.name.as_str())
        .collect();
    // A few labels on masks are enough to begin with; what has none is told of, and predicted by none.
    if !empty.is_empty() && labelled.is_empty() {
        return Err(Error::Head(HeadError::ClassesWithoutImages {
            class_set: set.name.clone(),
            classes: quoted(&empty),
        }));
    }
    let other = images.iter().any(|image| image.classes.is_empty())
        || labelled
            .iter()
            .any(|mask| mask.class == MaskClass::Background);
    if set.classes.len() == 1 && !other {
        return Err(fail(
            "it has one class and every image shows it; images with other labels, or masks that show none, are needed \
             to tell it from"
                .to_owned(),
        ));
    }
    Ok(())
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("class '{name}'")).collect();
    names.join(", ")
}
