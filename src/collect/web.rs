//! `collect web`: images from sources on the web, a number of them for each class.
//!
//! Images are tried in the order of [`super::feed`], class by class, and decided on in that order, however many are
//! downloaded at a time; so what is stored does not depend on how fast servers are. What was decided is in the directory's
//! `manifest.jsonl` and `refused.jsonl`, and a run that goes on reads these first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::attribution::write_attribution;
use super::duplicates::{HASH_KEY, KnownPhotos};
use super::feed::{Feed, Offered};
use super::folder::{Folder, PART, folder_name, short_hash};
use super::http::{Http, HttpOptions};
use super::journal::Journal;
use super::keep::{Failures, record_failures};
use super::licence::Licences;
use super::photo_check::{CheckedPhoto, PhotoLimits, Unfit};
use super::sources::ImageSource;
use super::words::SearchWord;
use crate::error::CollectError;
use crate::ingest::{IngestOptions, ManifestImage, ingest_listed, parse_line};
use crate::progress::{NoProgress, Progress};
use crate::store::Store;
use crate::task::blocking;
use crate::{Error, Result};

/// File of the directory with what was not taken.
const REFUSED: &str = "refused.jsonl";
/// Shortest side and greatest size of photos by default.
const MIN_SIDE: u32 = 256;
const MAX_PIXELS: u64 = 100_000_000;

/// What to collect.
#[derive(Debug, Clone)]
pub struct WebRequest {
    /// The words of each class.
    pub words: Vec<Vec<SearchWord>>,
    /// Images of each class, with those that are there.
    pub per_class: usize,
    /// Directory of the images.
    pub directory: PathBuf,
    /// Data set, purpose and split of the images.
    pub options: IngestOptions,
    /// Licences that images may have.
    pub licences: Licences,
    /// How servers are asked.
    pub http: HttpOptions,
    /// Downloads at a time.
    pub parallel: usize,
    /// Least length of a photo's shorter side, in pixels.
    pub min_side: u32,
    /// Limit on a photo's pixels.
    pub max_pixels: u64,
}

impl WebRequest {
    /// A request with the defaults of the program.
    pub fn new(words: Vec<Vec<SearchWord>>, directory: PathBuf, options: IngestOptions) -> Self {
        Self {
            words,
            per_class: 45,
            directory,
            options,
            licences: Licences::default(),
            http: HttpOptions::default(),
            parallel: 8,
            min_side: MIN_SIDE,
            max_pixels: MAX_PIXELS,
        }
    }
}

/// What was found for a class.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// Its images in the directory, of this run and of those before.
    pub images: u64,
    /// Images that were added by this run.
    pub added: u64,
    /// Images that sources offered to this run, with those that an earlier run had tried.
    pub offered: u64,
    /// Images that are not wanted: licence, size, drawings, duplicates.
    pub refused: u64,
    /// Images that could not be fetched or read, and pages of sources that could not be read.
    pub failed: u64,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct WebSummary {
    /// The classes.
    pub classes: Vec<ClassCount>,
    /// Files that were downloaded.
    pub downloaded: u64,
    /// Number of refused images by reason, without its numbers and names.
    pub reasons: BTreeMap<String, u64>,
    /// Images that were added to the store.
    pub images_added: u64,
    /// Images, and pages of sources, that failed; each has a row in `failures`.
    pub failed: u64,
}

/// What a source says that it has for a word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// The class.
    pub class: String,
    /// The word.
    pub word: String,
    /// The source.
    pub source: &'static str,
    /// The number of images, or why the source does not say.
    #[serde(flatten)]
    pub count: OfferCount,
}

/// A number of images, or why there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OfferCount {
    /// The number.
    Images(u64),
    /// The reason.
    Error(String),
}

/// Asks each source how many images it has for each word. Nothing is downloaded.
///
/// # Errors
/// [`crate::error::CollectError::Server`] if no client can be made.
pub async fn offers(request: &WebRequest, sources: &[Box<dyn ImageSource>]) -> Result<Vec<Offer>> {
    let http = Http::new(&request.http)?;
    let mut found = Vec::new();
    for word in request.words.iter().flatten() {
        for source in sources {
            let count = source.count(&http, word, &request.licences).await;
            found.push(Offer {
                class: word.class.clone(),
                word: word.word.clone(),
                source: source.name(),
                count: match count {
                    Ok(images) => OfferCount::Images(images),
                    Err(err) => OfferCount::Error(err.to_string()),
                },
            });
        }
    }
    Ok(found)
}

