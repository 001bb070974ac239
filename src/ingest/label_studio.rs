//! `ingest label-studio`: tasks of Label Studio with what people, or models, said of their images.
//!
//! Brush masks are kept pixel for pixel; polygons, ellipses and turned rectangles become masks as pycocotools fills polygons;
//! rectangles stay boxes. Choices become labels of their image.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

use super::annotation::ground_truth_row;
use super::class_names::class_set;
use super::label_studio_file::{Item, ItemLabels, Said, Task, each_task, labels_of_interface};
use super::label_studio_shapes::drawn;
use super::options::IngestOptions;
use super::outcome::{IngestSummary, Outcome, Record};
use super::photo_address::find_photo;
use super::photo_file::{Root, check_on_disk, failure_of, read_photo, taken_otherwise};
use super::pipeline;
use crate::classes::add_class_set;
use crate::coco::Annotation;
use crate::formats::label_studio;
use crate::ids::check_name;
use crate::progress::Progress;
use crate::store::Store;
use crate::store::rows::FailureRow;
use crate::{Error, Result};

/// A request to ingest tasks of Label Studio.
#[derive(Debug, Clone, Default)]
pub struct LabelStudioIngest {
    /// The file that Label Studio exports as 'JSON'. Labels of the labelling interface are classes in its order, used or not, if a
    /// file `config.xml` is beside it.
    pub tasks: PathBuf,
    /// The directory of the photos, in which the addresses of tasks are looked up by their last parts.
    pub images: PathBuf,
    /// Key of the photo's address in `data`; `None` for 'image' or, if a task has no such key, its only text.
    pub key: Option<String>,
    /// Whose annotations are read, by e-mail or number, or which version's predictions; `None` for those that are marked as ground
    /// truth or else the newest.
    pub annotator: Option<String>,
    /// Whether predictions are read instead of annotations.
    pub predictions: bool,
    /// Options of all readers. Without a split, images have that of their task's data, `split`.
    pub options: IngestOptions,
}

/// Ingests tasks of Label Studio: their photos, with their regions as ground truth and the labels of these as labels. The labels
/// become a class set with the data set's name.
///
/// # Errors
/// [`Error::Content`] if the file cannot be read; [`Error::InvalidOption`] for an annotator who is not in it; errors of the store. Tasks and regions that cannot be used become rows of
/// `failures`.
pub async fn ingest_label_studio(
    store: &Store,
    request: &LabelStudioIngest,
    progress: &dyn Progress,
) -> Result<IngestSummary> {
    let options = &request.options;
    options.validate()?;
    check_on_disk("Label Studio", &request.tasks)?;
    let root = Root::new(&request.images)?;
    let asked = request.clone();
    let described = tokio::task::spawn_blocking(move || describe(&asked));
    let Described {
        labels,
        tasks,
        unread,
    } = described.await.map_err(|source| Error::Worker {
        task: "reading the tasks",
        source,
    })??;
    let set = class_set(
        &options.dataset,
        labels.iter().zip(1..).map(|(name, id)| (id, name)),
    );
    if !set.classes.is_empty() {
        add_class_set(store, "ingest label-studio", &set, "label-studio").await?;
    }
    progress.start("images", Some(tasks));
    let several = Arc::new(AtomicU64::new(0));
    let context = Arc::new(Context {
        root,
        numbers: labels.into_iter().zip(1..).collect(),
        request: request.clone(),
        several: several.clone(),
    });
    let reader = context.clone();
    let read = move |item: Numbered| read_item(&reader, item);
    let path = request.tasks.clone();
    let list = move |each: &mut dyn FnMut(Numbered) -> bool| {
        let mut number = 0;
        // The address that each photo was found by.
        let mut found_by: HashMap<String, String> = HashMap::new();
        each_task::<Item>(&path, |task| {
            number += 1;
            let photo = context.photo(&task.data, &mut found_by);
            Ok(each(Numbered {
                number,
                task,
                photo,
            }))
        })
    };
    let operation = "ingest label-studio";
    let done = pipeline::run_listed(store, operation, options, list, read, progress).await;
    progress.finish();
    let done = done?;
    if unread > 0 {
        let (only, why) = if request.predictions {
            ("annotations", "--predictions was asked for")
        } else {
            ("predictions", "--predictions reads them")
        };
        progress.note(&format!(
            "{unread} tasks have only {only}, which were not read ({why})"
        ));
    }
    let several = several.load(Ordering::Relaxed);
    if several > 0 {
        progress.note(&format!(
            "{several} tasks have several annotations; of each, one that is marked as ground truth or else the newest was taken \
             (--annotator chooses)"
        ));
    }
    Ok(done)
}

