//! `grainstore store`

use std::io::{self, Write};
use std::path::PathBuf;

use chrono::TimeDelta;
use clap::Subcommand;
use grainstore::compact::compact_with_workers;
use grainstore::ingest::RelocateRequest;
use grainstore::ingest::{RelocateSummary, Relocation, relocate};
use grainstore::jobs::{JobOptions, RunPlan};
use grainstore::store::TableStats;

use super::cluster::run_on;
use super::progress::progress;
use super::{At, Ended, Global, TableNames, plural, print_json};

/// Inspect and maintain the store: sizes, history, tags, moved photos, compaction, clean-up.
#[derive(Debug, Subcommand)]
pub enum Args {
    Info(InfoArgs),
    Log(LogArgs),
    Tags(TagsArgs),
    Tag(TagArgs),
    Untag(UntagArgs),
    Relocate(RelocateArgs),
    Copy(CopyArgs),
    Compact(CompactArgs),
    Cleanup(CleanupArgs),
    #[command(subcommand)]
    Index(super::store_index::Args),
}

/// Copy the store with its history to an empty place: up to a bucket, or down to a disk.
///
/// Every file is compared with its checksum on the way. An interrupted copy goes on when it is started again. Photos stay where
/// they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore --store demo/store store copy s3://bucket/store
  grainstore --store s3://bucket/store store copy backup/store")]
pub struct CopyArgs {
    /// Where the copy goes: a directory or a bucket.
    to: String,
}

/// Maximum number of missing photos whose names are shown.
const SHOWN: usize = 10;

/// Show the rows, files and bytes of every table.
#[derive(Debug, clap::Args)]
pub struct InfoArgs {
    #[command(flatten)]
    at: At,
}

/// List all commits, oldest first.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// Only the newest N commits.
    #[arg(short = 'n', long, value_name = "N")]
    limit: Option<usize>,
}

/// List all tags.
#[derive(Debug, clap::Args)]
pub struct TagsArgs {}

/// Give a version a name. Clean-up keeps tagged versions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  grainstore store tag before-relabel")]
pub struct TagArgs {
    /// The tag.
    tag: String,
    #[command(flatten)]
    at: At,
}

/// Remove a tag.
#[derive(Debug, clap::Args)]
pub struct UntagArgs {
    /// The tag.
    tag: String,
}

/// Find photos that were moved or renamed, and store their new paths.
///
/// Photos are identified by their bytes. Nothing else in the store changes. Exports keep a photo's file name if its new
/// path ends in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore store relocate /mnt/photos
  grainstore store relocate /fast/photos --all      # also photos that have not moved")]
pub struct RelocateArgs {
    /// The directory to look in, including everything below it.
    directory: PathBuf,
    /// Also use the path below DIRECTORY for photos that are still at the stored path.
    #[arg(long)]
    all: bool,
}

/// Merge small data files, because many small commits make reading slow.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  grainstore store compact
  grainstore --store s3://bucket/photos store compact --cluster 10.0.0.1:50050")]
pub struct CompactArgs {
    /// Have the files merged by the executors of a cluster, known by its scheduler. This process commits what they made; a run
    /// that is interrupted changes nothing.
    #[arg(long, value_name = "HOST:PORT", help_heading = "Cluster")]
    cluster: Option<String>,
}

/// Remove old versions and free their disk space. The newest version and tagged ones stay.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  grainstore store cleanup --older-than 12h")]
pub struct CleanupArgs {
    /// Remove versions older than this: a number with s, m, h, d or w.
    #[arg(long, default_value = "7d", value_parser = parse_age, value_name = "AGE")]
    older_than: TimeDelta,
}

