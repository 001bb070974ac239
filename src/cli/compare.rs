//! `grainstore compare`

use grainstore::eval::{CompareRequest, Comparison, EvalRequest, compare};

use super::cluster::QueriesOnCluster;
use super::eval_args::Against;
use super::progress::progress;
use super::{At, Ended, Global, plural, print_json};

/// Compare two heads on the same images: mIoU and AP50, with 95 % bootstrap intervals of the differences.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore compare --head fine --with fine2 --split test
  grainstore compare --head fine --with coarse --classes groups   # different granularity, in coarse classes
  grainstore compare --head fine --policy 3f2a --with fine --with-policy 91c0   # one head under two policies")]
pub struct Args {
    /// Name or id of the first head.
    #[arg(long, value_name = "HEAD")]
    head: String,
    /// Name or id of the other head.
    #[arg(long, value_name = "HEAD")]
    with: String,
    #[command(flatten)]
    against: Against,
    /// First digits of the id of the first head's annotation policy [default: the one used last].
    #[arg(long, value_name = "ID")]
    policy: Option<String>,
    /// First digits of the id of the other head's annotation policy [default: the one used last].
    #[arg(long, value_name = "ID")]
    with_policy: Option<String>,
    /// Evaluate both in the classes of this set [default: that of the first head].
    #[arg(long, value_name = "NAME")]
    classes: Option<String>,
    /// Bootstrap samples of the images for mIoU.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    replicates: u32,
    /// Bootstrap samples for AP50.
    #[arg(long, default_value_t = 200, value_name = "N")]
    ap_replicates: u32,
    /// Seed of the samples.
    #[arg(long, default_value_t = 0)]
    seed: u32,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    on: QueriesOnCluster,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let request = CompareRequest {
        first: EvalRequest {
            classes: args.classes,
            policy: args.policy,
            ..args.against.request(args.head)
        },
        other: args.with,
        other_policy: args.with_policy,
        replicates: args.replicates,
        ap_replicates: args.ap_replicates,
        seed: args.seed,
    };
    let store = args.on.open(global).await?;
    let snapshot = args.at.snapshot(&store).await?;
    let progress = progress(global);
    let comparison = compare(&snapshot, &request, progress.as_ref()).await?;
    comparison.save(&store).await?;
    if global.json {
        print_json(&comparison)?;
    } else {
        print(&comparison)?;
    }
    Ok(Ended::Done)
}

fn print(comparison: &Comparison) -> anyhow::Result<()> {
    outln!(
        "in the classes of {} against {}: {}",
        comparison.classes,
        comparison.dataset,
        plural(comparison.images, "image")
    );
    let width = comparison.head.len().max(comparison.other.len()).max(8) + 2;
    outln!(
        "{:<14}{:>width$}{:>width$}{:>12}   95 % of samples",
        "",
        comparison.head,
        comparison.other,
        "difference"
    );
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.4}"));
    for metric in &comparison.metrics {
        outln!(
            "{:<14}{:>width$}{:>width$}{:>12}   {} to {}",
            metric.metric,
            number(metric.value),
            number(metric.other_value),
            number(metric.difference),
            number(metric.ci_low),
            number(metric.ci_high)
        );
    }
    Ok(())
}
