//! Bags: the rows of a training query, grouped by image.

use std::collections::HashMap;
use std::path::PathBuf;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use half::f16;

use super::embeddings::Embeddings;
use super::inputs::{HeadInput, HeadInputs};
use super::normaliser::Normaliser;
use crate::classes::ClassSet;
use crate::error::HeadError;
use crate::ids::{ExtractorId, ImageId};
use crate::options::is_default;
use crate::progress::Progress;
use crate::schema::{EMBEDDER_KEY, list_item};
use crate::sql::Rows;
use crate::store::columns::{EmbeddingColumn, EmbeddingRow};
use crate::{Error, Result};

/// Columns that a training query must yield, besides `label` or `labels` and one per input of the head.
const COLUMNS: [&str; 3] = ["image_id", "extractor_id", "mask_index"];

/// Where embeddings are kept while a head is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheOptions {
    /// Maximum bytes of embeddings kept in memory; if there are more, all of them go to a temporary file.
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
    /// Indices of the image's classes, ascending; empty if it shows none of them.
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
}

/// The training set: a bag for each image, and the embeddings.
#[derive(Debug)]
pub struct Bags {
    /// The bags, ordered by image id.
    pub images: Vec<ImageBag>,
    /// Extractor of every mask.
    pub extractor_id: ExtractorId,
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
    /// For a class set with a single class, images that have only other labels are negative examples. For a larger set
    /// they are left out, unless a column `negative` is true for them: then all their masks are background.
    ///
    /// # Errors
    /// [`HeadError::TrainingQuery`] for columns that are missing or of another type, or masks of more than one
    /// extractor; [`HeadError::NothingToTrainOn`] if there are no rows; [`HeadError::ClassesWithoutImages`] if a class
    /// has no image; [`HeadError::ClassSet`] if every image shows the only class.
    pub async fn read(
        mut rows: Rows,
        set: &ClassSet,
        inputs: &HeadInputs,
        cache: &CacheOptions,
        progress: &dyn Progress,
    ) -> Result<Self> {
        progress.start("masks read", None);
        let mut builder = Builder::new(inputs);
        while let Some(batch) = rows.next().await? {
            builder.push(&batch, cache)?;
            progress.advance(batch.num_rows() as u64);
        }
        progress.finish();
        let bags = builder.finish(set)?;
        if bags.embeddings.is_spooled() {
            progress.note(&format!(
                "{} embeddings are more than fit in the budget; they are read from a temporary file in '{}'",
                bags.embeddings.rows(),
                cache.spool_dir.display()
            ));
        }
        Ok(bags)
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
        builder.finish(set)
    }

    /// Number of masks in all bags.
    pub fn masks(&self) -> u64 {
        self.images
            .iter()
            .map(|image| image.rows.len() as u64)
            .sum()
    }
}

struct Builder<'a> {
    inputs: &'a HeadInputs,
    images: HashMap<String, Unfinished>,
    embeddings: Option<Embeddings>,
    extractor_id: Option<String>,
    dims: Vec<usize>,
    skipped: Skipped,
}

#[derive(Default)]
struct Unfinished {
    labels: Vec<String>,
    /// Whether the image is said to show none of the classes.
    negative: bool,
    /// Mask index and row in the embeddings, ordered by mask index; no row for a mask that was left out.
    masks: Vec<(i32, Option<u32>)>,
}

impl<'a> Builder<'a> {
    fn new(inputs: &'a HeadInputs) -> Self {
        Self {
            inputs,
            images: HashMap::new(),
            embeddings: None,
            extractor_id: None,
            dims: Vec::new(),
            skipped: Skipped::default(),
        }
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
        let labels = Labels::of(batch)?;
        let negative = negative(batch)?;
        let columns = self.columns(batch)?;
        if self.embeddings.is_none() {
            let (dim, budget) = (self.dims.iter().sum(), cache.budget_bytes);
            self.embeddings = Some(Embeddings::new(dim, budget, &cache.spool_dir));
        }
        let mut joined = Joined::default();
        for row in 0..batch.num_rows() {
            let extractor = extractor_ids.value(row);
            let first = self
                .extractor_id
                .get_or_insert_with(|| extractor.to_owned());
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
            image.negative |= negative
                .as_ref()
                .is_some_and(|it| it.is_valid(row) && it.value(row));
            let mask = mask_indices.value(row);
            let Err(at) = image.masks.binary_search_by_key(&mask, |(index, _)| *index) else {
                continue; // the same mask again, for another label
            };
            let Some(embeddings) = &mut self.embeddings else {
                continue;
            };
            let kept = u32::try_from(embeddings.rows()).map_err(|_| {
                Error::Head(HeadError::TrainingQuery {
                    reason: "it yields more than 4294967295 masks".to_owned(),
                })
            })?;
            let Some(embedding) = joined.of(&columns, row) else {
                self.skipped.masks_without_vector += 1;
                image.masks.insert(at, (mask, None));
                continue;
            };
            let stored = embeddings.push(embedding)?;
            self.skipped.masks_not_finite += u64::from(!stored);
            image.masks.insert(at, (mask, stored.then_some(kept)));
        }
        Ok(())
    }

