//! Masks that people add to the store, one at a time.

use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::Deserialize;

use crate::Result;
use crate::error::Error;
use crate::geometry::{Rle, Size};
use crate::ids::{ExtractorId, ImageId};
use crate::models::sam::{PredictedMask, Prompt};
use crate::schema::{StoreTable, Table, VectorTable};
use crate::store::rows::{
    EmbeddingDoneRow, ExtractionRow, ExtractorRow, MaskRow, PromptRow, Row, collect, decode,
    masks_to_batch,
};
use crate::store::{Changes, Snapshot, Store, is_of_images};

/// A mask that a person made.
#[derive(Debug, Clone)]
pub struct NewMask {
    /// The image.
    pub image_id: ImageId,
    /// Its pixels, at the size of the image.
    pub mask: Rle,
    /// The prompts that it was made by.
    pub prompt: Prompt,
    /// What the model gave for the prompts; its tokens are kept.
    pub predicted: PredictedMask,
    /// Whether its pixels were changed by hand, so that they are not those of the model.
    pub edited: bool,
    /// The mask that was changed: its extractor and index.
    pub source: Option<(ExtractorId, i32)>,
    /// Who made it.
    pub reviewer: Option<String>,
    /// Time from the first prompt to the mask, in seconds.
    pub seconds: Option<f64>,
}

/// Adds a mask of a 'prompted' extractor, and returns its index: -1, -2, ... in each image. Indices below 0 are never those
/// of a mask that an extractor found over a grid, so an image and an index tell masks of one model apart.
///
/// Vectors that embedders have of the extractor's masks in the image are removed, so that they embed the image again.
///
/// # Errors
/// [`Error::EmbeddingSize`] if the store keeps embeddings of another size; [`Error::InvalidOption`] for a mask without a
/// pixel or of another size than the image; errors of the store.
pub async fn add_prompted_mask(
    store: &Store,
    extractor: &ExtractorRow,
    mask: &NewMask,
) -> Result<i32> {
    store.check_embeddings(extractor)?;
    if mask.mask.is_empty() {
        return Err(Error::InvalidOption {
            what: "mask",
            value: "without a pixel".to_owned(),
            expected: "one pixel or more".to_owned(),
        });
    }
    let (_, index) = store
        .commit_with("prompt", |head| async move {
            plan(&head, extractor, mask).await
        })
        .await?;
    Ok(index)
}

