//! `grainstore classes`

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use grainstore::classes::{
    ClassSet, ClassSetDiff, add_class_set, classes_of_ground_truth, classes_of_labels,
    parse_class_file,
};

use super::{Ended, Global, plural, print_json};

/// Define what heads distinguish: classes that each map to some of the source labels.
#[derive(Debug, Subcommand)]
pub enum Args {
    Add(AddArgs),
    List,
    Show(ShowArgs),
    Diff(DiffArgs),
}

/// Add a class set, or a new version of one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore classes add voc5 --file voc5.toml
  grainstore classes add all --from labels

A TOML file lists classes in the order of the head's outputs. Labels of no class are left out:
  [[class]]
  name = \"animals\"
  labels = [\"bird\", \"cat\", \"cow\", \"dog\", \"horse\", \"sheep\"]
  [[class]]
  name = \"person\"          # without labels, the name is the label
A CSV file has the columns class and label, and one row per label. Both may have supercategory, id and search
(words that 'collect' looks for images with).")]
pub struct AddArgs {
    /// Name of the class set.
    name: String,
    /// A .toml or .csv file.
    #[arg(long, value_name = "FILE", required_unless_present = "from")]
    file: Option<PathBuf>,
    /// Create one class per label, or per category, in the store.
    #[arg(long, value_name = "WHAT", conflicts_with = "file")]
    from: Option<From>,
    /// With --from: only of this data set.
    #[arg(long, value_name = "NAME", requires = "from")]
    dataset: Option<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    Labels,
    GroundTruth,
}

/// Show the classes of a set.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// Name of the set; NAME@VERSION for a version that is not the newest.
    name: String,
}

/// Show how one class set differs from another.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  grainstore classes diff voc5@1 voc5\n  grainstore classes diff voc voc5"
)]
pub struct DiffArgs {
    /// The older set: NAME or NAME@VERSION.
    old: String,
    /// The newer set.
    new: String,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    match args {
        Args::Add(args) => add(args, global).await?,
        Args::List => list(global).await?,
        Args::Show(args) => show(&args, global).await?,
        Args::Diff(args) => diff(&args, global).await?,
    }
    Ok(Ended::Done)
}

async fn add(args: AddArgs, global: &Global) -> anyhow::Result<()> {
    let (classes, origin) = match (&args.file, args.from) {
        (Some(file), _) => (parse_class_file(file)?, "file"),
        (None, Some(from)) => {
            let snapshot = super::open(global).await?.snapshot().await?;
            let dataset = args.dataset.as_deref();
            match from {
                From::Labels => (classes_of_labels(&snapshot, dataset).await?, "labels"),
                From::GroundTruth => (
                    classes_of_ground_truth(&snapshot, dataset).await?,
                    "ground-truth",
                ),
            }
        }
        (None, None) => anyhow::bail!("name a file with --file, or --from labels|ground-truth"),
    };
    let set = ClassSet::new(&args.name, classes)?;
    let store = super::open_or_create(global).await?;
    let added = add_class_set(&store, "classes add", &set, origin).await?;
    if global.json {
        return print_json(&added);
    }
    let count = match set.classes.len() {
        1 => "1 class".to_owned(),
        n => format!("{n} classes"),
    };
    if added.new {
        outln!("{}@{}: {count}", set.name, added.version)
    } else {
        outln!(
            "{}@{} already has the same content: {count}",
            set.name,
            added.version
        )
    }
    Ok(())
}

async fn list(global: &Global) -> anyhow::Result<()> {
    let snapshot = super::open(global).await?.snapshot().await?;
    let sets = ClassSet::all(&snapshot).await?;
    if global.json {
        return print_json(&sets);
    }
    let mut out = io::stdout().lock();
    for set in &sets {
        let names = set.class_names();
        let shown = names.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        let more = if names.len() > 8 { ", ..." } else { "" };
        let labels: usize = set.classes.iter().map(|class| class.labels.len()).sum();
        let labels = plural(labels as u64, "label");
        writeln!(
            out,
            "{}@{}  {} of {labels}: {shown}{more}",
            set.name,
            set.version,
            names.len()
        )?;
    }
    Ok(())
}

async fn show(args: &ShowArgs, global: &Global) -> anyhow::Result<()> {
    let snapshot = super::open(global).await?.snapshot().await?;
    let set = ClassSet::load(&snapshot, &args.name).await?;
    if global.json {
        return print_json(&set);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{}@{}", set.name, set.version)?;
    for (index, class) in set.classes.iter().enumerate() {
        let search = match class.search.as_slice() {
            [] => String::new(),
            words => format!("  (searched as {})", words.join(", ")),
        };
        writeln!(
            out,
            "{index:>4}  {}: {}{search}",
            class.name,
            class.labels.join(", ")
        )?;
    }
    Ok(())
}

async fn diff(args: &DiffArgs, global: &Global) -> anyhow::Result<()> {
    let snapshot = super::open(global).await?.snapshot().await?;
    let old = ClassSet::load(&snapshot, &args.old).await?;
    let new = ClassSet::load(&snapshot, &args.new).await?;
    let diff = ClassSetDiff::between(&old, &new);
    if global.json {
        return print_json(&diff);
    }
    let mut out = io::stdout().lock();
    if diff.is_empty() {
        writeln!(out, "no difference")?;
    }
    for class in &diff.added {
        writeln!(out, "+ {class}")?;
    }
    for class in &diff.removed {
        writeln!(out, "- {class}")?;
    }
    for class in &diff.relabelled {
        let labels = class.labels_added.iter().map(|label| format!("+{label}"));
        let gone = class.labels_removed.iter().map(|label| format!("-{label}"));
        writeln!(
            out,
            "~ {}: {}",
            class.class,
            labels.chain(gone).collect::<Vec<_>>().join(" ")
        )?;
    }
    if !diff.moved.is_empty() {
        writeln!(out, "moved: {}", diff.moved.join(", "))?;
    }
    if !diff.described.is_empty() {
        writeln!(
            out,
            "id, supercategory or search words changed: {}",
            diff.described.join(", ")
        )?;
    }
    Ok(())
}