    fn finish(self, set: &ClassSet) -> Result<Bags> {
        let (Some(mut embeddings), Some(extractor_id)) = (self.embeddings, self.extractor_id)
        else {
            return Err(Error::Head(HeadError::NothingToTrainOn));
        };
        embeddings.finish()?;
        let normaliser = Normaliser::fit(&embeddings, &self.dims, &self.inputs.normalisations())?;
        let mut skipped = self.skipped;
        let by_label = set.index_by_label();
        let mut images = Vec::with_capacity(self.images.len());
        for (image_id, image) in self.images {
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
                image_id: ImageId::try_from(image_id)?,
                classes,
                rows,
                mask_indices,
            });
        }
        images.sort_by(|a, b| a.image_id.cmp(&b.image_id));
        check_classes(&images, set)?;
        Ok(Bags {
            images,
            extractor_id: ExtractorId::try_from(extractor_id)?,
            embedding_dim: self.dims.iter().sum(),
            input_dims: self.dims,
            skipped,
            normaliser,
            embeddings,
        })
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

/// Checks that every class has an image and that, if there is only one class, some image does not show it.
fn check_classes(images: &[ImageBag], set: &ClassSet) -> Result<()> {
    let fail = |reason: String| {
        Error::Head(HeadError::ClassSet {
            class_set: set.name.clone(),
            reason,
        })
    };
    let empty: Vec<&str> = set
        .classes
        .iter()
        .enumerate()
        .filter(|(index, _)| images.iter().all(|image| !image.classes.contains(index)))
        .map(|(_, class)| class.name.as_str())
        .collect();
    if !empty.is_empty() {
        return Err(Error::Head(HeadError::ClassesWithoutImages {
            class_set: set.name.clone(),
            classes: quoted(&empty),
        }));
    }
    if set.classes.len() == 1 && images.iter().all(|image| !image.classes.is_empty()) {
        return Err(fail(
            "it has one class and every image shows it; images with other labels are needed to tell it from"
                .to_owned(),
        ));
    }
    Ok(())
}

fn quoted(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("class '{name}'")).collect();
    names.join(", ")
}

fn missing(column: &str) -> Error {
    Error::Head(HeadError::TrainingQuery {
        reason: format!(
            "it yields no column '{column}'; it must yield image_id, extractor_id, mask_index, label or labels, and a column \
             for each input: embedding for the tokens, shape, the names of embedders; as the query train/bags does"
        ),
    })
}

fn wrong(column: &str, expected: &str, found: &ArrayRef) -> Error {
    Error::Head(HeadError::TrainingQuery {
        reason: format!(
            "column '{column}': expected {expected}, found {}{}",
            found.data_type(),
            match found.null_count() {
                0 => "",
                _ => " with nulls",
            }
        ),
    })
}

fn text(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let column = batch.column_by_name(name).ok_or_else(|| missing(name))?;
    let found = cast(column, &DataType::Utf8).ok();
    let found = found.filter(|text| text.null_count() == 0);
    let text = found.as_ref().and_then(|text| text.as_string_opt::<i32>());
    text.cloned()
        .ok_or_else(|| wrong(name, "TEXT without nulls", column))
}

fn integers(batch: &RecordBatch, name: &str) -> Result<Int32Array> {
    let column = batch.column_by_name(name).ok_or_else(|| missing(name))?;
    let found = if column.data_type().is_integer() {
        cast(column, &DataType::Int32).ok()
    } else {
        None
    };
    let found = found.filter(|numbers| numbers.null_count() == 0);
    let numbers = found
        .as_ref()
        .and_then(|n| n.as_primitive_opt::<Int32Type>());
    numbers
        .cloned()
        .ok_or_else(|| wrong(name, "INT without nulls", column))
}

/// The column that says whether an image shows none of the classes, if there is one.
fn negative(batch: &RecordBatch) -> Result<Option<BooleanArray>> {
    let Some(column) = batch.column_by_name("negative") else {
        return Ok(None);
    };
    match column.as_boolean_opt() {
        Some(found) => Ok(Some(found.clone())),
        None => Err(wrong("negative", "BOOLEAN", column)),
    }
}

/// The column with the images' labels.
enum Labels {
    One(StringArray),
    List(arrow::array::ListArray),
}

impl Labels {
    fn of(batch: &RecordBatch) -> Result<Self> {
        if let Some(column) = batch.column_by_name("labels") {
            let list = cast(column, &DataType::List(list_item(DataType::Utf8))).ok();
            let list = list.as_ref().and_then(|list| list.as_list_opt::<i32>());
            return match list {
                Some(list) => Ok(Self::List(list.clone())),
                None => Err(wrong("labels", "TEXT[]", column)),
            };
        }
        if batch.column_by_name("label").is_none() {
            return Err(missing("label"));
        }
        Ok(Self::One(text(batch, "label")?))
    }

    fn add_to(&self, row: usize, labels: &mut Vec<String>) -> Result<()> {
        let mut add = |label: &str| {
            if !labels.iter().any(|known| known == label) {
                labels.push(label.to_owned());
            }
        };
        match self {
            Self::One(column) => add(column.value(row)),
            Self::List(column) => {
                if column.is_null(row) {
                    return Ok(());
                }
                let list = column.value(row);
                let values = list.as_string::<i32>();
                values.iter().flatten().for_each(add);
            }
        }
        Ok(())
    }
}
