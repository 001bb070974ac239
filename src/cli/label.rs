//! `grainstore label` and `grainstore labels`

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Subcommand;
use grainstore::catalogue::{
    annotated_categories, extractor_of_mask, find_annotated_dataset, find_image, find_masks_of,
    with_prompted,
};
use grainstore::review::{
    LabelRequest, LabelSummary, MaskKey, Origin, Statement, Verdict, confirm_labels, label_masks,
    labels_of_ground_truth, mask_labels, read_label_file, undo_labels,
};
use grainstore::store::Snapshot;
use grainstore::store::rows::MaskLabelRow;

use super::{Ended, Global, images_where, plural, print_json};

/// Say what masks show: one mask, a file of labels, or what annotated objects say.
///
/// A label is a word, as labels of images are; class sets map it. Nothing is overwritten: of each mask and reviewer the
/// newest label counts.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  grainstore label mask 0001.jpg 17 --is cat
  grainstore label mask 0001.jpg 3 --none --reviewer anna
  grainstore label csv labels.csv                      # image,mask_index,label[,verdict]
  grainstore label ground-truth --dataset coco --where \"split = 'train'\"")]
pub enum Args {
    Mask(MaskArgs),
    Csv(CsvArgs),
    GroundTruth(GroundTruthArgs),
}

/// Whose masks, and who says so.
#[derive(Debug, clap::Args)]
struct Who {
    /// First digits of the id of the extractor whose masks these are; needed if there are several.
    #[arg(long, value_name = "ID")]
    extractor: Option<String>,
    /// Who says so: a name.
    #[arg(long, value_name = "NAME")]
    reviewer: Option<String>,
}

/// Label one mask.
#[derive(Debug, clap::Args)]
pub struct MaskArgs {
    /// File name of the image, or the first digits of its id.
    image: String,
    /// Index of the mask: 'grainstore show --masks' and table 'masks' have it.
    #[arg(allow_negative_numbers = true)]
    mask_index: i32,
    #[command(flatten)]
    what: What,
    #[command(flatten)]
    who: Who,
}

/// What the mask shows.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct What {
    /// It shows this.
    #[arg(long, value_name = "LABEL")]
    is: Option<String>,
    /// It does not show this.
    #[arg(long, value_name = "LABEL")]
    is_not: Option<String>,
    /// It shows nothing of any class.
    #[arg(long)]
    none: bool,
    /// It is of no use: cut badly, or of several things at once.
    #[arg(long)]
    bad: bool,
}

/// Label masks from a CSV file: image, mask_index, label (empty: none of any class) and, if you like, verdict.
#[derive(Debug, clap::Args)]
pub struct CsvArgs {
    /// The file.
    file: PathBuf,
    #[command(flatten)]
    who: Who,
}

/// Label masks by annotated objects: with an IoU of 0.5 or more a mask shows the object, below 0.1 with all it shows none.
///
/// Masks of an image without annotated objects get no label: the store does not say whether somebody looked there.
#[derive(Debug, clap::Args)]
pub struct GroundTruthArgs {
    /// The data set of the annotations; needed if there are several.
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Choose images: SQL over the columns of 'images' [default: all that are annotated].
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// First digits of the id of the extractor whose masks to label; needed if there are several.
    #[arg(long, value_name = "ID")]
    extractor: Option<String>,
}

/// Labels on masks: list those that count, confirm some, or take some back.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Examples:
  grainstore labels list
  grainstore labels undo 3f2a91c4
  grainstore labels undo --last 5
  grainstore labels confirm --propagated --label cat --reviewer anna
  grainstore labels undo --propagated
  grainstore query review/mask_labels --format csv")]
pub enum LabelsArgs {
    /// List the labels that count, the newest last.
    List(ListArgs),
    Confirm(ConfirmArgs),
    Undo(UndoArgs),
}

/// List the labels that count, the newest last.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Maximum number of labels; the newest are listed.
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
}

