//! `grainstore heads`

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use grainstore::catalogue::{embedders_stored, find_head, heads_stored};
use grainstore::export::Unfinished;
use grainstore::head::{
    Curve, HeadStatus, Removal, StoredSpec, Words, ZeroShotRequest, export_head, head_status,
    import_head, load_head, plot_curves, remove_head, rename_head, zero_shot,
};
use grainstore::store::rows::{EmbedderRow, HeadRow};
use serde_json::{Value, json};

use super::progress::progress;
use super::{Ended, Global, print_json};

/// List, inspect, move and remove trained heads.
#[derive(Debug, Subcommand)]
pub enum Args {
    /// List all heads, oldest first. The newest head of each name is the one in use.
    List,
    /// Show how a head was trained.
    Show(NamedArgs),
    /// Show which heads are out of date: rows were added, or their class set has a newer version.
    Status(StatusArgs),
    /// Make a head from the names of its classes, with a CLIP that has embedded the masks; nothing is trained.
    ZeroShot(ZeroShotArgs),
    /// Write a head to a safetensors file, with everything that 'import' needs.
    Export(ExportArgs),
    /// Add a head from a file that 'export' wrote.
    Import(ImportArgs),
    /// Remove a head, and the student and teacher that it was trained from if nothing else uses them.
    Rm(RmArgs),
    /// Give a head another name.
    Rename(RenameArgs),
    /// Draw a head's loss and accuracy by epoch, as SVG.
    Plot(ExportArgs),
}

#[derive(Debug, clap::Args)]
pub struct NamedArgs {
    /// Name of the head, or the first digits of its id.
    head: String,
}

#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Only this head [default: the newest of each name].
    head: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore embed --checkpoint clip-vit-base-patch32/ --name clip
  grainstore heads zero-shot words --classes voc --embedder clip --checkpoint clip-vit-base-patch32/
  grainstore heads zero-shot words --classes voc --embedder clip --checkpoint clip-vit-base-patch32/ \\
      --template 'a photo of a {}.' --template 'a close-up of a {}.'
  grainstore annotate --head words --score-threshold 0.7")]
pub struct ZeroShotArgs {
    /// Name of the head. An existing head of this name stays as an older one.
    name: String,
    /// The class set: NAME or NAME@VERSION.
    #[arg(long, value_name = "NAME")]
    classes: String,
    /// The embedder: its name, or the first digits of its id.
    #[arg(long, value_name = "NAME")]
    embedder: String,
    /// The weights that the embedder was made with.
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
    /// A text with {} in the place of the class; the vectors of several are averaged [default: 'a photo of a {}.'].
    #[arg(long, value_name = "TEXT")]
    template: Vec<String>,
    /// What describes a class: names, or labels (all labels that map to it, averaged).
    #[arg(long, default_value = "names", value_name = "WHICH")]
    words: Words,
    /// What everything else is called; for a set of one class.
    #[arg(long, value_name = "TEXT")]
    background: Option<String>,
    /// First digits of the id of the extractor whose masks the head predicts; needed if the embedder has done several.
    #[arg(long, value_name = "ID")]
    extractor: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// Name of the head, or the first digits of its id.
    head: String,
    /// The file to write.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// The file.
    file: PathBuf,
    /// Name for the head [default: its own].
    #[arg(long)]
    name: Option<String>,
}

