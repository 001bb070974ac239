//! `grainstore schema`

use std::io::{self, Write};

use grainstore::schema::Table;

use super::Ended;

/// Print how tables are declared: every column with its unit and range.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  grainstore schema\n  grainstore schema masks")]
pub struct Args {
    /// One table; all of them if left out.
    table: Option<String>,
}

pub fn run(args: &Args) -> anyhow::Result<Ended> {
    let mut out = io::stdout().lock();
    let Some(name) = &args.table else {
        for table in Table::ALL {
            writeln!(out, "{}", table.ddl())?;
        }
        return Ok(Ended::Done);
    };
    let Some(table) = Table::from_name(name) else {
        let names = Table::ALL.map(Table::name).join(", ");
        anyhow::bail!("there is no table '{name}'; the tables are {names}");
    };
    write!(out, "{}", table.ddl())?;
    Ok(Ended::Done)
}
