//! `grainstore collect`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use grainstore::classes::{Class, ClassSet, parse_class_file};
use grainstore::collect::{
    Automatic1111, CommandGenerator, Commons, Generator, HttpOptions, ImageSource, Licences,
    MANIFEST, MosaicRequest, Offer, OfferCount, Openverse, SceneDrawer, SearchWord,
    SyntheticRequest, UrlList, WebRequest, WebSummary, collect_mosaics, collect_synthetic,
    collect_web, offers, search_words,
};
#[cfg(feature = "diffusion")]
use grainstore::collect::{DiffusionOptions, StableDiffusion};
use grainstore::ingest::{IngestOptions, Source};
use grainstore::selection::ImageFilter;
use serde_json::{Map, Value, json};

use super::ingest::directory_name;
use super::progress::progress;
use super::{Ended, Global, plural, print_json, print_json_summary};

/// Collect training images from words: from the web, from a generator, or from images of the store.
///
/// Images are written into a directory, with a manifest that says where each comes from, and added to the store with their
/// labels. Run a command again to go on after it was stopped: nothing is downloaded or made twice.
#[derive(Debug, Subcommand)]
pub enum Args {
    Web(Box<WebArgs>),
    Synthetic(Box<SyntheticArgs>),
    Mosaic(MosaicArgs),
}

/// Photos from Openverse, Wikimedia Commons or a list of URLs, about 45 for each class.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore collect web --classes pets.toml --contact you@example.org -o web/
  grainstore collect web --classes pets --per-class 100 --source commons --licence cc0,by -o web/
  grainstore collect web --classes pets --urls list.csv -o web/
  grainstore collect web --classes pets.toml --dry-run

In a class file, 'search' gives the words of a class; without it, its name or its labels are searched:
  [[class]]
  name = \"tvmonitor\"
  search = [\"television\", \"computer monitor\"]

Licences, authors and pages are in DIR/ATTRIBUTION.csv and in images.attributes; what was not taken is
in DIR/refused.jsonl. A list of URLs is CSV or JSON lines with url, label, licence.")]
pub struct WebArgs {
    #[command(flatten)]
    classes: ClassArgs,
    /// Images of each class.
    #[arg(long, value_name = "N", default_value_t = 45)]
    per_class: usize,
    /// Directory of the images.
    #[arg(
        short,
        long = "out",
        value_name = "DIR",
        required_unless_present = "dry_run"
    )]
    out: Option<PathBuf>,
    /// Where to search; may be given more than once [default: both, or none with --urls].
    #[arg(long, value_name = "SOURCE")]
    source: Vec<SourceName>,
    /// A file of URLs: .jsonl, or CSV with the columns url, label, licence.
    #[arg(long, value_name = "FILE")]
    urls: Option<PathBuf>,
    /// Licences that images may have, with commas between them: cc0, pdm, by, by-sa, by-nc, by-nd, by-nc-sa, by-nc-nd; or any.
    #[arg(
        long,
        alias = "license",
        value_name = "LIST",
        default_value = "cc0,pdm,by,by-sa"
    )]
    licence: Licences,
    /// An e-mail address or a page for the people who run the servers; Wikimedia asks for one.
    #[arg(long, value_name = "TEXT")]
    contact: Option<String>,
    /// Only ask how many images each source has; download nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    images: ImageArgs,
    /// Downloads at a time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = at_least_one)]
    parallel: usize,
    /// Requests to one host at a time.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = at_least_one)]
    per_host: usize,
    /// Seconds between the beginnings of two requests to one host.
    #[arg(long, value_name = "SECONDS", default_value = "0.1", value_parser = pause)]
    pause: Duration,
    /// Seconds that one request may take.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    timeout: Duration,
    /// Limit on the size of a file, in megabytes.
    #[arg(long, value_name = "MB", default_value_t = 30)]
    max_megabytes: u64,
    /// Least length of a photo's shorter side, in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = 256)]
    min_side: u32,
    /// A server inside your own network that may be asked; may be given more than once.
    #[arg(long, value_name = "HOST:PORT")]
    allow_private: Vec<String>,
    /// Address of Openverse's API.
    #[arg(long, value_name = "URL", default_value = Openverse::URL)]
    openverse_url: String,
    /// Address of the MediaWiki API of Commons, or of another wiki.
    #[arg(long, value_name = "URL", default_value = Commons::URL)]
    commons_url: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SourceName {
    Openverse,
    Commons,
}