#[derive(Debug, clap::Args)]
pub struct RmArgs {
    /// Name of the head, or the first digits of its id.
    head: String,
    /// Remove it even if it has predictions; they and its evaluations are removed, too.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, clap::Args)]
pub struct RenameArgs {
    /// Name of the head, or the first digits of its id.
    head: String,
    /// The new name.
    new_name: String,
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    if let Args::Import(args) = &args {
        let store = super::open_or_create(global).await?;
        let row = import_head(&store, &args.file, args.name.as_deref()).await?;
        return told(global, &row, "imported");
    }
    let store = super::open(global).await?;
    let snapshot = store.snapshot().await?;
    match args {
        Args::List => list(&heads_stored(&snapshot).await?, global),
        Args::Show(args) => {
            let embedders = embedders_stored(&snapshot).await?;
            show(&find_head(&snapshot, &args.head).await?, &embedders, global)
        }
        Args::Status(args) => {
            let rows = match &args.head {
                Some(name) => vec![find_head(&snapshot, name).await?],
                None => newest(heads_stored(&snapshot).await?),
            };
            let mut found = Vec::new();
            for row in &rows {
                found.push(head_status(&snapshot, row).await?);
            }
            status(&found, global)
        }
        Args::Export(args) => {
            let head = load_head(&snapshot, &args.head).await?;
            write(&args.output, &export_head(&head)?)?;
            told(global, &head.row, "exported")
        }
        Args::Plot(args) => {
            let head = load_head(&snapshot, &args.head).await?;
            let curves: Vec<Curve> = serde_json::from_str(&head.row.curves)?;
            write(
                &args.output,
                plot_curves(&head.row.head, &curves)?.as_bytes(),
            )?;
            told(global, &head.row, "plotted")
        }
        Args::Rm(args) => {
            let removal = if args.force {
                Removal::Any
            } else {
                Removal::Unused
            };
            let removed = remove_head(&store, &args.head, removal).await?;
            if global.json {
                let name = |row: &HeadRow| json!({ "head": row.head, "head_id": row.head_id });
                print_json(&json!({ "removed": removed.iter().map(name).collect::<Vec<_>>() }))?;
            } else {
                for row in &removed {
                    outln!("removed head '{}' ({})", row.head, row.head_id);
                }
            }
            Ok(Ended::Done)
        }
        Args::Rename(args) => {
            let row = rename_head(&store, &args.head, &args.new_name).await?;
            told(global, &row, "renamed")
        }
        Args::ZeroShot(args) => {
            let request = ZeroShotRequest {
                name: args.name,
                classes: args.classes,
                embedder: args.embedder,
                checkpoint: args.checkpoint,
                templates: args.template,
                words: args.words,
                background: args.background,
                extractor: args.extractor,
            };
            let progress = progress(global);
            let row = zero_shot(&store, &request, progress.as_ref()).await?;
            told(global, &row, "made")
        }
        Args::Import(_) => Ok(Ended::Done),
    }
}

/// Writes a file that appears when it is complete; until then an existing one stays.
fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let new = Unfinished::new(path)?;
    let written = new.create()?.write_all(bytes);
    written.with_context(|| format!("cannot write '{}'", path.display()))?;
    new.finish()?;
    Ok(())
}

fn told(global: &Global, row: &HeadRow, done: &str) -> anyhow::Result<Ended> {
    if global.json {
        print_json(&json!({ "head": row.head, "head_id": row.head_id, "done": done }))?
    } else {
        outln!("{done} head '{}' ({})", row.head, row.head_id)
    }
    Ok(Ended::Done)
}

/// The newest head of each name.
fn newest(rows: Vec<HeadRow>) -> Vec<HeadRow> {
    let mut newest: Vec<HeadRow> = Vec::new();
    for row in rows {
        newest.retain(|other| other.head != row.head);
        newest.push(row);
    }
    newest
}

fn list(rows: &[HeadRow], global: &Global) -> anyhow::Result<Ended> {
    if global.json {
        print_json(&rows.iter().map(about).collect::<anyhow::Result<Vec<_>>>()?)?;
        return Ok(Ended::Done);
    }
    let mut out = io::stdout().lock();
    for row in rows {
        writeln!(
            out,
            "{:.8}  {}  {}@{}, {} images, {} masks, {:.1} s, {}",
            row.head_id.as_str(),
            row.head,
            row.class_set,
            row.class_set_version,
            row.images_read,
            row.rows_read,
            row.seconds,
            row.created_at.format("%Y-%m-%d %H:%M:%S UTC")
        )?;
    }
    Ok(Ended::Done)
}

/// All values of a row except its weights.
fn about(row: &HeadRow) -> anyhow::Result<Value> {
    let row = HeadRow {
        weights: None,
        ..row.clone()
    };
    let Value::Object(mut map) = serde_json::to_value(&row)? else {
        anyhow::bail!("the row of head '{}' is no JSON object", row.head);
    };
    map.insert("spec".to_owned(), serde_json::from_str(&row.spec)?);
    map.insert("curves".to_owned(), serde_json::from_str(&row.curves)?);
    map.remove("weights");
    Ok(Value::Object(map))
}

