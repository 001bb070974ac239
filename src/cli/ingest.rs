//! `grainstore ingest`

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Subcommand;
use grainstore::ingest::CocoIngest;
use grainstore::ingest::CvatIngest;
use grainstore::ingest::FolderIngest;
use grainstore::ingest::LabelMapIngest;
use grainstore::ingest::LabelStudioIngest;
use grainstore::ingest::Outlines;
use grainstore::ingest::VocIngest;
use grainstore::ingest::YoloIngest;
use grainstore::ingest::{
    ClassValues, DEFAULT_COMMIT_ROWS, IngestOptions, IngestSummary, LabelSource, Source,
    VOC_CLASSES, ingest_coco, ingest_cvat, ingest_folder, ingest_label_maps, ingest_label_studio,
    ingest_voc, ingest_yolo, read_class_names,
};
use grainstore::store::Location;

use super::progress::progress;
use super::{Ended, Global, plural, print_json_summary};

/// Add images, labels and annotations to the store. Image files stay where they are and are not copied.
///
/// Ingesting the same files again changes nothing. Files that cannot be used are recorded in table 'failures', and the
/// run continues.
#[derive(Debug, Subcommand)]
pub enum Args {
    Images(ImagesArgs),
    Coco(CocoArgs),
    Voc(VocArgs),
    Yolo(YoloArgs),
    Cvat(CvatArgs),
    LabelStudio(LabelStudioArgs),
    LabelMaps(LabelMapsArgs),
}

/// A directory of photos, with labels from folders, from a CSV file, from a manifest, or without labels.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore ingest images web/                    # web/cat/1.jpg gets label 'cat'
  grainstore ingest images flat/ --labels labels.csv --source synthetic
  grainstore ingest images made/ --manifest made/manifest.jsonl --source synthetic
  grainstore ingest images s3://bucket/web/ --dataset web   # in a build with the feature 'aws'
  grainstore ingest images holiday/ --no-labels --split val")]
pub struct ImagesArgs {
    /// Directory, or prefix of a bucket, to search, including everything below it.
    directory: PathBuf,
    /// CSV file with columns 'file' (relative to DIRECTORY) and 'label', with one row per label.
    #[arg(long, value_name = "FILE", conflicts_with = "no_labels")]
    labels: Option<PathBuf>,
    /// File of JSON lines with 'file' (relative to DIRECTORY), 'label' or 'labels', and whatever else is to go into
    /// images.attributes, such as a prompt. Only files that it names are taken.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["labels", "no_labels"])]
    manifest: Option<PathBuf>,
    /// Do not use folder names as labels.
    #[arg(long)]
    no_labels: bool,
    /// Purpose of the images: web or synthetic (to train heads on), target (to annotate) [default: web, with
    /// --no-labels target].
    #[arg(long)]
    source: Option<Source>,
    /// Name of the data set [default: the directory's name].
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    #[command(flatten)]
    common: Common,
}

/// COCO JSON with its images: polygons, RLE, crowds; ids and categories are kept.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  grainstore ingest coco --annotations instances_val2017.json --images val2017/ --split val")]
pub struct CocoArgs {
    /// The annotation file; it and the images may be in a bucket.
    #[arg(long, value_name = "FILE")]
    annotations: PathBuf,
    /// The directory that its file names are relative to.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Purpose of the images: web, synthetic or target.
    #[arg(long, default_value = "target")]
    source: Source,
    /// Name of the data set, and of the class set created from its categories.
    #[arg(long, value_name = "NAME", default_value = "coco")]
    dataset: String,
    #[command(flatten)]
    common: Common,
}

/// A PASCAL VOC directory: JPEGImages, SegmentationClass, SegmentationObject, ImageSets.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  grainstore ingest voc VOCdevkit/VOC2012 --split val")]
pub struct VocArgs {
    /// The directory that holds JPEGImages.
    directory: PathBuf,
    /// File with names of the label maps' indices 1, 2, ..., one per line [default: VOC's 20 classes].
    #[arg(long, value_name = "FILE")]
    class_names: Option<PathBuf>,
    /// Purpose of the images: web, synthetic or target.
    #[arg(long, default_value = "target")]
    source: Source,
    /// Name of the data set, and of the class set created from its classes.
    #[arg(long, value_name = "NAME", default_value = "voc")]
    dataset: String,
    #[command(flatten)]
    common: Common,
}

