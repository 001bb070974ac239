//! `grainstore eval`

use std::collections::BTreeMap;
use std::io::{self, Write};

use grainstore::eval::{
    Ceiling, CeilingRequest, CeilingRow, EvalRequest, Evaluation, Metric, ceiling, evaluate,
};

use super::cluster::QueriesOnCluster;
use super::eval_args::Evaluated;
use super::progress::progress;
use super::{At, Ended, Global, plural, print_json};

/// Evaluate a head's annotation on ground truth: mIoU, COCO's 12 metrics for masks and for boxes, and metrics per
/// class.
///
/// Only what is kept under the policy counts; for a complete precision-recall curve, annotate with a low
/// --score-threshold. The metrics also become rows of 'evaluations'. Each comes from a query of queries/eval:
/// 'grainstore query eval/coco --show'.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore eval --head fine --split test
  grainstore eval --head fine --classes groups          # a fine head in coarser classes
  grainstore eval --ceiling --classes all --split test  # before any head: what do the masks allow?
  grainstore eval --head fine --slice \"CASE WHEN width * height > 250000 THEN 'large' ELSE 'small' END\"
  grainstore query eval/confusion --param head=fine --param dataset=scenes --format table")]
pub struct Args {
    /// Name or id of the head.
    #[arg(long, value_name = "HEAD", required_unless_present = "ceiling")]
    head: Option<String>,
    #[command(flatten)]
    evaluated: Evaluated,
    /// Print instead what the best head could reach that there could be with an extractor's masks: those of --head, or with
    /// --classes those of --extractor.
    #[arg(long, conflicts_with_all = ["policy", "slice"])]
    ceiling: bool,
    /// With --ceiling, first digits of the id of the extractor; needed if there are several and no --head.
    #[arg(long, value_name = "ID", requires = "ceiling", conflicts_with = "head")]
    extractor: Option<String>,
    /// What to compare the predictions with.
    #[arg(long, value_enum, default_value = "ground-truth", value_name = "WHAT")]
    against: Against,
    /// Compute the metrics for each value of an SQL expression over the columns of 'images'.
    #[arg(long, value_name = "SQL")]
    slice: Option<String>,
    /// Print the metrics without storing them.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    on: QueriesOnCluster,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Against {
    /// The annotated objects of a data set.
    GroundTruth,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let Against::GroundTruth = args.against;
    let store = args.on.open(global).await?;
    let snapshot = args.at.snapshot(&store).await?;
    let progress = progress(global);
    let Some(head) = args.head.clone().filter(|_| !args.ceiling) else {
        if args.head.is_none() && args.evaluated.classes.is_none() {
            anyhow::bail!("--ceiling needs --classes, or a --head whose classes are meant");
        }
        let request = CeilingRequest {
            classes: args.evaluated.classes,
            extractor: args.extractor,
            head: args.head,
            images: args.evaluated.against.images(),
        };
        let found = ceiling(&snapshot, &request, progress.as_ref()).await?;
        if global.json {
            print_json(&found)?;
        } else {
            print_ceiling(&found)?;
        }
        return Ok(Ended::Done);
    };
    let request = EvalRequest {
        slice: args.slice,
        ..args.evaluated.request(head)
    };
    let evaluation = evaluate(&snapshot, &request, progress.as_ref()).await?;
    if !args.dry_run {
        evaluation.save(&store).await?;
    }
    if global.json {
        print_json(&evaluation)?;
    } else {
        print(&evaluation)?;
    }
    tell_of_boxes(&evaluation, global);
    Ok(Ended::Done)
}

/// Prints a ceiling: all classes by size, then each class.
fn print_ceiling(ceiling: &Ceiling) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "the best that a head could do with the masks of extractor {} in the classes of {} against {}: {}",
        ceiling.extractor_id,
        ceiling.classes,
        ceiling.dataset,
        plural(ceiling.images, "image")
    )?;
    writeln!(out, "\n  mIoU {:>11}", number(ceiling.miou))?;
    let longest = ceiling.rows.iter().filter_map(|row| row.class.as_ref());
    let longest = longest.map(|class| class.chars().count()).max();
    let width = longest.unwrap_or(0).max("background".len()) + 2;
    writeln!(
        out,
        "\n{:<width$}{:>8}{:>12}{:>10}{:>8}{:>8}{:>8}",
        "objects", "count", "uncovered", "mean IoU", "AR@100", "AP50", "IoU"
    )?;
    let line = |out: &mut io::StdoutLock<'_>, name: &str, row: &CeilingRow, iou: Option<f64>| {
        let share = row.uncovered as f64 / row.objects.max(1) as f64;
        writeln!(
            out,
            "{name:<width$}{:>8}{:>10.1} %{:>10}{:>8}{:>8}{:>8}",
            row.objects,
            share * 100.0,
            number(row.mean_iou),
            number(row.ar_100),
            number(row.ap50),
            iou.map_or(String::new(), |iou| number(Some(iou)))
        )
    };
    for row in ceiling.rows.iter().filter(|row| row.class.is_none()) {
        line(&mut out, &row.area, row, None)?;
    }
    writeln!(out)?;
    for row in &ceiling.rows {
        if let (Some(class), "all") = (&row.class, row.area.as_str()) {
            let iou = ceiling.iou.iter();
            let mut iou = iou.filter(|it| it.class.as_ref() == Some(class));
            line(&mut out, class, row, iou.next().and_then(|it| it.value))?;
        }
    }
    writeln!(
        out,
        "\nuncovered: objects with which no mask has an IoU of 0.5; 'grainstore extract' with a denser grid finds more"
    )?;
    Ok(())
}