/// What a head reads of a mask: 'tokens', 'shape' and names of embedders, or ids of those that the store does not have.
fn reads(row: &HeadRow, embedders: &[EmbedderRow]) -> anyhow::Result<Vec<String>> {
    let words: Vec<String> = serde_json::from_str(&row.inputs)?;
    let name = |word: String| {
        let mut known = embedders.iter();
        let known = known.find(|embedder| embedder.embedder_id.as_str() == word);
        known.map_or(word, |embedder| embedder.embedder.clone())
    };
    Ok(words.into_iter().map(name).collect())
}

fn show(row: &HeadRow, embedders: &[EmbedderRow], global: &Global) -> anyhow::Result<Ended> {
    if global.json {
        print_json(&about(row)?)?;
        return Ok(Ended::Done);
    }
    let spec = StoredSpec::of_row(row)?;
    let mut out = io::stdout().lock();
    writeln!(out, "head      {} ({})", row.head, row.head_id)?;
    writeln!(
        out,
        "classes   {}@{}: {}",
        row.class_set,
        row.class_set_version,
        spec.head.classes.join(", ")
    )?;
    writeln!(
        out,
        "layers    {:?}, dropout {}",
        spec.head.widths(),
        spec.head.dropout
    )?;
    writeln!(out, "extractor {}", row.extractor_id)?;
    writeln!(
        out,
        "reads     {}, normalised: {}",
        reads(row, embedders)?.join(", "),
        row.normalise
    )?;
    let source = match (&row.device, row.store_version) {
        (None, _) => "elsewhere; predictions imported".to_owned(),
        (Some(device), None) => format!("{:.1} s on {device}, in another store", row.seconds),
        (Some(device), Some(version)) => {
            format!(
                "{:.1} s on {device}, of store version {version}",
                row.seconds
            )
        }
    };
    if row.is_from_words() {
        writeln!(out, "made      of words, not trained")?;
        writeln!(out, "words     {}", row.query)?;
        return Ok(Ended::Done);
    }
    writeln!(
        out,
        "trained   on {} images, {} masks, {source}",
        row.images_read, row.rows_read
    )?;
    if let Some(labels) = spec.mask_labels {
        writeln!(
            out,
            "masks     {} labelled with classes, {} with none, {} with what they do not show",
            labels.classes, labels.background, labels.not
        )?;
    }
    if let Some(parent) = &row.parent_head_id {
        writeln!(out, "parent    {parent}")?;
    }
    if let Some(teacher) = &row.teacher_head_id {
        writeln!(out, "teacher   {teacher}")?;
    }
    writeln!(out, "options   {}", serde_json::to_string(&spec.options)?)?;
    writeln!(out, "query     {}", row.query.replace('\n', "\n          "))?;
    let curves: Vec<Curve> = serde_json::from_str(&row.curves)?;
    for curve in curves {
        writeln!(out, "          {curve}, {:.1} s", curve.seconds)?;
    }
    Ok(Ended::Done)
}

fn status(found: &[HeadStatus], global: &Global) -> anyhow::Result<Ended> {
    if global.json {
        print_json(&found)?;
        return Ok(Ended::Done);
    }
    let mut out = io::stdout().lock();
    for status in found {
        let word = if status.stale { "stale  " } else { "current" };
        write!(out, "{word}  {}", status.head)?;
        match (status.images_added, status.masks_added) {
            (Some(images), Some(masks)) => {
                write!(out, ": {images} images, {masks} masks added")?;
                if let Some(labels) = status.labels_changed.filter(|labels| *labels > 0) {
                    write!(out, ", labels of {labels} masks changed")?;
                }
            }
            _ => write!(
                out,
                ": added rows unknown ({})",
                status.unknown.as_deref().unwrap_or("")
            )?,
        }
        match status.newest_class_set_version {
            None => write!(
                out,
                "; its class set '{}' is not in this store",
                status.class_set
            )?,
            Some(newest) if newest > status.class_set_version => write!(
                out,
                "; '{}' is at version {newest}, the head at {}",
                status.class_set, status.class_set_version
            )?,
            Some(_) => {}
        }
        writeln!(out)?;
    }
    Ok(Ended::Done)
}