/// Images that a generator makes of prompts, 200 for each class.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore collect synthetic --classes pets.toml --url http://127.0.0.1:7860 -o made/
  grainstore collect synthetic --classes pets --command 'my-generator --prompt {prompt} --seed {seed} --out {out}' -o made/
  grainstore collect synthetic --classes pets --manifest-only -o made/     # then make the files with any tool, and
  grainstore ingest images made/ --manifest made/manifest.jsonl --source synthetic
  grainstore collect synthetic --classes pets --checkpoint sd-turbo/ --steps 1 --guidance 0 -o made/   # feature diffusion
  grainstore collect synthetic --classes kinds.toml --scenes --per-class 30 -o made/

--url takes a server with AUTOMATIC1111's API (Forge and SD.Next have it, too), started with --api. In --command,
{prompt}, {seed}, {label}, {class} and {out} are replaced; no shell sees the line.")]
#[command(group(clap::ArgGroup::new("generator").required(true)))]
pub struct SyntheticArgs {
    #[command(flatten)]
    classes: ClassArgs,
    /// Images of each class.
    #[arg(long, value_name = "N", default_value_t = 200)]
    per_class: usize,
    /// Directory of the images.
    #[arg(short, long = "out", value_name = "DIR")]
    out: PathBuf,
    /// The prompt, with {} for the word.
    #[arg(long, value_name = "TEXT", default_value = "a photo of a {}")]
    template: String,
    /// Seed that the seeds of the images are derived from.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Only write DIR/manifest.jsonl: a line per image with file, label, prompt and seed.
    #[arg(long, group = "generator")]
    manifest_only: bool,
    /// A running Stable Diffusion server.
    #[arg(long, value_name = "URL", group = "generator")]
    url: Option<String>,
    /// A program that makes one image.
    #[arg(long, value_name = "LINE", group = "generator")]
    command: Option<String>,
    /// A folder of Stable Diffusion v1, 2 or SD-Turbo as diffusers writes it, run by this program; needs a build with
    /// --features diffusion.
    #[arg(long, value_name = "DIR", group = "generator")]
    checkpoint: Option<PathBuf>,
    /// Draw the demo's scenes: photos of one ball, crate, donut, leaf, starfish or tent.
    #[arg(long, group = "generator")]
    scenes: bool,
    #[command(flatten)]
    images: ImageArgs,
    /// Images that are made at a time.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = at_least_one)]
    parallel: usize,
    /// Seconds that one image may take.
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    timeout: Duration,
    /// With --url or --checkpoint: what images shall not show.
    #[arg(long, value_name = "TEXT", conflicts_with_all = NO_MODEL)]
    negative_prompt: Option<String>,
    /// With --url or --checkpoint: steps of the sampler [default: the server's; with --checkpoint 50].
    #[arg(long, value_name = "N", conflicts_with_all = NO_MODEL)]
    steps: Option<u32>,
    /// With --url or --checkpoint: how closely images follow the prompt (cfg_scale) [default: the server's; with
    /// --checkpoint 7.5, and 0 for SD-Turbo].
    #[arg(long, value_name = "NUMBER", conflicts_with_all = NO_MODEL)]
    guidance: Option<f64>,
    /// With --url: the sampler's name [default: the server's].
    #[arg(long, value_name = "NAME", requires = "url")]
    sampler: Option<String>,
    /// With --url or --checkpoint: width of the images, in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = 512)]
    width: u32,
    /// With --url or --checkpoint: height of the images, in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = 512)]
    height: u32,
    /// With --checkpoint: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
}

/// Generators without options of a model.
const NO_MODEL: [&str; 3] = ["manifest_only", "command", "scenes"];

/// Images of 2 x 2 labelled images of the store, with all their labels.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore collect mosaic --count 200 --where \"source = 'synthetic'\" -o mosaics/
  grainstore collect mosaic --count 100 --side 320 --split train -o mosaics/")]
