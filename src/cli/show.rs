//! `grainstore show`

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use grainstore::catalogue::find_image;
use grainstore::export::Unfinished;
use grainstore::picture::{Part, Picture, ShowRequest, Shown, in_grid, sheet, show};
use grainstore::selection::ImageFilter;

use super::progress::progress;
use super::{At, Ended, Global, plural, print_json};

/// Draw images: the photo, annotated objects, all masks, and what a head keeps, side by side.
///
/// A class has the same colour in all parts, pictures and reports.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore show 3f2a --head fine -o one.png                             # by the first digits of its id
  grainstore show val/000000000139.jpg -o one.png                         # or by its file name
  grainstore show --where \"split = 'test'\" --head fine -o overlays/       # one PNG per image
  grainstore show --where \"split = 'test'\" --head fine -o sheet.png       # all on one sheet
  grainstore show --where \"split = 'test'\" --head fine --parts head -o sheet.png")]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Maximum number of images, in the order of their file names.
    #[arg(long, default_value_t = 24, value_name = "N")]
    limit: usize,
    /// The head whose kept masks are drawn.
    #[arg(long, value_name = "HEAD")]
    head: Option<String>,
    /// First digits of the id of its annotation policy [default: the one used last].
    #[arg(long, value_name = "ID", requires = "head")]
    policy: Option<String>,
    /// First digits of the id of the extractor whose masks are drawn [default: the head's, or the only one].
    #[arg(long, value_name = "ID")]
    extractor: Option<String>,
    /// Data set whose annotations are drawn [default: the one with most annotated objects].
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Class set that objects are shown in [default: the head's own, or the data set's].
    #[arg(long, value_name = "NAME")]
    classes: Option<String>,
    /// Parts of a picture, in order [default: photo,truth,masks, and head if one is named].
    #[arg(long, value_delimiter = ',', value_enum, value_name = "PARTS")]
    parts: Vec<PartName>,
    /// Longer side of each part in pixels.
    #[arg(long, default_value_t = 360, value_parser = clap::value_parser!(u32).range(16..=4096), value_name = "PIXELS")]
    side: u32,
    /// A PNG file for all pictures, or a directory for one PNG per image.
    #[arg(short, long, value_name = "FILE.png|DIR")]
    output: PathBuf,
    #[command(flatten)]
    at: At,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// First digits of an image's id, or its file name.
    #[arg(value_name = "IMAGE_ID")]
    image: Option<String>,
    /// Choose images: SQL over the columns of 'images'.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum PartName {
    Photo,
    Truth,
    Masks,
    Head,
}

impl From<PartName> for Part {
    fn from(name: PartName) -> Self {
        match name {
            PartName::Photo => Self::Photo,
            PartName::Truth => Self::Truth,
            PartName::Masks => Self::Masks,
            PartName::Head => Self::Head,
        }
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    let snapshot = args.at.snapshot(&store).await?;
    let ids = match &args.which.image {
        Some(word) => Some(vec![find_image(&snapshot, word).await?]),
        None => None,
    };
    let mut parts: Vec<Part> = args.parts.into_iter().map(Part::from).collect();
    if parts.is_empty() {
        parts = vec![Part::Photo, Part::Truth, Part::Masks];
        parts.extend(args.head.as_ref().map(|_| Part::Head));
    }
    let request = ShowRequest {
        images: ImageFilter {
            dataset: None,
            split: None,
            condition: args.which.condition,
            ids,
        },
        dataset: args.dataset,
        limit: args.limit,
        head: args.head,
        policy: args.policy,
        extractor: args.extractor,
        classes: args.classes,
        parts,
        side: args.side,
    };
    let progress = progress(global);
    let Shown {
        pictures,
        failed,
        left_out,
    } = show(&snapshot, &request, progress.as_ref()).await?;
    let shown = pictures.len() as u64;
    let files = tokio::task::spawn_blocking(move || write(&args.output, pictures)).await??;
    if global.json {
        print_json(
            &serde_json::json!({ "images": shown, "failed": failed, "left_out": left_out, "files": files }),
        )?;
    } else {
        match files.as_slice() {
            [] => bail!("no file was written"),
            [file] => outln!("'{}': {}", file.display(), plural(shown, "image")),
            [first, ..] => outln!("{} files; the first is '{}'", files.len(), first.display()),
        }
    }
    if left_out > 0 && !global.quiet {
        errln!(
            "{} more match; a higher --limit shows more",
            plural(left_out, "image")
        );
    }
    Ok(Ended::with_failures(failed))
}

fn write(output: &Path, pictures: Vec<Picture>) -> anyhow::Result<Vec<PathBuf>> {
    if pictures.is_empty() {
        bail!("there is no picture to write: no photo could be read");
    }
    let is_file = output
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if is_file {
        let single = pictures.iter().all(|picture| picture.panels.len() == 1);
        let rows = if single {
            // A single part needs no caption of its own.
            in_grid(
                pictures
                    .into_iter()
                    .flat_map(|picture| {
                        let caption = picture.image.file_name;
                        picture.panels.into_iter().map(move |mut panel| {
                            panel.caption.clone_from(&caption);
                            panel
                        })
                    })
                    .collect(),
            )
        } else {
            pictures
                .into_iter()
                .map(|it| (Some(it.image.file_name), it.panels))
                .collect()
        };
        save(&sheet(&rows)?, output)?;
        return Ok(vec![output.to_owned()]);
    }
    std::fs::create_dir_all(output)
        .with_context(|| format!("cannot create '{}'", output.display()))?;
    let mut files = Vec::new();
    for picture in pictures {
        let file = output.join(picture.file_name());
        save(
            &sheet(&[(Some(picture.image.file_name), picture.panels)])?,
            &file,
        )?;
        files.push(file);
    }
    Ok(files)
}

fn save(picture: &image::RgbImage, file: &Path) -> anyhow::Result<()> {
    let new = Unfinished::new(file)?;
    let saved = picture.save_with_format(new.path(), image::ImageFormat::Png);
    saved.with_context(|| format!("cannot write '{}'", file.display()))?;
    new.finish()?;
    Ok(())
}
