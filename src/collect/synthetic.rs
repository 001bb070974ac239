//! `collect synthetic`: images that a generator makes of prompts.
//!
//! The manifest is written first, with a line for every image: prompt, seed, label, file. Then the images are made, and
//! those that are there are added to the store. A run that goes on makes what is missing.

use std::collections::HashMap;
use std::path::PathBuf;

use futures::{StreamExt, stream};
use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::folder::{Folder, folder_name};
use super::generators::{Generator, Prompt};
use super::keep::{Failures, keep_made};
use super::words::SearchWord;
use crate::error::CollectError;
use crate::ingest::{IngestOptions, ManifestImage, read_manifest};
use crate::photo::{self, DecodeLimits};
use crate::progress::Progress;
use crate::store::Store;
use crate::task::blocking;
use crate::{Error, Result};

/// What stands for the word in a template.
const PLACE: &str = "{}";
/// Failures one after the other after which a run ends: the generator is gone.
const MAX_FAILURES: usize = 10;

/// What to make.
#[derive(Debug, Clone)]
pub struct SyntheticRequest {
    /// The words of each class.
    pub words: Vec<Vec<SearchWord>>,
    /// Images of each class, shared by its words.
    pub per_class: usize,
    /// The prompt, with `{}` for the word.
    pub template: String,
    /// Seed that the images' seeds are derived from.
    pub seed: u64,
    /// Directory of the images.
    pub directory: PathBuf,
    /// Data set, purpose and split of the images.
    pub options: IngestOptions,
    /// Images that are made at a time.
    pub parallel: usize,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SyntheticSummary {
    /// Lines of the manifest.
    pub prompts: u64,
    /// Images that this run made.
    pub made: u64,
    /// Images that were there before.
    pub there: u64,
    /// Images that could not be made; each has a row in `failures`.
    pub failed: u64,
    /// Images that were added to the store.
    pub images_added: u64,
}

/// An image to make, and the manifest's line for it.
#[derive(Debug, Clone, PartialEq)]
struct Planned {
    file: String,
    prompt: Prompt,
}

/// The images of a request, class by class.
fn plan_images(request: &SyntheticRequest) -> Result<Vec<Planned>> {
    if !request.template.contains(PLACE) {
        return Err(Error::InvalidOption {
            what: "template",
            value: request.template.clone(),
            expected: "a text with {} where the word goes, such as 'a photo of a {}'".to_owned(),
        });
    }
    let mut planned = Vec::new();
    for words in &request.words {
        for (number, word) in (0..request.per_class).zip(words.iter().cycle()) {
            let text = request.template.replace(PLACE, &word.word);
            let seed = image_seed(request.seed, &text, number);
            planned.push(Planned {
                file: format!("{}/{:04}-{seed}.png", folder_name(&word.label), number + 1),
                prompt: Prompt {
                    text,
                    seed,
                    label: word.label.clone(),
                    class: word.class.clone(),
                },
            });
        }
    }
    Ok(planned)
}

/// The seed of one image: 31 bits that depend on the prompt, so that other classes and more images change no seed.
fn image_seed(seed: u64, prompt: &str, number: usize) -> u32 {
    let digest = Sha256::digest(format!("{seed} {number} {prompt}"));
    let first = digest.iter().take(4);
    first.fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) >> 1
}

/// The manifest's line for an image.
fn line_of(planned: &Planned, generator: Option<&dyn Generator>) -> Map<String, Value> {
    let prompt = &planned.prompt;
    let mut line = generator.map_or_else(Map::new, Generator::settings);
    line.insert("file".to_owned(), json!(planned.file));
    line.insert("label".to_owned(), json!(prompt.label));
    line.insert("class".to_owned(), json!(prompt.class));
    line.insert("prompt".to_owned(), json!(prompt.text));
    line.insert("seed".to_owned(), json!(prompt.seed));
    line.insert(
        "generator".to_owned(),
        json!(generator.map(Generator::name)),
    );
    line
}

/// The manifest of a request: what is planned, and what else was there. A manifest that was made with other options is an
/// error, unless it named no generator yet.
fn plan_manifest(
    planned: &[Planned],
    generator: Option<&dyn Generator>,
    stored: &[ManifestImage],
    folder: &Folder,
) -> Result<String> {
    let by_file: HashMap<&str, &Planned> =
        planned.iter().map(|it| (it.file.as_str(), it)).collect();
    let stored_lines: HashMap<&str, &ManifestImage> =
        stored.iter().map(|it| (it.file.as_str(), it)).collect();
    for image in stored {
        let said = |key: &str| image.attributes.get(key).cloned().unwrap_or_default();
        let wanted = by_file.get(image.file.as_str());
        let differs = wanted.is_none_or(|planned| {
            let is_open = said("generator").is_null() || generator.is_none();
            let kept = ["prompt", "seed"].into_iter().map(str::to_owned);
            let made = line_of(planned, generator);
            let of_generator = generator.map_or_else(Map::new, Generator::settings);
            let of_generator = of_generator.keys().cloned().chain(["generator".to_owned()]);
            let compared = kept.chain(of_generator.filter(|_| !is_open));
            let label = image.labels.first().map(String::as_str);
            label != Some(planned.prompt.label.as_str())
                || compared
                    .into_iter()
                    .any(|key| Some(&said(&key)) != made.get(&key))
        });
        if differs {
            let what = format!("prompt {}, generator {}", said("prompt"), said("generator"));
            return Err(CollectError::OtherManifest {
                path: folder.manifest(),
                line: image.line,
                file: image.file.clone(),
                what,
            }
            .into());
        }
    }
    let mut text = String::new();
    for it in planned {
        let mut line = line_of(it, generator);
        // What is known of an image that was made stays.
        if let (None, Some(stored)) = (generator, stored_lines.get(it.file.as_str())) {
            line.extend(stored.attributes.clone());
        }
        text.push_str(&Value::Object(line).to_string());
        text.push('\n');
    }
    Ok(text)
}