pub struct MosaicArgs {
    /// Number of mosaics.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    count: usize,
    /// Directory of the mosaics.
    #[arg(short, long = "out", value_name = "DIR")]
    out: PathBuf,
    /// Take images that satisfy this condition over the columns of images [default: those that are not targets].
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Side of each of the four images, in pixels.
    #[arg(long, value_name = "PIXELS", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..=4096))]
    side: u32,
    /// Seed of the choice.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    images: ImageArgs,
}

#[derive(Debug, clap::Args)]
struct ClassArgs {
    /// The classes: a class set of the store, or a .toml or .csv file of classes.
    #[arg(long, value_name = "SET|FILE")]
    classes: String,
}

#[derive(Debug, clap::Args)]
struct ImageArgs {
    /// Name of the data set [default: the directory's name].
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Split of the images.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if n > 0 => Ok(n),
        _ => Err("expected a number of at least 1".to_owned()),
    }
}

fn pause(text: &str) -> Result<Duration, String> {
    let time = text.parse().ok();
    let time = time.and_then(|it| Duration::try_from_secs_f64(it).ok());
    time.ok_or_else(|| "expected a number of seconds".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|it: &f64| *it > 0.0);
    let time = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
    time.ok_or_else(|| "expected a number of seconds above 0".to_owned())
}

impl ImageArgs {
    fn options(&self, directory: &Path, source: Source) -> anyhow::Result<IngestOptions> {
        let dataset = match &self.dataset {
            Some(name) => name.clone(),
            None => {
                std::fs::create_dir_all(directory)?;
                directory_name(directory)?
            }
        };
        Ok(IngestOptions {
            source,
            split: self.split.clone(),
            ..IngestOptions::of_dataset(dataset)
        })
    }
}

impl ClassArgs {
    /// The words of each class.
    async fn words(&self, global: &Global) -> anyhow::Result<Vec<Vec<SearchWord>>> {
        let path = Path::new(&self.classes);
        let is_file = path
            .extension()
            .is_some_and(|it| it == "toml" || it == "csv");
        let classes: Vec<Class> = if is_file {
            ClassSet::new("classes", parse_class_file(path)?)?.classes
        } else {
            let store = super::open(global).await.with_context(|| {
                format!(
                    "'{}' is no .toml or .csv file, so it must be a class set of the store",
                    self.classes
                )
            })?;
            ClassSet::load(&store.snapshot().await?, &self.classes)
                .await?
                .classes
        };
        Ok(search_words(&classes)?)
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    match args {
        Args::Web(args) => web(*args, global).await,
        Args::Synthetic(args) => synthetic(*args, global).await,
        Args::Mosaic(args) => mosaic(args, global).await,
    }
}

async fn web(args: WebArgs, global: &Global) -> anyhow::Result<Ended> {
    let words = args.classes.words(global).await?;
    let sources = sources(&args, &words, global)?;
    let directory = args.out.clone().unwrap_or_default();
    let options = if args.dry_run {
        IngestOptions::default()
    } else {
        args.images.options(&directory, Source::Web)?
    };
    let request = WebRequest {
        per_class: args.per_class,
        licences: args.licence,
        http: HttpOptions {
            contact: args.contact,
            max_bytes: args.max_megabytes.saturating_mul(1_000_000),
            per_host: args.per_host,
            pause: args.pause,
            timeout: args.timeout,
            private_hosts: args.allow_private,
        },
        parallel: args.parallel,
        min_side: args.min_side,
        ..WebRequest::new(words, directory, options)
    };
    if args.dry_run {
        let found = offers(&request, &sources).await?;
        let failed = found
            .iter()
            .filter(|it| matches!(it.count, OfferCount::Error(_)));
        let failed = failed.count() as u64;
        if global.json {
            print_json(&found)?;
        } else {
            print_offers(&found)?;
        }
        return Ok(Ended::with_failures(failed));
    }
    let store = super::open_or_create(global).await?;
    let started = Instant::now();
    let progress = progress(global);
    let summary = collect_web(&store, &request, &sources, progress.as_ref()).await?;
    if global.json {
        print_json_summary(&summary, started.elapsed().as_secs_f64())?;
    } else if !global.quiet {
        report_web(&summary, &request, started.elapsed().as_secs_f64());
    }
    Ok(Ended::with_failures(summary.failed))
}

fn sources(
    args: &WebArgs,
    words: &[Vec<SearchWord>],
    global: &Global,
) -> anyhow::Result<Vec<Box<dyn ImageSource>>> {
    let mut sources: Vec<Box<dyn ImageSource>> = Vec::new();
    if let Some(path) = &args.urls {
        let list = UrlList::read(path)?;
        let unused = list.unused_labels(words);
        if !unused.is_empty() && !global.quiet {
            let shown: Vec<String> = unused
                .iter()
                .take(8)
                .map(|(label, rows)| format!("'{label}' ({rows})"))
                .collect();
            let more = if unused.len() > 8 { ", ..." } else { "" };
            errln!(
                "'{}': rows with labels of no class are left out: {}{more}",
                path.display(),
                shown.join(", ")
            );
        }
        sources.push(Box::new(list));
    }
    let is_wanted =
        |name| args.source.contains(&name) || (args.source.is_empty() && args.urls.is_none());
    if is_wanted(SourceName::Openverse) {
        sources.push(Box::new(Openverse::at(&args.openverse_url)?));
    }
    if is_wanted(SourceName::Commons) {
        sources.push(Box::new(Commons::at(&args.commons_url)?));
        if args.contact.is_none() && !global.quiet {
            errln!("Wikimedia asks for a way to reach you: --contact you@example.org");
        }
    }
    Ok(sources)
}

fn print_offers(found: &[Offer]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0).max(5);
    let class = width(&mut found.iter().map(|it| it.class.chars().count()));
    let word = width(&mut found.iter().map(|it| it.word.chars().count()));
    writeln!(
        out,
        "{:class$}  {:word$}  source     offered",
        "class", "word"
    )?;
    for it in found {
        let count = match &it.count {
            OfferCount::Images(images) => images.to_string(),
            OfferCount::Error(reason) => reason.clone(),
        };
        writeln!(
            out,
            "{:class$}  {:word$}  {:9}  {count}",
            it.class, it.word, it.source
        )?;
    }
    Ok(())
}

