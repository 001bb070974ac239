//! `grainstore export`

use std::path::PathBuf;
use std::time::Instant;

use grainstore::export::CocoExport;
use grainstore::export::CvatExport;
use grainstore::export::GeoJsonExport;
use grainstore::export::HuggingFaceExport;
use grainstore::export::LabelMapExport;
use grainstore::export::LabelStudioExport;
use grainstore::export::MapFile;
use grainstore::export::ParquetExport;
use grainstore::export::Sa1bExport;
use grainstore::export::VocExport;
use grainstore::export::YoloExport;
use grainstore::export::{
    Annotations, CocoFormat, ExportRequest, ExportSummary, Ids, MaskStyle, Photos, export_coco,
    export_cvat, export_geojson, export_hugging_face, export_label_maps, export_label_studio,
    export_parquet, export_sa1b, export_voc, export_yolo,
};
use grainstore::selection::ImageFilter;

use super::progress::progress;
use super::{At, Ended, Global, plural, print_json_summary};

/// Write what a head keeps, or what a data set annotates, as files for other programs.
#[derive(Debug, clap::Subcommand)]
pub enum Args {
    Coco(Coco),
    Voc(Voc),
    Yolo(Yolo),
    Cvat(Cvat),
    LabelStudio(LabelStudio),
    HuggingFace(HuggingFace),
    LabelMaps(LabelMaps),
    Geojson(GeoJson),
    Parquet(Parquet),
    Sa1b(Sa1b),
}

/// COCO JSON: a data set for training, or a list of results.
///
/// Every class is a category, in declared order. Masks are RLE with text counts, or polygons with holes and parts.
/// Areas and boxes are those of the masks. Images that came from COCO keep their COCO ids. The file is read back and
/// checked before it replaces an existing one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore export coco --head fine -o fine.json
  grainstore export coco --head fine --where \"split = 'val'\" --segmentation polygon -o val.json
  grainstore export coco --head fine --supercategories groups -o fine.json
  grainstore export coco --head fine --format results -o results.json       # for COCO.loadRes
  grainstore export coco --ground-truth --dataset coco -o instances.json")]
