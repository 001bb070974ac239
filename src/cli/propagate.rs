//! `grainstore propagate`

use grainstore::review::{PropagateRequest, PropagateSummary, propagate};

use super::progress::progress;
use super::search::{TOKENS, table_of};
use super::{Ended, Global, images_where, plural, print_json};

/// Spread labels of masks to similar masks.
///
/// A mask gets the label of the most similar labelled mask. It is only given where nobody has said anything, and is weaker
/// than whatever anybody says later. Run it again after more labels: what no longer holds is taken back.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore propagate --vectors dinov2_vitb14 --dry-run
  grainstore propagate --vectors dinov2_vitb14 --min-score 0.85
  grainstore labels confirm --propagated --label cat --reviewer anna    # or 'labels undo --propagated'
  grainstore sql \"SELECT * FROM mask_labels WHERE origin = 'propagated' ORDER BY score LIMIT 20\"")]
pub struct Args {
    /// Vectors to compare: an embedder, or 'tokens', the embeddings of the extractor.
    #[arg(long, default_value = TOKENS, value_name = "NAME|tokens")]
    vectors: String,
    /// Minimum cosine similarity with the labelled mask.
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    min_score: Option<f64>,
    /// Minimum lead of this similarity over that with the most similar mask of another label.
    #[arg(long, value_name = "COSINE")]
    min_margin: Option<f64>,
    /// Give labels only to masks of these images: SQL over the columns of 'images'.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// First digits of the id of the extractor whose masks are meant; needed if there are several.
    #[arg(long, value_name = "ID")]
    extractor: Option<String>,
    /// Count what would get a label, and store nothing.
    #[arg(long)]
    dry_run: bool,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    let base = PropagateRequest::new(table_of(&args.vectors));
    let request = PropagateRequest {
        extractor: args.extractor,
        images: images_where(args.condition),
        min_score: args.min_score.unwrap_or(base.min_score),
        min_margin: args.min_margin.unwrap_or(base.min_margin),
        dry_run: args.dry_run,
        ..base
    };
    let progress = progress(global);
    let summary = propagate(&store, &request, progress.as_ref()).await?;
    if global.json {
        print_json(&summary)?;
    } else {
        print(&summary, args.dry_run)?;
    }
    Ok(Ended::Done)
}

fn print(summary: &PropagateSummary, dry_run: bool) -> anyhow::Result<()> {
    let spread: u64 = summary.labels.values().sum();
    outln!(
        "{} of {} {} the label of one of {}",
        spread,
        plural(summary.compared, "mask"),
        if dry_run { "would have" } else { "have" },
        plural(summary.labelled, "labelled mask")
    );
    for (label, masks) in &summary.labels {
        outln!("  {masks:>8}  {label}");
    }
    outln!(
        "{}{} added, {} taken back",
        if dry_run { "would be: " } else { "" },
        plural(summary.added, "label"),
        summary.taken_back
    );
    if summary.without_vector > 0 {
        outln!(
            "{} without a vector",
            plural(summary.without_vector, "mask")
        );
    }
    Ok(())
}
