//! Draws images of a store: the photo, annotated objects, all masks, and the masks that a head keeps.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use futures::StreamExt;
use image::Rgb;
use rayon::prelude::*;
use serde::Deserialize;

use super::color::{OTHER, any_color, class_color};
use super::overlay::{Layer, draw, scaled};
use super::panels::Panel;
use super::turn_of;
use crate::catalogue::{
    annotated_categories, decoding_of, extractors_stored, find_annotated_dataset, find_extractor,
    find_head, with_prompted,
};
use crate::export::{Annotations, ExportRequest, Ids, Object, ObjectKind, OfImages, Source};
use crate::geometry::Rle;
use crate::ids::{ExtractorId, ImageId, cut_file_name};
use crate::photo::{self, Decoding};
use crate::progress::{NoProgress, Progress};
use crate::schema::Table;
use crate::selection::{ImageFilter, SelectedImage, find_images};
use crate::store::rows::{ExtractorKind, ExtractorRow, HeadRow, RleRow, decode};
use crate::store::{PhotoFiles, Snapshot, is_of_extractors, is_of_images};
use crate::{Error, Result};

/// Which pictures of which images to draw.
#[derive(Debug, Clone, Default)]
pub struct ShowRequest {
    /// The images to draw.
    pub images: ImageFilter,
    /// Data set whose annotations are drawn. If `None`, the one with most annotated objects in the images.
    pub dataset: Option<String>,
    /// Maximum number of images, because their masks are held in memory. 0 counts as 1.
    pub limit: usize,
    /// The head whose kept masks are drawn.
    pub head: Option<String>,
    /// First digits of the id of the extractor whose masks are drawn. If `None`, the head's extractor, or the only one.
    pub extractor: Option<String>,
    /// First digits of the id of the head's annotation policy. If `None`, the policy that was used last.
    pub policy: Option<String>,
    /// Class set that objects are shown in. If `None`, the head's, or without a head that of the data set.
    pub classes: Option<String>,
    /// Parts to draw, in order.
    pub parts: Vec<Part>,
    /// Longer side of each part in pixels.
    pub side: u32,
}

/// A part of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The photo alone.
    Photo,
    /// Annotated objects.
    Truth,
    /// Every mask of the extractor, in colours that only distinguish them.
    Masks,
    /// The masks that the head keeps, with class and score.
    Head,
}

/// The parts of one image.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The image.
    pub image: SelectedImage,
    /// One panel per part that has something to show.
    pub panels: Vec<Panel>,
}

impl Picture {
    /// Name of the PNG file for this image: as much of the photo's name as fits, then the first digits of the image's
    /// id, which distinguish photos of the same name.
    pub fn file_name(&self) -> String {
        let stem = Path::new(&self.image.file_name).file_stem();
        let stem = stem.unwrap_or_default().to_string_lossy();
        let id = self.image.image_id.as_str();
        let ending = format!("-{}.png", id.get(..8).unwrap_or(id));
        format!("{}{ending}", cut_file_name(&stem, ending.len()))
    }
}

/// The result of [`show`].
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The images, ordered by file name.
    pub pictures: Vec<Picture>,
    /// Photos that could not be read.
    pub failed: u64,
    /// Images beyond the limit.
    pub left_out: u64,
}

/// The data to draw for the chosen images.
struct Drawn {
    truth: Option<Objects>,
    masks: HashMap<ImageId, Vec<Rle>>,
    kept: Option<Objects>,
    /// How the photos are decoded: as for the extractor whose masks are drawn, or the head's.
    decoding: Decoding,
}

/// Objects by image, and the names of their classes.
struct Objects {
    classes: Vec<String>,
    of_image: HashMap<ImageId, Vec<Object>>,
}