/// What a file holds.
struct Described {
    /// The labels of the labelling interface, if there is one beside the file, in its order; then those of the regions that are
    /// read, in the order of the file.
    labels: Vec<String>,
    tasks: u64,
    /// Tasks of which nothing is read, although something was said of them in the other list.
    unread: u64,
}

fn describe(request: &LabelStudioIngest) -> Result<Described> {
    let mut labels = labels_of_interface(&request.tasks)?;
    let (mut tasks, mut unread) = (0, 0);
    let mut found = false;
    let mut known = BTreeSet::new();
    each_task::<ItemLabels>(&request.tasks, |task| {
        tasks += 1;
        let (said, _) = request.chosen(&task);
        found |= said.is_some();
        let others = if request.predictions {
            &task.annotations
        } else {
            &task.predictions
        };
        unread += u64::from(request.said(&task).is_empty() && !others.is_empty());
        known.extend(request.said(&task).iter().filter_map(Said::who));
        for item in said.into_iter().flat_map(|said| &said.result) {
            for label in &item.value.0 {
                if !labels.contains(label) {
                    labels.push(label.clone());
                }
            }
        }
        Ok(true)
    })?;
    match &request.annotator {
        Some(asked) if !found => Err(Error::InvalidOption {
            what: "annotator",
            value: asked.clone(),
            expected: if known.is_empty() {
                format!(
                    "none: nothing in '{}' says who made it",
                    request.tasks.display()
                )
            } else {
                let known: Vec<String> = known.into_iter().collect();
                format!(
                    "one of those in '{}': {}",
                    request.tasks.display(),
                    known.join(", ")
                )
            },
        }),
        _ => Ok(Described {
            labels,
            tasks,
            unread,
        }),
    }
}

impl LabelStudioIngest {
    /// The annotations or predictions of a task.
    fn said<'t, R>(&self, task: &'t Task<R>) -> &'t [Said<R>] {
        if self.predictions {
            &task.predictions
        } else {
            &task.annotations
        }
    }

    /// The annotation or prediction of a task that is read, and whether there are others.
    fn chosen<'t, R>(&self, task: &'t Task<R>) -> (Option<&'t Said<R>>, bool) {
        let said = self.said(task);
        let is_asked = |said: &&Said<R>| {
            let who = self.annotator.as_deref();
            !said.is_cancelled() && who.is_none_or(|who| said.is_of(who))
        };
        let found: Vec<&Said<R>> = said.iter().filter(is_asked).collect();
        let newest = found.iter().copied().max_by(|a, b| a.rank().cmp(&b.rank()));
        (newest, found.len() > 1)
    }
}

impl<R> Said<R> {
    /// Who made it, as a text.
    fn who(&self) -> Option<String> {
        let text = |value: &Value| match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        let who = self.completed_by.as_ref().or(self.model_version.as_ref())?;
        let email = who.get("email").and_then(text);
        email
            .or_else(|| who.get("id").and_then(text))
            .or_else(|| text(who))
    }

    fn is_of(&self, who: &str) -> bool {
        let id = self.completed_by.as_ref().and_then(|it| it.get("id"));
        self.who().as_deref() == Some(who) || id.is_some_and(|id| id_text(id) == who)
    }

    fn is_cancelled(&self) -> bool {
        self.was_cancelled == Some(true) || self.skipped == Some(true)
    }

    /// By which the one that is taken is the greatest. Times are texts that sort as they follow each other.
    fn rank(&self) -> (bool, Option<&str>) {
        let times = [&self.updated_at, &self.created_at].into_iter().flatten();
        let time = times.filter_map(Value::as_str).next();
        (self.ground_truth == Some(true), time)
    }
}

/// A task with its place in the file, from 1 on.
struct Numbered {
    number: u64,
    task: Task<Item>,
    /// Name of its photo.
    photo: Result<String>,
}

impl fmt::Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.task.id {
            Some(id) => write!(f, "task {id}"),
            None => write!(f, "task number {}", self.number),
        }
    }
}

/// Data shared by all workers.
struct Context {
    root: Root,
    /// Number of each label, from 1 on.
    numbers: BTreeMap<String, i64>,
    request: LabelStudioIngest,
    /// Tasks with several annotations.
    several: Arc<AtomicU64>,
}

impl Context {
    /// The name of a task's photo. Two addresses must not be of one photo.
    fn photo(
        &self,
        data: &Map<String, Value>,
        found_by: &mut HashMap<String, String>,
    ) -> Result<String> {
        let address = self.address(data)?;
        let name = find_photo(&self.root, address)?;
        match found_by.get(&name) {
            Some(other) if other != address => Err(Error::Annotation {
                reason: format!(
                    "by the end of its address, '{address}', its photo would be '{name}', which is that of '{other}'; give \
                     --images the directory above the folders that differ"
                ),
            }),
            _ => {
                found_by.insert(name.clone(), address.to_owned());
                Ok(name)
            }
        }
    }