/// A directory of Ultralytics' YOLO: data.yaml, images and labels, outlines or boxes.
///
/// Without --split, every split is read that data.yaml names. A photo without a file of labels shows none of the classes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore ingest yolo coco8-seg/ --dataset coco8
  grainstore ingest yolo crops.yaml --split val --dataset crops
  grainstore ingest yolo predicted/ --outlines pixels --dataset predicted   # what Ultralytics wrote (save_txt)")]
pub struct YoloArgs {
    /// The file data.yaml, or the directory that holds it.
    data: PathBuf,
    /// Where outlines run: edges (between pixels, as COCO's polygons) or pixels (through the outer pixels, as Ultralytics and
    /// OpenCV write them; no line is a box then).
    #[arg(long, default_value = "edges", value_enum, value_name = "WHERE")]
    outlines: OutlinesChoice,
    /// Purpose of the images: web, synthetic or target.
    #[arg(long, default_value = "target")]
    source: Source,
    /// Name of the data set, and of the class set created from its classes.
    #[arg(long, value_name = "NAME", default_value = "yolo")]
    dataset: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum OutlinesChoice {
    Edges,
    Pixels,
}

/// CVAT for images 1.1: annotations.xml and photos, unpacked; masks, polygons, boxes, ellipses, tags and attributes.
///
/// Without --split, images have the subset that the file gives them. Shapes of one label that share a group are one object.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore ingest cvat task_7/ --dataset reviewed
  grainstore ingest cvat annotations.xml --images photos/ --dataset reviewed
  grainstore label ground-truth --dataset reviewed     # its objects as labels of the masks that they cover")]
pub struct CvatArgs {
    /// The file annotations.xml, or the directory that holds it.
    annotations: PathBuf,
    /// The directory of the photos [default: the folder 'images' beside the file, or else the file's own].
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Purpose of the images: web, synthetic or target.
    #[arg(long, default_value = "target")]
    source: Source,
    /// Name of the data set, and of the class set created from its labels.
    #[arg(long, value_name = "NAME", default_value = "cvat")]
    dataset: String,
    #[command(flatten)]
    common: Common,
}

/// Label Studio's export 'JSON': brush masks, polygons, rectangles, ellipses and choices of tasks with images.
///
/// The photos of tasks are looked up by the ends of their addresses. Of several annotations of a task, one that is marked as ground
/// truth or else the newest is read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore ingest label-studio project-1.json --images photos/ --dataset reviewed
  grainstore ingest label-studio project-1.json --images photos/ --annotator anna@example.org --dataset anna
  grainstore label ground-truth --dataset reviewed     # its objects as labels of the masks that they cover")]
pub struct LabelStudioArgs {
    /// The file that Label Studio exported.
    tasks: PathBuf,
    /// The directory of the photos.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// Key of the photo's address in the data of a task [default: image, or the only text].
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// Read the annotations of this person, by e-mail or number, or with --predictions those of this version.
    #[arg(long, value_name = "NAME")]
    annotator: Option<String>,
    /// Read predictions instead of annotations.
    #[arg(long)]
    predictions: bool,
    /// Purpose of the images: web, synthetic or target.
    #[arg(long, default_value = "target")]
    source: Source,
    /// Name of the data set, and of the class set created from its labels.
    #[arg(long, value_name = "NAME", default_value = "label-studio")]
    dataset: String,
    #[command(flatten)]
    common: Common,
}

/// Label maps: photos, and PNGs or TIFFs whose values are classes (ADE20K) or classes and objects (Cityscapes).
///
/// A map has the folders and the name of its photo, but for what --image-suffix and --map-suffix say. 0 is background, unless a class has
/// it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore ingest label-maps --images images/validation --maps annotations/validation --classes objectInfo150.txt --dataset ade20k
  grainstore ingest label-maps --images leftImg8bit/val --image-suffix _leftImg8bit --maps gtFine/val \\
      --map-suffix _gtFine_instanceIds --classes cityscapes.csv --objects --void 0,1,2,3,4,5,6 --dataset cityscapes

cityscapes.csv:
  7,road
  24,person")]
pub struct LabelMapsArgs {
    /// The directory of the photos.
    #[arg(long, value_name = "DIR")]
    images: PathBuf,
    /// The directory of the maps.
    #[arg(long, value_name = "DIR")]
    maps: PathBuf,
    /// File of the classes: VALUE,NAME a line, or a name a line for 1, 2, ...
    #[arg(long, value_name = "FILE")]
    classes: PathBuf,
    /// Values are class x 1000 + object; values below 1000 are classes.
    #[arg(long)]
    objects: bool,
    /// Values of pixels that no metric counts [default: 255 and 65535, unless classes have them].
    #[arg(long, value_name = "VALUES", value_delimiter = ',')]
    void: Option<Vec<u32>>,
    /// What names of photos have before their ending, and names of maps have not.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    image_suffix: String,
    /// What names of maps have before their ending, and names of photos have not.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    map_suffix: String,
    /// Purpose of the images: web, synthetic or target.
    #[arg(long, default_value = "target")]
    source: Source,
    /// Name of the data set, and of the class set created from its classes.
    #[arg(long, value_name = "NAME", default_value = "label-maps")]
    dataset: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
struct Common {
    /// Split of the images: train, val, ...; for YOLO and VOC, which needs it, the one to read; for CVAT, in place of its subsets.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Decode every image instead of only its header; slower, but finds damaged pixel data.
    #[arg(long)]
    verify: bool,
    /// Commit after this many rows of images and annotations, or after 5 seconds.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_COMMIT_ROWS, value_parser = commit_rows)]
    commit_rows: usize,
}

fn commit_rows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rows) if (1..=1_000_000).contains(&rows) => Ok(rows),
        _ => Err("expected a number from 1 to 1000000".to_owned()),
    }
}