/// Draws images, ordered by file name.
///
/// A photo that cannot be read is reported to `progress` and left out.
///
/// # Examples
/// ```
/// use grainstore::picture::{Part, ShowRequest, sheet, show};
/// use grainstore::progress::NoProgress;
/// use grainstore::selection::ImageFilter;
///
/// # async fn example(store: &grainstore::store::Store) -> Result<(), Box<dyn std::error::Error>> {
/// let request = ShowRequest {
///     images: ImageFilter::split("test"),
///     limit: 12,
///     head: Some("pets".to_owned()),
///     parts: vec![Part::Photo, Part::Masks, Part::Head],
///     side: 360,
///     ..ShowRequest::default()
/// };
/// let shown = show(&store.snapshot().await?, &request, &NoProgress).await?;
/// for picture in shown.pictures {
///     let file = picture.file_name();
///     sheet(&[(None, picture.panels)])?.save(file)?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`crate::error::CatalogueError`] for names that do not exist; [`crate::error::HeadError::ClassSet`] if class sets do not
/// fit together; [`Error::NothingToExport`] if no image is chosen or no image has anything to show;
/// [`Error::MissingOption`] if the head's part is requested without a head; [`Error::InvalidOption`] for a data set
/// without annotations; store errors.
pub async fn show(
    snapshot: &Snapshot,
    request: &ShowRequest,
    progress: &dyn Progress,
) -> Result<Shown> {
    let mut images = find_images(snapshot, &request.images, |_| true).await?;
    if images.is_empty() {
        return Err(Error::NothingToExport {
            of: "in the store".to_owned(),
        });
    }
    let limit = request.limit.max(1);
    let left_out = images.len().saturating_sub(limit) as u64;
    images.truncate(limit);
    let drawn = read(snapshot, request, &images).await?;
    progress.start("pictures", Some(images.len() as u64));
    let (parts, side) = (request.parts.clone(), request.side);
    let files = snapshot.store().photos();
    let drawing =
        tokio::task::spawn_blocking(move || -> Vec<(SelectedImage, Result<Vec<Panel>>)> {
            let panels = |image: SelectedImage| {
                let panels = panels(&files, &image, &drawn, &parts, side);
                (image, panels)
            };
            images.into_par_iter().map(panels).collect()
        });
    let drawn = drawing.await.map_err(|source| Error::Worker {
        task: "drawing pictures",
        source,
    })?;
    let (mut pictures, mut failed) = (Vec::new(), 0);
    for (image, panels) in drawn {
        progress.advance(1);
        match panels {
            Ok(panels) => pictures.push(Picture { image, panels }),
            Err(err) => {
                failed += 1;
                progress.note(&format!("{}: {err}", image.file_name));
            }
        }
    }
    progress.finish();
    if failed == 0 && pictures.iter().all(|it| it.panels.is_empty()) {
        return Err(Error::NothingToExport {
            of: "annotated".to_owned(),
        });
    }
    Ok(Shown {
        pictures,
        failed,
        left_out,
    })
}

async fn read(
    snapshot: &Snapshot,
    request: &ShowRequest,
    images: &[SelectedImage],
) -> Result<Drawn> {
    let wants = |part: Part| request.parts.contains(&part);
    let ids: Vec<ImageId> = images.iter().map(|image| image.image_id.clone()).collect();
    let head = match &request.head {
        Some(name) => Some(find_head(snapshot, name).await?),
        None if wants(Part::Head) => {
            return Err(Error::MissingOption {
                option: "head",
                expected: "the head whose masks are shown".to_owned(),
            });
        }
        None => None,
    };
    let mut of = ExportRequest {
        annotations: Annotations::GroundTruth,
        images: ImageFilter {
            ids: Some(ids.clone()),
            ..ImageFilter::default()
        },
        classes: request.classes.clone(),
        supercategories: None,
        ids: Ids::New,
    };
    let mut kept = None;
    if let Some(head) = head.as_ref().filter(|_| wants(Part::Head)) {
        of.annotations = Annotations::Head {
            head: head.head_id.to_string(),
            policy: request.policy.clone(),
        };
        kept = objects(snapshot, &of).await?;
    }
    let mut truth = None;
    if wants(Part::Truth)
        && let Some(dataset) = annotating(snapshot, &ids, request.dataset.as_deref()).await?
    {
        // Ground truth is shown in the head's classes, so that both parts use the same colours.
        let of_head = head.as_ref().map(HeadRow::class_set_at_version);
        of.annotations = Annotations::GroundTruth;
        of.images.dataset = Some(dataset);
        of.classes = request.classes.clone().or(of_head);
        truth = objects(snapshot, &of).await?;
    }
    let mut masks = HashMap::new();
    let mut decoding = Decoding::default();
    if let Some(head) = &head {
        decoding = decoding_of(snapshot, &head.extractor_id).await?;
    }
    if wants(Part::Masks) {
        let asked = request.extractor.as_deref();
        let extractor = match &head {
            Some(head) if asked.is_none() => Some(head.extractor_id.clone()),
            None if asked.is_none() && !has_model(snapshot).await? => None,
            _ => Some(find_extractor(snapshot, asked).await?.extractor_id),
        };
        if let Some(extractor) = extractor {
            let extractors = with_prompted(snapshot, &extractor).await?;
            masks = masks_of(snapshot, &extractors, &ids).await?;
            decoding = decoding_of(snapshot, &extractor).await?;
        }
    }
    Ok(Drawn {
        truth,
        masks,
        kept,
        decoding,
    })
}

/// Whether an extractor that is a model is stored. Imported masks belong to a head instead.
async fn has_model(snapshot: &Snapshot) -> Result<bool> {
    let stored = extractors_stored(snapshot).await?;
    let is_model =
        |row: &ExtractorRow| !row.kind.is_imported() && row.kind != ExtractorKind::Prompted;
    Ok(stored.iter().any(is_model))
}

/// The data set whose annotations are shown: the requested one, otherwise the one with most annotated objects in the
/// images.
async fn annotating(
    snapshot: &Snapshot,
    ids: &[ImageId],
    asked: Option<&str>,
) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Annotated {
        dataset: String,
    }
    if let Some(asked) = asked {
        let annotated = annotated_categories(snapshot).await?;
        return find_annotated_dataset(&annotated, Some(asked)).map(Some);
    }
    let scan = snapshot
        .scan(Table::GroundTruth)
        .await?
        .project(&["dataset"])?;
    let mut rows = scan.filter(is_of_images(ids)).stream().await?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(batch) = rows.next().await {
        for row in decode::<Annotated>(Table::GroundTruth, &batch?)? {
            *counts.entry(row.dataset).or_default() += 1;
        }
    }
    Ok(counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(dataset, _)| dataset))
}

