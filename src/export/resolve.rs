//! Resolves a request: which objects of which images, in which classes, and how many per image.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use datafusion::prelude::{col, lit};
use futures::StreamExt;
use serde::Deserialize;

use super::object::{Kept, Rows};
use super::request::ExportRequest;
use super::source::{Origin, Wanted};
use crate::annotate::{MapRule, ScoreRule, predictions_of};
use crate::catalogue::{
    StoredPolicy, annotated_categories, find_annotated_dataset, find_head, find_policy,
    with_prompted,
};
use crate::classes::ClassSet;
use crate::error::HeadError;
use crate::ids::ImageId;
use crate::schema::Table;
use crate::selection::{ImageFilter, SelectedImage, find_images};
use crate::store::Snapshot;
use crate::store::columns::{flags, texts};
use crate::store::rows::{HeadRow, decode};
use crate::{Error, Result};

/// The resolved request, and the number of objects of each image.
pub(super) struct Found {
    pub images: Vec<SelectedImage>,
    pub classes: ClassSet,
    pub origin: Origin,
    pub rows: Rows,
    pub counts: HashMap<ImageId, usize>,
    /// Images left out because the head has no predictions for them, although they match the request.
    pub images_left_out: u64,
}

/// Resolves a request for the masks that a head keeps or, for a semantic map, those that make it up.
pub(super) async fn of_head(
    snapshot: &Snapshot,
    request: &ExportRequest,
    name: &str,
    policy: Option<&str>,
    wanted: Wanted,
) -> Result<Found> {
    let head = find_head(snapshot, name).await?;
    let policy = find_policy(snapshot, &head, policy).await?;
    let own = ClassSet::load(snapshot, &head.class_set_at_version()).await?;
    let classes = match &request.classes {
        Some(name) => ClassSet::load(snapshot, name).await?,
        None => own.clone(),
    };
    let voters = wanted == Wanted::Mapped && MapRule::of_policy(&policy.policy)? != MapRule::Paint;
    let mut kept = wanted_masks(snapshot, &head, &policy, voters).await?;
    let left_out = AtomicU64::new(0);
    // If a model found nothing at all, its import still covered the complete data set.
    let asked_about = if kept.is_empty() && head.is_imported() {
        imported_of(snapshot, &head).await?
    } else {
        None
    };
    let images = find_images(snapshot, &request.images, |image| {
        let is_of_head =
            kept.contains_key(&image.image_id) || asked_about.as_ref() == Some(&image.dataset);
        left_out.fetch_add(u64::from(!is_of_head), Ordering::Relaxed);
        is_of_head
    })
    .await?;
    let chosen: HashMap<String, Vec<Kept>> = images
        .iter()
        .filter_map(|image| Some((image.image_id.to_string(), kept.remove(&image.image_id)?)))
        .collect();
    let counts = images.iter().map(|image| {
        let masks = chosen.get(image.image_id.as_str());
        (image.image_id.clone(), masks.map_or(0, Vec::len))
    });
    let counts = counts.collect();
    let rows = Rows::Masks {
        places: class_places(&own, &classes)?,
        kept: chosen,
        score: ScoreRule::of_policy(&policy.policy)?,
    };
    let head = Box::new(head);
    Ok(Found {
        images,
        classes,
        origin: Origin::Head {
            extractors: with_prompted(snapshot, &head.extractor_id).await?,
            head,
            policy,
        },
        rows,
        counts,
        images_left_out: left_out.into_inner(),
    })
}

/// Whether a mask that was dropped for a reason has no vote on a semantic map.
fn never_votes(dropped: &str) -> bool {
    matches!(dropped, "quality" | "image_gate")
}

/// The data set that imported detections belong to.
async fn imported_of(snapshot: &Snapshot, head: &HeadRow) -> Result<Option<String>> {
    #[derive(Deserialize)]
    struct Extractor {
        options: String,
    }
    #[derive(Deserialize)]
    struct Options {
        dataset: Option<String>,
    }
    let scan = snapshot.scan(Table::Extractors).await?;
    let scan = scan.project(&["options"])?;
    let wanted = col("extractor_id").eq(lit(head.extractor_id.as_str()));
    let mut found = Vec::new();
    for batch in scan.filter(wanted).collect().await? {
        found.extend(decode::<Extractor>(Table::Extractors, &batch)?);
    }
    let Some(extractor) = found.first() else {
        return Ok(None);
    };
    Ok(serde_json::from_str::<Options>(&extractor.options)?.dataset)
}