fn report_web(summary: &WebSummary, request: &WebRequest, seconds: f64) {
    for it in &summary.classes {
        let tried = if it.refused + it.failed > 0 {
            format!(", {} refused, {} failed", it.refused, it.failed)
        } else {
            String::new()
        };
        errln!(
            "{}: {} of {} images ({} new{tried})",
            it.class,
            it.images,
            request.per_class,
            it.added
        );
    }
    errln!(
        "added {} to the store; {} downloaded in {seconds:.1} s",
        plural(summary.images_added, "image"),
        plural(summary.downloaded, "file")
    );
    if !summary.reasons.is_empty() {
        let reasons = summary.reasons.iter();
        let reasons: Vec<String> = reasons.map(|(why, n)| format!("{why}: {n}")).collect();
        errln!(
            "refused: {}; '{}' has each",
            reasons.join(", "),
            request.directory.join("refused.jsonl").display()
        );
    }
    if summary.failed > 0 {
        errln!(
            "{} failed; 'grainstore query failures' says which and why. Run the command again to try what may work later",
            plural(summary.failed, "item")
        );
    }
    errln!(
        "whose the images are: '{}'",
        request.directory.join("ATTRIBUTION.csv").display()
    );
}

async fn synthetic(args: SyntheticArgs, global: &Global) -> anyhow::Result<Ended> {
    let words = args.classes.words(global).await?;
    let generator = generator(&args)?;
    let options = args.images.options(&args.out, Source::Synthetic)?;
    let request = SyntheticRequest {
        words,
        per_class: args.per_class,
        template: args.template,
        seed: args.seed,
        directory: args.out.clone(),
        options,
        parallel: args.parallel,
    };
    let store = match &generator {
        Some(_) => Some(super::open_or_create(global).await?),
        None => None,
    };
    let started = Instant::now();
    let progress = progress(global);
    let generator = generator.as_deref();
    let done = collect_synthetic(store.as_ref(), &request, generator, progress.as_ref());
    let summary = done.await?;
    let seconds = started.elapsed().as_secs_f64();
    let manifest = args.out.join(MANIFEST);
    if global.json {
        print_json_summary(&summary, seconds)?;
    } else if generator.is_none() {
        outln!(
            "{} in '{}'; when the files are there, add them with\n  grainstore ingest images {} --manifest {} --source synthetic",
            plural(summary.prompts, "prompt"),
            manifest.display(),
            args.out.display(),
            manifest.display()
        );
    } else if !global.quiet {
        errln!(
            "made {} in {seconds:.1} s, {} were there; added {} to the store",
            plural(summary.made, "image"),
            summary.there,
            plural(summary.images_added, "image")
        );
        if summary.failed > 0 {
            errln!(
                "{} failed; 'grainstore query failures' says which and why. Run the command again to try once more",
                plural(summary.failed, "image")
            );
        }
    }
    Ok(Ended::with_failures(summary.failed))
}

