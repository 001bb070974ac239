//! `grainstore search`

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};
use grainstore::Error;
use grainstore::catalogue::{embedders_stored, find_embedder, find_extractor, find_image};
use grainstore::error::{CatalogueError, Named};
use grainstore::export::Unfinished;
use grainstore::ids::ImageId;
use grainstore::neighbours::{
    ClipTexts, NearestRequest, Neighbour, Neighbours, Search, SearchQuery, SearchedTable,
    TextVectors, nearest,
};
use grainstore::picture::{ContactSheet, SheetRequest, Tile, contact_sheet};
use grainstore::selection::{ImageFilter, find_images};
use grainstore::store::Snapshot;
use grainstore::store::rows::EmbedderRow;

use super::progress::progress;
use super::{At, Ended, Global, images_where, plural, print_json};

/// Word for the embeddings of extractors.
pub const TOKENS: &str = "tokens";

/// The table of masks' vectors of a word.
pub fn table_of(word: &str) -> SearchedTable {
    match word {
        TOKENS => SearchedTable::Masks,
        name => SearchedTable::Vectors(name.to_owned()),
    }
}

/// Find masks that are like a mask or like words, or photos that are like a photo.
///
/// Vectors are compared by their cosine. The search is exact, unless there is an index ('grainstore store index').
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore search --like val/000000000139.jpg:17                              # by the extractor's own embeddings
  grainstore search --like 3f2a:17 --vectors dinov2_vitb14 -o alike.png         # with a sheet of the masks
  grainstore search --text 'a rusty bolt' --vectors clip_b32 --checkpoint clip-vit-base-patch32/ -o bolts.png
  grainstore search --image val/000000000139.jpg --vectors photos -k 50         # by vectors of whole photos
  grainstore search --like 3f2a:17 --where \"split = 'test'\" --json
  grainstore sql \"SELECT * FROM nearest('vectors.dinov2_vitb14', 'val/000000000139.jpg', 17, 20)\"")]
pub struct Args {
    /// Find masks like this one: the photo's file name, or first digits of its id, and the mask's index.
    #[arg(long, value_name = "IMAGE:MASK", conflicts_with_all = ["text", "image"])]
    like: Option<MaskName>,
    /// Find masks that show this. The vectors must be those of a CLIP.
    #[arg(
        long,
        value_name = "TEXT",
        requires = "checkpoint",
        conflicts_with = "image"
    )]
    text: Option<String>,
    /// Find photos like this one: its file name, or first digits of its id.
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// Vectors to compare: an embedder, or 'tokens', the embeddings of the extractor [default: for masks tokens,
    /// otherwise the only embedder].
    #[arg(long, value_name = "NAME|tokens")]
    vectors: Option<String>,
    /// Maximum number of results. The mask or photo that is searched for is the first.
    #[arg(short = 'k', long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    count: u32,
    /// The weights that the embedder was made with: a file, or a Hugging Face folder.
    #[arg(long, value_name = "FILE", requires = "text")]
    checkpoint: Option<PathBuf>,
    /// First digits of the id of the mask's extractor [default: the newest one that has such a mask].
    #[arg(long, value_name = "ID", requires = "like")]
    extractor: Option<String>,
    /// Search only in these images: SQL over the columns of 'images'.
    #[arg(long = "where", value_name = "SQL")]
    condition: Option<String>,
    /// Compare every vector, even if there is an index.
    #[arg(long)]
    exact: bool,
    /// Write a sheet of what was found to this PNG file.
    #[arg(short, long, value_name = "FILE.png")]
    output: Option<PathBuf>,
    /// Longer side of each picture on the sheet in pixels.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(16..=1024), requires = "output", value_name = "PIXELS")]
    side: u32,
    #[command(flatten)]
    at: At,
}

/// A mask by its image and index.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MaskName {
    image: String,
    mask_index: i32,
}

impl FromStr for MaskName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // File names may have a colon, indices do not.
        let parts = text.rsplit_once(':').filter(|(image, _)| !image.is_empty());
        let mask = parts.and_then(|(image, index)| {
            Some(Self {
                image: image.to_owned(),
                mask_index: index.parse().ok()?,
            })
        });
        mask.ok_or_else(|| "expected IMAGE:MASK, as in 'a.jpg:17'".to_owned())
    }
}

pub async fn run(args: Args, global: &Global) -> anyhow::Result<Ended> {
    let store = super::open(global).await?;
    let snapshot = args.at.snapshot(&store).await?;
    let mut request = request(&args, &snapshot).await?;
    request.count = args.count as usize;
    request.images = images_where(args.condition.clone());
    if args.exact {
        request.search = Search::Exact;
    }
    let found = nearest(&snapshot, &request).await?;
    let names = file_names(&snapshot, found.rows.iter().map(|row| &row.image_id)).await?;
    let mut failed = 0;
    if let Some(output) = &args.output {
        if found.rows.is_empty() {
            bail!("there is nothing to draw: no vector was found");
        }
        let drawn = SheetRequest {
            tiles: found.rows.iter().map(|row| tile(row, &names)).collect(),
            side: args.side,
        };
        let progress = progress(global);
        let sheet = contact_sheet(&snapshot, &drawn, progress.as_ref()).await?;
        failed = sheet.failed;
        let output = output.clone();
        tokio::task::spawn_blocking(move || save(&sheet, &output)).await??;
    }
    print(&found, &names, args.output.as_deref(), global)?;
    Ok(Ended::with_failures(failed))
}