/// Confirm labels: you say the same. What was propagated becomes a label like those that are given by hand.
#[derive(Debug, clap::Args)]
pub struct ConfirmArgs {
    /// First digits of the labels' ids.
    #[arg(required_unless_present = "propagated")]
    ids: Vec<String>,
    #[command(flatten)]
    bulk: Bulk,
    /// Who confirms them: a name.
    #[arg(long, value_name = "NAME")]
    reviewer: Option<String>,
}

/// Many labels at once.
#[derive(Debug, clap::Args)]
struct Bulk {
    /// All labels that were propagated.
    #[arg(long, conflicts_with = "ids")]
    propagated: bool,
    /// With --propagated: only those of this label.
    #[arg(long, value_name = "LABEL", requires = "propagated")]
    label: Option<String>,
}

impl Bulk {
    /// Ids of the labels that were propagated.
    fn ids(&self, rows: &[MaskLabelRow]) -> anyhow::Result<Vec<String>> {
        let propagated = rows
            .iter()
            .filter(|row| row.origin == Origin::Propagated.word())
            .filter(|row| self.label.is_none() || row.label == self.label);
        let ids: Vec<String> = propagated
            .map(|row| row.mask_label_id.to_string())
            .collect();
        match &self.label {
            Some(label) if ids.is_empty() => {
                anyhow::bail!(
                    "no label '{label}' was propagated; 'grainstore labels list' lists what was"
                )
            }
            _ => Ok(ids),
        }
    }
}

/// Take labels back. They stay in the store; a newer row says that they no longer count.
#[derive(Debug, clap::Args)]
pub struct UndoArgs {
    /// First digits of the labels' ids.
    #[arg(required_unless_present_any = ["last", "propagated"])]
    ids: Vec<String>,
    /// Number of labels to take back, beginning with the last that 'labels list' shows: those of one command come by image
    /// and mask.
    #[arg(long, value_name = "N", conflicts_with_all = ["ids", "propagated"])]
    last: Option<usize>,
    #[command(flatten)]
    bulk: Bulk,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    let snapshot = store.snapshot().await?;
    let request = match args {
        Args::Mask(args) => one(&snapshot, args).await?,
        Args::Csv(args) => {
            let extractor = find_masks_of(&snapshot, args.who.extractor.as_deref()).await?;
            let statements =
                read_label_file(&snapshot, &args.file, &extractor.extractor_id).await?;
            LabelRequest {
                statements,
                origin: Origin::Import,
                reviewer: args.who.reviewer,
                file: Some(args.file),
            }
        }
        Args::GroundTruth(args) => of_objects(&snapshot, args).await?,
    };
    let summary = label_masks(&store, &request).await?;
    report(&summary, global)
}

async fn one(snapshot: &Snapshot, args: MaskArgs) -> anyhow::Result<LabelRequest> {
    let extractor = find_masks_of(snapshot, args.who.extractor.as_deref()).await?;
    let (label, verdict) = match args.what {
        What { bad: true, .. } => (None, Verdict::BadMask),
        What {
            is_not: Some(label),
            ..
        } => (Some(label), Verdict::IsNot),
        What { is, .. } => (is, Verdict::Is),
    };
    if label
        .as_deref()
        .is_some_and(|label| label.trim().is_empty())
    {
        anyhow::bail!("a label needs letters; --none says that a mask shows nothing of any class");
    }
    let extractors = with_prompted(snapshot, &extractor.extractor_id).await?;
    let own = extractor_of_mask(&extractors, args.mask_index);
    let mask = MaskKey {
        extractor_id: own.unwrap_or(&extractor.extractor_id).clone(),
        image_id: find_image(snapshot, &args.image).await?,
        mask_index: args.mask_index,
    };
    Ok(LabelRequest {
        statements: vec![Statement {
            mask,
            label,
            verdict,
            line: None,
        }],
        origin: Origin::Review,
        reviewer: args.who.reviewer,
        file: None,
    })
}

