//! `grainstore query`

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use grainstore::query::Query;

use super::cluster::QueriesOnCluster;
use super::output::Output;
use super::statement::{by_parameter, parse_pair, run_query};
use super::{At, Ended, Global, print_json};

/// Run a named query, or one of your own.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore query --list
  grainstore query review/labels --param dataset=coco
  grainstore query review/labels --show > mine.sql
  grainstore query --file mine.sql --param dataset=coco")]
pub struct Args {
    /// Name of the query. The folder may be left out if the rest is unambiguous.
    #[arg(required_unless_present_any = ["list", "file"])]
    name: Option<String>,
    /// Value of a parameter; NULL for no value.
    #[arg(long = "param", value_name = "KEY=VALUE", value_parser = parse_pair)]
    parameters: Vec<(String, String)>,
    /// List the queries with their questions.
    #[arg(long, conflicts_with_all = ["name", "file"])]
    list: bool,
    /// Print the query instead of running it.
    #[arg(long)]
    show: bool,
    /// Run the query in this file.
    #[arg(short, long, value_name = "FILE", conflicts_with = "name")]
    file: Option<PathBuf>,
    #[command(flatten)]
    at: At,
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    on: QueriesOnCluster,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    if args.list {
        list(global)?;
        return Ok(Ended::Done);
    }
    let query = match (&args.file, &args.name) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file)
                .with_context(|| format!("cannot read '{}'", file.display()))?;
            Query::parse(&file.display().to_string(), &text)?
        }
        (None, Some(name)) => Query::named(name)?,
        (None, None) => anyhow::bail!("name a query; 'grainstore query --list' lists them"),
    };
    if args.show {
        if global.json {
            print_json(&serde_json::json!({ "name": query.name(), "sql": query.sql() }))?
        } else {
            io::stdout().lock().write_all(query.sql().as_bytes())?
        }
        return Ok(Ended::Done);
    }
    let parameters = by_parameter(args.parameters)?;
    let store = args.on.open(global).await?;
    let snapshot = args.at.snapshot(&store).await?;
    run_query(&query, &snapshot, &parameters, &args.output, global).await?;
    Ok(Ended::Done)
}

fn list(global: &Global) -> anyhow::Result<()> {
    let queries = Query::all()?;
    if global.json {
        let rows: Vec<_> = queries.iter().map(describe).collect();
        return print_json(&rows);
    }
    let mut out = io::stdout().lock();
    for query in &queries {
        writeln!(out, "{}\n    {}", query.name(), query.asks())?;
        for parameter in query.parameters() {
            let default = match &parameter.default {
                Some(default) => format!(" = {default}"),
                None => ", required".to_owned(),
            };
            let about = match parameter.about.as_str() {
                "" => String::new(),
                about => format!(" ({about})"),
            };
            writeln!(
                out,
                "    --param {}: {}{default}{about}",
                parameter.name,
                parameter.kind.describe()
            )?;
        }
    }
    Ok(())
}

fn describe(query: &Query) -> serde_json::Value {
    let parameters: Vec<_> = query
        .parameters()
        .iter()
        .map(|parameter| {
            serde_json::json!({
                "name": parameter.name,
                "type": parameter.kind.describe(),
                "default": parameter.default,
                "about": parameter.about,
            })
        })
        .collect();
    serde_json::json!({
        "name": query.name(),
        "asks": query.asks(),
        "grain": query.grain(),
        "columns": query.columns(),
        "params": parameters,
    })
}