/// What to search for, and where.
async fn request(args: &Args, snapshot: &Snapshot) -> anyhow::Result<NearestRequest> {
    if let Some(mask) = &args.like {
        let table = table_of(args.vectors.as_deref().unwrap_or(TOKENS));
        let extractor = match args.extractor.as_deref() {
            Some(word) => Some(find_extractor(snapshot, Some(word)).await?.extractor_id),
            None => None,
        };
        let query = SearchQuery::Mask {
            image: find_image(snapshot, &mask.image).await?,
            extractor,
            mask_index: mask.mask_index,
        };
        return Ok(NearestRequest::new(table, query));
    }
    if args.text.is_none() && args.image.is_none() {
        bail!("nothing to search for: give --like IMAGE:MASK, --text TEXT or --image IMAGE");
    }
    let embedder = embedder(snapshot, args.vectors.as_deref()).await?;
    if let (Some(text), Some(checkpoint)) = (&args.text, &args.checkpoint) {
        let table = SearchedTable::of_embedder(snapshot, &embedder);
        let (text, texts) = (text.clone(), ClipTexts::new(checkpoint));
        let vector = tokio::task::spawn_blocking(move || texts.vector(&embedder, &text));
        return Ok(NearestRequest::new(
            table,
            SearchQuery::Vector(vector.await??),
        ));
    }
    let word = args.image.as_deref().unwrap_or_default();
    let image = find_image(snapshot, word).await?;
    let table = SearchedTable::ImageVectors(embedder.embedder);
    Ok(NearestRequest::new(table, SearchQuery::Image { image }))
}

/// The embedder of a name; without a name, the only one.
async fn embedder(snapshot: &Snapshot, word: Option<&str>) -> anyhow::Result<EmbedderRow> {
    if let Some(word) = word {
        return Ok(find_embedder(snapshot, word).await?);
    }
    let kind = Named::Embedder;
    let mut stored = embedders_stored(snapshot).await?;
    match (stored.pop(), stored.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(Error::Catalogue(CatalogueError::Empty { kind }).into()),
        (Some(last), _) => {
            stored.push(last);
            let found = stored.into_iter().map(|row| row.embedder).collect();
            Err(Error::Catalogue(CatalogueError::Choose { kind, found }).into())
        }
    }
}

/// File names of images.
pub async fn file_names(
    snapshot: &Snapshot,
    ids: impl Iterator<Item = &ImageId>,
) -> anyhow::Result<HashMap<ImageId, String>> {
    let ids = ids.cloned().collect();
    let images = ImageFilter {
        ids: Some(ids),
        ..ImageFilter::default()
    };
    let images = find_images(snapshot, &images, |_| true).await?;
    let names = images.into_iter();
    Ok(names.map(|it| (it.image_id, it.file_name)).collect())
}

fn tile(row: &Neighbour, names: &HashMap<ImageId, String>) -> Tile {
    let name = names.get(&row.image_id).map_or("", String::as_str);
    // The end of a path tells more than its beginning, and the rest may be cut off.
    let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
    Tile {
        image_id: row.image_id.clone(),
        mask: row.extractor_id.clone().zip(row.mask_index),
        caption: format!("{:.3} {name}", row.similarity),
    }
}

/// Writes a sheet as a PNG file.
pub fn save(sheet: &ContactSheet, file: &Path) -> anyhow::Result<()> {
    let new = Unfinished::new(file)?;
    let saved = sheet
        .picture
        .save_with_format(new.path(), image::ImageFormat::Png);
    saved.with_context(|| format!("cannot write '{}'", file.display()))?;
    new.finish()?;
    Ok(())
}

fn print(
    found: &Neighbours,
    names: &HashMap<ImageId, String>,
    output: Option<&Path>,
    global: &Global,
) -> anyhow::Result<()> {
    if global.json {
        let rows = found.rows.iter().map(|row| {
            serde_json::json!({
                "similarity": row.similarity,
                "file_name": names.get(&row.image_id),
                "image_id": row.image_id,
                "mask_index": row.mask_index,
                "extractor_id": row.extractor_id,
            })
        });
        return print_json(&serde_json::json!({
            "searched": found.searched,
            "rows": rows.collect::<Vec<_>>(),
            "file": output,
        }));
    }
    let mut out = io::stdout().lock();
    if !found.rows.is_empty() {
        writeln!(
            out,
            "{:>4}  {:>10}  {:>5}  {:<9}  file",
            "rank", "similarity", "mask", "extractor"
        )?;
    }
    for (rank, row) in (1..).zip(&found.rows) {
        let mask = row
            .mask_index
            .map_or("-".to_owned(), |index| index.to_string());
        let extractor = row.extractor_id.as_ref().map_or("-", |id| id.as_str());
        let name = names.get(&row.image_id).map_or("", String::as_str);
        writeln!(
            out,
            "{rank:>4}  {:>10.4}  {mask:>5}  {extractor:<9.8}  {name}",
            row.similarity
        )?;
    }
    drop(out);
    if !global.quiet {
        errln!(
            "{}: {}",
            plural(found.rows.len() as u64, "result"),
            found.searched
        );
        if let Some(file) = output {
            errln!("'{}'", file.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_named_by_file_and_index() {
        let mask = |image: &str, mask_index| {
            let image = image.to_owned();
            Ok(MaskName { image, mask_index })
        };
        assert_eq!("a/b.jpg:17".parse(), mask("a/b.jpg", 17));
        assert_eq!("C:x.jpg:0".parse(), mask("C:x.jpg", 0));
        assert_eq!("a.jpg:-1".parse(), mask("a.jpg", -1), "people added it");
        for bad in ["a.jpg", "a.jpg:", ":3", "a.jpg:x", ""] {
            assert!(bad.parse::<MaskName>().is_err(), "{bad}");
        }
    }
}