async fn of_objects(snapshot: &Snapshot, args: GroundTruthArgs) -> anyhow::Result<LabelRequest> {
    let annotated = annotated_categories(snapshot).await?;
    let dataset = find_annotated_dataset(&annotated, args.dataset.as_deref())?;
    let extractor = find_masks_of(snapshot, args.extractor.as_deref()).await?;
    let images = images_where(args.condition);
    let found =
        labels_of_ground_truth(snapshot, &dataset, &extractor.extractor_id, &images).await?;
    if found.is_empty() {
        anyhow::bail!(
            "no mask of extractor '{}' is in an annotated image",
            extractor.extractor_id
        );
    }
    Ok(LabelRequest {
        statements: found,
        origin: Origin::GroundTruth,
        reviewer: None,
        file: None,
    })
}

fn report(summary: &LabelSummary, global: &Global) -> anyhow::Result<Ended> {
    if global.json {
        print_json(summary)?;
        return Ok(Ended::Done);
    }
    outln!("{} added", plural(summary.added, "label"));
    if summary.replaced > 0 {
        outln!(
            "{} replace an older one of the same reviewer",
            summary.replaced
        );
    }
    if summary.contradicting > 0 {
        outln!(
            "{} contradict another reviewer; both are kept",
            summary.contradicting
        );
    }
    if summary.unchanged > 0 {
        outln!("{} said before", plural(summary.unchanged, "label"));
    }
    Ok(Ended::Done)
}

pub async fn run_labels(args: LabelsArgs, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    match args {
        LabelsArgs::List(args) => {
            let rows = mask_labels(&store.snapshot().await?).await?;
            let skipped = rows.len().saturating_sub(args.limit);
            print_rows(rows.get(skipped..).unwrap_or_default(), global)?;
            if skipped > 0 && !global.json {
                outln!("{skipped} older ones: --limit {} shows them", rows.len());
            }
        }
        LabelsArgs::Confirm(args) => {
            let rows = mask_labels(&store.snapshot().await?).await?;
            let ids = if args.bulk.propagated {
                args.bulk.ids(&rows)?
            } else {
                args.ids
            };
            let confirmed = confirm_labels(&store, &ids, args.reviewer.as_deref()).await?;
            print_rows(&confirmed, global)?;
            if !global.json {
                outln!("{} confirmed", plural(confirmed.len() as u64, "label"));
            }
        }
        LabelsArgs::Undo(args) => {
            let rows = mask_labels(&store.snapshot().await?).await?;
            let ids = match args.last {
                Some(last) => {
                    let rows = rows.iter().rev().take(last);
                    rows.map(|row| row.mask_label_id.to_string()).collect()
                }
                None if args.bulk.propagated => args.bulk.ids(&rows)?,
                None => args.ids,
            };
            let undone = undo_labels(&store, &ids).await?;
            print_rows(&undone, global)?;
            if !global.json {
                outln!("{} taken back", plural(undone.len() as u64, "label"));
            }
        }
    }
    Ok(Ended::Done)
}

fn print_rows(rows: &[MaskLabelRow], global: &Global) -> anyhow::Result<()> {
    if global.json {
        return print_json(&rows);
    }
    let mut out = io::stdout().lock();
    for row in rows {
        let id: String = row.mask_label_id.as_str().chars().take(8).collect();
        writeln!(
            out,
            "{id}  {} mask {}: {} {}  ({}{}{}, {})",
            row.image_id,
            row.mask_index,
            row.verdict,
            row.label.as_deref().unwrap_or("none of any class"),
            row.origin,
            row.score
                .map_or(String::new(), |score| format!(" {score:.3}")),
            row.reviewer
                .as_ref()
                .map_or(String::new(), |name| format!(", {name}")),
            row.created_at.format("%Y-%m-%d %H:%M:%S")
        )?;
    }
    Ok(())
}