fn parse_age(text: &str) -> Result<TimeDelta, String> {
    let wrong =
        || format!("'{text}' is not an age: expected a number with s, m, h, d or w, like 7d");
    let unit = text.chars().last().ok_or_else(wrong)?;
    let number = text.strip_suffix(unit).ok_or_else(wrong)?;
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let age = match unit {
        's' => TimeDelta::try_seconds(number),
        'm' => TimeDelta::try_minutes(number),
        'h' => TimeDelta::try_hours(number),
        'd' => TimeDelta::try_days(number),
        'w' => TimeDelta::try_weeks(number),
        _ => None,
    };
    age.filter(|age| *age >= TimeDelta::zero() && *age < TimeDelta::days(36_500))
        .ok_or_else(wrong)
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    match args {
        Args::Index(args) => return super::store_index::run(args, &store, global).await,
        Args::Info(args) => {
            let snapshot = args.at.snapshot(&store).await?;
            let mut stats = snapshot.stats().await?;
            let names = TableNames::of(&snapshot).await?;
            for table in &mut stats {
                table.table = names.name(&table.table).to_owned();
            }
            if global.json {
                print_json(&serde_json::json!({
                    "store": store.uri(), "version": snapshot.version(),
                    "options": store.options(), "tables": stats,
                }))?;
            } else {
                print_stats(&stats, store.uri(), snapshot.version())?;
            }
        }
        Args::Log(args) => {
            let mut log = store.log().await?;
            let skip = args
                .limit
                .map_or(0, |limit| log.len().saturating_sub(limit));
            log.drain(..skip);
            if global.json {
                print_json(&log)?;
            } else {
                print_log(&log, &TableNames::of(&store.snapshot().await?).await?)?;
            }
        }
        Args::Tags(_) => {
            let tags = store.tags().await?;
            if global.json {
                print_json(&tags)?;
            } else {
                let mut out = io::stdout().lock();
                for tag in tags {
                    let created = tag.created_at.format("%F %T");
                    writeln!(out, "{}  version {}  {created} UTC", tag.tag, tag.version)?;
                }
            }
        }
        Args::Tag(args) => {
            let snapshot = args.at.snapshot(&store).await?;
            let tag = store.create_tag(&args.tag, &snapshot).await?;
            tell(global, &tag, || {
                format!("tagged version {} as '{}'", tag.version, tag.tag)
            })?;
        }
        Args::Untag(args) => {
            store.delete_tag(&args.tag).await?;
            let removed = serde_json::json!({ "removed": args.tag });
            tell(global, &removed, || format!("removed tag '{}'", args.tag))?;
        }
        Args::Relocate(args) => {
            let which = if args.all {
                Relocation::All
            } else {
                Relocation::Lost
            };
            let progress = progress(global);
            let summary = relocate(
                &store,
                &RelocateRequest {
                    directory: args.directory,
                    which,
                },
                progress.as_ref(),
            )
            .await?;
            tell(global, &summary, || relocated(&summary))?;
            return Ok(Ended::with_failures(summary.failed));
        }
        Args::Compact(args) => {
            let mut stats = match &args.cluster {
                Some(scheduler) => {
                    let progress = progress(global);
                    let compact = async |workers: &dyn RunPlan, job: &JobOptions| {
                        compact_with_workers(&store, workers, job, progress.as_ref()).await
                    };
                    run_on(scheduler, &JobOptions::default(), compact).await?
                }
                None => store.compact().await?,
            };
            let names = TableNames::of(&store.snapshot().await?).await?;
            for table in &mut stats {
                table.table = names.name(&table.table).to_owned();
            }
            tell(global, &stats, || {
                if stats.is_empty() {
                    "nothing to compact".to_owned()
                } else {
                    stats
                        .iter()
                        .map(|s| {
                            format!(
                                "{}: {} files became {}",
                                s.table, s.files_before, s.files_after
                            )
                        })
                        .collect::<Vec<_>>()
                        .join("\n")
                }
            })?;
        }
        Args::Copy(args) => {
            let progress = progress(global);
            let started = std::time::Instant::now();
            let copied = store
                .copy_to(&args.to, &global.storage(), progress.as_ref())
                .await?;
            if global.json {
                super::print_json_summary(&copied, started.elapsed().as_secs_f64())?;
            } else if !global.quiet {
                errln!(
                    "copied {} of {} bytes to '{}'; 'grainstore --store {} check --deep' reads them again",
                    plural(copied.files, "file"),
                    copied.bytes,
                    args.to,
                    args.to
                );
            }
        }
        Args::Cleanup(args) => {
            let stats = store.cleanup(args.older_than).await?;
            tell(global, &stats, || {
                format!(
                    "removed {} and {}, freed {}",
                    plural(stats.commits, "commit"),
                    plural(stats.table_versions, "table version"),
                    indicatif::HumanBytes(stats.bytes)
                )
            })?;
        }
    }
    Ok(Ended::Done)
}

fn tell(
    global: &Global,
    value: &impl serde::Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    if global.json {
        return print_json(value);
    }
    if !global.quiet {
        errln!("{}", text());
    }
    Ok(())
}

fn relocated(summary: &RelocateSummary) -> String {
    let mut text = format!("{} got a new path", plural(summary.relocated, "image"));
    if summary.in_place > 0 {
        text += &format!(", {} have not moved", summary.in_place);
    }
    if !summary.lost.is_empty() {
        text += &format!(
            "\n{} found neither there nor at the stored path:",
            plural(summary.lost.len() as u64, "image")
        );
        for path in summary.lost.iter().take(SHOWN) {
            text += &format!("\n  {}", path.display());
        }
        if summary.lost.len() > SHOWN {
            text += "\n  ... ('--json' lists them all)";
        }
    }
    text
}

fn print_stats(stats: &[TableStats], uri: &str, version: u64) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{uri}, version {version}")?;
    let longest = stats.iter().map(|table| table.table.len()).max();
    let width = longest.unwrap_or(0).max(14);
    writeln!(
        out,
        "{:<width$} {:>12} {:>7} {:>12}",
        "table", "rows", "files", "size"
    )?;
    for table in stats {
        let size = indicatif::HumanBytes(table.bytes).to_string();
        writeln!(
            out,
            "{:<width$} {:>12} {:>7} {size:>12}",
            table.table, table.rows, table.files
        )?;
    }
    Ok(())
}

fn print_log(log: &[grainstore::store::CommitRecord], names: &TableNames) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for record in log {
        let deleted = record.deleted.iter().map(|(table, n)| (table, '-', n));
        let added = record.rows.iter().map(|(table, n)| (table, '+', n));
        let rows: Vec<_> = deleted
            .chain(added)
            .filter(|(.., n)| **n > 0)
            .map(|(table, sign, n)| format!("{} {sign}{n}", names.name(table)))
            .collect();
        writeln!(
            out,
            "{:>6}  {} UTC  {:<14} {}",
            record.version,
            record.committed_at.format("%F %T"),
            record.operation,
            rows.join(", ")
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read() {
        assert_eq!(parse_age("7d"), Ok(TimeDelta::days(7)));
        assert_eq!(parse_age("0s"), Ok(TimeDelta::zero()));
        for bad in ["", "7", "d", "-1d", "7 d", "99999999999w", "7é"] {
            assert!(parse_age(bad).is_err(), "{bad}");
        }
    }
}
