//! The images of a report: their choice, and their pictures as JPEG data within the page.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;

use super::ReportRequest;
use super::data::ReportData;
use crate::ids::ImageId;
use crate::picture::{Part, ShowRequest, show};
use crate::progress::Progress;
use crate::selection::ImageFilter;
use crate::store::Snapshot;
use crate::{Error, Result};

/// Longer side of a picture, in pixels; it stays sharp because it is shown at two thirds of that.
const SIDE: u32 = 400;
const JPEG_QUALITY: u8 = 82;

/// The images under one heading.
pub(super) struct Gallery {
    pub title: &'static str,
    pub about: &'static str,
    pub cards: Vec<Card>,
}

/// One image.
pub(super) struct Card {
    pub file_name: String,
    pub image_id: ImageId,
    /// The image's metric, such as `IoU 0.93`.
    pub figure: String,
    /// Captions of the parts, and their JPEG files as `data:` URLs.
    pub parts: Vec<(String, String)>,
}

type Chosen = (ImageId, String, String);

/// The best, worst and least sure images, with their ground truth and the masks that the head keeps.
///
/// # Errors
/// As [`show`]. A photo that cannot be read is left out and counted.
pub(super) async fn galleries(
    snapshot: &Snapshot,
    request: &ReportRequest,
    data: &ReportData,
    progress: &dyn Progress,
) -> Result<(Vec<Gallery>, u64)> {
    let count = request.images;
    let mut chosen: Vec<(&str, &str, Vec<Chosen>)> = Vec::new();
    if let Some(evaluated) = &data.evaluated {
        let of = |image: &super::data::ImageIou| {
            (
                image.image_id.clone(),
                image.file_name.clone(),
                format!("IoU {:.2}", image.iou),
            )
        };
        let best: Vec<Chosen> = evaluated.images.iter().take(count).map(of).collect();
        let left = evaluated.images.len() - best.len();
        let worst = evaluated
            .images
            .iter()
            .rev()
            .take(count.min(left))
            .map(of)
            .collect();
        let about = "mean IoU over the classes on the image and the background";
        chosen.push(("Best images", about, best));
        chosen.push(("Worst images", about, worst));
    }
    let unsure = data.uncertain.iter().take(count).map(|image| {
        (
            image.image_id.clone(),
            image.file_name.clone(),
            format!("entropy {:.2}", image.entropy),
        )
    });
    chosen.push((
        "Least sure images",
        "mean entropy of the masks that are kept, in nats",
        unsure.collect(),
    ));

    chosen.retain(|(.., images)| !images.is_empty());

    let ids: Vec<ImageId> = chosen
        .iter()
        .flat_map(|(.., images)| images.iter().map(|it| it.0.clone()))
        .collect();
    if ids.is_empty() {
        return Ok((Vec::new(), 0));
    }
    let wanted = ShowRequest {
        limit: ids.len(),
        images: ImageFilter {
            ids: Some(ids),
            ..ImageFilter::default()
        },
        dataset: data
            .evaluated
            .as_ref()
            .map(|evaluated| evaluated.evaluation.dataset.clone()),
        head: Some(data.head.head_id.to_string()),
        policy: Some(data.policy.policy_id.to_string()),
        extractor: None,
        classes: request.evaluation.classes.clone(),
        parts: vec![Part::Truth, Part::Head],
        side: SIDE,
    };
    let shown = show(snapshot, &wanted, progress).await?;
    let mut parts: HashMap<ImageId, Vec<(String, String)>> = HashMap::new();
    for picture in shown.pictures {
        let panels = picture
            .panels
            .iter()
            .map(|panel| Ok((panel.caption.clone(), data_address(&panel.picture)?)));
        parts.insert(picture.image.image_id, panels.collect::<Result<_>>()?);
    }
    let gallery = |(title, about, images): (&'static str, &'static str, Vec<Chosen>)| Gallery {
        title,
        about,
        cards: images
            .into_iter()
            .filter_map(|(image_id, file_name, figure)| {
                Some(Card {
                    parts: parts.get(&image_id)?.clone(),
                    file_name,
                    image_id,
                    figure,
                })
            })
            .collect(),
    };
    let galleries = chosen.into_iter().map(gallery);
    let galleries = galleries.filter(|it| !it.cards.is_empty());
    Ok((galleries.collect(), shown.failed))
}

fn data_address(picture: &RgbImage) -> Result<String> {
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, JPEG_QUALITY);
    picture
        .write_with_encoder(encoder)
        .map_err(|source| Error::EncodeImage {
            reason: source.to_string(),
        })?;
    Ok(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)))
}