/// A line of `refused.jsonl`.
#[derive(Debug, Serialize, Deserialize)]
struct RefusedRow {
    url: String,
    class: String,
    verdict: Verdict,
    reason: String,
    /// Whether another run tries it again.
    #[serde(default)]
    again: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Refused,
    Failed,
}

/// Why an image is not taken.
struct NotTaken {
    verdict: Verdict,
    reason: String,
    again: bool,
}

impl NotTaken {
    fn refused(reason: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Refused,
            reason: reason.into(),
            again: false,
        }
    }
}

/// Collects images and adds them to the store.
///
/// # Errors
/// Errors of the store and of the directory; [`crate::error::CollectError`]. Images that cannot be had are rows of
/// `failures` instead.
pub async fn collect_web(
    store: &Store,
    request: &WebRequest,
    sources: &[Box<dyn ImageSource>],
    progress: &dyn Progress,
) -> Result<WebSummary> {
    request.options.validate()?;
    let mut run = Run::begin(store, request, progress).await?;
    let there: u64 = run.by_class.values().sum();
    progress.start(
        "images",
        Some((request.words.len() * request.per_class) as u64),
    );
    progress.advance(there);
    for words in &request.words {
        let done = run.class(words, sources).await;
        if let Err(err) = done {
            progress.finish();
            return Err(err);
        }
    }
    progress.finish();
    Ok(run.summary)
}

/// A run.
struct Run<'a> {
    store: &'a Store,
    request: &'a WebRequest,
    progress: &'a dyn Progress,
    http: Http,
    folder: Folder,
    manifest: Journal,
    refused: Journal,
    /// Images of the directory, in the manifest's order.
    images: Vec<ManifestImage>,
    /// How many of them each class had when the run began.
    by_class: HashMap<String, u64>,
    /// URLs that were decided on.
    seen: HashSet<String>,
    /// Files that were downloaded and not decided on, by their name without the ending.
    left: HashMap<String, PathBuf>,
    known: KnownPhotos,
    summary: WebSummary,
}

impl<'a> Run<'a> {
    /// Reads what earlier runs left, and adds what they had not added to the store.
    async fn begin(
        store: &'a Store,
        request: &'a WebRequest,
        progress: &'a dyn Progress,
    ) -> Result<Self> {
        let folder = Folder::open(&request.directory)?;
        let (manifest, text) = Journal::open(&folder.manifest())?;
        let mut images = Vec::new();
        for (text, line) in text.lines().zip(1..) {
            let image = parse_line(text, line).map_err(|reason| Error::Content {
                path: folder.manifest(),
                place: format!(" line {line}"),
                reason,
            })?;
            images.push(image);
        }
        let refused_at = folder.at(REFUSED);
        let (refused, text) = Journal::open(&refused_at)?;
        let mut seen: HashSet<String> = HashSet::new();
        for (text, line) in text.lines().zip(1..) {
            let row: RefusedRow = serde_json::from_str(text).map_err(|err| Error::Content {
                path: refused_at.clone(),
                place: format!(" line {line}"),
                reason: err.to_string(),
            })?;
            if row.again {
                seen.remove(&row.url);
            } else {
                seen.insert(row.url);
            }
        }
        let mut by_class: HashMap<String, u64> = HashMap::new();
        for image in &images {
            let text = |key: &str| image.attributes.get(key).and_then(Value::as_str);
            let Some(url) = text("url") else {
                return Err(CollectError::OtherManifest {
                    path: folder.manifest(),
                    line: image.line,
                    file: image.file.clone(),
                    what: "it has no 'url'".to_owned(),
                }
                .into());
            };
            seen.insert(url.to_owned());
            if let Some(class) = text("class") {
                *by_class.entry(class.to_owned()).or_default() += 1;
            }
        }
        let mut summary = WebSummary::default();
        if !images.is_empty() {
            let listed = images.clone();
            let added = ingest_listed(store, folder.path(), listed, &request.options, progress);
            summary.images_added = added.await?.images_added;
        }
        let known = KnownPhotos::of_store(&store.snapshot().await?, &folder, progress).await?;
        let left = files_left(&folder, &images);
        Ok(Self {
            http: Http::new(&request.http)?,
            store,
            request,
            progress,
            folder,
            manifest,
            refused,
            images,
            by_class,
            seen,
            left,
            known,
            summary,
        })
    }