impl Common {
    fn options(self, dataset: String, source: Source) -> IngestOptions {
        IngestOptions {
            dataset,
            source,
            split: self.split,
            verify_pixels: self.verify,
            commit_rows: self.commit_rows,
        }
    }
}

/// Fails before a store is created if there is nothing to ingest; what is in a bucket is found missing later.
fn check_inputs(args: &Args) -> anyhow::Result<()> {
    let directory = |path: &Path| {
        if is_in_bucket(path) {
            return Ok(());
        }
        let listed = std::fs::read_dir(path).map(drop);
        listed.with_context(|| format!("cannot open directory '{}'", path.display()))
    };
    let file = |path: &Path| {
        if is_in_bucket(path) {
            return Ok(());
        }
        let opened = std::fs::File::open(path).map(drop);
        opened.with_context(|| format!("cannot open '{}'", path.display()))
    };
    match args {
        Args::Images(args) => {
            directory(&args.directory)?;
            args.labels.as_deref().map_or(Ok(()), file)?;
            args.manifest.as_deref().map_or(Ok(()), file)
        }
        Args::Coco(args) => directory(&args.images).and_then(|()| file(&args.annotations)),
        Args::Voc(args) => directory(&args.directory.join("JPEGImages"))
            .context("a PASCAL VOC directory has its photos in JPEGImages; 'export voc --copy-images' writes them"),
        Args::Yolo(args) if args.data.is_dir() => file(&args.data.join("data.yaml"))
            .context("name the YAML file that describes the data set, if it is elsewhere"),
        Args::Yolo(args) => file(&args.data),
        Args::LabelMaps(args) => {
            directory(&args.images)?;
            directory(&args.maps)?;
            file(&args.classes)
        }
        Args::LabelStudio(args) => directory(&args.images).and_then(|()| file(&args.tasks)),
        Args::Cvat(args) => {
            args.images.as_deref().map_or(Ok(()), directory)?;
            if args.annotations.is_dir() {
                file(&args.annotations.join("annotations.xml"))
            } else {
                file(&args.annotations)
            }
        }
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    check_inputs(&args)?;
    let store = super::open_or_create(global).await?;
    let progress = progress(global);
    let started = Instant::now();
    let summary = match args {
        Args::Images(args) => {
            let dataset = match args.dataset {
                Some(name) => name,
                None => directory_name(&args.directory)?,
            };
            let labels = match (args.labels, args.manifest) {
                (Some(file), _) => LabelSource::File(file),
                (None, Some(file)) => LabelSource::Manifest(file),
                (None, None) if args.no_labels => LabelSource::Unlabelled,
                (None, None) => LabelSource::Folders,
            };
            let source = args.source.unwrap_or(match labels {
                LabelSource::Unlabelled => Source::Target,
                _ => Source::Web,
            });
            let options = args.common.options(dataset, source);
            ingest_folder(
                &store,
                &FolderIngest {
                    directory: args.directory,
                    labels,
                    options,
                },
                progress.as_ref(),
            )
            .await
        }
        Args::Coco(args) => {
            let options = args.common.options(args.dataset, args.source);
            ingest_coco(
                &store,
                &CocoIngest {
                    annotations: args.annotations,
                    images: args.images,
                    options,
                },
                progress.as_ref(),
            )
            .await
        }
        Args::Voc(args) => {
            let class_names = match &args.class_names {
                Some(file) => read_class_names(file)?,
                None => VOC_CLASSES.map(str::to_owned).to_vec(),
            };
            let options = args.common.options(args.dataset, args.source);
            ingest_voc(
                &store,
                &VocIngest {
                    directory: args.directory,
                    class_names,
                    options,
                },
                progress.as_ref(),
            )
            .await
        }
        Args::Yolo(args) => {
            let options = args.common.options(args.dataset, args.source);
            ingest_yolo(
                &store,
                &YoloIngest {
                    data: args.data,
                    outlines: match args.outlines {
                        OutlinesChoice::Edges => Outlines::Edges,
                        OutlinesChoice::Pixels => Outlines::Pixels,
                    },
                    options,
                },
                progress.as_ref(),
            )
            .await
        }
        Args::Cvat(args) => {
            let options = args.common.options(args.dataset, args.source);
            ingest_cvat(
                &store,
                &CvatIngest {
                    annotations: args.annotations,
                    images: args.images,
                    options,
                },
                progress.as_ref(),
            )
            .await
        }
        Args::LabelStudio(args) => {
            let options = args.common.options(args.dataset, args.source);
            ingest_label_studio(
                &store,
                &LabelStudioIngest {
                    tasks: args.tasks,
                    images: args.images,
                    key: args.key,
                    annotator: args.annotator,
                    predictions: args.predictions,
                    options,
                },
                progress.as_ref(),
            )
            .await
        }
        Args::LabelMaps(args) => {
            let options = args.common.options(args.dataset, args.source);
            ingest_label_maps(
                &store,
                &LabelMapIngest {
                    classes: ClassValues::read(&args.classes)?,
                    images: args.images,
                    maps: args.maps,
                    image_suffix: args.image_suffix,
                    map_suffix: args.map_suffix,
                    objects: args.objects,
                    void: args.void,
                    options,
                },
                progress.as_ref(),
            )
            .await
        }
    };
    let summary = summary?;
    report(&summary, started.elapsed().as_secs_f64(), global)?;
    Ok(Ended::with_failures(summary.failed))
}

fn report(summary: &IngestSummary, seconds: f64, global: &Global) -> anyhow::Result<()> {
    if global.json {
        return print_json_summary(summary, seconds);
    }
    if global.quiet {
        return Ok(());
    }
    errln!(
        "added {}, {} and {} in {seconds:.1} s",
        plural(summary.images_added, "image"),
        plural(summary.labels_added, "label"),
        plural(summary.ground_truth_added, "annotation"),
    );
    if *summary == IngestSummary::default() {
        errln!("no photo was found; was the right directory named?");
    }
    if summary.images_known > 0 {
        errln!(
            "{} already in the store, by content",
            plural(summary.images_known, "image file")
        );
    }
    if summary.other_files > 0 {
        errln!(
            "ignored {}: not named like an image",
            plural(summary.other_files, "file")
        );
    }
    if summary.system_files > 0 {
        errln!(
            "skipped {}, such as '.DS_Store', 'Thumbs.db' and '@eaDir'",
            plural(summary.system_files, "system file")
        );
    }
    if summary.failed > 0 {
        errln!(
            "{} could not be used, or not as asked; 'grainstore query failures' says which and why",
            plural(summary.failed, "item")
        );
    }
    Ok(())
}

fn is_in_bucket(path: &Path) -> bool {
    path.to_str().is_some_and(Location::is_bucket)
}

pub(super) fn directory_name(directory: &Path) -> anyhow::Result<String> {
    // The place of a bucket has a name as it is.
    let absolute = if is_in_bucket(directory) {
        directory.to_owned()
    } else {
        directory
            .canonicalize()
            .with_context(|| format!("cannot open directory '{}'", directory.display()))?
    };
    let name = absolute.file_name().unwrap_or_default().to_string_lossy();
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' => c,
        _ => '_',
    };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_start_matches(['.', '-']);
    Ok(if name.is_empty() {
        "images".to_owned()
    } else {
        name.to_owned()
    })
}
