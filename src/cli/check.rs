//! `grainstore check`

use std::collections::HashMap;
use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use grainstore::query::{Query, QuerySession};
use grainstore::store::Verification;

use super::cluster::QueriesOnCluster;
use super::progress::progress;
use super::{At, Ended, Global, plural, print_json};

/// Number of rows shown per finding; its query shows all of them.
const SHOWN: usize = 10;

/// Check that the store is sound: runs every query of queries/check. Exit code 1 if one finds something.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore check
  grainstore check --deep --json
  grainstore query check/images_once")]
pub struct Args {
    /// First read every file completely and compare it with the checksum taken when it was written.
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    on: QueriesOnCluster,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = args.on.open(global).await?;
    let snapshot = args.at.snapshot(&store).await?;
    let mut verified = None;
    if args.deep {
        let found = snapshot.verify_all(progress(global).as_ref()).await?;
        if !found.damaged.is_empty() {
            print_damaged(&found, snapshot.version(), global)?;
            return Ok(Ended::Unhealthy);
        }
        verified = Some(found);
    }
    let session = QuerySession::new(&snapshot).await?;
    let mut findings = Vec::new();
    let mut checks = 0;
    for query in Query::all()? {
        if !query.name().starts_with("check/") {
            continue;
        }
        checks += 1;
        let mut rows = session.run(&query, &HashMap::new()).await?;
        let (mut count, mut shown) = (0, Vec::new());
        while let Some(batch) = rows.next().await? {
            if count < SHOWN && batch.num_rows() > 0 {
                shown.push(batch.slice(0, batch.num_rows().min(SHOWN - count)));
            }
            count += batch.num_rows();
        }
        if count > 0 {
            findings.push((query, count, shown));
        }
    }
    print(&findings, checks, verified, snapshot.version(), global)?;
    Ok(if findings.is_empty() {
        Ended::Done
    } else {
        Ended::Unhealthy
    })
}

type Finding = (Query, usize, Vec<RecordBatch>);

/// Queries are not run on damaged files, because their results could be wrong.
fn print_damaged(found: &Verification, version: u64, global: &Global) -> anyhow::Result<()> {
    if global.json {
        return print_json(&serde_json::json!({
            "version": version, "healthy": false, "verified": found,
        }));
    }
    let mut out = io::stdout().lock();
    for file in &found.damaged {
        writeln!(out, "'{}': {}", file.path, file.reason)?;
    }
    writeln!(
        out,
        "damaged: {} of {} of version {version}; nothing else was checked",
        found.damaged.len(),
        plural(found.files, "file")
    )?;
    Ok(())
}

fn print(
    findings: &[Finding],
    checks: usize,
    verified: Option<Verification>,
    version: u64,
    global: &Global,
) -> anyhow::Result<()> {
    if global.json {
        let found: Vec<_> = findings
            .iter()
            .map(|(query, count, _)| serde_json::json!({ "check": query.name(), "rows": count }))
            .collect();
        return print_json(&serde_json::json!({
            "version": version, "checks": checks, "healthy": findings.is_empty(), "findings": found,
            "verified": verified,
        }));
    }
    let mut out = io::stdout().lock();
    if let Some(found) = verified {
        writeln!(
            out,
            "{} as written, {}",
            plural(found.files - found.without_checksum, "file"),
            indicatif::HumanBytes(found.bytes)
        )?;
        if found.without_checksum > 0 {
            writeln!(
                out,
                "{} readable, but written by an earlier version of grainstore, which took no checksum",
                plural(found.without_checksum, "file")
            )?;
        }
    }
    for (query, count, shown) in findings {
        writeln!(
            out,
            "{}: {}. {}",
            query.name(),
            plural(*count as u64, "row"),
            query.asks()
        )?;
        writeln!(out, "{}", pretty_format_batches(shown)?)?;
        if *count > SHOWN {
            writeln!(
                out,
                "the first {SHOWN} rows; 'grainstore query {}' shows all",
                query.name()
            )?;
        }
    }
    match findings.len() {
        0 => writeln!(
            out,
            "healthy: {checks} checks of version {version} found nothing"
        )?,
        n => writeln!(
            out,
            "{n} of {checks} checks of version {version} found something"
        )?,
    }
    Ok(())
}