    async fn class(
        &mut self,
        words: &[SearchWord],
        sources: &[Box<dyn ImageSource>],
    ) -> Result<()> {
        let Some(class) = words.first().map(|word| word.class.clone()) else {
            return Ok(());
        };
        let (http, request) = (&self.http, self.request);
        let (folder, left, licences) = (&self.folder, &self.left, &request.licences);
        let mut feed = Feed::new(http, licences, sources, words);
        let mut count = ClassCount {
            class: class.clone(),
            images: self.by_class.get(&class).copied().unwrap_or(0),
            ..ClassCount::default()
        };
        let (mut failures, mut added): (Failures, Vec<ManifestImage>) = Default::default();
        while (count.images as usize) < self.request.per_class {
            let missing = self.request.per_class - count.images as usize;
            let batch = feed.take(missing, &mut self.seen).await;
            if batch.is_empty() {
                break;
            }
            let fetched = stream::iter(batch.into_iter().map(|offered| async {
                let found = fetch(http, folder, left, request, &offered).await;
                (offered, found)
            }));
            let mut fetched = fetched.buffered(request.parallel.max(1));
            while let Some((offered, found)) = fetched.next().await {
                let url = offered.candidate.url.clone();
                let taken = found.and_then(|fetched| {
                    self.summary.downloaded += u64::from(fetched.is_new);
                    let there = self.known.find(&fetched.photo.image_id, fetched.photo.hash);
                    let Some(reason) = there else {
                        return Ok(fetched);
                    };
                    let _ = std::fs::remove_file(self.folder.at(&fetched.file));
                    Err(NotTaken::refused(reason))
                });
                match taken {
                    Ok(fetched) => {
                        let image = listed(&offered, &fetched);
                        self.manifest.add(&image)?;
                        let image =
                            parse_line(&image.to_string(), 0).map_err(|_| Error::Internal {
                                what: "a line of a manifest cannot be read back",
                            })?;
                        let photo = fetched.photo;
                        self.known.add(&photo.image_id, photo.hash, &image.file);
                        added.push(image);
                        count.images += 1;
                        count.added += 1;
                        self.progress.advance(1);
                    }
                    Err(not_taken) => {
                        let NotTaken {
                            verdict,
                            reason,
                            again,
                        } = not_taken;
                        match verdict {
                            Verdict::Refused => {
                                count.refused += 1;
                                let kind = kind_of(&reason);
                                *self.summary.reasons.entry(kind).or_default() += 1;
                            }
                            Verdict::Failed => {
                                count.failed += 1;
                                self.progress.note(&format!("{url}: {reason}"));
                                failures.push((url.clone(), reason.clone()));
                            }
                        }
                        self.refused.add(&RefusedRow {
                            url,
                            class: class.clone(),
                            verdict,
                            reason,
                            again,
                        })?;
                    }
                }
            }
        }
        let asked_all = feed.failures.is_empty();
        for failure in feed.failures {
            count.failed += 1;
            self.progress
                .note(&format!("{}: {}", failure.item, failure.reason));
            failures.push((failure.item, failure.reason));
        }
        count.offered = feed.offered;
        if (count.images as usize) < self.request.per_class {
            let why = if asked_all {
                "no source offers more"
            } else {
                "not every source could be asked"
            };
            self.progress.note(&format!(
                "class '{class}' has {} of {} images, and {why}",
                count.images, self.request.per_class
            ));
        }
        self.summary.failed += count.failed;
        self.summary.classes.push(count);
        self.images.extend(added.iter().cloned());
        self.keep(added, failures).await
    }

    /// Adds the images of a class, and what failed, to the store.
    async fn keep(&mut self, added: Vec<ManifestImage>, failures: Failures) -> Result<()> {
        let options = &self.request.options;
        if !added.is_empty() {
            let done = ingest_listed(self.store, self.folder.path(), added, options, &NoProgress);
            let done = done.await?;
            self.summary.images_added += done.images_added;
            self.summary.failed += done.failed;
        }
        record_failures(self.store, &options.dataset, &failures).await?;
        write_attribution(&self.folder, &self.images)
    }
}

/// Files below the directory that the manifest does not list, by their name without the ending: a run was stopped after it
/// had written them.
fn files_left(folder: &Folder, images: &[ManifestImage]) -> HashMap<String, PathBuf> {
    let listed: HashSet<PathBuf> = images.iter().map(|image| folder.at(&image.file)).collect();
    let files = walkdir::WalkDir::new(folder.path()).min_depth(2);
    let files = files.into_iter().filter_map(|entry| entry.ok());
    files
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.is_file() && !listed.contains(path))
        .filter(|path| !is_part(path))
        .filter_map(|path| Some((path.file_stem()?.to_str()?.to_owned(), path)))
        .collect()
}