    /// The address of a task's photo.
    fn address<'t>(&self, data: &'t Map<String, Value>) -> Result<&'t str> {
        let bad = |reason: String| Error::Annotation { reason };
        let key = self.request.key.as_deref().unwrap_or(label_studio::IMAGE);
        if let Some(text) = data.get(key).and_then(Value::as_str) {
            return Ok(text);
        }
        let texts: Vec<&str> = data.values().filter_map(Value::as_str).collect();
        match (&self.request.key, &texts[..]) {
            (None, [only]) => Ok(only),
            _ => {
                let keys: Vec<&str> = data.keys().map(String::as_str).collect();
                Err(bad(format!(
                    "its data has no text '{key}', the address of the photo; it has {} (--key says which it is)",
                    keys.join(", ")
                )))
            }
        }
    }
}

fn read_item(context: &Context, item: Numbered) -> Result<Outcome> {
    let mut options = context.request.options.clone();
    if options.split.is_none() {
        let split = item.task.data.get("split").and_then(Value::as_str);
        let split = split.filter(|split| check_name("split", split).is_ok());
        options.split = split.map(str::to_owned);
    }
    let name = item.to_string();
    let file_name = item.photo?;
    let (image, info) = read_photo(&context.root, &file_name, &options)?;
    let size = image.size();
    let mut failures: Vec<FailureRow> = taken_otherwise(&image, &info).into_iter().collect();
    let mut record = Record {
        image,
        labels: Vec::new(),
        ground_truth: None,
    };
    let (said, several) = context.request.chosen(&item.task);
    context
        .several
        .fetch_add(u64::from(several), Ordering::Relaxed);
    let Some(said) = said else {
        // Nobody has looked at it.
        return Ok(Outcome::read(record, failures));
    };
    let who = said.who();
    let of = record.image.clone();
    let mut rows = Vec::new();
    let mut seen = HashSet::new();
    for region in &said.result {
        // A region with several kinds of labels is several items of one id, each with the shape.
        if region.id.as_ref().is_some_and(|id| seen.contains(id)) {
            continue;
        }
        let mut failed = |reason: String| {
            let region = region
                .id
                .as_ref()
                .map_or("without an id".to_owned(), id_text);
            let reason = format!("region {region}: {reason}");
            failures.push(failure_of(&of, &name, &reason));
        };
        let drawn = match drawn(region, size) {
            Ok(Some(drawn)) => drawn,
            Ok(None) => {
                for choice in region.value.words("choices") {
                    record.add_label(choice, "label-studio");
                }
                continue;
            }
            Err(err) => {
                failed(err.to_string());
                continue;
            }
        };
        seen.extend(region.id.as_ref());
        let same =
            |item: &&Item| std::ptr::eq(*item, region) || item.id.is_some() && item.id == region.id;
        let items: Vec<&Item> = said.result.iter().filter(same).collect();
        let mut labels: Vec<&str> = Vec::new();
        for label in items.iter().flat_map(|item| item.value.labels()) {
            if !labels.contains(&label) {
                labels.push(label);
            }
        }
        if labels.is_empty() {
            failed("it has no label".to_owned());
            continue;
        }
        let mut extra = Map::new();
        if let Some(who) = &who {
            extra.insert("annotator".to_owned(), who.as_str().into());
        }
        let choices = items.iter().flat_map(|item| item.value.words("choices"));
        let choices: Vec<Value> = choices.map(Value::from).collect();
        if !choices.is_empty() {
            extra.insert("choices".to_owned(), choices.into());
        }
        if let Some(score) = region.score {
            extra.insert("score".to_owned(), score.into());
        }
        if let Some(meta) = region.meta.as_ref().filter(|meta| !meta.is_empty()) {
            extra.insert("meta".to_owned(), Value::Object(meta.clone()));
        }
        for label in labels {
            let (segmentation, bbox) = drawn.annotated();
            let annotation = Annotation {
                id: None,
                category_id: context.numbers.get(label).copied().unwrap_or(0),
                segmentation,
                area: None,
                bbox,
                iscrowd: false,
                extra: extra.clone(),
            };
            match ground_truth_row(&record.image, annotation, label, rows.len()) {
                Ok(row) => {
                    rows.push(row);
                    record.add_label(label, "label-studio");
                }
                Err(err) => failed(err.to_string()),
            }
        }
    }
    record.ground_truth = Some(rows);
    Ok(Outcome::read(record, failures))
}

/// The id of a region, a text or a number.
fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
