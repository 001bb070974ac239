//! Masks that people add: by points, a box or a brush.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use grainstore::extract::{NewMask, add_prompted_mask};
use grainstore::geometry::{Rle, Size};
use grainstore::ids::ImageId;
use grainstore::models::sam::{PredictedMask, Prompt};
use grainstore::review::MaskKey;
use grainstore::store::rows::RleRow;
use serde::{Deserialize, Serialize};

use super::app::App;
use super::failure::{Answered, Failure, in_time};
use super::masks::{self, Detailed};
use super::model::Model;

/// Time for encoding a photo; ViT-H takes about a minute on two cores.
const LIMIT: Duration = Duration::from_secs(300);
/// Maximum number of points in a prompt.
const POINTS: usize = 100;

/// A prompt as the page sends it, in pixels of the photo, x before y.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    image_id: ImageId,
    #[serde(default)]
    foreground: Vec<[f64; 2]>,
    #[serde(default)]
    background: Vec<[f64; 2]>,
    /// XYXY.
    #[serde(rename = "box")]
    box_xyxy: Option<[f64; 4]>,
}

impl Request {
    fn prompt(&self) -> Answered<Prompt> {
        let points = self.foreground.len() + self.background.len();
        if points > POINTS {
            let text = format!("{points} points; a prompt has at most {POINTS}");
            return Err(Failure::bad(text));
        }
        Ok(Prompt {
            foreground: self.foreground.clone(),
            background: self.background.clone(),
            box_xyxy: self.box_xyxy,
            mask: None,
        })
    }
}

/// A mask that could be added.
#[derive(Debug, Serialize)]
pub struct Preview {
    rle: RleRow,
    area: u64,
    predicted_iou: f32,
    /// Which of the decoder's masks it is.
    output: usize,
}

/// The masks that a prompt gives.
#[derive(Debug, Serialize)]
pub struct Previews {
    masks: Vec<Preview>,
    /// The place of the best.
    best: usize,
}

/// `POST /api/prompt`: the masks for a prompt. Nothing is stored.
pub async fn preview(
    State(app): State<Arc<App>>,
    Json(request): Json<Request>,
) -> Answered<Json<Previews>> {
    let prompt = request.prompt()?;
    let (masks, best) = predicted(&app, &request.image_id, prompt).await?;
    let masks = masks.iter().map(|it| Preview {
        rle: RleRow::from(&it.mask),
        area: it.mask.area(),
        predicted_iou: it.predicted_iou,
        output: it.output,
    });
    Ok(Json(Previews {
        masks: masks.collect(),
        best,
    }))
}

/// A mask to add: one of those that a prompt gives, or pixels that were painted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addition {
    prompt: Request,
    /// Which of the decoder's masks; for painted pixels without meaning.
    #[serde(default)]
    output: usize,
    /// Painted pixels, as run lengths down the columns, the first outside (COCO's uncompressed RLE).
    runs: Option<Vec<u32>>,
    /// The mask that was changed.
    source: Option<MaskKey>,
    /// Time from the first prompt, in seconds.
    seconds: Option<f64>,
    /// Head that is asked about the new mask.
    head: Option<String>,
}

/// `POST /api/add`: adds a mask, and answers with what is shown of it.
pub async fn add(
    State(app): State<Arc<App>>,
    Json(addition): Json<Addition>,
) -> Answered<Json<Detailed>> {
    app.check_writable()?;
    let image_id = addition.prompt.image_id.clone();
    if let Some(source) = &addition.source
        && (source.image_id != image_id || app.photos.mask(source).await?.is_none())
    {
        let text = "the mask that was changed is not one of this image";
        return Err(Failure::missing(text));
    }
    let prompt = addition.prompt.prompt()?;
    let size = app.photos.image_row(&image_id).await?.size();
    let painted = addition.runs.map(|runs| pixels(size, runs));
    let painted = painted.transpose()?;
    let asked = match &painted {
        // The tokens of the pixels as they are now: the model is shown them, and the box around them.
        Some(mask) if !mask.is_empty() => Prompt {
            box_xyxy: Some(mask.bbox().to_xyxy()),
            mask: Some(mask.clone()),
            ..Prompt::default()
        },
        Some(_) => return Err(Failure::bad("a mask without a pixel cannot be added")),
        None => prompt.clone(),
    };
    let output = if painted.is_some() {
        0
    } else {
        addition.output
    };
    let (masks, _) = predicted(&app, &image_id, asked).await?;
    let predicted = masks.into_iter().find(|it| it.output == output);
    let predicted = predicted
        .ok_or_else(|| Failure::bad(format!("the model gives no mask with output {output}")))?;
    let new = NewMask {
        image_id: image_id.clone(),
        edited: painted.is_some(),
        mask: painted.unwrap_or_else(|| predicted.mask.clone()),
        prompt,
        predicted,
        source: addition.source.map(|it| (it.extractor_id, it.mask_index)),
        reviewer: app.reviewer.clone(),
        seconds: addition.seconds.filter(|it| it.is_finite() && *it >= 0.0),
    };
    let extractor = model(&app)?.prompter().extractor();
    let mask_index = add_prompted_mask(&app.store, extractor, &new).await?;
    let key = MaskKey {
        extractor_id: extractor.extractor_id.clone(),
        image_id,
        mask_index,
    };
    // It is stored now, whatever becomes of the head meanwhile.
    let key = std::slice::from_ref(&key);
    let found = match masks::detailed(&app, key, addition.head.as_deref()).await {
        Ok(found) => found,
        Err(_) => masks::detailed(&app, key, None).await?,
    };
    let added = found.into_iter().flatten().next();
    let gone = || Failure::missing("the mask is gone again");
    Ok(Json(added.ok_or_else(gone)?))
}

/// The mask of run lengths, which must cover the photo.
fn pixels(size: Size, runs: Vec<u32>) -> Answered<Rle> {
    let found: u64 = runs.iter().map(|run| u64::from(*run)).sum();
    let expected = u64::from(size.height) * u64::from(size.width);
    if found != expected {
        let text = format!("runs of {found} pixels; the photo has {expected}");
        return Err(Failure::bad(text));
    }
    Ok(Rle::from_runs(size, runs)?)
}

fn model(app: &App) -> Answered<&Model> {
    app.model.as_ref().ok_or_else(|| {
        Failure::new(
            StatusCode::CONFLICT,
            "masks are added with a model: start 'grainstore review' with --checkpoint FILE, the file that extract used".to_owned(),
        )
    })
}

/// What the model predicts for a prompt, and the place of the best.
async fn predicted(
    app: &Arc<App>,
    image_id: &ImageId,
    prompt: Prompt,
) -> Answered<(Vec<PredictedMask>, usize)> {
    model(app)?;
    let (of, image_id) = (app.clone(), image_id.clone());
    // What is encoded is kept, even if nobody waits for it any more.
    let encoding = tokio::spawn(async move {
        let model = model(&of)?;
        model.features(&of.photos, &image_id).await
    });
    let what = ("adding a mask to this photo", "; try again in a moment");
    let features = in_time(LIMIT, what, async { encoding.await.map_err(ended)? }).await?;
    model(app)?.predict(features, prompt).await
}

fn ended(err: tokio::task::JoinError) -> Failure {
    Failure::new(StatusCode::INTERNAL_SERVER_ERROR, err.to_string())
}
