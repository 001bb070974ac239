//! `grainstore queue`

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;

use grainstore::ids::ImageId;
use grainstore::picture::{SheetRequest, Tile, contact_sheet};
use grainstore::review::{QueueKind, QueueRequest, QueuedMask, queue};

use super::progress::progress;
use super::search::{file_names, save, table_of};
use super::{Ended, Global, images_where, plural, print_json};

/// Show which masks are worth a label, the most worth first.
///
/// Queues are uncertain (the head is not sure), threshold (nearest to the score from which on masks are kept),
/// disagreement (the members of a head differ), dropout (so do several passes with dropout), image-label-errors (a class
/// that the image is not labelled with), mask-label-errors (a label on a mask that the head contradicts), centres (least
/// like what was looked at, by vectors), random and unlabelled (random, without a head). Masks that somebody has labelled are left out, except in
/// mask-label-errors.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore queue uncertain --head fine
  grainstore queue disagreement --head safe -k 50 -o unsure.png     # a head of several members
  grainstore queue centres --head fine --vectors dinov2_vitb14 --where \"split = 'target'\"
  grainstore queue uncertain --head fine --json > queue.json
  grainstore query review/queue_uncertain --show                     # the SQL of a queue")]
pub struct Args {
    /// The queue.
    kind: QueueKind,
    /// Name or id of the head; every queue but 'unlabelled' needs it. Its predictions must be stored ('grainstore
    /// annotate'), but for centres.
    #[arg(long, value_name = "HEAD")]
    head: Option<String>,
    /// First digits of the id of the extractor, for 'unlabelled'; needed if there are several.
    #[arg(long, value_name = "ID", conflicts_with = "head")]
    extractor: Option<String>,
    /// First digits of the id of the annotation policy [default: the one used last].
    #[arg(long, value_name = "ID")]
    policy: Option<String>,
    /// Maximum number of masks.
    #[arg(short = 'k', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    count: u32,
    /// Choose images: SQL over the columns of 'images'.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// For centres, the vectors to choose by: an embedder, or 'tokens' [default: those that the head reads].
    #[arg(long, value_name = "NAME|tokens")]
    vectors: Option<String>,
    /// Seed of the random choices of the queues random and dropout.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Write a sheet of the masks to this PNG file.
    #[arg(short, long, value_name = "FILE.png")]
    output: Option<PathBuf>,
    /// Longer side of each picture on the sheet in pixels.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(16..=1024), requires = "output", value_name = "PIXELS")]
    side: u32,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    let snapshot = store.snapshot().await?;
    let request = QueueRequest {
        kind: args.kind,
        head: args.head,
        extractor: args.extractor,
        policy: args.policy,
        images: images_where(args.condition),
        count: args.count as usize,
        vectors: args.vectors.as_deref().map(table_of),
        seed: args.seed,
    };
    let progress = progress(global);
    let found = queue(&snapshot, &request, progress.as_ref()).await?;
    let names = file_names(&snapshot, found.iter().map(|mask| &mask.image_id)).await?;
    let mut failed = 0;
    if let Some(output) = args.output.filter(|_| !found.is_empty()) {
        let drawn = SheetRequest {
            tiles: found.iter().map(tile).collect(),
            side: args.side,
        };
        let sheet = contact_sheet(&snapshot, &drawn, progress.as_ref()).await?;
        failed = sheet.failed;
        tokio::task::spawn_blocking(move || save(&sheet, &output)).await??;
    }
    print(&found, &names, args.kind, global)?;
    Ok(Ended::with_failures(failed))
}

fn tile(mask: &QueuedMask) -> Tile {
    Tile {
        image_id: mask.image_id.clone(),
        mask: Some((mask.extractor_id.clone(), mask.mask_index)),
        caption: match &mask.class {
            Some(class) => format!("{:.3} {class}", mask.priority),
            None => format!("{:.3}", mask.priority),
        },
    }
}

fn print(
    found: &[QueuedMask],
    names: &HashMap<ImageId, String>,
    kind: QueueKind,
    global: &Global,
) -> anyhow::Result<()> {
    if global.json {
        let rows = found.iter().map(|mask| {
            serde_json::json!({
                "image_id": mask.image_id,
                "file_name": names.get(&mask.image_id),
                "extractor_id": mask.extractor_id,
                "mask_index": mask.mask_index,
                "class": mask.class,
                "priority": mask.priority,
                "why": mask.why,
            })
        });
        return print_json(&rows.collect::<Vec<_>>());
    }
    let mut out = io::stdout().lock();
    if !found.is_empty() {
        writeln!(out, "{:>9}  {:>5}  {:<40}  why", "priority", "mask", "file")?;
    }
    for mask in found {
        let name = names.get(&mask.image_id).map_or("", String::as_str);
        writeln!(
            out,
            "{:>9.4}  {:>5}  {name:<40}  {}",
            mask.priority, mask.mask_index, mask.why
        )?;
    }
    drop(out);
    if !global.quiet {
        errln!(
            "{} in the queue '{}'; 'grainstore label mask FILE MASK --is LABEL' labels one",
            plural(found.len() as u64, "mask"),
            kind.word()
        );
    }
    Ok(())
}
