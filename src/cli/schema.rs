//! `grainstore schema`

use std::collections::BTreeMap;
use std::io::{self, Write};

use grainstore::schema::Table;

use super::{Ended, Global, print_json};

/// Print the table declarations: every column with its unit and range.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  grainstore schema\n  grainstore schema masks")]
pub struct Args {
    /// The table [default: all tables].
    table: Option<String>,
}

pub fn run(args: &Args, global: &Global) -> anyhow::Result<Ended> {
    let tables = match &args.table {
        None => Table::ALL.to_vec(),
        Some(name) => match Table::from_name(name) {
            Some(table) => vec![table],
            None => {
                let names = Table::ALL.map(Table::name).join(", ");
                anyhow::bail!("there is no table '{name}'; the tables are {names}");
            }
        },
    };
    if global.json {
        let ddl = tables.iter().map(|it| (it.name(), it.ddl()));
        print_json(&ddl.collect::<BTreeMap<_, _>>())?;
        return Ok(Ended::Done);
    }
    let ddl: Vec<&str> = tables.iter().map(|table| table.ddl()).collect();
    write!(io::stdout().lock(), "{}", ddl.join("\n"))?;
    Ok(Ended::Done)
}