/// Maps each class of a head to the position of a class in `classes`, if one contains it.
fn class_places(own: &ClassSet, classes: &ClassSet) -> Result<Vec<Option<usize>>> {
    let mut places = Vec::with_capacity(own.classes.len());
    for (class, found) in own.classes.iter().zip(own.places_in(classes)) {
        if found.len() > 1 {
            return Err(Error::Head(HeadError::ClassSet {
                class_set: classes.name.clone(),
                reason: format!(
                    "class '{}' of '{}' would be {} classes at once; take a set that is as coarse",
                    class.name,
                    own.name,
                    found.len()
                ),
            }));
        }
        places.push(found.first().copied());
    }
    if places.iter().all(Option::is_none) {
        return Err(Error::Head(HeadError::ClassSet {
            class_set: classes.name.clone(),
            reason: format!("none of its classes holds a label of '{}'", own.name),
        }));
    }
    Ok(places)
}

/// The masks that a head keeps under a policy and, if wanted, those that vote, for each image it has predictions for,
/// including images with none.
async fn wanted_masks(
    snapshot: &Snapshot,
    head: &HeadRow,
    policy: &StoredPolicy,
    voters: bool,
) -> Result<HashMap<ImageId, Vec<Kept>>> {
    #[derive(Deserialize)]
    struct Prediction {
        image_id: ImageId,
        mask_index: i32,
        class_index: i32,
        score: f64,
        entropy: Option<f32>,
        kept: bool,
    }
    let scan = snapshot.scan(Table::Predictions).await?;
    let scan = scan.project(&[
        "image_id",
        "mask_index",
        "class_index",
        "score",
        "entropy",
        "kept",
        "dropped",
    ])?;
    let mut rows = scan
        .filter(predictions_of(&head.head_id, &policy.policy_id))
        .stream()
        .await?;
    let mut found: HashMap<ImageId, Vec<Kept>> = HashMap::new();
    while let Some(batch) = rows.next().await {
        let batch = batch?;
        let mut last = None;
        for image in texts(&batch, "image_id")? {
            // Most predictions of an image are beside each other.
            if let Some(image) = image.filter(|image| last != Some(*image)) {
                found.entry(image.to_owned().try_into()?).or_default();
                last = Some(image);
            }
        }
        let (kept, dropped) = (flags(&batch, "kept")?, texts(&batch, "dropped")?);
        let wanted = kept.iter().zip(dropped).map(|(kept, dropped)| {
            kept == Some(true) || (voters && !dropped.is_some_and(never_votes))
        });
        // Without voters few are, so rows are filtered before they are decoded.
        let wanted = BooleanArray::from_iter(wanted.map(Some));
        for row in decode::<Prediction>(Table::Predictions, &filter_record_batch(&batch, &wanted)?)?
        {
            found.entry(row.image_id).or_default().push(Kept {
                kept: row.kept,
                mask_index: row.mask_index,
                class_index: row.class_index,
                score: row.score,
                entropy: row.entropy,
            });
        }
    }
    for of_image in found.values_mut() {
        of_image.sort_by_key(|mask| mask.mask_index);
    }
    Ok(found)
}

/// Resolves a request for the objects that a data set annotates.
pub(super) async fn of_ground_truth(snapshot: &Snapshot, request: &ExportRequest) -> Result<Found> {
    #[derive(Deserialize)]
    struct Annotated {
        image_id: ImageId,
        external_id: Option<i64>,
    }
    let annotated = annotated_categories(snapshot).await?;
    let dataset = find_annotated_dataset(&annotated, request.images.dataset.as_deref())?;
    let classes = request.classes.as_deref().unwrap_or(&dataset);
    let classes = ClassSet::load(snapshot, classes).await?;
    let scan = snapshot.scan(Table::GroundTruth).await?;
    let scan = scan.project(&["image_id", "external_id"])?;
    let of_dataset = col("dataset").eq(lit(dataset.as_str()));
    let mut rows = scan.filter(of_dataset).stream().await?;
    let mut ids: HashMap<ImageId, Vec<Option<i64>>> = HashMap::new();
    while let Some(batch) = rows.next().await {
        for row in decode::<Annotated>(Table::GroundTruth, &batch?)? {
            ids.entry(row.image_id).or_default().push(row.external_id);
        }
    }
    // Images of the data set that have no annotation are included.
    let choice = ImageFilter {
        dataset: None,
        ..request.images.clone()
    };
    let images = find_images(snapshot, &choice, |image| {
        image.dataset == dataset || ids.contains_key(&image.image_id)
    })
    .await?;
    let chosen: HashSet<&ImageId> = images.iter().map(|image| &image.image_id).collect();
    ids.retain(|image, _| chosen.contains(image));
    let counts = ids
        .iter()
        .map(|(image, ids)| (image.clone(), ids.len()))
        .collect();
    let rows = Rows::of_ground_truth(&classes, ids.into_values().flatten(), request.ids);
    Ok(Found {
        images,
        classes,
        origin: Origin::GroundTruth { dataset },
        rows,
        counts,
        images_left_out: 0,
    })
}