/// Whether a file is one that a run had not finished; it is removed.
fn is_part(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let is_part = name.is_some_and(|name| name.starts_with(PART));
    if is_part {
        let _ = std::fs::remove_file(path);
    }
    is_part
}

/// A photo in the directory.
struct Fetched {
    file: String,
    photo: CheckedPhoto,
    /// Whether this run downloaded it.
    is_new: bool,
}

/// Downloads an image, checks it and writes it into the directory.
async fn fetch(
    http: &Http,
    folder: &Folder,
    left: &HashMap<String, PathBuf>,
    request: &WebRequest,
    offered: &Offered,
) -> Result<Fetched, NotTaken> {
    let candidate = &offered.candidate;
    let checked = request.licences.check(&candidate.licence);
    checked.map_err(NotTaken::refused)?;
    if let Some(kind) = &candidate.not_a_photo {
        let reason = format!("the source says that it is no photo but: {kind}");
        return Err(NotTaken::refused(reason));
    }
    let stem = short_hash(&candidate.url);
    let kept = left.get(&stem).and_then(|path| std::fs::read(path).ok());
    let is_new = kept.is_none();
    let bytes = match kept {
        Some(bytes) => bytes,
        None => {
            let found = http.image(&candidate.url).await;
            found.map_err(|err| NotTaken {
                verdict: Verdict::Failed,
                reason: err.reason,
                again: err.is_temporary,
            })?
        }
    };
    let limits = PhotoLimits {
        min_side: request.min_side,
        max_pixels: request.max_pixels,
    };
    let bytes = Arc::new(bytes);
    let to_check = bytes.clone();
    let failed = |reason: String| NotTaken {
        verdict: Verdict::Failed,
        reason,
        again: false,
    };
    let checked = blocking("checking a photo", move || Ok(limits.check(&to_check))).await;
    let photo = checked.map_err(|err| failed(err.to_string()))?;
    let photo = photo.map_err(|unfit| match unfit {
        Unfit::Unwanted(reason) => NotTaken::refused(reason),
        Unfit::Broken(reason) => failed(reason),
    });
    let photo = match (photo, left.get(&stem)) {
        (Ok(photo), _) => photo,
        (Err(err), path) => {
            if let Some(path) = path {
                let _ = std::fs::remove_file(path);
            }
            return Err(err);
        }
    };
    let file = format!(
        "{}/{stem}.{}",
        folder_name(&offered.word.label),
        photo.extension
    );
    let written = folder.write(&file, &bytes);
    written.map_err(|err| NotTaken {
        again: true,
        ..failed(err.to_string())
    })?;
    Ok(Fetched {
        file,
        photo,
        is_new,
    })
}

/// The manifest's line for an image.
fn listed(offered: &Offered, fetched: &Fetched) -> Value {
    let candidate = &offered.candidate;
    let mut line: Map<String, Value> = Map::new();
    let mut put = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            line.insert(key.to_owned(), json!(value));
        }
    };
    put("file", Some(&fetched.file));
    put("label", Some(&offered.word.label));
    put("class", Some(&offered.word.class));
    put("query", Some(&offered.word.word));
    put("source", Some(offered.source));
    put("url", Some(&candidate.url));
    put("page", candidate.page.as_deref());
    put("title", candidate.title.as_deref());
    put("author", candidate.author.as_deref());
    put(
        "licence",
        Some(candidate.licence.as_str()).filter(|text| !text.is_empty()),
    );
    put("licence_url", candidate.licence_url.as_deref());
    put("collected_at", Some(&Utc::now().to_rfc3339()));
    put(HASH_KEY, Some(&fetched.photo.hash.to_text()));
    Value::Object(line)
}

/// A reason without what differs from image to image.
fn kind_of(reason: &str) -> String {
    for (start, kind) in [
        ("same bytes", "the same bytes are there"),
        ("same picture", "the same picture is there"),
        ("its licence", "licence"),
        ("no licence", "no licence is given"),
        ("the source says", "no photo"),
    ] {
        if reason.starts_with(start) {
            return kind.to_owned();
        }
    }
    if reason.contains("are over") {
        "too large".to_owned()
    } else {
        "too small".to_owned()
    }
}