async fn plan(head: &Snapshot, extractor: &ExtractorRow, new: &NewMask) -> Result<(Changes, i32)> {
    let extractor_id = &extractor.extractor_id;
    let of_image = || {
        let of_extractor = col("extractor_id").eq(lit(extractor_id.as_str()));
        of_extractor.and(is_of_images([&new.image_id]))
    };
    let Size { height, width } = new.mask.size();
    check_size(head, new, (height, width)).await?;
    let stored: Vec<ExtractorRow> = collect(head.scan(ExtractorRow::TABLE).await?).await?;
    let before = indices(head, of_image()).await?;
    let mask_index = before.iter().min().map_or(-1, |least| least - 1);

    let mut changes = Changes::new();
    if !stored.iter().any(|row| row.extractor_id == *extractor_id) {
        let row = std::slice::from_ref(extractor);
        changes.append(ExtractorRow::TABLE, ExtractorRow::to_batch(row)?);
    }
    let [foreground, background] = [&new.prompt.foreground, &new.prompt.background];
    let point = match (&foreground[..], &background[..], new.prompt.box_xyxy) {
        ([point], [], None) => Some(*point),
        _ => None,
    };
    let predicted = &new.predicted;
    let row = MaskRow {
        extractor_id: extractor_id.clone(),
        image_id: new.image_id.clone(),
        mask_index,
        rle: new.mask.clone(),
        bbox: None,
        // The model's estimates are of its own pixels.
        predicted_iou: (!new.edited).then_some(predicted.predicted_iou),
        stability_score: (!new.edited).then_some(predicted.stability_score),
        point,
        crop_box: [0.0, 0.0, f64::from(width), f64::from(height)],
        mask_output: i8::try_from(predicted.output).ok(),
        embedding: Some(predicted.embedding.clone()),
        object_score: predicted.object_score,
    };
    let embedding = head.store().options().embedding;
    changes.append(Table::Masks, masks_to_batch(&[row], embedding)?);
    let (source_extractor_id, source_mask_index) = new.source.clone().unzip();
    let prompt = PromptRow {
        extractor_id: extractor_id.clone(),
        image_id: new.image_id.clone(),
        mask_index,
        foreground: foreground.as_flattened().to_vec(),
        background: background.as_flattened().to_vec(),
        bbox: new
            .prompt
            .box_xyxy
            .map(|[left, top, right, bottom]| [left, top, right - left, bottom - top]),
        edited: new.edited,
        source_extractor_id,
        source_mask_index,
        reviewer: new.reviewer.clone(),
        seconds: new.seconds,
        created_at: head.now(),
    };
    changes.append(PromptRow::TABLE, PromptRow::to_batch(&[prompt])?);
    let done = ExtractionRow {
        extractor_id: extractor_id.clone(),
        image_id: new.image_id.clone(),
        masks: i32::try_from(before.len() + 1).unwrap_or(i32::MAX),
        seconds: 0.0,
        extracted_at: head.now(),
    };
    if !before.is_empty() {
        changes.delete(ExtractionRow::TABLE, of_image());
    }
    changes.append(ExtractionRow::TABLE, ExtractionRow::to_batch(&[done])?);
    let embedded = head.scan(EmbeddingDoneRow::TABLE).await?.filter(of_image());
    let embedded: Vec<EmbeddingDoneRow> = collect(embedded).await?;
    if !embedded.is_empty() {
        changes.delete(EmbeddingDoneRow::TABLE, of_image());
    }
    for done in embedded.iter().filter(|done| done.vectors > 0) {
        let table = StoreTable::Vectors(VectorTable::Masks, done.embedder_id.clone());
        changes.delete(table, of_image());
    }
    Ok((changes, mask_index))
}

/// Checks that the image is in the store, and of the mask's height and width.
async fn check_size(head: &Snapshot, new: &NewMask, found: (u32, u32)) -> Result<()> {
    #[derive(Deserialize)]
    struct Sized {
        height: i32,
        width: i32,
    }
    let scan = head.scan(Table::Images).await?;
    let scan = scan.project(&["height", "width"])?;
    let batches = scan.filter(is_of_images([&new.image_id])).collect().await?;
    let mut sizes = Vec::new();
    for batch in batches {
        sizes.extend(decode::<Sized>(Table::Images, &batch)?);
    }
    let fits = |it: &Sized| {
        (i64::from(it.height), i64::from(it.width)) == (found.0.into(), found.1.into())
    };
    match sizes.first() {
        Some(size) if fits(size) => Ok(()),
        Some(Sized { height, width }) => Err(Error::InvalidOption {
            what: "mask",
            value: format!("{} x {} pixels", found.1, found.0),
            expected: format!("{width} x {height} pixels, as the image '{}'", new.image_id),
        }),
        None => Err(Error::InvalidOption {
            what: "image",
            value: new.image_id.to_string(),
            expected: "an image of the store".to_owned(),
        }),
    }
}

/// Indices of the masks that are there.
async fn indices(head: &Snapshot, of_image: datafusion::logical_expr::Expr) -> Result<Vec<i32>> {
    #[derive(Deserialize)]
    struct Indexed {
        mask_index: i32,
    }
    let scan = head.scan(Table::Masks).await?.project(&["mask_index"])?;
    let mut rows = scan.filter(of_image).stream().await?;
    let mut found = Vec::new();
    while let Some(batch) = rows.next().await {
        let rows = decode::<Indexed>(Table::Masks, &batch?)?;
        found.extend(rows.into_iter().map(|row| row.mask_index));
    }
    Ok(found)
}