/// Says what objects without a mask mean for the metrics.
fn tell_of_boxes(evaluation: &Evaluation, global: &Global) {
    let (objects, boxes) = (evaluation.objects, evaluation.objects_without_mask);
    if global.quiet || boxes == 0 {
        return;
    }
    if boxes == objects {
        errln!(
            "the ground truth has boxes only: metrics of masks and pixels are undefined and shown as '-'"
        );
    } else {
        errln!(
            "{boxes} of {} have a box but no mask: they count in box metrics only; all other metrics ignore their boxes",
            plural(objects, "object")
        );
    }
}

fn print(evaluation: &Evaluation) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "head '{}' in the classes of {} against {}: {}",
        evaluation.head,
        evaluation.classes,
        evaluation.dataset,
        plural(evaluation.images, "image")
    )?;
    writeln!(
        out,
        "policy {}: {}",
        evaluation.policy_id, evaluation.policy
    )?;
    if evaluation.images_without_predictions > 0 {
        writeln!(
            out,
            "{} without a prediction: their objects count as missed",
            plural(evaluation.images_without_predictions, "image")
        )?;
    }
    let mut slices: Vec<Option<&str>> = Vec::new();
    for metric in &evaluation.metrics {
        if !slices.contains(&metric.slice.as_deref()) {
            slices.push(metric.slice.as_deref());
        }
    }
    for slice in slices {
        if let Some(slice) = slice {
            writeln!(out, "\n== {slice}")?;
        }
        let metrics: Vec<&Metric> = evaluation
            .metrics
            .iter()
            .filter(|metric| metric.slice.as_deref() == slice)
            .collect();
        print_overall(&mut out, &metrics)?;
        print_classes(&mut out, &metrics)?;
    }
    Ok(())
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// Prints metrics over all classes, one per line.
fn print_overall(out: &mut impl Write, metrics: &[&Metric]) -> io::Result<()> {
    let heading = |metric: &Metric| match metric.query.as_str() {
        "eval/coco" | "eval/calibration_error" if metric.metric.starts_with("box_") => "boxes",
        "eval/coco" | "eval/calibration_error" => "masks",
        _ => "pixels",
    };
    for (part, title) in [
        ("pixels", "pixels"),
        ("masks", "masks (as COCO)"),
        ("boxes", "boxes (as COCO)"),
    ] {
        writeln!(out, "\n{title}")?;
        let of_part = metrics
            .iter()
            .filter(|it| it.class.is_none() && heading(it) == part);
        for metric in of_part {
            let name = metric.metric.trim_start_matches("box_");
            writeln!(out, "  {name:<16}{:>8}", number(metric.value))?;
        }
    }
    Ok(())
}

/// Prints metrics per class, one class per line.
fn print_classes(out: &mut impl Write, metrics: &[&Metric]) -> io::Result<()> {
    const COLUMNS: [(&str, &str); 5] = [
        ("iou", "IoU"),
        ("ap", "AP"),
        ("ap50", "AP50"),
        ("box_ap", "box AP"),
        ("box_ap50", "box AP50"),
    ];
    let mut classes: Vec<&str> = Vec::new();
    let mut values: BTreeMap<(&str, &str), Option<f64>> = BTreeMap::new();
    for metric in metrics {
        let Some(class) = &metric.class else {
            continue;
        };
        if !classes.contains(&class.as_str()) {
            classes.push(class);
        }
        values.insert((class, &metric.metric), metric.value);
    }
    let longest = classes.iter().map(|class| class.chars().count()).max();
    let width = longest.unwrap_or(0).max("class".len()) + 2;
    write!(out, "\n{:<width$}", "class")?;
    for (_, name) in COLUMNS {
        write!(out, "{name:>10}")?;
    }
    writeln!(out)?;
    for class in classes {
        write!(out, "{class:<width$}")?;
        for (metric, _) in COLUMNS {
            let value = values.get(&(class, metric)).copied().flatten();
            write!(out, "{:>10}", number(value))?;
        }
        writeln!(out)?;
    }
    Ok(())
}