/// The objects of the images, or `None` if the head or data set covers none of the images.
async fn objects(snapshot: &Snapshot, request: &ExportRequest) -> Result<Option<Objects>> {
    let source = match Source::open(snapshot, request).await {
        Err(Error::NothingToExport { .. }) => return Ok(None),
        source => source?,
    };
    let images: Vec<ImageId> = source
        .images
        .images
        .iter()
        .map(|image| image.image_id.clone())
        .collect();
    let gather = move |objects: crate::export::Objects, _: &dyn Progress| {
        let mut of_image = HashMap::new();
        objects.by_image(|at, objects| {
            if let Some(image) = images.get(at) {
                of_image.insert(image.clone(), objects);
            }
            Ok(())
        })?;
        Ok(of_image)
    };
    Ok(Some(Objects {
        classes: source.classes.class_names(),
        of_image: source.with_objects(&NoProgress, gather).await?,
    }))
}

async fn masks_of(
    snapshot: &Snapshot,
    extractors: &[ExtractorId],
    ids: &[ImageId],
) -> Result<HashMap<ImageId, Vec<Rle>>> {
    #[derive(Deserialize)]
    struct Mask {
        image_id: ImageId,
        rle: RleRow,
    }
    let wanted = is_of_extractors(extractors).and(is_of_images(ids));
    let scan = snapshot
        .scan(Table::Masks)
        .await?
        .project(&["image_id", "rle"])?;
    let mut rows = scan.filter(wanted).stream().await?;
    let mut found: HashMap<ImageId, Vec<Rle>> = HashMap::new();
    while let Some(batch) = rows.next().await {
        for row in decode::<Mask>(Table::Masks, &batch?)? {
            found
                .entry(row.image_id)
                .or_default()
                .push(Rle::try_from(&row.rle)?);
        }
    }
    Ok(found)
}

fn panels(
    files: &PhotoFiles,
    image: &SelectedImage,
    drawn: &Drawn,
    parts: &[Part],
    side: u32,
) -> Result<Vec<Panel>> {
    let _turn = turn_of(image);
    let bytes = files.read_ingested(&image.root, &image.file_name, &image.image_id)?;
    let photo = scaled(&photo::render(&bytes, &drawn.decoding)?, side);
    let mut panels = Vec::new();
    for part in parts {
        let (caption, layers) = match part {
            Part::Photo => ("photo".to_owned(), Some(Vec::new())),
            Part::Truth => (
                "ground truth".to_owned(),
                drawn.truth.as_ref().map(|objects| objects.layers(image)),
            ),
            Part::Masks => {
                let masks = drawn
                    .masks
                    .get(&image.image_id)
                    .map_or(&[][..], Vec::as_slice);
                let layer = |(n, mask): (usize, &Rle)| Layer {
                    mask: mask.clone(),
                    color: any_color(n),
                    label: None,
                };
                let layers = masks.iter().enumerate().map(layer).collect();
                (format!("all {} masks", masks.len()), Some(layers))
            }
            Part::Head => (
                "annotated".to_owned(),
                drawn.kept.as_ref().map(|objects| objects.layers(image)),
            ),
        };
        if let Some(layers) = layers {
            let mut picture = photo.clone();
            draw(&mut picture, &layers)?;
            panels.push(Panel { caption, picture });
        }
    }
    Ok(panels)
}

impl Objects {
    fn layers(&self, image: &SelectedImage) -> Vec<Layer> {
        let mut objects: Vec<&Object> = self
            .of_image
            .get(&image.image_id)
            .into_iter()
            .flatten()
            .collect();
        // Labels are placed in this order, so the most confident predictions get room first.
        let score = |object: &Object| match &object.kind {
            ObjectKind::Predicted(it) => it.score,
            ObjectKind::Annotated(_) => object.area,
        };
        objects.sort_by(|a, b| score(b).total_cmp(&score(a)));
        objects
            .iter()
            .filter_map(|object| self.layer(object))
            .collect()
    }

    fn layer(&self, object: &Object) -> Option<Layer> {
        let class = object.class.and_then(|class| self.classes.get(class));
        let (color, name): (Rgb<u8>, &str) = match (object.class, class) {
            (Some(index), Some(name)) => (class_color(index), name),
            _ => (OTHER, "other"),
        };
        let label = match &object.kind {
            ObjectKind::Predicted(it) => format!("{name} {:.2}", it.score),
            ObjectKind::Annotated(it) if it.is_void => "void".to_owned(),
            ObjectKind::Annotated(it) if it.iscrowd => format!("{name} (crowd)"),
            ObjectKind::Annotated(_) => name.to_owned(),
        };
        Some(Layer {
            mask: object.mask.clone()?,
            color,
            label: Some(label),
        })
    }
}