pub struct Coco {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    held: Held,
    /// Kind of file: dataset (images, categories, annotations) or results (a list of detections).
    #[arg(long, default_value = "dataset", value_enum, value_name = "FORMAT")]
    format: Format,
    /// How masks are encoded: rle or polygon [default: rle; annotated objects as they were annotated].
    #[arg(long, value_enum, value_name = "STYLE")]
    segmentation: Option<Style>,
    /// The file to write. It appears when it is complete and checked; until then an existing file stays.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// PASCAL VOC: palette PNGs SegmentationClass and SegmentationObject, and ImageSets.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore export voc --head fine -o voc/
  grainstore export voc --head fine --copy-images -o voc/       # with JPEGImages
  grainstore export voc --ground-truth --dataset coco -o voc/")]
pub struct Voc {
    #[command(flatten)]
    which: Which,
    /// Also write JPEGImages: upright JPEG files are copied, all others are encoded as JPEG.
    #[arg(long)]
    copy_images: bool,
    /// The directory to write. It must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Ultralytics' YOLO for segmentation: data.yaml, images and labels.
///
/// An object is one outline: holes and parts are joined to it by bridges of no width. 'ingest yolo' restores masks exactly;
/// so does Ultralytics, but for the bridges between parts. Crowds and void regions are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore export yolo --head fine -o fine/
  yolo segment train data=fine/data.yaml model=yolo11n-seg.pt
  grainstore export yolo --ground-truth --dataset coco --no-images -o labels/")]
pub struct Yolo {
    #[command(flatten)]
    which: Which,
    /// Write only data.yaml and labels. By default upright photos are copied, and all others are encoded as JPEG.
    #[arg(long)]
    no_images: bool,
    /// The directory to write. It must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// CVAT for images 1.1: annotations.xml with masks, and images.
///
/// Create a task in CVAT with the labels and photos, then upload annotations.xml to it. 'ingest cvat' reads what people made of it.
/// Crowds and void regions are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore export cvat --head fine -o fine/
  grainstore export cvat --head fine --no-images -o fine/      # for a task that has the photos
  grainstore export cvat --ground-truth --dataset coco -o coco/")]
pub struct Cvat {
    #[command(flatten)]
    which: Which,
    /// Write only annotations.xml, with the names that the photos have below their directory. By default upright photos are
    /// copied, and all others are encoded as JPEG.
    #[arg(long)]
    no_images: bool,
    /// The directory to write. It must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Label Studio: tasks with brush masks or polygons, and the labelling interface.
///
/// What a head keeps become predictions with scores, annotated objects annotations. Make a project with config.xml as its labelling
/// interface, then import tasks.json. 'ingest label-studio' reads what people made of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore export label-studio --head fine -o fine/          # LOCAL_FILES_DOCUMENT_ROOT is the directory of the photos
  grainstore export label-studio --head fine --address s3://bucket/photos/ -o fine/
  grainstore export label-studio --ground-truth --dataset coco -o coco/")]
pub struct LabelStudio {
    #[command(flatten)]
    which: Which,
    /// Begin of the addresses of the photos, before their names [default: /data/local-files/?d=, files of the machine of Label
    /// Studio].
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// Write masks of one part without holes as polygons, by their outlines; all others are brush masks.
    #[arg(long)]
    polygons: bool,
    /// The directory to write. It must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Hugging Face: Parquet with photos and objects, and a card, for 'datasets'.
///
/// Photos are in the files: upright ones as they are, all others as JPEG. Masks are what pycocotools decodes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore export hugging-face --head fine -o fine/
  python -c \"from datasets import load_dataset; print(load_dataset('fine/'))\"
  hf upload my-name/fine fine/ --repo-type dataset")]
pub struct HuggingFace {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    ids: HeldIds,
    /// The directory to write. It must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Label maps: gray levels of each image in a PNG or TIFF file, by classes or by classes and objects, and a file of the classes.
///
/// 0 is background, the greatest level (255 or 65535) void. Classes have their own ids if these are different and fit, else their places.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore export label-maps --head fine -o maps/
  grainstore export label-maps --head fine --objects --copy-images -o maps/    # class x 1000 + object, 16 bits
  grainstore ingest label-maps --images maps/images --maps maps/maps --classes maps/classes.csv --objects
  grainstore export label-maps --ground-truth --dataset cityscapes --background 0 --image-suffix _leftImg8bit --map-suffix _gtFine_labelIds -o maps/
  grainstore export label-maps --ground-truth --dataset cityscapes --background 0 --objects --stuff road,sky,building -o maps/")]
pub struct LabelMaps {
    #[command(flatten)]
    which: Which,
    /// Values are class x 1000 + object, as Cityscapes' instanceIds; at most 64 classes.
    #[arg(long)]
    objects: bool,
    /// Classes that are their values with --objects, too, because they have no objects apart: names with commas between them, or the
    /// option again for each.
    #[arg(long, requires = "objects", value_name = "CLASSES")]
    stuff: Vec<String>,
    /// Value of pixels of no class. Classes then have their ids as values in any case; one with this id looks like background
    /// [default: 0, and no class has it].
    #[arg(long, value_name = "VALUE")]
    background: Option<u16>,
    /// Write TIFF files.
    #[arg(long)]
    tiff: bool,
    /// What the names of photos have before their ending and those of maps have not.
    #[arg(
        long,
        value_name = "SUFFIX",
        default_value = "",
        hide_default_value = true
    )]
    image_suffix: String,
    /// What the names of maps have before their ending and those of photos have not.
    #[arg(
        long,
        value_name = "SUFFIX",
        default_value = "",
        hide_default_value = true
    )]
    map_suffix: String,
    /// Also write images/: upright JPEG, PNG and WebP files are copied, all others are encoded as JPEG.
    #[arg(long)]
    copy_images: bool,
    /// The directory to write. It must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// GeoJSON: the outlines of objects as polygons, a file for each image, for QGIS, geopandas and QuPath.
///
/// Objects of GeoTIFFs have coordinates on Earth, in the reference system of the photo. Those of other photos have coordinates in
/// pixels.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore export geojson --head fine -o fine/
  grainstore export geojson --ground-truth --dataset coco -o annotated/
  ogrmerge.py -single -o fine.gpkg fine/*.geojson")]
pub struct GeoJson {
    #[command(flatten)]
    which: Which,
    /// The directory to write. It must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

/// Parquet: one row per object, for pandas, polars or DuckDB.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore export parquet --head fine -o fine.parquet
  duckdb -c \"SELECT category, count(*), avg(score) FROM 'fine.parquet' GROUP BY ALL\"")]
pub struct Parquet {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    held: Held,
    /// The file to write. It appears when it is complete.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// SA-1B JSON: all masks of an extractor, a file for each image, without classes.
///
/// Each mask has its run lengths, box, area, predicted IoU, stability score, point and crop, as in the data set of Segment Anything.
/// Masks that people added are of an extractor of their own ('grainstore query review/extractors').
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore export sa1b -o masks/
  grainstore export sa1b --extractor 6f3a --where \"split = 'val'\" --copy-images -o sa_000000/
  grainstore --store other import masks --sa1b masks/          # into another store with the same photos")]
pub struct Sa1b {
    /// First digits of the id of the extractor whose masks are exported [default: the only model's; if there is none, the only
    /// import].
    #[arg(long, value_name = "ID")]
    extractor: Option<String>,
    /// Only images of this data set.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Only images of this split.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Choose images: SQL over the columns of 'images' [default: all that the extractor has seen].
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Ids of images: original, or new (1, 2, ...).
    #[arg(long, default_value = "original", value_enum, value_name = "IDS")]
    ids: IdsChoice,
    /// Also write the photos, beside the files of their masks: upright ones are copied, all others are encoded as JPEG.
    #[arg(long)]
    copy_images: bool,
    /// The directory to write. It must be empty or new.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
#[group(skip)]
struct Which {
    #[command(flatten)]
    whose: Whose,
    /// First digits of the id of the annotation policy [default: the one used last].
    #[arg(long, value_name = "ID", conflicts_with = "ground_truth")]
    policy: Option<String>,
    /// Only images of this data set; with --ground-truth, the data set whose annotations are exported.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Only images of this split.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Choose images: SQL over the columns of 'images' [default: all that are annotated].
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Class set whose classes become the categories [default: the head's own; the data set's].
    #[arg(long, value_name = "NAME")]
    classes: Option<String>,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whose {
    /// The head whose kept masks are exported, by name or id.
    #[arg(long, value_name = "HEAD")]
    head: Option<String>,
    /// Export annotated objects instead.
    #[arg(long)]
    ground_truth: bool,
}

/// What only some formats hold.
#[derive(Debug, Default, clap::Args)]
#[group(skip)]
struct Held {
    /// A coarser class set whose classes become the supercategories.
    #[arg(long, value_name = "NAME")]
    supercategories: Option<String>,
    #[command(flatten)]
    ids: HeldIds,
}

#[derive(Debug, Default, clap::Args)]
#[group(skip)]
struct HeldIds {
    /// Ids of images and annotated objects: original, or new (1, 2, ...).
    #[arg(long, default_value = "original", value_enum, value_name = "IDS")]
    ids: IdsChoice,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Dataset,
    Results,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Style {
    Rle,
    Polygon,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum IdsChoice {
    #[default]
    Original,
    New,
}

impl Args {
    /// What was asked of ids; `None` where files have none.
    fn ids(&self) -> Option<IdsChoice> {
        match self {
            Self::Coco(args) => Some(args.held.ids.ids),
            Self::HuggingFace(args) => Some(args.ids.ids),
            Self::Parquet(args) => Some(args.held.ids.ids),
            Self::Sa1b(args) => Some(args.ids),
            Self::Voc(_)
            | Self::Yolo(_)
            | Self::Cvat(_)
            | Self::LabelStudio(_)
            | Self::LabelMaps(_)
            | Self::Geojson(_) => None,
        }
    }
}

impl Which {
    /// The request for a format that holds neither supercategories nor ids.
    fn request(self) -> (ExportRequest, At) {
        self.with(Held::default())
    }

    fn with(self, held: Held) -> (ExportRequest, At) {
        let annotations = match self.whose.head {
            Some(head) => Annotations::Head {
                head,
                policy: self.policy,
            },
            None => Annotations::GroundTruth,
        };
        let request = ExportRequest {
            annotations,
            images: ImageFilter {
                dataset: self.dataset,
                split: self.split,
                condition: self.condition,
                ids: None,
            },
            classes: self.classes,
            supercategories: held.supercategories,
            ids: held.ids.ids.into(),
        };
        (request, self.at)
    }
}

impl From<IdsChoice> for Ids {
    fn from(choice: IdsChoice) -> Self {
        match choice {
            IdsChoice::Original => Self::Original,
            IdsChoice::New => Self::New,
        }
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    let started = Instant::now();
    let progress = progress(global);
    let progress = progress.as_ref();
    let ids = args.ids();
    let summary = match args {
        Args::Coco(args) => {
            let (request, at) = args.which.with(args.held);
            let format = match args.format {
                Format::Dataset => CocoFormat::Dataset,
                Format::Results => CocoFormat::Results,
            };
            let style = args.segmentation.map(|style| match style {
                Style::Rle => MaskStyle::Rle,
                Style::Polygon => MaskStyle::Polygon,
            });
            let snapshot = at.snapshot(&store).await?;
            export_coco(
                &snapshot,
                &CocoExport {
                    export: request,
                    format,
                    style,
                    file: args.output,
                },
                progress,
            )
            .await?
        }
        Args::Voc(args) => {
            let (request, at) = args.which.request();
            let photos = photos(args.copy_images);
            let snapshot = at.snapshot(&store).await?;
            export_voc(
                &snapshot,
                &VocExport {
                    export: request,
                    photos,
                    directory: args.output,
                },
                progress,
            )
            .await?
        }
        Args::Yolo(args) => {
            let (request, at) = args.which.request();
            let photos = photos(!args.no_images);
            let snapshot = at.snapshot(&store).await?;
            export_yolo(
                &snapshot,
                &YoloExport {
                    export: request,
                    photos,
                    directory: args.output,
                },
                progress,
            )
            .await?
        }
        Args::Cvat(args) => {
            let (request, at) = args.which.request();
            let photos = photos(!args.no_images);
            let snapshot = at.snapshot(&store).await?;
            export_cvat(
                &snapshot,
                &CvatExport {
                    export: request,
                    photos,
                    directory: args.output,
                },
                progress,
            )
            .await?
        }
        Args::LabelStudio(args) => {
            let (request, at) = args.which.request();
            let snapshot = at.snapshot(&store).await?;
            export_label_studio(
                &snapshot,
                &LabelStudioExport {
                    export: request,
                    address: args.address,
                    polygons: args.polygons,
                    directory: args.output,
                },
                progress,
            )
            .await?
        }
        Args::HuggingFace(args) => {
            let (request, at) = args.which.with(Held {
                ids: args.ids,
                ..Held::default()
            });
            let snapshot = at.snapshot(&store).await?;
            export_hugging_face(
                &snapshot,
                &HuggingFaceExport {
                    export: request,
                    directory: args.output,
                },
                progress,
            )
            .await?
        }
        Args::LabelMaps(args) => {
            let (request, at) = args.which.request();
            let photos = photos(args.copy_images);
            let snapshot = at.snapshot(&store).await?;
            export_label_maps(
                &snapshot,
                &LabelMapExport {
                    export: request,
                    objects: args.objects,
                    stuff: args.stuff,
                    background: args.background,
                    file: if args.tiff {
                        MapFile::Tiff
                    } else {
                        MapFile::Png
                    },
                    image_suffix: args.image_suffix,
                    map_suffix: args.map_suffix,
                    photos,
                    directory: args.output,
                },
                progress,
            )
            .await?
        }
        Args::Geojson(args) => {
            let (request, at) = args.which.request();
            let snapshot = at.snapshot(&store).await?;
            export_geojson(
                &snapshot,
                &GeoJsonExport {
                    export: request,
                    directory: args.output,
                },
                progress,
            )
            .await?
        }
        Args::Parquet(args) => {
            let (request, at) = args.which.with(args.held);
            let snapshot = at.snapshot(&store).await?;
            export_parquet(
                &snapshot,
                &ParquetExport {
                    export: request,
                    file: args.output,
                },
                progress,
            )
            .await?
        }
        Args::Sa1b(args) => {
            let request = Sa1bExport {
                extractor: args.extractor,
                images: ImageFilter {
                    dataset: args.dataset,
                    split: args.split,
                    condition: args.condition,
                    ids: None,
                },
                ids: args.ids.into(),
                photos: photos(args.copy_images),
                directory: args.output,
            };
            let snapshot = args.at.snapshot(&store).await?;
            export_sa1b(&snapshot, &request, progress).await?
        }
    };
    report(&summary, ids, started.elapsed().as_secs_f64(), global)?;
    Ok(Ended::with_failures(summary.failed))
}

fn photos(are_copied: bool) -> Photos {
    if are_copied {
        Photos::Copy
    } else {
        Photos::Leave
    }
}

fn report(
    summary: &ExportSummary,
    ids: Option<IdsChoice>,
    seconds: f64,
    global: &Global,
) -> anyhow::Result<()> {
    if global.json {
        return print_json_summary(summary, seconds);
    }
    let (what, categories) = match summary.categories {
        0 => ("mask", String::new()),
        1 => ("object", " in 1 category".to_owned()),
        n => ("object", format!(" in {n} categories")),
    };
    outln!(
        "'{}': {} of {}{categories}, {seconds:.1} s",
        summary.file.display(),
        plural(summary.annotations, what),
        plural(summary.images, "image"),
    );
    outln!(
        "file names of images are below '{}'",
        summary.images_root.display()
    );
    let notes = [
        (
            summary.new_image_ids,
            "new image id",
            match ids {
                Some(IdsChoice::New) => "as --ids new asks for",
                Some(IdsChoice::Original) | None => "for images whose data set gives none",
            },
        ),
        (
            summary.images_without_predictions,
            "image",
            "left out: the head has no predictions there (never annotated, or no mask was found)",
        ),
        (
            summary.of_other_classes,
            "object",
            "left out: class not exported",
        ),
        (summary.without_pixels, "mask", "left out: no pixels"),
        (
            summary.void_regions,
            "void region",
            "left out: not supported by the format",
        ),
        (
            summary.crowds,
            "crowd",
            "left out: not supported by the format",
        ),
        (summary.without_mask, "box", "left out: no mask"),
        (summary.failed, "image", "could not be written"),
    ];
    if summary.annotations == 0 && !global.quiet {
        errln!("there are no {what}s on these images; what was written is valid but has none");
    }
    let told = notes
        .into_iter()
        .filter(|(count, ..)| *count > 0 && !global.quiet);
    for (count, what, note) in told {
        let what = match (what, count) {
            ("box", 2..) => format!("{count} boxes"),
            _ => plural(count, what),
        };
        errln!("{what} {note}");
    }
    Ok(())
}