/// Writes the manifest, makes the images that are missing, and adds those that are there to the store. Without a
/// generator, only the manifest is written, and the store may be left out.
///
/// # Errors
/// [`CollectError`] for a generator that cannot work, or a directory that was filled with other options; errors of the
/// store. An image that cannot be made is a row of `failures` instead.
pub async fn collect_synthetic(
    store: Option<&Store>,
    request: &SyntheticRequest,
    generator: Option<&dyn Generator>,
    progress: &dyn Progress,
) -> Result<SyntheticSummary> {
    request.options.validate()?;
    let planned = plan_images(request)?;
    if let Some(generator) = generator {
        let labels: Vec<&str> = planned.iter().map(|it| it.prompt.label.as_str()).collect();
        generator.prepare(&labels).await?;
    }
    let folder = Folder::open(&request.directory)?;
    let stored = if folder.manifest().exists() {
        read_manifest(&folder.manifest())?
    } else {
        Vec::new()
    };
    let text = plan_manifest(&planned, generator, &stored, &folder)?;
    folder.write(super::MANIFEST, text.as_bytes())?;
    let mut summary = SyntheticSummary {
        prompts: planned.len() as u64,
        ..SyntheticSummary::default()
    };
    let (Some(generator), Some(store)) = (generator, store) else {
        return Ok(summary);
    };
    let (there, missing): (Vec<Planned>, Vec<Planned>) = planned
        .into_iter()
        .partition(|it| folder.at(&it.file).is_file());
    summary.there = there.len() as u64;
    progress.start("images", Some(summary.prompts));
    progress.advance(summary.there);
    let made = make(&folder, generator, missing, request, progress).await;
    progress.finish();
    let (made, failures, ended) = made?;
    (summary.made, summary.failed) = (made, failures.len() as u64);
    let added = keep_made(store, &folder, &request.options, &failures, progress).await?;
    summary.images_added = added.images_added;
    summary.failed += added.failed;
    ended.map_or(Ok(summary), Err)
}

/// Makes images, several at a time. The last value is the error that ended the run early.
async fn make(
    folder: &Folder,
    generator: &dyn Generator,
    missing: Vec<Planned>,
    request: &SyntheticRequest,
    progress: &dyn Progress,
) -> Result<(u64, Failures, Option<Error>)> {
    let (mut made, mut failures) = (0, Vec::new());
    let mut in_a_row = 0;
    let all = stream::iter(missing).map(|planned| async {
        let found = make_one(generator, &planned.prompt).await;
        (planned, found)
    });
    let mut all = all.buffer_unordered(request.parallel.max(1));
    while let Some((planned, found)) = all.next().await {
        match found {
            Ok(bytes) => {
                folder.write(&planned.file, &bytes)?;
                (made, in_a_row) = (made + 1, 0);
            }
            Err(err) => {
                progress.note(&format!("{}: {err}", planned.file));
                failures.push((planned.file, err.to_string()));
                in_a_row += 1;
                if in_a_row == MAX_FAILURES {
                    return Ok((made, failures, Some(err)));
                }
            }
        }
        progress.advance(1);
    }
    Ok((made, failures, None))
}

async fn make_one(generator: &dyn Generator, prompt: &Prompt) -> Result<Vec<u8>> {
    let bytes = generator.generate(prompt).await?;
    blocking("checking an image", move || {
        photo::decode(&bytes, &DecodeLimits::default())?;
        Ok(bytes)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(per_class: usize) -> SyntheticRequest {
        let word = |class: &str, word: &str| SearchWord {
            class: class.to_owned(),
            word: word.to_owned(),
            label: word.to_owned(),
        };
        SyntheticRequest {
            words: vec![
                vec![word("pet", "cat"), word("pet", "dog")],
                vec![word("person", "person")],
            ],
            per_class,
            template: "a photo of a {}".to_owned(),
            seed: 0,
            directory: PathBuf::new(),
            options: IngestOptions::default(),
            parallel: 1,
        }
    }

    #[test]
    fn more_images_and_other_classes_change_no_seed() {
        let (few, many) = (plan_images(&request(3)), plan_images(&request(5)));
        let (few, many) = (few.unwrap(), many.unwrap());
        assert_eq!((few.len(), many.len()), (6, 10));
        assert!(few.iter().all(|it| many.contains(it)));
        let texts: Vec<&str> = few.iter().map(|it| it.prompt.text.as_str()).collect();
        assert_eq!(texts[..2], ["a photo of a cat", "a photo of a dog"]);
        let mut seeds: Vec<u32> = many.iter().map(|it| it.prompt.seed).collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 10);
        let mut other = request(3);
        other.template = "a cat".to_owned();
        assert!(plan_images(&other).is_err());
    }
}