fn generator(args: &SyntheticArgs) -> anyhow::Result<Option<Box<dyn Generator>>> {
    if args.manifest_only {
        return Ok(None);
    }
    if let Some(url) = &args.url {
        let mut options: Map<String, Value> = Map::new();
        options.insert("width".to_owned(), json!(args.width));
        options.insert("height".to_owned(), json!(args.height));
        let given = [
            (
                "negative_prompt",
                args.negative_prompt.as_ref().map(|it| json!(it)),
            ),
            ("steps", args.steps.map(|it| json!(it))),
            ("cfg_scale", args.guidance.map(|it| json!(it))),
            ("sampler_name", args.sampler.as_ref().map(|it| json!(it))),
        ];
        for (key, value) in given {
            options.extend(value.map(|value| (key.to_owned(), value)));
        }
        return Ok(Some(Box::new(Automatic1111::at(
            url,
            options,
            args.timeout,
        )?)));
    }
    if let Some(folder) = &args.checkpoint {
        return Ok(Some(diffusion(args, folder)?));
    }
    if let Some(line) = &args.command {
        return Ok(Some(Box::new(CommandGenerator::new(line, args.timeout)?)));
    }
    if args.scenes {
        return Ok(Some(Box::new(SceneDrawer)));
    }
    bail!("name a generator: --url, --checkpoint, --command, --scenes or --manifest-only")
}

#[cfg(feature = "diffusion")]
fn diffusion(args: &SyntheticArgs, folder: &Path) -> anyhow::Result<Box<dyn Generator>> {
    let defaults = DiffusionOptions::default();
    let options = DiffusionOptions {
        steps: args.steps.map_or(defaults.steps, |steps| steps as usize),
        guidance: args.guidance.unwrap_or(defaults.guidance),
        negative_prompt: args.negative_prompt.clone().unwrap_or_default(),
        width: args.width as usize,
        height: args.height as usize,
        device: args.device.clone(),
    };
    Ok(Box::new(StableDiffusion::load(folder, options)?))
}

#[cfg(not(feature = "diffusion"))]
fn diffusion(args: &SyntheticArgs, folder: &Path) -> anyhow::Result<Box<dyn Generator>> {
    bail!(
        "this program cannot run the model in '{}' on '{}'; build it with --features diffusion, or give --url or --command",
        folder.display(),
        args.device
    )
}

async fn mosaic(args: MosaicArgs, global: &Global) -> anyhow::Result<Ended> {
    let options = args.images.options(&args.out, Source::Synthetic)?;
    let condition = args.condition.as_deref().unwrap_or("source <> 'target'");
    let request = MosaicRequest {
        filter: ImageFilter::matching(condition),
        count: args.count,
        side: args.side,
        seed: args.seed,
        directory: args.out,
        options,
    };
    let store = super::open(global).await?;
    let started = Instant::now();
    let progress = progress(global);
    let summary = collect_mosaics(&store, &request, progress.as_ref()).await?;
    let seconds = started.elapsed().as_secs_f64();
    if global.json {
        print_json_summary(&summary, seconds)?;
    } else if !global.quiet {
        errln!(
            "made {} of {} in {seconds:.1} s, {} were there; added {} to the store",
            plural(summary.made, "mosaic"),
            plural(summary.tiles, "labelled image"),
            summary.there,
            plural(summary.images_added, "image")
        );
        if summary.failed > 0 {
            errln!(
                "{} failed; 'grainstore query failures' says which and why",
                plural(summary.failed, "mosaic")
            );
        }
    }
    Ok(Ended::with_failures(summary.failed))
}
